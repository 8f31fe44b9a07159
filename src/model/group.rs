//! Linears that share one input, side by side in one matrix, each with a mask of its own.

use super::{FloatType, Rows, RowsRef, WHOLE, WeightType};
use crate::format::{self, View};
use rasp_kernels::{Kernels, MatMut, MatRef, Matrix, QUANT_GROUP, QuantType, Quantized, QuantizedRef, QuantizedRows};
use std::ops::Range;

/// The linears of a decoder block, in the order a token passes them;
/// [`Config::linears`](crate::format::Config::linears) has those of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearKind {
    /// Query projection.
    Q,
    /// Key projection.
    K,
    /// Value projection.
    V,
    /// Attention output projection.
    O,
    /// MLP gate projection.
    Gate,
    /// MLP up projection.
    Up,
    /// MLP down projection.
    Down,
}

impl LinearKind {
    /// All seven, in order.
    pub const ALL: [LinearKind; 7] = [
        LinearKind::Q,
        LinearKind::K,
        LinearKind::V,
        LinearKind::O,
        LinearKind::Gate,
        LinearKind::Up,
        LinearKind::Down,
    ];

    /// Its name in tensor names and recipes.
    pub fn name(self) -> &'static str {
        match self {
            LinearKind::Q => "q",
            LinearKind::K => "k",
            LinearKind::V => "v",
            LinearKind::O => "o",
            LinearKind::Gate => "gate",
            LinearKind::Up => "up",
            LinearKind::Down => "down",
        }
    }

    /// The name of the one in a layer: `layers.0.q`.
    pub fn name_in(self, layer: usize) -> String {
        format!("layers.{layer}.{}", self.name())
    }
}

/// The four groups of a decoder block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// q, k, v, which read the residual stream or a norm of it.
    Qkv,
    /// o, which reads the heads' outputs.
    O,
    /// gate and up, which read the residual stream or a norm of it; up alone where the MLP has no gate, gate alone
    /// where up is [stored by outputs](super::Block::up_by_outputs).
    GateUp,
    /// down, which reads the activations between the MLP's linears.
    Down,
}

impl GroupKind {
    /// All four, in the order a token passes them.
    pub const ALL: [GroupKind; 4] = [GroupKind::Qkv, GroupKind::O, GroupKind::GateUp, GroupKind::Down];

    /// Its name in tensor names.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Qkv => "qkv",
            GroupKind::O => "o",
            GroupKind::GateUp => "gate_up",
            GroupKind::Down => "down",
        }
    }
}

/// Linears that share one input: `y = bias + A·(B·x) + R·(x∘m)` (METHOD, "The same thing, arranged better"), where
/// `A`, `B`, `R` and the mask `m` are each linear's own.
pub struct Group {
    pub(super) kind: GroupKind,
    pub(super) weight_type: WeightType,
    pub(super) input: usize,
    pub(super) output: usize,
    /// `[input, output]`, input-channel-major, channels in the order of [`format::channel_rows`]: `R` of all linears,
    /// or `W` where the rank is 0.
    pub(super) stored: Stored,
    /// `[output]`
    pub(super) bias: Option<View<f32>>,
    pub(super) linears: Vec<Linear>,
    pub(super) zero_inputs: bool,
    /// `up` by outputs, where this is the gate of such a layer.
    pub(super) up: Option<UpRows>,
}

/// An `up` that is [stored by outputs](super::Block::up_by_outputs).
pub struct UpRows {
    /// `[intermediate, hidden]`
    pub(super) rows: Rows,
    /// `[intermediate]`
    pub(super) bias: Option<View<f32>>,
    /// One a sparsity level of the recipe: the share of its rows that the calibration text read.
    pub(super) kept: Vec<f32>,
}

impl UpRows {
    /// One share a level: how many of its rows the calibration text read.
    pub fn kept(&self) -> &[f32] {
        &self.kept
    }

    /// `[intermediate]`: what is added to its products, if anything.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    pub(crate) fn rows(&self) -> RowsRef<'_> {
        self.rows.view()
    }

    /// Bytes of all its rows, scales included.
    pub(crate) fn bytes(&self) -> u64 {
        let rows = self.rows();
        (rows.rows() * rows.row_bytes()) as u64
    }
}

impl Group {
    /// Which of the four.
    pub fn kind(&self) -> GroupKind {
        self.kind
    }

    /// Input channels.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Outputs of all its linears together.
    pub fn output(&self) -> usize {
        self.output
    }

    /// Its linears, in the order of their columns.
    pub fn linears(&self) -> &[Linear] {
        &self.linears
    }

    /// The ranks of its linears together.
    pub fn rank(&self) -> usize {
        self.linears.iter().map(|l| l.rank()).sum()
    }

    /// The input channels of block `n`.
    pub(crate) fn block(&self, n: usize) -> Range<usize> {
        format::block(self.input, self.weight_type.block_unit(), n)
    }

