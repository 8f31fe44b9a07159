//! Rough rows (`crate::screen`): whole numbers have one sum, whatever the order.

use super::Integers;
use crate::{SCREEN_BLOCK, SCREEN_GROUP, SCREEN_HOT, ScreenInput, ScreenRows};

/// Blocks of columns whose steps are made ready together.
const CHUNK: usize = 8;
/// How far ahead of the reading, in bytes, each row is prefetched.
const AHEAD: usize = 512;
/// The same for what goes into L2 first.
const FAR_AHEAD: usize = 2048;

/// # Safety
/// See [`crate::vector`]: as many `y [rows]` as `x`, of as many columns, hot and cold, as `w`.
#[inline(always)]
pub(crate) unsafe fn dot_rows_screen<S: Integers>(
    s: S,
    y: &mut [&mut [f32]],
    x: &[ScreenInput<'_>],
    w: ScreenRows<'_>,
) {
    let (mut y, mut x) = (y, x);
    // SAFETY: the shapes are the caller's.
    unsafe {
        // Several tokens share what taking a row's numbers apart costs.
        if S::MANY_REGISTERS {
            (y, x) = each::<S, 4, 4>(s, y, x, w);
        }
        (y, x) = each::<S, 4, 2>(s, y, x, w);
        if S::MANY_REGISTERS && S::LANES == 16 {
            each::<S, 8, 1>(s, y, x, w);
        } else {
            each::<S, 4, 1>(s, y, x, w);
        }
    }
}

/// `T` tokens at a time; returns those that are left.
///
/// # Safety
/// As for [`dot_rows_screen`].
#[inline(always)]
unsafe fn each<'y, 't, 'x, S: Integers, const R: usize, const T: usize>(
    s: S,
    mut y: &'y mut [&'t mut [f32]],
    mut x: &'x [ScreenInput<'x>],
    w: ScreenRows<'_>,
) -> (&'y mut [&'t mut [f32]], &'x [ScreenInput<'x>]) {
    while let Some((some, rest)) = x.split_first_chunk::<T>() {
        let (outputs, others) = y.split_at_mut(T);
        // SAFETY: the shapes are the caller's.
        unsafe { streams::<S, R, T>(s, outputs, some, w) };
        (x, y) = (rest, others);
    }
    (y, x)
}

