//! A model: everything that is the same for every token. Immutable after load, shared by any number of sessions.

mod adapter;
mod block;
mod group;
mod inventory;
mod load;
mod rows;
mod shortlist;
mod sizes;
mod skipping;
mod values;
mod weight_type;

pub use adapter::{Adapter, AdapterConfig, MAX_ADAPTER_RANK, adapter_tensor};
pub use block::{
    Activation, Attention, Block, BlockOrder, NormId, NormKind, NormPlace, Op, QkNorm, QkNormOver, Stream,
    layer as layer_ops,
};
pub(crate) use group::ChannelWeights;
pub use group::{Group, GroupKind, Linear, LinearKind, LowRank, UpRows};
pub use inventory::{Affine, Role, tensors};
pub use load::LoadOptions;
pub(crate) use rows::{Rows, RowsRef};
pub(crate) use shortlist::{Rounded, Shortlist, input as shortlist_input};
pub use sizes::ModelSizes;
pub use skipping::ExpectedTraffic;
pub(crate) use skipping::WHOLE;
pub use weight_type::{FloatType, WeightType};

use crate::format::{Bytes, Config, Recipe, View, header_end};
use crate::hash::xxh64;
use crate::log::{Log, LogLevel};
use crate::text::{ChatTemplate, Shown, Tokenizer};
use rasp_kernels::Kernels;
pub use rasp_kernels::{
    QUANT_GROUP, QuantType, SCREEN_BLOCK, SCREEN_GROUP, SCREEN_HOT, ScreenRows, scale_and_min, with_scale_and_offset,
};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A loaded model.
pub struct Model {
    config: Config,
    recipe: Recipe,
    weight_type: WeightType,
    kernels: Kernels,
    bytes: Arc<Bytes>,
    tokenizer: Arc<Tokenizer>,
    chat_template: Option<ChatTemplate>,
    /// `[vocab, hidden]`, a row a token.
    embed_tokens: Rows,
    /// `[vocab, hidden]`, a row a token; `None` where the embedding serves.
    lm_head: Option<Rows>,
    /// What greedy tokens read of the head first, if the file has it.
    shortlist: Option<Shortlist>,
    /// `[context, hidden]`: added to the embedding of each position, where the model has that.
    positions: Option<View<f32>>,
    /// `[vocab]`: added to the logits, where the model has that.
    lm_head_bias: Option<View<f32>>,
    /// `[hidden]`
    final_norm: Norm,
    /// `[head_dim / 2]` each, radians a position (RoFormer, arXiv:2104.09864, section 3.2.2).
    ropes: Vec<View<f32>>,
    layers: Vec<Layer>,
    /// Computed when it is first asked for.
    fingerprint: OnceLock<u64>,
    log: Option<Log>,
    /// What constraints are compiled for; made when the first one is.
    #[cfg(feature = "constrained")]
    constraint_vocabulary: std::sync::Mutex<Option<Arc<crate::constraint::VocabularyTree>>>,
}

/// One decoder block: the operations, in order, and what they compute with.
pub struct Layer {
    ops: Vec<Op>,
    norms: Vec<(NormId, Norm)>,
    /// Of queries and of keys.
    qk_norm: Option<[Norm; 2]>,
    groups: [Group; 4],
}

/// What a norm multiplies by, and adds: `[width]` each.
pub struct Norm {
    kind: NormKind,
    gain: View<f32>,
    bias: Option<View<f32>>,
    eps: f32,
}

impl Norm {
    /// How it brings a vector to unit size.
    pub fn kind(&self) -> NormKind {
        self.kind
    }

    /// What it multiplies by: `[width]`
    pub fn gain(&self) -> &[f32] {
        &self.gain
    }

    /// What it adds, if anything: `[width]`
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// Added to the mean square, or the variance.
    pub fn eps(&self) -> f32 {
        self.eps
    }

