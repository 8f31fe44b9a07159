//! The low rank of a group's linears: `B·x`, and `A` times that, where the sum over input channels starts.

use super::context::Pass;
use super::project::{intersection, whole_ref};
use super::shared::{SharedSlice, share};
use super::tiles::{UNIT_BYTES, UNIT_MACS, cut};
use crate::model::{Group, Weights};
use crate::session::budget::Flow;
use rasp_kernels::{Kernels, MatMut, MatRef, QUANT_GROUP, Quantized, QuantizedRef};
use std::ops::Range;

impl Pass<'_, '_> {
    /// `t = B x` of every linear of the group that has a low rank, side by side in `self.low_rank`.
    pub(super) fn low_rank_input(&mut self, group: &Group, x: MatRef<'_>) -> Flow {
        let total = group.rank();
        if total == 0 {
            return Ok(());
        }
        let (kernels, rows, parts) = (self.kernels, self.rows, self.work.parts());
        let most = (UNIT_BYTES / 2).min(UNIT_MACS / rows) / group.input();
        let whole = whole_ref(group, self.whole, self.whole_scale, rows);
        let t = SharedSlice::new(&mut *self.low_rank);
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
        })
    }
}

/// `y = bias + A t`, for those columns of the group: where the sum over input channels starts. `t` holds `B x` of all
/// linears of the group side by side, from row `first` on for the rows of `y`.
pub(super) fn start_sum(
    kernels: Kernels,
    group: &Group,
    columns: &Range<usize>,
    first: usize,
    t: &[f32],
    y: &mut MatMut<'_>,
) {
    let t = &t[first * group.rank()..];
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
            let y = y.reborrow().columns(own.start - columns.start..own.end - columns.start);
            match low_rank.a().columns(own.start - start..own.end - start) {
                Weights::Float(a) => kernels.gemm(y, t, a),
                Weights::Quantized(a) => add_quantized(kernels, y, t, a),
            }
        }
        first_rank += linear.rank();
    }
}

/// `y += t·A`, `A` with as many rows as `t` has columns or up to 31 more. A token's `t` becomes whole numbers here, in
/// every unit of work anew: that is next to nothing beside the product.
fn add_quantized(kernels: Kernels, mut y: MatMut<'_>, t: MatRef<'_>, a: Quantized<'_>) {
    const RANKS: usize = 256;
    const TOKENS: usize = 16;
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
