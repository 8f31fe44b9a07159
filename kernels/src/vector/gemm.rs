//! `Y += X·W`, column form, several tokens.
//!
//! The register tile is a few rows of `Y` by a strip of columns: each step of `k` loads the strip of
//! one `W` row, and one value of `X` for each row. `k` is taken in blocks, in ascending order, and
//! between blocks the sums rest in `Y`: the chain of each element is the one of `gemv`.
//!
//! With many tokens a strip of `W` is first widened to an f32 panel on the stack and used for all of
//! them. With few, that would cost more than it saves, and `W` is widened in registers.
//!
//! Strips are addresses, not types of their own: a register tile is compiled once for each format it reads, and of many
//! tokens' panels there is one format.

use std::mem::MaybeUninit;

use super::{
    Simd,
    elem::{Elem, F32, MatrixView, with_format},
};
use crate::{MatMut, MatRef, Matrix, matrix};

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
struct RowPointers {
    y: *mut f32,
    y_stride: usize,
    x: *const f32,
    x_stride: usize,
}

impl RowPointers {
    /// `m` rows down, `c` columns along `Y`, `k` along `X`.
    ///
    /// # Safety
    /// That place exists.
    #[inline(always)]
    unsafe fn at(self, m: usize, c: usize, k: usize) -> RowPointers {
        // SAFETY: by contract.
        unsafe { RowPointers { y: self.y.add(m * self.y_stride + c), x: self.x.add(m * self.x_stride + k), ..self } }
    }

    /// Nothing new to prefetch: what is in use anyway, again and again, costs a slot that is free. (An
    /// address of nothing would cost a page walk each time.)
    #[inline(always)]
    fn nothing_ahead(self) -> Lines {
        Lines { start: self.x.cast(), bytes: 0, first: 0, run: 0 }
    }
}

/// Where the rows of a block of `k` have a strip of theirs.
#[derive(Clone, Copy)]
struct Lines {
    start: *const u8,
    /// Bytes between rows that lie one after the other.
    bytes: usize,
    /// The block's first row, and how the matrix deals its rows ([`matrix::dealt`]).
    first: usize,
    run: usize,
}

impl Lines {
    /// The rows from `k` on, at column `c`, which may lie beyond the matrix where nothing is read.
    #[inline(always)]
    fn of<E: Elem>(w: MatrixView<'_, E>, k: usize, c: usize) -> Lines {
        let bytes = w.stride * size_of::<E::Raw>();
        Lines { start: w.data.wrapping_add(c).cast(), bytes, first: k, run: w.run }
    }

