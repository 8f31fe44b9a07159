//! Low ranks, the group's own and those of adapters: `B·x`, and `A` times that, where the sum over input channels
//! starts.

use super::context::{Pass, Seq};
use super::project::{intersection, whole_ref};
use super::shared::{SharedSlice, share};
use super::tiles::{MAX_ROWS, UNIT_BYTES, UNIT_MACS, cut};
use crate::model::{ChannelWeights, Group};
use crate::session::adapters::ActiveAdapters;
use crate::session::budget::Flow;
use rasp_kernels::{Kernels, MatMut, MatRef, QUANT_GROUP, Quantized, QuantizedRef};
use std::array::from_fn;
use std::ops::Range;

/// A text's adapters, and where `s·B·x` of its tokens goes: `[rows, ActiveAdapters::width]`
struct AdaptedText<'a> {
    rows: Range<usize>,
    active: &'a ActiveAdapters,
    t: SharedSlice<'a, f32>,
}

impl Pass<'_, '_> {
    /// `t = B x` of every linear of the group that has a low rank, side by side in `self.low_rank`; and of the texts'
    /// adapters, times their scales, in each text's own.
    pub(super) fn low_rank_input(&mut self, group: &Group, x: MatRef<'_>) -> Flow {
        let total = group.rank();
        if total == 0 && !self.adapted {
            return Ok(());
        }
        let (kernels, rows, parts) = (self.kernels, self.rows, self.work.parts());
        let most = (UNIT_BYTES / 2).min(UNIT_MACS / rows) / group.input();
        let whole = whole_ref(group, self.whole, self.whole_scale, rows);
        let t = SharedSlice::new(&mut *self.low_rank);
        let mut first = 0;
        // Without adapters nobody looks for some.
        let adapted = if self.adapted { &mut *self.seqs } else { &mut [] };
        let mut texts = adapted.iter_mut().flatten();
        let texts: [Option<AdaptedText<'_>>; MAX_ROWS] = from_fn(|_| {
            let text = texts.next()?;
            let rows = first..first + text.count;
            first = rows.end;
            let (active, t) = text.adapters.parts();
            Some(AdaptedText { rows, active, t: SharedSlice::new(t) })
        });
        self.work.large(&|part, pieces| {
            let mut start = 0;
            for low_rank in group.linears().iter().filter_map(|l| l.low_rank()) {
                let b = low_rank.b();
                pieces.each(cut(share(b.rows(), 1, parts, part), 1, most), |mine| {
                    // SAFETY: shares of different parts do not overlap, nor do those of different linears.
                    let t = unsafe { t.matrix(0..rows, start + mine.start..start + mine.end, total) };
                    b.row_range(mine).multiply(kernels, t, x, whole);
                });
                start += b.rows();
            }
            for AdaptedText { rows, active, t } in texts.iter().flatten() {
                let (x, whole) = (x.row_range(rows.clone()), whole.row_range(rows.clone()));
                let (width, mut start) = (active.width(group), 0);
                for (_, low_rank, scale) in active.of(group) {
                    let b = low_rank.b();
                    pieces.each(cut(share(b.rows(), 1, parts, part), 1, most), |mine| {
                        // SAFETY: as above; and each text has room of its own.
                        let mut t = unsafe { t.matrix(0..rows.len(), start + mine.start..start + mine.end, width) };
                        b.row_range(mine).multiply(kernels, t.reborrow(), x, whole);
                        (0..t.rows()).for_each(|row| t.row_mut(row).iter_mut().for_each(|t| *t *= scale));
                    });
                    start += b.rows();
                }
            }
        })
    }
}

/// Where the sums of a group's outputs start: `bias + A·(B·x)`, then what adapters add, each after the other.
#[derive(Clone, Copy)]
pub(super) struct Start<'p, 's> {
    pub(super) kernels: Kernels,
    pub(super) group: &'p Group,
    /// `B·x` of the group's linears side by side: `[T, rank]`
    pub(super) low_rank: &'p [f32],
    /// The texts of the tokens, in the order of their rows; none if none has adapters.
    pub(super) seqs: &'p [Option<Seq<'s>>],
}

