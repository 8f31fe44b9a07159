//! Tokens that are decoded: one, or several of one text or of as many.
//!
//! Bound by the bytes of the weights, so each weight row that any token needs is to come from memory once, in long
//! streams. A unit of work is so small that its weights stay in the cache: the first token brings them there, and for
//! the others arithmetic counts. So those are multiplied together, sparse ones with their dropped inputs zeroed in a
//! copy, which gives the same bits (`docs/performance.md` has what the ways measure).

use super::context::{Decoded, Pass, Row, view};
use super::low_rank::{Start, adapted};
use super::project::{Finish, Input, Slice, intersection, whole_ref};
use super::shared::{SharedSlice, share};
use super::tiles::{ALONE, COLUMNS, MANY, MASKED, SHARED_BYTES, TILE, UNIT, UNIT_BYTES, cut, tile_len};
use crate::format::BLOCKS;
use crate::model::{ChannelWeights, Group, WHOLE};
use crate::session::budget::Flow;
use rasp_kernels::{Active, Kernels, MatMut, MatRef, QUANT_GROUP, STREAMS};
use std::ops::Range;

impl Pass<'_, '_> {
    /// `y = group(x)` of a token or of several, each as sparse as its text says.
    pub(super) fn tokens(&mut self, group: &Group, x: MatRef<'_>, y: SharedSlice<'_, f32>, finish: Finish<'_>) -> Flow {
        let (rows, tile) = (self.rows, tile_len(self.batch));
        let input = Input { x, whole: whole_ref(group, self.whole, self.whole_scale, rows) };
        let (kernels, parts, width) = (self.kernels, self.work.parts(), group.output());
        let start = Start { kernels, group, low_rank: &*self.low_rank, seqs: adapted(self.adapted, self.seqs) };
        let rank = start.rank();
        let tokens = Decoded { seqs: self.seqs, rows: &self.rows_of, read: self.read };
        let (active, tiles) = (SharedSlice::new(&mut *self.active), SharedSlice::new(&mut *self.sums));
        // Sums of blocks after the first: of one token in a buffer of their own, of several in rows of `y` beyond
        // theirs.
        let (sums, beyond) = if rows == 1 { (tiles, 0) } else { (y, rows) };
        let sum_rows = |block: usize| beyond + (block - 1) * rows..beyond + block * rows;
        let units = width.div_ceil(UNIT);
        let outcome = self.work.large(&|part, pieces| {
            // SAFETY: each part has a piece of its own.
            let scratch = unsafe { active.slice(part * group.input()..(part + 1) * group.input()) };
            // The blocks' columns in one long row; this part's share of it.
            let mine = share(BLOCKS * units, 1, parts, part);
            for block in 0..BLOCKS {
                let end = |unit: usize| (unit.saturating_sub(block * units).min(units) * UNIT).min(width);
                pieces.each(token_pieces(group, rank, block, end(mine.start)..end(mine.end), rows), |piece| {
                    let TokenPiece { columns, channels, begins } = piece;
                    // SAFETY: shares of different parts do not overlap, nor do sums of different blocks.
                    let mut out = unsafe {
                        match block {
                            0 => y.matrix(0..rows, columns.clone(), width),
                            n => sums.matrix(sum_rows(n), columns.clone(), width),
                        }
                    };
                    match block {
                        _ if !begins => {}
                        0 => start.sum(&columns, 0, &mut out),
                        _ => (0..rows).for_each(|row| out.row_mut(row).fill(0.0)),
                    }
                    if channels.is_empty() {
                        return;
                    }
                    let weights = group.weights(block).row_range(channels.clone());
                    let first = group.block(block).start;
                    let channels = first + channels.start..first + channels.end;
                    let input = input.channels(channels.clone());
                    let product = Product { kernels, group, columns, channels, weights, input, tokens };
                    if rows == 1 {
                        return product.of_one(0, &mut out, scratch);
                    }
                    // SAFETY: each part has a tile of its own, and several tokens have their sums elsewhere.
                    let tile = unsafe { tiles.slice(part * tile..(part + 1) * tile) };
                    product.of_all(&mut out, scratch, tile);
                });
            }
        });
        outcome?;
        tokens.read.add(0..rows, group.low_rank_bytes());
        if self.adapted {
            for (row, Row { seq, .. }) in self.rows_of[..rows].iter().enumerate() {
                let active = tokens.seqs[*seq].as_ref().map(|seq| seq.adapters.active());
                tokens.read.add(row..row + 1, active.map_or(0, |active| active.bytes(group)));
            }
        }

        let add_blocks = |part| {
            let mut range = 0..0;
            for linear in group.linears() {
                range = share(linear.columns().len(), UNIT, parts, part);
                let columns = linear.columns().start + range.start..linear.columns().start + range.end;
                for block in 1..BLOCKS {
                    // SAFETY: shares of different parts do not overlap, and nobody writes the sums meanwhile.
                    let (mut y, sums) = unsafe {
                        (
                            y.matrix(0..rows, columns.clone(), width),
                            sums.matrix(sum_rows(block), columns.clone(), width),
                        )
                    };
                    (0..rows).for_each(|row| kernels.add(y.row_mut(row), sums.row(row)));
                }
            }
            finish(Slice { rows: 0..rows, range, y });
        };
        if rows * width <= ALONE {
            (0..parts).for_each(add_blocks);
        } else {
            self.work.small(&add_blocks)?;
        }
        Ok(())
    }
}

