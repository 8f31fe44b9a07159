//! IEEE binary16: a sign, 5 bits of exponent, 10 of mantissa.

use super::FloatFormat;
use crate::Elems;

/// The format.
pub static FORMAT: FloatFormat =
    FloatFormat { name: "f16", exponent: 0x7c00, elems: |bits| Elems::F16(bits), to_f32, from_f32 };

pub(crate) fn to_f32(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}

pub(crate) fn from_f32(value: f32) -> u16 {
    half::f16::from_f32(value).to_bits()
}