    /// `y = norm(x)`, with the gains and biases of these elements of its width.
    pub(crate) fn apply(&self, kernels: Kernels, y: &mut [f32], x: &[f32], of: Range<usize>) {
        let (gain, bias) = (&self.gain[of.clone()], self.bias.as_deref().map(|bias| &bias[of]));
        match self.kind {
            NormKind::Rms => kernels.rms_norm(y, x, gain, self.eps),
            NormKind::Layer => kernels.layer_norm(y, x, gain, bias, self.eps),
        }
    }
}

impl Layer {
    /// What a token passes, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// One of its norms. Panics if its operations name none of this kind.
    pub fn norm(&self, id: NormId) -> &Norm {
        let found = self.norms.iter().find(|(other, _)| *other == id);
        &found.expect("a layer has the norms of its operations").1
    }

    /// The norms of queries and of keys, if it has them.
    pub fn qk_norm(&self) -> Option<&[Norm; 2]> {
        self.qk_norm.as_ref()
    }

    /// One of its four groups.
    pub fn group(&self, kind: GroupKind) -> &Group {
        &self.groups[kind as usize]
    }

    /// The four groups, in the order of [`GroupKind::ALL`].
    pub fn groups(&self) -> &[Group; 4] {
        &self.groups
    }
}

impl Model {
    /// Whether a token is text, where these special ones are.
    pub fn shows(&self, token: u32, shown: Shown) -> bool {
        match shown {
            Shown::Special => true,
            _ if !self.tokenizer.is_special(token) => true,
            Shown::Text => false,
            Shown::Marks => {
                let name = self.tokenizer.token_bytes(token).unwrap_or_default();
                !self.tokenizer.is_end(token) && self.chat_template.as_ref().is_some_and(|t| t.has_mark(name))
            }
        }
    }

    /// The vocabulary as constraints need it.
    #[cfg(feature = "constrained")]
    pub(crate) fn constraint_vocabulary(&self) -> crate::Result<Arc<crate::constraint::VocabularyTree>> {
        use crate::constraint::VocabularyTree;
        let mut made = self.constraint_vocabulary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(vocabulary) = &*made {
            return Ok(vocabulary.clone());
        }
        // Tokens as words and as a tree, each while the other is made.
        let reserve = self.config.vocab_size.saturating_mul(512).saturating_add(16 << 10);
        let body = || Ok(Arc::new(VocabularyTree::new(&self.tokenizer, self.config.vocab_size)?));
        // SAFETY: what it makes is in the vocabulary.
        let vocabulary = unsafe { crate::reserve::within(reserve, body) }?;
        Ok(made.insert(vocabulary).clone())
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where its sparsity goes.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Element type of its weight matrices.
    pub fn weight_type(&self) -> WeightType {
        self.weight_type
    }

    /// The instruction set its sessions compute with.
    pub fn isa(&self) -> rasp_kernels::Isa {
        self.kernels.isa()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template, if the checkpoint came with one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }

    /// The decoder blocks.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The groups of all blocks, in the order a token passes them.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.layers.iter().flat_map(Layer::groups)
    }

