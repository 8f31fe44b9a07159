//! A decoder block as data: what a model computes, layer by layer, as a list of operations.
//!
//! The engine, the packer's forward pass and its backward pass walk the same list ([`layer`]); what a model is made of
//! beside it is [`tensors`](super::tensors). To add a family of models is to describe it with these, not to write code.
//! Whatever can be folded into weights at import (multipliers, `1 + w` gains, fused matrices, partial rotation) is, and
//! does not show here.

use super::GroupKind;
use crate::format::Config;
pub use rasp_kernels::Activation;
use serde::{Deserialize, Serialize};

/// One operation of a decoder block. A token's state is the residual stream and a few named activations, see
/// [`Stream`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// `normed = norm(residual)`
    Norm(NormId),
    /// The linears of one fused projection, `[tokens, inputs]` from a stream to where its kind writes.
    Project(GroupKind, Stream),
    /// Queries, keys and values, each held between minus this and this (MPT; OLMo, arXiv:2402.00838, section 2.1).
    Clip(f32),
    /// Norm of queries and keys, see [`QkNorm`].
    HeadNorm(QkNorm),
    /// Queries and keys turned by their position, by this table of frequencies (RoFormer, arXiv:2104.09864).
    Rotate(usize),
    /// Keys and values into the cache.
    Store,
    /// `attended = softmax(scale · q Kᵀ) V`, causal, every query head with its group's keys and values (GQA,
    /// arXiv:2305.13245).
    Attend(Attention),
    /// `activated = activation(gate) · up`, or `activation(up)` where the MLP has no gate.
    Activate(Activation),
    /// `delta = norm(delta)`: on what is about to be added to the residual stream.
    PostNorm(NormId),
    /// `residual += delta`
    Add,
}

/// An activation that a projection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The residual stream itself: `[tokens, hidden]`
    Residual,
    /// What the last [`Op::Norm`] made of it: `[tokens, hidden]`
    Normed,
    /// The heads' outputs side by side: `[tokens, heads · head_dim]`
    Attended,
    /// The MLP between its linears: `[tokens, intermediate]`
    Activated,
}

/// The norms of a layer's residual stream, and of what is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormId {
    /// Before attention.
    Attn,
    /// After attention, on what it adds.
    AttnPost,
    /// Before the MLP.
    Mlp,
    /// After the MLP, on what it adds.
    MlpPost,
}

impl NormId {
    /// All of them.
    pub const ALL: [NormId; 4] = [NormId::Attn, NormId::AttnPost, NormId::Mlp, NormId::MlpPost];

    /// Its name in tensor names.
    pub fn name(self) -> &'static str {
        match self {
            NormId::Attn => "attn_norm",
            NormId::AttnPost => "attn_post_norm",
            NormId::Mlp => "mlp_norm",
            NormId::MlpPost => "mlp_post_norm",
        }
    }
}

/// How a vector is brought to unit size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Divided by its root mean square (arXiv:1910.07467, equation 4).
    #[default]
    Rms,
    /// Its mean taken off first (arXiv:1607.06450, equation 4).
    Layer,
}

/// Where a sub-block is normed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPlace {
    /// What it takes.
    #[default]
    Before,
    /// What it adds; it takes the residual stream as it is (OLMo 2, arXiv:2501.00656, section 3.1).
    After,
    /// Both (Gemma 2, arXiv:2408.00118, section 2).
    Both,
}

/// Whether attention and MLP follow each other or take the same residual stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockOrder {
    /// The MLP takes what attention has added to.
    #[default]
    Sequential,
    /// Both take the block's input, normed once (GPT-J; PaLM, arXiv:2204.02311, section 2).
    Parallel,
    /// Both take the block's input, each with a norm of its own (GPT-NeoX, arXiv:2204.06745, section 2.1).
    ParallelNorms,
}

/// A norm of queries and keys (Dehghani et al., arXiv:2302.05442, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct QkNorm {
    /// How.
    pub kind: NormKind,
    /// Over each head, or over all heads together.
    pub over: QkNormOver,
    /// Whether queries and keys are turned first.
    pub after_rotation: bool,
}

