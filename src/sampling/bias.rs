//! What the host adds to the logits of single tokens.

use crate::arena::{Cutter, List, MemoryUse};
use crate::{Error, Result, Status};

/// The most tokens that can have a bias at once.
pub const MAX_LOGIT_BIASES: usize = 256;

/// Biases lie within this, so that no sum with a logit leaves the range of f32.
const LARGEST: f32 = 1e6;

/// Biases of single tokens, in the order they were given.
pub(crate) struct LogitBias(List<(f32, u32)>);

impl LogitBias {
    /// None yet. Their place is the session's memory: a small stack has no room for them while one is opened.
    pub(crate) fn cut(cutter: &mut Cutter) -> LogitBias {
        LogitBias(cutter.part(MemoryUse::Bookkeeping).list(MAX_LOGIT_BIASES))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same biases as another session's.
    pub(crate) fn go_on_as(&mut self, other: &LogitBias) {
        self.0.clear();
        self.0.extend_from_slice(&other.0);
    }

    /// Replaces all biases. On an error the old ones stay.
    pub(crate) fn set(
        &mut self,
        biases: impl ExactSizeIterator<Item = (u32, f32)> + Clone,
        vocab: usize,
    ) -> Result<()> {
        let len = biases.len();
        if len > MAX_LOGIT_BIASES {
            let message = format_args!("{len} logit biases; a session takes {MAX_LOGIT_BIASES}");
            return Err(Error::new(Status::OutOfRange, message));
        }
        for (index, (token, bias)) in biases.clone().enumerate() {
            if token as usize >= vocab {
                let message = format_args!("logit bias {index} is for token {token}; the vocabulary has {vocab}");
                return Err(Error::new(Status::OutOfRange, message));
            }
            // A NaN is in no range.
            if bias != f32::NEG_INFINITY && !(-LARGEST..=LARGEST).contains(&bias) {
                let message = format_args!(
                    "logit bias {index} is {bias}, neither -infinity nor within {} to {LARGEST}",
                    -LARGEST
                );
                return Err(Error::new(Status::InvalidArgument, message));
            }
        }
        self.0.clear();
        self.0.extend(biases.map(|(token, bias)| (bias, token)));
        Ok(())
    }

    /// Adds every bias to its token's logit; a token that is named twice gets both.
    pub(crate) fn apply(&self, logits: &mut [f32]) {
        for &(bias, token) in &*self.0 {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, MemorySource};

    #[test]
    fn biases_are_checked_before_any_is_taken() {
        let (_arena, mut bias) = Arena::cut(MemorySource::Own, 0, LogitBias::cut).unwrap();
        bias.set([(1, 2.0), (1, 0.5), (2, f32::NEG_INFINITY)].into_iter(), 4).unwrap();
        for (given, status, word) in [
            (vec![(0, 1.0), (4, 1.0)], Status::OutOfRange, "bias 1 is for token 4"),
            (vec![(0, f32::NAN)], Status::InvalidArgument, "NaN"),
            (vec![(0, f32::INFINITY)], Status::InvalidArgument, "inf"),
            (vec![(0, 2e6)], Status::InvalidArgument, "2000000"),
            (vec![(0, 1.0); MAX_LOGIT_BIASES + 1], Status::OutOfRange, "257"),
        ] {
            let error = bias.set(given.into_iter(), 4).unwrap_err();
            assert!(error.status() == status && error.message().contains(word), "{error}");
        }
        let mut logits = [1.0; 4];
        bias.apply(&mut logits);
        assert_eq!(logits, [1.0, 3.5, f32::NEG_INFINITY, 1.0]);
        bias.set([].into_iter(), 4).unwrap();
        assert!(bias.is_empty());
    }
}
