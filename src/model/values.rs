//! A model's weights as f32, a group or a few rows at a time: for whoever studies a model offline. Nothing here is on a
//! token's way.

use super::{ChannelWeights, Group, LowRank, Model, UpRows};
use crate::format::BLOCKS;
use rasp_kernels::Kernels;

impl Model {
    /// The residual stream of a token at a position before the first block, into `y`: `[hidden]`. Panics if there is no
    /// such token or position.
    pub fn embedding_values(&self, token: u32, position: usize, y: &mut [f32]) {
        self.embed(token, position, y);
    }

    /// What the head takes of a residual stream after the last block, into `y`: `[hidden]`. Panics if either has
    /// another length.
    pub fn final_normed(&self, x: &[f32], y: &mut [f32]) {
        self.final_norm().apply(self.kernels(), y, x, 0..x.len());
    }

    /// A token's row of the head, into `y`: `[hidden]`. Panics if there is no such token.
    pub fn head_values(&self, token: u32, y: &mut [f32]) {
        self.lm_head().widen(self.kernels(), token as usize, y);
    }

    /// The weights of input channel `channel` of a group of this model, into `y`: `[output]`; of `R` where a linear has
    /// a low rank, else of `W`. Panics if there is no such channel, or `y` has another length.
    pub fn channel_values(&self, group: &Group, channel: usize, y: &mut [f32]) {
        let block = (0..BLOCKS).find(|&block| group.block(block).contains(&channel));
        let block = block.expect("a channel of the group");
        group.weights(block).widen(self.kernels(), channel - group.block(block).start, y);
    }

    /// The weights of output `output` of an `up` by outputs of this model, into `y`: `[hidden]`. Panics if there is no
    /// such output, or `y` has another length.
    pub fn up_values(&self, up: &UpRows, output: usize, y: &mut [f32]) {
        up.rows().widen(self.kernels(), output, y);
    }

    /// The factors of a low rank, `B` as `[rank, input]` and `A` as `[rank, output]`.
    pub fn low_rank_values(&self, low_rank: &LowRank) -> (Vec<f32>, Vec<f32>) {
        let (b, a, kernels) = (low_rank.b(), low_rank.a(), self.kernels());
        let mut wide_b = vec![0.0; low_rank.rank * b.cols()];
        wide_b.chunks_exact_mut(b.cols()).enumerate().for_each(|(k, y)| b.widen(kernels, k, y));
        let mut wide_a = vec![0.0; low_rank.rank * a.cols()];
        wide_a.chunks_exact_mut(a.cols()).enumerate().for_each(|(k, y)| a.widen(kernels, k, y));
        (wide_b, wide_a)
    }
}

impl Group {
    /// `[output]`: what is added to the products, if anything.
    pub fn bias_values(&self) -> Option<&[f32]> {
        self.bias()
    }
}

impl ChannelWeights<'_> {
    /// Outputs.
    fn cols(&self) -> usize {
        match self {
            ChannelWeights::Float(w) => w.cols(),
            ChannelWeights::Quantized(w) => w.cols(),
        }
    }

    /// Channel `k` as f32.
    fn widen(&self, kernels: Kernels, k: usize, y: &mut [f32]) {
        match self {
            ChannelWeights::Float(w) => kernels.widen(y, w.row(k)),
            ChannelWeights::Quantized(w) => w.widen(k, y),
        }
    }
}