    /// Of row `first + step`.
    #[inline(always)]
    fn at(self, step: usize) -> *const u8 {
        self.start.wrapping_add(matrix::dealt(self.first + step, self.run) * self.bytes)
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
    let place = RowPointers { y_stride: y.stride(), y: y.as_mut_ptr(), x: x.as_ptr(), x_stride: x.stride() };
    // SAFETY: the shapes are the caller's, none of them 0.
    unsafe {
        if tokens <= 2 * S::ROWS {
            with_format!(w, |w| few(s, place, tokens, w));
        } else {
            for start in (0..tokens).step_by(TOKENS) {
                many(s, place.at(start, 0, 0), TOKENS.min(tokens - start), w);
            }
        }
    }
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
unsafe fn few<S: Simd, E: Elem>(s: S, place: RowPointers, tokens: usize, w: MatrixView<'_, E>) {
    let step = block(w.rows, DEPTH);
    // Two rows alone leave registers, and want more chains than two vectors give.
    let wide = if tokens == 2 { 4 } else { 2 };
    let width = wide * S::LANES;
    for k in (0..w.rows).step_by(step) {
        let depth = step.min(w.rows - k);
        // SAFETY: (k, c) lies within w and, with the strip's width, so does every element of it in
        // `depth` rows; likewise in Y and X.
        unsafe {
            let mut c = 0;
            while c + width <= w.cols {
                let at = place.at(0, c, k);
                let strip = Lines::of(w, k, c);
                // The strip after the next, whose lines may be the next one's too.
                let ahead = Lines::of(w, k, c + 2 * width);
                if wide == 4 {
                    micro::<S, E, 2, 4>(s, at, strip, depth, ahead);
                } else {
                    tiles::<S, E>(s, at, tokens, strip, depth, ahead, width);
                }
                c += width;
            }
            while c + S::LANES <= w.cols {
                for m in 0..tokens {
                    let at = place.at(m, c, k);
                    micro::<S, E, 1, 1>(s, at, Lines::of(w, k, c), depth, at.nothing_ahead());
                }
                c += S::LANES;
            }
            while c < w.cols {
                for m in 0..tokens {
                    let at = place.at(m, c, k);
                    let mut acc = *at.y;
                    for step in 0..depth {
                        acc = (*at.x.add(step)).mul_add(E::widen(*w.row(k + step).add(c)), acc);
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
unsafe fn many<S: Simd>(s: S, place: RowPointers, tokens: usize, w: Matrix<'_>) {
    let width = 2 * S::LANES;
    let step = block(w.rows(), PANEL / width);
    let mut panel = Panel(MaybeUninit::uninit());
    let panel = panel.0.as_mut_ptr().cast::<f32>();
    let strip = Lines { start: panel.cast(), bytes: width * size_of::<f32>(), first: 0, run: 0 };
    for k in (0..w.rows()).step_by(step) {
        let depth = step.min(w.rows() - k);
        for c in (0..w.cols()).step_by(width) {
            let columns = width.min(w.cols() - c);
            // SAFETY: (k, c) lies within w; a strip's `depth` rows of `columns` elements lie within w,
            // and `depth` rows of `width` within the panel, which is written before it is read.
            unsafe {
                let ahead = with_format!(w, |w| {
                    widen(s, panel, w, k, depth, c, columns);
                    Lines::of(w, k, c + width)
                });
                tiles::<S, F32>(s, place.at(0, c, k), tokens, strip, depth, ahead, columns);
            }
        }
    }
}

/// Fills the panel: `depth` rows of two vectors, from (`k`, `c`) on, zeros behind the strip's `columns`.
///
/// # Safety
/// The panel has that place, and `w` those columns of those rows.
#[inline(always)]
unsafe fn widen<S: Simd, E: Elem>(
    s: S,
    panel: *mut f32,
    w: MatrixView<'_, E>,
    k: usize,
    depth: usize,
    c: usize,
    columns: usize,
) {
    let width = 2 * S::LANES;
    for step in 0..depth {
        // SAFETY: by contract.
        unsafe {
            let (from, to) = (w.row(k + step).add(c), panel.add(step * width));
            if columns == width {
                s.store(to, E::load(s, from));
                s.store(to.add(S::LANES), E::load(s, from.add(S::LANES)));
            } else {
                for l in 0..width {
                    *to.add(l) = if l < columns { E::widen(*from.add(l)) } else { 0.0 };
                }
            }
        }
    }
}

/// A strip two vectors wide, for all tokens, in register tiles of nearly equal height. The first
/// prefetches what is `ahead`. Where `Y` has only some `columns` of the strip, a tile goes through a copy of its part.
///
/// # Safety
/// `place` has `tokens` rows, of `columns` elements of `Y` (two vectors at most) and `depth` elements of `X`; `w` gives
/// `depth` rows of two vectors.
#[inline(always)]
unsafe fn tiles<S: Simd, E: Elem>(
    s: S,
    place: RowPointers,
    tokens: usize,
    w: Lines,
    depth: usize,
    ahead: Lines,
    columns: usize,
) {
    let width = 2 * S::LANES;
    let tiles = tokens.div_ceil(S::ROWS);
    let (mut m, mut ahead) = (0, ahead);
    for tile in 0..tiles {
        let end = (tile + 1) * tokens / tiles;
        // SAFETY: rows m..end are below `tokens`; those of a copy lie within it: ROWS <= 12, LANES <= 16.
        unsafe {
            let at = place.at(m, 0, 0);
            let whole = columns == width;
            let mut copy = MaybeUninit::<[f32; 2 * 16 * 12]>::uninit();
            let copied = RowPointers { y: copy.as_mut_ptr().cast(), y_stride: width, ..at };
            if !whole {
                for r in 0..end - m {
                    let to = copied.at(r, 0, 0).y;
                    std::ptr::copy_nonoverlapping(at.at(r, 0, 0).y, to, columns);
                    std::ptr::write_bytes(to.add(columns), 0, width - columns);
                }
            }
            rows::<S, E>(s, if whole { at } else { copied }, end - m, w, depth, ahead);
            if !whole {
                for r in 0..end - m {
                    std::ptr::copy_nonoverlapping(copied.at(r, 0, 0).y, at.at(r, 0, 0).y, columns);
                }
            }
        }
        m = end;
        ahead = place.nothing_ahead();
    }
}

/// A strip two vectors wide, for 1 to `S::ROWS` tokens.
///
/// # Safety
/// As for [`tiles`], of whole strips.
#[inline(always)]
unsafe fn rows<S: Simd, E: Elem>(s: S, at: RowPointers, tokens: usize, w: Lines, depth: usize, ahead: Lines) {
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
    place: RowPointers,
    w: Lines,
    depth: usize,
    ahead: Lines,
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
            let row = w.at(k).cast::<E::Raw>();
            s.prefetch(ahead.at(k));
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
