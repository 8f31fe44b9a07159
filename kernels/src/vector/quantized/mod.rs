//! Products of weights in whole numbers (`crate::quantized` has the formats and the order of sums).
//!
//! In column form two rows meet as pairs, whose sums of products are one instruction on most CPUs, and the sums of 32
//! columns stay in registers through a group of input channels.

pub(crate) mod gemm;
pub(crate) mod gemv;
pub(crate) mod rows;

use super::Simd;
use crate::{QUANT_GROUP, Quantized, scalar::quantized::factors};

/// Columns of a block: their whole numbers are half a cache line, or a quarter.
const COLS: usize = 32;
/// Pairs of channels in a group.
const PAIRS: usize = QUANT_GROUP / 2;

/// # Safety
/// See [`crate::vector`]: `whole`, `x`: `[n]`, `scale [n / 32]`.
#[inline(always)]
pub(crate) unsafe fn quantize<S: Simd>(_: S, whole: &mut [i16], scale: &mut [f32], x: &[f32]) {
    // Adding this rounds to whole numbers, to nearest even, and leaves them in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let groups = whole.chunks_exact_mut(QUANT_GROUP).zip(x.chunks_exact(QUANT_GROUP));
    for ((whole, x), scale) in groups.zip(scale) {
        // Loops that the compiler turns into vectors. Magnitudes compare as integers.
        let largest = x.iter().fold(0, |largest, x| x.abs().to_bits().max(largest));
        let factor;
        (factor, *scale) = factors(largest);
        if factor == 0.0 {
            whole.fill(0);
            continue;
        }
        for (whole, x) in whole.iter_mut().zip(x) {
            *whole = (x * factor + MAGIC).to_bits() as i16;
        }
    }
}

/// A [`Quantized`] as pointers.
#[derive(Clone, Copy)]
struct Columns {
    data: *const u8,
    row_bytes: usize,
    run: usize,
    scale: *const u16,
    min: *const u16,
    width: usize,
    cols: usize,
}

impl Columns {
    #[inline(always)]
    fn new(w: &Quantized<'_>) -> Columns {
        let (data, scale, min, width, run) = w.parts();
        let row_bytes = w.quant().row_bytes(width);
        Columns { data, row_bytes, run, scale, min, width, cols: w.cols() }
    }

    /// # Safety
    /// The matrix has columns and row `k`.
    #[inline(always)]
    unsafe fn row(&self, k: usize) -> *const u8 {
        // SAFETY: the row's first byte lies within the data.
        unsafe { self.data.add(crate::matrix::dealt(k, self.run) * self.row_bytes) }
    }

    /// Group `g`'s from block `block` of columns on.
    #[inline(always)]
    fn group(&self, g: usize, block: usize) -> Scales {
        let column = block * COLS;
        let at = g * self.width + column;
        Scales { column, scale: self.scale.wrapping_add(at), min: self.min.wrapping_add(at) }
    }
}

/// Scales and minima of a group from some column on.
#[derive(Clone, Copy)]
struct Scales {
    column: usize,
    /// With offsets, where those are within.
    scale: *const u16,
    /// Means nothing where there are none.
    min: *const u16,
}

/// The whole numbers of a matrix, as a type.
trait Whole: Copy {
    /// Bytes of [`COLS`] columns.
    const BYTES: usize;
    /// Whether there are minima, apart from scales.
    const MIN: bool;
    /// Whether the group's inputs are wanted as a sum.
    const TOTAL: bool;
    /// # Safety
    /// `a` and `b` are valid for reading [`Whole::BYTES`].
    unsafe fn row_pair<S: Simd>(s: S, a: *const u8, b: *const u8) -> S::RowPair;
    /// Of two blocks, in the order that [`Whole::sums2_at`] takes back.
    ///
    /// # Safety
    /// `a` and `b` are valid for reading twice [`Whole::BYTES`].
    unsafe fn row_pairs<S: Simd>(s: S, a: *const u8, b: *const u8) -> [S::RowPair; 2];
    /// Columns `v·LANES..(v + 1)·LANES` of two blocks.
    fn sums2_at<S: Simd>(s: S, sums: [S::Sums; 2], v: usize) -> S::V;
    /// The sum of a group's inputs as [`Whole::add`] takes it.
    fn total(x_scale: f32, sum: i32) -> f32;
    /// Scales, and minima or offsets, of columns `c..c + LANES` of those at `at`.
    ///
    /// # Safety
    /// What is at `at` is valid for them.
    unsafe fn shared<S: Simd>(s: S, at: Scales, c: usize) -> [S::V; 2];
    /// Adds a group's sums to `y`.
    fn add<S: Simd>(s: S, y: S::V, sums: S::V, shared: [S::V; 2], x_scale: S::V, total: S::V) -> S::V;
}