/// The texts of a pass, as [`Start`] has them: without adapters nobody looks for some, sum by sum.
pub(super) fn adapted<'p, 's>(any: bool, seqs: &'p [Option<Seq<'s>>]) -> &'p [Option<Seq<'s>>] {
    if any { seqs } else { &[] }
}

impl Start<'_, '_> {
    /// Ranks that the sum of one output starts from, at most.
    pub(super) fn rank(&self) -> usize {
        let own = self.group.linears().iter().map(|l| l.rank()).max().unwrap_or(0);
        own + self.seqs.iter().flatten().map(|seq| seq.adapters.active().rank()).max().unwrap_or(0)
    }

    /// Bytes of the group's factors that the first text's token reads, its adapters' included.
    pub(super) fn bytes(&self) -> u64 {
        let adapters = self.seqs.iter().flatten().next().map_or(0, |seq| seq.adapters.active().bytes(self.group));
        self.group.low_rank_bytes() + adapters
    }

    /// Starts those columns of the tokens from row `first` on, the rows of `y`.
    pub(super) fn sum(&self, columns: &Range<usize>, first: usize, y: &mut MatMut<'_>) {
        let Start { kernels, group, low_rank, .. } = *self;
        for row in 0..y.rows() {
            match group.bias() {
                Some(bias) => y.row_mut(row).copy_from_slice(&bias[columns.clone()]),
                None => y.row_mut(row).fill(0.0),
            }
        }
        let total = group.rank();
        let t = &low_rank[first * total..];
        let mut first_rank = 0;
        for linear in group.linears() {
            let own = intersection(&linear.columns(), columns);
            if let Some(low_rank) = linear.low_rank()
                && !own.is_empty()
            {
                let t = MatRef::new(&t[first_rank..], y.rows(), linear.rank(), total).expect("a batch of ranks");
                let start = linear.columns().start;
                let y = y.reborrow().columns(own.start - columns.start..own.end - columns.start);
                add(kernels, y, t, low_rank.a().columns(own.start - start..own.end - start));
            }
            first_rank += linear.rank();
        }
        self.adapt(columns, first, y);
    }

    /// Adds what the texts' adapters give to those columns of the tokens from row `first` on.
    pub(super) fn adapt(&self, columns: &Range<usize>, first: usize, y: &mut MatMut<'_>) {
        let (all, mut end) = (first..first + y.rows(), 0);
        for seq in self.seqs.iter().flatten() {
            let rows = end..end + seq.count;
            end = rows.end;
            let own = intersection(&rows, &all);
            if !own.is_empty() {
                let y = y.reborrow().row_range(own.start - first..own.end - first);
                self.adapt_text(seq, columns, own.start - rows.start, y);
            }
        }
    }

    /// Adds what a text's adapters give, for its tokens from number `first` on.
    fn adapt_text(&self, seq: &Seq<'_>, columns: &Range<usize>, first: usize, mut y: MatMut<'_>) {
        let (active, t) = (seq.adapters.active(), seq.adapters.computed());
        let width = active.width(self.group);
        let mut first_rank = first * width;
        for (outputs, low_rank, _) in active.of(self.group) {
            let (own, start) = (intersection(&outputs, columns), outputs.start);
            if !own.is_empty() {
                let t = MatRef::new(&t[first_rank..], y.rows(), low_rank.rank(), width).expect("a batch of ranks");
                let y = y.reborrow().columns(own.start - columns.start..own.end - columns.start);
                add(self.kernels, y, t, low_rank.a().columns(own.start - start..own.end - start));
            }
            first_rank += low_rank.rank();
        }
    }
}

/// `y += t·A`.
fn add(kernels: Kernels, y: MatMut<'_>, t: MatRef<'_>, a: ChannelWeights<'_>) {
    match a {
        ChannelWeights::Float(a) => kernels.gemm(y, t, a),
        ChannelWeights::Quantized(a) => add_quantized(kernels, y, t, a),
    }
}

