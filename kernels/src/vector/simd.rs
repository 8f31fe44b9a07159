//! What an algorithm may ask of an instruction set, but for whole numbers ([`Integers`](super::Integers)).

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
