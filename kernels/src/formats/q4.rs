//! q4: 0 to 15, two in a byte, with a scale and a minimum; the grid of GGUF's Q4_1. 5 bits a weight.

use super::{F16_MIN, F16_SCALE, QuantFormat, f16};

/// The format.
pub static FORMAT: QuantFormat = QuantFormat {
    name: "q4",
    gguf: Some("Q4_1"),
    bits: 4,
    signed: false,
    shared: &[F16_SCALE, F16_MIN],
    range: "scales and minima are f16",
    scale_and_min: |scale, min| (f16::to_f32(scale), f16::to_f32(min)),
    at,
    pack,
};

/// Of 32 neighbouring columns byte `i` holds column `i` in its low bits and column `i + 16` in its high ones.
pub(super) fn at(row: &[u8], column: usize) -> u8 {
    row[column / 32 * 16 + column % 16] >> (column % 32 / 16 * 4) & 15
}

/// The same the other way round.
pub(super) fn pack(numbers: &[u8]) -> Vec<u8> {
    let (blocks, _) = numbers.as_chunks::<32>();
    blocks.iter().flat_map(|block| std::array::from_fn::<u8, 16, _>(|i| block[i] | block[i + 16] << 4)).collect()
}