/// `R` runs of rows side by side, as in [`dot`](super::dot), then the rows that are left.
///
/// # Safety
/// As for [`dot_rows_screen`], of `T` tokens.
#[inline(always)]
unsafe fn streams<S: Integers, const R: usize, const T: usize>(
    s: S,
    y: &mut [&mut [f32]],
    x: &[ScreenInput<'_>; T],
    w: ScreenRows<'_>,
) {
    let (data, scale, bytes) = w.parts();
    let (rows, run) = (w.rows(), w.rows() / R);
    for i in 0..run {
        // SAFETY: row r·run + i < rows, of the shape of x; each has an element of every y and two scales.
        unsafe {
            let at = |r: usize| r * run + i;
            let mut row = [data.as_ptr(); R];
            for r in 0..R {
                row[r] = row[r].add(at(r) * bytes);
            }
            let sums = products::<S, R, T>(s, x, row);
            for t in 0..T {
                for r in 0..R {
                    let scale = [*scale.as_ptr().add(2 * at(r)), *scale.as_ptr().add(2 * at(r) + 1)];
                    *y[t].as_mut_ptr().add(at(r)) = x[t].value([sums[0][t][r], sums[1][t][r]], scale);
                }
            }
        }
    }
    for n in R * run..rows {
        // SAFETY: row n < rows.
        let sums = unsafe { products::<S, 1, T>(s, x, [data.as_ptr().add(n * bytes)]) };
        for t in 0..T {
            y[t][n] = x[t].value([sums[0][t][0], sums[1][t][0]], [scale[2 * n], scale[2 * n + 1]]);
        }
    }
}

/// The sums of the hot columns and of the cold ones, of `R` rows at once with each of `T` tokens.
///
/// # Safety
/// Each of `w` is valid for reading a row of the shape of `x`, which is one.
#[inline(always)]
unsafe fn products<S: Integers, const R: usize, const T: usize>(
    s: S,
    x: &[ScreenInput<'_>; T],
    w: [*const u8; R],
) -> [[[i32; R]; T]; 2] {
    const { assert!(SCREEN_HOT.is_multiple_of(2 * S::LANES)) }
    let (hot, cold) = x[0].lengths();
    let (blocks, steps_len) = (cold / SCREEN_BLOCK, cold / SCREEN_GROUP);
    let (mut hots, mut colds, mut eights) =
        ([x[0].parts().0.as_ptr(); T], [x[0].parts().1.as_ptr(); T], [x[0].parts().2.as_ptr(); T]);
    for t in 0..T {
        let parts = x[t].parts();
        (hots[t], colds[t], eights[t]) = (parts.0.as_ptr(), parts.1.as_ptr(), parts.2.as_ptr());
    }
    let mut total = [[[0; R]; T]; 2];

    let mut sums = [[s.zero_i32(); R]; T];
    for k in (0..hot).step_by(2 * S::LANES) {
        for r in 0..R {
            let at = w[r].wrapping_add(steps_len + k);
            // One prefetch a cache line.
            if k % 64 < 2 * S::LANES {
                s.prefetch(at.wrapping_add(AHEAD));
            }
            for t in 0..T {
                // SAFETY: hot columns, and the row's numbers of them, come in whole vectors.
                sums[t][r] = unsafe { s.add_products_i8(sums[t][r], s.load_i16(hots[t].add(k)), at.cast()) };
            }
        }
    }
    for t in 0..T {
        total[0][t] = folded::<S, R>(s, sums[t]);
    }

    let mut sums = [[s.zero_i32(); R]; T];
    // Beyond the steps the row goes on for at least half a block, 32 bytes, so that vectors and chunks of them can be
    // read to their ends, whatever they are: `eights` has zeros there.
    for k in (0..steps_len).step_by(2 * S::LANES) {
        for t in 0..T {
            for r in 0..R {
                // SAFETY: as said; `eights` comes in whole vectors.
                unsafe {
                    let x = s.load_i16(eights[t].add(k));
                    sums[t][r] = s.add_products_i8(sums[t][r], x, w[r].add(k).cast());
                }
            }
        }
    }
    for first in (0..blocks).step_by(CHUNK) {
        // SAFETY: within the row, as said.
        let mut steps = [unsafe { s.screen_steps(w[0].add(2 * first)) }; R];
        for r in 1..R {
            // SAFETY: the same.
            steps[r] = unsafe { s.screen_steps(w[r].add(2 * first)) };
        }
        for b in first..blocks.min(first + CHUNK) {
            let at = steps_len + hot + b * SCREEN_BLOCK / 2;
            if b % 2 == 0 {
                for r in 0..R {
                    s.prefetch(w[r].wrapping_add(at + AHEAD));
                    s.prefetch_l2(w[r].wrapping_add(at + FAR_AHEAD));
                }
            }
            for r in 0..R {
                // SAFETY: block b of the row.
                let block = unsafe { s.screen_block(w[r].add(at), steps[r], b - first) };
                for t in 0..T {
                    // SAFETY: block b of x.
                    sums[t][r] = unsafe { s.add_screen_block(sums[t][r], colds[t].add(b * SCREEN_BLOCK), block) };
                }
            }
        }
    }
    for t in 0..T {
        total[1][t] = folded::<S, R>(s, sums[t]);
    }
    total
}

/// The sums of the lanes of each.
#[inline(always)]
fn folded<S: Integers, const R: usize>(s: S, sums: [S::I32; R]) -> [i32; R] {
    let mut total = [0; R];
    for r in (0..R / 4 * 4).step_by(4) {
        total[r..r + 4].copy_from_slice(&s.sums_i32([sums[r], sums[r + 1], sums[r + 2], sums[r + 3]]));
    }
    for r in R / 4 * 4..R {
        total[r] = s.sum_i32(sums[r]);
    }
    total
}
