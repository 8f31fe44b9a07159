//! Rounding to 16-bit floating point.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use rasp::model::FloatType;
use rasp::{Error, Result, Status};

/// Rounds to the nearest, ties to even. `name` is what the numbers, all finite, belong to.
pub(crate) fn round(name: &str, x: &[f32], to: FloatType) -> Result<Vec<u16>> {
    let mut bits = vec![0; x.len()];
    match to {
        FloatType::Bf16 => bits[..].reinterpret_cast_mut::<bf16>().convert_from_f32_slice(x),
        FloatType::F16 => bits[..].reinterpret_cast_mut::<f16>().convert_from_f32_slice(x),
    }
    let (infinite, label) = (to.format().exponent, to.format().name);
    match bits.iter().position(|bits| bits & infinite == infinite) {
        None => Ok(bits),
        Some(at) => Err(Error::new(Status::OutOfRange, format!("{name}: {} is beyond the range of {label}", x[at]))),
    }
}

/// The numbers that these bits stand for.
pub(crate) fn widen(bits: &[u16], from: FloatType) -> Vec<f32> {
    bits.iter().copied().map(from.format().to_f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_nearest_and_within_range() {
        for (to, exact) in [(FloatType::Bf16, [1.0, -0.5, 3e38]), (FloatType::F16, [1.0, -0.5, 65504.0])] {
            let bits = round("x", &exact, to).unwrap();
            assert!(widen(&bits, to).iter().zip(exact).all(|(a, b)| (a / b - 1.0).abs() < 4e-3));
        }
        // Halfway between two numbers: the even one.
        assert_eq!(round("x", &[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0], FloatType::Bf16).unwrap(), [0x3f80, 0x3f82]);
        let error = round("layers.0.q", &[0.0, 65520.0], FloatType::F16).unwrap_err();
        assert_eq!(error.status(), Status::OutOfRange);
        assert_eq!(error.message(), "layers.0.q: 65520 is beyond the range of f16");
    }
}
