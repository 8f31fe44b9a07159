//! A group's inputs taken apart into limbs of 8 bits. Every set here has AVX2, and 32 numbers are two of its registers.

use crate::{NARROW, QUANT_GROUP, packed::Inputs};
use std::arch::x86_64::*;

/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn split(x: &[i16; QUANT_GROUP]) -> Inputs {
    let mut inputs = Inputs::NONE;
    // SAFETY: loads and stores are of whole arrays of 32 i16 and of 32 bytes; the rest is arithmetic that AVX2 has.
    unsafe {
        let halves = [_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(16).cast())];
        let largest = _mm256_max_epu16(_mm256_abs_epi16(halves[0]), _mm256_abs_epi16(halves[1]));
        // NARROW is all ones below some bit.
        inputs.wide = _mm256_testz_si256(largest, _mm256_set1_epi16(!NARROW)) == 0;
        let some = _mm256_set1_epi16(-i16::from(inputs.wide));
        let (mut low, mut high) = (halves, halves);
        for h in 0..2 {
            let rounded = _mm256_add_epi16(halves[h], _mm256_set1_epi16(64));
            high[h] = _mm256_and_si256(_mm256_srai_epi16::<7>(rounded), some);
            low[h] = _mm256_sub_epi16(halves[h], _mm256_slli_epi16::<7>(high[h]));
        }
        let mut sums = [_mm256_setzero_si256(); 2];
        for (n, limb) in [low, high].into_iter().enumerate() {
            // Packing goes by halves of a register: their quarters are put in order again.
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(limb[0], limb[1]));
            _mm256_storeu_si256(inputs.limb[n].as_mut_ptr().cast(), bytes);
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
            sums[n] = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        }
        let both = _mm256_hadd_epi32(sums[0], sums[1]);
        let both = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both));
        let both = _mm_hadd_epi32(both, both);
        inputs.total = [_mm_cvtsi128_si32(both), _mm_extract_epi32::<1>(both)];
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limbs_are_those_of_the_portable_code() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        let mut state = 1u64;
        for case in 0..2000 {
            let mut x = [0i16; QUANT_GROUP];
            let limit = [0, 1, 127, 128, 16256][case % 5];
            for x in &mut x {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *x = ((state >> 33) as i32 % (2 * limit + 1) - limit) as i16;
            }
            x[case % QUANT_GROUP] = if case % 2 == 0 { limit as i16 } else { -limit as i16 };
            // SAFETY: it has AVX2.
            let (found, wanted) = (unsafe { split(&x) }, Inputs::new(&x));
            assert_eq!((found.limb, found.total, found.wide), (wanted.limb, wanted.total, wanted.wide), "{x:?}");
            let sum: i32 = x.iter().map(|&x| i32::from(x)).sum();
            assert_eq!(found.sum(), sum);
        }
    }
}
