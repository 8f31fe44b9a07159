//! AVX-512's whole numbers, with VNNI where the CPU has it.

use std::arch::x86_64::*;

use super::Avx512;
use crate::{QUANT_GROUP, packed::Inputs, vector::Integers, x86_64::avx2::sums_of_four};

// In every method `self` proves that the CPU has the features, and the pointers are the caller's
// promise: that is all that the intrinsics ask. None of them wants alignment.
impl<const VNNI: bool> Integers for Avx512<VNNI> {
    type I16 = __m512i;
    type I32 = __m512i;
    /// Of 16 bits.
    type Steps = __m256i;
    type Screen = [__m512i; 2];
    type Bytes = __m512i;
    /// Of 32 bits, or without VNNI two of 16 bits for each lane.
    type Sums4 = __m512i;
    type Sums8 = [__m512i; 2];

    const TOKENS: [usize; 2] = [4, if VNNI { 4 } else { 2 }];

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
    unsafe fn screen_steps(self, steps: *const u8) -> __m256i {
        // SAFETY: self is the proof, the steps the caller's promise.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(steps.cast())) }
    }
    #[inline(always)]
    unsafe fn screen_block(self, w: *const u8, steps: __m256i, b: usize) -> [__m512i; 2] {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            // The low bits in the lower half, the high ones in the upper.
            let w = _mm512_broadcast_i64x4(_mm256_loadu_si256(w.cast()));
            let shift = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(4));
            let q = _mm512_and_si512(_mm512_srlv_epi16(w, shift), _mm512_set1_epi8(15));
            let halves = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(1));
            let own = _mm512_add_epi16(halves, _mm512_set1_epi16(2 * b as i16));
            [q, _mm512_permutexvar_epi16(own, _mm512_castsi256_si512(steps))]
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
    fn sums_i32(self, [a, b, c, d]: [__m512i; 4]) -> [i32; 4] {
        // SAFETY: self is the proof, of AVX2 too.
        unsafe { sums_of_four([halves_added(a), halves_added(b), halves_added(c), halves_added(d)]) }
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
        unsafe { crate::x86_64::limbs::split(x) }
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
}

#[inline]
#[target_feature(enable = "avx512f")]
fn halves_added(a: __m512i) -> __m256i {
    _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64::<1>(a))
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
