//! What a model is, apart from its weights.

use rasp::Result;
use rasp::model::LinearKind;

use super::rope::{self, Scaling};
use super::{bad, unsupported};

/// A model's hyperparameters, read from either source and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The family's name: `llama` or `qwen2`.
    pub architecture: String,
    /// What the model calls itself.
    pub name: String,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// The most tokens the model was made for.
    pub context_length: usize,
    /// Added to the mean square in every RMS norm.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies, before any scaling.
    pub rope_theta: f64,
    /// Rotary frequencies `[head_dim / 2]` with the model's scaling applied; `i` turns the pair `(i, i + head_dim/2)`.
    pub rope_inv_freq: Vec<f32>,
    /// Whether the head shares the token embedding.
    pub tie_word_embeddings: bool,
}

/// Far beyond every known model, and small enough that no product below can overflow or make an absurd buffer.
const LIMITS: [(&str, usize); 8] = [
    ("vocab_size", 1 << 24),
    ("hidden_size", 1 << 17),
    ("intermediate_size", 1 << 20),
    ("num_layers", 1 << 12),
    ("num_heads", 1 << 12),
    ("num_kv_heads", 1 << 12),
    ("head_dim", 1 << 12),
    ("context_length", 1 << 28),
];

impl ModelConfig {
    /// Rows of q and columns of o.
    pub fn q_dim(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Rows of k and of v.
    pub fn kv_dim(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// `(out, in)` of a linear layer.
    pub fn linear_shape(&self, linear: LinearKind) -> (usize, usize) {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        match linear {
            LinearKind::Q => (self.q_dim(), hidden),
            LinearKind::K | LinearKind::V => (self.kv_dim(), hidden),
            LinearKind::O => (hidden, self.q_dim()),
            LinearKind::Gate | LinearKind::Up => (inner, hidden),
            LinearKind::Down => (hidden, inner),
        }
    }

    /// Checks the numbers a source has read, then fills in the rotary frequencies they lead to.
    pub(crate) fn finish(mut self, scaling: &Scaling, factors: Option<&[f32]>) -> Result<Self> {
        self.validate()?;
        self.rope_inv_freq = rope::inv_freq(self.head_dim, self.rope_theta, scaling, factors)?;
        Ok(self)
    }

    /// Refuses numbers that no model has, before anything is sized by them.
    fn validate(&self) -> Result<()> {
        let sizes = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_layers,
            self.num_heads,
            self.num_kv_heads,
            self.head_dim,
            self.context_length,
        ];
        for (value, (name, limit)) in sizes.into_iter().zip(LIMITS) {
            if value == 0 || value > limit {
                return Err(bad(format!("config: {name} is {value}, expected 1 to {limit}")));
            }
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            return Err(bad(format!(
                "config: {} heads do not divide among {} key-value heads",
                self.num_heads, self.num_kv_heads
            )));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(bad(format!("config: head_dim is {}, expected an even number", self.head_dim)));
        }
        let eps = self.rms_norm_eps;
        if !(eps > 0.0 && eps < 1.0) {
            return Err(bad(format!("config: rms_norm_eps is {eps}, expected above 0 and below 1")));
        }
        Ok(())
    }
}

/// Refuses a sliding attention window that would cut the context short: rasp attends to everything.
pub(crate) fn check_window(window: usize, context: usize, key: &str) -> Result<()> {
    if window != 0 && window < context {
        return Err(unsupported(format!(
            "{key} is {window}, below the context length of {context}: sliding-window attention"
        )));
    }
    Ok(())
}
