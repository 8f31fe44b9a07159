//! Products of weights in whole numbers (`crate::quantized` has the formats and the order of sums).
//!
//! In column form four rows meet as a quad: their bytes are interleaved, so that one instruction multiplies four
//! numbers of a column with four inputs of 8 bits and adds them up. The sums of a step (a register's bytes of every
//! row) stay in registers through a group of input channels; a wide group is gone through twice, once for each limb of
//! its inputs.

mod ahead;
pub(crate) mod gemm;
pub(crate) mod gemv;
mod group;
pub(crate) mod rows;

use std::mem::MaybeUninit;

use super::{Integers, Quads, Simd, reduce::sum_of_squares};
use crate::{NARROW, QUANT_GROUP, Quantized, WIDE, packed::QUADS};

/// # Safety
/// See [`crate::vector`]: `whole`, `x`: `[n]`, `scale [n / 32]`.
#[inline(always)]
pub(crate) unsafe fn quantize<S: Simd>(s: S, whole: &mut [i16], scale: &mut [f32], x: &[f32], wide_from: f32) {
    // Adding this rounds to whole numbers, to nearest even, and leaves them in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    // SAFETY: the pointer and the length are those of the slice.
    let squares = unsafe { sum_of_squares(s, x.as_ptr(), x.len()) };
    // From which magnitude on a group is wide.
    let widest = wide_from * (squares / x.len() as f32).sqrt();
    let groups = whole.chunks_exact_mut(QUANT_GROUP).zip(x.chunks_exact(QUANT_GROUP));
    for ((whole, x), scale) in groups.zip(scale) {
        // Loops that the compiler turns into vectors. Magnitudes compare as integers.
        let largest = x.iter().fold(0, |largest, x| x.abs().to_bits().max(largest));
        let factor;
        (factor, *scale) = factors(largest, widest);
        if factor == 0.0 {
            whole.fill(0);
            continue;
        }
        for (whole, x) in whole.iter_mut().zip(x) {
            *whole = (x * factor + MAGIC).to_bits() as i16;
        }
    }
}

/// For the largest magnitude of a group, as bits, and from which on it is wide: what its values are multiplied by to
/// become whole numbers, and the scale that takes that back. A group with a NaN or an infinity becomes NaNs. One whose
/// largest value is so small that the factor would overflow (below 1e-34) becomes zeros.
#[inline(always)]
fn factors(largest: u32, widest: f32) -> (f32, f32) {
    if largest >= f32::INFINITY.to_bits() {
        return (0.0, f32::NAN);
    }
    let largest = f32::from_bits(largest);
    // Where squares overflow nothing compares, and all is wide.
    let narrow = largest <= widest;
    let limit = f32::from(if narrow { NARROW } else { WIDE });
    let factor = limit / largest;
    if factor < f32::INFINITY { (factor, largest / limit) } else { (0.0, 0.0) }
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

    /// Group `g`'s from `column` on.
    #[inline(always)]
    fn group(&self, g: usize, column: usize) -> Scales {
        let at = g * self.width + column;
        let min = if self.min.is_null() { self.min } else { self.min.wrapping_add(at) };
        Scales { scale: self.scale.wrapping_add(at), min }
    }
}

/// Scales and minima of a group from some column on.
#[derive(Clone, Copy)]
struct Scales {
    scale: *const u16,
    /// Null where there are none, or where they are within the scales ([`crate::QuantType::Q4s`]).
    min: *const u16,
}

/// The most sums of a step, a vector each.
const SUMS: usize = 8;

/// Vectors of sums that many tokens take at a time.
const VECTORS: usize = 4;

/// Sums of a step as vectors of 32-bit whole numbers, the first [`Whole::SUMS`] of them.
type Totals<S> = [<S as Integers>::I32; SUMS];