/// What tokens take of one unit's weights.
struct Product<'a, 's> {
    kernels: Kernels,
    group: &'a Group,
    columns: Range<usize>,
    channels: Range<usize>,
    /// Of these channels, all columns.
    weights: ChannelWeights<'a>,
    input: Input<'a>,
    tokens: Decoded<'a, 's>,
}

impl Product<'_, '_> {
    /// Neighbours that are alike, dense or sparse, go together.
    fn of_all(&self, out: &mut MatMut<'_>, scratch: &mut [u32], tile: &mut [f32]) {
        let rows = out.rows();
        let together = if self.group.is_quantized() { MASKED } else { 2 };
        let mut row = 0;
        while row < rows {
            let sparse = self.tokens.thresholds(row).is_some();
            let end = (row..rows).find(|&row| self.tokens.thresholds(row).is_some() != sparse).unwrap_or(rows);
            // As a product of one does, or all of it.
            let reads_well = self.group.is_quantized() && (!sparse || end - row >= MASKED);
            if end - row < MANY && !reads_well {
                self.of_one(row, out, scratch);
                row += 1;
            }
            match sparse {
                _ if row == end => {}
                false => self.of_dense(row..end, &self.columns, out, scratch),
                true if end - row >= together => self.of_masked(row..end, out, scratch, tile),
                true => (row..end).for_each(|row| self.of_one(row, out, scratch)),
            }
            row = end;
        }
    }

    /// These of the columns, of dense tokens: one, or several, each of which counts what it would read alone.
    fn of_dense(&self, rows: Range<usize>, own: &Range<usize>, out: &mut MatMut<'_>, scratch: &mut [u32]) {
        let Product { kernels, group, columns, channels, .. } = self;
        if group.has_zero_inputs() && rows.len() == 1 {
            let active = kernels.select(self.input.x.row(rows.start), None, 0.0, scratch);
            return self.of_active(rows.start, own, active, out);
        }
        let (input, out) = (self.input.rows(rows.clone()), out.reborrow().row_range(rows.clone()));
        let out = out.columns(own.start - columns.start..own.end - columns.start);
        self.weights.columns(own.clone()).multiply(*kernels, out, input.x, input.whole);
        if !group.has_zero_inputs() {
            let bytes = group.bytes_of(channels.len(), channels.len() / QUANT_GROUP, own.len());
            return self.tokens.read.add(rows, bytes);
        }
        for row in rows {
            let active = kernels.select(self.input.x.row(row), None, 0.0, scratch).as_slice();
            self.tokens.read.add(row..row + 1, group.bytes_of(active.len(), groups(active), own.len()));
        }
    }

    /// These of the columns, of the active channels alone.
    fn of_active(&self, row: usize, own: &Range<usize>, active: Active<'_>, out: &mut MatMut<'_>) {
        let Product { kernels, group, columns, .. } = self;
        let out = &mut out.row_mut(row)[own.start - columns.start..own.end - columns.start];
        let groups = match self.weights.columns(own.clone()) {
            ChannelWeights::Float(w) => {
                kernels.gemv_sparse(out, self.input.x.row(row), active, w);
                0
            }
            ChannelWeights::Quantized(w) => {
                let (whole, scale) = self.input.whole.row(row);
                kernels.gemv_sparse_q(out, whole, scale, active, w)
            }
        };
        self.tokens.read.add(row..row + 1, group.bytes_of(active.len(), groups, own.len()));
    }

