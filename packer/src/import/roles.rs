//! The parts a model is made of, and the check that a checkpoint has exactly those.

use std::collections::BTreeSet;

use rasp::Result;
use rasp::model::LinearKind;

use super::config::ModelConfig;
use super::family::{Family, Names, QkvBias};
use super::weights::Weights;
use super::{bad, unsupported};

/// Whether a bias may stand beside it.
pub(crate) fn may_have_bias(linear: LinearKind) -> bool {
    matches!(linear, LinearKind::Q | LinearKind::K | LinearKind::V)
}

/// Whether rotary position embedding turns its output.
pub(crate) fn is_rotated(linear: LinearKind) -> bool {
    matches!(linear, LinearKind::Q | LinearKind::K)
}

/// The norms of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Before the attention of a layer.
    AttnNorm(usize),
    /// Before the MLP of a layer.
    MlpNorm(usize),
    /// Before the head.
    Final,
}

impl Names {
    pub(crate) fn weight(&self, layer: usize, linear: LinearKind) -> String {
        format!("{}{layer}.{}.weight", self.layer, self.linears[linear as usize])
    }

    pub(crate) fn bias(&self, layer: usize, linear: LinearKind) -> String {
        format!("{}{layer}.{}.bias", self.layer, self.linears[linear as usize])
    }

    pub(crate) fn norm(&self, norm: Norm) -> String {
        match norm {
            Norm::AttnNorm(layer) => format!("{}{layer}.{}.weight", self.layer, self.attn_norm),
            Norm::MlpNorm(layer) => format!("{}{layer}.{}.weight", self.layer, self.mlp_norm),
            Norm::Final => self.final_norm.to_string(),
        }
    }
}

/// Checks that `weights` holds every tensor the configuration asks for, in its shape, and no other; `also` names
/// tensors that were read before. Returns whether q, k and v have biases.
pub(crate) fn check_inventory(
    weights: &Weights,
    config: &ModelConfig,
    family: &Family,
    names: &Names,
    also: &[&str],
) -> Result<bool> {
    let mut expected = Expected { weights, seen: also.iter().map(|n| n.to_string()).collect() };
    let hidden = config.hidden_size;
    expected.rows_of(names.embedding, config)?;
    if !config.tie_word_embeddings {
        expected.rows_of(names.lm_head, config)?;
    }
    expected.tensor(names.norm(Norm::Final), &[hidden])?;
    let has_bias = match family.qkv_bias {
        QkvBias::Always => true,
        QkvBias::AllOrNone => weights.get(&names.bias(0, LinearKind::Q)).is_some(),
    };
    for layer in 0..config.num_layers {
        expected.tensor(names.norm(Norm::AttnNorm(layer)), &[hidden])?;
        expected.tensor(names.norm(Norm::MlpNorm(layer)), &[hidden])?;
        for linear in LinearKind::ALL {
            let (out, inp) = config.linear_shape(linear);
            expected.tensor(names.weight(layer, linear), &[out, inp])?;
            if has_bias && may_have_bias(linear) {
                expected.tensor(names.bias(layer, linear), &[out])?;
            }
        }
    }
    expected.nothing_else(config, names)?;
    Ok(has_bias)
}

/// The tensors asked for so far.
struct Expected<'a> {
    weights: &'a Weights,
    seen: BTreeSet<String>,
}

impl Expected<'_> {
    fn tensor(&mut self, name: String, shape: &[usize]) -> Result<()> {
        let Some(entry) = self.weights.get(&name) else {
            return Err(bad(format!("tensor `{name}` of shape {shape:?} is missing")));
        };
        if entry.shape() != shape {
            return Err(bad(format!(
                "tensor `{name}`: its shape is {:?}, but the configuration asks for {shape:?}",
                entry.shape()
            )));
        }
        self.seen.insert(name);
        Ok(())
    }

    /// An embedding or head: its rows must be the vocabulary.
    fn rows_of(&mut self, name: &str, config: &ModelConfig) -> Result<()> {
        let vocab = config.vocab_size;
        match self.weights.get(name).map(|e| e.shape()) {
            Some([rows, _]) if *rows != vocab => {
                Err(bad(format!("tensor `{name}` has {rows} rows, but the vocabulary has {vocab} tokens")))
            }
            _ => self.tensor(name.to_string(), &[vocab, config.hidden_size]),
        }
    }

    /// A tensor nobody asked for would be a part of the model that rasp leaves out.
    fn nothing_else(self, config: &ModelConfig, names: &Names) -> Result<()> {
        let extra: Vec<&str> = self
            .weights
            .names()
            .filter(|n| !self.seen.contains(*n))
            .filter(|n| !names.derived.iter().any(|end| n.ends_with(end)))
            .collect();
        match extra.first() {
            None => Ok(()),
            Some(first) => Err(unsupported(format!(
                "tensor `{first}` ({} such in all) is no part of a {} model of {} layers as rasp knows it",
                extra.len(),
                config.architecture,
                config.num_layers
            ))),
        }
    }
}
