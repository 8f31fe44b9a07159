//! Every family of models that can be opened. To add one that computes what a [`Block`](rasp::model::Block) can say,
//! add an entry to the file of its norm and, if its tensors have names of their own, those to `names.rs`; then its
//! cases to `tests/families`. Keys that no other family has (multipliers, caps, Falcon's generations) are read by name
//! in `hf/config.rs` and `gguf/config.rs`.

mod layer_norm;
mod rms_norm;

use rasp::model::{Activation, LinearKind, NormKind, NormPlace};

use super::family::{Defaults, Family, Parallel, Traits, Unturned, WindowRule};

/// Every family.
pub(crate) fn families() -> impl Iterator<Item = &'static Family> {
    rms_norm::FAMILIES.iter().chain(layer_norm::FAMILIES)
}

/// What Llama's block is.
const LLAMA: Traits = Traits {
    norm: NormKind::Rms,
    norm_place: NormPlace::Before,
    parallel: Parallel::Never,
    gated: true,
    qk_norm: None,
    gain_offset: 0.0,
    interleaved: false,
    partial_rotary: 1.0,
    may_turn_in_part: false,
    scaled_rope: true,
    positions: false,
    biases: (&[], &[]),
    window: WindowRule::Never,
    unturned: Unturned::None,
    scaled_embedding: false,
    local_theta: None,
};

const DEFAULTS: Defaults = Defaults {
    kv_heads: Some(0),
    head_dim: None,
    eps: None,
    theta: 10000.0,
    tied: false,
    activation: Activation::Silu,
};

const QKV: &[LinearKind] = &[LinearKind::Q, LinearKind::K, LinearKind::V];
const QKVO: &[LinearKind] = &[LinearKind::Q, LinearKind::K, LinearKind::V, LinearKind::O];
const ALL: &[LinearKind] = &LinearKind::ALL;
const EPS: Option<f64> = Some(1e-5);
