//! From the last hidden states to logits, or to the largest of them alone.

use super::budget::{Budget, Flow, Halt};
use super::buffers::HeadBuffers;
use super::engine::{Engine, UNIT};
use super::pass::view;
use super::shared::{Shared, share};
use super::work::{SHARED_BYTES, UNIT_BYTES, Work, cut};
use crate::model::{HeadLook, Model, Rounded, RowsRef};
use crate::sampling::argmax;
use crate::{Error, Result, Status};
use rasp_kernels::{QUANT_GROUP, QuantizedRef};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// One row in so many of the head may remain after a first look; with more the whole head is read.
const CANDIDATES: usize = 32;
/// Rows that are compared together: the compiler turns them into vectors.
const BLOCK: usize = 64;

/// A token at the head, as the parts of a job see it.
pub(super) struct HeadRow<'a> {
    x: &'a [f32],
    whole: &'a [i16],
    /// Of `whole`, one for every 32; or the one of a first look.
    scale: &'a [f32],
    rounded: Option<Rounded>,
    logits: Shared<'a, f32>,
    /// False once a logit was none.
    finite: AtomicBool,
}

impl HeadBuffers {
    /// Prepares a residual stream for the head.
    pub(super) fn prepare(&mut self, model: &Model, hidden: &[f32]) {
        let eps = model.config().rms_norm_eps;
        model.kernels().rms_norm(&mut self.coming, hidden, model.final_norm(), eps);
    }

    /// Keeps what was prepared.
    pub(super) fn keep(&mut self) {
        std::mem::swap(&mut self.last, &mut self.coming);
    }

    /// What was prepared, for all logits.
    pub(super) fn row(&mut self, model: &Model) -> HeadRow<'_> {
        let HeadBuffers { coming, whole, scale, logits, .. } = self;
        if let RowsRef::Quantized(_) = model.lm_head() {
            model.kernels().quantize(whole, scale, coming);
        }
        let (logits, finite) = (Shared::new(logits), AtomicBool::new(true));
        HeadRow { x: coming, whole, scale, rounded: None, logits, finite }
    }

    /// Rounds what was prepared for a first look; false if it is no numbers.
    pub(super) fn round(&mut self) -> bool {
        self.rounded = Rounded::new(&self.coming, &mut self.whole);
        self.rounded.is_some()
    }

    /// What was prepared and rounded.
    pub(super) fn look(&mut self) -> HeadRow<'_> {
        let HeadBuffers { coming, whole, rounded, logits, .. } = self;
        let (logits, finite) = (Shared::new(logits), AtomicBool::new(true));
        HeadRow { x: coming, whole, scale: &[], rounded: *rounded, logits, finite }
    }
}

impl HeadRow<'_> {
    /// Fails if a logit was no number.
    pub(super) fn check(&self) -> Result<()> {
        if self.finite.load(Ordering::Relaxed) { Ok(()) } else { Err(non_finite()) }
    }
}

/// The head's rows that this part reads, in units of work for so many tokens.
fn rows_of_part(
    len: usize,
    row_bytes: usize,
    parts: usize,
    part: usize,
    tokens: usize,
) -> impl Iterator<Item = Range<usize>> {
    let unit = if tokens == 1 { UNIT_BYTES } else { SHARED_BYTES };
    cut(share(len, UNIT, parts, part), UNIT, unit / row_bytes)
}

/// All logits of these tokens, as far as the budget goes.
pub(super) fn all_logits(model: &Model, work: &mut Work<'_>, tokens: &[Option<HeadRow<'_>>]) -> Flow {
    let (kernels, weights, parts) = (model.kernels(), model.lm_head(), work.parts());
    let count = tokens.iter().flatten().count();
    work.large(&|part, pieces| {
        pieces.each(rows_of_part(weights.rows(), weights.row_bytes(), parts, part, count), |rows| {
            for token in tokens.iter().flatten() {
                // SAFETY: shares of different parts do not overlap, and every token has logits of its own.
                let logits = unsafe { token.logits.slice(rows.clone()) };
                match weights.row_range(rows.clone()) {
                    RowsRef::Float(weights) => kernels.dot_rows(logits, token.x, weights),
                    RowsRef::Quantized(weights) => kernels.dot_rows_q(logits, token.whole, token.scale, weights),
                }
                // Compared as integers, which the compiler turns into vectors.
                let largest = logits.iter().fold(0, |largest, x| x.abs().to_bits().max(largest));
                if largest >= f32::INFINITY.to_bits() {
                    token.finite.store(false, Ordering::Relaxed);
                }
            }
        });
    })
}

