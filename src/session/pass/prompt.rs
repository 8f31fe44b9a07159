//! Many tokens of one text: a prompt, or a text to be scored.
//!
//! Bound by arithmetic: threads share out columns, and each adds the blocks up tile by tile.

use super::context::{Mode, Pass, view};
use super::low_rank::{Start, adapted};
use super::project::{Finish, Slice, whole_ref};
use super::shared::{SharedSlice, share};
use super::tiles::{FINISH, PAD, STRIP, UNIT, UNIT_MACS, UNIT_MACS_INTEGER, cut, tile_len};
use super::work::Work;
use crate::Result;
use crate::format::BLOCKS;
use crate::model::{ChannelWeights, Group};
use crate::session::budget::Flow;
use rasp_kernels::{Kernels, MatMut, MatRef, PACKED_ROWS, PackedGroup, QUANT_GROUP, QuantizedRef};
use std::ops::Range;

/// The input of some tokens: as f32 or, for weights in whole numbers, packed.
#[derive(Clone, Copy)]
struct Batch<'a> {
    x: MatRef<'a>,
    packed: &'a [PackedGroup],
}

/// How many tokens meet the group's weights together: as many as are packed at a time, or all.
fn together(group: &Group, rows: usize) -> usize {
    if group.is_quantized() { PACKED_ROWS } else { rows }
}

/// Packs those inputs, if there are any in whole numbers; threads share out groups of channels.
fn pack(work: &mut Work<'_>, kernels: Kernels, packed: &mut [PackedGroup], x: QuantizedRef<'_>) -> Result<()> {
    let (groups, parts) = (x.cols() / QUANT_GROUP, work.parts());
    if groups == 0 {
        return Ok(());
    }
    let packed = SharedSlice::new(&mut packed[..groups]);
    work.small(&|part| {
        let own = share(groups, 1, parts, part);
        let channels = own.start * QUANT_GROUP..own.end * QUANT_GROUP;
        // SAFETY: shares of different parts do not overlap.
        kernels.pack(unsafe { packed.slice(own) }, x.columns(channels));
    })
}

impl Pass<'_, '_> {
    /// Many dense tokens.
    pub(super) fn dense_batch(
        &mut self,
        group: &Group,
        x: MatRef<'_>,
        y: SharedSlice<'_, f32>,
        finish: Finish<'_>,
    ) -> Flow {
        let whole = whole_ref(group, self.whole, self.whole_scale, self.rows);
        let (kernels, parts) = (self.kernels, self.work.parts());
        let start = Start { kernels, group, low_rank: &*self.low_rank, seqs: adapted(self.adapted, self.seqs) };
        let rank = start.rank();
        let tile = tile_len(self.batch);
        let sums = SharedSlice::new(&mut *self.sums);
        for rows in cut(0..self.rows, 1, together(group, self.rows)) {
            pack(&mut self.work, kernels, self.packed, whole.row_range(rows.clone()))?;
            let input = Batch { x: x.row_range(rows.clone()), packed: &*self.packed };
            self.work.large(&|part, pieces| {
                // SAFETY: each part has a tile of its own.
                let tile = unsafe { sums.slice(part * tile..(part + 1) * tile) };
                let mut range = 0..0;
                for linear in group.linears() {
                    range = share(linear.columns().len(), UNIT, parts, part);
                    let columns = linear.columns().start + range.start..linear.columns().start + range.end;
                    let list = batch_pieces(group, rank, rows.len(), columns, tile.len());
                    pieces.each(list, |(own, columns, block)| {
                        let at = rows.start + own.start..rows.start + own.end;
                        // SAFETY: shares of different parts do not overlap, nor do the columns of different linears.
                        let mut out = unsafe { y.matrix(at.clone(), columns.clone(), group.output()) };
                        if block == 0 {
                            start.sum(&columns, at.start, &mut out);
                        }
                        let input = Batch { x: input.x.row_range(own), ..input };
                        add_block(kernels, group, block, columns, input, out, tile);
                    });
                }
                let most = FINISH / range.len().max(1);
                pieces.each(cut(rows.clone(), 1, most), |rows| finish(Slice { rows, range: range.clone(), y }));
            })?;
        }
        Ok(())
    }

    /// Many tokens, the later ones sparse: every linear's mask is applied to a copy of the input.
    pub(super) fn masked_batch(
        &mut self,
        group: &Group,
        x: MatRef<'_>,
        y: SharedSlice<'_, f32>,
        finish: Finish<'_>,
    ) -> Flow {
        let first = self.sparse_from();
        let Some(Some(thresholds)) = self.seqs.first().map(|seq| seq.as_ref().and_then(|seq| seq.thresholds(first)))
        else {
            return Ok(());
        };
        let Mode::Window { masked, masked_whole } = &mut *self.mode else { return Ok(()) };
        let whole = whole_ref(group, self.whole, self.whole_scale, self.rows);
        let (kernels, rows, parts) = (self.kernels, self.rows, self.work.parts());
        let (input, counted) = (group.input(), self.read);
        let start = Start { kernels, group, low_rank: &*self.low_rank, seqs: adapted(self.adapted, self.seqs) };
        let tile = tile_len(self.batch);
        let sums = SharedSlice::new(&mut *self.sums);
        for (columns, linear) in group.masks(thresholds) {
            let shared = SharedSlice::new(&mut masked[..rows * input]);
            let shared_whole = SharedSlice::new(masked_whole);
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
                counted.add(0..1, read);
            })?;

