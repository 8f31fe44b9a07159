//! q4s: 0 to 15, two in a byte as in q4, with a scale and a minimum that share 16 bits: 4.5 bits a weight.
//!
//! From the highest on, 5 bits of exponent and 5 of mantissa, without a sign, `scale = 2^(e - 20)·(1 + m / 32)`, then 6
//! of offset, `min = -scale·offset / 4`. All bits mean something finite, exactly.

use super::{BITS_SCALE, Packing, QuantFormat};

/// The format.
pub static FORMAT: QuantFormat = QuantFormat {
    name: "q4s",
    gguf: None,
    packing: Packing::Nibbles,
    shared: &[BITS_SCALE],
    range: "scales end at 4032",
    scale_and_min: |bits, _| scale_and_min(bits),
};

/// Scale and minimum from the 16 bits that they share.
pub fn scale_and_min(bits: u16) -> (f32, f32) {
    let scale = f32::from_bits((u32::from(bits & SCALE_BITS) << SCALE_SHIFT) + SCALE_BIAS);
    (scale, OFFSET_UNIT * scale * f32::from(bits & OFFSET_BITS))
}

/// The 16 bits whose scale is nearest to `scale`, no NaN, with an offset of 0 to 63 quarters. `None` if it lies beyond
/// the largest.
pub fn with_scale_and_offset(scale: f32, offset: u16) -> Option<u16> {
    debug_assert!(offset <= OFFSET_BITS && !scale.is_nan());
    // Bits of positive floats ascend as they do: half of what is cut off rounds.
    const CUT: u32 = SCALE_SHIFT + OFFSET_BITS.count_ones();
    let bits = scale.to_bits().clamp(SCALE_BIAS, i32::MAX.cast_unsigned()) - SCALE_BIAS;
    let places = if scale > 0.0 { (bits + (1 << (CUT - 1))) >> CUT } else { 0 };
    let scale = u16::try_from(places << OFFSET_BITS.count_ones()).ok()?;
    Some(scale | offset)
}

/// Where offset and scale lie, what an offset of 1 is of the scale, and how far the scale's exponent is from an f32's
/// place and from its bias.
pub(crate) const OFFSET_BITS: u16 = 0x3f;
pub(crate) const OFFSET_UNIT: f32 = -0.25;
pub(crate) const SCALE_BITS: u16 = !OFFSET_BITS;
pub(crate) const SCALE_SHIFT: u32 = 12;
pub(crate) const SCALE_BIAS: u32 = (127 - 20) << 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_are_a_scale_and_a_minimum() {
        for (bits, scale, min) in [
            (0, f32::exp2(-20.0), 0.0),
            (0x3f, f32::exp2(-20.0), -15.75 * f32::exp2(-20.0)),
            (20 << 11, 1.0, 0.0),
            (20 << 11 | 31 << 6 | 32, 1.96875, -8.0 * 1.96875),
            (u16::MAX, 1.96875 * 2048.0, -15.75 * 1.96875 * 2048.0),
        ] {
            assert_eq!(scale_and_min(bits), (scale, min), "{bits:#x}");
        }
        let scale = |n: u16| scale_and_min(n << 6).0;
        for n in 0..1023 {
            let (this, next) = (scale(n), scale(n + 1));
            assert!(this < next);
            let nearest = |scale| with_scale_and_offset(scale, 21);
            assert_eq!(nearest(this), Some(n << 6 | 21));
            assert_eq!(nearest(this + 0.49 * (next - this)), Some(n << 6 | 21));
            assert_eq!(nearest(this + 0.51 * (next - this)), Some((n + 1) << 6 | 21));
        }
        for (scale, bits) in
            [(0.0, Some(63)), (-1.0, Some(63)), (1e-30, Some(63)), (4032.0, Some(u16::MAX)), (4070.0, None)]
        {
            assert_eq!(with_scale_and_offset(scale, 63), bits, "{scale}");
        }
        assert_eq!(with_scale_and_offset(f32::INFINITY, 0), None);
    }
}
