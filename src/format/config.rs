//! The shape of a model.

use crate::error::bad_file;
use crate::model::{Attention, Block, GroupKind, LinearKind};
use crate::{Error, Result, Status};
use serde::{Deserialize, Serialize};

/// The shape of a decoder; `__metadata__["rasp.config"]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The model family, for people: what a model computes is in [`block`](Config::block).
    pub architecture: String,
    /// What the checkpoint calls itself.
    pub name: String,
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Decoder blocks.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// The longest context the model was trained for, in tokens.
    pub context_length: usize,
    /// Added to the mean square, or the variance, before its root is taken: in every norm.
    pub rms_norm_eps: f32,
    /// True if the head shares the embedding's rows.
    pub tie_word_embeddings: bool,
    /// What a decoder block computes; absent in the file where it is what Llama's does.
    #[serde(default, skip_serializing_if = "Block::is_llamas")]
    pub block: Block,
}

/// The shape of a linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Input channels.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
}

impl LinearShape {
    /// Its weights.
    pub fn weights(self) -> usize {
        self.inputs * self.outputs
    }
}

/// Tables of rotary frequencies at most: known models have two.
const MAX_ROPES: usize = 16;

/// No dimension of a model may exceed this: products of two stay far from overflow, also on 32-bit machines' `u64`.
const MAX_DIMENSION: usize = 1 << 24;

impl Config {
    /// Reads the JSON of a file. A block that this library does not know is refused as unsupported.
    pub fn parse(json: &str) -> Result<Config> {
        serde_json::from_str(json).map_err(|e| match unknown_block(json) {
            Some(e) => {
                let words = "this library is older than the file, or it is damaged";
                Error::new(Status::Unsupported, format!("metadata rasp.config: block: {e}; {words}"))
            }
            None => bad_file(format!("metadata rasp.config: {e}")),
        })
    }

    /// A small Llama, for tests to vary.
    #[doc(hidden)]
    pub fn example() -> Config {
        Config {
            architecture: "llama".into(),
            name: "example".into(),
            vocab_size: 257,
            hidden_size: 64,
            intermediate_size: 96,
            num_layers: 2,
            num_heads: 4,
            num_kv_heads: 2,
            head_dim: 16,
            context_length: 512,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: false,
            block: Block::default(),
        }
    }

    /// Width of all query heads together, `Q`.
    pub fn q_dim(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of all key (or value) heads together, `K`.
    pub fn kv_dim(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// The shape of one linear.
    pub fn linear_shape(&self, kind: LinearKind) -> LinearShape {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (inputs, outputs) = match kind {
            LinearKind::Q => (hidden, self.q_dim()),
            LinearKind::K | LinearKind::V => (hidden, self.kv_dim()),
            LinearKind::O => (self.q_dim(), hidden),
            LinearKind::Gate | LinearKind::Up => (hidden, inner),
            LinearKind::Down => (inner, hidden),
        };
        LinearShape { inputs, outputs }
    }

    /// The linears of a decoder block that have masks of their own, in the order a token passes them: all but an `up`
    /// that is [stored by outputs](Block::up_by_outputs).
    pub fn linears(&self) -> &'static [LinearKind] {
        use LinearKind::{Down, Gate, K, O, Q, Up, V};
        match (self.block.gated, self.block.up_by_outputs) {
            (false, _) => &[Q, K, V, O, Up, Down],
            (true, false) => &LinearKind::ALL,
            (true, true) => &[Q, K, V, O, Gate, Down],
        }
    }

    /// The linears of a fused projection, in the order of their columns.
    pub fn group_linears(&self, kind: GroupKind) -> &'static [LinearKind] {
        match kind {
            GroupKind::Qkv => &[LinearKind::Q, LinearKind::K, LinearKind::V],
            GroupKind::O => &[LinearKind::O],
            GroupKind::GateUp if self.block.up_by_outputs => &[LinearKind::Gate],
            GroupKind::GateUp if self.block.gated => &[LinearKind::Gate, LinearKind::Up],
            GroupKind::GateUp => &[LinearKind::Up],
            GroupKind::Down => &[LinearKind::Down],
        }
    }

