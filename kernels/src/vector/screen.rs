//! Rough rows (`crate::screen`): whole numbers have one sum, whatever the order.

use super::Simd;
use crate::{SCREEN_BLOCK, SCREEN_GROUP, SCREEN_HOT, ScreenInput, ScreenRows};

/// Blocks of columns whose steps are made ready together.
const CHUNK: usize = 8;
/// How far ahead of the reading, in bytes, each row is prefetched.
const AHEAD: usize = 512;
/// The same for what goes into L2 first.
const FAR_AHEAD: usize = 2048;

/// # Safety
/// See [`crate::vector`]: `y [rows]`, `x` of as many columns, hot and cold, as `w`.
#[inline(always)]
pub(crate) unsafe fn dot_rows_screen<S: Simd>(s: S, y: &mut [f32], x: ScreenInput<'_>, w: ScreenRows<'_>) {
    // SAFETY: the shapes are the caller's.
    unsafe {
        if S::MANY_REGISTERS && S::LANES == 16 {
            streams::<S, 8>(s, y, x, w);
        } else {
            streams::<S, 4>(s, y, x, w);
        }
    }
}

/// `R` runs of rows side by side, as in [`dot`](super::dot), then the rows that are left.
///
/// # Safety
/// As for [`dot_rows_screen`].
#[inline(always)]
unsafe fn streams<S: Simd, const R: usize>(s: S, y: &mut [f32], x: ScreenInput<'_>, w: ScreenRows<'_>) {
    let (data, scale, bytes) = w.parts();
    let (rows, run) = (y.len(), y.len() / R);
    for i in 0..run {
        // SAFETY: row r·run + i < rows, of the shape of x; each has an element of y and two scales.
        unsafe {
            let at = |r: usize| r * run + i;
            let mut row = [data.as_ptr(); R];
            for r in 0..R {
                row[r] = row[r].add(at(r) * bytes);
            }
            let sums = products::<S, R>(s, x, row);
            for r in 0..R {
                let scale = [*scale.as_ptr().add(2 * at(r)), *scale.as_ptr().add(2 * at(r) + 1)];
                *y.as_mut_ptr().add(at(r)) = x.value([sums[0][r], sums[1][r]], scale);
            }
        }
    }
    for n in R * run..rows {
        // SAFETY: row n < rows.
        let sums = unsafe { products::<S, 1>(s, x, [data.as_ptr().add(n * bytes)]) };
        y[n] = x.value([sums[0][0], sums[1][0]], [scale[2 * n], scale[2 * n + 1]]);
    }
}

/// The sums of the hot columns and of the cold ones, of `R` rows at once.
///
/// # Safety
/// Each of `w` is valid for reading a row of the shape of `x`.
#[inline(always)]
unsafe fn products<S: Simd, const R: usize>(s: S, x: ScreenInput<'_>, w: [*const u8; R]) -> [[i32; R]; 2] {
    const { assert!(SCREEN_HOT.is_multiple_of(2 * S::LANES)) }
    let (hot, cold, eights) = x.parts();
    let (blocks, steps_len) = (cold.len() / SCREEN_BLOCK, cold.len() / SCREEN_GROUP);
    let mut sums = [[s.zero_i32(); R]; 2];

    for k in (0..hot.len()).step_by(2 * S::LANES) {
        // SAFETY: hot columns, and the row's numbers of them, come in whole vectors.
        unsafe {
            let x = s.load_i16(hot.as_ptr().add(k));
            for r in 0..R {
                let at = w[r].add(steps_len + k);
                // One prefetch a cache line.
                if k % 64 < 2 * S::LANES {
                    s.prefetch(at.wrapping_add(AHEAD));
                }
                sums[0][r] = s.add_products_i8(sums[0][r], x, at.cast());
            }
        }
    }
    // Beyond the steps the row goes on for at least half a block, 32 bytes, so that vectors and chunks of them can be
    // read to their ends, whatever they are: `eights` has zeros there.
    for k in (0..steps_len).step_by(2 * S::LANES) {
        // SAFETY: as said; `eights` comes in whole vectors.
        unsafe {
            let x = s.load_i16(eights.as_ptr().add(k));
            for r in 0..R {
                sums[1][r] = s.add_products_i8(sums[1][r], x, w[r].add(k).cast());
            }
        }
    }
    for first in (0..blocks).step_by(CHUNK) {
        // Each step twice, in the halves of an i32.
        let mut steps = [[0i32; 2 * CHUNK]; R];
        for r in 0..R {
            for j in 0..2 * CHUNK {
                // SAFETY: within the row, as said.
                let step = i32::from(unsafe { *w[r].add(2 * first + j) }.cast_signed());
                steps[r][j] = (step << 16) | (step & 0xffff);
            }
        }
        for b in first..blocks.min(first + CHUNK) {
            let at = steps_len + hot.len() + b * SCREEN_BLOCK / 2;
            if b % 2 == 0 {
                for r in 0..R {
                    s.prefetch(w[r].wrapping_add(at + AHEAD));
                    s.prefetch_l2(w[r].wrapping_add(at + FAR_AHEAD));
                }
            }
            for r in 0..R {
                // SAFETY: block b of x and of the row.
                unsafe {
                    let at = w[r].add(at);
                    let step = [steps[r][2 * (b - first)], steps[r][2 * (b - first) + 1]];
                    sums[1][r] = s.add_screen_block(sums[1][r], cold.as_ptr().add(b * SCREEN_BLOCK), at, step);
                }
            }
        }
    }
    let mut total = [[0; R]; 2];
    for kind in 0..2 {
        for r in (0..R / 4 * 4).step_by(4) {
            let four = s.sums_i32([sums[kind][r], sums[kind][r + 1], sums[kind][r + 2], sums[kind][r + 3]]);
            total[kind][r..r + 4].copy_from_slice(&four);
        }
        for r in R / 4 * 4..R {
            total[kind][r] = s.sum_i32(sums[kind][r]);
        }
    }
    total
}
