//! The rank-aware linear: `y = bias + A·(B·x) + R·(x∘m)` (METHOD, "The same thing, arranged better").
//!
//! The sum over input channels is one of blocks (`format::block`): block 0's chain starts from `bias + A·(B·x)`, the
//! others' from 0, and they are added in order. A token on its own is bound by the bytes of the weights, and memory is
//! read best in whole rows: its threads share out blocks, and only then columns. A batch is bound by arithmetic: its
//! threads share out columns, and each adds the blocks up tile by tile. The sums are the same, to the bit.
//!
//! What a part has to do is cut into units of work (`work.rs`): some channels of a block for some of its columns, which
//! go on with the chains where the unit before left them.

use super::budget::Flow;
use super::engine::UNIT;
use super::low_rank::start_sum;
use super::pass::{Mode, Seq, view};
use super::shared::{Shared, share};
use super::work::{UNIT_MACS, Work, cut};
use crate::Result;
use crate::format::BLOCKS;
use crate::model::{Activation, Group};
use rasp_kernels::{Kernels, MatMut, MatRef, QUANT_GROUP, QuantizedRef};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Elements of a batch that are finished together, the most of a unit of work: an exponential each, perhaps.
const FINISH: usize = 64 << 10;

/// Least elements of a part's tile of block sums: 128 KiB, within L2.
pub(super) const TILE: usize = 32 << 10;

/// Columns of whole numbers that a unit of a batch's work has at least, where there are so many: a cache line of 4 bits.
const STRIP: usize = 128;

/// From how many times its token's root mean square on a value makes its group of 32 wide, 15 bits instead of 8: some 5 to 20%
/// of the groups, which costs as much arithmetic and nearly all that 8 bits throughout would cost in perplexity
/// (`docs/lab/2026-11-28-integer-decode.md`).
pub(super) const WIDE_FROM: f32 = 4.0;

/// Elements that [`Pass::sums`] needs.
pub(super) fn sums_len(widest: usize, batch: usize, parts: usize) -> usize {
    let one_token = (BLOCKS - 1) * widest;
    one_token.max(parts.saturating_mul(tile_len(batch)))
}

/// Elements of one part's tile.
pub(super) fn tile_len(batch: usize) -> usize {
    TILE.max(batch.saturating_mul(UNIT))
}

/// The state of one pass that all its steps use.
pub(super) struct Pass<'a, 's> {
    pub(super) work: Work<'a>,
    pub(super) kernels: Kernels,
    pub(super) rows: usize,
    /// Rows of a pass at most.
    pub(super) batch: usize,
    pub(super) mode: &'a mut Mode<'s>,
    /// The text of each token, or of all.
    pub(super) seqs: &'a mut [Option<Seq<'s>>],
    /// Kept channels: a piece of the widest input's length for each part.
    pub(super) active: &'a mut [u32],
    /// `B x` of all linears of a group: `[T, largest rank of a group]`
    pub(super) low_rank: &'a mut [f32],
    /// Sums of blocks: of one token `[BLOCKS - 1, output]`, else a tile for each part.
    pub(super) sums: &'a mut [f32],
    /// A group's input in whole numbers: `[T, widest input]`, and its scales.
    pub(super) whole: &'a mut [i16],
    pub(super) whole_scale: &'a mut [f32],
}

