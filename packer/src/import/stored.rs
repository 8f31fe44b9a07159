//! Blocks that lie on a grid of the `.rasp` file already: taken over number by number.

use half::f16;
use rasp::model::QuantType;

use super::dequant::{DType, E2M1, IQ4, half_at, half_power, nibble, scale_min, tq1_digit, two_bits, u32_at};
use crate::grid::{Grid, QuantGroup};

/// The grid of whole blocks, in rows of `cols` values. It gives the very values that `dequantize` gives (a zero's sign
/// aside), but for [`DType::Q4K`], whose scales and minima are products and are here rounded to f16, once.
///
/// `None` where the type has no such grid, or where a scale or minimum is not finite on it.
pub(super) fn grid(dtype: DType, bytes: &[u8], cols: usize, quant: QuantType) -> Option<Grid> {
    let groups: Option<Vec<QuantGroup>> = match (quant, dtype) {
        (QuantType::Q8, DType::Q8_0) => groups(bytes, |b: &[u8; 34]| [q8(b, |i| b[2 + i].cast_signed())]),
        // 4 and 5 bits around zero are 8 bits that are not used up.
        (QuantType::Q8, DType::Q4_0) => groups(bytes, |b: &[u8; 18]| [q8(b, |i| nibble(&b[2..], i) as i8 - 8)]),
        (QuantType::Q8, DType::Q5_0) => groups(bytes, |b: &[u8; 22]| {
            let high = u32_at(b, 2);
            [q8(b, |i| (nibble(&b[6..], i) | (((high >> i) & 1) as u8) << 4) as i8 - 16)]
        }),
        // The minimum is exact unless it overflows, and so is `d·q − 8·d`: 15 bits at most.
        (QuantType::Q4, DType::Q4_0) => groups(bytes, |b: &[u8; 18]| {
            let d = half_at(b, 0);
            let numbers = std::array::from_fn(|i| nibble(&b[2..], i));
            [QuantGroup::new(numbers, f16::from_f32(d), f16::from_f32(-8.0 * d))]
        }),
        (QuantType::Q4, DType::Q4_1) => groups(bytes, |b: &[u8; 20]| {
            let numbers = std::array::from_fn(|i| nibble(&b[4..], i));
            [QuantGroup::new(numbers, f16::from_f32(half_at(b, 0)), f16::from_f32(half_at(b, 2)))]
        }),
        (QuantType::Q4, DType::Q4K) => groups(bytes, q4_k),
        // Tables of whole numbers that 8 bits hold.
        (QuantType::Q8, DType::IQ4NL) => {
            groups(bytes, |b: &[u8; 18]| [q8(b, |i| IQ4[usize::from(nibble(&b[2..], i))])])
        }
        (QuantType::Q8, DType::MXFP4) => groups(bytes, |b: &[u8; 17]| [mxfp4(b)]),
        // A scale for eight groups.
        (QuantType::Q8, DType::TQ1_0) => groups(bytes, |b: &[u8; 54]| ternary8(half_at(b, 52), |i| tq1_digit(b, i))),
        (QuantType::Q8, DType::TQ2_0) => {
            groups(bytes, |b: &[u8; 66]| ternary8(half_at(b, 64), |i| two_bits(&b[..64], i)))
        }
        (QuantType::Q4, DType::TQ1_0) => groups(bytes, |b: &[u8; 54]| ternary4(half_at(b, 52), |i| tq1_digit(b, i))),
        (QuantType::Q4, DType::TQ2_0) => {
            groups(bytes, |b: &[u8; 66]| ternary4(half_at(b, 64), |i| two_bits(&b[..64], i)))
        }
        _ => return None,
    };
    groups.map(|groups| Grid::new(quant, cols, &groups))
}

