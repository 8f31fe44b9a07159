//! The low-rank part of a linear layer.

use crate::allocate::normal;
use faer::linalg::solvers::Svd;
use faer::{ColRef, Mat, MatRef};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
use rasp::{Error, Result, Status};

/// `A [out, r]` and `B [r, in]`, row-major, with `W ≈ A·B`.
pub(crate) struct Factors {
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
}

/// Matrices up to this size are decomposed whole, which takes less than a second.
const WHOLE: usize = 1024;
/// Ranks up to this share of a larger matrix are found in a random subspace.
const RANDOMIZED: usize = 4;

/// The best approximation of rank `rank` in the Frobenius norm: `A = U_r S_r`, `B = V_rᵀ` of the thin SVD
/// `W = U S Vᵀ` (METHOD, "One linear layer"). `w` is row-major `[out, inp]`; `rank` is at most the smaller of the two.
///
/// Small ranks of large matrices are found by [`randomized_svd`], nearly as good an approximation in less time.
pub(crate) fn truncated_svd(w: &[f32], out: usize, inp: usize, rank: usize) -> Result<Factors> {
    let smaller = out.min(inp);
    if smaller > WHOLE && rank * RANDOMIZED <= smaller {
        return randomized_svd(w, out, inp, rank);
    }
    let svd = thin_svd(MatRef::from_row_major_slice(w, out, inp))?;
    Ok(factors(svd.U(), svd.S().column_vector(), svd.V(), rank))
}

/// Columns of the subspace beyond the rank, and how often it is turned towards the largest singular values.
const OVERSAMPLED: usize = 16;
const ITERATIONS: usize = 4;

/// The same within the range of `(W·Wᵀ)^4·W·Ω`, `Ω` random (Halko, Martinsson and Tropp 2011, arXiv:0909.4061,
/// algorithms 4.4 and 5.1). The same numbers every time.
fn randomized_svd(w: &[f32], out: usize, inp: usize, rank: usize) -> Result<Factors> {
    let width = (rank + OVERSAMPLED).min(out).min(inp);
    let w = MatRef::from_row_major_slice(w, out, inp);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let omega = Mat::from_fn(inp, width, |_, _| normal(&mut random));
    let mut q = (w * omega).qr().compute_thin_Q();
    for _ in 0..ITERATIONS {
        let back = (w.transpose() * &q).qr().compute_thin_Q();
        q = (w * back).qr().compute_thin_Q();
    }
    let svd = thin_svd((q.transpose() * w).as_ref())?;
    let u = &q * svd.U();
    Ok(factors(u.as_ref(), svd.S().column_vector(), svd.V(), rank))
}

fn thin_svd(w: MatRef<'_, f32>) -> Result<Svd<f32>> {
    let (rows, cols) = w.shape();
    let failed = |e| Error::new(Status::Internal, format!("the SVD of a {rows} by {cols} matrix failed: {e:?}"));
    w.thin_svd().map_err(failed)
}

fn factors(u: MatRef<'_, f32>, s: ColRef<'_, f32>, v: MatRef<'_, f32>, rank: usize) -> Factors {
    let (out, inp) = (u.nrows(), v.nrows());
    let a = (0..out).flat_map(|i| (0..rank).map(move |k| u[(i, k)] * s[k])).collect();
    let b = (0..rank).flat_map(|k| (0..inp).map(move |j| v[(j, k)])).collect();
    Factors { a, b }
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

    /// Of a matrix as flat as a trained one's the subspace leaves hardly more than the best one would, and the same
    /// bits every time.
    #[test]
    fn a_random_subspace_is_nearly_the_best() {
        let (out, inp, rank) = (150, 120, 12);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut numbers = |n: usize| -> Vec<f32> { (0..n).map(|_| normal(&mut random)).collect() };
        let (mut w, left, right) = (numbers(out * inp), numbers(out * rank), numbers(rank * inp));
        for (row, left) in w.chunks_exact_mut(inp).zip(left.chunks_exact(rank)) {
            for (left, right) in left.iter().zip(right.chunks_exact(inp)) {
                row.iter_mut().zip(right).for_each(|(w, right)| *w += 0.5 * left * right);
            }
        }
        let left = |factors: &Factors| {
            let mut rest = w.clone();
            subtract(&mut rest, inp, rank, factors);
            frobenius(&rest)
        };
        let best = left(&truncated_svd(&w, out, inp, rank).unwrap());
        let found = randomized_svd(&w, out, inp, rank).unwrap();
        assert!(left(&found) < 1.002 * best && best < 0.95 * frobenius(&w), "{} {best}", left(&found));
        let again = randomized_svd(&w, out, inp, rank).unwrap();
        assert!(found.a == again.a && found.b == again.b);
    }

    #[test]
    fn norms_are_of_columns() {
        let norms = column_norms(&[3.0, 0.0, 4.0, 2.0], 2);
        assert_eq!(norms, [5.0, 2.0]);
    }
}
