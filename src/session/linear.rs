//! The rank-aware linear: `y = bias + A·(B·x) + R·(x∘m)` (METHOD, "The same thing, arranged better").
//!
//! The sum over input channels is one of blocks (`format::block`): block 0's chain starts from `bias + A·(B·x)`, the
//! others' from 0, and they are added in order. A token on its own is bound by the bytes of the weights, and memory is
//! read best in whole rows: its threads share out blocks, and only then columns. A batch is bound by arithmetic: its
//! threads share out columns, and each adds the blocks up tile by tile. The sums are the same, to the bit.

use super::engine::{Mode, UNIT, view};
use super::shared::{Shared, share};
use crate::format::BLOCKS;
use crate::model::{Group, Weights};
use crate::team::Burst;
use crate::{Error, Result, Status};
use rasp_kernels::{Kernels, MatMut, MatRef, QUANT_GROUP, QuantizedRef};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Outputs of one token that are finished without waking anybody: less work than a fork.
const ALONE: usize = 4096;

/// Least elements of a part's tile of block sums: 128 KiB, within L2.
const TILE: usize = 32 << 10;

/// Elements that [`Pass::sums`] needs.
pub(super) fn sums_len(widest: usize, batch: usize, parts: usize) -> usize {
    let one_token = (BLOCKS - 1) * widest;
    one_token.max(parts.saturating_mul(tile_len(batch)))
}

/// Elements of one part's tile.
fn tile_len(batch: usize) -> usize {
    TILE.max(batch.saturating_mul(UNIT))
}

/// The state of one pass that all its steps use.
pub(super) struct Pass<'a, 's> {
    pub(super) burst: Burst<'a>,
    pub(super) kernels: Kernels,
    pub(super) rows: usize,
    /// Rows of a pass at most.
    pub(super) batch: usize,
    pub(super) mode: &'a mut Mode<'s>,
    /// One a linear.
    pub(super) thresholds: &'a [f32],
    /// Kept channels: a piece of the widest input's length for each part.
    pub(super) active: &'a mut [u32],
    /// `B x` of all linears of a group: `[T, largest rank of a group]`
    pub(super) low_rank: &'a mut [f32],
    /// Sums of blocks: of one token `[BLOCKS - 1, output]`, else a tile for each part.
    pub(super) sums: &'a mut [f32],
    /// A group's input in whole numbers: `[T, widest input]`, and its scales.
    pub(super) whole: &'a mut [i16],
    pub(super) whole_scale: &'a mut [f32],
    /// Bytes of linear weights read by the tokens that are counted.
    pub(super) bytes: u64,
    pub(super) cancel: &'a AtomicBool,
}

/// What one part is to finish of a group: columns `range` of each of its linears, `rows` tokens, in `y`.
struct Slice<'a> {
    rows: usize,
    range: Range<usize>,
    y: Shared<'a, f32>,
}

/// The input of a group of linears, `[T, in]`.
#[derive(Clone, Copy)]
struct Input<'a> {
    x: MatRef<'a>,
    /// In whole numbers; empty if the weights are not.
    whole: QuantizedRef<'a>,
}

impl<'a> Input<'a> {
    /// Those channels of it.
    fn channels(&self, range: Range<usize>) -> Input<'a> {
        let whole = if self.whole.cols() == 0 { self.whole } else { self.whole.columns(range.clone()) };
        Input { x: self.x.columns(range), whole }
    }
}

