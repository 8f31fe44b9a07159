//! The check that a checkpoint has exactly the tensors that its configuration asks for.

use std::collections::BTreeSet;

use rasp::Result;
use rasp::model::{Affine, LinearKind, Role, tensors};

use super::config::Shape;
use super::family::Family;
use super::names::Names;
use super::rows::source_shape;
use super::weights::Weights;
use super::{bad, unsupported};

/// Which linears have biases, in the order of [`LinearKind::ALL`].
pub(crate) type Biases = [bool; LinearKind::ALL.len()];

/// Checks that `weights` holds every tensor the configuration asks for, in its shape, and no other; `also` names
/// tensors that were read before. Returns which linears have biases.
pub(crate) fn check_inventory(
    weights: &Weights,
    shape: &Shape,
    family: &Family,
    names: &Names,
    also: &[&str],
) -> Result<Biases> {
    let config = &shape.config;
    let mut expected = Expected { weights, seen: also.iter().map(|n| n.to_string()).collect() };
    let mut biases = [false; LinearKind::ALL.len()];
    let (always, may) = family.traits.biases;
    for &linear in config.linears() {
        let said = weights.get(&names.bias(0, linear)).is_some();
        biases[linear as usize] = always.contains(&linear) || (said && may.contains(&linear));
    }
    for role in tensors(config) {
        match role {
            // Of an `up` by outputs nobody knows before the checkpoint has been read.
            Role::Rope(_) | Role::Bias(..) | Role::UpRows(_) | Role::UpBias(_) => {}
            Role::Embedding | Role::LmHead => expected.rows_of(&names.vector(role), shape)?,
            Role::QkNorm(layer, linear, affine) => expected.qk_norm(shape, names, layer, linear, affine)?,
            Role::Matrix(layer, group) => {
                for &linear in config.group_linears(group) {
                    let [out, inp] = source_shape(shape, names, linear);
                    let shape = if names.transposed { [inp, out] } else { [out, inp] };
                    expected.tensor(names.weight(layer, linear), &shape)?;
                    if biases[linear as usize] {
                        expected.tensor(names.bias(layer, linear), &[out])?;
                    }
                }
            }
            Role::FinalNorm(_) | Role::Norm(..) if names.weightless_norms => {}
            Role::Positions | Role::LmHeadBias | Role::FinalNorm(_) | Role::Norm(..) => {
                let name = names.vector(role);
                if !role.is_optional() || weights.get(&name).is_some() {
                    expected.tensor(name, &role.shape(config))?;
                }
            }
        }
    }
    expected.nothing_else(shape, names)?;
    Ok(biases)
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

    /// A norm of queries or keys: of one head for all, of all heads, or a tensor a head.
    fn qk_norm(
        &mut self,
        shape: &Shape,
        names: &Names,
        layer: usize,
        linear: LinearKind,
        affine: Affine,
    ) -> Result<()> {
        let (dim, outputs) = (shape.config.head_dim, shape.config.linear_shape(linear).outputs);
        for name in names.qk_norm(layer, linear, affine, outputs / dim) {
            match self.weights.get(&name).map(|entry| entry.shape().to_vec()) {
                None if affine == Affine::Bias => {}
                Some(found) if found == [outputs] || found == [outputs / dim, dim] => self.tensor(name, &found)?,
                _ => self.tensor(name, &[dim])?,
            }
        }
        Ok(())
    }

    /// An embedding or head: its rows must be the vocabulary.
    fn rows_of(&mut self, name: &str, shape: &Shape) -> Result<()> {
        let vocab = shape.config.vocab_size;
        match self.weights.get(name).map(|e| e.shape()) {
            Some([rows, _]) if *rows != vocab => {
                Err(bad(format!("tensor `{name}` has {rows} rows, but the vocabulary has {vocab} tokens")))
            }
            _ => self.tensor(name.to_string(), &[vocab, shape.config.hidden_size]),
        }
    }

    /// A tensor nobody asked for would be a part of the model that rasp leaves out.
    fn nothing_else(self, shape: &Shape, names: &Names) -> Result<()> {
        let extra: Vec<&str> = self
            .weights
            .names()
            .filter(|n| !self.seen.contains(*n))
            .filter(|n| !names.derived.iter().any(|end| n.ends_with(end)))
            .filter(|n| !names.others.iter().any(|start| n.starts_with(start)))
            .collect();
        match extra.first() {
            None => Ok(()),
            Some(first) => Err(unsupported(format!(
                "tensor `{first}` ({} such in all) is no part of a {} model of {} layers as rasp knows it",
                extra.len(),
                shape.config.architecture,
                shape.config.num_layers
            ))),
        }
    }
}
