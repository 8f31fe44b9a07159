//! AVX-512 F, BW, DQ and VL: 16 lanes, 32 registers, masks.

use std::arch::x86_64::*;

use crate::{
    Isa, QUANT_GROUP,
    exp::MAGIC,
    formats::q4s::{OFFSET_BITS, OFFSET_UNIT, SCALE_BIAS, SCALE_BITS, SCALE_SHIFT},
    operations::{Table, entry_points, operations, table_of, types::*},
    vector::{Inputs, Simd},
};

/// Proof that the CPU has AVX-512 F, BW, DQ and VL, and what `Avx2` proves.
///
/// `VNNI`: and AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const VNNI: bool>(());

// Safe to call where the features are enabled, and nowhere else: hence the proof.
impl Avx512<false> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    fn here() -> Self {
        Avx512(())
    }
}

impl Avx512<true> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni")]
    pub(super) fn here() -> Self {
        Avx512(())
    }
}

/// This instruction set's operations, for a CPU that has it.
pub(crate) static TABLE: Table = OPERATIONS;
pub(super) const OPERATIONS: Table = operations! { table_of Isa::Avx512 };
operations! { entry_points Avx512<false>, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c" }

// In every method `self` proves that the CPU has the features, and the pointers are the caller's
// promise: that is all that the intrinsics ask. None of them wants alignment.
impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type V = __m512;
    type M = __mmask16;
    type I16 = __m512i;
    type I32 = __m512i;
    type Screen = [__m512i; 2];
    type Bytes = __m512i;
    /// Of 32 bits, or without VNNI two of 16 bits for each lane.
    type Sums4 = __m512i;
    type Sums8 = [__m512i; 2];

    const LANES: usize = 16;
    const ROWS: usize = 12;
    const MANY_REGISTERS: bool = true;
    const TOKENS: [usize; 2] = [4, if VNNI { 4 } else { 2 }];

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m512 {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_scale_and_min(self, p: *const u16) -> [__m512; 2] {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe {
            let both = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            let scale = _mm512_and_si512(both, _mm512_set1_epi32(i32::from(SCALE_BITS)));
            let scale = _mm512_slli_epi32::<SCALE_SHIFT>(scale);
            let scale = _mm512_add_epi32(scale, _mm512_set1_epi32(SCALE_BIAS.cast_signed()));
            let offset = _mm512_and_si512(both, _mm512_set1_epi32(i32::from(OFFSET_BITS)));
            let scale = _mm512_castsi512_ps(scale);
            let unit = _mm512_mul_ps(_mm512_set1_ps(OFFSET_UNIT), scale);
            [scale, _mm512_mul_ps(unit, _mm512_cvtepi32_ps(offset))]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m512 {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m512 {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: __m512) {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe {
            let half = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
            _mm256_storeu_si256(p.cast(), half);
        }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_andnot_ps(_mm512_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn neg(self, a: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_xor_ps(_mm512_set1_ps(-0.0), a) }
    }

    #[inline(always)]
    fn fold(self, a: __m512) -> f32 {
        // SAFETY: self is the proof.
        unsafe {
            let a = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        }
    }

    #[inline(always)]
    fn scale_by_power(self, p: __m512, z: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe {
            let n = _mm512_sub_epi32(_mm512_castps_si512(z), _mm512_set1_epi32(MAGIC.to_bits().cast_signed()));
            let half = _mm512_srai_epi32::<1>(n);
            let bias = _mm512_set1_epi32(127);
            let first = _mm512_slli_epi32::<23>(_mm512_add_epi32(half, bias));
            let rest = _mm512_add_epi32(_mm512_sub_epi32(n, half), bias);
            let second = _mm512_slli_epi32::<23>(rest);
            let p = _mm512_mul_ps(p, _mm512_castsi512_ps(first));
            _mm512_mul_ps(p, _mm512_castsi512_ps(second))
        }
    }

    #[inline(always)]
    fn not_le(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: self is the proof.
        unsafe { _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(a, b) }
    }
    #[inline(always)]
    fn count(self, m: __mmask16) -> usize {
        m.count_ones() as usize
    }
    #[inline(always)]
    fn keep(self, m: __mmask16, v: __m512) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_maskz_mov_ps(m, v) }
    }
    #[inline(always)]
    unsafe fn compress(self, m: __mmask16, base: u32, p: *mut u32) -> usize {
        // Compressed in a register and stored whole: the form that stores to memory is microcoded,
        // hence very slow, on Zen 4.
        // SAFETY: self is the proof, p the caller's promise.
        unsafe {
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let indices = _mm512_add_epi32(lanes, _mm512_set1_epi32(base.cast_signed()));
            _mm512_storeu_si512(p.cast(), _mm512_maskz_compress_epi32(m, indices));
        }
        m.count_ones() as usize
    }

    #[inline(always)]
    fn zero_i32(self) -> __m512i {
        // SAFETY: self is the proof.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load_i16(self, p: *const i16) -> __m512i {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn add_products_i8(self, sums: __m512i, x: __m512i, w: *const i8) -> __m512i {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let w = _mm512_cvtepi8_epi16(_mm256_loadu_si256(w.cast()));
            _mm512_add_epi32(sums, _mm512_madd_epi16(x, w))
        }
    }
    #[inline(always)]
    unsafe fn screen_block(self, w: *const u8, steps: [i32; 2]) -> [__m512i; 2] {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            // The low bits in the lower half, the high ones in the upper.
            let w = _mm512_broadcast_i64x4(_mm256_loadu_si256(w.cast()));
            let shift = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(4));
            let q = _mm512_and_si512(_mm512_srlv_epi16(w, shift), _mm512_set1_epi8(15));
            let both = _mm512_set1_epi64(i64::from(steps[0].cast_unsigned()) | i64::from(steps[1]) << 32);
            let halves = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi32(1));
            [q, _mm512_permutexvar_epi32(halves, both)]
        }
    }
    #[inline(always)]
    unsafe fn add_screen_block(self, sums: __m512i, x: *const i8, [q, step]: [__m512i; 2]) -> __m512i {
        // SAFETY: self is the proof, x the caller's promise.
        unsafe {
            // At most 15·128 twice: no sum of 16 bits saturates.
            let pairs = _mm512_maddubs_epi16(q, _mm512_loadu_si512(x.cast()));
            _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, step))
        }
    }
    #[inline(always)]
    fn sum_i32(self, a: __m512i) -> i32 {
        // SAFETY: self is the proof.
        unsafe { _mm512_reduce_add_epi32(a) }
    }

    #[inline(always)]
    unsafe fn pairs_i8(self, x: __m512i, w: *const i8) -> __m512 {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let w = _mm512_cvtepi8_epi16(_mm256_loadu_si256(w.cast()));
            _mm512_cvtepi32_ps(_mm512_madd_epi16(x, w))
        }
    }

    #[inline(always)]
    unsafe fn quad(self, rows: [*const u8; 4], bytes: usize) -> [__m512i; 4] {
        // SAFETY: self is the proof, `bytes` of each row the caller's promise; no others are touched.
        unsafe {
            let mask = u64::MAX >> ((64 - bytes) & 63);
            let load = |p: *const u8| _mm512_maskz_loadu_epi8(mask, p.cast());
            interleaved([load(rows[0]), load(rows[1]), load(rows[2]), load(rows[3])])
        }
    }
    #[inline(always)]
    fn quad_in_order(self, quad: [__m512i; 4]) -> [__m512i; 4] {
        // SAFETY: self is the proof.
        unsafe { quarters_transposed(quad) }
    }
    #[inline(always)]
    fn sums_in_order(self, sums: [__m512i; 4]) -> [__m512i; 4] {
        // SAFETY: self is the proof.
        unsafe { quarters_transposed(sums) }
    }
    #[inline(always)]
    fn nibbles(self, bytes: __m512i) -> [__m512i; 2] {
        // SAFETY: self is the proof.
        unsafe {
            let low = _mm512_set1_epi8(15);
            [_mm512_and_si512(bytes, low), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low)]
        }
    }
    #[inline(always)]
    fn whole(self, bytes: __m512i) -> __m512i {
        // SAFETY: self is the proof.
        unsafe { _mm512_xor_si512(bytes, _mm512_set1_epi8(i8::MIN)) }
    }
    #[inline(always)]
    fn splat_quad(self, x: i32) -> __m512i {
        // SAFETY: self is the proof.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn zero4(self) -> __m512i {
        self.zero_i32()
    }
    #[inline(always)]
    fn dot_u4(self, sums: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: self is the proof, of VNNI too where it says so. Sums of 16 bits: at most 16 products of 15·127.
        unsafe {
            if VNNI { _mm512_dpbusd_epi32(sums, w, x) } else { _mm512_add_epi16(sums, _mm512_maddubs_epi16(w, x)) }
        }
    }
    #[inline(always)]
    fn sums4(self, sums: __m512i) -> __m512i {
        // SAFETY: self is the proof.
        if VNNI { sums } else { unsafe { _mm512_madd_epi16(sums, _mm512_set1_epi16(1)) } }
    }
    // With VNNI the low numbers are not cut out: bytes are low + 16·high, and high ones are known.
    #[inline(always)]
    fn dot_nibbles(self, sums: [__m512i; 2], w: __m512i, x: __m512i) -> [__m512i; 2] {
        let [low, high] = self.nibbles(w);
        [self.dot_u4(sums[0], if VNNI { w } else { low }, x), self.dot_u4(sums[1], high, x)]
    }
    #[inline(always)]
    fn sums_of_nibbles(self, sums: [__m512i; 2]) -> [__m512i; 2] {
        let [low, high] = [self.sums4(sums[0]), self.sums4(sums[1])];
        // SAFETY: self is the proof.
        [if VNNI { unsafe { _mm512_sub_epi32(low, _mm512_slli_epi32::<4>(high)) } } else { low }, high]
    }
    #[inline(always)]
    fn start8(self, total: i32) -> [__m512i; 2] {
        // With VNNI weights are multiplied with 128 more than they are.
        let start = if VNNI { self.splat_quad(-128 * total) } else { self.zero_i32() };
        [start, self.zero_i32()]
    }
    #[inline(always)]
    fn dot_i8(self, sums: [__m512i; 2], w: __m512i, x: __m512i) -> [__m512i; 2] {
        if VNNI {
            return [self.dot_u4(sums[0], w, x), sums[1]];
        }
        let [low, high] = self.nibbles(w);
        [self.dot_u4(sums[0], low, x), self.dot_u4(sums[1], high, x)]
    }
    #[inline(always)]
    fn sums8(self, sums: [__m512i; 2], total: i32) -> __m512i {
        if VNNI {
            return sums[0];
        }
        // SAFETY: self is the proof. Weights were multiplied with 128 more than they are.
        unsafe {
            let all = _mm512_add_epi32(self.sums4(sums[0]), _mm512_slli_epi32::<4>(self.sums4(sums[1])));
            _mm512_add_epi32(all, _mm512_set1_epi32(-128 * total))
        }
    }
    #[inline(always)]
    fn split(self, x: &[i16; QUANT_GROUP]) -> Inputs {
        // SAFETY: self is the proof.
        unsafe { super::limbs::split(x) }
    }
    #[inline(always)]
    fn limbs(self, high: __m512i, low: __m512i) -> __m512i {
        // SAFETY: self is the proof.
        unsafe { _mm512_add_epi32(_mm512_slli_epi32::<7>(high), low) }
    }
    #[inline(always)]
    fn to_f32(self, a: __m512i) -> __m512 {
        // SAFETY: self is the proof.
        unsafe { _mm512_cvtepi32_ps(a) }
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

/// Bytes of four rows so that each four neighbours are of one column, 16 of each row in turn.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab, cd),
        _mm512_unpackhi_epi16(ab, cd),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}

/// Quarter `j` of register `i` to quarter `i` of register `j`.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters_transposed([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (first, third) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d));
    let (second, fourth) = (_mm512_shuffle_i32x4::<0xee>(a, b), _mm512_shuffle_i32x4::<0xee>(c, d));
    [
        _mm512_shuffle_i32x4::<0x88>(first, third),
        _mm512_shuffle_i32x4::<0xdd>(first, third),
        _mm512_shuffle_i32x4::<0x88>(second, fourth),
        _mm512_shuffle_i32x4::<0xdd>(second, fourth),
    ]
}