/// What one part is to finish of a group: columns `range` of each of its linears, for those tokens, in `y`.
pub(super) struct Slice<'a> {
    pub(super) rows: Range<usize>,
    pub(super) range: Range<usize>,
    pub(super) y: Shared<'a, f32>,
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
        let hidden = Shared::new(hidden);
        self.apply(group, x, delta, &|mine: Slice<'_>| {
            for row in mine.rows {
                let span = row * width + mine.range.start..row * width + mine.range.end;
                // SAFETY: the columns of this part alone.
                kernels.add(unsafe { hidden.slice(span.clone()) }, unsafe { mine.y.slice(span) });
            }
        })
    }

    /// `act = activation(gate(x)) · up(x)` (GLU variants, arXiv:2002.05202, equation 6), or `activation(up(x))` where the
    /// group has no gate.
    pub(super) fn activated(
        &mut self,
        group: &Group,
        activation: Activation,
        x: MatRef<'_>,
        gate_up: &mut [f32],
        act: &mut [f32],
    ) -> Flow {
        let (kernels, gated) = (self.kernels, group.linears().len() > 1);
        let width = if gated { group.output() / 2 } else { group.output() };
        let act = Shared::new(act);
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
        let y = Shared::new(y);
        match self.mode {
            Mode::Window { sparse_from, .. } if *sparse_from < self.rows => self.masked_batch(group, x, y, finish),
            Mode::Decode { .. } => self.tokens(group, x, y, true, finish),
            Mode::Window { .. } | Mode::Prompt if self.rows == 1 => self.tokens(group, x, y, false, finish),
            Mode::Window { .. } | Mode::Prompt => self.dense_batch(group, x, y, finish),
        }
    }

    /// Whether each token is of a text of its own.
    pub(super) fn is_of_many(&self) -> bool {
        matches!(self.mode, Mode::Decode { .. })
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
        let (whole, scale) = (Shared::new(&mut *self.whole), Shared::new(&mut *self.whole_scale));
        self.work.small(&|part| {
            for row in share(rows, 1, parts, part) {
                // SAFETY: shares of different parts do not overlap.
                let (whole, scale) =
                    unsafe { (whole.slice(row * n..(row + 1) * n), scale.slice(row * groups..(row + 1) * groups)) };
                kernels.quantize(whole, scale, x.row(row), WIDE_FROM);
            }
        })
    }

    /// Many dense tokens.
    fn dense_batch(&mut self, group: &Group, x: MatRef<'_>, y: Shared<'_, f32>, finish: Finish<'_>) -> Flow {
        let input = Input { x, whole: whole_ref(group, self.whole, self.whole_scale, self.rows) };
        let (kernels, rows, parts, low_rank) = (self.kernels, self.rows, self.work.parts(), &*self.low_rank);
        let tile = tile_len(self.batch);
        let sums = Shared::new(&mut *self.sums);
        self.work.large(&|part, pieces| {
            // SAFETY: each part has a tile of its own.
            let tile = unsafe { sums.slice(part * tile..(part + 1) * tile) };
            let mut range = 0..0;
            for linear in group.linears() {
                range = share(linear.columns().len(), UNIT, parts, part);
                let columns = linear.columns().start + range.start..linear.columns().start + range.end;
                pieces.each(batch_pieces(group, rows, columns, tile.len()), |(rows, columns, block)| {
                    // SAFETY: shares of different parts do not overlap, nor do the columns of different linears.
                    let mut out = unsafe { y.matrix(rows.clone(), columns.clone(), group.output()) };
                    if block == 0 {
                        start_sum(kernels, group, &columns, rows.start, low_rank, &mut out);
                    }
                    add_block(kernels, group, block, columns, input.rows(rows), out, tile);
                });
            }
            let most = FINISH / range.len().max(1);
            pieces.each(cut(0..rows, 1, most), |rows| finish(Slice { rows, range: range.clone(), y }));
        })
    }

    /// Many tokens, the later ones sparse: every linear's mask is applied to a copy of the input.
    fn masked_batch(&mut self, group: &Group, x: MatRef<'_>, y: Shared<'_, f32>, finish: Finish<'_>) -> Flow {
        let Mode::Window { sparse_from, masked, masked_whole } = &mut *self.mode else { return Ok(()) };
        let whole = whole_ref(group, self.whole, self.whole_scale, self.rows);
        let (kernels, rows, parts, first) = (self.kernels, self.rows, self.work.parts(), *sparse_from);
        let (seqs, low_rank, input) = (&*self.seqs, &*self.low_rank, group.input());
        let thresholds = seqs.iter().flatten().find_map(|seq| seq.thresholds).unwrap_or(&[]);
        let tile = tile_len(self.batch);
        let sums = Shared::new(&mut *self.sums);
        for (columns, linear) in group.masks(thresholds) {
            let shared = Shared::new(&mut masked[..rows * input]);
            let shared_whole = Shared::new(masked_whole);
            self.work.small(&|part| {
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
                count(seqs, read);
            })?;

            let masked =
                Input { x: view(masked, rows, input), whole: whole_ref(group, masked_whole, self.whole_scale, rows) };
            self.work.small(&|part| {
                // SAFETY: each part has a tile of its own.
                let tile = unsafe { sums.slice(part * tile..(part + 1) * tile) };
                let range = share(columns.len(), UNIT, parts, part);
                let columns = columns.start + range.start..columns.start + range.end;
                // SAFETY: shares of different parts do not overlap.
                let mut out = unsafe { y.matrix(0..rows, columns.clone(), group.output()) };
                start_sum(kernels, group, &columns, 0, low_rank, &mut out);
                add_product(kernels, group, columns, masked, out, tile);
            })?;
        }
        self.work.small(&|part| {
            let width = group.linears().last().map_or(0, |linear| linear.columns().len());
            finish(Slice { rows: 0..rows, range: share(width, UNIT, parts, part), y });
        })?;
        count(seqs, (rows.saturating_sub(first) * group.low_rank_bytes()) as u64);
        Ok(())
    }
}