/// The whole numbers of a matrix, as a type.
trait Whole: Copy {
    /// Columns of a byte.
    const COLUMNS: usize;
    /// Whether columns have minima.
    const MIN: bool = Self::COLUMNS == 2;
    /// Vectors of sums of a step.
    const SUMS: usize = 4 * Self::COLUMNS;
    /// Which of [`Integers::TOKENS`] counts.
    const KIND: usize = 2 - Self::COLUMNS;
    /// Sums of a step in the making.
    type Sums<S: Integers>: Copy;
    /// `total`: the sum of all inputs to be added.
    fn start<S: Integers>(s: S, total: i32) -> Self::Sums<S>;
    /// Adds a quad, as it was read.
    fn add<S: Integers>(s: S, sums: Self::Sums<S>, quad: [S::Bytes; 4], x: S::Bytes) -> Self::Sums<S>;
    fn totals<S: Integers>(s: S, sums: Self::Sums<S>, total: i32) -> Totals<S>;
    /// The first column of vector `v` of totals, counted from the step's.
    #[inline(always)]
    fn column<S: Integers>(v: usize) -> usize {
        let place = v % 4 * S::LANES;
        if Self::COLUMNS == 1 { place } else { place / 16 * 32 + place % 16 + v / 4 * 16 }
    }
    /// A quad taken apart, in order, for many tokens: [`Whole::SUMS`] registers.
    fn apart<S: Integers>(s: S, quad: [S::Bytes; 4]) -> [S::Bytes; SUMS];
    /// One register's sum.
    type Sum<S: Integers>: Copy;
    fn start_sum<S: Integers>(s: S, total: i32) -> Self::Sum<S>;
    fn dot<S: Integers>(s: S, sum: Self::Sum<S>, w: S::Bytes, x: S::Bytes) -> Self::Sum<S>;
    fn total<S: Integers>(s: S, sum: Self::Sum<S>, total: i32) -> S::I32;
}

#[derive(Clone, Copy)]
struct Q8;
/// Both kinds: they differ in how scales and minima are read, which is not worth all the code once more.
#[derive(Clone, Copy)]
struct Q4;

impl Whole for Q8 {
    const COLUMNS: usize = 1;
    type Sums<S: Integers> = [S::Sums8; 4];
    #[inline(always)]
    fn start<S: Integers>(s: S, total: i32) -> [S::Sums8; 4] {
        [s.start8(total); 4]
    }
    #[inline(always)]
    fn add<S: Integers>(s: S, mut sums: [S::Sums8; 4], quad: [S::Bytes; 4], x: S::Bytes) -> [S::Sums8; 4] {
        for j in 0..4 {
            sums[j] = s.dot_i8(sums[j], s.whole(quad[j]), x);
        }
        sums
    }
    #[inline(always)]
    fn totals<S: Integers>(s: S, sums: [S::Sums8; 4], total: i32) -> Totals<S> {
        let mut totals = [s.zero_i32(); 4];
        for j in 0..4 {
            totals[j] = s.sums8(sums[j], total);
        }
        let [a, b, c, d] = s.sums_in_order(totals);
        [a, b, c, d, a, a, a, a]
    }
    #[inline(always)]
    fn apart<S: Integers>(s: S, quad: [S::Bytes; 4]) -> [S::Bytes; SUMS] {
        let [a, b, c, d] = s.quad_in_order(quad);
        let [a, b, c, d] = [s.whole(a), s.whole(b), s.whole(c), s.whole(d)];
        [a, b, c, d, a, a, a, a]
    }
    type Sum<S: Integers> = S::Sums8;
    #[inline(always)]
    fn start_sum<S: Integers>(s: S, total: i32) -> S::Sums8 {
        s.start8(total)
    }
    #[inline(always)]
    fn dot<S: Integers>(s: S, sum: S::Sums8, w: S::Bytes, x: S::Bytes) -> S::Sums8 {
        s.dot_i8(sum, w, x)
    }
    #[inline(always)]
    fn total<S: Integers>(s: S, sum: S::Sums8, total: i32) -> S::I32 {
        s.sums8(sum, total)
    }
}