#[derive(Clone, Copy)]
struct Q8;
/// `SMALL`: scales and offsets in 16 bits.
#[derive(Clone, Copy)]
struct Q4<const SMALL: bool>;

impl Whole for Q8 {
    const BYTES: usize = 32;
    const MIN: bool = false;
    const TOTAL: bool = false;
    #[inline(always)]
    unsafe fn row_pair<S: Simd>(s: S, a: *const u8, b: *const u8) -> S::RowPair {
        // SAFETY: the same contract.
        unsafe { s.row_pair_i8(a.cast(), b.cast()) }
    }
    #[inline(always)]
    unsafe fn row_pairs<S: Simd>(s: S, a: *const u8, b: *const u8) -> [S::RowPair; 2] {
        // SAFETY: the same contract.
        unsafe { [Self::row_pair(s, a, b), Self::row_pair(s, a.add(Self::BYTES), b.add(Self::BYTES))] }
    }
    #[inline(always)]
    fn sums2_at<S: Simd>(s: S, sums: [S::Sums; 2], v: usize) -> S::V {
        s.sums_at(sums[v / (COLS / S::LANES)], v % (COLS / S::LANES))
    }
    #[inline(always)]
    fn total(_: f32, _: i32) -> f32 {
        0.0
    }
    #[inline(always)]
    unsafe fn shared<S: Simd>(s: S, at: Scales, c: usize) -> [S::V; 2] {
        // SAFETY: the same contract.
        [unsafe { s.load_f16(at.scale.add(c)) }, s.splat(0.0)]
    }
    #[inline(always)]
    fn add<S: Simd>(s: S, y: S::V, sums: S::V, [scale, _]: [S::V; 2], x_scale: S::V, _: S::V) -> S::V {
        s.fma(s.mul(x_scale, scale), sums, y)
    }
}

impl<const SMALL: bool> Whole for Q4<SMALL> {
    const BYTES: usize = 16;
    const MIN: bool = !SMALL;
    const TOTAL: bool = true;
    #[inline(always)]
    unsafe fn row_pair<S: Simd>(s: S, a: *const u8, b: *const u8) -> S::RowPair {
        // SAFETY: the same contract.
        unsafe { s.row_pair_u4(a, b) }
    }
    #[inline(always)]
    unsafe fn row_pairs<S: Simd>(s: S, a: *const u8, b: *const u8) -> [S::RowPair; 2] {
        // SAFETY: the same contract.
        unsafe { s.row_pairs_u4(a, b) }
    }
    #[inline(always)]
    fn sums2_at<S: Simd>(s: S, sums: [S::Sums; 2], v: usize) -> S::V {
        s.sums_of_pairs_u4_at(sums, v)
    }
    #[inline(always)]
    fn total(x_scale: f32, sum: i32) -> f32 {
        sum as f32 * if SMALL { -0.25 } else { x_scale }
    }
    #[inline(always)]
    unsafe fn shared<S: Simd>(s: S, at: Scales, c: usize) -> [S::V; 2] {
        // SAFETY: the same contract.
        unsafe {
            if SMALL {
                s.load_scale_and_offset(at.scale.add(c)).into()
            } else {
                [s.load_f16(at.scale.add(c)), s.load_f16(at.min.add(c))]
            }
        }
    }
    #[inline(always)]
    fn add<S: Simd>(s: S, y: S::V, sums: S::V, [scale, min]: [S::V; 2], x_scale: S::V, total: S::V) -> S::V {
        if SMALL {
            s.fma(s.mul(x_scale, scale), s.fma(total, min, sums), y)
        } else {
            s.fma(min, total, s.fma(s.mul(x_scale, scale), sums, y))
        }
    }
}

/// Adds a group's sums to `N` blocks of columns of `y`: `sums` gives those of a vector of columns, `shared` their scales.
///
/// # Safety
/// `y` is valid for that many columns.
#[inline(always)]
unsafe fn finish<S: Simd, W: Whole, const N: usize>(
    s: S,
    y: *mut f32,
    sums: impl Fn(usize) -> S::V,
    shared: impl Fn(usize) -> [S::V; 2],
    x_scale: f32,
    total: f32,
) {
    let (x_scale, total) = (s.splat(x_scale), s.splat(total));
    for v in 0..N * COLS / S::LANES {
        let c = v * S::LANES;
        // SAFETY: LANES elements from c on are below N·COLS.
        unsafe {
            s.store(y.add(c), W::add(s, s.load(y.add(c)), sums(v), shared(v), x_scale, total));
        }
    }
}
