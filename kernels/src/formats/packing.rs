//! How the numbers of a row lie in its bytes.

/// Bytes for numbers of which there are a multiple of 32. What products of them take apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// -128 to 127, a byte each, in two's complement.
    Bytes,
    /// 0 to 15, two in a byte: of 32 neighbouring columns byte `i` holds column `i` in its low bits and column `i + 16`
    /// in its high ones.
    Nibbles,
}

impl Packing {
    /// Bits of a number.
    pub fn bits(self) -> usize {
        match self {
            Packing::Bytes => 8,
            Packing::Nibbles => 4,
        }
    }

    /// What a number stands for, given as a byte, before it is scaled.
    pub fn number(self, byte: u8) -> f32 {
        match self {
            Packing::Bytes => f32::from(byte.cast_signed()),
            Packing::Nibbles => f32::from(byte),
        }
    }

    /// The number in a column of a row's bytes, as a byte. Panics if there is none.
    pub fn at(self, row: &[u8], column: usize) -> u8 {
        match self {
            Packing::Bytes => row[column],
            Packing::Nibbles => row[column / 32 * 16 + column % 16] >> (column % 32 / 16 * 4) & 15,
        }
    }

    /// The bytes of numbers, given as a byte each.
    pub fn pack(self, numbers: &[u8]) -> Vec<u8> {
        let (blocks, _) = numbers.as_chunks::<32>();
        match self {
            Packing::Bytes => numbers.to_vec(),
            Packing::Nibbles => {
                let bytes = |block: &[u8; 32]| std::array::from_fn::<u8, 16, _>(|i| block[i] | block[i + 16] << 4);
                blocks.iter().flat_map(bytes).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_where_they_were_packed() {
        for packing in [Packing::Bytes, Packing::Nibbles] {
            let numbers: Vec<u8> = (0..96).map(|i| (i * 7 % (1 << packing.bits())) as u8).collect();
            let packed = packing.pack(&numbers);
            assert_eq!(packed.len(), 96 * packing.bits() / 8);
            assert!((0..96).all(|c| packing.at(&packed, c) == numbers[c]), "{packing:?}");
        }
        assert_eq!((Packing::Bytes.number(0x80), Packing::Nibbles.number(15)), (-128.0, 15.0));
    }

    #[test]
    fn bytes_lie_where_files_have_them() {
        // Of 32 columns: the first and the seventeenth share the first byte.
        let mut numbers = [0; 64];
        (numbers[0], numbers[16], numbers[63]) = (5, 9, 3);
        let packed = Packing::Nibbles.pack(&numbers);
        assert_eq!((packed[0], packed[31]), (0x95, 0x30));
        assert_eq!(Packing::Bytes.pack(&[1, 2, 0x80]), [1, 2, 0x80]);
    }
}
