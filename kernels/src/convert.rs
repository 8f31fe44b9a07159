//! 16-bit floating point, a number at a time.

use half::f16;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    f16::from_bits(bits).to_f32()
}

/// To the nearest, ties to even.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn f32_to_f16(value: f32) -> u16 {
    f16::from_f32(value).to_bits()
}