    /// Several sparse tokens, dropped inputs zeroed.
    fn of_masked(&self, rows: Range<usize>, out: &mut MatMut<'_>, scratch: &mut [u32], tile: &mut [f32]) {
        let Product { kernels, group, columns, channels, .. } = self;
        let (width, input) = (channels.len(), self.input.rows(rows.clone()));
        for linear in group.linears() {
            let own = intersection(&linear.columns(), columns);
            if own.is_empty() {
                continue;
            }
            let score = linear.score().map(|score| &score[channels.clone()]);
            let mask = |row: usize| {
                let threshold = self.tokens.thresholds(row).map_or(0.0, |all| all[linear.index()]);
                let zeros_alone = group.has_zero_inputs() && threshold == WHOLE;
                if zeros_alone { (None, 0.0) } else { (score, threshold) }
            };
            let count = |row: usize, kept: usize, groups: usize| {
                self.tokens.read.add(row..row + 1, group.bytes_of(kept, groups, own.len()));
            };
            let masked = if group.is_quantized() {
                // SAFETY: any bits are an i16.
                let tile = &mut unsafe { tile.align_to_mut::<i16>() }.1[..rows.len() * width];
                for (n, (row, masked)) in rows.clone().zip(tile.chunks_exact_mut(width)).enumerate() {
                    let (score, threshold) = mask(row);
                    let active = kernels.select(input.x.row(n), score, threshold, scratch).as_slice();
                    let (whole, _) = input.whole.row(n);
                    masked.fill(0);
                    active.iter().for_each(|&channel| masked[channel as usize] = whole[channel as usize]);
                    count(row, active.len(), groups(active));
                }
                Input { whole: input.whole.with_whole(tile).expect("a tile holds all rows"), ..input }
            } else {
                let tile = &mut tile[..rows.len() * width];
                for (n, (row, masked)) in rows.clone().zip(tile.chunks_exact_mut(width)).enumerate() {
                    let (score, threshold) = mask(row);
                    count(row, kernels.mask(masked, input.x.row(n), score, threshold), 0);
                }
                Input { x: view(tile, rows.len(), width), ..input }
            };
            let out = out.reborrow().row_range(rows.clone());
            let out = out.columns(own.start - columns.start..own.end - columns.start);
            self.weights.columns(own).multiply(*kernels, out, masked.x, masked.whole);
        }
    }

    /// One token; if it is sparse, rows that it drops are not read.
    fn of_one(&self, row: usize, out: &mut MatMut<'_>, scratch: &mut [u32]) {
        let Product { kernels, group, columns, channels, .. } = self;
        let Some(thresholds) = self.tokens.thresholds(row) else {
            return self.of_dense(row..row + 1, columns, out, scratch);
        };
        for (own, linear) in group.masks(thresholds) {
            let own = intersection(&own, columns);
            let threshold = thresholds[linear.index()];
            match own.is_empty() {
                true => {}
                false if threshold == WHOLE => self.of_dense(row..row + 1, &own, out, scratch),
                false => {
                    let score = linear.score().map(|score| &score[channels.clone()]);
                    let active = kernels.select(self.input.x.row(row), score, threshold, scratch);
                    self.of_active(row, &own, active, out);
                }
            }
        }
    }
}

/// How many groups these channels belong to.
fn groups(active: &[u32]) -> usize {
    active.chunk_by(|a, b| *a as usize / QUANT_GROUP == *b as usize / QUANT_GROUP).count()
}

/// A unit of work of a product of tokens.
struct TokenPiece {
    columns: Range<usize>,
    /// Counted from the block's first.
    channels: Range<usize>,
    /// Whether the sums of these columns begin here.
    begins: bool,
}

/// The units of work of the product of so many tokens with those columns of a block. Low ranks to begin from are a
/// unit of their own, without channels.
fn token_pieces(
    group: &Group,
    rank: usize,
    block: usize,
    columns: Range<usize>,
    tokens: usize,
) -> impl Iterator<Item = TokenPiece> {
    let channels = group.block(block).len();
    let rank = if block == 0 { rank } else { 0 };
    let unit = if tokens == 1 { UNIT_BYTES } else { SHARED_BYTES };
    let widest = (unit / 2).checked_div(rank).map_or(COLUMNS, |columns| columns.min(COLUMNS));
    cut(columns, UNIT, widest).flat_map(move |columns| {
        let bytes = group.bytes_of(QUANT_GROUP, 1, columns.len()).max(1) as usize;
        // No more than a tile holds of all tokens' inputs.
        let most = (QUANT_GROUP * (unit / bytes)).min(TILE / tokens);
        // Channels that are left over by the runs of interleaved rows go by themselves.
        let dealt = if channels <= most { channels } else { channels / STREAMS * STREAMS };
        let begin = (rank > 0 || channels == 0).then_some(0..0);
        let own = cut(0..dealt, QUANT_GROUP, most).chain((dealt < channels).then_some(dealt..channels));
        begin.into_iter().chain(own).enumerate().map(move |(n, channels)| TokenPiece {
            columns: columns.clone(),
            channels,
            begins: n == 0,
        })
    })
}
