//! The rank-aware linear: `y = bias + A·(B·x) + R·(x∘m)` (METHOD, "The same thing, arranged better").
//!
//! The sum over input channels is one of blocks (`format::block`): block 0's chain starts from `bias + A·(B·x)`, the
//! others' from 0, and they are added in order. A token on its own is bound by the bytes of the weights, and memory is
//! read best in whole rows: its threads share out blocks, and only then columns. A batch is bound by arithmetic: its
//! threads share out columns, and each adds the blocks up tile by tile. The sums are the same, to the bit.
//!
//! What a part has to do is cut into units of work (`work.rs`): some channels of a block for some of its columns, which
//! go on with the chains where the unit before left them.

use super::context::{Mode, Pass};
use super::shared::{SharedSlice, share};
use crate::Result;
use crate::model::{Activation, Group};
use crate::session::budget::Flow;
use rasp_kernels::{MatRef, QUANT_GROUP, QuantizedRef};
use std::ops::Range;

/// From how many times its token's root mean square on a value makes its group of 32 wide, 15 bits instead of 8: some 5
/// to 20% of the groups, each of which costs twice the arithmetic. Three models lose at most 0.06% of perplexity beside
/// 15 bits throughout; with eight times they lose no more, but a small one says other things
/// (`docs/lab/2026-11-30-quality-wide-groups.md`).
pub(super) const WIDE_FROM: f32 = 4.0;

/// What one part is to finish of a group: columns `range` of each of its linears, for those tokens, in `y`.
pub(super) struct Slice<'a> {
    pub(super) rows: Range<usize>,
    pub(super) range: Range<usize>,
    pub(super) y: SharedSlice<'a, f32>,
}

/// The input of a group of linears, `[T, in]`.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) x: MatRef<'a>,
    /// In whole numbers; empty if the weights are not.
    pub(super) whole: QuantizedRef<'a>,
}

impl<'a> Input<'a> {
    /// Those channels of it.
    pub(super) fn channels(&self, range: Range<usize>) -> Input<'a> {
        let whole = if self.whole.cols() == 0 { self.whole } else { self.whole.columns(range.clone()) };
        Input { x: self.x.columns(range), whole }
    }

    /// Those tokens of it.
    pub(super) fn rows(&self, range: Range<usize>) -> Input<'a> {
        Input { x: self.x.row_range(range.clone()), whole: self.whole.row_range(range) }
    }
}

pub(super) type Finish<'a> = &'a (dyn Fn(Slice<'_>) + Sync);

impl Pass<'_, '_> {
    /// `hidden += group(x)`, for a group of one linear.
    pub(super) fn project(&mut self, group: &Group, x: MatRef<'_>, delta: &mut [f32], hidden: &mut [f32]) -> Flow {
        let (kernels, width) = (self.kernels, group.output());
        let hidden = SharedSlice::new(hidden);
        self.apply(group, x, delta, &|mine: Slice<'_>| {
            for row in mine.rows {
                let span = row * width + mine.range.start..row * width + mine.range.end;
                // SAFETY: the columns of this part alone.
                kernels.add(unsafe { hidden.slice(span.clone()) }, unsafe { mine.y.slice(span) });
            }
        })
    }

    /// `act = activation(gate(x)) · up(x)` (GLU variants, arXiv:2002.05202, equation 6), or `activation(up(x))` where
    /// the group has no gate.
    pub(super) fn activated(
        &mut self,
        group: &Group,
        activation: Activation,
        x: MatRef<'_>,
        gate_up: &mut [f32],
        act: &mut [f32],
    ) -> Flow {
        if let Some(up) = group.up() {
            self.apply(group, x, gate_up, &|_| {})?;
            return self.active_rows(group, up, activation, x, gate_up, act);
        }
        let (kernels, gated) = (self.kernels, group.linears().len() > 1);
        let width = if gated { group.output() / 2 } else { group.output() };
        let act = SharedSlice::new(act);
        self.apply(group, x, gate_up, &|mine: Slice<'_>| {
            for row in mine.rows {
                let at = |start: usize| start + mine.range.start..start + mine.range.end;
                let start = row * group.output();
                // SAFETY: of gate, up and act, the columns of this part alone; gate and up lie apart.
                let (x, act) = unsafe { (mine.y.slice(at(start)), act.slice(at(row * width))) };
                // SAFETY: as above.
                let up = gated.then(|| &*unsafe { mine.y.slice(at(start + width)) });
                kernels.activate(activation, act, x, up);
            }
        })
    }

    /// `y = group(x)`.
    pub(super) fn linears(&mut self, group: &Group, x: MatRef<'_>, y: &mut [f32]) -> Flow {
        self.apply(group, x, y, &|_| {})
    }

    /// `y = group(x)`; then every part calls `finish` with its share of the columns.
    fn apply(&mut self, group: &Group, x: MatRef<'_>, y: &mut [f32], finish: Finish<'_>) -> Flow {
        self.whole_input(group, x)?;
        self.low_rank_input(group, x)?;
        let y = SharedSlice::new(y);
        match self.mode {
            Mode::Window { .. } if self.sparse_from() < self.rows => self.masked_batch(group, x, y, finish),
            Mode::Prompt | Mode::Window { .. } if self.rows > 1 => self.dense_batch(group, x, y, finish),
            Mode::Prompt | Mode::Window { .. } | Mode::Decode => self.tokens(group, x, y, finish),
        }
    }

    /// The input in whole numbers, if the group's weights are such.
    fn whole_input(&mut self, group: &Group, x: MatRef<'_>) -> Result<()> {
        if !group.is_quantized() {
            return Ok(());
        }
        let (kernels, rows, parts, n) = (self.kernels, self.rows, self.work.parts(), group.input());
        let groups = n / QUANT_GROUP;
        if rows == 1 {
            // Cheaper than a fork, and than remembering that it is done.
            kernels.quantize(&mut self.whole[..n], &mut self.whole_scale[..groups], x.row(0), WIDE_FROM);
            return Ok(());
        }
        let (whole, scale) = (SharedSlice::new(&mut *self.whole), SharedSlice::new(&mut *self.whole_scale));
        self.work.small(&|part| {
            for row in share(rows, 1, parts, part) {
                // SAFETY: shares of different parts do not overlap.
                let (whole, scale) =
                    unsafe { (whole.slice(row * n..(row + 1) * n), scale.slice(row * groups..(row + 1) * groups)) };
                kernels.quantize(whole, scale, x.row(row), WIDE_FROM);
            }
        })
    }
}

/// The input of a group in whole numbers, or none if its weights are not.
pub(super) fn whole_ref<'a>(group: &Group, whole: &'a [i16], scale: &'a [f32], rows: usize) -> QuantizedRef<'a> {
    let cols = if group.is_quantized() { group.input() } else { 0 };
    QuantizedRef::new(whole, scale, rows, cols).expect("buffers hold a batch")
}

pub(super) fn intersection(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}
