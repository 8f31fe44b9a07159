//! What an algorithm may ask of an instruction set.

use std::mem::MaybeUninit;

use super::Inputs;
use crate::QUANT_GROUP;

/// A group's quads of channels as many tokens meet them: of each so many registers of [`Simd::Bytes`], one of bytes and
/// two of numbers of 4 bits for each of [`Simd::quad`]'s, in order.
pub(crate) type Quads<S> = [[MaybeUninit<<S as Simd>::Bytes>; 8]; 8];

/// A proof that the CPU has an instruction set, and its f32 vectors.
///
/// Arithmetic is IEEE binary32, rounded to nearest even, each method one operation: `fma` rounds
/// once, and nothing is contracted or reassociated. Those that take no pointer are safe, since the
/// token exists.
pub(crate) trait Simd: Copy {
    /// [`Simd::LANES`] values of f32.
    type V: Copy;
    /// A block of rough numbers and their steps, taken apart ([`Simd::screen_block`]).
    type Screen: Copy;
    /// A truth value for each lane.
    type M: Copy;
    /// `2·LANES` values of i16.
    type I16: Copy;
    /// [`Simd::LANES`] values of i32.
    type I32: Copy;
    /// `4·LANES` bytes.
    type Bytes: Copy;
    /// Sums over a group's quads of channels, for each lane's place: of products of numbers of 4 bits, and of 8.
    type Sums4: Copy;
    type Sums8: Copy;

    /// Lanes of a vector: a power of two, at most 16.
    const LANES: usize;
    /// Bytes of a row that are taken at a time.
    const STEP: usize = 4 * Self::LANES;
    /// Tokens, 1, 2 or 4, whose sums of four vectors of columns stay in registers: of numbers of 4 bits, and of 8.
    const TOKENS: [usize; 2];
    /// Rows of the matrix product's register tile, `ROWS × 2` vectors: at most 12.
    const ROWS: usize;
    /// Whether there are 32 vector registers rather than 16.
    const MANY_REGISTERS: bool;

    fn splat(self, value: f32) -> Self::V;

    /// # Safety
    /// `p` is valid for reading [`Simd::LANES`] elements, at any alignment of f32; so below.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` is valid for reading [`Simd::LANES`] elements.
    unsafe fn load_f16(self, p: *const u16) -> Self::V;
    /// As [`scale_and_min`](crate::scale_and_min).
    ///
    /// # Safety
    /// `p` is valid for reading [`Simd::LANES`] elements.
    unsafe fn load_scale_and_min(self, p: *const u16) -> [Self::V; 2];
    /// # Safety
    /// `p` is valid for reading [`Simd::LANES`] elements.
    unsafe fn load_bf16(self, p: *const u16) -> Self::V;
    /// # Safety
    /// `p` is valid for reading [`Simd::LANES`] elements.
    unsafe fn load_i8(self, p: *const i8) -> Self::V;
    /// # Safety
    /// `p` is valid for writing [`Simd::LANES`] elements.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// To nearest even.
    ///
    /// # Safety
    /// `p` is valid for writing [`Simd::LANES`] elements.
    unsafe fn store_f16(self, p: *mut u16, v: Self::V);

    /// `a·b + c`
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a > b { a } else { b }`: the second where one is a NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { a } else { b }`: the second where one is a NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    fn neg(self, a: Self::V) -> Self::V;

    /// The sum of the lanes, folded in halves: lane `l` plus lane `l + half`.
    fn fold(self, a: Self::V) -> f32;

    /// `p·2^⌊n/2⌋·2^(n-⌊n/2⌋)`, from left to right, where `n` is the integer that `z` holds in its
    /// low bits: `z` is [`exp::MAGIC`](crate::exp::MAGIC)` + n`.
    fn scale_by_power(self, p: Self::V, z: Self::V) -> Self::V;

    /// Not `a <= b`: so true where one is a NaN.
    fn not_le(self, a: Self::V, b: Self::V) -> Self::M;
    /// How many lanes are true.
    fn count(self, m: Self::M) -> usize;
    /// `v` where true, else `+0`.
    fn keep(self, m: Self::M, v: Self::V) -> Self::V;
    /// Writes `base + l` for each true lane `l`, ascending, and returns how many are true.
    ///
    /// # Safety
    /// `p` is valid for writing [`Simd::LANES`] elements: those beyond the count may be written too.
    unsafe fn compress(self, m: Self::M, base: u32, p: *mut u32) -> usize;

    fn zero_i32(self) -> Self::I32;
    /// # Safety
    /// `p` is valid for reading `2·LANES` elements.
    unsafe fn load_i16(self, p: *const i16) -> Self::I16;
    /// To each lane of `sums`, wrapping, two products of `x` with `2·LANES` elements at `w`.
    ///
    /// # Safety
    /// `w` is valid for reading `2·LANES` elements.
    unsafe fn add_products_i8(self, sums: Self::I32, x: Self::I16, w: *const i8) -> Self::I32;
    /// Two groups of 32 numbers of 4 bits: byte `i` of 32 holds number `i` (low) and `32 + i`. Each group's step, an
    /// i8, comes twice, in the halves of an i32.
    ///
    /// # Safety
    /// `w` is valid for reading 32 bytes.
    unsafe fn screen_block(self, w: *const u8, steps: [i32; 2]) -> Self::Screen;
    /// To the lanes of `sums`, wrapping, in any order: of each group `step·Σ q·x`.
    ///
    /// # Safety
    /// `x` is valid for reading 64 elements.
    unsafe fn add_screen_block(self, sums: Self::I32, x: *const i8, w: Self::Screen) -> Self::I32;
    /// The sums of the lanes of each, wrapping.
    #[inline(always)]
    fn sums_i32(self, a: [Self::I32; 4]) -> [i32; 4] {
        [self.sum_i32(a[0]), self.sum_i32(a[1]), self.sum_i32(a[2]), self.sum_i32(a[3])]
    }
    /// The sum of the lanes, wrapping.
    fn sum_i32(self, a: Self::I32) -> i32;