impl Whole for Q4 {
    const COLUMNS: usize = 2;
    type Sums<S: Integers> = [[S::Sums4; 2]; 4];
    #[inline(always)]
    fn start<S: Integers>(s: S, _: i32) -> [[S::Sums4; 2]; 4] {
        [[s.zero4(); 2]; 4]
    }
    #[inline(always)]
    fn add<S: Integers>(s: S, mut sums: [[S::Sums4; 2]; 4], quad: [S::Bytes; 4], x: S::Bytes) -> [[S::Sums4; 2]; 4] {
        for j in 0..4 {
            sums[j] = s.dot_nibbles(sums[j], quad[j], x);
        }
        sums
    }
    #[inline(always)]
    fn totals<S: Integers>(s: S, sums: [[S::Sums4; 2]; 4], _: i32) -> Totals<S> {
        let (mut low, mut high) = ([s.zero_i32(); 4], [s.zero_i32(); 4]);
        for j in 0..4 {
            [low[j], high[j]] = s.sums_of_nibbles(sums[j]);
        }
        let ([a, b, c, d], [e, f, g, h]) = (s.sums_in_order(low), s.sums_in_order(high));
        [a, b, c, d, e, f, g, h]
    }
    #[inline(always)]
    fn apart<S: Integers>(s: S, quad: [S::Bytes; 4]) -> [S::Bytes; SUMS] {
        let [a, b, c, d] = s.quad_in_order(quad);
        let ([a, e], [b, f]) = (s.nibbles(a), s.nibbles(b));
        let ([c, g], [d, h]) = (s.nibbles(c), s.nibbles(d));
        [a, b, c, d, e, f, g, h]
    }
    type Sum<S: Integers> = S::Sums4;
    #[inline(always)]
    fn start_sum<S: Integers>(s: S, _: i32) -> S::Sums4 {
        s.zero4()
    }
    #[inline(always)]
    fn dot<S: Integers>(s: S, sum: S::Sums4, w: S::Bytes, x: S::Bytes) -> S::Sums4 {
        s.dot_u4(sum, w, x)
    }
    #[inline(always)]
    fn total<S: Integers>(s: S, sum: S::Sums4, _: i32) -> S::I32 {
        s.sums4(sum)
    }
}

/// Scales and minima, if there are any, of the vectors of a step.
type Widened<S> = [MaybeUninit<[<S as Simd>::V; 2]>; SUMS];

/// Those of the vectors that `bytes` of a row fill.
///
/// # Safety
/// What is at `at` is valid for the columns of so many bytes, a multiple of 16.
#[inline(always)]
unsafe fn widened<S: Integers, W: Whole>(s: S, at: Scales, bytes: usize) -> Widened<S> {
    let mut all: Widened<S> = [const { MaybeUninit::uninit() }; SUMS];
    for v in 0..W::SUMS {
        if v % 4 * S::LANES < bytes {
            // SAFETY: the vector's columns are those of bytes below `bytes`.
            all[v].write(unsafe { scale_and_min::<S, W>(s, at, W::column::<S>(v)) });
        }
    }
    all
}

/// # Safety
/// What is at `at` is valid for a vector's columns from `column` on.
#[inline(always)]
unsafe fn scale_and_min<S: Integers, W: Whole>(s: S, at: Scales, column: usize) -> [S::V; 2] {
    // SAFETY: by contract.
    unsafe {
        if W::MIN && at.min.is_null() {
            s.load_scale_and_min(at.scale.add(column))
        } else {
            let min = if W::MIN { s.load_f16(at.min.add(column)) } else { s.splat(0.0) };
            [s.load_f16(at.scale.add(column)), min]
        }
    }
}

/// What a group's sums of one token are multiplied by: the scale of its inputs, and that times their sum.
type SumFactors<S> = [<S as Simd>::V; 2];

/// Adds a vector of a group's sums to `y`.
///
/// # Safety
/// `y` is valid for a vector.
#[inline(always)]
unsafe fn finish<S: Integers, W: Whole>(s: S, y: *mut f32, sum: S::I32, shared: [S::V; 2], factors: SumFactors<S>) {
    let ([scale, min], [x_scale, total]) = (shared, factors);
    // SAFETY: by contract.
    unsafe {
        let mut acc = s.fma(s.mul(x_scale, scale), s.to_f32(sum), s.load(y));
        if W::MIN {
            acc = s.fma(min, total, acc);
        }
        s.store(y, acc);
    }
}
