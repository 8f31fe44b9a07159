//! The formats that weights are stored in, one file each: its name, what its bits mean and how they lie.
//!
//! Whoever reads, writes or names a format asks for its description here. One more of whole numbers is a file and an
//! entry in [`QuantType`]; the compiler then asks for what else it needs: its number in the C API, the packer's way to
//! its grid, and the tests' own definition of it. Numbers that lie as others do ([`Packing`]) have their products.

pub mod bf16;
pub mod f16;
mod packing;
mod q4;
pub(crate) mod q4s;
mod q8;

use crate::Elems;

pub use packing::Packing;
pub use q4s::{scale_and_min, with_scale_and_offset};

/// Input channels that share a scale.
pub const QUANT_GROUP: usize = 32;

/// Weights in whole numbers: which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantType {
    /// 8 bits and a scale.
    Q8,
    /// 4 bits, a scale and a minimum.
    Q4,
    /// 4 bits, and a scale and a minimum that share 16.
    Q4s,
}

/// A format of whole numbers, of which [`QUANT_GROUP`] input channels share what makes weights of them.
pub struct QuantFormat {
    /// What it is called.
    pub name: &'static str,
    /// The GGUF type whose grid this is, if there is one: such a file is carried over bit for bit.
    pub gguf: Option<&'static str>,
    /// How its numbers lie.
    pub packing: Packing,
    /// What stands beside the numbers, for each output and group of channels.
    pub shared: &'static [SharedPart],
    /// What bounds the weights it can hold, in words.
    pub range: &'static str,
    /// Scale and minimum from the shared parts; the second means nothing where there is but one.
    pub scale_and_min: fn(u16, u16) -> (f32, f32),
}

/// 16 bits for each output and group of channels.
pub struct SharedPart {
    /// Their tensor's name, after that of the numbers.
    pub name: &'static str,
    /// Whether they are an f16, and not something of the format's own.
    pub f16: bool,
}

const F16_SCALE: SharedPart = SharedPart { name: "scale", f16: true };
const F16_MIN: SharedPart = SharedPart { name: "min", f16: true };
const BITS_SCALE: SharedPart = SharedPart { name: "scale", f16: false };

impl QuantType {
    /// All of them.
    pub const ALL: [QuantType; 3] = [QuantType::Q8, QuantType::Q4, QuantType::Q4s];

    /// What it is.
    pub fn format(self) -> &'static QuantFormat {
        match self {
            QuantType::Q8 => &q8::FORMAT,
            QuantType::Q4 => &q4::FORMAT,
            QuantType::Q4s => &q4s::FORMAT,
        }
    }

    /// Bits of a number.
    pub fn bits(self) -> usize {
        self.format().packing.bits()
    }

    /// Whether minima stand beside the scales.
    pub fn has_minima(self) -> bool {
        self.format().shared.len() == 2
    }

    /// Bytes of what an output has for each group of channels: scale, and minimum if it has one.
    pub fn group_bytes(self) -> usize {
        2 * self.format().shared.len()
    }

    /// Bytes of the whole numbers of one channel.
    pub fn row_bytes(self, cols: usize) -> usize {
        cols * self.bits() / 8
    }
}

/// A format of 16-bit floating point.
pub struct FloatFormat {
    /// What it is called.
    pub name: &'static str,
    /// The bits of the exponent: where all are set, the number is not finite.
    pub exponent: u16,
    /// Bit patterns as elements of a matrix.
    pub elems: fn(&[u16]) -> Elems<'_>,
    /// The number.
    pub to_f32: fn(u16) -> f32,
    /// The nearest, ties to even.
    pub from_f32: fn(f32) -> u16,
}
