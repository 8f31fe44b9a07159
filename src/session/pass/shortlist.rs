//! The few largest logits, without computing most of the others: all that a greedy token needs, or one drawn from the
//! top k.
//!
//! Three passes over the vocabulary, none of which reads the head whole: rough logits from the head's
//! [shortlist](crate::model::Shortlist); the exact ones of the roughly largest, the least of which is a floor that so
//! many reach; and the exact ones of all rows that may reach it too. The others become -∞.
//!
//! Under a constraint the first pass alone is made with the token's other work. Which rows may come is known once the
//! text is parsed, and then the others follow among these, on the calling thread: they are few rows.

use super::buffers::{Deciding, HeadStage, HeadToken};
use super::lm_head::{HeadOutcome, HeadRow, non_finite, rows_of_part};
use super::work::Work;
use crate::Result;
use crate::model::{Model, Rounded, Shortlist, shortlist_input};
use crate::sampling::argmax;
use crate::session::budget::Flow;
use rasp_kernels::ScreenInput;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The most logits that a shortlist is used for: of more, so many rows can be one that reading all is the better way.
pub(crate) const MOST_DECIDING: usize = 64;
/// Rows that are compared together: the compiler turns them into vectors.
const BLOCK: usize = 64;
/// Tokens that meet a unit's rough rows together.
const TOKENS: usize = 8;
/// A unit of work is cut as if one row in so many were to be computed exactly.
const CANDIDATES: usize = 16;

/// A token on its way through the shortlist, as the parts of a job see it.
pub(crate) struct Shortlisted<'a> {
    row: HeadRow<'a>,
    input: ScreenInput<'a>,
    rounded: Rounded,
    deciding: Deciding,
    /// The bits of what the first part finds, and all read later.
    floor: &'a AtomicU32,
    candidates: &'a AtomicUsize,
}

impl HeadToken {
    /// Rounds what was prepared for the shortlist; fails if it is no numbers.
    pub(super) fn round(&mut self, shortlist: &Shortlist) -> Result<()> {
        *self.candidates.get_mut() = 0;
        self.rounded = shortlist.round(&self.x, &mut self.hot, &mut self.cold);
        self.rounded.map(|_| ()).ok_or_else(non_finite)
    }

    /// What was prepared and rounded if the largest logits are wanted, and where to say what came of it.
    pub(crate) fn wanting_largest(&mut self, model: &Model) -> Option<(Shortlisted<'_>, HeadOutcome<'_>)> {
        let HeadStage::Shortlist(deciding) = self.stage else { return None };
        self.shortlisted(model, deciding)
    }

    fn shortlisted(&mut self, model: &Model, deciding: Deciding) -> Option<(Shortlisted<'_>, HeadOutcome<'_>)> {
        let rounded = self.rounded?;
        let HeadToken { x, whole, scale, hot, cold, eights, floor, candidates, logits, stage, read, .. } = self;
        let shortlisted = Shortlisted {
            row: HeadRow::new(model, x, whole, scale, logits),
            input: shortlist_input(hot, cold, eights, rounded),
            rounded,
            deciding,
            floor,
            candidates,
        };
        Some((shortlisted, HeadOutcome { stage, read }))
    }

    /// Of rough logits, of which some were forbidden by -∞, leaves the exact ones of all other rows that can be among
    /// the few that were wanted, and -∞ elsewhere, but for some of those forbidden. After that the logits are good for
    /// nothing else. Does nothing at another stage.
    pub(crate) fn settle_rough(&mut self, model: &Model, forbid: impl FnOnce(&mut [f32])) -> Result<()> {
        let (HeadStage::Rough { few }, Some(shortlist)) = (self.stage, model.shortlist()) else { return Ok(()) };
        forbid(&mut self.logits);
        self.stage = HeadStage::Done { few: Some(0) };
        let Some((token, outcome)) = self.shortlisted(model, Deciding { few, masked: true }) else { return Ok(()) };
        let vocab = shortlist.rows().rows();
        // SAFETY: nobody else is at work on this token.
        let rough = unsafe { token.row.logits.slice(0..vocab) };
        // All that are allowed, if they are not so many; none that is forbidden.
        let floor = token.floor(model, rough).max(f32::MIN);
        token.floor.store(floor.to_bits(), Ordering::Relaxed);
        for (start, block) in (0..).step_by(BLOCK).zip(rough.chunks(BLOCK)) {
            if block.iter().any(|&logit| logit != f32::NEG_INFINITY) {
                keep_candidates(model, shortlist, &token, start..start + block.len());
            }
        }
        *outcome.read = token.bytes(model, shortlist);
        token.check()
    }
}