/// The rough logits of these tokens, from the head in 8 bits.
pub(super) fn rough_logits(
    model: &Model,
    look: &HeadLook,
    work: &mut Work<'_>,
    tokens: &[Option<HeadRow<'_>>],
) -> Flow {
    let (kernels, h, parts) = (model.kernels(), model.config().hidden_size, work.parts());
    let count = tokens.iter().flatten().count();
    work.large(&|part, pieces| {
        pieces.each(rows_of_part(look.scale.len(), h, parts, part, count), |rows| {
            for token in tokens.iter().flatten() {
                // SAFETY: shares of different parts do not overlap, and every token has logits of its own.
                let logits = unsafe { token.logits.slice(rows.clone()) };
                kernels.dot_rows_i8(logits, token.whole, &look.weights[rows.start * h..rows.end * h]);
                let scale = token.rounded.map_or(0.0, |rounded| rounded.scale);
                for (logit, row_scale) in logits.iter_mut().zip(&look.scale[rows.clone()]) {
                    *logit *= row_scale * scale;
                }
            }
        });
    })
}

/// The token of the largest logit, from [`rough_logits`] and, exactly, the rows that can have won; `None` if these are too
/// many. And the bytes of the head that both have read.
pub(super) fn winner(model: &Model, look: &HeadLook, token: &HeadRow<'_>) -> Result<(Option<u32>, u64)> {
    let (kernels, RowsRef::Float(weights)) = (model.kernels(), model.lm_head()) else { return Ok((None, 0)) };
    let Some(rounded) = token.rounded else { return Ok((None, 0)) };
    // SAFETY: no part of a job writes them any more.
    let logits = &*unsafe { token.logits.slice(0..look.scale.len()) };
    // With more candidates than a unit of work reads, the whole head is the better way.
    let most = (logits.len() / CANDIDATES).min(UNIT_BYTES / weights.row_bytes());
    let exact = |row: usize| {
        let mut logit = [0.0];
        kernels.dot_rows(&mut logit, token.x, weights.row_range(row..row + 1));
        if logit[0].is_finite() { Ok(logit[0]) } else { Err(non_finite()) }
    };
    let (winner, candidates) = Candidates { logits, rounded, look, most }.winner(exact)?;
    Ok((winner, model.look_bytes() + (candidates * weights.row_bytes()) as u64))
}

impl Engine {
    /// Prepares row `row` of the last pass for the head: [`logits`](Engine::logits) and [`greedy`](Engine::greedy)
    /// are then of it, whatever passes meanwhile. Until [`HeadBuffers::keep`] what was kept before is there to return to.
    pub(crate) fn prepare_head(&mut self, row: usize) {
        let h = self.model.config().hidden_size;
        self.head.prepare(&self.model, &self.work.buf.hidden[row * h..][..h]);
        self.work.restart();
    }

    /// Prepares what was kept once more.
    pub(crate) fn prepare_kept_head(&mut self) {
        self.head.coming.copy_from_slice(&self.head.last);
        self.work.restart();
    }

    /// All logits of what was prepared, into `head.logits`, as far as the budget goes.
    pub(crate) fn logits(&mut self, budget: &Budget) -> Flow {
        let model = &*self.model;
        let tokens = [Some(self.head.row(model))];
        let outcome = all_logits(model, &mut self.work.team(budget, &self.cancel), &tokens);
        tokens.iter().flatten().try_for_each(HeadRow::check)?;
        outcome?;
        self.head_bytes += model.head_bytes();
        Ok(())
    }

    /// The token of the largest logit, the lowest id on a tie: that of [`logits`](Engine::logits), by reading the
    /// head in 8 bits and then, exactly, the rows that can have won (see [`HeadLook`](crate::model::HeadLook)).
    ///
    /// `None` if the file has no such head, or too many rows remain: compute the logits. Overwrites `head.logits`.
    pub(crate) fn greedy(&mut self, budget: &Budget) -> Flow<Option<u32>> {
        let model = &*self.model;
        let Some(look) = model.head_look() else { return Ok(None) };
        if !self.head.round() {
            return Err(Halt::Failed(non_finite()));
        }
        let tokens = [Some(self.head.look())];
        let mut work = self.work.team(budget, &self.cancel);
        rough_logits(model, look, &mut work, &tokens)?;
        let [Some(token)] = &tokens else { return Ok(None) };
        let (winner, bytes) = work.alone(|| winner(model, look, token))?;
        self.head_bytes += bytes;
        Ok(winner)
    }

    /// Logits of `rows` of the last pass, into `out`: `[rows, vocab]`. Each row has the bits of
    /// [`logits`](Engine::logits).
    pub(crate) fn head_many(&mut self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let model = &*self.model;
        let kernels = model.kernels();
        let h = model.config().hidden_size;
        let buf = &mut self.work.buf;
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
        let mut burst = self.work.team.burst();
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
