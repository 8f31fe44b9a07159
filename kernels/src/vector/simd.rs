//! What an algorithm may ask of an instruction set.

/// A proof that the CPU has an instruction set, and its f32 vectors.
///
/// Arithmetic is IEEE binary32, rounded to nearest even, each method one operation: `fma` rounds
/// once, and nothing is contracted or reassociated. Those that take no pointer are safe, since the
/// token exists.
pub(crate) trait Simd: Copy {
    /// [`Simd::LANES`] values of f32.
    type V: Copy;
    /// A truth value for each lane.
    type M: Copy;
    /// `2·LANES` values of i16.
    type I16: Copy;
    /// [`Simd::LANES`] values of i32.
    type I32: Copy;
    /// Whole numbers of two rows, 32 columns of each, as i16.
    type RowPair: Copy;
    /// 32 sums of i32, in an order of the set's own.
    type Sums: Copy;

    /// Lanes of a vector: a power of two, at most 16.
    const LANES: usize;
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
    /// To the lanes of `sums`, wrapping, in any order: for two groups of 32 numbers of 4 bits `step·Σ q·x`. Byte `i` of 32
    /// holds number `i` (low) and `32 + i`; each group's step, an i8, comes twice, in the halves of an i32.
    ///
    /// # Safety
    /// `x` is valid for reading 64 elements, `w` for 32 bytes.
    unsafe fn add_screen_block(self, sums: Self::I32, x: *const i8, w: *const u8, steps: [i32; 2]) -> Self::I32;
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

    /// # Safety
    /// `a` and `b` are valid for reading 32 elements.
    unsafe fn row_pair_i8(self, a: *const i8, b: *const i8) -> Self::RowPair;
    /// Numbers of 4 bits: byte `i` of 16 holds columns `i` (low) and `i + 16` (high).
    ///
    /// # Safety
    /// `a` and `b` are valid for reading 16 bytes.
    unsafe fn row_pair_u4(self, a: *const u8, b: *const u8) -> Self::RowPair;
    /// [`row_pair_u4`](Simd::row_pair_u4) of two neighbouring blocks; its sums are taken with
    /// [`sums_of_pairs_u4_at`](Simd::sums_of_pairs_u4_at).
    ///
    /// # Safety
    /// `a` and `b` are valid for reading 32 bytes.
    #[inline(always)]
    unsafe fn row_pairs_u4(self, a: *const u8, b: *const u8) -> [Self::RowPair; 2] {
        // SAFETY: the same contract.
        unsafe { [self.row_pair_u4(a, b), self.row_pair_u4(a.add(16), b.add(16))] }
    }
    /// The sums of columns `v·LANES..(v + 1)·LANES` of two blocks, in order, as f32.
    #[inline(always)]
    fn sums_of_pairs_u4_at(self, sums: [Self::Sums; 2], v: usize) -> Self::V {
        self.sums_at(sums[v / (32 / Self::LANES)], v % (32 / Self::LANES))
    }
    /// Two values, the first in the low half, again and again.
    fn splat_pair(self, pair: i32) -> Self::I16;
    fn zero_sums(self) -> Self::Sums;
    /// Adds to each column's sum the first of the pair times the first row's number and the second times the second's.
    fn add_row_pair(self, sums: Self::Sums, row_pair: Self::RowPair, pair: Self::I16) -> Self::Sums;
    /// The sums of columns `v·LANES..(v + 1)·LANES`, in order, as f32.
    fn sums_at(self, sums: Self::Sums, v: usize) -> Self::V;

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
