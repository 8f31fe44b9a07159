//! q8: -128 to 127, a byte each, with a scale; the grid of GGUF's Q8_0. 8.5 bits a weight.

use super::{F16_SCALE, Packing, QuantFormat, f16};

/// The format.
pub static FORMAT: QuantFormat = QuantFormat {
    name: "q8",
    gguf: Some("Q8_0"),
    packing: Packing::Bytes,
    shared: &[F16_SCALE],
    range: "scales are f16",
    scale_and_min: |scale, _| (f16::to_f32(scale), 0.0),
};
