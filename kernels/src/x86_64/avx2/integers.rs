//! AVX2's whole numbers, with VNNI where the CPU has it.

use std::arch::x86_64::*;

use super::Avx2;
use crate::{QUANT_GROUP, packed::Inputs, vector::Integers};

// In every method `self` proves that the CPU has the features, and the pointers are the caller's
// promise: that is all that the intrinsics ask. None of them wants alignment.
impl<const VNNI: bool> Integers for Avx2<VNNI> {
    type I16 = __m256i;
    type I32 = __m256i;
    /// Each twice, in the halves of an i32.
    type Steps = [i32; 16];
    type Screen = [[__m256i; 2]; 2];
    type Bytes = __m256i;
    /// Of 32 bits, or without VNNI two of 16 bits for each lane.
    type Sums4 = __m256i;
    type Sums8 = [__m256i; 2];

    const TOKENS: [usize; 2] = [2, if VNNI { 2 } else { 1 }];

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
    unsafe fn screen_steps(self, steps: *const u8) -> [i32; 16] {
        let mut twice = [0; 16];
        for half in 0..2 {
            // SAFETY: self is the proof, the steps the caller's promise; eight elements fit in each half.
            unsafe {
                let steps = _mm256_cvtepi8_epi32(_mm_loadl_epi64(steps.add(8 * half).cast()));
                let both = _mm256_blend_epi16::<0xaa>(steps, _mm256_slli_epi32::<16>(steps));
                _mm256_storeu_si256(twice[8 * half..].as_mut_ptr().cast(), both);
            }
        }
        twice
    }
    #[inline(always)]
    unsafe fn screen_block(self, w: *const u8, steps: [i32; 16], b: usize) -> [[__m256i; 2]; 2] {
        let [first, second] = [steps[2 * b % 16], steps[(2 * b + 1) % 16]];
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
        // SAFETY: self is the proof.
        unsafe { sums_of_four(a) }
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
        unsafe { crate::x86_64::limbs::split(x) }
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
}

/// The sum of the lanes of each.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn sums_of_four(a: [__m256i; 4]) -> [i32; 4] {
    let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
    let four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
    let mut sums = [0; 4];
    // SAFETY: the array has room for the vector.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), four) };
    sums
}
