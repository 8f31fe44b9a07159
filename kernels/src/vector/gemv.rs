//! `y += x·W`, column form, one token: bound by the bytes of `W`.
//!
//! Rows are taken [`BATCH`] at a time, across all columns: a vector of `y` is loaded from cache,
//! goes through one fused multiply-add for each row, in ascending `k`, and is stored again. Chains
//! of neighbouring columns overlap in the CPU, so that the loads of `W` set the pace.
//!
//! The rows of a batch are as many streams, far apart where `W` is interleaved. A little of what each
//! goes on with is prefetched: the CPU's own prefetcher follows a stream well, but cannot know where
//! a row ends and which one follows. Where rows are left out, the whole next batch is prefetched, into L2.

use super::{
    Simd,
    elem::{Elem, MatrixView, with_format},
};
use crate::{Active, Matrix};

/// Rows of one pass over `y`. Eight x values and the chains of a group of columns fit 16 registers.
const BATCH: usize = 8;
/// Columns of a group: a cache line of a 16-bit format.
const GROUP: usize = 32;
/// Columns whose part of `y` stays in L1 while rows go by: 24 KiB. The pieces of rows are still long.
const TILE: usize = 6144;
/// Bytes of each row between what is prefetched and what is used.
const AHEAD: usize = 256;

/// The rows that take part, ascending. One type for both kinds: a batch is compiled once.
#[derive(Clone, Copy)]
struct KeptRows<'a> {
    /// All of the matrix where `None`.
    active: Option<&'a [u32]>,
    len: usize,
}

impl KeptRows<'_> {
    /// # Safety
    /// `i < len`.
    #[inline(always)]
    unsafe fn at(self, i: usize) -> usize {
        match self.active {
            // SAFETY: by contract.
            Some(active) => unsafe { *active.get_unchecked(i) as usize },
            None => i,
        }
    }
}

/// # Safety
/// See [`crate::vector`]: `y [cols]`, `x [rows]`, `active.bound() <= rows`.
#[inline(always)]
pub(crate) unsafe fn gemv<S: Simd>(s: S, y: &mut [f32], x: &[f32], active: Option<Active<'_>>, w: Matrix<'_>) {
    if y.is_empty() {
        return;
    }
    let active = active.map(|active| active.as_slice());
    let rows = KeptRows { active, len: active.map_or(w.rows(), <[u32]>::len) };
    // SAFETY: the shapes are the caller's, as is that the indices are below the number of rows.
    with_format!(w, |w| unsafe { all_batches(s, y.as_mut_ptr(), x.as_ptr(), rows, w) })
}

/// # Safety
/// `y` has `w.cols > 0` elements, and each of `rows` is below `w.rows`, the length of `x`.
#[inline(always)]
unsafe fn all_batches<S: Simd, E: Elem>(s: S, y: *mut f32, x: *const f32, rows: KeptRows<'_>, w: MatrixView<'_, E>) {
    for c in (0..w.cols).step_by(TILE) {
        let cols = TILE.min(w.cols - c);
        // SAFETY: those columns are there.
        unsafe { tile(s, y.add(c), x, rows, w.columns(c, cols)) };
    }
}

/// As [`all_batches`].
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn tile<S: Simd, E: Elem>(s: S, y: *mut f32, x: *const f32, rows: KeptRows<'_>, w: MatrixView<'_, E>) {
    let mut i = 0;
    // SAFETY: each call's rows are within the list; the rest is the caller's.
    unsafe {
        while i + BATCH <= rows.len {
            batch::<S, E, BATCH>(s, y, x, rows, i, w);
            i += BATCH;
        }
        // What is left is one batch as well: rows one by one would be one stream.
        match rows.len - i {
            1 => batch::<S, E, 1>(s, y, x, rows, i, w),
            2 => batch::<S, E, 2>(s, y, x, rows, i, w),
            3 => batch::<S, E, 3>(s, y, x, rows, i, w),
            4 => batch::<S, E, 4>(s, y, x, rows, i, w),
            5 => batch::<S, E, 5>(s, y, x, rows, i, w),
            6 => batch::<S, E, 6>(s, y, x, rows, i, w),
            7 => batch::<S, E, 7>(s, y, x, rows, i, w),
            _ => {}
        }
    }
}

/// The rows `i..i + R` of the list.
///
/// # Safety
/// As for [`all_batches`], and `i + R <= rows.len`.
#[inline(always)]
unsafe fn batch<S: Simd, E: Elem, const R: usize>(
    s: S,
    y: *mut f32,
    x: *const f32,
    rows: KeptRows<'_>,
    i: usize,
    w: MatrixView<'_, E>,
) {
    let mut row = [std::ptr::null(); R];
    let mut next = row;
    let mut factor = [0.0; R];
    for r in 0..R {
        // SAFETY: i + r is within the list, as is the place after the batch or, at the end, the last;
        // the rows of the list are rows of w and places of x.
        unsafe {
            let k = rows.at(i + r);
            row[r] = w.row(k);
            factor[r] = *x.add(k);
            next[r] = w.row(rows.at((i + R + r).min(rows.len - 1)));
        }
    }
    let factors = factor.map(|x| s.splat(x));

    let end = w.cols / GROUP * GROUP;
    let ahead = (AHEAD / size_of::<E::Raw>()).min(end);
    let turn = end - ahead;
    let mut c = 0;
    // Up to the turn, what lies ahead is of the same row; from there on, of the next.
    for (stop, lines) in [(turn, row.map(|p| p.wrapping_add(ahead))), (end, next.map(|p| p.wrapping_sub(turn)))] {
        while c < stop {
            for p in lines {
                s.prefetch(p.wrapping_add(c).cast());
            }
            if rows.active.is_some() {
                for p in next {
                    s.prefetch_l2(p.wrapping_add(c).cast());
                }
            }
            // SAFETY: the group's columns are below w.cols.
            unsafe { group::<S, E, R>(s, y.add(c), row.map(|p| p.add(c)), factors) };
            c += GROUP;
        }
    }
    while c + S::LANES <= w.cols {
        // SAFETY: the vector's columns are below w.cols.
        unsafe {
            let mut acc = s.load(y.add(c));
            for r in 0..R {
                acc = s.fma(factors[r], E::load(s, row[r].add(c)), acc);
            }
            s.store(y.add(c), acc);
        }
        c += S::LANES;
    }
    while c < w.cols {
        // SAFETY: c < w.cols.
        unsafe {
            let mut acc = *y.add(c);
            for r in 0..R {
                acc = factor[r].mul_add(E::widen(*row[r].add(c)), acc);
            }
            *y.add(c) = acc;
        }
        c += 1;
    }
}

/// One group of columns through `R` rows.
///
/// # Safety
/// `y` and each row are valid for [`GROUP`] elements.
#[inline(always)]
unsafe fn group<S: Simd, E: Elem, const R: usize>(s: S, y: *mut f32, row: [*const E::Raw; R], factors: [S::V; R]) {
    let mut acc = [s.splat(0.0); 8];
    // SAFETY: vector v ends at element (v + 1)·LANES <= GROUP.
    unsafe {
        for v in 0..GROUP / S::LANES {
            acc[v] = s.load(y.add(v * S::LANES));
        }
        for r in 0..R {
            for v in 0..GROUP / S::LANES {
                acc[v] = s.fma(factors[r], E::load(s, row[r].add(v * S::LANES)), acc[v]);
            }
        }
        for v in 0..GROUP / S::LANES {
            s.store(y.add(v * S::LANES), acc[v]);
        }
    }
}
