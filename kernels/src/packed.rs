//! Activations of many tokens in whole numbers, packed: taken apart as products want them, once for all columns of the
//! weights that they meet (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008, section 4,
//! pack a block of a matrix for the same reason).

use crate::{NARROW, QUANT_GROUP, QuantizedRef};

/// The most tokens that are packed together.
pub const PACKED_ROWS: usize = 64;

/// Quads of channels in a group.
pub(crate) const QUADS: usize = QUANT_GROUP / 4;

/// Some tokens' activations of one group of channels. Zeros are a group of no tokens.
#[derive(Clone)]
#[repr(C)]
pub struct PackedGroup {
    pub(crate) inputs: [Inputs; PACKED_ROWS],
    /// Scale, and that times the sum of the inputs.
    pub(crate) factors: [[f32; 2]; PACKED_ROWS],
    /// How many tokens, and of how many the group is narrow.
    pub(crate) count: u32,
    pub(crate) narrow: u32,
    /// The tokens, those first whose group is narrow.
    pub(crate) order: [u8; PACKED_ROWS],
}

impl PackedGroup {
    /// No tokens.
    pub const NONE: PackedGroup = PackedGroup {
        inputs: [Inputs::NONE; PACKED_ROWS],
        factors: [[0.0; 2]; PACKED_ROWS],
        count: 0,
        narrow: 0,
        order: [0; PACKED_ROWS],
    };

    /// Makes room for so many tokens, [`PACKED_ROWS`] at most, which [`put`](PackedGroup::put) then gives it in order.
    #[inline(always)]
    pub(crate) fn begin(&mut self, count: usize) {
        // The narrow ones are counted up, and the wide ones down.
        (self.count, self.narrow) = (count.min(PACKED_ROWS) as u32, 0);
    }

    /// Token `m`, below the count.
    #[inline(always)]
    pub(crate) fn put(&mut self, m: usize, inputs: Inputs, scale: f32) {
        // Without a branch: which groups are wide cannot be foreseen.
        let wide_before = m as u32 - self.narrow;
        let place = if inputs.wide { self.count - 1 - wide_before } else { self.narrow };
        self.order[place as usize % PACKED_ROWS] = m as u8;
        self.narrow += u32::from(!inputs.wide);
        self.factors[m % PACKED_ROWS] = [scale, scale * inputs.sum() as f32];
        self.inputs[m % PACKED_ROWS] = inputs;
    }

    /// The tokens whose group is narrow, and those whose it is wide.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline(always)]
    pub(crate) fn tokens(&self) -> (&[u8], &[u8]) {
        let count = (self.count as usize).min(PACKED_ROWS);
        self.order[..count].split_at((self.narrow as usize).min(count))
    }
}

/// A group's inputs as quads of i8: the low limb, which is all of a narrow one, and in a wide group the high one, which
/// counts 128 times.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Inputs {
    pub(crate) limb: [[i32; QUADS]; 2],
    /// Their sums.
    pub(crate) total: [i32; 2],
    pub(crate) wide: bool,
}

impl Inputs {
    pub(crate) const NONE: Inputs = Inputs { limb: [[0; QUADS]; 2], total: [0; 2], wide: false };

    #[inline(always)]
    pub(crate) fn new(x: &[i16; QUANT_GROUP]) -> Inputs {
        // Loops that the compiler turns into vectors.
        let largest = x.iter().fold(0, |largest, x| x.unsigned_abs().max(largest));
        let sum = |x: &[i16; QUANT_GROUP]| x.iter().fold(0i16, |sum, &x| sum.wrapping_add(x));
        let wide = largest > NARROW.unsigned_abs();
        // Without a branch, which could not be foreseen: nothing is high where the group is narrow.
        let some = -i16::from(wide);
        let (mut low, mut high) = ([0; QUANT_GROUP], [0; QUANT_GROUP]);
        for k in 0..QUANT_GROUP {
            high[k] = ((x[k] + 64) >> 7) & some;
            low[k] = x[k] - (high[k] << 7);
        }
        // 32 numbers of 8 bits: no sum leaves an i16.
        Inputs { limb: [quads(&low), quads(&high)], total: [i32::from(sum(&low)), i32::from(sum(&high))], wide }
    }

    /// The sum of all inputs.
    #[inline(always)]
    pub(crate) fn sum(&self) -> i32 {
        128 * self.total[1] + self.total[0]
    }
}

#[inline(always)]
fn quads(x: &[i16; QUANT_GROUP]) -> [i32; QUADS] {
    let mut bytes = [0u8; QUANT_GROUP];
    for k in 0..QUANT_GROUP {
        bytes[k] = x[k] as u8;
    }
    let mut quads = [0; QUADS];
    for q in 0..QUADS {
        quads[q] = i32::from_le_bytes([bytes[4 * q], bytes[4 * q + 1], bytes[4 * q + 2], bytes[4 * q + 3]]);
    }
    quads
}

/// What a product of many tokens takes: rows of numbers, or groups of them packed.
#[derive(Clone, Copy)]
pub(crate) enum Activations<'a> {
    Rows(QuantizedRef<'a>),
    Packed(&'a [PackedGroup]),
}

impl Activations<'_> {
    /// How many tokens; of packed groups that do not agree the most.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Activations::Rows(x) => x.rows(),
            Activations::Packed(groups) => groups.iter().map(|group| group.count as usize).max().unwrap_or(0),
        }
    }

    /// Channels.
    pub(crate) fn cols(&self) -> usize {
        match self {
            Activations::Rows(x) => x.cols(),
            Activations::Packed(groups) => groups.len() * QUANT_GROUP,
        }
    }
}
