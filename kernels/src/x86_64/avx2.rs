//! AVX2, FMA and F16C: 8 lanes, 16 registers.

use std::arch::x86_64::*;

use crate::{
    Isa, QUANT_GROUP,
    exp::MAGIC,
    formats::q4s::{OFFSET_BITS, OFFSET_UNIT, SCALE_BIAS, SCALE_BITS, SCALE_SHIFT},
    operations::{Table, entry_points, operations, table_of, types::*},
    vector::{Inputs, Simd},
};

/// Proof that the CPU has AVX2, FMA and F16C.
///
/// `VNNI`: and AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>(());

// Safe to call where the features are enabled, and nowhere else: hence the proof.
impl Avx2<false> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn here() -> Self {
        Avx2(())
    }
}

impl Avx2<true> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    pub(super) fn here() -> Self {
        Avx2(())
    }
}

/// This instruction set's operations, for a CPU that has it.
pub(crate) static TABLE: Table = OPERATIONS;
pub(super) const OPERATIONS: Table = operations! { table_of Isa::Avx2 };
operations! { entry_points Avx2<false>, "avx2,fma,f16c" }

/// For each set of lanes, their numbers, ascending, then zeros.
static COMPRESS: [[u32; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut bits = 0;
    while bits < 256 {
        let (mut lane, mut count) = (0, 0);
        while lane < 8 {
            if bits >> lane & 1 == 1 {
                table[bits][count] = lane as u32;
                count += 1;
            }
            lane += 1;
        }
        bits += 1;
    }
    table
};

// In every method `self` proves that the CPU has the features, and the pointers are the caller's
// promise: that is all that the intrinsics ask. None of them wants alignment.
impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type V = __m256;
    type M = __m256;
    type I16 = __m256i;
    type I32 = __m256i;
    type Screen = [[__m256i; 2]; 2];
    type Bytes = __m256i;
    /// Of 32 bits, or without VNNI two of 16 bits for each lane.
    type Sums4 = __m256i;
    type Sums8 = [__m256i; 2];

    const LANES: usize = 8;
    const ROWS: usize = 6;
    const MANY_REGISTERS: bool = false;
    const TOKENS: [usize; 2] = [2, if VNNI { 2 } else { 1 }];

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m256 {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_scale_and_min(self, p: *const u16) -> [__m256; 2] {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe {
            let both = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            let scale = _mm256_and_si256(both, _mm256_set1_epi32(i32::from(SCALE_BITS)));
            let scale = _mm256_slli_epi32::<{ SCALE_SHIFT.cast_signed() }>(scale);
            let scale = _mm256_add_epi32(scale, _mm256_set1_epi32(SCALE_BIAS.cast_signed()));
            let offset = _mm256_and_si256(both, _mm256_set1_epi32(i32::from(OFFSET_BITS)));
            let scale = _mm256_castsi256_ps(scale);
            let unit = _mm256_mul_ps(_mm256_set1_ps(OFFSET_UNIT), scale);
            [scale, _mm256_mul_ps(unit, _mm256_cvtepi32_ps(offset))]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m256 {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m256 {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: __m256) {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe {
            let half = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
            _mm_storeu_si128(p.cast(), half);
        }
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn neg(self, a: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_xor_ps(_mm256_set1_ps(-0.0), a) }
    }

    #[inline(always)]
    fn fold(self, a: __m256) -> f32 {
        // SAFETY: self is the proof.
        unsafe {
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        }
    }

    #[inline(always)]
    fn scale_by_power(self, p: __m256, z: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe {
            let n = _mm256_sub_epi32(_mm256_castps_si256(z), _mm256_set1_epi32(MAGIC.to_bits().cast_signed()));
            let half = _mm256_srai_epi32::<1>(n);
            let bias = _mm256_set1_epi32(127);
            let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
            let rest = _mm256_add_epi32(_mm256_sub_epi32(n, half), bias);
            let second = _mm256_slli_epi32::<23>(rest);
            let p = _mm256_mul_ps(p, _mm256_castsi256_ps(first));
            _mm256_mul_ps(p, _mm256_castsi256_ps(second))
        }
    }

    #[inline(always)]
    fn not_le(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_cmp_ps::<_CMP_NLE_UQ>(a, b) }
    }
    #[inline(always)]
    fn count(self, m: __m256) -> usize {
        // SAFETY: self is the proof.
        unsafe { _mm256_movemask_ps(m) }.count_ones() as usize
    }
    #[inline(always)]
    fn keep(self, m: __m256, v: __m256) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_and_ps(m, v) }
    }
    #[inline(always)]
    unsafe fn compress(self, m: __m256, base: u32, p: *mut u32) -> usize {
        // SAFETY: self is the proof, p the caller's promise. A movemask of 8 lanes is below 256.
        unsafe {
            let bits = _mm256_movemask_ps(m) as usize;
            let lanes = _mm256_loadu_si256(COMPRESS.get_unchecked(bits).as_ptr().cast());
            let indices = _mm256_add_epi32(lanes, _mm256_set1_epi32(base.cast_signed()));
            _mm256_storeu_si256(p.cast(), indices);
            bits.count_ones() as usize
        }
    }

    #[inline(always)]
    fn zero_i32(self) -> __m256i {
        // SAFETY: self is the proof.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load_i16(self, p: *const i16) -> __m256i {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn add_products_i8(self, sums: __m256i, x: __m256i, w: *const i8) -> __m256i {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(w.cast()));
            _mm256_add_epi32(sums, _mm256_madd_epi16(x, w))
        }
    }
    #[inline(always)]
    unsafe fn screen_block(self, w: *const u8, [first, second]: [i32; 2]) -> [[__m256i; 2]; 2] {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let (w, low) = (_mm256_loadu_si256(w.cast()), _mm256_set1_epi8(15));
            let q = [_mm256_and_si256(w, low), _mm256_and_si256(_mm256_srli_epi16::<4>(w), low)];
            [[q[0], _mm256_set1_epi32(first)], [q[1], _mm256_set1_epi32(second)]]
        }
    }
    #[inline(always)]
    unsafe fn add_screen_block(self, sums: __m256i, x: *const i8, w: [[__m256i; 2]; 2]) -> __m256i {
        // SAFETY: self is the proof, x the caller's promise.
        unsafe {
            let group = |sums, [q, step]: [__m256i; 2], x: *const i8| {
                // At most 15·128 twice: no sum of 16 bits saturates.
                let pairs = _mm256_maddubs_epi16(q, _mm256_loadu_si256(x.cast()));
                _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, step))
            };
            group(group(sums, w[0], x), w[1], x.add(32))
        }
    }
    #[inline(always)]
    fn sums_i32(self, a: [__m256i; 4]) -> [i32; 4] {
        // SAFETY: self is the proof; the array has room for the vector.
        unsafe {
            let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
            let four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            let mut sums = [0; 4];
            _mm_storeu_si128(sums.as_mut_ptr().cast(), four);
            sums
        }
    }
    #[inline(always)]
    fn sum_i32(self, a: __m256i) -> i32 {
        // SAFETY: self is the proof.
        unsafe {
            let a = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let a = _mm_add_epi32(a, _mm_unpackhi_epi64(a, a));
            _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32::<1>(a)))
        }
    }

    #[inline(always)]
    unsafe fn pairs_i8(self, x: __m256i, w: *const i8) -> __m256 {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(w.cast()));
            _mm256_cvtepi32_ps(_mm256_madd_epi16(x, w))
        }
    }

    #[inline(always)]
    unsafe fn quad(self, rows: [*const u8; 4], bytes: usize) -> [__m256i; 4] {
        // SAFETY: self is the proof, 16 or 32 bytes of each row the caller's promise.
        unsafe {
            let load = |p: *const u8| match bytes {
                16 => _mm256_castsi128_si256(_mm_loadu_si128(p.cast())),
                _ => _mm256_loadu_si256(p.cast()),
            };
            let [a, b, c, d] = [load(rows[0]), load(rows[1]), load(rows[2]), load(rows[3])];
            let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
            [
                _mm256_unpacklo_epi16(ab, cd),
                _mm256_unpackhi_epi16(ab, cd),
                _mm256_unpacklo_epi16(ab_high, cd_high),
                _mm256_unpackhi_epi16(ab_high, cd_high),
            ]
        }
    }
    #[inline(always)]
    fn quad_in_order(self, quad: [__m256i; 4]) -> [__m256i; 4] {
        let [a, b, c, d] = quad;
        // SAFETY: self is the proof.
        unsafe {
            [
                _mm256_permute2x128_si256::<0x20>(a, b),
                _mm256_permute2x128_si256::<0x20>(c, d),
                _mm256_permute2x128_si256::<0x31>(a, b),
                _mm256_permute2x128_si256::<0x31>(c, d),
            ]
        }
    }
    #[inline(always)]
    fn sums_in_order(self, sums: [__m256i; 4]) -> [__m256i; 4] {
        self.quad_in_order(sums)
    }
    #[inline(always)]
    fn nibbles(self, bytes: __m256i) -> [__m256i; 2] {
        // SAFETY: self is the proof.
        unsafe {
            let low = _mm256_set1_epi8(15);
            [_mm256_and_si256(bytes, low), _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low)]
        }
    }
    #[inline(always)]
    fn whole(self, bytes: __m256i) -> __m256i {
        // SAFETY: self is the proof.
        unsafe { _mm256_xor_si256(bytes, _mm256_set1_epi8(i8::MIN)) }
    }
    #[inline(always)]
    fn splat_quad(self, x: i32) -> __m256i {
        // SAFETY: self is the proof.
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    fn zero4(self) -> __m256i {
        self.zero_i32()
    }
    #[inline(always)]
    fn dot_u4(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: self is the proof, of VNNI too where it says so. Sums of 16 bits: at most 16 products of 15·127.
        unsafe {
            if VNNI { _mm256_dpbusd_avx_epi32(sums, w, x) } else { _mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x)) }
        }
    }
    #[inline(always)]
    fn sums4(self, sums: __m256i) -> __m256i {
        // SAFETY: self is the proof.
        if VNNI { sums } else { unsafe { _mm256_madd_epi16(sums, _mm256_set1_epi16(1)) } }
    }
    // With VNNI the low numbers are not cut out: bytes are low + 16·high, and high ones are known.
    #[inline(always)]
    fn dot_nibbles(self, sums: [__m256i; 2], w: __m256i, x: __m256i) -> [__m256i; 2] {
        let [low, high] = self.nibbles(w);
        [self.dot_u4(sums[0], if VNNI { w } else { low }, x), self.dot_u4(sums[1], high, x)]
    }
    #[inline(always)]
    fn sums_of_nibbles(self, sums: [__m256i; 2]) -> [__m256i; 2] {
        let [low, high] = [self.sums4(sums[0]), self.sums4(sums[1])];
        // SAFETY: self is the proof.
        [if VNNI { unsafe { _mm256_sub_epi32(low, _mm256_slli_epi32::<4>(high)) } } else { low }, high]
    }
    #[inline(always)]
    fn start8(self, total: i32) -> [__m256i; 2] {
        // With VNNI weights are multiplied with 128 more than they are.
        let start = if VNNI { self.splat_quad(-128 * total) } else { self.zero_i32() };
        [start, self.zero_i32()]
    }
    #[inline(always)]
    fn dot_i8(self, sums: [__m256i; 2], w: __m256i, x: __m256i) -> [__m256i; 2] {
        if VNNI {
            return [self.dot_u4(sums[0], w, x), sums[1]];
        }
        let [low, high] = self.nibbles(w);
        [self.dot_u4(sums[0], low, x), self.dot_u4(sums[1], high, x)]
    }
    #[inline(always)]
    fn sums8(self, sums: [__m256i; 2], total: i32) -> __m256i {
        if VNNI {
            return sums[0];
        }
        // SAFETY: self is the proof. Weights were multiplied with 128 more than they are.
        unsafe {
            let all = _mm256_add_epi32(self.sums4(sums[0]), _mm256_slli_epi32::<4>(self.sums4(sums[1])));
            _mm256_add_epi32(all, _mm256_set1_epi32(-128 * total))
        }
    }
    #[inline(always)]
    fn split(self, x: &[i16; QUANT_GROUP]) -> Inputs {
        // SAFETY: self is the proof.
        unsafe { super::limbs::split(x) }
    }
    #[inline(always)]
    fn limbs(self, high: __m256i, low: __m256i) -> __m256i {
        // SAFETY: self is the proof.
        unsafe { _mm256_add_epi32(_mm256_slli_epi32::<7>(high), low) }
    }
    #[inline(always)]
    fn to_f32(self, a: __m256i) -> __m256 {
        // SAFETY: self is the proof.
        unsafe { _mm256_cvtepi32_ps(a) }
    }

    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_l2(self, p: *const u8) {
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
}