            let masked = view(masked, rows, input);
            let whole = whole_ref(group, masked_whole, self.whole_scale, rows);
            for some in cut(0..rows, 1, together(group, rows)) {
                pack(&mut self.work, kernels, self.packed, whole.row_range(some.clone()))?;
                let input = Batch { x: masked.row_range(some.clone()), packed: &*self.packed };
                self.work.small(&|part| {
                    // SAFETY: each part has a tile of its own.
                    let tile = unsafe { sums.slice(part * tile..(part + 1) * tile) };
                    let range = share(columns.len(), UNIT, parts, part);
                    let columns = columns.start + range.start..columns.start + range.end;
                    // SAFETY: shares of different parts do not overlap.
                    let mut out = unsafe { y.matrix(some.clone(), columns.clone(), group.output()) };
                    start.sum(&columns, some.start, &mut out);
                    add_product(kernels, group, columns, input, out, tile);
                })?;
            }
        }
        self.work.small(&|part| {
            let width = group.linears().last().map_or(0, |linear| linear.columns().len());
            finish(Slice { rows: 0..rows, range: share(width, UNIT, parts, part), y });
        })?;
        counted.add(0..1, (rows - first) as u64 * start.bytes());
        Ok(())
    }
}

/// `y += x·W`, for those columns of the group. A block's sum is taken in `tile`, some columns at a time.
fn add_product(
    kernels: Kernels,
    group: &Group,
    columns: Range<usize>,
    input: Batch<'_>,
    mut y: MatMut<'_>,
    tile: &mut [f32],
) {
    for piece in cut(columns.clone(), UNIT, tile.len() / y.rows() - PAD) {
        let mut y = y.reborrow().columns(piece.start - columns.start..piece.end - columns.start);
        for block in 0..BLOCKS {
            add_block(kernels, group, block, piece.clone(), input, y.reborrow(), tile);
        }
    }
}

/// The same for one block: its sum is taken in `tile`, which holds `y` and [`PAD`] elements more of each row (rows of
/// `y` itself lie as far apart as outputs are wide). Block 0 goes on with what `y` holds.
fn add_block(
    kernels: Kernels,
    group: &Group,
    block: usize,
    columns: Range<usize>,
    input: Batch<'_>,
    mut y: MatMut<'_>,
    tile: &mut [f32],
) {
    let (rows, width) = (y.rows(), columns.len());
    let (channels, weights) = (group.block(block), group.weights(block).columns(columns));
    let stride = width + PAD;
    let tile = &mut tile[..rows * stride];
    for (row, sum) in tile.chunks_exact_mut(stride).enumerate() {
        match block {
            0 => sum[..width].copy_from_slice(y.row_mut(row)),
            _ => sum[..width].fill(0.0),
        }
    }
    let out = MatMut::new(tile, rows, width, stride).expect("a tile holds its rows");
    match weights {
        ChannelWeights::Float(w) => kernels.gemm(out, input.x.columns(channels), w),
        ChannelWeights::Quantized(w) => {
            kernels.gemm_packed(out, &input.packed[channels.start / QUANT_GROUP..channels.end / QUANT_GROUP], w);
        }
    }
    for (row, sum) in tile.chunks_exact(stride).enumerate() {
        match block {
            0 => y.row_mut(row).copy_from_slice(&sum[..width]),
            _ => kernels.add(y.row_mut(row), &sum[..width]),
        }
    }
}

/// The units of work of a batch's product with those columns: rows, columns and a block. No more columns than find room
/// in a tile.
fn batch_pieces(
    group: &Group,
    rank: usize,
    rows: usize,
    columns: Range<usize>,
    tile: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>, usize)> {
    let deepest = (0..BLOCKS).map(|n| group.block(n).len()).max().unwrap_or(0) + rank;
    let (macs, strip) = if group.is_quantized() { (UNIT_MACS_INTEGER, STRIP) } else { (UNIT_MACS, UNIT) };
    let macs = macs / deepest.max(1);
    let high = if group.is_quantized() { rows } else { macs / UNIT }.clamp(1, rows);
    let wide = (macs / high).max(strip).min(tile / high - PAD);
    cut(0..rows, 1, high).flat_map(move |rows| {
        // In whole strips where there is room for one.
        cut(columns.clone(), if wide < strip { UNIT } else { strip }, wide).flat_map(move |columns| {
            (0..BLOCKS).map({
                let rows = rows.clone();
                move |block| (rows.clone(), columns.clone(), block)
            })
        })
    })
}
