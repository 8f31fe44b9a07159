//! `y = W·x` in whole numbers, row form: 16 lanes to each sum (`crate::Kernels::dot_rows_q` has the order).

use crate::{Active, MatMut, QUANT_GROUP, QuantizedRef, QuantizedRows, vector::Integers};

/// Lanes of a sum: each takes two neighbours of a group.
const PAIR_LANES: usize = QUANT_GROUP / 2;
/// How far ahead of the reading, in bytes, each row is prefetched.
const AHEAD: usize = 512;
/// The same for what goes into L2 first.
const FAR_AHEAD: usize = 2048;
/// Rows that meet all tokens before the next ones: 36 KiB of a small model.
const BLOCK: usize = 64;
/// The most vectors that hold 16 lanes.
const MOST: usize = 4;

/// # Safety
/// See [`crate::vector`]: `y [rows]`, `x [cols]`, `x_scale [cols / 32]`.
#[inline(always)]
pub(crate) unsafe fn dot_rows_q<S: Integers>(s: S, y: &mut [f32], x: &[i16], x_scale: &[f32], w: QuantizedRows<'_>) {
    // SAFETY: the shapes are the caller's.
    unsafe {
        if S::MANY_REGISTERS {
            streams::<S, 8>(s, y, x, x_scale, w);
        } else {
            streams::<S, 4>(s, y, x, x_scale, w);
        }
    }
}

/// `R` runs of rows side by side, then the rows that are left.
///
/// # Safety
/// As for [`dot_rows_q`].
#[inline(always)]
unsafe fn streams<S: Integers, const R: usize>(s: S, y: &mut [f32], x: &[i16], x_scale: &[f32], w: QuantizedRows<'_>) {
    let run = w.rows() / R;
    for i in 0..run {
        let rows = std::array::from_fn(|r| row(w, r * run + i));
        // The next row of a run begins where this one ends.
        // SAFETY: rows of `w`.
        let sums = unsafe { products::<S, R>(s, x, x_scale, rows, |r, at| rows[r].0.wrapping_add(at)) };
        for r in 0..R {
            y[r * run + i] = sums[r];
        }
    }
    for n in R * run..w.rows() {
        let row = row(w, n);
        // SAFETY: a row of `w`.
        y[n] = unsafe { products::<S, 1>(s, x, x_scale, [row], |_, at| row.0.wrapping_add(at))[0] };
    }
}

/// # Safety
/// See [`crate::vector`]: `y [active]`, `x [cols]`, `x_scale [cols / 32]`.
#[inline(always)]
pub(crate) unsafe fn dot_rows_sparse_q<S: Integers>(
    s: S,
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    active: Active<'_>,
    w: QuantizedRows<'_>,
) {
    // SAFETY: the shapes are the caller's.
    unsafe {
        if S::MANY_REGISTERS {
            some_rows::<S, 8>(s, y, x, x_scale, active.as_slice(), w);
        } else {
            some_rows::<S, 4>(s, y, x, x_scale, active.as_slice(), w);
        }
    }
}

/// `R` of the active rows side by side, the `R` after them being prefetched; then those that are left.
///
/// # Safety
/// As for [`dot_rows_sparse_q`].
#[inline(always)]
unsafe fn some_rows<S: Integers, const R: usize>(
    s: S,
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    active: &[u32],
    w: QuantizedRows<'_>,
) {
    let row = |i: usize| row(w, active[i.min(active.len() - 1)] as usize);
    // A row's elements from `at` on, and behind its end those of the one to be read next.
    let ahead = |own: StoredRow, next: StoredRow, at: usize| match at.checked_sub(w.cols()) {
        None => own.0.wrapping_add(at),
        Some(beyond) => next.0.wrapping_add(beyond),
    };
    let dealt = active.len() / R * R;
    for i in (0..dealt).step_by(R) {
        let (own, next): ([StoredRow; R], [StoredRow; R]) =
            (std::array::from_fn(|r| row(i + r)), std::array::from_fn(|r| row(i + R + r)));
        // SAFETY: rows of `w`.
        let sums = unsafe { products::<S, R>(s, x, x_scale, own, |r, at| ahead(own[r], next[r], at)) };
        y[i..i + R].copy_from_slice(&sums);
    }
    for (i, y) in y.iter_mut().enumerate().skip(dealt) {
        let (own, next) = (row(i), row(i + 1));
        // SAFETY: as above.
        *y = unsafe { products::<S, 1>(s, x, x_scale, [own], |_, at| ahead(own, next, at))[0] };
    }
}

