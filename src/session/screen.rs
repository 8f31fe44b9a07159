//! The token of the largest logit, without computing most of them.
//!
//! Three passes over the vocabulary, none of which reads the head whole: rough logits from the head's
//! [screen](crate::model::HeadScreen); the exact one of the roughly largest, a floor below which the winner cannot lie; and
//! the exact ones of all rows that may reach it. The others become -∞.

use super::budget::{Budget, Flow, Halt};
use super::buffers::HeadBuffers;
use super::engine::Engine;
use super::head::{HeadRow, non_finite, rows_of_part};
use super::shared::Shared;
use super::work::Work;
use crate::Result;
use crate::model::{HeadScreen, Model, Rounded, screen_input};
use crate::sampling::argmax;
use rasp_kernels::ScreenInput;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows that are compared together: the compiler turns them into vectors.
const BLOCK: usize = 64;
/// A unit of work is cut as if one row in so many were to be computed exactly.
const RIVALS: usize = 16;

/// A token on its way through the screen, as the parts of a job see it.
pub(super) struct Screened<'a> {
    row: HeadRow<'a>,
    input: ScreenInput<'a>,
    rounded: Rounded,
    /// One element, which the first part writes and all read later.
    floor: Shared<'a, f32>,
    rivals: &'a AtomicUsize,
}

impl HeadBuffers {
    /// Rounds what was prepared for the screen; fails if it is no numbers.
    pub(super) fn round(&mut self, screen: &HeadScreen) -> Result<()> {
        self.rounded = screen.round(&self.coming, &mut self.hot, &mut self.cold);
        self.rounded.map(|_| ()).ok_or_else(non_finite)
    }

    /// What was prepared and rounded; `None` if it was not.
    pub(super) fn screened(&mut self, model: &Model) -> Option<Screened<'_>> {
        let rounded = self.rounded?;
        let HeadBuffers { coming, whole, scale, hot, cold, eights, floor, rivals, logits, .. } = self;
        Some(Screened {
            row: HeadRow::new(model, coming, whole, scale, logits),
            input: screen_input(hot, cold, eights, rounded),
            rounded,
            floor: Shared::new(std::slice::from_mut(floor)),
            rivals,
        })
    }
}

impl Screened<'_> {
    /// The logit of one row, to the bit. One that is no number is remembered.
    fn exact(&self, model: &Model, row: usize) -> f32 {
        let mut logit = [0.0];
        self.row.logits_of(model, row..row + 1, &mut logit);
        logit[0]
    }

    /// After [`screen`]: the token of the largest logit, the lowest id on a tie, and the bytes of the head that were read.
    pub(super) fn winner(&self, model: &Model, screen: &HeadScreen) -> Result<(u32, u64)> {
        self.row.check()?;
        // SAFETY: no job writes them any more.
        let logits = &*unsafe { self.row.logits.slice(0..screen.error.len()) };
        let bytes = screen.bytes() + self.rivals.load(Ordering::Relaxed) * model.lm_head().row_bytes();
        Ok((argmax(logits), bytes as u64))
    }
}

/// Leaves in each token's logits the exact ones of all rows that can have won, and -∞ elsewhere, as far as the budget goes.
pub(super) fn screen(model: &Model, screen: &HeadScreen, work: &mut Work<'_>, tokens: &[Option<Screened<'_>>]) -> Flow {
    let (kernels, rows, parts) = (model.kernels(), screen.rows(), work.parts());
    let (vocab, count) = (rows.rows(), tokens.iter().flatten().count());
    work.large(&|part, pieces| {
        pieces.each(rows_of_part(vocab, screen.bytes() / vocab, parts, part, count), |piece| {
            for token in tokens.iter().flatten() {
                // SAFETY: shares of different parts do not overlap, and every token has logits of its own.
                let logits = unsafe { token.row.logits.slice(piece.clone()) };
                kernels.dot_rows_screen(logits, token.input, rows.row_range(piece.clone()));
            }
        });
    })?;
    work.small(&|part| {
        for token in tokens.iter().flatten().filter(|_| part == 0) {
            // SAFETY: only the first part is at work.
            let (floor, logits) = unsafe { (token.floor.slice(0..1), token.row.logits.slice(0..vocab)) };
            token.rivals.store(0, Ordering::Relaxed);
            floor[0] = token.exact(model, argmax(logits) as usize);
        }
    })?;
    work.large(&|part, pieces| {
        pieces.each(rows_of_part(vocab, model.lm_head().row_bytes().div_ceil(RIVALS), parts, part, count), |piece| {
            for token in tokens.iter().flatten() {
                for start in piece.clone().step_by(BLOCK) {
                    keep_rivals(model, screen, token, start..piece.end.min(start + BLOCK));
                }
            }
        });
    })
}

/// The last pass, for some rows.
fn keep_rivals(model: &Model, screen: &HeadScreen, token: &Screened<'_>, rows: Range<usize>) {
    // SAFETY: nobody writes floors in this job; shares of different parts do not overlap.
    let (floor, logits) = unsafe { (token.floor.get(0), token.row.logits.slice(rows.clone())) };
    let scale = screen.scale[2 * rows.start..2 * rows.end].as_chunks::<2>().0;
    let columns = || logits.iter().zip(scale).zip(&screen.error[rows.clone()]).zip(&screen.norm[rows.clone()]);
    // Not `>=`: a NaN, from a damaged file, must be looked into.
    let loses = |logit: f32, scale: &[f32; 2], error: f32, norm: f32| {
        logit + token.rounded.bound(scale[0], error, norm) < floor
    };
    if columns().fold(true, |all, (((&y, s), &e), &n)| all & loses(y, s, e, n)) {
        logits.fill(f32::NEG_INFINITY);
        return;
    }
    let mut lost = [false; BLOCK];
    for (lost, (((&y, s), &e), &n)) in lost.iter_mut().zip(columns()) {
        *lost = loses(y, s, e, n);
    }
    for ((row, logit), lost) in rows.zip(logits).zip(lost) {
        *logit = if lost { f32::NEG_INFINITY } else { token.exact(model, row) };
        token.rivals.fetch_add(usize::from(!lost), Ordering::Relaxed);
    }
}

impl Engine {
    /// The token of the largest logit of what was prepared, the lowest id on a tie: that of [`logits`](Engine::logits),
    /// found by the head's screen. `None` if the file has none: compute the logits. Overwrites `head.logits`.
    pub(crate) fn greedy(&mut self, budget: &Budget) -> Flow<Option<u32>> {
        let model = &*self.model;
        let Some(head_screen) = model.head_screen() else { return Ok(None) };
        self.head.round(head_screen).map_err(Halt::Failed)?;
        let tokens = [self.head.screened(model)];
        let outcome = screen(model, head_screen, &mut self.work.team(budget, &self.cancel), &tokens);
        let [Some(token)] = &tokens else { return Ok(None) };
        token.row.check()?;
        outcome?;
        let (winner, bytes) = token.winner(model, head_screen)?;
        self.head_bytes += bytes;
        Ok(Some(winner))
    }
}
