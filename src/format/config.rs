//! The shape of a model.

use crate::model::LinearKind;
use crate::{Error, Result, Status};
use serde::{Deserialize, Serialize};

/// The shape of a Llama-family decoder; `__metadata__["rasp.config"]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The model family: `llama` or `qwen2`. All share one decoder; what differs is data (biases, tokenizer).
    pub architecture: String,
    /// What the checkpoint calls itself.
    pub name: String,
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated MLP.
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
    /// Added to the mean square before its root is taken.
    pub rms_norm_eps: f32,
    /// True if the head shares the embedding's rows.
    pub tie_word_embeddings: bool,
}

/// No dimension of a model may exceed this: products of two stay far from overflow, also on 32-bit machines' `u64`.
const MAX_DIMENSION: usize = 1 << 24;

impl Config {
    /// Width of all query heads together, `Q`.
    pub fn q_dim(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of all key (or value) heads together, `K`.
    pub fn kv_dim(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Input channels and outputs of one linear.
    pub fn linear_shape(&self, kind: LinearKind) -> (usize, usize) {
        match kind {
            LinearKind::Q => (self.hidden_size, self.q_dim()),
            LinearKind::K | LinearKind::V => (self.hidden_size, self.kv_dim()),
            LinearKind::O => (self.q_dim(), self.hidden_size),
            LinearKind::Gate | LinearKind::Up => (self.hidden_size, self.intermediate_size),
            LinearKind::Down => (self.intermediate_size, self.hidden_size),
        }
    }

    /// Fails unless every number is one the engine can compute with.
    pub fn validate(&self) -> Result<()> {
        const KNOWN: [&str; 2] = ["llama", "qwen2"];
        if !KNOWN.contains(&self.architecture.as_str()) {
            return Err(Error::new(
                Status::Unsupported,
                format!("architecture {:?}; known are {}", self.architecture, KNOWN.join(", ")),
            ));
        }
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
        Ok(())
    }
}
