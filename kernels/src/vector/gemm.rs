//! `Y += X·W`, column form, several tokens.
//!
//! The register tile is a few rows of `Y` by a strip of columns: each step of `k` loads the strip of
//! one `W` row, and one value of `X` for each row. `k` is taken in blocks, in ascending order, and
//! between blocks the sums rest in `Y`: the chain of each element is the one of `gemv`.
//!
//! With many tokens a strip of `W` is first widened to an f32 panel on the stack and used for all of
//! them. With few, that would cost more than it saves, and `W` is widened in registers.

use std::mem::MaybeUninit;

use super::{
    Simd,
    elem::{Elem, F32, View, with_format},
};
use crate::{MatMut, MatRef, Matrix};

/// Elements of the panel: 16 KiB, half of a small L1.
const PANEL: usize = 4096;
/// Rows of a block of `k` where there is no panel.
const DEPTH: usize = 256;
/// Tokens whose part of `X` should stay in L2 while strips go by.
const TOKENS: usize = 240;

#[repr(align(64))]
struct Panel(MaybeUninit<[f32; PANEL]>);

/// A place in `Y` and `X`: pointers to row 0 of a group of rows, and their strides.
#[derive(Clone, Copy)]
struct Place {
    y: *mut f32,
    y_stride: usize,
    x: *const f32,
    x_stride: usize,
}

impl Place {
    /// `m` rows down, `c` columns along `Y`, `k` along `X`.
    ///
    /// # Safety
    /// That place exists.
    #[inline(always)]
    unsafe fn at(self, m: usize, c: usize, k: usize) -> Place {
        // SAFETY: by contract.
        unsafe { Place { y: self.y.add(m * self.y_stride + c), x: self.x.add(m * self.x_stride + k), ..self } }
    }

    /// Nothing new to prefetch: what is in use anyway, again and again, costs a slot that is free. (An
    /// address of nothing would cost a page walk each time.)
    #[inline(always)]
    fn nothing_ahead(self) -> impl Fn(usize) -> *const u8 + Copy {
        move |_| self.x.cast()
    }
}

/// # Safety
/// See [`crate::vector`]: `Y [M, cols]`, `X [M, rows]`.
#[inline(always)]
pub(crate) unsafe fn gemm<S: Simd>(s: S, mut y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) {
    let tokens = x.rows();
    if tokens == 0 || w.cols() == 0 || w.rows() == 0 {
        return;
    }
    if tokens == 1 {
        // SAFETY: the same contract, with one row.
        return unsafe { super::gemv::gemv(s, y.row_mut(0), x.row(0), w) };
    }
    let place = Place { y_stride: y.stride(), y: y.as_mut_ptr(), x: x.as_ptr(), x_stride: x.stride() };
    // SAFETY: the shapes are the caller's, none of them 0.
    with_format!(w, |w| unsafe {
        if tokens <= 2 * S::ROWS {
            few(s, place, tokens, w);
        } else {
            for start in (0..tokens).step_by(TOKENS) {
                many(s, place.at(start, 0, 0), TOKENS.min(tokens - start), w);
            }
        }
    })
}

/// Lengths of the blocks of `len`: as few as `most` allows, and nearly equal.
#[inline(always)]
fn block(len: usize, most: usize) -> usize {
    len.div_ceil(len.div_ceil(most))
}