impl Shortlisted<'_> {
    /// The logit of one row, to the bit. One that is no number is remembered.
    fn exact(&self, model: &Model, row: usize) -> f32 {
        let mut logit = [0.0];
        self.row.logits_of(model, row..row + 1, &mut logit);
        logit[0]
    }

    /// The least of the exact logits of the rows that are roughly the largest, from all rough logits.
    fn floor(&self, model: &Model, rough: &[f32]) -> f32 {
        if self.deciding.few == 1 {
            return self.exact(model, argmax(rough) as usize);
        }
        // Largest first. Where a damaged file has too few numbers the floor stays -∞.
        let mut largest = [(f32::NEG_INFINITY, 0); MOST_DECIDING];
        let largest = &mut largest[..self.deciding.few.clamp(1, MOST_DECIDING).min(rough.len())];
        let last = largest.len() - 1;
        for (start, block) in (0..).step_by(BLOCK).zip(rough.chunks(BLOCK)) {
            let least = largest[last].0;
            if block.iter().fold(true, |all, &y| all & (y <= least)) {
                continue;
            }
            for (row, &y) in (start..).zip(block) {
                if y > largest[last].0 {
                    let at = largest.partition_point(|other| other.0 >= y);
                    largest[at..].rotate_right(1);
                    largest[at] = (y, row);
                }
            }
        }
        if largest[last].0 == f32::NEG_INFINITY {
            return f32::NEG_INFINITY;
        }
        largest.iter().fold(f32::INFINITY, |floor, &(_, row)| floor.min(self.exact(model, row)))
    }

    /// Fails if a logit was no number.
    pub(crate) fn check(&self) -> Result<()> {
        self.row.check()
    }

    /// Bytes of the head that [`largest`] has read.
    pub(crate) fn bytes(&self, model: &Model, shortlist: &Shortlist) -> u64 {
        (shortlist.bytes() + self.candidates.load(Ordering::Relaxed) * model.lm_head().row_bytes()) as u64
    }
}

/// Leaves in each token's logits the exact ones of all rows that can be among its few, and -∞ elsewhere, as far as the
/// budget goes; rough ones where they will be masked.
pub(crate) fn largest(
    model: &Model,
    shortlist: &Shortlist,
    work: &mut Work<'_>,
    tokens: &[Option<Shortlisted<'_>>],
) -> Flow {
    let (kernels, rows, parts) = (model.kernels(), shortlist.rows(), work.parts());
    let (vocab, count) = (rows.rows(), tokens.iter().flatten().count());
    work.large(&|part, pieces| {
        pieces.each(rows_of_part(vocab, shortlist.bytes() / vocab, parts, part, count), |piece| {
            let mut tokens = tokens.iter().flatten().peekable();
            while let Some(&first) = tokens.peek() {
                let (mut logits, mut inputs, mut count) = (<[&mut [f32]; TOKENS]>::default(), [first.input; TOKENS], 0);
                for ((logits, input), token) in logits.iter_mut().zip(&mut inputs).zip(&mut tokens) {
                    // SAFETY: shares of different parts do not overlap, and every token has logits of its own.
                    (*logits, *input) = (unsafe { token.row.logits.slice(piece.clone()) }, token.input);
                    count += 1;
                }
                kernels.dot_rows_screen(&mut logits[..count], &inputs[..count], rows.row_range(piece.clone()));
            }
        });
    })?;
    // The others wait until it is known what they may be.
    let exact = || tokens.iter().flatten().filter(|token| !token.deciding.masked);
    if exact().next().is_none() {
        return Ok(());
    }
    work.small(&|part| {
        if part != 0 {
            return;
        }
        for token in exact() {
            // SAFETY: only the first part is at work.
            let logits = &*unsafe { token.row.logits.slice(0..vocab) };
            token.floor.store(token.floor(model, logits).to_bits(), Ordering::Relaxed);
        }
    })?;
    work.large(&|part, pieces| {
        pieces.each(
            rows_of_part(vocab, model.lm_head().row_bytes().div_ceil(CANDIDATES), parts, part, count),
            |piece| {
                for token in exact() {
                    for start in piece.clone().step_by(BLOCK) {
                        keep_candidates(model, shortlist, token, start..piece.end.min(start + BLOCK));
                    }
                }
            },
        );
    })
}

/// The last pass, for some rows.
fn keep_candidates(model: &Model, shortlist: &Shortlist, token: &Shortlisted<'_>, rows: Range<usize>) {
    let floor = f32::from_bits(token.floor.load(Ordering::Relaxed));
    // SAFETY: shares of different parts do not overlap.
    let logits = unsafe { token.row.logits.slice(rows.clone()) };
    let scale = shortlist.scale[2 * rows.start..2 * rows.end].as_chunks::<2>().0;
    let columns = logits.iter().zip(scale).zip(&shortlist.error[rows.clone()]).zip(&shortlist.norm[rows.clone()]);
    let mut most = [f32::NEG_INFINITY; BLOCK];
    for (most, (((&logit, scale), &error), &norm)) in most.iter_mut().zip(columns) {
        *most = logit + token.rounded.bound(scale[0], error, norm);
    }
    if let Some(cap) = model.config().block.logit_soft_cap {
        // It leaves logits in their order, but for rounding.
        model.kernels().soft_cap(&mut most, cap);
        most.iter_mut().for_each(|most| *most += cap * 1e-6);
    }
    // Not `>=`: a NaN, from a damaged file, must be looked into.
    let lost = most.map(|most| most < floor);
    if lost == [true; BLOCK] {
        logits.fill(f32::NEG_INFINITY);
        return;
    }
    for ((row, logit), lost) in rows.zip(logits).zip(lost) {
        *logit = if lost { f32::NEG_INFINITY } else { token.exact(model, row) };
        token.candidates.fetch_add(usize::from(!lost), Ordering::Relaxed);
    }
}