    /// The weights of the channels of block `n`: `[channels, output]`, input-channel-major.
    pub(crate) fn weights(&self, n: usize) -> ChannelWeights<'_> {
        let channels = self.block(n);
        let (rows, cols) = (channels.len(), self.output);
        let weights = match &self.stored {
            Stored::Float(float, data) => {
                let elems = float.elems(&data[channels.start * cols..channels.end * cols]);
                Matrix::interleaved(elems, rows, cols, cols).map(ChannelWeights::Float)
            }
            Stored::Quantized { quant, data, scale, min } => {
                let bytes = quant.row_bytes(cols);
                let data = &data[channels.start * bytes..channels.end * bytes];
                let groups = channels.start / QUANT_GROUP * cols..channels.end / QUANT_GROUP * cols;
                let min = min.as_ref().map_or(&[][..], |min| &min[groups.clone()]);
                Quantized::interleaved(*quant, data, &scale[groups], min, rows, cols).map(ChannelWeights::Quantized)
            }
        };
        weights.expect("shape checked at load")
    }

    /// Whether its inputs are an activation that is exactly zero for half of what it is given or more: the rows of
    /// those are not read, at any sparsity.
    pub fn has_zero_inputs(&self) -> bool {
        self.zero_inputs
    }

    /// Whether its products take inputs in whole numbers.
    pub(crate) fn is_quantized(&self) -> bool {
        matches!(self.stored, Stored::Quantized { .. })
    }

    /// Bytes of its weights, scales included.
    pub(crate) fn bytes(&self) -> u64 {
        let up = self.up.as_ref().map_or(0, UpRows::bytes);
        self.bytes_of(self.input, self.input / QUANT_GROUP, self.output) + up
    }

    /// `up` by outputs, where this is the gate of such a layer.
    pub fn up(&self) -> Option<&UpRows> {
        self.up.as_ref()
    }

    /// Bytes of so many columns of so many channels, which belong to so many groups.
    pub(crate) fn bytes_of(&self, channels: usize, groups: usize, columns: usize) -> u64 {
        let (channels, groups, columns) = (channels as u64, groups as u64, columns as u64);
        match &self.stored {
            Stored::Float(..) => channels * columns * 2,
            Stored::Quantized { quant, .. } => {
                channels * columns * quant.bits() as u64 / 8 + groups * columns * quant.group_bytes() as u64
            }
        }
    }

    /// The masks of a token: of linears, neighbours with one score and one threshold joined, and neighbours that are
    /// read whole. Gives the columns of each mask and the first of its linears.
    pub(crate) fn masks<'a>(&'a self, thresholds: &'a [f32]) -> impl Iterator<Item = (Range<usize>, &'a Linear)> {
        let mut linears = self.linears.as_slice();
        std::iter::from_fn(move || {
            let (mask, rest) = first_mask(linears, thresholds)?;
            linears = rest;
            Some((mask[0].columns.start..mask[mask.len() - 1].columns.end, &mask[0]))
        })
    }

    /// Bytes of the low-rank factors of all its linears, scales included.
    pub(crate) fn low_rank_bytes(&self) -> u64 {
        self.linears.iter().filter_map(|l| l.low_rank.as_ref()).map(|low_rank| low_rank.bytes() as u64).sum()
    }

    pub(crate) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }
}

/// Of linears, those with the first one's mask, and the others; `None` if there are none.
pub(super) fn first_mask<'a>(linears: &'a [Linear], thresholds: &[f32]) -> Option<(&'a [Linear], &'a [Linear])> {
    let own = thresholds[linears.first()?.index];
    let joins = |l: &&Linear| thresholds[l.index] == own && (l.score_of_previous || own == WHOLE);
    Some(linears.split_at(1 + linears[1..].iter().take_while(joins).count()))
}

/// A group's matrix in the file.
pub(super) enum Stored {
    /// `[input, output]`
    Float(FloatType, View<u16>),
    Quantized {
        quant: QuantType,
        /// `[input, output · bits / 8]`
        data: View<u8>,
        /// `[input / 32, output]`, groups of channels in order: f16, or a scale with its minimum
        scale: View<u16>,
        /// f16, of the same shape, where the type has minima
        min: Option<View<u16>>,
    },
}