/// What a norm of queries and keys takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNormOver {
    /// Each head by itself.
    Head,
    /// All query heads, and all key heads.
    Vector,
}

/// What a layer's attention does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attention {
    /// A token sees so many positions, its own included; absent: all before it.
    pub window: Option<usize>,
    /// The table of frequencies that turns queries and keys; absent: they are not turned.
    pub rope: Option<usize>,
    /// What `q·k` is multiplied by; absent: `1/√head_dim`.
    pub scale: Option<f32>,
    /// Scores become `cap·tanh(score/cap)` (Gemma 2, arXiv:2408.00118, section 2).
    pub soft_cap: Option<f32>,
}

/// What a decoder block computes; by default what Llama's does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Block {
    /// The kind of the norms of the residual stream, the last one included.
    pub norm: NormKind,
    /// Where they stand.
    pub norm_place: NormPlace,
    /// How attention and MLP follow each other.
    pub order: BlockOrder,
    /// What queries, keys and values are held within; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qkv_clip: Option<f32>,
    /// A norm of queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// What stands between the linears of the MLP.
    #[serde(with = "activation_name")]
    pub activation: Activation,
    /// Each layer's `alpha_p`, `alpha_n` and `beta` of [`Activation::Xielu`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub xielu: Vec<[f32; 3]>,
    /// Whether the MLP has a gate.
    pub gated: bool,
    /// Whether `up` is stored by outputs, of which only those are computed whose gate the activation leaves above zero.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub up_by_outputs: bool,
    /// The kinds of attention that layers have.
    pub attention: Vec<Attention>,
    /// Which of them each layer has; empty: all the first.
    pub layers: Vec<usize>,
    /// What turning multiplies queries and keys by, a table (YaRN, arXiv:2309.00071, equation 22); absent: 1. Channels
    /// that do not turn stay as they are.
    pub rope_gains: Vec<f32>,
    /// Whether a vector for each position is added to the embedding.
    pub positions: bool,
    /// What the embedding is multiplied by.
    pub embedding_scale: f32,
    /// Logits become `cap·tanh(logit/cap)`.
    pub logit_soft_cap: Option<f32>,
}

impl Default for Block {
    fn default() -> Block {
        Block {
            norm: NormKind::Rms,
            norm_place: NormPlace::Before,
            order: BlockOrder::Sequential,
            qkv_clip: None,
            qk_norm: None,
            activation: Activation::Silu,
            xielu: Vec::new(),
            gated: true,
            up_by_outputs: false,
            attention: vec![Attention { rope: Some(0), ..Attention::default() }],
            layers: Vec::new(),
            rope_gains: Vec::new(),
            positions: false,
            embedding_scale: 1.0,
            logit_soft_cap: None,
        }
    }
}

impl Block {
    /// Whether it is what files of version 2 could say before they could say anything else.
    pub fn is_llamas(&self) -> bool {
        *self == Block::default()
    }

    /// Tables of rotary frequencies.
    pub fn ropes(&self) -> usize {
        self.attention.iter().filter_map(|attention| attention.rope).map(|table| table + 1).max().unwrap_or(0)
    }

    /// What turning by a table multiplies by.
    pub fn rope_gain(&self, table: usize) -> f32 {
        self.rope_gains.get(table).copied().unwrap_or(1.0)
    }

    /// What attention does in layer `n`.
    pub fn attention(&self, n: usize) -> Attention {
        let kind = self.layers.get(n).copied().unwrap_or(0);
        self.attention.get(kind).copied().unwrap_or_default()
    }

    /// What stands between the linears of the MLP in layer `n`.
    pub fn activation(&self, n: usize) -> Activation {
        match (self.activation, self.xielu.get(n)) {
            (Activation::Xielu { .. }, Some(&[alpha_p, alpha_n, beta])) => Activation::Xielu { alpha_p, alpha_n, beta },
            (activation, _) => activation,
        }
    }

    /// The norms that each layer has.
    pub fn norms(&self) -> impl Iterator<Item = NormId> + '_ {
        NormId::ALL.into_iter().filter(|id| match id {
            NormId::Attn => self.norm_place != NormPlace::After,
            NormId::Mlp => self.norm_place != NormPlace::After && self.order != BlockOrder::Parallel,
            NormId::AttnPost | NormId::MlpPost => self.norm_place != NormPlace::Before,
        })
    }
}

