//! The choice of a token: the model's logits, what the host makes of them, and the sampler.

use super::Session;
use super::pass::buffers::HeadStage;
use crate::Result;
use crate::constraint::{Constraint, Guide};
use crate::sampling::{LogitsCallback, Processed};
use crate::text::Tokenizer;
use std::sync::Arc;

impl Session {
    /// Replaces the biases that are added to the logits of single tokens before sampling: at most
    /// [`MAX_LOGIT_BIASES`](crate::sampling::MAX_LOGIT_BIASES) pairs of a token and its bias, none to clear them.
    /// `-∞` forbids a token. On an error the old ones stay.
    pub fn set_logit_bias(&mut self, biases: &[(u32, f32)]) -> Result<()> {
        self.set_logit_biases(biases.iter().copied())
    }

    pub(crate) fn set_logit_biases(&mut self, biases: impl ExactSizeIterator<Item = (u32, f32)> + Clone) -> Result<()> {
        self.idle()?;
        self.logits_processor.bias.set(biases, self.engine.model.config().vocab_size)
    }

    /// Has the host look at the logits, change them or choose a token itself, before every sampled token; `None` ends
    /// that. It is called after the biases are added.
    ///
    /// A step fails and leaves the session as it was if the callback leaves a NaN or +∞
    /// ([`NonFinite`](crate::Status::NonFinite)), forbids every token
    /// ([`InvalidArgument`](crate::Status::InvalidArgument)) or chooses one that there is not
    /// ([`OutOfRange`](crate::Status::OutOfRange)).
    ///
    /// # Safety
    /// Until another is set or the session is dropped, the function can be called with the context and what
    /// [`LogitsFunction`](crate::sampling::LogitsFunction) says, on every thread that uses the session; it returns and
    /// does not unwind.
    pub unsafe fn set_logits_callback(&mut self, callback: Option<LogitsCallback>) -> Result<()> {
        self.idle()?;
        self.logits_processor.callback = callback;
        Ok(())
    }

    /// Has every answer from now on obey a constraint of this session's model; `None` ends that. An answer begins now,
    /// and anew after each prompt and reset; tokens of the host's choice are part of it. At its end, and where it can
    /// only end, an end token comes. Tokens that are taken back are forgotten by the constraint as well.
    ///
    /// Allocates, and so do the steps that follow. A step fails and leaves the session as it was if the host's own
    /// tokens do not fit or no text fits from here on ([`InvalidState`](crate::Status::InvalidState)), if the
    /// constraint costs more than llguidance's limits allow ([`Unsupported`](crate::Status::Unsupported)) or if there
    /// is no memory ([`OutOfMemory`](crate::Status::OutOfMemory)).
    pub fn set_constraint(&mut self, constraint: Option<Arc<Constraint>>) -> Result<()> {
        self.idle()?;
        self.logits_processor.guide = match constraint {
            None => None,
            Some(constraint) => {
                constraint.check(&self.engine.model)?;
                Some(Guide::new(constraint, self.tokens.len())?)
            }
        };
        Ok(())
    }

    /// Chooses the token after those so far, from the logits, which are there and stay as they are.
    pub(super) fn choose(&mut self) -> Result<u32> {
        let (head, model) = (&mut self.engine.head, &self.engine.model);
        let (idle, penalizes) = (self.logits_processor.is_idle(), self.sampler.penalizes());
        if idle && !penalizes {
            return Ok(self.sampler.sample(&head.token.logits));
        }
        if let HeadStage::Rough { .. } = head.token.stage
            && let Some(guide) = &mut self.logits_processor.guide
        {
            guide.follow(&self.tokens)?;
            head.token.settle_rough(model, |rough| guide.apply(rough))?;
        }
        head.processed.copy_from_slice(&head.token.logits);
        match self.logits_processor.apply(&mut head.processed, &self.tokens)? {
            Processed::Token(token) => Ok(token),
            Processed::Sample => {
                if penalizes {
                    let tokenizer = model.tokenizer();
                    self.sampler.penalize(&mut head.processed, &self.tokens, |token| breaks(tokenizer, token))?;
                }
                Ok(self.sampler.sample(&head.processed))
            }
        }
    }
}

/// Whether repetitions end at this token: a line end, a colon, a quotation mark, an asterisk or a special token.
fn breaks(tokenizer: &Tokenizer, token: u32) -> bool {
    let ends = |bytes: &[u8]| bytes.iter().any(|byte| b"\n:\"*".contains(byte));
    tokenizer.is_special(token) || tokenizer.token_bytes(token).is_some_and(ends)
}
