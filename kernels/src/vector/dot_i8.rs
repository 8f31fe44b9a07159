//! `y = W·x` in integers, row form: whole numbers have one sum, whatever the order.

use super::Simd;

/// Runs of rows that are read side by side, as in [`dot`](super::dot): integer sums take one register each.
const RUNS: usize = 8;
/// How far ahead of the reading, in bytes, each row is prefetched.
const AHEAD: usize = 512;

/// # Safety
/// See [`crate::vector`]: `y [rows]`, `x [cols]`, `w [rows · cols]`.
#[inline(always)]
pub(crate) unsafe fn dot_rows_i8<S: Simd>(s: S, y: &mut [f32], x: &[i16], w: &[i8]) {
    let (rows, cols) = (y.len(), x.len());
    let run = rows / RUNS;
    for i in 0..run {
        // SAFETY: r·run + i < rows, and w has that many rows.
        let sums = unsafe { products::<S, RUNS>(s, x, std::array::from_fn(|r| w.as_ptr().add((r * run + i) * cols))) };
        for r in 0..RUNS {
            y[r * run + i] = sums[r] as f32;
        }
    }
    for n in RUNS * run..rows {
        // SAFETY: n < rows.
        y[n] = unsafe { products::<S, 1>(s, x, [w.as_ptr().add(n * cols)]) }[0] as f32;
    }
}

/// `R` sums at once, of `x·w[r]`.
///
/// # Safety
/// Each of `w` is valid for reading as many elements as `x` has.
#[inline(always)]
unsafe fn products<S: Simd, const R: usize>(s: S, x: &[i16], w: [*const i8; R]) -> [i32; R] {
    let step = 2 * S::LANES;
    let full = x.len() / step * step;
    let mut sums = [s.zero_i32(); R];
    for k in (0..full).step_by(step) {
        // SAFETY: the vector ends at or before full <= x.len().
        unsafe {
            let x = s.load_i16(x.as_ptr().add(k));
            for r in 0..R {
                // One prefetch a cache line.
                if k % 64 < step {
                    s.prefetch(w[r].wrapping_add(k + AHEAD).cast());
                }
                sums[r] = s.add_products_i8(sums[r], x, w[r].add(k));
            }
        }
    }
    let mut total = [0; R];
    for r in 0..R {
        total[r] = s.sum_i32(sums[r]);
        for k in full..x.len() {
            // SAFETY: k < x.len().
            let w = unsafe { *w[r].add(k) };
            total[r] = total[r].wrapping_add(i32::from(x[k]) * i32::from(w));
        }
    }
    total
}