fn groups<const B: usize, const G: usize>(
    bytes: &[u8],
    read: impl Fn(&[u8; B]) -> [Option<QuantGroup>; G],
) -> Option<Vec<QuantGroup>> {
    bytes.as_chunks::<B>().0.iter().flat_map(read).collect()
}

/// A block that begins with its scale.
fn q8(block: &[u8], number: impl Fn(usize) -> i8) -> Option<QuantGroup> {
    let numbers = std::array::from_fn(|i| number(i).cast_unsigned());
    QuantGroup::new(numbers, f16::from_f32(half_at(block, 0)), f16::ZERO)
}

/// `None` where f16 does not hold the power of two.
fn mxfp4(b: &[u8; 17]) -> Option<QuantGroup> {
    let (d, scale) = (half_power(b[0]), f16::from_f32(half_power(b[0])));
    let numbers = std::array::from_fn(|i| E2M1[usize::from(nibble(&b[1..], i))].cast_unsigned());
    QuantGroup::new(numbers, scale, f16::ZERO).filter(|_| scale.to_f32() == d)
}

/// Digits of 0 to 2 that stand for −1 to 1.
fn ternary8(d: f32, digit: impl Fn(usize) -> u8) -> [Option<QuantGroup>; 8] {
    std::array::from_fn(|s| {
        let numbers = std::array::from_fn(|i| digit(32 * s + i).wrapping_sub(1));
        QuantGroup::new(numbers, f16::from_f32(d), f16::ZERO)
    })
}

/// The same with their minimum.
fn ternary4(d: f32, digit: impl Fn(usize) -> u8) -> [Option<QuantGroup>; 8] {
    std::array::from_fn(|s| {
        let numbers = std::array::from_fn(|i| digit(32 * s + i));
        QuantGroup::new(numbers, f16::from_f32(d), f16::from_f32(-d))
    })
}

