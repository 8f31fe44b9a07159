//! bfloat16: the upper half of an f32, 8 bits of exponent, 7 of mantissa.

use super::FloatFormat;
use crate::Elems;

/// The format.
pub static FORMAT: FloatFormat = FloatFormat {
    name: "bf16",
    exponent: 0x7f80,
    elems: |bits| Elems::Bf16(bits),
    to_f32,
    from_f32: |value| half::bf16::from_f32(value).to_bits(),
};

pub(crate) fn to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