/// The input of a group in whole numbers, or none if its weights are not.
pub(super) fn whole_ref<'a>(group: &Group, whole: &'a [i16], scale: &'a [f32], rows: usize) -> QuantizedRef<'a> {
    let cols = if group.is_quantized() { group.input() } else { 0 };
    QuantizedRef::new(whole, scale, rows, cols).expect("buffers hold a batch")
}

/// Notes that a token of each of these texts has read so many bytes of linear weights.
pub(super) fn count(seqs: &[Option<Seq<'_>>], bytes: u64) {
    seqs.iter().flatten().for_each(|seq| _ = seq.bytes.fetch_add(bytes, Ordering::Relaxed));
}

pub(super) fn intersection(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// `y += x·W`, for those columns of the group. A block's sum is taken in `tile`, some columns at a time.
fn add_product(
    kernels: Kernels,
    group: &Group,
    columns: Range<usize>,
    input: Input<'_>,
    mut y: MatMut<'_>,
    tile: &mut [f32],
) {
    for piece in cut(columns.clone(), UNIT, tile.len() / y.rows()) {
        let mut y = y.reborrow().columns(piece.start - columns.start..piece.end - columns.start);
        for block in 0..BLOCKS {
            add_block(kernels, group, block, piece.clone(), input, y.reborrow(), tile);
        }
    }
}

/// The same for one block: its sum is taken in `tile`, which holds as many elements as `y`, but for block 0, which goes
/// on with what `y` holds.
fn add_block(
    kernels: Kernels,
    group: &Group,
    block: usize,
    columns: Range<usize>,
    input: Input<'_>,
    mut y: MatMut<'_>,
    tile: &mut [f32],
) {
    let (rows, width) = (y.rows(), columns.len());
    let (input, weights) = (input.channels(group.block(block)), group.weights(block).columns(columns));
    if block == 0 {
        return weights.multiply(kernels, y, input.x, input.whole);
    }
    let tile = &mut tile[..rows * width];
    tile.fill(0.0);
    let out = MatMut::new(tile, rows, width, width).expect("a tile holds its rows");
    weights.multiply(kernels, out, input.x, input.whole);
    for (row, sum) in tile.chunks_exact(width).enumerate() {
        kernels.add(y.row_mut(row), sum);
    }
}

/// The units of work of a batch's product with those columns: rows, columns and a block. No more columns than find room in
/// a tile.
fn batch_pieces(
    group: &Group,
    rows: usize,
    columns: Range<usize>,
    tile: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>, usize)> {
    let deepest = (0..BLOCKS).map(|n| group.block(n).len()).max().unwrap_or(0) + group.rank();
    let macs = UNIT_MACS / deepest.max(1);
    let strip = if group.is_quantized() { STRIP } else { UNIT };
    let high = (macs / strip).clamp(1, rows);
    let wide = (macs / high).min(tile / high);
    cut(0..rows, 1, high).flat_map(move |rows| {
        cut(columns.clone(), UNIT, wide).flat_map(move |columns| {
            (0..BLOCKS).map({
                let rows = rows.clone();
                move |block| (rows.clone(), columns.clone(), block)
            })
        })
    })
}
