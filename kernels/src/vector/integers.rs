//! What an algorithm of whole numbers may ask of an instruction set.

use std::mem::MaybeUninit;

use super::Simd;
use crate::{QUANT_GROUP, packed::Inputs};

/// A group's quads of channels as many tokens meet them: of each so many registers of [`Integers::Bytes`], one of bytes
/// and two of numbers of 4 bits for each of [`Integers::quad`]'s, in order.
pub(crate) type Quads<S> = [[MaybeUninit<<S as Integers>::Bytes>; 8]; 8];

/// An instruction set's whole numbers: weights of 4 and 8 bits with inputs of 8, and the lm_head's rough rows. Sums are
/// exact, so any order gives the same.
pub(crate) trait Integers: Simd {
    /// Steps of eight blocks of rough numbers ([`Integers::screen_steps`]).
    type Steps: Copy;
    /// A block of rough numbers and their steps, taken apart ([`Integers::screen_block`]).
    type Screen: Copy;
    /// `2·LANES` values of i16.
    type I16: Copy;
    /// [`Simd::LANES`] values of i32.
    type I32: Copy;
    /// `4·LANES` bytes.
    type Bytes: Copy;
    /// Sums over a group's quads of channels, for each lane's place: of products of numbers of 4 bits, and of 8.
    type Sums4: Copy;
    type Sums8: Copy;

    /// Bytes of a row that are taken at a time.
    const STEP: usize = 4 * Self::LANES;
    /// Tokens, 1, 2 or 4, whose sums of four vectors of columns stay in registers: of numbers of 4 bits, and of 8.
    const TOKENS: [usize; 2];

    fn zero_i32(self) -> Self::I32;
    /// # Safety
    /// `p` is valid for reading `2·LANES` elements.
    unsafe fn load_i16(self, p: *const i16) -> Self::I16;
    /// To each lane of `sums`, wrapping, two products of `x` with `2·LANES` elements at `w`.
    ///
    /// # Safety
    /// `w` is valid for reading `2·LANES` elements.
    unsafe fn add_products_i8(self, sums: Self::I32, x: Self::I16, w: *const i8) -> Self::I32;
    /// Steps, of i8, of two groups of each of eight blocks.
    ///
    /// # Safety
    /// `steps` is valid for reading 16 bytes.
    unsafe fn screen_steps(self, steps: *const u8) -> Self::Steps;
    /// Block `b` of eight: two groups of 32 numbers of 4 bits, byte `i` of 32 holds number `i` (low) and `32 + i`.
    ///
    /// # Safety
    /// `w` is valid for reading 32 bytes.
    unsafe fn screen_block(self, w: *const u8, steps: Self::Steps, b: usize) -> Self::Screen;
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
    /// Each row is valid for reading so many bytes, at most [`Integers::STEP`].
    unsafe fn quad(self, rows: [*const u8; 4], bytes: usize) -> [Self::Bytes; 4];
    /// Registers of a quad so that places ascend.
    fn quad_in_order(self, quad: [Self::Bytes; 4]) -> [Self::Bytes; 4];
    /// The same for sums of a quad.
    fn sums_in_order(self, sums: [Self::I32; 4]) -> [Self::I32; 4];
    /// The low four bits of each byte, and the high ones.
    fn nibbles(self, bytes: Self::Bytes) -> [Self::Bytes; 2];
    /// Bytes that are i8, as [`dot_i8`](Integers::dot_i8) takes them.
    fn whole(self, bytes: Self::Bytes) -> Self::Bytes;
    /// Inputs of four channels, i8, again and again.
    fn splat_quad(self, x: i32) -> Self::Bytes;

    fn zero4(self) -> Self::Sums4;
    /// Adds to each lane the products of its four numbers of 0 to 15 with the four inputs, of -127 to 127. Of a group's
    /// eight quads at most.
    fn dot_u4(self, sums: Self::Sums4, w: Self::Bytes, x: Self::Bytes) -> Self::Sums4;
    fn sums4(self, sums: Self::Sums4) -> Self::I32;
    /// A quad of bytes that hold two numbers of 4 bits each: to `low` and to `high`, in an order of the set's own,
    /// which [`sums_of_nibbles`](Integers::sums_of_nibbles) takes back.
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
    /// As [`dot_u4`](Integers::dot_u4), for weights that are i8.
    fn dot_i8(self, sums: Self::Sums8, w: Self::Bytes, x: Self::Bytes) -> Self::Sums8;
    /// `total`: the sum of all inputs that were multiplied, as it was at the [start](Integers::start8).
    fn sums8(self, sums: Self::Sums8, total: i32) -> Self::I32;

    /// Two quads that are neighbours, as [`matrix_products`](Integers::matrix_products) takes them.
    #[inline(always)]
    fn paired(self, even: Self::Bytes, odd: Self::Bytes) -> [Self::Bytes; 2] {
        [even, odd]
    }
    /// Sums over a group of the products with `T` tokens' inputs, for the vectors `first..first + 4` of its
    /// [paired](Integers::paired) quads. `None` from a set that has no instruction for several tokens at once.
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
}
