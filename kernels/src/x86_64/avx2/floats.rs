//! AVX2's floating point.

use std::arch::x86_64::*;

use super::Avx2;
use crate::{
    exp::MAGIC,
    formats::q4s::{OFFSET_BITS, OFFSET_UNIT, SCALE_BIAS, SCALE_BITS, SCALE_SHIFT},
    vector::Simd,
};

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

    const LANES: usize = 8;
    const ROWS: usize = 6;
    const MANY_REGISTERS: bool = false;

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
