//! From the last hidden states to logits.

use super::buffers::{Deciding, HeadBuffers, HeadStage, HeadToken};
use super::shared::{SharedSlice, share};
use super::tiles::{SHARED_BYTES, UNIT, UNIT_BYTES, cut};
use super::work::Work;
use crate::model::{Model, RowsRef};
use crate::session::budget::Flow;
use crate::{Error, Result, Status};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// A token at the head, as the parts of a job see it.
pub(crate) struct HeadRow<'a> {
    x: &'a [f32],
    whole: &'a [i16],
    /// Of `whole`, one for every 32.
    scale: &'a [f32],
    pub(super) logits: SharedSlice<'a, f32>,
    /// False once a logit was none.
    finite: AtomicBool,
}

impl HeadBuffers {
    /// Prepares what was kept once more, for all logits.
    pub(crate) fn prepare_kept(&mut self) {
        self.token.x.copy_from_slice(&self.last);
        (self.token.stage, self.token.read) = (HeadStage::Logits, 0);
    }

    /// Keeps what was prepared.
    pub(crate) fn keep(&mut self) {
        std::mem::swap(&mut self.last, &mut self.token.x);
    }
}

impl HeadToken {
    /// Prepares a residual stream for the head.
    pub(crate) fn prepare(&mut self, model: &Model, hidden: &[f32]) {
        model.final_norm().apply(model.kernels(), &mut self.x, hidden, 0..hidden.len());
    }

    /// From what was prepared the logits that decide are wanted, or all.
    pub(crate) fn want(&mut self, model: &Model, deciding: Option<Deciding>) {
        self.read = 0;
        self.stage = match model.shortlist().zip(deciding) {
            None => HeadStage::Logits,
            Some((shortlist, deciding)) => match self.round(shortlist) {
                Ok(()) => HeadStage::Shortlist(deciding),
                Err(_) => HeadStage::NonFinite,
            },
        };
    }

    /// The same if all are wanted, and where to say what came of it.
    pub(crate) fn wanting_all(&mut self, model: &Model) -> Option<(HeadRow<'_>, HeadOutcome<'_>)> {
        let HeadStage::Logits = self.stage else { return None };
        let HeadToken { x, whole, scale, logits, stage, read, .. } = self;
        Some((HeadRow::new(model, x, whole, scale, logits), HeadOutcome { stage, read }))
    }

    /// What was prepared, for all logits.
    pub(crate) fn row(&mut self, model: &Model) -> HeadRow<'_> {
        let HeadToken { x, whole, scale, logits, .. } = self;
        HeadRow::new(model, x, whole, scale, logits)
    }
}

/// Where a token's head ends.
pub(crate) struct HeadOutcome<'a> {
    pub(super) stage: &'a mut HeadStage,
    pub(super) read: &'a mut u64,
}

impl HeadOutcome<'_> {
    /// The logits that were wanted are there, and have read so many bytes, or one is no number.
    pub(crate) fn settle(self, finite: bool, bytes: u64) {
        *self.stage = match *self.stage {
            _ if !finite => HeadStage::NonFinite,
            HeadStage::Shortlist(Deciding { few, masked: true }) => HeadStage::Rough { few },
            HeadStage::Shortlist(Deciding { few, masked: false }) => HeadStage::Done { few: Some(few) },
            _ => HeadStage::Done { few: None },
        };
        *self.read = if finite { bytes } else { 0 };
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
        HeadRow { x, whole, scale, logits: SharedSlice::new(logits), finite: AtomicBool::new(true) }
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
    pub(crate) fn check(&self) -> Result<()> {
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
pub(crate) fn all_logits(model: &Model, work: &mut Work<'_>, tokens: &[Option<HeadRow<'_>>]) -> Flow {
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

/// The error for logits that are no numbers.
pub(crate) fn non_finite() -> Error {
    Error::new(
        Status::NonFinite,
        "the logits hold a NaN or an infinity: damaged weights (load with verify to find them), or activations beyond \
         the range of f16 in the KV cache",
    )
}
