//! What tells the shapes of two models apart.

use crate::format::Config;
use serde::{Deserialize, Serialize};

/// The sizes on which the shapes of a model's linears hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSizes {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Decoder blocks.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Whether the MLP has a gate.
    pub gated: bool,
}

impl ModelSizes {
    /// Those of a model.
    pub fn of(config: &Config) -> ModelSizes {
        ModelSizes {
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_layers: config.num_layers,
            num_heads: config.num_heads,
            num_kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            gated: config.block.gated,
        }
    }

    /// The first that two have different, by name: ours and the other's; a gate is 1, none 0.
    pub fn difference(&self, other: &ModelSizes) -> Option<(&'static str, usize, usize)> {
        [
            ("hidden_size", self.hidden_size, other.hidden_size),
            ("intermediate_size", self.intermediate_size, other.intermediate_size),
            ("num_layers", self.num_layers, other.num_layers),
            ("num_heads", self.num_heads, other.num_heads),
            ("num_kv_heads", self.num_kv_heads, other.num_kv_heads),
            ("head_dim", self.head_dim, other.head_dim),
            ("gated", usize::from(self.gated), usize::from(other.gated)),
        ]
        .into_iter()
        .find(|(_, ours, theirs)| ours != theirs)
    }
}