/// Weights of some channels, ready to compute with.
#[derive(Clone, Copy)]
pub(crate) enum ChannelWeights<'a> {
    Float(Matrix<'a>),
    Quantized(Quantized<'a>),
}

impl<'a> ChannelWeights<'a> {
    /// Some of the channels: a range that [`Matrix::row_range`] has of interleaved rows, in whole groups.
    pub(crate) fn row_range(self, range: Range<usize>) -> ChannelWeights<'a> {
        match self {
            ChannelWeights::Float(w) => ChannelWeights::Float(w.row_range(range)),
            ChannelWeights::Quantized(w) => ChannelWeights::Quantized(w.row_range(range)),
        }
    }

    pub(crate) fn columns(self, range: Range<usize>) -> ChannelWeights<'a> {
        match self {
            ChannelWeights::Float(w) => ChannelWeights::Float(w.columns(range)),
            ChannelWeights::Quantized(w) => ChannelWeights::Quantized(w.columns(range)),
        }
    }

    /// `Y += X·W`, `X` being at hand as f32 and, for weights in whole numbers, as such.
    pub(crate) fn multiply(self, kernels: Kernels, y: MatMut<'_>, x: MatRef<'_>, quant: QuantizedRef<'_>) {
        match self {
            ChannelWeights::Float(w) => kernels.gemm(y, x, w),
            ChannelWeights::Quantized(w) => kernels.gemm_q(y, quant, w),
        }
    }
}

/// One linear of a group.
pub struct Linear {
    pub(super) kind: LinearKind,
    /// Its place among all linears of the model: blocks in order, [`Config::linears`](crate::format::Config::linears)
    /// within each.
    pub(super) index: usize,
    /// Its columns in the group's matrix.
    pub(super) columns: Range<usize>,
    /// `[input]`: the factor of `|x_j|` in the score; `None` for plain magnitude.
    pub(super) score: Option<View<f32>>,
    /// True if the linear before it in the group has the same score.
    pub(super) score_of_previous: bool,
    pub(super) low_rank: Option<LowRank>,
    /// One a sparsity level of the recipe.
    pub(super) thresholds: Vec<f32>,
    /// One a sparsity level of the recipe: the share of its bytes that its mask kept on the calibration text.
    pub(super) kept: Vec<f32>,
}

impl Linear {
    /// Which of the seven.
    pub fn kind(&self) -> LinearKind {
        self.kind
    }

    /// Its place among all linears of the model.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its columns in the group's matrix.
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Rank of its low-rank part; 0 for none.
    pub fn rank(&self) -> usize {
        self.low_rank.as_ref().map_or(0, |l| l.rank)
    }

    /// One threshold a level.
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// One share a level: how much of its bytes its mask kept on the calibration text.
    pub fn kept(&self) -> &[f32] {
        &self.kept
    }

    /// `[input]`: the factor of `|x_j|` in the score; `None` for plain magnitude.
    pub fn score(&self) -> Option<&[f32]> {
        self.score.as_deref()
    }

    /// Its low-rank part, if it has one.
    pub fn low_rank(&self) -> Option<&LowRank> {
        self.low_rank.as_ref()
    }
}

/// The two factors that stand in for the channels a mask drops: `B` in row form, `A` as its transpose, so that `A·t` is
/// a column-form product.
pub struct LowRank {
    pub(super) rank: usize,
    pub(super) factors: LowRankFactors,
}

/// In whole numbers if the group's weights are that: 8 bits, whatever theirs are.
pub(super) enum LowRankFactors {
    Float {
        float: FloatType,
        /// `[rank, input]`
        b: View<u16>,
        /// `[rank, output]`
        a: View<u16>,
    },
    Quantized {
        /// `[rank, input]`, its scales (f16) `[rank, input / 32]`
        b: View<i8>,
        b_scale: View<u16>,
        /// `[rank, output]`, its scales (f16) `[rank / 32, output]`: the rank rounded up to a multiple of 32, with
        /// zeros
        a: View<u8>,
        a_scale: View<u16>,
    },
}

impl LowRank {
    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    pub(crate) fn bytes(&self) -> usize {
        match &self.factors {
            LowRankFactors::Float { b, a, .. } => 2 * (b.len() + a.len()),
            LowRankFactors::Quantized { b, b_scale, a, a_scale } => {
                b.len() + a.len() + 2 * (b_scale.len() + a_scale.len())
            }
        }
    }

    pub(crate) fn b(&self) -> RowsRef<'_> {
        let rank = self.rank;
        match &self.factors {
            LowRankFactors::Float { float, b, .. } => RowsRef::Float(float.matrix(b, rank, b.len() / rank)),
            LowRankFactors::Quantized { b, b_scale, .. } => {
                let rows = QuantizedRows::new(b, b_scale, rank, b.len() / rank);
                RowsRef::Quantized(rows.expect("shape checked at load"))
            }
        }
    }

    pub(crate) fn a(&self) -> ChannelWeights<'_> {
        let rank = self.rank;
        match &self.factors {
            LowRankFactors::Float { float, a, .. } => ChannelWeights::Float(float.matrix(a, rank, a.len() / rank)),
            LowRankFactors::Quantized { a, a_scale, .. } => {
                let rows = WeightType::Q8.low_rank_rows(rank);
                let matrix = Quantized::new(QuantType::Q8, a, a_scale, &[], rows, a.len() / rows);
                ChannelWeights::Quantized(matrix.expect("shape checked at load"))
            }
        }
    }
}
