//! What there is to know of a family of models: the words of which the [registry](super::registry) is made.

use rasp::model::{Activation, LinearKind, NormKind, NormPlace, QkNorm};

use super::names::Names;
use super::registry::families;

/// A family of models: one way of computing, under the names that its classes have.
pub(crate) struct Family {
    /// What the packed file calls it.
    pub(crate) name: &'static str,
    /// Its classes in Hugging Face's transformers.
    pub(crate) hf: &'static [HfClass],
    /// Its `general.architecture` in GGUF files, if rasp reads those.
    pub(crate) gguf: Option<Gguf>,
    /// What a block of it computes beyond Llama's.
    pub(crate) traits: Traits,
}

/// A Hugging Face class whose checkpoints are of a family.
pub(crate) struct HfClass {
    /// In `architectures`.
    pub(crate) class: &'static str,
    /// In `model_type`.
    pub(crate) model_type: &'static str,
    pub(crate) names: &'static Names,
    pub(crate) defaults: Defaults,
}

/// What transformers takes for a key that is absent.
#[derive(Clone, Copy)]
pub(crate) struct Defaults {
    /// `num_key_value_heads`; `None`: it has to be there, `Some(0)`: one for each query head.
    pub(crate) kv_heads: Option<usize>,
    /// `head_dim`; `None`: hidden_size / num_attention_heads.
    pub(crate) head_dim: Option<usize>,
    /// The norms' eps; `None`: it has to be there.
    pub(crate) eps: Option<f64>,
    pub(crate) theta: f64,
    pub(crate) tied: bool,
    /// `hidden_act`, which GGUF files never say.
    pub(crate) activation: Activation,
}

/// How a family's GGUF files differ from its own description.
pub(crate) struct Gguf {
    pub(crate) architecture: &'static str,
    pub(crate) names: &'static Names,
    /// Whether rotation pairs are interleaved there.
    pub(crate) interleaved: bool,
}

/// What a family computes beyond what its configuration says of sizes.
#[derive(Clone, Copy)]
pub(crate) struct Traits {
    pub(crate) norm: NormKind,
    pub(crate) norm_place: NormPlace,
    /// Whether attention and MLP take the same stream.
    pub(crate) parallel: Parallel,
    pub(crate) gated: bool,
    pub(crate) qk_norm: Option<QkNorm>,
    /// Added to the gains of all norms in Hugging Face's checkpoints (GGUF's have it in).
    pub(crate) gain_offset: f32,
    /// Whether `2i` and `2i + 1` turn together in Hugging Face's checkpoints.
    pub(crate) interleaved: bool,
    /// Share of a head's channels that turn where the configuration does not say.
    pub(crate) partial_rotary: f64,
    /// Whether the configuration may say another share.
    pub(crate) may_turn_in_part: bool,
    /// Whether the scaling of rotary frequencies is heeded.
    pub(crate) scaled_rope: bool,
    /// Whether a vector for each position is added to the embedding.
    pub(crate) positions: bool,
    /// Linears that always have a bias, and others that may.
    pub(crate) biases: (&'static [LinearKind], &'static [LinearKind]),
    /// Which layers look back through a window.
    pub(crate) window: WindowRule,
    /// Which layers do not turn queries and keys.
    pub(crate) unturned: Unturned,
    /// Whether the embedding is multiplied by √hidden_size.
    pub(crate) scaled_embedding: bool,
    /// A base of rotary frequencies of its own for layers with a window: its key, and what it is without.
    pub(crate) local_theta: Option<(&'static str, f64)>,
}

/// Whether attention and MLP take the same stream.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Parallel {
    Never,
    /// With one norm for both.
    OneNorm,
    /// As `use_parallel_residual` says, with one norm.
    IfSaid,
    /// As `use_parallel_residual` says (absent: so), with a norm each.
    TwoNormsIfSaid,
    /// Falcon's own keys say.
    Falcon,
}

/// Which layers look back through a window of `sliding_window` positions only, where `layer_types` does not list them.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum WindowRule {
    /// None; the key means nothing.
    Never,
    /// All, if the key is there; what its absence means.
    All(Option<usize>),
    /// From layer `max_window_layers` on, with `use_sliding_window: true`.
    Qwen2,
    /// None of itself, but `layer_types` may, with `use_sliding_window: true`.
    IfListed,
    /// All but every so manieth, which the second key can say; the third: what the window is without its key.
    AllBut(usize, &'static str, Option<usize>),
}

/// Which layers do not turn queries and keys.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unturned {
    None,
    All,
    /// Those without a window, where others have one.
    Full,
    /// `no_rope_layers` has a 0, or each so manieth.
    Listed,
}

impl Family {
    /// The activation of its GGUF files.
    pub(crate) fn activation(&self) -> Activation {
        self.hf.first().map(|class| class.defaults.activation).unwrap_or_default()
    }
}

/// The family of a GGUF file's `general.architecture`.
pub(crate) fn by_gguf_arch(arch: &str) -> Option<(&'static Family, &'static Gguf)> {
    families().find_map(|f| f.gguf.as_ref().filter(|gguf| gguf.architecture == arch).map(|gguf| (f, gguf)))
}

/// The family and class that `pick` chooses among the Hugging Face classes.
pub(crate) fn by_hf_class(pick: impl Fn(&HfClass) -> bool) -> Option<(&'static Family, &'static HfClass)> {
    families().flat_map(|f| f.hf.iter().map(move |c| (f, c))).find(|(_, c)| pick(c))
}
