//! The low-rank part of a linear layer.

use faer::MatRef;
use rasp::{Error, Result, Status};

/// `A [out, r]` and `B [r, in]`, row-major, with `W ≈ A·B`.
pub(crate) struct Factors {
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
}

/// The best approximation of rank `rank` in the Frobenius norm: `A = U_r S_r`, `B = V_rᵀ` of the thin SVD
/// `W = U S Vᵀ` (METHOD, "One linear layer"). `w` is row-major `[out, inp]`; `rank` is at most the smaller of the two.
pub(crate) fn truncated_svd(w: &[f32], out: usize, inp: usize, rank: usize) -> Result<Factors> {
    let w = MatRef::from_row_major_slice(w, out, inp);
    let svd = w
        .thin_svd()
        .map_err(|e| Error::new(Status::Internal, format!("the SVD of a {out} by {inp} matrix failed: {e:?}")))?;
    let (u, s, v) = (svd.U(), svd.S().column_vector(), svd.V());
    let a = (0..out).flat_map(|i| (0..rank).map(move |k| u[(i, k)] * s[k])).collect();
    let b = (0..rank).flat_map(|k| (0..inp).map(move |j| v[(j, k)])).collect();
    Ok(Factors { a, b })
}

/// `W − A·B`, in place of `w`.
pub(crate) fn subtract(w: &mut [f32], inp: usize, rank: usize, factors: &Factors) {
    for (row, a) in w.chunks_exact_mut(inp).zip(factors.a.chunks_exact(rank)) {
        for (a, b) in a.iter().zip(factors.b.chunks_exact(inp)) {
            row.iter_mut().zip(b).for_each(|(w, b)| *w -= a * b);
        }
    }
}

/// `‖W[:, j]‖₂` for every input channel `j` of a row-major `[out, inp]` matrix, summed in f64.
pub(crate) fn column_norms(w: &[f32], inp: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; inp];
    for row in w.chunks_exact(inp) {
        sums.iter_mut().zip(row).for_each(|(sum, &w)| *sum += f64::from(w) * f64::from(w));
    }
    sums.into_iter().map(|sum| sum.sqrt() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `[4, 3]` matrix with singular values 5, 2 and 1.
    fn matrix() -> Vec<f32> {
        // Columns of Hadamard's matrix, halved, times the values, times a rotation in the plane of the first two.
        let (c, s) = (0.6, 0.8);
        let h = [[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0], [1.0, -1.0, -1.0]];
        let mut w = Vec::new();
        for row in h {
            let (x, y, z) = (row[0] / 2.0 * 5.0, row[1] / 2.0 * 2.0, row[2] / 2.0);
            w.extend([x * c - y * s, x * s + y * c, z]);
        }
        w
    }

    fn frobenius(w: &[f32]) -> f32 {
        w.iter().map(|x| x * x).sum::<f32>().sqrt()
    }

    #[test]
    fn what_a_rank_leaves_is_the_smaller_singular_values() {
        for (rank, left) in [(1, 5f32.sqrt()), (2, 1.0), (3, 0.0)] {
            let mut w = matrix();
            let factors = truncated_svd(&w, 4, 3, rank).unwrap();
            assert_eq!((factors.a.len(), factors.b.len()), (4 * rank, 3 * rank));
            subtract(&mut w, 3, rank, &factors);
            assert!((frobenius(&w) - left).abs() < 1e-5, "rank {rank} leaves {}", frobenius(&w));
        }
    }

    #[test]
    fn norms_are_of_columns() {
        let norms = column_norms(&[3.0, 0.0, 4.0, 2.0], 2);
        assert_eq!(norms, [5.0, 2.0]);
    }
}