/// Where a row's whole numbers and its scales lie.
type StoredRow = (*const i8, *const u16);

#[inline(always)]
fn row(w: QuantizedRows<'_>, n: usize) -> StoredRow {
    let (whole, scale) = w.row(n);
    (whole.as_ptr(), scale.as_ptr())
}

/// `R` sums at once, of `x·w[r]`: whole numbers and scales of each row. `ahead` says where what is to be read stands so
/// many elements behind the start of row `r`, for prefetching.
///
/// # Safety
/// The numbers of each row are as many as `x`, the scales as many as `x_scale`, one for every 32.
#[inline(always)]
unsafe fn products<S: Integers, const R: usize>(
    s: S,
    x: &[i16],
    x_scale: &[f32],
    w: [StoredRow; R],
    ahead: impl Fn(usize, usize) -> *const i8,
) -> [f32; R] {
    let vectors = PAIR_LANES / S::LANES;
    let mut acc = [[s.splat(0.0); MOST]; R];
    let groups = x_scale.len();
    for first in (0..groups).step_by(S::LANES) {
        let some = S::LANES.min(groups - first);
        // The products of scales, for a vector of groups at once: at the end the last ones, some of them a second time.
        let base = first.min(groups.saturating_sub(S::LANES));
        let mut factors = [[0.0f32; 16]; R];
        for r in 0..R {
            // SAFETY: the groups from `base` on are there, a vector of them or all, and 16 elements in each array.
            unsafe {
                let scale = w[r].1.add(base);
                if groups >= S::LANES {
                    let factor = s.mul(s.load(x_scale.as_ptr().add(base)), s.load_f16(scale));
                    s.store(factors[r].as_mut_ptr(), factor);
                } else {
                    let mut part = [0u16; 16];
                    std::ptr::copy_nonoverlapping(scale, part.as_mut_ptr(), groups);
                    let factor = s.mul(s.load_part(x_scale.as_ptr(), groups, 0.0), s.load_f16(part.as_ptr()));
                    s.store(factors[r].as_mut_ptr(), factor);
                }
            }
        }
        for g in first..first + some {
            let k = g * QUANT_GROUP;
            for v in 0..vectors {
                // SAFETY: the vector ends at or before the group's last element.
                unsafe {
                    let at = k + 2 * v * S::LANES;
                    let x = s.load_i16(x.as_ptr().add(at));
                    for r in 0..R {
                        // One prefetch a cache line, and one for later.
                        if v == 0 && g % 2 == 0 {
                            s.prefetch(ahead(r, k + AHEAD).cast());
                            s.prefetch_l2(ahead(r, k + FAR_AHEAD).cast());
                        }
                        let pairs = s.pairs_i8(x, w[r].0.add(at));
                        acc[r][v] = s.fma(s.splat(factors[r][g - base]), pairs, acc[r][v]);
                    }
                }
            }
        }
    }
    let mut sums = [0.0; R];
    for r in 0..R {
        let mut half = vectors / 2;
        while half > 0 {
            for v in 0..half {
                acc[r][v] = s.add(acc[r][v], acc[r][v + half]);
            }
            half /= 2;
        }
        sums[r] = s.fold(acc[r][0]);
    }
    sums
}

/// # Safety
/// See [`crate::vector`]: `Y [M, rows]`, `X [M, cols]`.
#[inline(always)]
pub(crate) unsafe fn dot_rows_many_q<S: Integers>(s: S, mut y: MatMut<'_>, x: QuantizedRef<'_>, w: QuantizedRows<'_>) {
    for start in (0..w.rows()).step_by(BLOCK) {
        let rows = start..w.rows().min(start + BLOCK);
        for m in 0..x.rows() {
            let (whole, scale) = x.row(m);
            // SAFETY: the shapes are the caller's, of some of the rows.
            unsafe { dot_rows_q(s, &mut y.row_mut(m)[rows.clone()], whole, scale, w.row_range(rows.clone())) };
        }
    }
}