/// `y += t·A`, `A` with as many rows as `t` has columns or up to 31 more. A token's `t` becomes whole numbers here, in
/// every unit of work anew: that is next to nothing beside the product. Apart, so that what is in floats takes none of
/// its stack.
#[inline(never)]
fn add_quantized(kernels: Kernels, mut y: MatMut<'_>, t: MatRef<'_>, a: Quantized<'_>) {
    const RANKS: usize = 256;
    const TOKENS: usize = 4;
    let mut wide = [0.0; RANKS];
    let (mut whole, mut scale) = ([0; TOKENS * RANKS], [0.0; TOKENS * RANKS / QUANT_GROUP]);
    // A sum over ranks is one chain of groups, whether it is taken at once or in parts.
    for start in (0..a.rows()).step_by(RANKS) {
        let ranks = RANKS.min(a.rows() - start);
        let groups = ranks / QUANT_GROUP;
        for first in (0..y.rows()).step_by(TOKENS) {
            let tokens = TOKENS.min(y.rows() - first);
            for n in 0..tokens {
                let t = &t.row(first + n)[start..];
                let t = &t[..t.len().min(ranks)];
                wide[..t.len()].copy_from_slice(t);
                wide[t.len()..].fill(0.0);
                let (whole, scale) = (&mut whole[n * ranks..][..ranks], &mut scale[n * groups..][..groups]);
                kernels.quantize(whole, scale, &wide[..ranks], 0.0);
            }
            let t = QuantizedRef::new(&whole, &scale, tokens, ranks).expect("room for as many");
            let y = y.reborrow().row_range(first..first + tokens);
            kernels.gemm_q(y, t, a.row_range(start..start + ranks));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasp_kernels::QuantType;

    /// More ranks and tokens than go at a time, and a rank that fills no group: the product, within what rounding
    /// inputs costs, and the same bits for each token alone.
    #[test]
    fn factors_in_whole_numbers_give_the_product() {
        let (tokens, rank, rows, cols) = (37, 269, 288, 64);
        let data: Vec<u8> = (0..rows * cols).map(|i| if i < rank * cols { (i * 37 % 251) as u8 } else { 0 }).collect();
        let scale: Vec<u16> = (0..rows / QUANT_GROUP * cols).map(|i| 0x1400 + (i % 1024) as u16).collect();
        let a = Quantized::new(QuantType::Q8, &data, &scale, &[], rows, cols).unwrap();
        let t: Vec<f32> = (0..tokens * (rank + 3)).map(|i| ((i * 29 % 97) as f32 - 48.0) / 16.0).collect();
        let t = MatRef::new(&t, tokens, rank, rank + 3).unwrap();
        let kernels = Kernels::best();
        let mut y = vec![0.5; tokens * cols];
        add_quantized(kernels, MatMut::new(&mut y, tokens, cols, cols).unwrap(), t, a);
        for (m, y) in y.chunks_exact(cols).enumerate() {
            let mut alone = vec![0.5; cols];
            add_quantized(kernels, MatMut::new(&mut alone, 1, cols, cols).unwrap(), t.row_range(m..m + 1), a);
            assert_eq!(y, alone);
            for (c, &y) in y.iter().enumerate() {
                let weight = |k: usize| {
                    let scale = half::f16::from_bits(a.scale(k / QUANT_GROUP)[c]).to_f64();
                    scale * f64::from(a.row(k)[c].cast_signed())
                };
                let sum: f64 = t.row(m).iter().enumerate().map(|(k, &t)| f64::from(t) * weight(k)).sum();
                let size: f64 = (0..rank).map(|k| weight(k).abs()).sum();
                assert!((f64::from(y) - 0.5 - sum).abs() < 2e-4 * size, "{m} {c}: {y} for {sum}");
            }
        }
    }
}
