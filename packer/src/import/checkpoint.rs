//! An opened checkpoint, handing out weights by role.

use std::fmt;
use std::ops::Range;

use rasp::format::{Config, LinearShape};
use rasp::model::{Affine, GroupKind, LinearKind, QuantType, Role};
use rasp::{Error, Result, Status};

use super::config::Shape;
use super::dequant::DType;
use super::family::Family;
use super::names::Names;
use super::roles::{Biases, check_inventory};
use super::rows::{LinearRows, source_shape};
use super::tokenizer::TokenizerSource;
use super::weights::Weights;
use crate::grid::{GROUP, Grid};

/// A checkpoint of a known family, whose tensors have been found complete. Its weights' values are read, and checked to
/// be finite, when they are asked for.
pub struct Checkpoint {
    /// What the model is.
    pub shape: Shape,
    /// The tokenizer's parts.
    pub tokenizer: TokenizerSource,
    /// The Jinja chat template, where the checkpoint has one.
    pub chat_template: Option<String>,
    weights: Weights,
    names: &'static Names,
    biases: Biases,
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
    pub(crate) shape: Shape,
    pub(crate) tokenizer: TokenizerSource,
    pub(crate) chat_template: Option<String>,
    pub(crate) weights: Weights,
    pub(crate) family: &'static Family,
    pub(crate) names: &'static Names,
}

impl Checkpoint {
    /// Checks the parts against each other; `also` names tensors that the source has already made use of.
    pub(crate) fn new(parts: Parts, also: &[&str]) -> Result<Self> {
        let Parts { shape, tokenizer, chat_template, weights, family, names } = parts;
        let biases = check_inventory(&weights, &shape, family, names, also)?;
        Ok(Self { shape, tokenizer, chat_template, weights, names, biases })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.shape.config
    }

    /// Has `up` [stored by outputs](rasp::model::Block::up_by_outputs), where the activation of the gate has zeros.
    /// Returns whether it has.
    pub(crate) fn store_up_by_outputs(&mut self) -> bool {
        let block = &mut self.shape.config.block;
        block.up_by_outputs = block.gated && block.activation.has_zeros();
        block.up_by_outputs
    }

    /// The weights of a linear layer, its outputs in the engine's order, whatever the source's.
    pub fn linear(&self, layer: usize, linear: LinearKind) -> Result<Dense> {
        self.check_layer(layer)?;
        let LinearShape { inputs: inp, outputs: out } = self.config().linear_shape(linear);
        let rows = LinearRows::of(&self.shape, self.names, linear);
        let data = self.linear_rows(layer, linear, 0..rows.span.len())?;
        Ok(Dense { out, inp, data: rows.gathered(data, inp) })
    }

    /// Rows of the part of a tensor that holds a linear, in the source's order.
    pub(crate) fn linear_rows(&self, layer: usize, linear: LinearKind, rows: Range<usize>) -> Result<Vec<f32>> {
        let (name, own) = (self.names.weight(layer, linear), LinearRows::of(&self.shape, self.names, linear));
        let rows = own.span.start + rows.start..own.span.start + rows.end;
        let mut data = match self.names.transposed {
            true => {
                let ([out, inp], data) = (source_shape(&self.shape, self.names, linear), self.weights.read(&name)?);
                rows.flat_map(|row| (0..inp).map(move |col| (row, col)))
                    .map(|(row, col)| data[col * out + row])
                    .collect()
            }
            false => self.weights.read_rows(&name, rows)?,
        };
        self.scale(linear, &mut data);
        Ok(data)
    }

    /// The same weights as they are stored, where the source has them on a grid of this kind. `None`: ask
    /// [`linear`](Self::linear), which also says what is wrong with values that are not finite.
    pub fn linear_grid(&self, layer: usize, linear: LinearKind, quant: QuantType) -> Result<Option<Grid>> {
        self.check_layer(layer)?;
        let rows = LinearRows::of(&self.shape, self.names, linear);
        let grid = self.linear_grid_rows(layer, linear, 0..rows.span.len(), quant)?;
        Ok(grid.map(|g| Grid {
            numbers: rows.gathered(g.numbers, g.cols),
            scale: rows.gathered(g.scale, g.cols / GROUP),
            min: rows.gathered(g.min, g.cols / GROUP),
            ..g
        }))
    }