/// Few tokens: `W` is widened as it is used.
///
/// # Safety
/// `place` has `tokens` rows of `w.cols` and of `w.rows` elements; none of these is 0.
#[inline(always)]
unsafe fn few<S: Simd, E: Elem>(s: S, place: Place, tokens: usize, w: View<'_, E>) {
    let step = block(w.rows, DEPTH);
    // Two rows alone leave registers, and want more chains than two vectors give.
    let wide = if tokens == 2 { 4 } else { 2 };
    for k in (0..w.rows).step_by(step) {
        let depth = step.min(w.rows - k);
        // SAFETY: (k, c) lies within w and, with the strip's width, so does every element of it in
        // `depth` rows; likewise in Y and X.
        unsafe {
            let row = move |step: usize| w.row(k + step);
            let mut c = 0;
            while c + wide * S::LANES <= w.cols {
                let at = place.at(0, c, k);
                let w = move |step| row(step).add(c);
                // The strip after the next, whose lines may be the next one's too.
                let ahead = move |step| row(step).wrapping_add(c + 2 * wide * S::LANES).cast();
                if wide == 4 {
                    micro::<S, E, 2, 4>(s, at, w, depth, ahead);
                } else {
                    strip::<S, E>(s, at, tokens, w, depth, ahead);
                }
                c += wide * S::LANES;
            }
            while c + S::LANES <= w.cols {
                let at = place.at(0, c, k);
                for m in 0..tokens {
                    let at = at.at(m, 0, 0);
                    micro::<S, E, 1, 1>(s, at, move |step| row(step).add(c), depth, at.nothing_ahead());
                }
                c += S::LANES;
            }
            while c < w.cols {
                for m in 0..tokens {
                    let at = place.at(m, c, k);
                    let mut acc = *at.y;
                    for k in 0..depth {
                        acc = (*at.x.add(k)).mul_add(E::widen(*row(k).add(c)), acc);
                    }
                    *at.y = acc;
                }
                c += 1;
            }
        }
    }
}

/// Many tokens: a panel of `W` is widened once for all.
///
/// # Safety
/// As for [`few`].
#[inline(always)]
unsafe fn many<S: Simd, E: Elem>(s: S, place: Place, tokens: usize, w: View<'_, E>) {
    let width = 2 * S::LANES;
    let step = block(w.rows, PANEL / width);
    let mut panel = Panel(MaybeUninit::uninit());
    let panel = panel.0.as_mut_ptr().cast::<f32>();
    for k in (0..w.rows).step_by(step) {
        let depth = step.min(w.rows - k);
        // SAFETY: (k, c) lies within w; a strip's `depth` rows of `columns` elements lie within w,
        // and `depth` rows of `width` within the panel, which is written before it is read.
        unsafe {
            let row = move |step: usize| w.row(k + step);
            let mut c = 0;
            while c < w.cols {
                let columns = width.min(w.cols - c);
                let at = place.at(0, c, k);
                if columns == width {
                    for k in 0..depth {
                        let (from, to) = (row(k).add(c), panel.add(k * width));
                        s.store(to, E::load(s, from));
                        s.store(to.add(S::LANES), E::load(s, from.add(S::LANES)));
                    }
                    let ahead = move |step| row(step).wrapping_add(c + width).cast();
                    strip::<S, F32>(s, at, tokens, move |step| panel.add(step * width), depth, ahead);
                } else {
                    for k in 0..depth {
                        for l in 0..width {
                            let from = row(k).wrapping_add(c + l);
                            *panel.add(k * width + l) = if l < columns { E::widen(*from) } else { 0.0 };
                        }
                    }
                    last_strip(s, at, tokens, panel, depth, columns);
                }
                c += columns;
            }
        }
    }
}

/// The columns that fill no strip, through a copy of `Y` that does. The panel is padded.
///
/// # Safety
/// As for [`strip`], but that `Y` has only `columns` columns.
#[inline(always)]
unsafe fn last_strip<S: Simd>(s: S, place: Place, tokens: usize, panel: *const f32, depth: usize, columns: usize) {
    let width = 2 * S::LANES;
    let mut sums = [0.0f32; 2 * 16 * 12];
    for m in (0..tokens).step_by(S::ROWS) {
        let rows = S::ROWS.min(tokens - m);
        // SAFETY: `rows` rows of `width` elements lie within `sums`: ROWS <= 12, LANES <= 16; of
        // `columns` elements, within Y.
        unsafe {
            let at = place.at(m, 0, 0);
            for r in 0..rows {
                let from = at.y.add(r * at.y_stride);
                std::ptr::copy_nonoverlapping(from, sums.as_mut_ptr().add(r * width), columns);
            }
            let copy = Place { y: sums.as_mut_ptr(), y_stride: width, ..at };
            strip::<S, F32>(s, copy, rows, move |step| panel.add(step * width), depth, copy.nothing_ahead());
            for r in 0..rows {
                let to = at.y.add(r * at.y_stride);
                std::ptr::copy_nonoverlapping(sums.as_ptr().add(r * width), to, columns);
            }
        }
    }
}

