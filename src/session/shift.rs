//! Making room in a full context by forgetting tokens in its middle.

use super::pass::rope_table;
use super::{Ready, Session};
use crate::model::{Layer, Model, NormKind};
use crate::{Error, Result, Status};

impl Session {
    /// Forgets `discard` tokens after the first `keep`; those after them move up. The session goes on with a context
    /// that never held them in these places (StreamingLLM, arXiv:2309.17453), though what the later tokens took from
    /// them when they passed stays in their keys and values: only passing the rest anew would be rid of it.
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
        let model = self.engine.model.clone();
        check_movable(&model)?;
        // What is left has a window, and its last token may pass again.
        if !self.engine.own.kv.can_shift(&(keep..keep + discard), passed) || self.check_windows().is_err() {
            let message = format_args!(
                "the session holds windows alone, and not the {keep} tokens to be kept: keep fewer, or open it so that it \
                 holds all keys and values"
            );
            return Err(Error::new(Status::OutOfRange, message));
        }
        // After a rewind the last token would pass once more, and among the tokens that are left give other logits.
        if self.ready == Ready::Cached && !self.pending {
            self.logits()?;
        }
        self.logits_processor.shift(&self.tokens, keep, discard)?;
        self.engine.ahead.forget();
        let (kernels, half) = (model.kernels(), model.config().head_dim / 2);
        let buf = &mut self.engine.work.buf;
        let angles = |table: usize| table * half..(table + 1) * half;
        for table in 0..model.ropes().len() {
            let (cos, sin) = (&mut buf.cos[angles(table)], &mut buf.sin[angles(table)]);
            // What turning multiplies by is in the keys.
            rope_table(model.rope(table), 1.0, discard, cos, sin);
            sin.iter_mut().for_each(|sin| *sin = -*sin);
        }
        for (n, layer) in model.layers().iter().enumerate() {
            let table = model.config().block.attention(n).rope;
            let gain = gain_of_turned(&model, layer);
            let turn = |head: usize, key: &mut [f32]| {
                let Some(table) = table else { return };
                let (cos, sin) = (&buf.cos[angles(table)], &buf.sin[angles(table)]);
                let gain = gain.map(|gain| &gain[head * key.len()..][..key.len()]);
                if let Some(gain) = gain {
                    key.iter_mut().zip(gain).for_each(|(k, g)| *k /= g);
                }
                kernels.rope(key, cos, sin);
                if let Some(gain) = gain {
                    key.iter_mut().zip(gain).for_each(|(k, g)| *k *= g);
                }
            };
            self.engine.own.kv.shift(kernels, n, keep..keep + discard, passed, turn);
        }
        self.engine.own.kv.shifted(passed - discard);
        self.tokens.copy_within(keep + discard.., keep);
        self.tokens.truncate(self.tokens.len() - discard);
        self.sparsities.copy_within(keep + discard..passed, keep);
        Ok(())
    }
}

/// The gain of a layer's norm of keys, if it comes after they are turned: then they are turned without it.
fn gain_of_turned<'a>(model: &Model, layer: &'a Layer) -> Option<&'a [f32]> {
    let after = model.config().block.qk_norm.is_some_and(|norm| norm.after_rotation);
    layer.qk_norm().filter(|_| after).map(|[_, keys]| keys.gain())
}

/// Fails for a model whose keys hang on their position in a way that cannot be undone.
fn check_movable(model: &Model) -> Result<()> {
    let refused = |message: &str| Err(Error::new(Status::Unsupported, message));
    if model.positions().is_some() {
        return refused("this model adds a vector for each position to its embedding: keys cannot be moved to others");
    }
    let after = model.config().block.qk_norm.filter(|norm| norm.after_rotation);
    let gains = model.layers().iter().filter_map(|layer| gain_of_turned(model, layer));
    let undone = gains.flatten().all(|gain| gain.abs() > f32::MIN_POSITIVE);
    if after.is_some_and(|norm| norm.kind == NormKind::Layer) || !undone {
        return refused("this model norms keys after turning them, and that cannot be undone: they cannot be moved");
    }
    Ok(())
}
