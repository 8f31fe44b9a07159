//! Products of weights in whole numbers (`crate::quantized` has the formats and the order of sums).
//!
//! In column form two rows meet as pairs, whose sums of products are one instruction on most CPUs, and the sums of 32
//! columns stay in registers through a group of input channels.

pub(crate) mod gemm;
pub(crate) mod gemv;
pub(crate) mod rows;

use std::mem::MaybeUninit;

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
        let min = if self.min.is_null() { self.min } else { self.min.wrapping_add(at) };
        Scales { column, scale: self.scale.wrapping_add(at), min }
    }
}

/// Scales and minima of a group from some column on.
#[derive(Clone, Copy)]
struct Scales {
    column: usize,
    scale: *const u16,
    /// Means nothing where there are none. Null where they are within the scales ([`QuantType::Q4s`]).
    min: *const u16,
}

/// The whole numbers of a matrix, as a type.
trait Whole: Copy {
    /// Bytes of [`COLS`] columns.
    const BYTES: usize;
    const MIN: bool;
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
}

#[derive(Clone, Copy)]
struct Q8;
/// Both kinds: they differ in how scales and minima are read, which is not worth all the code once more.
#[derive(Clone, Copy)]
struct Q4;

impl Whole for Q8 {
    const BYTES: usize = 32;
    const MIN: bool = false;
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
}

impl Whole for Q4 {
    const BYTES: usize = 16;
    const MIN: bool = true;
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
}

/// Vectors of two blocks of columns, at most: those of 4 lanes.
const MOST_VECTORS: usize = 2 * COLS / 4;

/// Scales and minima, if there are any, of some vectors of columns.
type Widened<S> = [MaybeUninit<[<S as Simd>::V; 2]>; MOST_VECTORS];

/// Those of `N` blocks of columns, at most two.
///
/// # Safety
/// What is at `at` is valid for that many columns.
#[inline(always)]
unsafe fn widened<S: Simd, W: Whole, const N: usize>(s: S, at: Scales) -> Widened<S> {
    let mut all: Widened<S> = [const { MaybeUninit::uninit() }; MOST_VECTORS];
    for v in 0..N * COLS / S::LANES {
        let c = v * S::LANES;
        // SAFETY: LANES elements from c on are below N·COLS.
        all[v].write(unsafe {
            if W::MIN && at.min.is_null() {
                s.load_scale_and_min(at.scale.add(c))
            } else {
                [s.load_f16(at.scale.add(c)), if W::MIN { s.load_f16(at.min.add(c)) } else { s.splat(0.0) }]
            }
        });
    }
    all
}

/// Adds a group's sums to `N` blocks of columns of `y`: `sums` gives those of a vector of columns.
///
/// # Safety
/// `y` is valid for that many columns, `shared` filled for them.
#[inline(always)]
unsafe fn finish<S: Simd, W: Whole, const N: usize>(
    s: S,
    y: *mut f32,
    sums: impl Fn(usize) -> S::V,
    shared: &Widened<S>,
    x_scale: f32,
    total: f32,
) {
    let (x_scale, total) = (s.splat(x_scale), s.splat(total));
    for v in 0..N * COLS / S::LANES {
        let c = v * S::LANES;
        // SAFETY: LANES elements from c on are below N·COLS.
        unsafe {
            let [scale, min] = shared[v].assume_init();
            let mut acc = s.fma(s.mul(x_scale, scale), sums(v), s.load(y.add(c)));
            if W::MIN {
                acc = s.fma(min, total, acc);
            }
            s.store(y.add(c), acc);
        }
    }
}
