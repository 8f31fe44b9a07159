//! Weights that need no file: each tensor's values follow from its name (`tests/families/weights.py` says the same).

use half::{bf16, f16};
use safetensors::Dtype;

/// FNV-1a of 64 bits.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// `offset + scale · (2u − 1)`, `u` in [0, 1) from 53 bits of what splitmix64 (Steele, Lea and Flood, 2014) gives for
/// the hash of the name; in f64, then rounded to f32.
pub fn values(name: &str, count: usize, scale: f64, offset: f64) -> Vec<f32> {
    let mut state = seed(name);
    let mut uniform = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 * f64::exp2(-53.0)
    };
    (0..count).map(|_| (offset + scale * (2.0 * uniform() - 1.0)) as f32).collect()
}

/// Numbers in an element type, each rounded to nearest even.
pub fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        other => panic!("no encoder for {other:?}"),
    }
}

/// Numbers as an element type holds them.
pub fn rounded(mut values: Vec<f32>, dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::F16 => values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
        Dtype::BF16 => values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
        _ => {}
    }
    values
}