    /// [`linear_rows`](Self::linear_rows) as they are stored, as [`linear_grid`](Self::linear_grid).
    pub(crate) fn linear_grid_rows(
        &self,
        layer: usize,
        linear: LinearKind,
        rows: Range<usize>,
        quant: QuantType,
    ) -> Result<Option<Grid>> {
        if self.names.transposed || self.shape.fold.linear_scale(linear) != 1.0 {
            return Ok(None);
        }
        let start = LinearRows::of(&self.shape, self.names, linear).span.start;
        self.weights.grid_rows(&self.names.weight(layer, linear), start + rows.start..start + rows.end, quant)
    }

    /// What a linear's weights are stored as.
    pub(crate) fn linear_type(&self, layer: usize, linear: LinearKind) -> DType {
        self.weights.dtype(&self.names.weight(layer, linear)).unwrap_or(DType::F32)
    }

    /// Whether a linear's weights are f16, and nothing is folded into them.
    pub(crate) fn is_f16(&self, layer: usize, linear: LinearKind) -> bool {
        self.linear_type(layer, linear) == DType::F16 && self.shape.fold.linear_scale(linear) == 1.0
    }

    /// Whether any linear of a group has a bias.
    fn has_bias(&self, group: GroupKind) -> bool {
        self.config().group_linears(group).iter().any(|&linear| self.biases[linear as usize])
    }

    /// The bias of a linear layer `[out]`, where it has one; ordered as [`Self::linear`]'s rows.
    pub fn bias(&self, layer: usize, linear: LinearKind) -> Result<Option<Vec<f32>>> {
        self.check_layer(layer)?;
        if !self.biases[linear as usize] {
            return Ok(None);
        }
        let rows = LinearRows::of(&self.shape, self.names, linear);
        // A vector is one row of its tensor.
        let data = self.weights.read(&self.names.bias(layer, linear))?;
        let mut data = rows.gathered(data[rows.span.clone()].to_vec(), 1);
        self.scale(linear, &mut data);
        Ok(Some(data))
    }

    /// Whether the model has a tensor that some of its shape lack.
    pub fn has(&self, role: Role) -> bool {
        match role {
            Role::Bias(_, group) => self.has_bias(group),
            Role::UpBias(_) => self.biases[LinearKind::Up as usize],
            Role::QkNorm(layer, linear, affine) => {
                self.names.qk_norm(layer, linear, affine, 1).iter().any(|name| self.weights.get(name).is_some())
            }
            role => self.weights.get(&self.names.vector(role)).is_some(),
        }
    }

    /// A vector of the model, or rows of them, in the order of [`Role::shape`]; `None` where the model has none.
    pub fn vector(&self, role: Role) -> Result<Option<Vec<f32>>> {
        let config = self.config();
        if let Role::Norm(layer, ..) | Role::QkNorm(layer, ..) | Role::Bias(layer, _) | Role::UpBias(layer) = role {
            self.check_layer(layer)?;
        }
        let values = match role {
            Role::Rope(table) => self.shape.ropes.get(table).cloned(),
            Role::Bias(layer, group) if self.has_bias(group) => {
                let mut all = Vec::new();
                for &linear in config.group_linears(group) {
                    let outputs = config.linear_shape(linear).outputs;
                    all.extend(self.bias(layer, linear)?.unwrap_or_else(|| vec![0.0; outputs]));
                }
                Some(all)
            }
            Role::UpBias(layer) => self.bias(layer, LinearKind::Up)?,
            Role::QkNorm(layer, linear, affine) => self.qk_norm(layer, linear, affine)?,
            Role::FinalNorm(affine) | Role::Norm(_, _, affine) => {
                let stored = match self.names.weightless_norms {
                    true => (affine == Affine::Gain).then(|| vec![1.0; config.hidden_size]),
                    false => self.stored(role)?,
                };
                let offset = if affine == Affine::Gain { self.shape.fold.gain_offset } else { 0.0 };
                let factor = if let Role::FinalNorm(_) = role { self.shape.fold.logit_scale } else { 1.0 };
                stored.map(|values| values.into_iter().map(|x| (x + offset) * factor).collect())
            }
            Role::Positions | Role::LmHeadBias => self.stored(role)?,
            Role::Embedding | Role::LmHead | Role::Matrix(..) | Role::Bias(..) | Role::UpRows(_) => None,
        };
        Ok(values)
    }