    /// The linears of all groups, in the order of [`Linear::index`].
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.groups().flat_map(Group::linears)
    }

    /// Size of the file in bytes.
    pub fn file_size(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the linears of all blocks, dense: what "traffic" and `kept` are shares of.
    pub fn linear_bytes(&self) -> u64 {
        self.groups().map(Group::bytes).sum()
    }

    /// Bytes of the head, which a token reads whole if its logits are wanted.
    pub fn head_bytes(&self) -> u64 {
        (self.config.vocab_size * self.lm_head().row_bytes()) as u64
    }

    /// Bytes of the head that a greedy token reads: all of it, or its shortlist where the file has one. (Then a few
    /// exact rows besides: [`Stats::head_bytes`](crate::session::Stats::head_bytes) counts them.)
    pub fn greedy_head_bytes(&self) -> u64 {
        self.shortlist.as_ref().map_or_else(|| self.head_bytes(), |shortlist| shortlist.bytes() as u64)
    }

    /// Row `row` of the head as the file holds it, widened into `values`: `[hidden_size]`. Panics if there is no such
    /// row, or if `values` has another length.
    pub fn head_row(&self, row: usize, values: &mut [f32]) {
        self.lm_head().widen(self.kernels, row, values);
    }

    /// The sparsest setting a session can be given; 0 for a dense file.
    pub fn max_sparsity(&self) -> f32 {
        self.recipe.sparsity.last().copied().unwrap_or(0.0)
    }

    /// The sparsity that a session starts with: what the packer found to meet the quality asked for, else 0.
    pub fn default_sparsity(&self) -> f32 {
        self.recipe.default_sparsity
    }

    /// What a token at this position passes at if it is asked to pass at `sparsity`: the first positions are dense.
    pub(crate) fn sparsity_at(&self, position: usize, sparsity: f32) -> f32 {
        if position < self.recipe.dense_prefix { 0.0 } else { sparsity }
    }

    /// A number that tells this file from others: of its header, its size and bytes from all over its tensors. Two
    /// files that differ in a few weights alone may share it.
    pub fn fingerprint(&self) -> u64 {
        const SAMPLES: usize = 256;
        const SAMPLE: usize = 64;
        *self.fingerprint.get_or_init(|| {
            let bytes = &**self.bytes;
            let (header, data) = bytes.split_at(header_end(bytes));
            let step = (data.len() / SAMPLES).max(1);
            let samples = data.chunks(step).map(|part| &part[..part.len().min(SAMPLE)]);
            samples.fold(xxh64(header, bytes.len() as u64), |hash, sample| xxh64(sample, hash))
        })
    }

    /// Tells the host's log, if there is one.
    pub(crate) fn tell(&self, level: LogLevel, message: std::fmt::Arguments<'_>) {
        if let Some(log) = &self.log {
            log.tell(level, message);
        }
    }

    pub(crate) fn kernels(&self) -> Kernels {
        self.kernels
    }

    pub(crate) fn embed_tokens(&self) -> RowsRef<'_> {
        self.embed_tokens.view()
    }

    /// The residual stream of a token at a position before the first block: `[hidden]`.
    pub(crate) fn embed(&self, token: u32, position: usize, y: &mut [f32]) {
        self.embed_tokens().widen(self.kernels, token as usize, y);
        let scale = self.config.block.embedding_scale;
        if scale != 1.0 {
            y.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(positions) = &self.positions {
            self.kernels.add(y, &positions[position * y.len()..][..y.len()]);
        }
    }

    /// What a product of these rows of the head becomes: biases added, then capped.
    pub fn finish_logits(&self, rows: Range<usize>, logits: &mut [f32]) {
        if let Some(bias) = &self.lm_head_bias {
            self.kernels.add(logits, &bias[rows]);
        }
        if let Some(cap) = self.config.block.logit_soft_cap {
            self.kernels.soft_cap(logits, cap);
        }
    }

    pub(crate) fn lm_head(&self) -> RowsRef<'_> {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens).view()
    }

    pub(crate) fn shortlist(&self) -> Option<&Shortlist> {
        self.shortlist.as_ref()
    }

    /// The norm before the head.
    pub fn final_norm(&self) -> &Norm {
        &self.final_norm
    }

    /// `[context, hidden]`: what is added to the embedding of each position, where the model has that.
    pub fn positions(&self) -> Option<&[f32]> {
        self.positions.as_deref()
    }

    /// `[vocab]`: what is added to the logits, where the model has that.
    pub fn lm_head_bias(&self) -> Option<&[f32]> {
        self.lm_head_bias.as_deref()
    }

    /// `[head_dim / 2]`: radians a position by which a table turns the pair `(i, i + head_dim / 2)`.
    pub fn rope(&self, table: usize) -> &[f32] {
        &self.ropes[table]
    }

    /// Tables of rotary frequencies.
    pub(crate) fn ropes(&self) -> &[View<f32>] {
        &self.ropes
    }
}