    /// The name of a fused projection in tensor names.
    pub fn group_name(&self, kind: GroupKind) -> &'static str {
        match kind {
            GroupKind::GateUp if !self.block.gated => LinearKind::Up.name(),
            GroupKind::GateUp if self.block.up_by_outputs => LinearKind::Gate.name(),
            kind => kind.name(),
        }
    }

    /// The shape of a fused projection: all its linears side by side.
    pub fn group_shape(&self, kind: GroupKind) -> LinearShape {
        let shapes = self.group_linears(kind).iter().map(|&kind| self.linear_shape(kind));
        shapes.reduce(|all, one| LinearShape { outputs: all.outputs + one.outputs, ..all }).expect("no group is empty")
    }

    /// The place of a layer's linear among all of the model. Panics if its layers have none of this kind.
    pub fn linear_index(&self, layer: usize, kind: LinearKind) -> usize {
        let place = self.linears().iter().position(|&other| other == kind).expect("a linear of this model");
        layer * self.linears().len() + place
    }

    /// Fails unless every number is one the engine can compute with.
    pub fn validate(&self) -> Result<()> {
        let bad = |message: String| Err(Error::new(Status::BadFile, format!("config: {message}")));
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
            ("num_kv_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
            ("context_length", self.context_length),
            ("num_heads · head_dim", self.num_heads.saturating_mul(self.head_dim)),
        ] {
            if value == 0 || value > MAX_DIMENSION {
                return bad(format!("{name} is {value}, outside 1 to {MAX_DIMENSION}"));
            }
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            return bad(format!("num_kv_heads {} does not divide num_heads {}", self.num_kv_heads, self.num_heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return bad(format!("head_dim {} is odd", self.head_dim));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return bad(format!("rms_norm_eps is {}, outside 0 to 1", self.rms_norm_eps));
        }
        self.validate_block().or_else(bad)
    }

    fn validate_block(&self) -> std::result::Result<(), String> {
        let block = &self.block;
        let positive = |name: &str, value: Option<f32>| match value {
            Some(x) if !(x.is_finite() && x > 0.0) => Err(format!("block: {name} is {x}, expected above 0")),
            _ => Ok(()),
        };
        positive("embedding_scale", Some(block.embedding_scale))?;
        positive("logit_soft_cap", block.logit_soft_cap)?;
        positive("qkv_clip", block.qkv_clip)?;
        if block.up_by_outputs && !(block.gated && block.activation.has_zeros()) {
            return Err("block: up_by_outputs needs a gate whose activation is exactly zero for some of it".into());
        }
        if !(block.xielu.is_empty() || block.xielu.len() == self.num_layers) {
            return Err(format!("block: xielu lists {} of {} layers", block.xielu.len(), self.num_layers));
        }
        if block.xielu.as_flattened().iter().any(|x| !x.is_finite()) {
            return Err("block: xielu has parameters that are no finite numbers".into());
        }
        block.rope_gains.iter().try_for_each(|gain| positive("rope_gains", Some(*gain)))?;
        if block.attention.is_empty() {
            return Err("block: attention is empty, expected a kind at least".into());
        }
        for (n, Attention { window, rope, scale, soft_cap }) in block.attention.iter().enumerate() {
            positive(&format!("attention {n}: scale"), *scale)?;
            positive(&format!("attention {n}: soft_cap"), *soft_cap)?;
            if *window == Some(0) {
                return Err(format!("block: attention {n}: window is 0, expected a position at least"));
            }
            if rope.is_some_and(|table| table >= MAX_ROPES) {
                return Err(format!("block: attention {n}: rope is {rope:?}, expected below {MAX_ROPES}"));
            }
        }
        if !(block.layers.is_empty() || block.layers.len() == self.num_layers) {
            return Err(format!("block: layers lists {} of {} layers", block.layers.len(), self.num_layers));
        }
        match block.layers.iter().find(|&&kind| kind >= block.attention.len()) {
            Some(kind) => Err(format!("block: there is no kind {kind} of attention")),
            None => Ok(()),
        }
    }
}

/// Why a config that could not be read was not, if it is for its block: what a newer library may have written is told
/// from what is damaged.
fn unknown_block(json: &str) -> Option<serde_json::Error> {
    #[derive(Deserialize)]
    struct StatedBlock {
        block: serde_json::Value,
    }
    let stated: StatedBlock = serde_json::from_str(json).ok()?;
    if stated.block.is_null() { None } else { Block::deserialize(stated.block).err() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, BlockOrder};

    #[test]
    fn a_config_goes_through_json_and_llamas_block_takes_no_room() {
        let llama = Config::example();
        let json = serde_json::to_string(&llama).unwrap();
        assert!(!json.contains("block"), "{json}");
        assert_eq!(Config::parse(&json).unwrap(), llama);
        let other = Config { block: Block { order: BlockOrder::Parallel, ..Block::default() }, ..llama };
        assert_eq!(Config::parse(&serde_json::to_string(&other).unwrap()).unwrap(), other);
    }

    #[test]
    fn what_a_newer_library_wrote_is_told_from_damage() {
        let json = serde_json::to_string(&Config::example()).unwrap();
        let with = |block: &str| json.replace('{', &format!("{{\"block\":{block},"));
        for block in [r#"{"experts":8}"#, r#"{"activation":"mish"}"#, "7"] {
            let error = Config::parse(&with(block)).unwrap_err();
            assert!(error.status() == Status::Unsupported && error.message().contains("block"), "{error}");
        }
        for json in ["", "[]", "{}", &json.replace("512", "-1")] {
            assert_eq!(Config::parse(json).unwrap_err().status(), Status::BadFile, "{json}");
        }
    }

    #[test]
    fn blocks_that_cannot_be_computed_are_refused() {
        let local = Attention { window: Some(4), ..Attention::default() };
        let up_by_outputs = Block { up_by_outputs: true, ..Block::default() };
        for (block, word) in [
            (Block { attention: vec![], ..Block::default() }, "attention"),
            (Block { attention: vec![Attention { window: Some(0), ..local }], ..Block::default() }, "window"),
            (Block { attention: vec![Attention { scale: Some(f32::NAN), ..local }], ..Block::default() }, "scale"),
            (Block { attention: vec![Attention { soft_cap: Some(-1.0), ..local }], ..Block::default() }, "soft_cap"),
            (Block { attention: vec![Attention { rope: Some(16), ..local }], ..Block::default() }, "rope"),
            (Block { rope_gains: vec![0.0], ..Block::default() }, "rope_gains"),
            (Block { layers: vec![0], ..Block::default() }, "layers"),
            (Block { layers: vec![0, 1], ..Block::default() }, "kind 1"),
            (Block { embedding_scale: 0.0, ..Block::default() }, "embedding_scale"),
            (Block { logit_soft_cap: Some(f32::INFINITY), ..Block::default() }, "logit_soft_cap"),
            (Block { qkv_clip: Some(0.0), ..Block::default() }, "qkv_clip"),
            (Block { up_by_outputs: true, ..Block::default() }, "up_by_outputs"),
            (Block { gated: false, activation: Activation::Relu, ..up_by_outputs.clone() }, "up_by_outputs"),
            (Block { xielu: vec![[1.0; 3]], ..Block::default() }, "xielu"),
            (Block { xielu: vec![[1.0, f32::NAN, 1.0]; 2], ..Block::default() }, "xielu"),
        ] {
            let error = Config { block, ..Config::example() }.validate().unwrap_err();
            assert!(error.status() == Status::BadFile && error.message().contains(word), "{error}");
        }
    }
}
