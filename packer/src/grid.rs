//! A matrix in whole numbers: what a checkpoint has stored, or what the quantizer has made of floating point.

use half::f16;
use rasp::model::QuantType;

/// Neighbours in a row that share a scale (`rasp_kernels::QUANT_GROUP`).
pub(crate) const GROUP: usize = 32;

/// `[rows, cols]`, row-major; of every 32 neighbours in a row a value is `scale · number`, in [`QuantType::Q4`] plus
/// `min`.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The kind of numbers.
    pub quant: QuantType,
    /// Length of a row, a multiple of 32.
    pub cols: usize,
    /// A byte each: two's complement in [`QuantType::Q8`], 0 to 15 in [`QuantType::Q4`].
    pub numbers: Vec<u8>,
    /// `[rows, cols / 32]` as f16, all finite.
    pub scale: Vec<u16>,
    /// As `scale`; empty in [`QuantType::Q8`].
    pub min: Vec<u16>,
}

/// 32 neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) numbers: [u8; GROUP],
    pub(crate) scale: f16,
    /// Means nothing in [`QuantType::Q8`].
    pub(crate) min: f16,
}

impl Group {
    /// Whether the file may hold it.
    pub(crate) fn is_finite(&self) -> bool {
        self.scale.is_finite() && self.min.is_finite()
    }
}

impl Grid {
    /// Groups in the order of their rows.
    pub(crate) fn new(quant: QuantType, cols: usize, groups: &[Group]) -> Grid {
        let min = match quant {
            QuantType::Q8 => Vec::new(),
            QuantType::Q4 => groups.iter().map(|g| g.min.to_bits()).collect(),
        };
        Grid {
            quant,
            cols,
            numbers: groups.iter().flat_map(|g| g.numbers).collect(),
            scale: groups.iter().map(|g| g.scale.to_bits()).collect(),
            min,
        }
    }

    /// The values, row-major, rounded as the engine rounds them: the product, then the sum.
    pub fn values(&self) -> Vec<f32> {
        let wide = |bits: &u16| f16::from_bits(*bits).to_f32();
        let mut values = Vec::with_capacity(self.numbers.len());
        for (n, group) in self.numbers.chunks_exact(GROUP).enumerate() {
            let scale = wide(&self.scale[n]);
            match self.quant {
                QuantType::Q8 => values.extend(group.iter().map(|&q| scale * f32::from(q.cast_signed()))),
                QuantType::Q4 => {
                    let min = wide(&self.min[n]);
                    values.extend(group.iter().map(|&q| scale * f32::from(q) + min));
                }
            }
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
            Group { numbers, scale: f16::from_f32(scale), min: f16::from_f32(min) }
        };
        let groups = [group(0x80, 0.5, 3.0), group(15, 0.25, -1.0)];
        let q8 = Grid::new(QuantType::Q8, 32, &groups);
        assert_eq!((q8.values()[0], q8.values()[1], q8.values()[32], q8.min.len()), (-64.0, 0.0, 3.75, 0));
        let q4 = Grid::new(QuantType::Q4, 32, &groups[1..]);
        assert_eq!((q4.values()[0], q4.values()[31], q4.min.len()), (2.75, -1.0, 1));
    }
}
