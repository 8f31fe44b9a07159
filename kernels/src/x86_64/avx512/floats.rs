//! AVX-512's floating point.

use std::arch::x86_64::*;

use super::Avx512;
use crate::{
    exp::MAGIC,
    formats::q4s::{OFFSET_BITS, OFFSET_UNIT, SCALE_BIAS, SCALE_BITS, SCALE_SHIFT},
    vector::Simd,
};

// In every method `self` proves that the CPU has the features, and the pointers are the caller's
// promise: that is all that the intrinsics ask. None of them wants alignment.
impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type V = __m512;
    type M = __mmask16;

    const LANES: usize = 16;
    const ROWS: usize = 12;
    const MANY_REGISTERS: bool = true;

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