fn q4_k(b: &[u8; 144]) -> [Option<QuantGroup>; 8] {
    let (d, dmin) = (half_at(b, 0), half_at(b, 2));
    std::array::from_fn(|s| {
        let (scale, min) = scale_min(&b[4..16], s);
        let numbers = &b[16 + s / 2 * 32..][..32];
        let numbers = std::array::from_fn(|i| (numbers[i] >> (4 * (s % 2))) & 15);
        QuantGroup::new(numbers, f16::from_f32(d * scale), f16::from_f32(-(dmin * min)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::dequant::dequantize;
    use super::*;

    /// Every block of the golden file that decodes to finite numbers, as values and as they come through the grid.
    fn both(dtype: DType, quant: QuantType, file: &[u8]) -> Vec<(Vec<f32>, Vec<f32>)> {
        let raw = &file[4..4 + u32_at(file, 0) as usize];
        let (count, bytes) = dtype.block();
        let mut pairs = Vec::new();
        for block in raw.chunks_exact(bytes) {
            let mut values = vec![0.0; count];
            dequantize(dtype, block, &mut values);
            let grid = grid(dtype, block, count, quant);
            if values.iter().all(|v| v.is_finite()) {
                pairs.extend(grid.map(|grid| (values, grid.values())));
            } else {
                assert_eq!(grid, None);
            }
        }
        assert!(!pairs.is_empty(), "{dtype:?}");
        pairs
    }

    /// A format that equals a GGUF type takes its blocks over, all of whose bits are then where they were.
    #[test]
    fn a_format_takes_over_the_type_it_equals() {
        for format in QuantType::ALL.map(QuantType::format) {
            let Some(equal) = format.gguf else { continue };
            let dtype = [DType::Q8_0, DType::Q4_1].into_iter().find(|dtype| format!("{dtype:?}") == equal).unwrap();
            let quant = QuantType::ALL.into_iter().find(|quant| quant.format().name == format.name).unwrap();
            let (count, bytes) = dtype.block();
            let block: Vec<u8> = (0..bytes as u8).map(|i| i.wrapping_mul(37) & 0x7b).collect();
            let grid = grid(dtype, &block, count, quant).unwrap();
            assert_eq!([count, bytes], [32, quant.row_bytes(32) + quant.group_bytes()], "{equal}");
            let halves = grid.scale.iter().chain(&grid.min).flat_map(|half| half.to_le_bytes());
            assert!(halves.chain(format.packing.pack(&grid.numbers)).eq(block), "{equal}");
        }
    }

    #[test]
    fn shared_grids_give_the_same_values() {
        for (dtype, quant, file) in [
            (DType::Q8_0, QuantType::Q8, &include_bytes!("../../tests/data/q8_0.bin")[..]),
            (DType::Q4_0, QuantType::Q8, include_bytes!("../../tests/data/q4_0.bin")),
            (DType::Q5_0, QuantType::Q8, include_bytes!("../../tests/data/q5_0.bin")),
            (DType::Q4_0, QuantType::Q4, include_bytes!("../../tests/data/q4_0.bin")),
            (DType::Q4_1, QuantType::Q4, include_bytes!("../../tests/data/q4_1.bin")),
            (DType::IQ4NL, QuantType::Q8, include_bytes!("../../tests/data/iq4_nl.bin")),
            (DType::MXFP4, QuantType::Q8, include_bytes!("../../tests/data/mxfp4.bin")),
            (DType::TQ1_0, QuantType::Q8, include_bytes!("../../tests/data/tq1_0.bin")),
            (DType::TQ2_0, QuantType::Q8, include_bytes!("../../tests/data/tq2_0.bin")),
            (DType::TQ1_0, QuantType::Q4, include_bytes!("../../tests/data/tq1_0.bin")),
            (DType::TQ2_0, QuantType::Q4, include_bytes!("../../tests/data/tq2_0.bin")),
        ] {
            for (want, got) in both(dtype, quant, file) {
                assert_eq!(want, got, "{dtype:?} as {quant:?}");
            }
        }
    }

    #[test]
    fn q4_k_is_as_near_as_two_roundings_to_f16() {
        for (want, got) in both(DType::Q4K, QuantType::Q4, include_bytes!("../../tests/data/q4_k.bin")) {
            // Of `d·scale` and `dmin·min`, each at most as large as the values' range and half an ulp off.
            for (want, got) in want.chunks_exact(32).zip(got.chunks_exact(32)) {
                let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
                let allowed = 3.0 * largest / 1024.0 + 16.0 * f16::from_bits(1).to_f32();
                assert!(want.iter().zip(got).all(|(w, g)| (w - g).abs() <= allowed), "{want:?}\n{got:?}");
            }
        }
    }

    #[test]
    fn what_lies_on_no_such_grid_or_off_it_is_none() {
        let one = f16::ONE.to_le_bytes();
        let block = |d: [u8; 2], len: usize| [&d[..], &vec![0x21; len - 2]].concat();
        assert!(grid(DType::Q8_0, &block(one, 34), 32, QuantType::Q8).is_some());
        assert_eq!(grid(DType::Q8_0, &block(one, 34), 32, QuantType::Q4), None);
        assert_eq!(grid(DType::Q4_1, &block(one, 20), 32, QuantType::Q8), None);
        assert_eq!(grid(DType::F16, &one.repeat(32), 32, QuantType::Q8), None);
        for d in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
            assert_eq!(grid(DType::Q8_0, &block(d.to_le_bytes(), 34), 32, QuantType::Q8), None);
            assert_eq!(grid(DType::Q4_1, &block(d.to_le_bytes(), 20), 32, QuantType::Q4), None);
        }
        // 8 · 60000 is beyond f16, though every value is finite.
        let large = block(f16::from_f32(60000.0).to_le_bytes(), 18);
        assert_eq!(grid(DType::Q4_0, &large, 32, QuantType::Q4), None);
        assert!(grid(DType::Q4_0, &large, 32, QuantType::Q8).is_some());
    }
}
