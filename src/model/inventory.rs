//! The tensors that a model is made of, from its shape: the one list that loader, packer and test models go by.
//!
//! How a matrix lies in the file (its element type, scales, minima, scores, low-rank factors) hangs on the file's
//! weight type and recipe; see `docs/design.md`, "The file".

use super::block::{NormId, NormKind};
use super::{GroupKind, LinearKind};
use crate::format::Config;

/// A tensor's part in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A row a token: `[vocab, hidden]`
    Embedding,
    /// Added to the embedding, a row a position: `[context, hidden]`
    Positions,
    /// A row a token, where the embedding does not serve: `[vocab, hidden]`
    LmHead,
    /// `[vocab]`
    LmHeadBias,
    /// Of the norm before the lm_head: `[hidden]`
    FinalNorm(Affine),
    /// Radians a position by which each pair `(i, i + head_dim / 2)` turns: `[head_dim / 2]`
    Rope(usize),
    /// Of a layer's norm: `[hidden]`
    Norm(usize, NormId, Affine),
    /// Of a layer's norm of queries (`Q`) or keys (`K`), for each of their elements: `[outputs]`
    QkNorm(usize, LinearKind, Affine),
    /// A layer's fused projection, input-channel-major: `[inputs, outputs]`
    Matrix(usize, GroupKind),
    /// What is added to its outputs: `[outputs]`
    Bias(usize, GroupKind),
    /// A layer's `up`, where it is [stored by outputs](super::Block::up_by_outputs): `[intermediate, hidden]`
    UpRows(usize),
    /// What is added to its outputs: `[intermediate]`
    UpBias(usize),
}

/// What a normed vector is multiplied by, and what is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Affine {
    /// The factor, one an element.
    Gain,
    /// The summand.
    Bias,
}

/// All tensors of a model of this shape, in the order in which a file has them. Those that [may be
/// absent](Role::is_optional) are among them.
pub fn tensors(config: &Config) -> impl Iterator<Item = Role> + '_ {
    let affine = |of: fn(Affine) -> Role| [of(Affine::Gain), of(Affine::Bias)];
    let head = [Role::LmHead].into_iter().filter(|_| !config.tie_word_embeddings);
    let whole = [Role::Embedding]
        .into_iter()
        .chain(config.block.positions.then_some(Role::Positions))
        .chain(head)
        .chain([Role::LmHeadBias])
        .chain(affine(Role::FinalNorm))
        .chain((0..config.block.ropes()).map(Role::Rope));
    whole.chain((0..config.num_layers).flat_map(move |n| layer(config, n))).filter(|role| role.belongs(config))
}

/// Those of layer `n`.
fn layer(config: &Config, n: usize) -> impl Iterator<Item = Role> + '_ {
    let parts = [Affine::Gain, Affine::Bias];
    let norms = config.block.norms().flat_map(move |id| parts.map(|part| Role::Norm(n, id, part)));
    let turned = config.block.qk_norm.map(|_| [LinearKind::Q, LinearKind::K]).into_iter().flatten();
    let qk = turned.flat_map(move |kind| parts.map(|part| Role::QkNorm(n, kind, part)));
    let up = config.block.up_by_outputs.then_some([Role::UpBias(n), Role::UpRows(n)]).into_iter().flatten();
    let groups = GroupKind::ALL.into_iter().flat_map(move |kind| [Role::Bias(n, kind), Role::Matrix(n, kind)]);
    norms.chain(qk).chain(up).chain(groups)
}

impl Role {
    /// Its name in a `.rasp` file.
    pub fn name(self, config: &Config) -> String {
        let with = |name: String, affine: Affine| match affine {
            Affine::Gain => name,
            Affine::Bias => name + ".bias",
        };
        match self {
            Role::Embedding => "embed_tokens".into(),
            Role::Positions => "embed_positions".into(),
            Role::LmHead => "lm_head".into(),
            Role::LmHeadBias => "lm_head.bias".into(),
            Role::FinalNorm(affine) => with("final_norm".into(), affine),
            Role::Rope(0) => "rope.inv_freq".into(),
            Role::Rope(table) => format!("rope.{table}.inv_freq"),
            Role::Norm(layer, id, affine) => with(format!("layers.{layer}.{}", id.name()), affine),
            Role::QkNorm(layer, kind, affine) => with(format!("layers.{layer}.{}_norm", kind.name()), affine),
            Role::Matrix(layer, kind) => format!("layers.{layer}.{}", config.group_name(kind)),
            Role::Bias(layer, kind) => format!("layers.{layer}.{}.bias", config.group_name(kind)),
            Role::UpRows(layer) => LinearKind::Up.name_in(layer),
            Role::UpBias(layer) => LinearKind::Up.name_in(layer) + ".bias",
        }
    }

    /// Its shape, slowest dimension first.
    pub fn shape(self, config: &Config) -> Vec<usize> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        match self {
            Role::Embedding | Role::LmHead => vec![vocab, hidden],
            Role::Positions => vec![config.context_length, hidden],
            Role::LmHeadBias => vec![vocab],
            Role::FinalNorm(_) | Role::Norm(..) => vec![hidden],
            Role::Rope(_) => vec![config.head_dim / 2],
            Role::QkNorm(_, kind, _) => vec![config.linear_shape(kind).outputs],
            Role::Matrix(_, kind) => {
                let shape = config.group_shape(kind);
                vec![shape.inputs, shape.outputs]
            }
            Role::Bias(_, kind) => vec![config.group_shape(kind).outputs],
            Role::UpRows(_) => vec![config.intermediate_size, hidden],
            Role::UpBias(_) => vec![config.intermediate_size],
        }
    }

    /// Whether a model of its shape may lack it: then nothing is added.
    pub fn is_optional(self) -> bool {
        matches!(
            self,
            Role::LmHeadBias
                | Role::Bias(..)
                | Role::UpBias(_)
                | Role::FinalNorm(Affine::Bias)
                | Role::Norm(_, _, Affine::Bias)
                | Role::QkNorm(_, _, Affine::Bias)
        )
    }

    /// A norm by the root mean square alone takes no mean off and adds nothing.
    fn belongs(self, config: &Config) -> bool {
        match self {
            Role::FinalNorm(Affine::Bias) | Role::Norm(_, _, Affine::Bias) => config.block.norm == NormKind::Layer,
            Role::QkNorm(_, _, Affine::Bias) => config.block.qk_norm.is_some_and(|norm| norm.kind == NormKind::Layer),
            _ => true,
        }
    }
}