    /// As f32, lane `l`: the products of elements `2l` and `2l + 1` of `x` with those at `w`, added.
    ///
    /// # Safety
    /// `w` is valid for reading `2·LANES` elements.
    unsafe fn pairs_i8(self, x: Self::I16, w: *const i8) -> Self::V;

    /// Four rows' bytes, so that each four neighbours are one place of all four: those of places `4j..4j + 4` of the
    /// first 16, of the second 16, … in register `j`. Products of them stand in that order too. Beyond the first
    /// `bytes`, a multiple of 16, what stands there means nothing.
    ///
    /// # Safety
    /// Each row is valid for reading so many bytes, at most [`Simd::STEP`].
    unsafe fn quad(self, rows: [*const u8; 4], bytes: usize) -> [Self::Bytes; 4];
    /// Registers of a quad so that places ascend.
    fn quad_in_order(self, quad: [Self::Bytes; 4]) -> [Self::Bytes; 4];
    /// The same for sums of a quad.
    fn sums_in_order(self, sums: [Self::I32; 4]) -> [Self::I32; 4];
    /// The low four bits of each byte, and the high ones.
    fn nibbles(self, bytes: Self::Bytes) -> [Self::Bytes; 2];
    /// Bytes that are i8, as [`dot_i8`](Simd::dot_i8) takes them.
    fn whole(self, bytes: Self::Bytes) -> Self::Bytes;
    /// Inputs of four channels, i8, again and again.
    fn splat_quad(self, x: i32) -> Self::Bytes;

    fn zero4(self) -> Self::Sums4;
    /// Adds to each lane the products of its four numbers of 0 to 15 with the four inputs, of -127 to 127. Of a group's
    /// eight quads at most.
    fn dot_u4(self, sums: Self::Sums4, w: Self::Bytes, x: Self::Bytes) -> Self::Sums4;
    fn sums4(self, sums: Self::Sums4) -> Self::I32;
    /// A quad of bytes that hold two numbers of 4 bits each: to `low` and to `high`, in an order of the set's own,
    /// which [`sums_of_nibbles`](Simd::sums_of_nibbles) takes back.
    #[inline(always)]
    fn dot_nibbles(self, sums: [Self::Sums4; 2], w: Self::Bytes, x: Self::Bytes) -> [Self::Sums4; 2] {
        let [low, high] = self.nibbles(w);
        [self.dot_u4(sums[0], low, x), self.dot_u4(sums[1], high, x)]
    }
    /// Sums of low numbers and of high ones.
    #[inline(always)]
    fn sums_of_nibbles(self, sums: [Self::Sums4; 2]) -> [Self::I32; 2] {
        [self.sums4(sums[0]), self.sums4(sums[1])]
    }

    /// Where products with inputs of that sum start.
    fn start8(self, total: i32) -> Self::Sums8;
    /// As [`dot_u4`](Simd::dot_u4), for weights that are i8.
    fn dot_i8(self, sums: Self::Sums8, w: Self::Bytes, x: Self::Bytes) -> Self::Sums8;
    /// `total`: the sum of all inputs that were multiplied, as it was at the [start](Simd::start8).
    fn sums8(self, sums: Self::Sums8, total: i32) -> Self::I32;

    /// Two quads that are neighbours, as [`matrix_products`](Simd::matrix_products) takes them.
    #[inline(always)]
    fn paired(self, even: Self::Bytes, odd: Self::Bytes) -> [Self::Bytes; 2] {
        [even, odd]
    }
    /// Sums over a group of the products with `T` tokens' inputs, for the vectors `first..first + 4` of its
    /// [paired](Simd::paired) quads. `None` from a set that has no instruction for several tokens at once.
    ///
    /// # Safety
    /// Those registers of each quad are filled.
    #[inline(always)]
    unsafe fn matrix_products<const T: usize>(
        self,
        _quads: &Quads<Self>,
        _first: usize,
        _x: [&[i32; 8]; T],
    ) -> Option<[[Self::I32; 4]; T]> {
        None
    }

    /// `128·high + low`
    fn limbs(self, high: Self::I32, low: Self::I32) -> Self::I32;
    /// A group's inputs in limbs.
    #[inline(always)]
    fn split(self, x: &[i16; QUANT_GROUP]) -> Inputs {
        Inputs::new(x)
    }
    fn to_f32(self, a: Self::I32) -> Self::V;

    /// A hint that the line at `p` will be read soon. `p` may be anything.
    fn prefetch(self, p: *const u8);
    /// The same for later: into the second cache, without taking one of the few places where the first waits for lines.
    fn prefetch_l2(self, p: *const u8);

    /// The first `n <= LANES` elements at `p`, and `fill` beyond.
    ///
    /// # Safety
    /// `p` is valid for reading `n` elements.
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize, fill: f32) -> Self::V {
        debug_assert!(n <= Self::LANES && Self::LANES <= 16);
        let mut lanes = [fill; 16];
        // SAFETY: `n` elements are readable by contract and writable in the array, which holds
        // LANES for the load.
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            self.load(lanes.as_ptr())
        }
    }

    /// Stores the first `n <= LANES` lanes.
    ///
    /// # Safety
    /// `p` is valid for writing `n` elements.
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize, v: Self::V) {
        debug_assert!(n <= Self::LANES && Self::LANES <= 16);
        let mut lanes = [0.0; 16];
        // SAFETY: the array holds LANES elements, of which `n` go to `p`, writable by contract.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
}
