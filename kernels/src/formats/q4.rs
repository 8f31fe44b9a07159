//! q4: 0 to 15, two in a byte, with a scale and a minimum; the grid of GGUF's Q4_1. 5 bits a weight.

use super::{F16_MIN, F16_SCALE, Packing, QuantFormat, f16};

/// The format.
pub static FORMAT: QuantFormat = QuantFormat {
    name: "q4",
    gguf: Some("Q4_1"),
    packing: Packing::Nibbles,
    shared: &[F16_SCALE, F16_MIN],
    range: "scales and minima are f16",
    scale_and_min: |scale, min| (f16::to_f32(scale), f16::to_f32(min)),
};
