//! Drafts: guesses at the next tokens that pass along with the one in hand, and are right or not.
//!
//! A token costs reading the weights, several in one pass little more (speculative decoding, arXiv:2211.17192). A token
//! in a pass of several has the sums of one alone, to the bit, so nothing of the text hangs on drafts: each token is
//! sampled from the very logits that it would have been sampled from, and while it is the draft, the pass for it has
//! been made. What passed behind a wrong draft is forgotten; its keys and values are written over.

mod lookup;
mod odds;
mod own;

use super::Session;
use super::job::Job;
use super::pass::buffers::HeadStage;
use crate::arena::{Arena, Cutter, MemorySource};
use crate::constraint::Guide;
use crate::{Error, Result, Status};
use lookup::{Lookup, Match};
use odds::{DraftChoice, Odds, Price, Source};
pub(super) use own::Guessing;

/// The most drafts of a pass.
pub const MAX_DRAFTS: usize = 7;

/// What a session guesses the next tokens by, and how many at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DraftOptions {
    /// What stood after the longest earlier match of the last tokens, in the context and in the text that the host
    /// gave: for answers that quote, edit or repeat.
    pub lookup: bool,
    /// What a [constraint](Session::set_constraint) leaves no choice of: keys and punctuation of an answer in JSON.
    pub forced: bool,
    /// What the model itself says at a sparser level of its file, where neither of these promises more. It costs
    /// passes, and pays where a pass takes as long as reading its weights: in 16 bits, densely.
    pub own: bool,
    /// Drafts of a pass, at most: no more than the session was [opened for](super::SessionOptions::drafts). Fewer pass,
    /// or none, where they have not been right often enough to pay.
    pub most: usize,
}

impl DraftOptions {
    /// Up to so many drafts, by whatever costs no pass; none if `most` is 0.
    pub fn all(most: usize) -> DraftOptions {
        DraftOptions { lookup: most > 0, forced: most > 0, own: false, most }
    }
}

/// What drafts have done since the session was opened or its statistics were cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DraftStats {
    /// Drafts that have passed.
    pub drafted: u64,
    /// Those of them that were right: tokens that took no pass of their own.
    pub accepted: u64,
}

/// Drafts that pass, or have passed, behind the last token. They belong to an engine, for whatever else passes there
/// takes their places.
#[derive(Default)]
pub(super) struct Ahead {
    tokens: [u32; MAX_DRAFTS],
    /// Of the first one.
    position: usize,
    /// Those that have passed, and of these those that were right and are tokens now.
    count: usize,
    used: usize,
    sparsity: f32,
    /// Bytes of linear weights that each has read.
    read: [u64; MAX_DRAFTS],
}

impl Ahead {
    /// The drafts that are to pass come first.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The `n`-th draft that is to pass.
    fn put(&mut self, n: usize, token: u32) {
        self.tokens[n] = token;
    }

    /// Those that have passed.
    fn passing(&self) -> &[u32] {
        &self.tokens[..self.count]
    }

    /// The first `count` drafts have passed from this position on.
    pub(super) fn passed(&mut self, position: usize, count: usize, sparsity: f32, read: impl Fn(usize) -> u64) {
        (self.position, self.count, self.used, self.sparsity) = (position, count, 0, sparsity);
        (0..count).for_each(|n| self.read[n] = read(n));
    }

    /// None has passed: their places hold something else from now on.
    pub(super) fn forget(&mut self) {
        (self.count, self.used) = (0, 0);
    }

    /// The draft that has passed as the token that is to pass now, if one has.
    fn find(&self, position: usize, token: u32, sparsity: f32) -> Option<usize> {
        let n = self.used;
        let is_it = n < self.count
            && (self.position + n, self.tokens[n]) == (position, token)
            && self.sparsity.to_bits() == sparsity.to_bits();
        is_it.then_some(n)
    }
}

/// What a session makes drafts of.
pub(super) struct Drafts {
    options: DraftOptions,
    /// Of the tokens so far.
    context: Lookup,
    /// Of the host's text, and its memory.
    given: Option<(Lookup, Arena)>,
    odds: Odds,
    /// What a pass that makes a draft is taken to cost, of what it does: all of it, but for tests.
    cost: f32,
    /// What the last drafts came from.
    sources: [Source; MAX_DRAFTS],
    /// The draft that is looked at next.
    expected: Option<ExpectedDraft>,
    pub(super) stats: DraftStats,
}

