//! Making room in a full context by forgetting tokens in its middle.

use super::Session;
use super::pass::rope_table;
use crate::{Error, Result, Status};

impl Session {
    /// Forgets `discard` tokens after the first `keep`; those after them move up. The session goes on with a context that
    /// never held them in these places (StreamingLLM, arXiv:2309.17453), though what the later tokens took from them
    /// when they passed stays in their keys and values: only passing the rest anew would be rid of it.
    ///
    /// The logits stay those of the last token, as they were. Keys are rotated to their new places in f32 and stored
    /// again: an f16 or 8-bit cache rounds them once more.
    ///
    /// At least one token that has passed must be left after the gap.
    pub fn shift(&mut self, keep: usize, discard: usize) -> Result<()> {
        self.idle()?;
        let passed = self.passed();
        if keep.checked_add(discard).is_none_or(|end| end >= passed) {
            let message = format_args!(
                "cannot keep {keep} tokens and discard {discard}: of {passed} that have passed one must be left after them"
            );
            return Err(Error::new(Status::OutOfRange, message));
        }
        if discard == 0 {
            return Ok(());
        }
        self.steering.shift(&self.tokens, keep, discard);
        let engine = &mut self.engine;
        let half = engine.model.config().head_dim / 2;
        let (cos, sin) = (&mut engine.work.buf.cos[..half], &mut engine.work.buf.sin[..half]);
        rope_table(engine.model.inv_freq(), discard, cos, sin);
        sin.iter_mut().for_each(|sin| *sin = -*sin);
        engine.own.kv.shift(engine.model.kernels(), keep, discard, passed, cos, sin);
        self.tokens.copy_within(keep + discard.., keep);
        self.tokens.truncate(self.tokens.len() - discard);
        self.sparsities.copy_within(keep + discard..passed, keep);
        Ok(())
    }
}
