//! From the last hidden states to logits, or to the largest of them alone.

use super::budget::{Budget, Flow, Halt};
use super::engine::{Engine, UNIT, view};
use super::shared::{Shared, share};
use super::work::{UNIT_BYTES, Work, cut};
use crate::model::{HeadLook, Rounded, RowsRef};
use crate::sampling::argmax;
use crate::{Error, Result, Status};
use rasp_kernels::{QUANT_GROUP, QuantizedRef};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// One row in so many of the head may remain after a first look; with more the whole head is read.
const CANDIDATES: usize = 32;
/// Rows that are compared together: the compiler turns them into vectors.
const BLOCK: usize = 64;

impl Engine {
    /// Prepares row `row` of the last pass for the head: [`logits`](Engine::logits) and [`greedy`](Engine::greedy)
    /// are then of it, whatever passes meanwhile. Until [`keep_head`](Engine::keep_head) what was kept before is there
    /// to return to.
    pub(crate) fn prepare_head(&mut self, row: usize) {
        let model = &*self.model;
        let (h, eps) = (model.config().hidden_size, model.config().rms_norm_eps);
        let hidden = &self.buf.hidden[row * h..][..h];
        model.kernels().rms_norm(&mut self.buf.coming, hidden, model.final_norm(), eps);
        self.restart();
    }

    /// Prepares what was kept once more.
    pub(crate) fn prepare_kept_head(&mut self) {
        self.buf.coming.copy_from_slice(&self.buf.last);
        self.restart();
    }

    /// Keeps what was prepared.
    pub(crate) fn keep_head(&mut self) {
        std::mem::swap(&mut self.buf.last, &mut self.buf.coming);
    }

    /// All logits of what was prepared, into `buf.logits`, as far as the budget goes.
    pub(crate) fn logits(&mut self, budget: &Budget) -> Flow {
        let model = &*self.model;
        let kernels = model.kernels();
        let weights = model.lm_head();
        let buf = &mut self.buf;
        if let RowsRef::Quantized(_) = weights {
            kernels.quantize(&mut buf.last_i16, &mut buf.last_scale, &buf.coming);
        }
        let (last, last_whole, last_scale) = (&*buf.coming, &*buf.last_i16, &*buf.last_scale);
        let mut work = Work::new(self.team.burst(), budget, &self.cancel, &mut self.place, &mut buf.counts);
        let parts = work.parts();
        let finite = AtomicBool::new(true);
        let logits = Shared::new(&mut buf.logits);
        let most = UNIT_BYTES / weights.row_bytes();
        let outcome = work.large(&|part, pieces| {
            pieces.each(cut(share(weights.rows(), UNIT, parts, part), UNIT, most), |rows| {
                // SAFETY: shares of different parts do not overlap.
                let logits = unsafe { logits.slice(rows.clone()) };
                match weights.row_range(rows) {
                    RowsRef::Float(weights) => kernels.dot_rows(logits, last, weights),
                    RowsRef::Quantized(weights) => kernels.dot_rows_q(logits, last_whole, last_scale, weights),
                }
                // Compared as integers, which the compiler turns into vectors.
                let largest = logits.iter().fold(0, |largest, x| x.abs().to_bits().max(largest));
                if largest >= f32::INFINITY.to_bits() {
                    finite.store(false, Ordering::Relaxed);
                }
            });
        });
        drop(work);
        if !finite.into_inner() {
            return Err(Halt::Failed(non_finite()));
        }
        outcome?;
        self.head_bytes += model.head_bytes();
        Ok(())
    }

    /// The token of the largest logit, the lowest id on a tie: that of [`logits`](Engine::logits), by reading the
    /// head in 8 bits and then, exactly, the rows that can have won (see [`HeadLook`](crate::model::HeadLook)).
    ///
    /// `None` if the file has no such head, or too many rows remain: compute the logits. Overwrites `buf.logits`.
    pub(crate) fn greedy(&mut self, budget: &Budget) -> Flow<Option<u32>> {
        let model = &*self.model;
        let (Some(look), RowsRef::Float(weights)) = (model.head_look(), model.lm_head()) else { return Ok(None) };
        let kernels = model.kernels();
        let buf = &mut self.buf;
        let rounded = Rounded::new(&buf.coming, &mut buf.last_i16).ok_or_else(non_finite)?;
        let x = &*buf.last_i16;
        let mut work = Work::new(self.team.burst(), budget, &self.cancel, &mut self.place, &mut buf.counts);
        let parts = work.parts();
        let logits = Shared::new(&mut buf.logits);
        work.large(&|part, pieces| {
            pieces.each(cut(share(look.scale.len(), UNIT, parts, part), UNIT, UNIT_BYTES / x.len()), |rows| {
                // SAFETY: shares of different parts do not overlap.
                let logits = unsafe { logits.slice(rows.clone()) };
                kernels.dot_rows_i8(logits, x, &look.weights[rows.start * x.len()..rows.end * x.len()]);
                for (logit, scale) in logits.iter_mut().zip(&look.scale[rows]) {
                    *logit *= scale * rounded.scale;
                }
            });
        })?;

        let logits = &*buf.logits;
        // With more candidates than a unit of work reads, the whole head is the better way.
        let most = (logits.len() / CANDIDATES).min(UNIT_BYTES / weights.row_bytes());
        let exact = |row: usize| {
            let mut logit = [0.0];
            kernels.dot_rows(&mut logit, &buf.coming, weights.row_range(row..row + 1));
            if logit[0].is_finite() { Ok(logit[0]) } else { Err(non_finite()) }
        };
        let (winner, candidates) = work.alone(|| Candidates { logits, rounded, look, most }.winner(exact))?;
        drop(work);
        self.head_bytes += model.look_bytes() + (candidates * weights.row_bytes()) as u64;
        Ok(winner)
    }

