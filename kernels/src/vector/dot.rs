//! `y = W·x`, row form: 32 lanes to each sum.
//!
//! One token is bound by the bytes of `W`: a few rows at once, from as many runs of rows far apart,
//! since memory is read faster as several streams than as one; what each goes on with is prefetched.
//! (Neighbouring rows at once were slower than one row at a time.) Many tokens
//! are bound by arithmetic: a block of `W` rows that stays in L2 meets a block of `x` rows that
//! stays in L1, one `W` row against a few `x` rows at a time.

use super::{
    LANES, Simd,
    elem::{Bf16, Elem, F16, F32, I8, MatrixView, with_format},
    reduce::{Lanes, fold, vectors, zero_lanes},
};
use crate::{Active, Elems, MatMut, MatRef, Matrix};

/// Bytes of `x` rows that are kept in L1, and of `W` rows kept in L2.
const L1_BYTES: usize = 16 << 10;
const L2_BYTES: usize = 128 << 10;
/// How far ahead of the reading, in bytes, each row is prefetched.
const AHEAD: usize = 512;

/// # Safety
/// See [`crate::vector`]: `y [rows]`, `x [cols]`.
#[inline(always)]
pub(crate) unsafe fn dot_rows<S: Simd>(s: S, y: &mut [f32], x: &[f32], w: Matrix<'_>) {
    if x.is_empty() {
        return y.fill(0.0);
    }
    // SAFETY: the shapes are the caller's.
    with_format!(w, |w| unsafe {
        // Eight rows' sums, of 32 lanes each, fill half of AVX-512's registers.
        if S::MANY_REGISTERS && S::LANES == 16 {
            streams::<S, _, 8>(s, y.as_mut_ptr(), x.as_ptr(), w);
        } else {
            streams::<S, _, 3>(s, y.as_mut_ptr(), x.as_ptr(), w);
        }
    })
}

/// `R` runs of rows side by side, then the rows that are left.
///
/// # Safety
/// `y` has `w.rows` elements, `x` has `w.cols > 0`.
#[inline(always)]
unsafe fn streams<S: Simd, E: Elem, const R: usize>(s: S, y: *mut f32, x: *const f32, w: MatrixView<'_, E>) {
    let run = w.rows / R;
    for i in 0..run {
        // SAFETY: r·run + i < w.rows.
        unsafe {
            let rows: [_; R] = std::array::from_fn(|r| w.row(r * run + i));
            // The next row of a run begins where this one ends.
            let sums = products::<S, E, R>(s, x, rows, |r, at| rows[r].wrapping_add(at), w.cols);
            for r in 0..R {
                *y.add(r * run + i) = sums[r];
            }
        }
    }
    for n in R * run..w.rows {
        // SAFETY: n < w.rows.
        unsafe {
            let row = w.row(n);
            *y.add(n) = products::<S, E, 1>(s, x, [row], |_, at| row.wrapping_add(at), w.cols)[0];
        }
    }
}

/// # Safety
/// See [`crate::vector`]: `y [active]`, `x [cols]`, active rows below `w.rows`.
#[inline(always)]
pub(crate) unsafe fn dot_rows_sparse<S: Simd>(s: S, y: &mut [f32], x: &[f32], active: Active<'_>, w: Matrix<'_>) {
    if x.is_empty() {
        return y.fill(0.0);
    }
    #[inline(always)]
    unsafe fn run<S: Simd, E: Elem>(s: S, y: &mut [f32], x: &[f32], active: Active<'_>, w: MatrixView<'_, E>) {
        // SAFETY: the shapes are the caller's.
        unsafe {
            if S::MANY_REGISTERS && S::LANES == 16 {
                some_rows::<S, _, 8>(s, y, x.as_ptr(), active.as_slice(), w);
            } else {
                some_rows::<S, _, 3>(s, y, x.as_ptr(), active.as_slice(), w);
            }
        }
    }
    // Models have weights of 16 bits: only for those there is code for several rows.
    // SAFETY: the shapes are the caller's.
    unsafe {
        match w.elems() {
            Elems::F16(data) => run(s, y, x, active, MatrixView::new(F16, data, w)),
            Elems::Bf16(data) => run(s, y, x, active, MatrixView::new(Bf16, data, w)),
            Elems::F32(data) => one_row_each(s, y, x, active, MatrixView::new(F32, data, w)),
            Elems::I8(data) => one_row_each(s, y, x, active, MatrixView::new(I8, data, w)),
        }
    }
}