/// A strip two vectors wide, for all tokens, in register tiles of nearly equal height. The first
/// prefetches what is `ahead`.
///
/// # Safety
/// `place` has `tokens` rows, of two vectors of `Y` and `depth` elements of `X`; `w` gives `depth`
/// rows of two vectors.
#[inline(always)]
unsafe fn strip<S: Simd, E: Elem>(
    s: S,
    place: Place,
    tokens: usize,
    w: impl Fn(usize) -> *const E::Raw + Copy,
    depth: usize,
    ahead: impl Fn(usize) -> *const u8 + Copy,
) {
    let tiles = tokens.div_ceil(S::ROWS);
    let mut m = 0;
    for tile in 0..tiles {
        let end = (tile + 1) * tokens / tiles;
        // SAFETY: rows m..end are below `tokens`.
        unsafe {
            let at = place.at(m, 0, 0);
            match tile {
                0 => rows::<S, E>(s, at, end - m, w, depth, ahead),
                _ => rows::<S, E>(s, at, end - m, w, depth, at.nothing_ahead()),
            }
        }
        m = end;
    }
}

/// A strip two vectors wide, for 1 to `S::ROWS` tokens.
///
/// # Safety
/// As for [`strip`].
#[inline(always)]
unsafe fn rows<S: Simd, E: Elem>(
    s: S,
    at: Place,
    tokens: usize,
    w: impl Fn(usize) -> *const E::Raw + Copy,
    depth: usize,
    ahead: impl Fn(usize) -> *const u8 + Copy,
) {
    // SAFETY: the same contract.
    unsafe {
        match tokens {
            1 => micro::<S, E, 1, 2>(s, at, w, depth, ahead),
            2 => micro::<S, E, 2, 2>(s, at, w, depth, ahead),
            3 => micro::<S, E, 3, 2>(s, at, w, depth, ahead),
            4 => micro::<S, E, 4, 2>(s, at, w, depth, ahead),
            5 => micro::<S, E, 5, 2>(s, at, w, depth, ahead),
            6 => micro::<S, E, 6, 2>(s, at, w, depth, ahead),
            7 if S::ROWS > 6 => micro::<S, E, 7, 2>(s, at, w, depth, ahead),
            8 if S::ROWS > 6 => micro::<S, E, 8, 2>(s, at, w, depth, ahead),
            9 if S::ROWS > 6 => micro::<S, E, 9, 2>(s, at, w, depth, ahead),
            10 if S::ROWS > 6 => micro::<S, E, 10, 2>(s, at, w, depth, ahead),
            11 if S::ROWS > 6 => micro::<S, E, 11, 2>(s, at, w, depth, ahead),
            12 if S::ROWS > 6 => micro::<S, E, 12, 2>(s, at, w, depth, ahead),
            _ => debug_assert!(false, "a tile is 1 to ROWS rows"),
        }
    }
}

/// The register tile: `M` rows by `N` vectors, `depth` steps of `k`.
///
/// # Safety
/// `place` has `M` rows, of `N` vectors of `Y` and `depth` elements of `X`; `w` gives `depth` rows of
/// `N` vectors.
#[inline(always)]
unsafe fn micro<S: Simd, E: Elem, const M: usize, const N: usize>(
    s: S,
    place: Place,
    w: impl Fn(usize) -> *const E::Raw,
    depth: usize,
    ahead: impl Fn(usize) -> *const u8,
) {
    // SAFETY: every offset is below those of the contract.
    unsafe {
        let mut acc = [[s.splat(0.0); N]; M];
        for m in 0..M {
            for n in 0..N {
                acc[m][n] = s.load(place.y.add(m * place.y_stride + n * S::LANES));
            }
        }
        for k in 0..depth {
            let row = w(k);
            s.prefetch(ahead(k));
            let mut strip = [s.splat(0.0); N];
            for n in 0..N {
                strip[n] = E::load(s, row.add(n * S::LANES));
            }
            for m in 0..M {
                let x = s.splat(*place.x.add(m * place.x_stride + k));
                for n in 0..N {
                    acc[m][n] = s.fma(x, strip[n], acc[m][n]);
                }
            }
        }
        for m in 0..M {
            for n in 0..N {
                s.store(place.y.add(m * place.y_stride + n * S::LANES), acc[m][n]);
            }
        }
    }
}
