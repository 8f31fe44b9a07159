//! From the last hidden states to logits.

use super::budget::{Budget, Flow};
use super::buffers::HeadBuffers;
use super::engine::{Engine, UNIT};
use super::pass::view;
use super::shared::{Shared, share};
use super::work::{SHARED_BYTES, UNIT_BYTES, Work, cut};
use crate::model::{Model, RowsRef};
use crate::{Error, Result, Status};
use rasp_kernels::{QUANT_GROUP, QuantizedRef};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// A token at the head, as the parts of a job see it.
pub(super) struct HeadRow<'a> {
    x: &'a [f32],
    whole: &'a [i16],
    /// Of `whole`, one for every 32.
    scale: &'a [f32],
    pub(super) logits: Shared<'a, f32>,
    /// False once a logit was none.
    finite: AtomicBool,
}

impl HeadBuffers {
    /// Prepares a residual stream for the head.
    pub(super) fn prepare(&mut self, model: &Model, hidden: &[f32]) {
        model.final_norm().apply(model.kernels(), &mut self.coming, hidden, 0..hidden.len());
    }

    /// Keeps what was prepared.
    pub(super) fn keep(&mut self) {
        std::mem::swap(&mut self.last, &mut self.coming);
    }

    /// What was prepared, for all logits.
    pub(super) fn row(&mut self, model: &Model) -> HeadRow<'_> {
        let HeadBuffers { coming, whole, scale, logits, .. } = self;
        HeadRow::new(model, coming, whole, scale, logits)
    }
}

impl<'a> HeadRow<'a> {
    /// `whole` and `scale` take `x` in whole numbers, where the head is in such.
    pub(super) fn new(
        model: &Model,
        x: &'a [f32],
        whole: &'a mut [i16],
        scale: &'a mut [f32],
        logits: &'a mut [f32],
    ) -> HeadRow<'a> {
        if let RowsRef::Quantized(_) = model.lm_head() {
            model.kernels().quantize(whole, scale, x, 0.0);
        }
        HeadRow { x, whole, scale, logits: Shared::new(logits), finite: AtomicBool::new(true) }
    }

    /// The logits of these rows. One that is no number is remembered.
    pub(super) fn logits_of(&self, model: &Model, rows: Range<usize>, logits: &mut [f32]) {
        match model.lm_head().row_range(rows.clone()) {
            RowsRef::Float(weights) => model.kernels().dot_rows(logits, self.x, weights),
            RowsRef::Quantized(weights) => model.kernels().dot_rows_q(logits, self.whole, self.scale, weights),
        }
        model.finish_logits(rows, logits);
        // Compared as integers, which the compiler turns into vectors.
        let largest = logits.iter().fold(0, |largest, x| x.abs().to_bits().max(largest));
        if largest >= f32::INFINITY.to_bits() {
            self.finite.store(false, Ordering::Relaxed);
        }
    }

    /// Fails if a logit was no number.
    pub(super) fn check(&self) -> Result<()> {
        if self.finite.load(Ordering::Relaxed) { Ok(()) } else { Err(non_finite()) }
    }
}

/// The head's rows that this part reads, in units of work for so many tokens.
pub(super) fn rows_of_part(
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
    let (weights, parts) = (model.lm_head(), work.parts());
    let count = tokens.iter().flatten().count();
    work.large(&|part, pieces| {
        pieces.each(rows_of_part(weights.rows(), weights.row_bytes(), parts, part, count), |rows| {
            for token in tokens.iter().flatten() {
                // SAFETY: shares of different parts do not overlap, and every token has logits of its own.
                let logits = unsafe { token.logits.slice(rows.clone()) };
                token.logits_of(model, rows.clone(), logits);
            }
        });
    })
}

impl Engine {
    /// Prepares row `row` of the last pass for the head: [`logits`](Engine::logits) and [`screen`](Engine::screen)
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

    /// Logits of `rows` of the last pass, into `out`: `[rows, vocab]`. Each row has the bits of
    /// [`logits`](Engine::logits).
    pub(crate) fn head_many(&mut self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let model = &*self.model;
        let kernels = model.kernels();
        let h = model.config().hidden_size;
        let buf = &mut self.work.buf;
        for row in rows.clone() {
            let span = row * h..(row + 1) * h;
            model.final_norm().apply(kernels, &mut buf.normed[span.clone()], &buf.hidden[span], 0..h);
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
            kernels.quantize(whole, scale, &buf.normed[rows.start * h..rows.end * h], 0.0);
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
            let mut out = unsafe { out.matrix(0..rows.len(), columns.clone(), vocab) };
            weights.row_range(columns.clone()).multiply(kernels, out.reborrow(), normed, whole);
            (0..rows.len()).for_each(|row| model.finish_logits(columns.clone(), out.row_mut(row)));
        })
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
