//! Steps that give text instead of tokens.

use super::Session;
use super::budget::Budget;
use crate::text::Shown;
use crate::{Error, Result, Status};
use std::time::Duration;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model sampled a token that ends a text.
    Token,
    /// A stop string was completed.
    Stop,
    /// The context has no room for another token.
    Context,
}

/// How far a step of an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextStep {
    /// The budget is spent: the next call goes on.
    Pending,
    /// The answer has another token.
    GoesOn,
    /// It is over.
    Ended(Ended),
}

impl Session {
    /// Replaces the strings that end an answer: at most [`MAX_STOPS`](crate::text::MAX_STOPS), of together
    /// [`MAX_STOP_BYTES`](crate::text::MAX_STOP_BYTES), none to clear them. On an error the old ones stay.
    pub fn set_stops<'a>(&mut self, stops: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<()> {
        self.idle()?;
        self.text.set_stops(stops)
    }

    /// Samples the next token as [`step`](Session::step) does, and hands the text that can be shown now to `sink`, in
    /// pieces of together whole characters and at most [`MAX_TEXT_BYTES`](crate::text::MAX_TEXT_BYTES): not what can
    /// still become part of a stop string, and special tokens only as `shown` says.
    ///
    /// `Some` at the end of the answer. Then nothing is held back any more: a stop string and what followed it in the
    /// same token are dropped, anything else has been handed out.
    pub fn step_text(&mut self, shown: impl Into<Shown>, sink: impl FnMut(&[u8])) -> Result<Option<Ended>> {
        match self.step_text_for(&Budget::unlimited(), shown.into(), sink)? {
            TextStep::GoesOn => Ok(None),
            TextStep::Ended(why) => Ok(Some(why)),
            TextStep::Pending => Err(Error::new(Status::Internal, "a step without a budget stopped")),
        }
    }

    /// As much of [`step_text`](Session::step_text) as `time` allows, as for [`step_within`](Session::step_within).
    /// While it is [pending](TextStep::Pending) nothing is handed out, and the next call goes on.
    pub fn step_text_within(
        &mut self,
        time: Duration,
        shown: impl Into<Shown>,
        sink: impl FnMut(&[u8]),
    ) -> Result<TextStep> {
        let budget = self.budget(time);
        self.step_text_for(&budget, shown.into(), sink)
    }

    fn step_text_for(&mut self, budget: &Budget, shown: Shown, sink: impl FnMut(&[u8])) -> Result<TextStep> {
        // A prompt under way may fill the context.
        if !self.prompt_passes(budget)? {
            return Ok(TextStep::Pending);
        }
        if !self.is_pending() && !self.tokens.is_empty() && self.tokens.len() == self.tokens.capacity() {
            return Ok(TextStep::Ended(self.end_text(Ended::Context, sink)));
        }
        let Some(token) = self.step_for(budget)? else { return Ok(TextStep::Pending) };
        Ok(self.push_text(token, shown, sink).map_or(TextStep::GoesOn, TextStep::Ended))
    }

    /// What [`step_text`](Session::step_text) does with the token it has sampled, for one that
    /// [`step_batch`](Session::step_batch) has.
    pub fn push_text(&mut self, token: u32, shown: impl Into<Shown>, mut sink: impl FnMut(&[u8])) -> Option<Ended> {
        let shows = self.engine.model.shows(token, shown.into());
        let tokenizer = self.engine.model.tokenizer();
        if self.text.push(tokenizer, token, shows, &mut sink) {
            return Some(Ended::Stop);
        }
        tokenizer.is_end(token).then(|| self.end_text(Ended::Token, sink))
    }

    /// Ends an answer where the host wants it to end: hands out what [`step_text`](Session::step_text) holds back.
    pub fn finish_text(&mut self, sink: impl FnMut(&[u8])) {
        self.end_text(Ended::Context, sink);
    }

    /// What comes from now on is a new answer.
    pub(super) fn begin_answer(&mut self) {
        self.text.clear();
        self.logits_processor.begin(self.tokens.len());
    }

    fn end_text(&mut self, why: Ended, sink: impl FnMut(&[u8])) -> Ended {
        if self.text.finish(sink) { Ended::Stop } else { why }
    }
}
