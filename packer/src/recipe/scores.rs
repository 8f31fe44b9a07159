//! Scores in 16 bits: their logarithms in steps of a thousandth of an octave, counted from the largest score of their
//! linear down, and packed in as many bits as that linear's range takes (12 or 13 of trained models).
//!
//! Code 0 is the score 0; code `n` is `top · 2^(−(n − 1) / 1024)`, within 0.034% of the score it stands for. f16 would
//! be within 0.05% and take 16 bits; the range here, 64 octaves, is wider, and a smaller score has the last code.

use rasp::{Error, Result, Status};

/// Codes of an octave.
const STEPS: f64 = 1024.0;
/// Bits of a code at most.
const MOST_BITS: u32 = 16;
const LAST: u16 = u16::MAX;

/// The scores of one linear.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Packed {
    /// The largest of them.
    pub(super) top: f32,
    /// Bits of a code.
    pub(super) bits: u32,
    /// Codes in order, low bits first, without gaps.
    pub(super) bytes: Vec<u8>,
}

impl Packed {
    /// The bytes of so many codes.
    pub(super) fn len(count: usize, bits: u32) -> usize {
        (count * bits as usize).div_ceil(8)
    }

    /// Packs scores: finite numbers from 0 up.
    pub(super) fn of(scores: &[f32]) -> Packed {
        let top = scores.iter().copied().fold(0.0, f32::max);
        let codes: Vec<u16> = scores.iter().map(|&score| code(score, top)).collect();
        let most = codes.iter().copied().max().unwrap_or(0);
        let bits = (u16::BITS - most.leading_zeros()).max(1);
        let mut bytes = vec![0; Self::len(codes.len(), bits)];
        for (n, code) in codes.into_iter().enumerate() {
            let at = n * bits as usize;
            for (place, byte) in (u32::from(code) << (at % 8)).to_le_bytes().into_iter().enumerate() {
                if byte != 0 {
                    bytes[at / 8 + place] |= byte;
                }
            }
        }
        Packed { top, bits, bytes }
    }

    /// `count` scores, if these are their bytes.
    pub(super) fn scores(top: f32, bits: u32, bytes: &[u8], count: usize) -> Result<Vec<f32>> {
        let bad = |message: String| Err(Error::new(Status::BadFile, message));
        if !(1..=MOST_BITS).contains(&bits) {
            return bad(format!("codes of {bits} bits, expected 1 to {MOST_BITS}"));
        }
        if !(top.is_finite() && top >= 0.0) {
            return bad(format!("the largest score is {top}, expected a finite number from 0 up"));
        }
        // Of as many as some bytes can be there is no overflow.
        if count.checked_mul(bits as usize).is_none() || bytes.len() != Self::len(count, bits) {
            return bad(format!("{} bytes of scores, expected {count} scores of {bits} bits", bytes.len()));
        }
        let score = |n: usize| {
            let at = n * bits as usize;
            let window: [u8; 4] = std::array::from_fn(|place| bytes.get(at / 8 + place).copied().unwrap_or(0));
            value((u32::from_le_bytes(window) >> (at % 8) & ((1 << bits) - 1)) as u16, top)
        };
        Ok((0..count).map(score).collect())
    }
}

fn code(score: f32, top: f32) -> u16 {
    if score <= 0.0 {
        return 0;
    }
    let steps = (f64::from(top) / f64::from(score)).log2() * STEPS;
    1 + steps.round().clamp(0.0, f64::from(LAST - 1)) as u16
}

fn value(code: u16, top: f32) -> f32 {
    match code {
        0 => 0.0,
        code => (f64::from(top) * (-f64::from(code - 1) / STEPS).exp2()) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(scores: &[f32]) -> (Packed, Vec<f32>) {
        let packed = Packed::of(scores);
        let back = Packed::scores(packed.top, packed.bits, &packed.bytes, scores.len()).unwrap();
        (packed, back)
    }

    #[test]
    fn scores_come_back_within_a_third_of_a_thousandth() {
        let mut state = 7u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        for octaves in [0.0, 0.001, 1.0, 7.0, 30.0, 60.0] {
            let scores: Vec<f32> = (0..999).map(|_| 3.7 * (-octaves * random()).exp2()).collect();
            let (packed, back) = through(&scores);
            for (score, back) in scores.iter().zip(&back) {
                assert!((back / score - 1.0).abs() < 3.5e-4, "{score} became {back}, over {octaves} octaves");
            }
            // What came back is packed as it is: a recipe of a recipe's file is the same.
            assert_eq!(Packed::of(&back), packed);
            let expected = if octaves == 0.0 { 1 } else { (octaves * 1024.0 + 1.0).log2() as u32 + 1 };
            assert!(packed.bits <= expected, "{} bits for {octaves} octaves", packed.bits);
        }
    }

    #[test]
    fn zero_stays_zero_and_the_largest_is_exact() {
        let (_, back) = through(&[0.0, 1.5e-38, 0.3, 0.0, f32::MAX]);
        assert_eq!((back[0], back[3], back[4]), (0.0, 0.0, f32::MAX));
        // Beyond the range: the last code, and not zero.
        assert!(back[1] > 0.0 && back[2] > 0.0);
        assert_eq!(through(&[0.0, 0.0]).1, [0.0, 0.0]);
        assert!(through(&[]).1.is_empty());
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        let packed = Packed::of(&[1.0, 0.5, 0.25]);
        let scores = |top, bits, bytes: &[u8], count| Packed::scores(top, bits, bytes, count).unwrap_err();
        for error in [
            scores(packed.top, packed.bits, &packed.bytes, 4),
            scores(packed.top, packed.bits, &packed.bytes[1..], 3),
            scores(packed.top, 0, &[], 3),
            scores(packed.top, 17, &packed.bytes, 3),
            scores(packed.top, u32::MAX, &packed.bytes, usize::MAX),
            scores(packed.top, 16, &packed.bytes, usize::MAX),
            scores(f32::NAN, packed.bits, &packed.bytes, 3),
            scores(-1.0, packed.bits, &packed.bytes, 3),
            scores(f32::INFINITY, packed.bits, &packed.bytes, 3),
        ] {
            assert_eq!(error.status(), Status::BadFile, "{error}");
        }
    }
}