    /// Logits of `rows` of the last pass, into `out`: `[rows, vocab]`. Each row has the bits of
    /// [`logits`](Engine::logits).
    pub(crate) fn head_many(&mut self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let model = &*self.model;
        let kernels = model.kernels();
        let h = model.config().hidden_size;
        let buf = &mut self.buf;
        for row in rows.clone() {
            let span = row * h..(row + 1) * h;
            let eps = model.config().rms_norm_eps;
            kernels.rms_norm(&mut buf.normed[span.clone()], &buf.hidden[span], model.final_norm(), eps);
        }
        let weights = model.lm_head();
        let normed = view(&buf.normed[rows.start * h..], rows.len(), h);
        let (whole, scale) = match weights {
            RowsRef::Float(_) => (&mut [][..], &mut [][..]),
            RowsRef::Quantized(_) => {
                (&mut buf.whole[..rows.len() * h], &mut buf.whole_scale[..rows.len() * h / QUANT_GROUP])
            }
        };
        if let RowsRef::Quantized(_) = weights {
            kernels.quantize(whole, scale, &buf.normed[rows.start * h..rows.end * h]);
        }
        let whole_cols = if whole.is_empty() { 0 } else { h };
        let whole = QuantizedRef::new(whole, scale, rows.len(), whole_cols).expect("buffers hold a batch");
        let vocab = weights.rows();
        let out = Shared::new(out);
        let mut burst = self.team.burst();
        let parts = burst.parts();
        burst.run(&|part| {
            let columns = share(vocab, UNIT, parts, part);
            // SAFETY: shares of different parts do not overlap.
            let out = unsafe { out.matrix(0..rows.len(), columns.clone(), vocab) };
            match weights.row_range(columns) {
                RowsRef::Float(weights) => kernels.dot_rows_many(out, normed, weights),
                RowsRef::Quantized(weights) => kernels.dot_rows_many_q(out, whole, weights),
            }
        })
    }
}

/// Rows of the head that can have won, after a first look at all.
struct Candidates<'a> {
    logits: &'a [f32],
    rounded: Rounded,
    look: &'a HeadLook,
    /// So many are looked into, at most.
    most: usize,
}

impl Candidates<'_> {
    /// The winner, or none if there are too many candidates; and how many were looked into. `exact` gives a row's logit.
    fn winner(&self, exact: impl Fn(usize) -> Result<f32>) -> Result<(Option<u32>, usize)> {
        let Candidates { logits, look, most, .. } = *self;
        let bound = |row: usize| self.rounded.bound(look.error[row], look.norm[row]);
        let mut winner = argmax(logits) as usize;
        let mut best = exact(winner)?;
        let mut looked = 0;
        // Not `>=`: a NaN, from a damaged file, must be looked into.
        let loses = |row: usize, best: f32| logits[row] + bound(row) < best;
        for start in (0..logits.len()).step_by(BLOCK) {
            let rows = start..logits.len().min(start + BLOCK);
            let lost = {
                let rows = rows.clone();
                let columns = logits[rows.clone()].iter().zip(&look.error[rows.clone()]).zip(&look.norm[rows]);
                columns.fold(true, |all, ((&y, &e), &n)| all & (y + self.rounded.bound(e, n) < best))
            };
            if lost {
                continue;
            }
            for row in rows {
                if loses(row, best) {
                    continue;
                }
                if looked == most {
                    return Ok((None, looked));
                }
                looked += 1;
                let logit = exact(row)?;
                if logit > best || (logit == best && row < winner) {
                    (winner, best) = (row, logit);
                }
            }
        }
        Ok((Some(winner as u32), looked))
    }
}

/// The error for logits that are no numbers.
pub(crate) fn non_finite() -> Error {
    Error::new(
        Status::NonFinite,
        "the logits hold a NaN or an infinity: damaged weights (load with verify to find them), or activations beyond \
         the range of f16 in the KV cache",
    )
}
