//! What stands between the model's logits and the sampler: biases and the host's callback, in this order.

use super::argmax;
use super::bias::LogitBias;
use super::callback::{LogitsCallback, SAMPLE};
use crate::{Error, Result, Status};

/// Everything that may change the logits of a token before it is sampled.
pub(crate) struct Steering {
    pub(crate) bias: LogitBias,
    pub(crate) callback: Option<LogitsCallback>,
}

/// What is left to do after steering.
#[derive(Debug, PartialEq)]
pub(crate) enum Steered {
    /// Sample from the logits as they are now: none is NaN or +∞, and one at least is finite.
    Sample,
    /// The host has chosen.
    Token(u32),
}

impl Steering {
    pub(crate) fn new() -> Steering {
        Steering { bias: LogitBias::new(), callback: None }
    }

    /// Whether the logits stay as they are.
    pub(crate) fn is_idle(&self) -> bool {
        self.bias.is_empty() && self.callback.is_none()
    }

    /// Changes the logits of the token after `history`.
    pub(crate) fn apply(&mut self, logits: &mut [f32], history: &[u32]) -> Result<Steered> {
        self.bias.apply(logits);
        if let Some(callback) = &self.callback {
            match callback.call(logits, history) {
                SAMPLE => {}
                token if usize::try_from(token).is_ok_and(|token| token < logits.len()) => {
                    return Ok(Steered::Token(token as u32));
                }
                token => {
                    let message =
                        format!("the logits callback chose token {token}; the vocabulary has {}", logits.len());
                    return Err(Error::new(Status::OutOfRange, message));
                }
            }
        }
        check(logits)?;
        Ok(Steered::Sample)
    }
}

/// Fails unless a token can be sampled.
fn check(logits: &[f32]) -> Result<()> {
    // A NaN is not less.
    let odd = |logit: &f32| !(*logit < f32::INFINITY);
    if let Some(token) = logits.iter().position(odd) {
        let message = format!("the logits callback left {} as the logit of token {token}", logits[token]);
        return Err(Error::new(Status::NonFinite, message));
    }
    match logits.get(argmax(logits) as usize) {
        Some(logit) if logit.is_finite() => Ok(()),
        _ => Err(Error::new(Status::InvalidArgument, "every token is forbidden: all logits are -infinity")),
    }
}