#[derive(Clone, Copy)]
struct ExpectedDraft {
    position: usize,
    draft: u32,
    source: Source,
}

impl Drafts {
    /// With room for as many tokens if there are to be drafts.
    pub(super) fn cut(cutter: &mut Cutter, context: usize, most: usize) -> Drafts {
        Drafts {
            options: DraftOptions::all(most),
            context: Lookup::cut(cutter, if most > 0 { context } else { 0 }),
            given: None,
            odds: Odds::new(),
            cost: 1.0,
            sources: [Source::Forced; MAX_DRAFTS],
            expected: None,
            stats: DraftStats::default(),
        }
    }

    /// Goes on with what another session knows, and as it is told to, as far as there is room; but without the text
    /// that the host gave that one.
    pub(super) fn go_on_as(&mut self, other: &Drafts) {
        let room = if self.context.room() > 0 { other.options.most } else { 0 };
        self.options = DraftOptions { most: self.options.most.min(room), ..other.options };
        self.odds.clone_from(&other.odds);
    }

    /// Nothing is known of how often drafts are right.
    pub(super) fn restart(&mut self) {
        (self.odds, self.expected) = (Odds::new(), None);
    }

    /// The token at this position has come.
    fn learn(&mut self, position: usize, token: u32) {
        if let Some(ExpectedDraft { draft, source, .. }) =
            self.expected.filter(|expected| expected.position == position)
        {
            self.odds.note(source, draft == token);
        }
    }

    /// The drafts before have been right: this one is looked at next, the `n`-th of the pass.
    fn go_on(&mut self, position: usize, n: usize, draft: Option<u32>) {
        self.expected = draft.map(|draft| ExpectedDraft { position, draft, source: self.sources[n] });
    }

    /// Drafts of what comes after these tokens, into `drafts`, and how many of up to `most` pay. Of a constraint's
    /// texts all go on with `forced`, and with nothing that it does not allow.
    fn make(
        &mut self,
        tokens: &[u32],
        forced: &[u32],
        allows: impl Fn(u32) -> bool,
        most: usize,
        price: Price,
        drafts: &mut [u32; MAX_DRAFTS],
    ) -> DraftChoice {
        let found = if self.options.lookup { find(&mut self.context, &self.given, tokens) } else { None };
        // What must come goes first, and a match behind it if its text says the same.
        let found = found.filter(|&(text, found)| match forced {
            [] => allows(text.after(found, 0)),
            forced => forced.iter().enumerate().all(|(n, &token)| text.after(found, n) == token),
        });
        let mut count = 0;
        for (n, (draft, source)) in drafts.iter_mut().zip(&mut self.sources).enumerate().take(most) {
            (*draft, *source) = match (forced.get(n), found) {
                (Some(&token), _) => (token, Source::Forced),
                (None, Some((text, found))) => (text.after(found, n), Source::Match(found.length + n)),
                (None, None) => break,
            };
            count += 1;
        }
        self.go_on(tokens.len(), 0, drafts[..count].first().copied());
        self.odds.choose(&self.sources[..count], price)
    }
}

/// The longest match of the end of these tokens, and the text that it is in.
fn find<'a>(
    context: &'a mut Lookup,
    given: &'a Option<(Lookup, Arena)>,
    tokens: &[u32],
) -> Option<(&'a Lookup, Match)> {
    context.set(tokens);
    let given = given.as_ref().and_then(|(given, _)| Some((given, given.find(tokens)?)));
    let own = context.find(tokens).map(|found| (&*context, found));
    // Of matches as long the session's own text has the last word.
    let longer = |(_, own): &(&Lookup, Match)| given.is_none_or(|(_, given)| own.length >= given.length);
    own.filter(longer).or(given)
}

