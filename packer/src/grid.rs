//! A matrix in whole numbers: what a checkpoint has stored, or what the quantizer has made of floating point.

use half::f16;
use rasp::model::QuantType;

/// Neighbours in a row that share a scale.
pub(crate) use rasp::model::QUANT_GROUP as GROUP;

/// `[rows, cols]`, row-major; of every 32 neighbours in a row a value is `scale · number`, in 4 bits plus `min`.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The kind of numbers.
    pub quant: QuantType,
    /// Length of a row, a multiple of 32.
    pub cols: usize,
    /// A byte each: in 8 bits two's complement, in 4 bits 0 to 15.
    pub numbers: Vec<u8>,
    /// `[rows, cols / 32]` as f16, all finite; in [`QuantType::Q4s`] [with minima](rasp::model::scale_and_min).
    pub scale: Vec<u16>,
    /// `[rows, cols / 32]` as f16, all finite, in [`QuantType::Q4`]; else empty.
    pub min: Vec<u16>,
}

/// 32 neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QuantGroup {
    pub(crate) numbers: [u8; GROUP],
    /// As the file has it: f16, or a scale with its minimum.
    pub(crate) scale: u16,
    /// As f16; means nothing but in [`QuantType::Q4`].
    pub(crate) min: u16,
}

impl QuantGroup {
    /// With a scale and a minimum in f16, if both are finite there.
    pub(crate) fn new(numbers: [u8; GROUP], scale: f16, min: f16) -> Option<QuantGroup> {
        let finite = scale.is_finite() && min.is_finite();
        finite.then_some(QuantGroup { numbers, scale: scale.to_bits(), min: min.to_bits() })
    }
}

impl Grid {
    /// Groups in the order of their rows.
    pub(crate) fn new(quant: QuantType, cols: usize, groups: &[QuantGroup]) -> Grid {
        let min = if quant.has_minima() { groups.iter().map(|g| g.min).collect() } else { Vec::new() };
        Grid {
            quant,
            cols,
            numbers: groups.iter().flat_map(|g| g.numbers).collect(),
            scale: groups.iter().map(|g| g.scale).collect(),
            min,
        }
    }

    /// The values, row-major, rounded as the engine rounds them: the product, then the sum.
    pub fn values(&self) -> Vec<f32> {
        let format = self.quant.format();
        let mut values = Vec::with_capacity(self.numbers.len());
        for (n, group) in self.numbers.chunks_exact(GROUP).enumerate() {
            let (scale, min) = (format.scale_and_min)(self.scale[n], self.min.get(n).copied().unwrap_or(0));
            values.extend(group.iter().map(|&q| scale * format.packing.number(q) + min));
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasp::model::WeightType;

    #[test]
    fn a_group_is_the_files() {
        assert_eq!(WeightType::Q8.block_unit(), GROUP);
        assert_eq!(WeightType::Q4.block_unit(), GROUP);
    }

    #[test]
    fn values_are_scale_times_number_and_a_minimum() {
        let group = |first: u8, scale, min| {
            let mut numbers = [0; GROUP];
            numbers[0] = first;
            QuantGroup::new(numbers, f16::from_f32(scale), f16::from_f32(min)).unwrap()
        };
        let groups = [group(0x80, 0.5, 3.0), group(15, 0.25, -1.0)];
        let q8 = Grid::new(QuantType::Q8, 32, &groups);
        assert_eq!((q8.values()[0], q8.values()[1], q8.values()[32], q8.min.len()), (-64.0, 0.0, 3.75, 0));
        let q4 = Grid::new(QuantType::Q4, 32, &groups[1..]);
        assert_eq!((q4.values()[0], q4.values()[31], q4.min.len()), (2.75, -1.0, 1));
        let group = QuantGroup { scale: 20 << 11 | 6, ..groups[1] };
        let q4s = Grid::new(QuantType::Q4s, 32, &[group]);
        assert_eq!((q4s.values()[0], q4s.values()[31], q4s.min.len()), (13.5, -1.5, 0));
    }
}
