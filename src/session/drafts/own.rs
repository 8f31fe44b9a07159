//! The model as its own draft: it says some tokens at a sparser level of its file, in a pass each, and all are checked
//! in one at the session's own (self-speculative decoding, arXiv:2309.08168).
//!
//! Keys and values are the same cache's: those of the sparser passes are written over by the check, before anything
//! reads them that counts. Nothing but time hangs on these drafts, as on all.

use super::odds::{DraftChoice, Price, Source};
use super::{Drafts, MAX_DRAFTS, Session};
use crate::Result;
use crate::model::Model;
use crate::sampling::argmax;
use crate::session::job::{Job, Phase};
use crate::session::pass::buffers::HeadStage;

/// The sparsity of the passes that make drafts, if the file goes as far.
const LEVEL: f32 = 0.5;
/// What drafts must promise, in tokens of the time of one pass: prices are estimates.
const PROMISE: f32 = 1.05;

/// Drafts that the model makes before they are checked.
#[derive(Clone, Copy)]
pub(in crate::session) struct Guessing {
    /// The sparsity of their passes.
    pub(in crate::session) level: f32,
    /// Those that are made, of so many.
    pub(in crate::session) made: usize,
    of: usize,
}

impl Drafts {
    /// The sparsity that the model makes drafts at for a token at this position, if it is to.
    fn level(&self, model: &Model, position: usize, sparsity: f32) -> Option<f32> {
        let level = LEVEL.min(model.max_sparsity());
        let sparser = level > sparsity && model.sparsity_at(position, level) == level;
        (self.options.own && sparser).then_some(level)
    }
}

impl Session {
    /// How many drafts it pays to have the model make for a pass at this sparsity, at most so many.
    pub(super) fn own_drafts(
        &mut self,
        position: usize,
        sparsity: f32,
        most: usize,
        price: Price,
    ) -> Option<(DraftChoice, Guessing)> {
        let model = &self.engine.model;
        let level = self.drafts.level(model, position, sparsity)?;
        let price = price.drafted_at(model, sparsity, level, self.drafts.cost);
        let choice = self.drafts.odds.choose(&[Source::Own; MAX_DRAFTS][..most], price);
        if choice.rate < PROMISE {
            self.drafts.odds.forget_own();
            return None;
        }
        Some((choice, Guessing { level, made: 0, of: choice.count }))
    }

    /// Takes the draft that has come to the head, if the job makes drafts: then it goes on, with the next draft or with
    /// the check.
    pub(in crate::session) fn take_guess(&mut self) -> Result<bool> {
        let Some(Job { guessing: Some(Guessing { level, made, of }), until, sparsity, .. }) = self.job else {
            return Ok(false);
        };
        let token = &self.engine.head.drafts[made];
        let guess = matches!(token.stage, HeadStage::Done { .. }).then(|| argmax(&token.logits));
        // Of what comes later the constraint knows nothing yet.
        let guide = self.logits_processor.guide.as_deref().filter(|_| made == 0);
        let guess = guess.filter(|&guess| guide.is_none_or(|guide| guide.allows(guess)));
        if let Some(guess) = guess {
            self.engine.ahead.put(made, guess);
            self.drafts.sources[made] = Source::Own;
        }
        let made = made + usize::from(guess.is_some());
        let more = guess.is_some() && made < of;
        let first = if more { until - 1 + made } else { until - 1 };
        let job = self.job.as_mut().expect("it is under way");
        job.phase = Phase::Blocks { first, end: first };
        if more {
            job.guessing = Some(Guessing { level, made, of });
        } else {
            (job.guessing, job.drafts) = (None, made);
            self.drafts.go_on(until, 0, self.engine.ahead.tokens()[..made].first().copied());
            self.load_thresholds(sparsity)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
