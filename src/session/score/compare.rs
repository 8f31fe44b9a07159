//! Comparing predictions: the same tokens of the same window, passed in two ways.
//!
//! Two sets of logits of a window take a gigabyte where the vocabulary is large. What the head makes them from takes a
//! few megabytes, so that is what is kept of the first pass; its head runs again beside the second's.

use super::{LOGIT_ROWS, Scored, Scorer};
use crate::sampling::argmax;
use crate::session::engine::Unobserved;
use crate::session::pass::non_finite;
use crate::{Error, Result, Status};

/// What a pass of a window left behind: all that its predictions are made of, 4 bytes for each of the hidden channels
/// of each token.
pub struct Passed {
    /// The last residual streams, `[tokens, hidden]`
    hidden: Vec<f32>,
}

/// One token of a window, predicted in two ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    /// As the pass in question predicts it.
    pub scored: Scored,
    /// As the reference does.
    pub reference: Scored,
    /// The Kullback-Leibler divergence `Σ p·ln(p/q)` of the prediction `q` from the reference `p`, in nats.
    pub divergence: f64,
    /// True if both find the same token likeliest, be it the one that follows or not.
    pub same_greedy: bool,
}

impl Scorer {
    /// Passes a window, from index `sparse_from` on sparsely, to be the reference that [`compare`](Scorer::compare)
    /// holds other passes of it to. With `sparse_from` at the window's length or beyond it is the dense model.
    pub fn reference(&mut self, tokens: &[u32], sparse_from: usize) -> Result<Passed> {
        self.check(tokens)?;
        let width = self.engine.model.config().hidden_size;
        let mut hidden = Vec::with_capacity(tokens.len() * width);
        self.pass(tokens, 0, sparse_from, &mut Unobserved, |engine, _, _, count| {
            hidden.extend_from_slice(engine.last_hidden(count));
            Ok(())
        })?;
        Ok(Passed { hidden })
    }

    /// Scores the tokens of a window after its first as [`score`](Scorer::score) does, each beside what `reference`
    /// says of it: a pass of the same window, by a scorer of the same model.
    ///
    /// Returns `tokens.len() - 1` comparisons. Fails for a reference of another length or width.
    pub fn compare(&mut self, tokens: &[u32], sparse_from: usize, reference: &Passed) -> Result<Vec<Compared>> {
        self.check(tokens)?;
        let config = self.engine.model.config();
        let (width, vocab) = (config.hidden_size, config.vocab_size);
        if reference.hidden.len() != tokens.len() * width {
            let (own, others) = (tokens.len(), reference.hidden.len());
            let message = format_args!("a window of {own} tokens of {width} channels, a reference of {others} numbers");
            return Err(Error::new(Status::InvalidArgument, message));
        }
        let mut others = vec![0.0; LOGIT_ROWS * vocab];
        let mut compared = Vec::with_capacity(tokens.len().saturating_sub(1));
        self.pass(tokens, 0, sparse_from, &mut Unobserved, |engine, logits, first, count| {
            // Nothing is asked of the last token of all.
            let wanted = count.min(tokens.len() - 1 - first);
            for start in (0..wanted).step_by(LOGIT_ROWS) {
                let rows = start..wanted.min(start + LOGIT_ROWS);
                let logits = &mut logits[..rows.len() * vocab];
                engine.head_many(rows.clone(), logits)?;
                // Where both passed densely they are one.
                let other = &reference.hidden[(first + rows.start) * width..(first + rows.end) * width];
                let other = match engine.last_hidden(rows.end)[rows.start * width..] == *other {
                    true => &*logits,
                    false => {
                        engine.put_hidden(rows.start, other);
                        engine.head_many(rows.clone(), &mut others[..logits.len()])?;
                        &others[..logits.len()]
                    }
                };
                for ((row, q), p) in rows.zip(logits.chunks_exact(vocab)).zip(other.chunks_exact(vocab)) {
                    compared.push(comparison(p, q, tokens[first + row + 1])?);
                }
            }
            Ok(())
        })?;
        Ok(compared)
    }
}