type Finish<'a> = &'a (dyn Fn(Slice<'_>) + Sync);

impl Pass<'_, '_> {
    /// `hidden += group(x)`, for a group of one linear.
    pub(super) fn project(
        &mut self,
        group: &Group,
        x: MatRef<'_>,
        delta: &mut [f32],
        hidden: &mut [f32],
    ) -> Result<()> {
        let (kernels, width) = (self.kernels, group.output());
        let hidden = Shared::new(hidden);
        self.apply(group, x, delta, &|mine: Slice<'_>| {
            for row in 0..mine.rows {
                let span = row * width + mine.range.start..row * width + mine.range.end;
                // SAFETY: the columns of this part alone.
                kernels.add(unsafe { hidden.slice(span.clone()) }, unsafe { mine.y.slice(span) });
            }
        })
    }

    /// `act = silu(gate(x)) · up(x)` (SwiGLU, arXiv:2002.05202, equation 6).
    pub(super) fn gated(&mut self, group: &Group, x: MatRef<'_>, gate_up: &mut [f32], act: &mut [f32]) -> Result<()> {
        let (kernels, width) = (self.kernels, group.output() / 2);
        let act = Shared::new(act);
        self.apply(group, x, gate_up, &|mine: Slice<'_>| {
            for row in 0..mine.rows {
                let at = |start: usize| start + mine.range.start..start + mine.range.end;
                // SAFETY: of gate, up and act, the columns of this part alone; gate and up lie apart.
                let (gate, up, act) = unsafe {
                    let start = 2 * row * width;
                    (mine.y.slice(at(start)), mine.y.slice(at(start + width)), act.slice(at(row * width)))
                };
                kernels.silu_mul(act, gate, up);
            }
        })
    }

    /// `y = group(x)`.
    pub(super) fn linears(&mut self, group: &Group, x: MatRef<'_>, y: &mut [f32]) -> Result<()> {
        self.apply(group, x, y, &|_| {})
    }

    /// `y = group(x)`; then every part calls `finish` with its share of the columns.
    fn apply(&mut self, group: &Group, x: MatRef<'_>, y: &mut [f32], finish: Finish<'_>) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(Status::Cancelled, "cancelled by the host"));
        }
        self.low_rank_input(group, x);
        self.whole_input(group, x);
        let y = Shared::new(y);
        match self.mode {
            Mode::Window { sparse_from, .. } if *sparse_from < self.rows => self.masked_batch(group, x, y, finish),
            Mode::Decode { sparse } => {
                let sparse = *sparse;
                self.one_token(group, x, y, sparse, finish);
            }
            Mode::Window { .. } | Mode::Prompt if self.rows == 1 => self.one_token(group, x, y, false, finish),
            Mode::Window { .. } | Mode::Prompt => self.dense_batch(group, x, y, finish),
        }
        Ok(())
    }

    /// The input in whole numbers, if the group's weights are such.
    fn whole_input(&mut self, group: &Group, x: MatRef<'_>) {
        if !group.is_quantized() {
            return;
        }
        let (kernels, rows, parts, n) = (self.kernels, self.rows, self.burst.parts(), group.input());
        let groups = n / QUANT_GROUP;
        if rows == 1 {
            // Cheaper than a fork.
            return kernels.quantize(&mut self.whole[..n], &mut self.whole_scale[..groups], x.row(0));
        }
        let (whole, scale) = (Shared::new(&mut *self.whole), Shared::new(&mut *self.whole_scale));
        self.burst.run(&|part| {
            for row in share(rows, 1, parts, part) {
                // SAFETY: shares of different parts do not overlap.
                let (whole, scale) =
                    unsafe { (whole.slice(row * n..(row + 1) * n), scale.slice(row * groups..(row + 1) * groups)) };
                kernels.quantize(whole, scale, x.row(row));
            }
        });
    }

    /// `t = B x` of every linear of the group that has a low rank, side by side in `self.low_rank`.
    fn low_rank_input(&mut self, group: &Group, x: MatRef<'_>) {
        let total = group.rank();
        if total == 0 {
            return;
        }
        let (kernels, rows, parts) = (self.kernels, self.rows, self.burst.parts());
        let t = Shared::new(&mut *self.low_rank);
        self.burst.run(&|part| {
            let mut start = 0;
            for low_rank in group.linears().iter().filter_map(|l| l.low_rank()) {
                let b = low_rank.b();
                let mine = share(b.rows(), 1, parts, part);
                // SAFETY: shares of different parts do not overlap, nor do those of different linears.
                let t = unsafe { t.matrix(0..rows, start + mine.start..start + mine.end, total) };
                kernels.dot_rows_many(t, x, b.row_range(mine));
                start += b.rows();
            }
        });
    }

    /// One token, dense or sparse: reads each weight row that is needed once.
    fn one_token(&mut self, group: &Group, x: MatRef<'_>, y: Shared<'_, f32>, sparse: bool, finish: Finish<'_>) {
        let input = Input { x, whole: whole_ref(group, self.whole, self.whole_scale, 1) };
        let (kernels, parts, width) = (self.kernels, self.burst.parts(), group.output());
        let (thresholds, low_rank) = (self.thresholds, &*self.low_rank);
        let active = Shared::new(&mut *self.active);
        let sums = Shared::new(&mut *self.sums);
        let bytes_read = AtomicU64::new(0);
        let units = width.div_ceil(UNIT);
        self.burst.run(&|part| {
            // SAFETY: each part has a piece of its own.
            let scratch = unsafe { active.slice(part * group.input()..(part + 1) * group.input()) };
            let mut read = 0;
            // The blocks' columns in one long row; this part's share of it.
            let mine = share(BLOCKS * units, 1, parts, part);
            for block in 0..BLOCKS {
                let cut = |unit: usize| (unit.saturating_sub(block * units).min(units) * UNIT).min(width);
                let columns = cut(mine.start)..cut(mine.end);
                if columns.is_empty() {
                    continue;
                }
                let (channels, weights) = (group.block(block), group.weights(block));
                let input = input.channels(channels.clone());
                let (x, whole) = (input.x.row(0), input.whole);
                // SAFETY: shares of different parts do not overlap, nor do sums of different blocks.
                let out = unsafe {
                    match block {
                        0 => y.slice(columns.clone()),
                        n => sums.slice((n - 1) * width + columns.start..(n - 1) * width + columns.end),
                    }
                };
                match block {
                    0 => start_sum(kernels, group, &columns, low_rank, &mut one_row(out)),
                    _ => out.fill(0.0),
                }
                if !sparse {
                    let weights = weights.columns(columns.clone());
                    weights.multiply(kernels, one_row(out), input.x, whole);
                    read += group.bytes_of(channels.len(), channels.len() / QUANT_GROUP, columns.len());
                    continue;
                }
                for (own, linear) in group.masks(thresholds) {
                    let own = intersection(&own, &columns);
                    if own.is_empty() {
                        continue;
                    }
                    let score = linear.score().map(|score| &score[channels.clone()]);
                    let active = kernels.select(x, score, thresholds[linear.index()], scratch);
                    let out = &mut out[own.start - columns.start..own.end - columns.start];
                    let len = own.len();
                    let groups = match weights.columns(own) {
                        Weights::Float(w) => {
                            kernels.gemv_sparse(out, x, active, w);
                            0
                        }
                        Weights::Quantized(w) => {
                            let (whole, scale) = whole.row(0);
                            kernels.gemv_sparse_q(out, whole, scale, active, w)
                        }
                    };
                    read += group.bytes_of(active.len(), groups, len);
                }
            }
            bytes_read.fetch_add(read, Ordering::Relaxed);
        });
        self.bytes += bytes_read.into_inner() + group.low_rank_bytes() as u64;

        let add_blocks = |part| {
            let mut range = 0..0;
            for linear in group.linears() {
                range = share(linear.columns().len(), UNIT, parts, part);
                let start = linear.columns().start;
                for block in 1..BLOCKS {
                    let at = |start: usize| start + range.start..start + range.end;
                    // SAFETY: shares of different parts do not overlap, and nobody writes the sums meanwhile.
                    let (y, sum) = unsafe { (y.slice(at(start)), sums.slice(at((block - 1) * width + start))) };
                    kernels.add(y, sum);
                }
            }
            finish(Slice { rows: 1, range, y });
        };
        if width <= ALONE {
            (0..parts).for_each(add_blocks);
        } else {
            self.burst.run(&add_blocks);
        }
    }

    /// Many dense tokens.
    fn dense_batch(&mut self, group: &Group, x: MatRef<'_>, y: Shared<'_, f32>, finish: Finish<'_>) {
        let input = Input { x, whole: whole_ref(group, self.whole, self.whole_scale, self.rows) };
        let (kernels, rows, parts, low_rank) = (self.kernels, self.rows, self.burst.parts(), &*self.low_rank);
        let tile = tile_len(self.batch);
        let sums = Shared::new(&mut *self.sums);
        self.burst.run(&|part| {
            // SAFETY: each part has a tile of its own.
            let tile = unsafe { sums.slice(part * tile..(part + 1) * tile) };
            let mut range = 0..0;
            for linear in group.linears() {
                range = share(linear.columns().len(), UNIT, parts, part);
                let columns = linear.columns().start + range.start..linear.columns().start + range.end;
                // SAFETY: shares of different parts do not overlap, nor do the columns of different linears.
                let mut out = unsafe { y.matrix(0..rows, columns.clone(), group.output()) };
                start_sum(kernels, group, &columns, low_rank, &mut out);
                add_product(kernels, group, columns, input, out, tile);
            }
            finish(Slice { rows, range, y });
        });
    }

    /// Many tokens, the later ones sparse: every linear's mask is applied to a copy of the input.
    fn masked_batch(&mut self, group: &Group, x: MatRef<'_>, y: Shared<'_, f32>, finish: Finish<'_>) {
        let Mode::Window { sparse_from, masked, masked_whole } = &mut *self.mode else { return };
        let whole = whole_ref(group, self.whole, self.whole_scale, self.rows);
        let (kernels, rows, parts, first) = (self.kernels, self.rows, self.burst.parts(), *sparse_from);
        let (thresholds, low_rank, input) = (self.thresholds, &*self.low_rank, group.input());
        let tile = tile_len(self.batch);
        let sums = Shared::new(&mut *self.sums);
        let bytes_read = AtomicU64::new(0);
        for (columns, linear) in group.masks(thresholds) {
            let shared = Shared::new(&mut masked[..rows * input]);
            let shared_whole = Shared::new(masked_whole);
            self.burst.run(&|part| {
                let mut read = 0;
                for row in share(rows, 1, parts, part) {
                    // SAFETY: shares of different parts do not overlap.
                    let masked = unsafe { shared.slice(row * input..(row + 1) * input) };
                    if row < first {
                        masked.copy_from_slice(x.row(row));
                    } else {
                        let kept = kernels.mask(masked, x.row(row), linear.score(), thresholds[linear.index()]);
                        let groups = match group.is_quantized() {
                            true => masked.chunks(QUANT_GROUP).filter(|g| g.iter().any(|&x| x != 0.0)).count(),
                            false => 0,
                        };
                        read += group.bytes_of(kept, groups, columns.len());
                    }
                    if group.is_quantized() {
                        // SAFETY: as above.
                        let own = unsafe { shared_whole.slice(row * input..(row + 1) * input) };
                        for ((own, &whole), &x) in own.iter_mut().zip(whole.row(row).0).zip(&*masked) {
                            *own = if x != 0.0 { whole } else { 0 };
                        }
                    }
                }
                bytes_read.fetch_add(read, Ordering::Relaxed);
            });

            let masked =
                Input { x: view(masked, rows, input), whole: whole_ref(group, masked_whole, self.whole_scale, rows) };
            self.burst.run(&|part| {
                // SAFETY: each part has a tile of its own.
                let tile = unsafe { sums.slice(part * tile..(part + 1) * tile) };
                let range = share(columns.len(), UNIT, parts, part);
                let columns = columns.start + range.start..columns.start + range.end;
                // SAFETY: shares of different parts do not overlap.
                let mut out = unsafe { y.matrix(0..rows, columns.clone(), group.output()) };
                start_sum(kernels, group, &columns, low_rank, &mut out);
                add_product(kernels, group, columns, masked, out, tile);
            });
        }
        self.burst.run(&|part| {
            let width = group.linears().last().map_or(0, |linear| linear.columns().len());
            finish(Slice { rows, range: share(width, UNIT, parts, part), y });
        });
        let counted = rows.saturating_sub(first) * group.low_rank_bytes();
        self.bytes += bytes_read.into_inner() + counted as u64;
    }
}