/// # Safety
/// As for [`dot_rows_sparse`], and `w.cols > 0`.
#[inline(always)]
unsafe fn one_row_each<S: Simd, E: Elem>(s: S, y: &mut [f32], x: &[f32], active: Active<'_>, w: MatrixView<'_, E>) {
    for (y, &n) in y.iter_mut().zip(active.as_slice()) {
        // SAFETY: an active row is one of `w`.
        unsafe {
            let row = w.row(n as usize);
            *y = products::<S, E, 1>(s, x.as_ptr(), [row], |_, at| row.wrapping_add(at), w.cols)[0];
        }
    }
}

/// `R` of the active rows side by side, the `R` after them being prefetched; then those that are left.
///
/// # Safety
/// `y` has as many elements as `active`, whose numbers are below `w.rows`; `x` has `w.cols > 0`.
#[inline(always)]
unsafe fn some_rows<S: Simd, E: Elem, const R: usize>(
    s: S,
    y: &mut [f32],
    x: *const f32,
    active: &[u32],
    w: MatrixView<'_, E>,
) {
    // SAFETY: each active number is below w.rows.
    let row = |i: usize| unsafe { w.row(active[i.min(active.len() - 1)] as usize) };
    // A row's elements from `at` on, and behind its end those of the one to be read next.
    let ahead = |own: *const E::Raw, next: *const E::Raw, at: usize| match at.checked_sub(w.cols) {
        None => own.wrapping_add(at),
        Some(beyond) => next.wrapping_add(beyond),
    };
    let dealt = active.len() / R * R;
    for i in (0..dealt).step_by(R) {
        let (own, next): ([_; R], [_; R]) =
            (std::array::from_fn(|r| row(i + r)), std::array::from_fn(|r| row(i + R + r)));
        // SAFETY: rows of `w`.
        let sums = unsafe { products::<S, E, R>(s, x, own, |r, at| ahead(own[r], next[r], at), w.cols) };
        y[i..i + R].copy_from_slice(&sums);
    }
    for (i, y) in y.iter_mut().enumerate().skip(dealt) {
        let (own, next) = (row(i), row(i + 1));
        // SAFETY: as above.
        *y = unsafe { products::<S, E, 1>(s, x, [own], |_, at| ahead(own, next, at), w.cols)[0] };
    }
}

/// `R` sums at once, of `x·w[r]`. `ahead` says where what is to be read stands so many elements behind the start of row
/// `r`, for prefetching.
///
/// # Safety
/// `x`, and each of `w`, is valid for reading `len` elements.
#[inline(always)]
unsafe fn products<S: Simd, E: Elem, const R: usize>(
    s: S,
    x: *const f32,
    w: [*const E::Raw; R],
    ahead: impl Fn(usize, usize) -> *const E::Raw,
    len: usize,
) -> [f32; R] {
    let mut acc: [Lanes<S>; R] = [zero_lanes(s); R];
    let full = len / LANES * LANES;
    for k in (0..full).step_by(LANES) {
        for r in 0..R {
            s.prefetch(ahead(r, k + AHEAD / size_of::<E::Raw>()).cast());
        }
        for v in 0..vectors::<S>() {
            let at = k + v * S::LANES;
            // SAFETY: the vector ends at or before full <= len.
            unsafe {
                let x = s.load(x.add(at));
                for r in 0..R {
                    acc[r][v] = s.fma(x, E::load(s, w[r].add(at)), acc[r][v]);
                }
            }
        }
    }
    // SAFETY: the same lengths.
    unsafe { finish::<S, E, R>(s, acc, [x; R], w, full, len) }
}

/// The sums of `R` sets of lanes, once the elements from `full` on have joined them.
///
/// # Safety
/// Each of `x` and `w` is valid for reading `len` elements, and `len - full < 32`.
#[inline(always)]
unsafe fn finish<S: Simd, E: Elem, const R: usize>(
    s: S,
    mut acc: [Lanes<S>; R],
    x: [*const f32; R],
    w: [*const E::Raw; R],
    full: usize,
    len: usize,
) -> [f32; R] {
    let mut sums = [0.0; R];
    for r in 0..R {
        if full < len {
            // SAFETY: the elements from `full` on lie within both.
            unsafe { tail::<S, E>(s, &mut acc[r], x[r], w[r], full, len) }
        }
        sums[r] = fold(s, acc[r]);
    }
    sums
}