/// What a token passes in layer `n`, in order.
pub fn layer(config: &Config, n: usize) -> Vec<Op> {
    let block = &config.block;
    let attention = block.attention(n);
    let has = |id: NormId| block.norms().any(|norm| norm == id);
    // A norm stands until the next one: a parallel MLP without its own takes attention's.
    let normed = |ops: &mut Vec<Op>, id: NormId| ops.extend(has(id).then_some(Op::Norm(id)));
    let source = if block.norm_place == NormPlace::After { Stream::Residual } else { Stream::Normed };
    let add = |ops: &mut Vec<Op>, group: GroupKind, from: Stream, post: NormId| {
        ops.push(Op::Project(group, from));
        ops.extend(has(post).then_some(Op::PostNorm(post)));
        ops.push(Op::Add);
    };
    let mut ops = Vec::with_capacity(15);
    normed(&mut ops, NormId::Attn);
    ops.push(Op::Project(GroupKind::Qkv, source));
    ops.extend(block.qkv_clip.map(Op::Clip));
    ops.extend(block.qk_norm.filter(|norm| !norm.after_rotation).map(Op::HeadNorm));
    ops.extend(attention.rope.map(Op::Rotate));
    ops.extend(block.qk_norm.filter(|norm| norm.after_rotation).map(Op::HeadNorm));
    ops.extend([Op::Store, Op::Attend(attention)]);
    if block.order == BlockOrder::Sequential {
        add(&mut ops, GroupKind::O, Stream::Attended, NormId::AttnPost);
    }
    normed(&mut ops, NormId::Mlp);
    ops.extend([Op::Project(GroupKind::GateUp, source), Op::Activate(block.activation(n))]);
    if block.order != BlockOrder::Sequential {
        // Only now: the MLP takes the residual stream as it was.
        add(&mut ops, GroupKind::O, Stream::Attended, NormId::AttnPost);
    }
    add(&mut ops, GroupKind::Down, Stream::Activated, NormId::MlpPost);
    ops
}