/// Logits `q` of a token beside those of a reference.
fn comparison(p: &[f32], q: &[f32], token: u32) -> Result<Compared> {
    let (best_p, best_q) = (argmax(p), argmax(q));
    let (largest_p, largest_q) = (p[best_p as usize], q[best_q as usize]);
    let sums = DivergenceSums::of(p.iter().copied(), largest_p, q, largest_q);
    let divergence = sums.divergence();
    let scored = Scored::of(q, token, best_q, sums.q)?;
    let reference = Scored::of(p, token, best_p, sums.p)?;
    match divergence.is_finite() {
        true => Ok(Compared { scored, reference, divergence, same_greedy: best_p == best_q }),
        false => Err(non_finite()),
    }
}

/// The Kullback-Leibler divergence `Σ p·ln(p/q)` of two distributions that are given as logits `[vocab]`, in nats. Not
/// finite if a logit is no number, or if `q` excludes what `p` does not.
pub fn divergence(p: impl Iterator<Item = f32> + Clone, q: &[f32]) -> f64 {
    let largest = |logits: &mut dyn Iterator<Item = f32>| logits.fold(f32::NEG_INFINITY, f32::max);
    let (largest_p, largest_q) = (largest(&mut p.clone()), largest(&mut q.iter().copied()));
    DivergenceSums::of(p, largest_p, q, largest_q).divergence()
}

/// Sums over the vocabulary, with `p` and `q` logits less the largest of theirs: in f64, of terms in f32.
struct DivergenceSums {
    /// `Σ exp(p)`
    p: f64,
    /// `Σ exp(q)`
    q: f64,
    /// `Σ exp(p)·(p − q)`
    along: f64,
}

impl DivergenceSums {
    fn of(p: impl Iterator<Item = f32>, largest_p: f32, q: &[f32], largest_q: f32) -> DivergenceSums {
        let mut sums = DivergenceSums { p: 0.0, q: 0.0, along: 0.0 };
        for (p, q) in p.zip(q) {
            let (p, q) = (p - largest_p, q - largest_q);
            let weight = f64::from(p.exp());
            sums.p += weight;
            sums.q += f64::from(q.exp());
            // A token that has no weight adds nothing, however unlikely the other finds it.
            if weight != 0.0 {
                sums.along += weight * f64::from(p - q);
            }
        }
        sums
    }

    fn divergence(&self) -> f64 {
        let divergence = self.along / self.p - self.p.ln() + self.q.ln();
        // Less than nothing can only be rounding.
        if divergence < 0.0 { 0.0 } else { divergence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divergence_is_that_of_its_definition() {
        let (p, q) = ([0.5f32, 0.3, 0.2], [0.2f32, 0.2, 0.6]);
        let expected: f64 = p.iter().zip(q).map(|(&p, q)| f64::from(p) * f64::from(p / q).ln()).sum();
        // Logits are known up to a constant.
        let logits = |of: [f32; 3], by: f32| of.map(|x| x.ln() + by);
        let found = divergence(logits(p, -0.5).into_iter(), &logits(q, 7.0));
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        assert!(divergence(logits(p, 3.0).into_iter(), &logits(p, 0.0)) < 1e-6);
        let back = divergence(logits(q, 0.0).into_iter(), &logits(p, 0.0));
        assert!((back - expected).abs() > 0.03, "the two are not alike: {back}");
    }

    #[test]
    fn what_is_excluded_counts_where_the_reference_has_it() {
        let none = f32::NEG_INFINITY;
        assert!((divergence([0.0, none].into_iter(), &[0.0, 0.0]) - 2f64.ln()).abs() < 1e-7);
        assert_eq!(divergence([0.0, none].into_iter(), &[1.0, none]), 0.0);
        assert_eq!(divergence([0.0, 0.0].into_iter(), &[0.0, none]), f64::INFINITY);
        assert!(divergence([f32::NAN, 0.0].into_iter(), &[0.0, 0.0]).is_nan());
    }
}