impl Session {
    /// Sets what the next tokens are guessed by from now on, and how many at a time. Tokens, logits and random numbers
    /// are the same with drafts and without, to the bit; steps take turns at a longer pass and none. With a
    /// [deadline](Session::set_deadline) there are no drafts.
    ///
    /// `text` is looked into beside the context: a file that is being edited, a log, the fixed parts of an answer. It
    /// replaces the one before, and takes 12 to 16 bytes of memory a token; none to have none.
    pub fn set_drafts(&mut self, options: DraftOptions, text: &[u32]) -> Result<()> {
        self.idle()?;
        let room = self.options.drafts;
        if options.most > room {
            let message = format_args!("{} drafts in a pass; the session was opened for {room}", options.most);
            return Err(Error::new(Status::OutOfRange, message));
        }
        self.check_ids(text)?;
        if u32::try_from(text.len()).is_err() {
            return Err(Error::new(Status::OutOfRange, format_args!("a text of {} tokens for drafts", text.len())));
        }
        self.drafts.given = match text.is_empty() {
            true => None,
            false => {
                let (arena, mut given) = Arena::cut(MemorySource::Own, 0, |cutter| Lookup::cut(cutter, text.len()))?;
                given.set(text);
                Some((given, arena))
            }
        };
        self.drafts.options = options;
        Ok(())
    }

    /// What drafts are made by.
    pub fn drafts(&self) -> DraftOptions {
        self.drafts.options
    }

    /// The draft that the token which is to pass now has passed as, if it has: then it is at the head, until it is
    /// [used](Session::use_draft) or [given back](Session::give_back_draft).
    pub(super) fn take_draft(&mut self, position: usize, sparsity: f32) -> Option<usize> {
        let (token, deciding) = (self.tokens[position], self.deciding());
        self.drafts.learn(position, token);
        let engine = &mut self.engine;
        let n = engine.ahead.find(position, token, sparsity)?;
        std::mem::swap(&mut engine.head.token, &mut engine.head.drafts[n]);
        let token = &mut engine.head.token;
        match (token.stage, deciding) {
            (HeadStage::Done { few: None } | HeadStage::NonFinite, _) => {}
            (HeadStage::Done { few: Some(few) }, Some(wanted)) if !wanted.masked && wanted.few <= few => {}
            (HeadStage::Rough { few }, Some(wanted)) if wanted.masked && wanted.few <= few => {}
            // It is sampled otherwise than was thought.
            _ => token.want(&engine.model, deciding),
        }
        engine.work.restart();
        self.drafts.go_on(position + 1, n + 1, engine.ahead.passing().get(n + 1).copied());
        Some(n)
    }

    /// Counts a draft that was right.
    pub(super) fn use_draft(&mut self, n: usize) {
        let engine = &mut self.engine;
        engine.ahead.used = n + 1;
        engine.traffic.tokens += 1;
        engine.traffic.linear_bytes += engine.ahead.read[n];
        self.drafts.stats.accepted += 1;
    }

    /// The step came to nothing: the draft stays for the next one.
    pub(super) fn give_back_draft(&mut self, n: usize) {
        let head = &mut self.engine.head;
        std::mem::swap(&mut head.token, &mut head.drafts[n]);
    }

    /// The job of a step that passes the token at this position, with what drafts are to pass behind it in a pass with
    /// room for so many, or are to be made before: that takes an engine for itself, which it has `alone`.
    pub(super) fn with_drafts(&mut self, job: Job, position: usize, room: usize, alone: bool) -> Job {
        let (model, sparsity) = (self.engine.model.clone(), job.sparsity);
        let room = room.min(self.tokens.capacity() - self.tokens.len()).min(self.engine.head.drafts.len());
        let most = room.min(self.drafts.options.most);
        // All of a pass are as sparse.
        if most == 0 || self.pace.is_on() || model.sparsity_at(position + room, self.sparsity) != sparsity {
            return job;
        }
        let price = Price::new(&model, sparsity);
        let found = self.find_drafts(most, price);
        match self.own_drafts(position, sparsity, most, price) {
            Some((own, guessing)) if alone && own.rate > found.rate => Job { guessing: Some(guessing), ..job },
            _ => Job { drafts: found.count, ..job },
        }
    }

    /// Looks for drafts of what comes next, at most so many.
    fn find_drafts(&mut self, most: usize, price: Price) -> DraftChoice {
        let guide = self.logits_processor.guide.as_deref_mut();
        // Whatever is wrong with the text is said when the next token is chosen.
        let guide = guide.and_then(|guide| guide.follow(&self.tokens).is_ok().then_some(&*guide));
        let forced = guide.filter(|_| self.drafts.options.forced).map_or(&[][..], Guide::forced);
        let allows = |token| guide.is_none_or(|guide| guide.allows(token));
        self.drafts.make(&self.tokens, forced, allows, most, price, &mut self.engine.ahead.tokens)
    }
}
