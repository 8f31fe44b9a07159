//! A model's hyperparameters from `config.json`.

use rasp::Result;

use super::json::Object;
use crate::import::config::{ModelConfig, check_window};
use crate::import::family::{FAMILIES, Family, HfClass, Window, by_hf_class};
use crate::import::rope::Scaling;
use crate::import::{bad, unsupported};

/// What transformers takes for a model that does not say.
const DEFAULT_THETA: f64 = 10000.0;

/// What may stand in `rope_parameters` or `rope_scaling`.
const ROPE_KEYS: [&str; 8] = [
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
];

/// Reads the hyperparameters, all but the rotary frequencies, and how those are scaled.
pub(super) fn read(json: &Object, name: &str) -> Result<(&'static Family, ModelConfig, Scaling)> {
    let (family, class) = class(json)?;
    refuse_variants(json)?;
    let hidden_size = json.need_size("hidden_size")?;
    let num_heads = json.need_size("num_attention_heads")?;
    let head_dim = match json.size("head_dim")? {
        Some(dim) => dim,
        None if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            return Err(bad(format!(
                "config.json: a hidden_size of {hidden_size} does not divide among {num_heads} heads"
            )));
        }
    };
    let num_kv_heads = match json.size("num_key_value_heads")? {
        None if class.kv_heads_default => num_heads,
        _ => json.need_size("num_key_value_heads")?,
    };
    let (rope_theta, scaling) = rope(json)?;
    let config = ModelConfig {
        architecture: family.name.to_string(),
        name: name.to_string(),
        vocab_size: json.need_size("vocab_size")?,
        hidden_size,
        intermediate_size: json.need_size("intermediate_size")?,
        num_layers: json.need_size("num_hidden_layers")?,
        num_heads,
        num_kv_heads,
        head_dim,
        context_length: json.need_size("max_position_embeddings")?,
        rms_norm_eps: json.need_float("rms_norm_eps")? as f32,
        rope_theta,
        rope_inv_freq: Vec::new(),
        tie_word_embeddings: json.bool("tie_word_embeddings")?.unwrap_or(false),
    };
    check_attention(json, class, config.context_length)?;
    Ok((family, config, scaling))
}

/// By `architectures` where it is given, which names what was saved; else by `model_type`.
fn class(json: &Object) -> Result<(&'static Family, &'static HfClass)> {
    let architectures = match json.value("architectures") {
        None => Vec::new(),
        Some(v) => {
            let names = v.as_array().map(|a| a.iter().map(|n| n.as_str()).collect::<Option<Vec<_>>>());
            names.flatten().ok_or_else(|| bad("config.json: `architectures` is no list of names"))?
        }
    };
    let model_type = json.str("model_type")?;
    let (found, said) = match (&architectures[..], model_type) {
        ([class], _) => (by_hf_class(|c| c.class == *class), class.to_string()),
        ([], Some(kind)) => (by_hf_class(|c| c.model_type == kind), kind.to_string()),
        ([], None) => return Err(bad("config.json: neither `architectures` nor `model_type`")),
        (several, _) => (None, several.join(" + ")),
    };
    found.ok_or_else(|| {
        let known: Vec<_> = FAMILIES.iter().flat_map(|f| f.hf.iter().map(|c| c.class)).collect();
        unsupported(format!("architecture `{said}`; rasp knows {}", known.join(", ")))
    })
}

/// Variants of the classes that rasp does not compute. (Extra biases and norms show as tensors nobody asked for.)
fn refuse_variants(json: &Object) -> Result<()> {
    if let Some(quantization) = json.object("quantization_config")? {
        let method = quantization.str("quant_method")?.unwrap_or("unnamed");
        // Whether weights of 8 bits have scales that rasp knows, their tensors say.
        let floats = match method {
            "fp8" | "fbgemm_fp8" => true,
            "compressed-tensors" => quantization.str("format")? == Some("float-quantized"),
            _ => false,
        };
        if !floats {
            return Err(unsupported(format!(
                "config.json: `quantization_config` ({method}); import the unquantized checkpoint or a GGUF file"
            )));
        }
    }
    if let Some(act) = json.str("hidden_act")?.filter(|a| !matches!(*a, "silu" | "swish")) {
        return Err(unsupported(format!("config.json: hidden_act `{act}`; rasp knows silu")));
    }
    Ok(())
}

fn check_attention(json: &Object, class: &HfClass, context: usize) -> Result<()> {
    let active = match class.window {
        Window::Ignored => false,
        Window::Active => true,
        Window::Opt => json.bool("use_sliding_window")?.unwrap_or(false),
    };
    if let Some(window) = json.size("sliding_window")?.filter(|_| active) {
        check_window(window, context, "config.json: `sliding_window`")?;
    }
    Ok(())
}

/// `rope_theta` and `rope_scaling` stand beside each other in older checkpoints, together in `rope_parameters` in
/// newer ones.
fn rope(json: &Object) -> Result<(f64, Scaling)> {
    let parameters = match json.object("rope_parameters")? {
        Some(p) => Some(p),
        None => json.object("rope_scaling")?,
    };
    for place in [Some(*json), parameters].into_iter().flatten() {
        if let Some(part) = place.float("partial_rotary_factor")?.filter(|p| *p != 1.0) {
            return Err(unsupported(format!("config.json: partial_rotary_factor {part}")));
        }
    }
    let theta = match parameters.map(|p| p.float("rope_theta")).transpose()?.flatten() {
        Some(theta) => theta,
        None => json.float("rope_theta")?.unwrap_or(DEFAULT_THETA),
    };
    let Some(p) = parameters else { return Ok((theta, Scaling::None)) };
    let kind = match p.str("rope_type")? {
        Some(kind) => kind,
        None => p.str("type")?.unwrap_or("default"),
    };
    let scaling = match kind {
        "default" => Scaling::None,
        "linear" => Scaling::Linear { factor: p.need_float("factor")? },
        "llama3" => Scaling::Llama3 {
            factor: p.need_float("factor")?,
            low_freq_factor: p.need_float("low_freq_factor")?,
            high_freq_factor: p.need_float("high_freq_factor")?,
            original_context: p.need_float("original_max_position_embeddings")?,
        },
        other => {
            return Err(unsupported(format!(
                "config.json: rope scaling `{other}`; rasp knows default, linear and llama3"
            )));
        }
    };
    // Newer checkpoints may have parameters for each kind of layer, by its name.
    if let Some(key) = p.keys().find(|key| !ROPE_KEYS.contains(key)) {
        return Err(unsupported(format!(
            "config.json: rope parameter `{key}`, whose meaning rasp does not know (it knows {})",
            ROPE_KEYS.join(", ")
        )));
    }
    Ok((theta, scaling))
}
