//! A model's hyperparameters from GGUF metadata.

use rasp::Result;

use super::value::Metadata;
use crate::import::config::{ModelConfig, check_window};
use crate::import::family::{FAMILIES, Family, by_gguf_arch};
use crate::import::rope::Scaling;
use crate::import::{bad, unsupported};

/// Keys under the architecture's prefix that this importer takes into account, or that change nothing in what a model
/// computes. Any other may be a part of the mathematics, and is refused.
const KNOWN: &[&str] = &[
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "tensor_data_layout",
    "vocab_size",
];

/// The family that the file names.
pub(super) fn family(meta: &Metadata) -> Result<&'static Family> {
    let arch = meta.str("general.architecture")?.ok_or_else(|| bad("key `general.architecture` is missing"))?;
    by_gguf_arch(arch).ok_or_else(|| {
        let known: Vec<_> = FAMILIES.iter().map(|f| f.name).collect();
        unsupported(format!("architecture `{arch}`; rasp knows {}", known.join(", ")))
    })
}

/// Reads the hyperparameters, all but the rotary frequencies, and how those are scaled.
pub(super) fn read(
    meta: &Metadata,
    family: &Family,
    file_name: &str,
    tied: bool,
    tokens: usize,
) -> Result<(ModelConfig, Scaling)> {
    let prefix = format!("{}.", family.name);
    let key = |name: &str| format!("{prefix}{name}");
    // The smallest first, so that the same file always gives the same message.
    if let Some(name) = meta.keys_under(&prefix).filter(|k| !KNOWN.contains(k)).min() {
        return Err(unsupported(format!("key `{prefix}{name}`, whose meaning rasp does not know")));
    }
    refuse_variants(meta, &key)?;

    let hidden_size = meta.need_size(&key("embedding_length"))?;
    let num_heads = meta.need_size(&key("attention.head_count"))?;
    let head_dim = match meta.size(&key("attention.key_length"))? {
        Some(dim) => dim,
        None if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            return Err(bad(format!("config: a hidden size of {hidden_size} does not divide among {num_heads} heads")));
        }
    };
    for name in ["attention.value_length", "rope.dimension_count"] {
        if let Some(dim) = meta.size(&key(name))?.filter(|d| *d != head_dim) {
            return Err(unsupported(format!("`{}` is {dim} where heads are {head_dim} wide", key(name))));
        }
    }
    let eps_key = key("attention.layer_norm_rms_epsilon");
    let eps = meta.float(&eps_key)?.ok_or_else(|| bad(format!("key `{eps_key}` is missing")))?;
    let config = ModelConfig {
        architecture: family.name.to_string(),
        name: meta.str("general.name")?.unwrap_or(file_name).to_string(),
        vocab_size: meta.size(&key("vocab_size"))?.unwrap_or(tokens),
        hidden_size,
        intermediate_size: meta.need_size(&key("feed_forward_length"))?,
        num_layers: meta.need_size(&key("block_count"))?,
        num_heads,
        num_kv_heads: meta.size(&key("attention.head_count_kv"))?.unwrap_or(num_heads),
        head_dim,
        context_length: meta.need_size(&key("context_length"))?,
        rms_norm_eps: eps as f32,
        rope_theta: meta.float(&key("rope.freq_base"))?.unwrap_or(10000.0),
        rope_inv_freq: Vec::new(),
        tie_word_embeddings: tied,
    };
    if let Some(window) = meta.size(&key("attention.sliding_window"))? {
        check_window(window, config.context_length, &key("attention.sliding_window"))?;
    }
    Ok((config, scaling(meta, &key)?))
}

/// Variants of the architecture that rasp does not compute.
fn refuse_variants(meta: &Metadata, key: &dyn Fn(&str) -> String) -> Result<()> {
    if let Some(experts) = meta.size(&key("expert_count"))?.filter(|n| *n > 0) {
        return Err(unsupported(format!("a mixture of {experts} experts")));
    }
    if meta.bool(&key("attention.causal"))? == Some(false) {
        return Err(unsupported("attention that is not causal"));
    }
    if let Some(parts) = meta.size("split.count")?.filter(|n| *n > 1) {
        return Err(unsupported(format!(
            "one of {parts} files of a split model; merge them first (`llama-gguf-split --merge`)"
        )));
    }
    Ok(())
}

fn scaling(meta: &Metadata, key: &dyn Fn(&str) -> String) -> Result<Scaling> {
    let factor = match meta.float(&key("rope.scaling.factor"))? {
        Some(factor) => Some(factor),
        None => meta.float(&key("rope.scale_linear"))?,
    };
    match meta.str(&key("rope.scaling.type"))? {
        Some("none") => Ok(Scaling::None),
        // A factor without a type is linear; writers put 0 for "no factor".
        None | Some("linear") => Ok(match factor {
            None | Some(0.0) => Scaling::None,
            Some(factor) => Scaling::Linear { factor },
        }),
        Some(other) => Err(unsupported(format!("rope scaling `{other}`; rasp knows none and linear"))),
    }
}