/// # Safety
/// See [`crate::vector`]: `Y [M, rows]`, `X [M, cols]`.
#[inline(always)]
pub(crate) unsafe fn dot_rows_many<S: Simd>(s: S, mut y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) {
    if x.cols() == 0 {
        for m in 0..y.rows() {
            y.row_mut(m).fill(0.0);
        }
        return;
    }
    if x.rows() == 1 {
        // SAFETY: the same contract, with one row.
        return unsafe { dot_rows(s, y.row_mut(0), x.row(0), w) };
    }
    // SAFETY: the shapes are the caller's.
    with_format!(w, |w| unsafe {
        if S::MANY_REGISTERS && S::LANES == 16 {
            many::<S, _, 6>(s, y, x, w);
        } else {
            many::<S, _, 3>(s, y, x, w);
        }
    })
}

/// # Safety
/// As for [`dot_rows_many`], and `w.cols > 0`.
#[inline(always)]
unsafe fn many<S: Simd, E: Elem, const R: usize>(s: S, mut y: MatMut<'_>, x: MatRef<'_>, w: MatrixView<'_, E>) {
    let tokens = x.rows();
    let x_block = (L1_BYTES / (4 * w.cols)).next_multiple_of(R).max(R);
    let w_block = (L2_BYTES / (size_of::<E::Raw>() * w.cols)).max(1);
    let (x, x_stride) = (x.as_ptr(), x.stride());
    let (y, y_stride) = (y.as_mut_ptr(), y.stride());
    for w_start in (0..w.rows).step_by(w_block) {
        let w_end = (w_start + w_block).min(w.rows);
        for x_start in (0..tokens).step_by(x_block) {
            let x_end = (x_start + x_block).min(tokens);
            for n in w_start..w_end {
                let mut m = x_start;
                // SAFETY: n < w.rows and every m < tokens, so that the rows of x, the row of w and
                // the elements (m, n) of y are there.
                unsafe {
                    while m + R <= x_end {
                        let x: [_; R] = std::array::from_fn(|r| x.add((m + r) * x_stride));
                        let sums = tile::<S, E, R>(s, x, w.row(n), w.cols);
                        for r in 0..R {
                            *y.add((m + r) * y_stride + n) = sums[r];
                        }
                        m += R;
                    }
                    while m < x_end {
                        let x = [x.add(m * x_stride)];
                        let sums = tile::<S, E, 1>(s, x, w.row(n), w.cols);
                        *y.add(m * y_stride + n) = sums[0];
                        m += 1;
                    }
                }
            }
        }
    }
}

/// `R` sums at once, of `x[r]·w`.
///
/// # Safety
/// Each of `x`, and `w`, is valid for reading `len` elements.
#[inline(always)]
unsafe fn tile<S: Simd, E: Elem, const R: usize>(s: S, x: [*const f32; R], w: *const E::Raw, len: usize) -> [f32; R] {
    let mut acc: [Lanes<S>; R] = [zero_lanes(s); R];
    let full = len / LANES * LANES;
    for k in (0..full).step_by(LANES) {
        for v in 0..vectors::<S>() {
            let at = k + v * S::LANES;
            // SAFETY: the vector ends at or before full <= len.
            unsafe {
                let w = E::load(s, w.add(at));
                for r in 0..R {
                    acc[r][v] = s.fma(s.load(x[r].add(at)), w, acc[r][v]);
                }
            }
        }
    }
    // SAFETY: the same lengths.
    unsafe { finish::<S, E, R>(s, acc, x, [w; R], full, len) }
}

/// The elements that do not fill 32 lanes: the first lanes take them, the others stay as they are.
/// (No padding here: a lane may hold -0, which adding 0 would change.)
///
/// # Safety
/// `x` and `w` are valid for reading `len` elements, and `len - full < 32`.
#[inline(always)]
unsafe fn tail<S: Simd, E: Elem>(s: S, acc: &mut Lanes<S>, x: *const f32, w: *const E::Raw, full: usize, len: usize) {
    let mut lanes = [0.0f32; LANES];
    for v in 0..vectors::<S>() {
        // SAFETY: the vectors make up the 32 lanes.
        unsafe { s.store(lanes.as_mut_ptr().add(v * S::LANES), acc[v]) };
    }
    for (k, lane) in (full..len).zip(&mut lanes) {
        // SAFETY: k < len.
        *lane = unsafe { (*x.add(k)).mul_add(E::widen(*w.add(k)), *lane) };
    }
    for v in 0..vectors::<S>() {
        // SAFETY: the vectors make up the 32 lanes.
        acc[v] = unsafe { s.load(lanes.as_ptr().add(v * S::LANES)) };
    }
}