    fn stored(&self, role: Role) -> Result<Option<Vec<f32>>> {
        let name = self.names.vector(role);
        if self.weights.get(&name).is_some() { self.weights.read(&name).map(Some) } else { Ok(None) }
    }

    /// For each output of a query or key projection.
    fn qk_norm(&self, layer: usize, linear: LinearKind, affine: Affine) -> Result<Option<Vec<f32>>> {
        let (dim, outputs) = (self.config().head_dim, self.config().linear_shape(linear).outputs);
        let mut values = Vec::new();
        for name in self.names.qk_norm(layer, linear, affine, outputs / dim) {
            if self.weights.get(&name).is_some() {
                values.extend(self.weights.read(&name)?);
            }
        }
        if values.is_empty() {
            return Ok(None);
        }
        let offset = if affine == Affine::Gain { self.shape.fold.gain_offset } else { 0.0 };
        let order = self.shape.fold.head_order(dim);
        let value = |at: usize| {
            let (head, channel) = (at / dim, at % dim);
            let source = head * dim + order.as_ref().map_or(channel, |order| order[channel]);
            values[source % values.len()] + offset
        };
        Ok(Some((0..outputs).map(value).collect()))
    }

    /// Multiplies what is folded into a linear's weights.
    fn scale(&self, linear: LinearKind, data: &mut [f32]) {
        let factor = self.shape.fold.linear_scale(linear);
        if factor != 1.0 {
            data.iter_mut().for_each(|x| *x *= factor);
        }
    }

    /// Rows of the token embedding `[vocab, hidden]`, row-major.
    pub fn embedding_rows(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        self.weights.read_rows(self.names.embedding, rows)
    }

    /// Rows of the head `[vocab, hidden]`, row-major; `None` where it is the token embedding.
    pub fn lm_head_rows(&self, rows: Range<usize>) -> Result<Option<Vec<f32>>> {
        if self.config().tie_word_embeddings {
            return Ok(None);
        }
        self.weights.read_rows(&self.names.vector(Role::LmHead), rows).map(Some)
    }

    /// Rows of the token embedding as they are stored, as [`linear_grid`](Self::linear_grid).
    pub fn embedding_grid(&self, rows: Range<usize>, quant: QuantType) -> Result<Option<Grid>> {
        self.weights.grid_rows(self.names.embedding, rows, quant)
    }

    /// Rows of the head as they are stored, as [`linear_grid`](Self::linear_grid); `None` also where the head is the
    /// token embedding.
    pub fn lm_head_grid(&self, rows: Range<usize>, quant: QuantType) -> Result<Option<Grid>> {
        if self.config().tie_word_embeddings {
            return Ok(None);
        }
        self.weights.grid_rows(&self.names.vector(Role::LmHead), rows, quant)
    }

    fn check_layer(&self, layer: usize) -> Result<()> {
        if layer < self.config().num_layers {
            return Ok(());
        }
        Err(Error::new(Status::OutOfRange, format!("layer {layer} of a model with {}", self.config().num_layers)))
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("shape", &self.shape).finish_non_exhaustive()
    }
}
