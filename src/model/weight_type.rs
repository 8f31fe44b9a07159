//! How the weights of a file are stored: which of the formats (`rasp_kernels::formats`) it has, and what that means for
//! its tensors.

use crate::format::{Dtype, File};
use crate::{Error, Result, Status};
use rasp_kernels::formats::{FloatFormat, Packing, bf16, f16};
use rasp_kernels::{Elems, Matrix, QUANT_GROUP, QuantType, STREAMS};

/// How the weights of a file are stored, named for its linears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightType {
    /// 16-bit floating point.
    Float(FloatType),
    /// Whole numbers that share scales, see [`rasp_kernels::Quantized`]. Embedding and head have 8 bits in all of them.
    Quant(QuantType),
}

/// Short names.
impl WeightType {
    /// [`FloatType::Bf16`]
    pub const BF16: WeightType = WeightType::Float(FloatType::Bf16);
    /// [`FloatType::F16`]
    pub const F16: WeightType = WeightType::Float(FloatType::F16);
    /// [`QuantType::Q8`]
    pub const Q8: WeightType = WeightType::Quant(QuantType::Q8);
    /// [`QuantType::Q4`]
    pub const Q4: WeightType = WeightType::Quant(QuantType::Q4);
    /// [`QuantType::Q4s`]
    pub const Q4S: WeightType = WeightType::Quant(QuantType::Q4s);
}

impl WeightType {
    /// All of them.
    pub fn all() -> impl Iterator<Item = WeightType> + Clone {
        FloatType::ALL.into_iter().map(WeightType::Float).chain(QuantType::ALL.into_iter().map(WeightType::Quant))
    }

    /// That of a file: its first matrix tells what all are. Fails where no type is like it.
    pub fn of(file: &File) -> Result<WeightType> {
        let (name, scale) = ("layers.0.qkv", "layers.0.qkv.scale");
        let dtype = file.describe(name)?.0;
        let mut types = WeightType::all().filter(|t| t.dtype() == dtype).peekable();
        let found = match types.peek() {
            None => Err(format!("{name} is {dtype:?}; weights are BF16, F16, I8 or U8")),
            Some(first) if first.scale_dtype().is_none() => return Ok(*first),
            Some(_) => {
                let dtype = file.describe(scale)?.0;
                let fits = types.find(|t| t.scale_dtype() == Some(dtype));
                fits.ok_or_else(|| format!("{scale} is {dtype:?}; scales are F16, or U16 beside U8"))
            }
        };
        found.map_err(|message| Error::new(Status::Unsupported, message))
    }

    /// The dtype of the groups' matrices in the file.
    pub fn dtype(self) -> Dtype {
        match self {
            WeightType::Float(float) => float.dtype(),
            WeightType::Quant(quant) => match quant.format().packing {
                Packing::Bytes => Dtype::I8,
                Packing::Nibbles => Dtype::U8,
            },
        }
    }

    /// The tensors that stand beside a group's matrix: what is put to its name, and their dtypes.
    pub fn shared(self) -> impl Iterator<Item = (&'static str, Dtype)> {
        let parts = self.quant().map_or(&[][..], |quant| quant.format().shared);
        parts.iter().map(|part| (part.name, if part.f16 { Dtype::F16 } else { Dtype::U16 }))
    }

    /// The dtype of the scales that stand beside the groups' matrices, if there are any.
    pub fn scale_dtype(self) -> Option<Dtype> {
        self.shared().next().map(|(_, dtype)| dtype)
    }

    /// As `rasp pack --dtype` has it: `bf16`, `q8`.
    pub fn name(self) -> &'static str {
        match self {
            WeightType::Float(float) => float.format().name,
            WeightType::Quant(quant) => quant.format().name,
        }
    }

    /// The type of weights that are not quantized; where they are, of what would be stored in 16 bits.
    pub fn float(self) -> FloatType {
        match self {
            WeightType::Float(float) => float,
            WeightType::Quant(_) => FloatType::F16,
        }
    }

    /// The whole numbers of the groups' matrices, if they are that.
    pub fn quant(self) -> Option<QuantType> {
        match self {
            WeightType::Float(_) => None,
            WeightType::Quant(quant) => Some(quant),
        }
    }

    /// Bits of one weight of a linear, its share of scales and minima included.
    pub fn bits_per_weight(self) -> f64 {
        match self.quant() {
            None => 16.0,
            Some(quant) => quant.bits() as f64 + 8.0 * quant.group_bytes() as f64 / QUANT_GROUP as f64,
        }
    }

    /// The share of input channels that is read where this share of a linear's bytes is, which has no low rank: scales
    /// and minima are read whatever is kept.
    pub fn kept_channels(self, kept: f32) -> f32 {
        let Some(quant) = self.quant() else { return kept.clamp(0.0, 1.0) };
        let (dense, bits) = (self.bits_per_weight(), quant.bits() as f64);
        (((f64::from(kept) * dense - (dense - bits)) / bits) as f32).clamp(0.0, 1.0)
    }

    /// How low-rank factors are stored beside such weights: in 8 bits, if they are whole numbers.
    pub fn low_rank(self) -> WeightType {
        self.quant().map_or(self, |_| WeightType::Q8)
    }

    /// Rows of the factor `A` in the file, for a rank: in whole numbers they come in groups, filled up with zeros.
    pub fn low_rank_rows(self, rank: usize) -> usize {
        self.quant().map_or(rank, |_| rank.next_multiple_of(QUANT_GROUP))
    }

    /// Input channels that stay together when a matrix is cut into blocks.
    pub fn block_unit(self) -> usize {
        if self.quant().is_some() { QUANT_GROUP } else { STREAMS }
    }
}

/// 16-bit floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// 8 exponent bits, 7 of mantissa.
    Bf16,
    /// IEEE binary16: 5 exponent bits, 10 of mantissa.
    F16,
}

impl FloatType {
    /// Both.
    pub const ALL: [FloatType; 2] = [FloatType::Bf16, FloatType::F16];

    /// What it is.
    pub fn format(self) -> &'static FloatFormat {
        match self {
            FloatType::Bf16 => &bf16::FORMAT,
            FloatType::F16 => &f16::FORMAT,
        }
    }

    /// The dtype in the file.
    pub fn dtype(self) -> Dtype {
        match self {
            FloatType::Bf16 => Dtype::BF16,
            FloatType::F16 => Dtype::F16,
        }
    }

    pub(crate) fn elems(self, bits: &[u16]) -> Elems<'_> {
        (self.format().elems)(bits)
    }

    /// A contiguous `[rows, cols]` matrix. Shapes were checked at load, so a misfit is a defect of this library.
    pub(crate) fn matrix(self, bits: &[u16], rows: usize, cols: usize) -> Matrix<'_> {
        Matrix::new(self.elems(bits), rows, cols, cols).expect("shape checked at load")
    }
}