/// The input of a group in whole numbers, or none if its weights are not.
fn whole_ref<'a>(group: &Group, whole: &'a [i16], scale: &'a [f32], rows: usize) -> QuantizedRef<'a> {
    let cols = if group.is_quantized() { group.input() } else { 0 };
    QuantizedRef::new(whole, scale, rows, cols).expect("buffers hold a batch")
}

fn one_row(y: &mut [f32]) -> MatMut<'_> {
    let len = y.len();
    MatMut::new(y, 1, len, len).expect("one row of its own length")
}

fn intersection(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// `y = bias + A t`, for those columns of the group: where the sum over input channels starts. `t` holds `B x` of all
/// linears of the group side by side.
fn start_sum(kernels: Kernels, group: &Group, columns: &Range<usize>, t: &[f32], y: &mut MatMut<'_>) {
    for row in 0..y.rows() {
        match group.bias() {
            Some(bias) => y.row_mut(row).copy_from_slice(&bias[columns.clone()]),
            None => y.row_mut(row).fill(0.0),
        }
    }
    let mut first_rank = 0;
    for linear in group.linears() {
        let own = intersection(&linear.columns(), columns);
        if let Some(low_rank) = linear.low_rank()
            && !own.is_empty()
        {
            let t = MatRef::new(&t[first_rank..], y.rows(), linear.rank(), group.rank()).expect("a batch of ranks");
            let start = linear.columns().start;
            let a = low_rank.a().columns(own.start - start..own.end - start);
            kernels.gemm(y.reborrow().columns(own.start - columns.start..own.end - columns.start), t, a);
        }
        first_rank += linear.rank();
    }
}

/// `y += x·W`, for those columns of the group, block by block. A block's sum is taken in `tile`, some columns at a time.
fn add_product(
    kernels: Kernels,
    group: &Group,
    columns: Range<usize>,
    input: Input<'_>,
    mut y: MatMut<'_>,
    tile: &mut [f32],
) {
    let rows = y.rows();
    let most = tile.len() / rows / UNIT * UNIT;
    for start in columns.clone().step_by(most) {
        let end = columns.end.min(start + most);
        let width = end - start;
        let tile = &mut tile[..rows * width];
        let mut y = y.reborrow().columns(start - columns.start..end - columns.start);
        for block in 0..BLOCKS {
            let (input, weights) = (input.channels(group.block(block)), group.weights(block).columns(start..end));
            if block == 0 {
                weights.multiply(kernels, y.reborrow(), input.x, input.whole);
                continue;
            }
            tile.fill(0.0);
            let out = MatMut::new(tile, rows, width, width).expect("a tile holds its rows");
            weights.multiply(kernels, out, input.x, input.whole);
            for (row, sum) in tile.chunks_exact(width).enumerate() {
                kernels.add(y.row_mut(row), sum);
            }
        }
    }
}
