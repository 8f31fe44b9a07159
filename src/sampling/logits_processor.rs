//! What stands between the model's logits and the sampler: biases, a constraint and the host's callback, in this order.

use super::argmax;
use super::bias::LogitBias;
use super::callback::{LogitsCallback, SAMPLE};
use crate::arena::Cutter;
use crate::constraint::Guide;
use crate::{Error, Result, Status};

/// Everything that may change the logits of a token before it is sampled.
pub(crate) struct LogitsProcessor {
    pub(crate) bias: LogitBias,
    pub(crate) guide: Option<Box<Guide>>,
    pub(crate) callback: Option<LogitsCallback>,
}

/// What is left to do once the logits are processed.
#[derive(Debug, PartialEq)]
pub(crate) enum Processed {
    /// Sample from the logits as they are now: none is NaN or +∞, and one at least is finite.
    Sample,
    /// The host has chosen.
    Token(u32),
}

impl LogitsProcessor {
    pub(crate) fn cut(cutter: &mut Cutter) -> LogitsProcessor {
        LogitsProcessor { bias: LogitBias::cut(cutter), guide: None, callback: None }
    }

    /// Whether the logits stay as they are.
    pub(crate) fn is_idle(&self) -> bool {
        self.guide.is_none() && self.keeps_values()
    }

    /// Whether logits keep their values, but for those that a constraint forbids.
    pub(crate) fn keeps_values(&self) -> bool {
        self.bias.is_empty() && self.callback.is_none()
    }

    /// A new text begins after the first `from` tokens: what the constraint, if there is one, is about.
    pub(crate) fn begin(&mut self, from: usize) {
        if let Some(guide) = &mut self.guide {
            guide.begin(from);
        }
    }

    /// Of `history` the `discard` tokens after the first `keep` are about to go.
    pub(crate) fn shift(&mut self, history: &[u32], keep: usize, discard: usize) -> Result<()> {
        match &mut self.guide {
            Some(guide) => guide.shift(history, keep, discard),
            None => Ok(()),
        }
    }

    /// What another session has, from where it is, but for the callback: that is the host's business with that one.
    pub(crate) fn go_on_as(&mut self, other: &LogitsProcessor) -> Result<()> {
        self.guide = other.guide.as_ref().map(|guide| guide.fork()).transpose()?;
        self.bias.go_on_as(&other.bias);
        Ok(())
    }

    /// Changes the logits of the token after `history`.
    pub(crate) fn apply(&mut self, logits: &mut [f32], history: &[u32]) -> Result<Processed> {
        self.bias.apply(logits);
        if let Some(guide) = &mut self.guide {
            guide.follow(history)?;
            guide.apply(logits);
        }
        if let Some(callback) = &self.callback {
            match callback.call(logits, history) {
                SAMPLE => {}
                token if self.guide.as_ref().is_some_and(|guide| token >= 0 && !guide.allows(token as u32)) => {
                    let message = format_args!("the logits callback chose token {token}, which the constraint forbids");
                    return Err(Error::new(Status::InvalidArgument, message));
                }
                token if usize::try_from(token).is_ok_and(|token| token < logits.len()) => {
                    return Ok(Processed::Token(token as u32));
                }
                token => {
                    let message =
                        format_args!("the logits callback chose token {token}; the vocabulary has {}", logits.len());
                    return Err(Error::new(Status::OutOfRange, message));
                }
            }
        }
        // Whatever the callback did, the constraint holds.
        if let (Some(guide), Some(_)) = (&self.guide, &self.callback) {
            guide.apply(logits);
        }
        check(logits)?;
        Ok(Processed::Sample)
    }
}

/// Fails unless a token can be sampled.
fn check(logits: &[f32]) -> Result<()> {
    let odd = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
    if let Some(token) = logits.iter().position(odd) {
        let message = format_args!("the logits callback left {} as the logit of token {token}", logits[token]);
        return Err(Error::new(Status::NonFinite, message));
    }
    match logits.get(argmax(logits) as usize) {
        Some(logit) if logit.is_finite() => Ok(()),
        _ => Err(Error::new(Status::InvalidArgument, "every token is forbidden: all logits are -infinity")),
    }
}