/// An activation as its name.
mod activation_name {
    use super::Activation;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(activation: &Activation, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(activation.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Activation, D::Error> {
        let name = String::deserialize(from)?;
        let known = || Activation::ALL.map(Activation::name).join(", ");
        let found = Activation::ALL.into_iter().find(|activation| activation.name() == name);
        found.ok_or_else(|| D::Error::custom(format!("activation `{name}`; known are {}", known())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(block: Block) -> Config {
        Config { block, ..Config::example() }
    }

    #[test]
    fn llamas_block_is_written_as_papers_write_it() {
        let attention = Attention { rope: Some(0), ..Attention::default() };
        let expected = [
            Op::Norm(NormId::Attn),
            Op::Project(GroupKind::Qkv, Stream::Normed),
            Op::Rotate(0),
            Op::Store,
            Op::Attend(attention),
            Op::Project(GroupKind::O, Stream::Attended),
            Op::Add,
            Op::Norm(NormId::Mlp),
            Op::Project(GroupKind::GateUp, Stream::Normed),
            Op::Activate(Activation::Silu),
            Op::Project(GroupKind::Down, Stream::Activated),
            Op::Add,
        ];
        assert_eq!(layer(&config(Block::default()), 0), expected);
    }

    /// In a parallel block nothing is added before the MLP has read the residual stream.
    #[test]
    fn a_parallel_block_adds_last() {
        for order in [BlockOrder::Parallel, BlockOrder::ParallelNorms] {
            let ops = layer(&config(Block { order, ..Block::default() }), 0);
            let first_add = ops.iter().position(|op| *op == Op::Add).unwrap();
            let mlp = ops.iter().position(|op| matches!(op, Op::Project(GroupKind::GateUp, _))).unwrap();
            assert!(mlp < first_add);
            assert_eq!(ops.contains(&Op::Norm(NormId::Mlp)), order == BlockOrder::ParallelNorms);
        }
    }

    #[test]
    fn norms_stand_where_they_are_said_to() {
        let norm = QkNorm { kind: NormKind::Rms, over: QkNormOver::Head, after_rotation: false };
        let block = |norm_place| Block { norm_place, qk_norm: Some(norm), ..Block::default() };
        let both = layer(&config(block(NormPlace::Both)), 0);
        assert_eq!(both.iter().filter(|op| matches!(op, Op::Norm(_) | Op::PostNorm(_))).count(), 4);
        let after = layer(&config(block(NormPlace::After)), 0);
        assert_eq!(after[0], Op::Project(GroupKind::Qkv, Stream::Residual));
        let place = |ops: &[Op], op: Op| ops.iter().position(|other| *other == op).unwrap();
        assert!(place(&after, Op::HeadNorm(norm)) < place(&after, Op::Rotate(0)));
        let late = QkNorm { after_rotation: true, ..norm };
        let late_block = Block { qk_norm: Some(late), ..Block::default() };
        let ops = layer(&config(late_block), 0);
        assert!(place(&ops, Op::HeadNorm(late)) > place(&ops, Op::Rotate(0)));
    }

    /// What the engine takes for granted when it does an operation along with the projection before it.
    #[test]
    fn projections_read_and_are_followed_by_what_their_kind_says() {
        for order in [BlockOrder::Sequential, BlockOrder::Parallel, BlockOrder::ParallelNorms] {
            for norm_place in [NormPlace::Before, NormPlace::After, NormPlace::Both] {
                let ops = layer(&config(Block { order, norm_place, ..Block::default() }), 0);
                for (op, next) in ops.iter().zip(&ops[1..]) {
                    match (*op, *next) {
                        (Op::Project(GroupKind::Qkv, from), next) => {
                            assert!(matches!(from, Stream::Residual | Stream::Normed));
                            assert!(!matches!(next, Op::Activate(_)));
                        }
                        (Op::Project(GroupKind::GateUp, from), next) => {
                            assert!(matches!(from, Stream::Residual | Stream::Normed));
                            assert!(matches!(next, Op::Activate(_)));
                        }
                        (Op::Project(GroupKind::O, from), _) => assert_eq!(from, Stream::Attended),
                        (Op::Project(GroupKind::Down, from), _) => assert_eq!(from, Stream::Activated),
                        (op, Op::Activate(_)) => panic!("an activation after {op:?}"),
                        _ => {}
                    }
                }
            }
        }
    }

    /// What a file says comes back, and what this library does not know is refused.
    #[test]
    fn a_block_goes_through_json() {
        let local = Attention { window: Some(512), rope: Some(1), scale: Some(0.0625), soft_cap: Some(50.0) };
        let block = Block {
            norm: NormKind::Layer,
            activation: Activation::XIELU,
            xielu: vec![[1.0, 0.75, 0.5], [0.5, 2.0, 0.25]],
            qkv_clip: Some(8.0),
            gated: false,
            attention: vec![Attention::default(), local],
            layers: vec![1, 0],
            logit_soft_cap: Some(30.0),
            ..Block::default()
        };
        let json = serde_json::to_string(&block).unwrap();
        assert_eq!(serde_json::from_str::<Block>(&json).unwrap(), block);
        assert_eq!((block.ropes(), block.attention(0), block.attention(1)), (2, local, Attention::default()));
        assert_eq!(block.activation(1), Activation::Xielu { alpha_p: 0.5, alpha_n: 2.0, beta: 0.25 });
        assert_eq!(serde_json::from_str::<Block>("{}").unwrap(), Block::default());
        // What older libraries do not know is not said where it is not there.
        let json = serde_json::to_string(&Block::default()).unwrap();
        assert!(["xielu", "qkv_clip", "up_by_outputs"].iter().all(|new| !json.contains(new)), "{json}");
        for (json, word) in [
            (r#"{"activation": "mish"}"#, "mish"),
            (r#"{"experts": 8}"#, "experts"),
            (r#"{"norm": "group"}"#, "group"),
            (r#"{"attention": [{"alibi": true}]}"#, "alibi"),
        ] {
            let error = serde_json::from_str::<Block>(json).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
