//! An opened checkpoint, handing out weights by role.

use std::fmt;
use std::ops::Range;

use rasp::model::{LinearKind, QuantType};
use rasp::{Error, Result, Status};

use super::config::ModelConfig;
use super::family::{Family, Names};
use super::roles::{Norm, check_inventory, is_rotated, may_have_bias};
use super::rope::interleaved_to_half_split;
use super::tokenizer::TokenizerSource;
use super::weights::Weights;
use crate::grid::{GROUP, Grid};

/// A checkpoint of a known family, whose tensors have been found complete. Its weights' values are read, and checked to
/// be finite, when they are asked for.
pub struct Checkpoint {
    /// The model's hyperparameters.
    pub config: ModelConfig,
    /// The tokenizer's parts.
    pub tokenizer: TokenizerSource,
    /// The Jinja chat template, where the checkpoint has one.
    pub chat_template: Option<String>,
    weights: Weights,
    names: &'static Names,
    /// Whether q and k are stored for interleaved rotation pairs.
    interleaved: bool,
    has_qkv_bias: bool,
}

/// A linear layer's weights, row-major `[out, inp]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Rows.
    pub out: usize,
    /// Columns.
    pub inp: usize,
    /// `out · inp` values.
    pub data: Vec<f32>,
}

/// What a source has read, before it is known to be complete.
pub(crate) struct Parts {
    pub(crate) config: ModelConfig,
    pub(crate) tokenizer: TokenizerSource,
    pub(crate) chat_template: Option<String>,
    pub(crate) weights: Weights,
    pub(crate) family: &'static Family,
    pub(crate) names: &'static Names,
    pub(crate) interleaved: bool,
}

impl Checkpoint {
    /// Checks the parts against each other; `also` names tensors that the source has already made use of.
    pub(crate) fn new(parts: Parts, also: &[&str]) -> Result<Self> {
        let Parts { config, tokenizer, chat_template, weights, family, names, interleaved } = parts;
        let has_qkv_bias = check_inventory(&weights, &config, family, names, also)?;
        Ok(Self { config, tokenizer, chat_template, weights, names, interleaved, has_qkv_bias })
    }

    /// The weights of a linear layer. Rows of q and k are in the half-split rotation order, whatever the source's.
    pub fn linear(&self, layer: usize, linear: LinearKind) -> Result<Dense> {
        self.check_layer(layer)?;
        let (out, inp) = self.config.linear_shape(linear);
        let data = self.weights.read(&self.names.weight(layer, linear))?;
        Ok(Dense { out, inp, data: self.half_split(linear, data, inp) })
    }

    /// The same weights as they are stored, where the source has them on a grid of this kind. `None`: ask
    /// [`linear`](Self::linear), which also says what is wrong with values that are not finite.
    pub fn linear_grid(&self, layer: usize, linear: LinearKind, quant: QuantType) -> Result<Option<Grid>> {
        self.check_layer(layer)?;
        let grid = self.weights.grid(&self.names.weight(layer, linear), quant)?;
        Ok(grid.map(|g| Grid {
            numbers: self.half_split(linear, g.numbers, g.cols),
            scale: self.half_split(linear, g.scale, g.cols / GROUP),
            min: self.half_split(linear, g.min, g.cols / GROUP),
            ..g
        }))
    }

    /// Whether q, k and v have biases.
    pub fn has_bias(&self) -> bool {
        self.has_qkv_bias
    }

    /// The bias of a linear layer `[out]`, where it has one; ordered as [`Self::linear`]'s rows.
    pub fn bias(&self, layer: usize, linear: LinearKind) -> Result<Option<Vec<f32>>> {
        self.check_layer(layer)?;
        if !(self.has_qkv_bias && may_have_bias(linear)) {
            return Ok(None);
        }
        let data = self.weights.read(&self.names.bias(layer, linear))?;
        Ok(Some(self.half_split(linear, data, 1)))
    }

    /// The weights of a norm `[hidden]`.
    pub fn norm(&self, which: Norm) -> Result<Vec<f32>> {
        if let Norm::AttnNorm(layer) | Norm::MlpNorm(layer) = which {
            self.check_layer(layer)?;
        }
        self.weights.read(&self.names.norm(which))
    }

    /// Rows of the token embedding `[vocab, hidden]`, row-major.
    pub fn embedding_rows(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        self.weights.read_rows(self.names.embedding, rows)
    }

    /// Rows of the head `[vocab, hidden]`, row-major; `None` where it is the token embedding.
    pub fn lm_head_rows(&self, rows: Range<usize>) -> Result<Option<Vec<f32>>> {
        if self.config.tie_word_embeddings {
            return Ok(None);
        }
        self.weights.read_rows(self.names.lm_head, rows).map(Some)
    }

    /// Rows of the token embedding as they are stored, as [`linear_grid`](Self::linear_grid).
    pub fn embedding_grid(&self, rows: Range<usize>, quant: QuantType) -> Result<Option<Grid>> {
        self.weights.grid_rows(self.names.embedding, rows, quant)
    }

    /// Rows of the head as they are stored, as [`linear_grid`](Self::linear_grid); `None` also where the head is the
    /// token embedding.
    pub fn lm_head_grid(&self, rows: Range<usize>, quant: QuantType) -> Result<Option<Grid>> {
        if self.config.tie_word_embeddings {
            return Ok(None);
        }
        self.weights.grid_rows(self.names.lm_head, rows, quant)
    }

    fn half_split<T: Copy>(&self, linear: LinearKind, data: Vec<T>, cols: usize) -> Vec<T> {
        if self.interleaved && is_rotated(linear) {
            return interleaved_to_half_split(&data, cols, self.config.head_dim);
        }
        data
    }

    fn check_layer(&self, layer: usize) -> Result<()> {
        if layer < self.config.num_layers {
            return Ok(());
        }
        Err(Error::new(Status::OutOfRange, format!("layer {layer} of a model with {}", self.config.num_layers)))
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("config", &self.config).finish_non_exhaustive()
    }
}
