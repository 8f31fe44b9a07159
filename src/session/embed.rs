//! A text as one vector.

use super::engine::Unobserved;
use super::pass::Mode;
use super::{Ready, Session};
use crate::{Error, Result, Status};

/// What becomes of the vectors of a text's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The last one, which alone has seen the whole text.
    Last,
}

impl Session {
    /// The vector of a text: what the head would take (the residual stream after the last block and the final norm) of
    /// each token, pooled: `[hidden]`, of length 1 with `normalise`. Computed densely, in the session's own buffers.
    ///
    /// The session must hold no tokens, and holds none afterwards.
    pub fn embed(&mut self, tokens: &[u32], pooling: Pooling, normalise: bool) -> Result<&[f32]> {
        self.idle()?;
        if !self.tokens.is_empty() {
            let message =
                format_args!("the session holds {} tokens: reset it, or embed in one of its own", self.tokens.len());
            return Err(Error::new(Status::InvalidState, message));
        }
        if tokens.is_empty() {
            return Err(Error::new(Status::InvalidArgument, "a text of no tokens"));
        }
        self.check(tokens)?;
        self.ready = Ready::Nothing;
        self.engine.own.kv.forget();
        let outcome = self.pool(tokens, pooling);
        self.settle_cancelled(&outcome);
        outcome?;
        self.scale_embedding(if pooling == Pooling::Mean { tokens.len() } else { 1 }, normalise)?;
        Ok(&self.engine.head.last)
    }

    /// The sum of the tokens' vectors, in ascending order so that it does not depend on batches, or the last of them,
    /// into `head.last`.
    fn pool(&mut self, tokens: &[u32], pooling: Pooling) -> Result<()> {
        let model = self.engine.model.clone();
        let h = model.config().hidden_size;
        let mut position = 0;
        for chunk in tokens.chunks(self.engine.batch()) {
            self.engine.forward(chunk, position, usize::MAX, Mode::Prompt, &mut Unobserved)?;
            let (buf, last) = (&mut self.engine.work.buf, &mut self.engine.head.last);
            if position == 0 {
                last.fill(0.0);
            }
            position += chunk.len();
            let first = if pooling == Pooling::Mean { 0 } else { chunk.len() - 1 };
            for hidden in buf.hidden[first * h..chunk.len() * h].chunks_exact(h) {
                let normed = &mut buf.normed[..h];
                model.final_norm().apply(model.kernels(), normed, hidden, 0..h);
                match pooling {
                    Pooling::Mean => last.iter_mut().zip(normed).for_each(|(sum, x)| *sum += *x),
                    Pooling::Last => last.copy_from_slice(normed),
                }
            }
        }
        Ok(())
    }

    /// Divides the embedding by `count`, or by its length.
    fn scale_embedding(&mut self, count: usize, normalise: bool) -> Result<()> {
        let vector = &mut self.engine.head.last;
        let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        if !length.is_finite() || (normalise && length == 0.0) {
            let message =
                "the embedding holds a NaN or an infinity, or has no direction: damaged weights (load with verify)";
            return Err(Error::new(Status::NonFinite, message));
        }
        let divisor = if normalise { length } else { count as f64 };
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / divisor) as f32);
        Ok(())
    }
}
