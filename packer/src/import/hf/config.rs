//! A model's shape from `config.json`.

use rasp::Result;
use rasp::format::Config;
use rasp::model::{Activation, Attention, Block, BlockOrder, NormKind, QkNorm, QkNormOver};

use super::json::Object;
use super::rope::{RopeConfig, ropes};
use crate::import::config::{Fold, Shape, check_sizes};
use crate::import::family::{Defaults, Family, HfClass, Parallel, Traits, Unturned, WindowRule, by_hf_class};
use crate::import::names::{self, Names};
use crate::import::registry::families;
use crate::import::{bad, obstacle, unsupported};

/// The class of Granite 4, whose models may be hybrids.
const GRANITE4: &str = "GraniteMoeHybridForCausalLM";

/// What a configuration says, with the names of the tensors that it says it of.
pub(super) struct Described {
    pub(super) family: &'static Family,
    pub(super) names: &'static Names,
    pub(super) shape: Shape,
}

/// Reads the shape of a model called `name`, for a context of `context` tokens if that is given.
pub(super) fn read(json: &Object, name: &str, context: Option<usize>) -> Result<Described> {
    let (family, class) = class(json)?;
    // Of a model that sees as well, the part that writes; what is tied may be said outside.
    let outer = *json;
    let json = &json.object("text_config")?.unwrap_or(*json);
    let tied = match outer.bool("tie_word_embeddings")? {
        Some(tied) => Some(tied),
        None => json.bool("tie_word_embeddings")?,
    };
    refuse_quantization(&outer)?;
    refuse_quantization(json)?;
    refuse_variants(json, family)?;
    let (traits, defaults) = (&family.traits, &class.defaults);
    let hidden_size = json.need_size_of(&["hidden_size", "n_embd"])?;
    let num_heads = json.need_size_of(&["num_attention_heads", "n_head"])?;
    let trained = json.need_size_of(&["max_position_embeddings", "n_positions"])?;
    let mut config = Config {
        architecture: family.name.to_string(),
        name: name.to_string(),
        vocab_size: json.need_size("vocab_size")?,
        hidden_size,
        intermediate_size: intermediate_size(json, class, hidden_size)?,
        num_layers: json.need_size_of(&["num_hidden_layers", "n_layer"])?,
        num_heads,
        num_kv_heads: kv_heads(json, family, defaults, num_heads)?,
        head_dim: head_dim(json, defaults, hidden_size, num_heads)?,
        context_length: trained,
        rms_norm_eps: eps(json, traits, defaults)? as f32,
        tie_word_embeddings: tied.unwrap_or(defaults.tied),
        block: block(json, family, defaults)?,
    };
    check_sizes(&config)?;
    let layers = attention(json, family, class, &config)?;
    let source = RopeConfig { json: *json, family, defaults, head_dim: config.head_dim, trained, context };
    let (ropes, reach) = ropes(&source)?;
    let turned = layers.iter().any(|layer| layer.rope.is_some());
    let ropes = if turned { ropes } else { Vec::new() };
    config.context_length = reach;
    let mut fold = Fold { gain_offset: traits.gain_offset, interleaved: traits.interleaved, ..Fold::none(&config) };
    fold.rotary_dim = source.rotary_dim()?;
    fold_multipliers(json, family, &mut config, &mut fold)?;
    let names = match traits.parallel {
        Parallel::Falcon if falcon_has_two_norms(json)? => &names::HF_FALCON_TWO_NORMS,
        _ => class.names,
    };
    Ok(Described { family, names, shape: Shape::finish(config, fold, &ropes, &layers)? })
}

/// Classes that see as well, and whose text model is whichever `text_config` says: each with its `model_type`.
const SEEING: [(&str, &str); 2] =
    [("LlavaForConditionalGeneration", "llava"), ("Mistral3ForConditionalGeneration", "mistral3")];

/// By `architectures` where it is given, which names what was saved; else by `model_type`.
fn class(json: &Object) -> Result<(&'static Family, &'static HfClass)> {
    let architectures = json.list("architectures", "names", |name| name.as_str())?.unwrap_or_default();
    let model_type = json.str("model_type")?;
    let sees = match (&architectures[..], model_type) {
        ([class], _) => SEEING.iter().any(|(name, _)| name == class),
        ([], Some(kind)) => SEEING.iter().any(|(_, name)| *name == kind),
        _ => false,
    };
    if sees {
        let text = json.object("text_config")?.ok_or_else(|| bad("config.json: `text_config` is missing"))?;
        let kind = text.str("model_type")?.ok_or_else(|| bad("config.json: text_config: `model_type` is missing"))?;
        return by_hf_class(|c| c.model_type == kind)
            .ok_or_else(|| obstacle::class("config.json: text_config", kind, &known()));
    }
    let (found, said) = match (&architectures[..], model_type) {
        ([class], _) => (by_hf_class(|c| c.class == *class), class.to_string()),
        ([], Some(kind)) => (by_hf_class(|c| c.model_type == kind), kind.to_string()),
        ([], None) => return Err(bad("config.json: neither `architectures` nor `model_type`")),
        (several, _) => (None, several.join(" + ")),
    };
    found.ok_or_else(|| obstacle::class("config.json", &said, &known()))
}

/// All classes that load.
fn known() -> Vec<&'static str> {
    families().flat_map(|f| f.hf.iter().map(|c| c.class)).collect()
}

/// Refuses weights in formats that rasp does not read.
fn refuse_quantization(json: &Object) -> Result<()> {
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
    Ok(())
}

/// Variants of the classes that rasp does not compute: each key, and what of it leaves the model what rasp knows.
/// (Extra biases and norms show as tensors nobody asked for.)
fn refuse_variants(json: &Object, family: &Family) -> Result<()> {
    for (key, why) in [
        ("use_bidirectional_attention", "attention that looks ahead"),
        ("alibi", "positions by biases of the scores (ALiBi)"),
        ("scale_attn_by_inverse_layer_idx", "scores scaled by the layer's number"),
        ("use_mla", "latent attention (MLA)"),
    ] {
        if json.bool(key)?.unwrap_or(false) {
            return Err(obstacle::value(&format!("config.json: `{key}`"), why));
        }
    }
    // Keys of the code that Stability AI and Baidu first shipped with their models.
    for key in ["rotary_scaling_factor", "compression_ratio"] {
        if let Some(factor) = json.float(key)?.filter(|factor| *factor != 1.0) {
            return Err(obstacle::value(&format!("config.json: `{key}` is {factor}"), "positions that are scaled"));
        }
    }
    // A family of its own has it.
    if let Some(clip) = json.float("clip_qkv")?.filter(|_| family.name != "olmo") {
        let said = format!("config.json: `clip_qkv` is {clip}");
        return Err(obstacle::value(&said, "queries, keys and values that are clipped"));
    }
    if family.name == "apertus" && !json.has("rope_scaling") && !json.has("rope_parameters") {
        return Err(bad("config.json: `rope_scaling` is missing; its class does not take that for none"));
    }
    if let Some(experts) = json.size_of(&["num_local_experts", "num_experts"])?.filter(|n| *n > 0) {
        let said = format!("config.json: a model of {}", family.name);
        return Err(obstacle::value(&said, &format!("a mixture of {experts} experts")));
    }
    Ok(())
}

fn intermediate_size(json: &Object, class: &HfClass, hidden: usize) -> Result<usize> {
    if class.class == GRANITE4 {
        // The dense models among them: attention in every layer, one MLP.
        return json.need_size("shared_intermediate_size");
    }
    // Models of GPT-2's line are four times as wide inside if they do not say.
    let quadruple = json.value("n_embd").is_some() || json.value("new_decoder_architecture").is_some();
    match json.size_of(&["intermediate_size", "ffn_hidden_size", "n_inner"])? {
        Some(size) => Ok(size),
        None if quadruple || json.str("model_type")? == Some("falcon") => Ok(hidden.saturating_mul(4)),
        None => json.need_size("intermediate_size"),
    }
}

fn head_dim(json: &Object, defaults: &Defaults, hidden: usize, heads: usize) -> Result<usize> {
    match json.size("head_dim")?.or(defaults.head_dim) {
        Some(dim) => Ok(dim),
        None if heads > 0 && hidden.is_multiple_of(heads) => Ok(hidden / heads),
        None => Err(bad(format!("config.json: a hidden_size of {hidden} does not divide among {heads} heads"))),
    }
}

fn kv_heads(json: &Object, family: &Family, defaults: &Defaults, heads: usize) -> Result<usize> {
    if family.name == "falcon" {
        // Two generations of keys: the newer one names the number, of the older one's heads all share, or none.
        return match (json.bool("new_decoder_architecture")?, json.bool("multi_query")?) {
            (Some(true), _) => Ok(json.size("num_kv_heads")?.unwrap_or(heads)),
            (_, Some(false)) => Ok(heads),
            _ => Ok(1),
        };
    }
    match (json.size("num_key_value_heads")?, defaults.kv_heads) {
        (Some(n), _) => Ok(n),
        // `null`, where a class has a number of its own, means one for each query head.
        (None, Some(_)) if json.has("num_key_value_heads") => Ok(heads),
        (None, Some(0)) => Ok(heads),
        (None, Some(n)) => Ok(n),
        (None, None) => json.need_size("num_key_value_heads"),
    }
}

fn eps(json: &Object, traits: &Traits, defaults: &Defaults) -> Result<f64> {
    let keys: &[&str] = match traits.norm {
        NormKind::Rms => &["rms_norm_eps"],
        NormKind::Layer => &["layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"],
    };
    match (json.float_of(keys)?, defaults.eps) {
        (Some(eps), _) | (None, Some(eps)) => Ok(eps),
        (None, None) => json.need_float(keys[0]),
    }
}

fn block(json: &Object, family: &Family, defaults: &Defaults) -> Result<Block> {
    let traits = &family.traits;
    let order = match traits.parallel {
        Parallel::Never => BlockOrder::Sequential,
        Parallel::OneNorm => BlockOrder::Parallel,
        Parallel::IfSaid => match json.bool("use_parallel_residual")? {
            Some(true) => BlockOrder::Parallel,
            _ => BlockOrder::Sequential,
        },
        Parallel::TwoNormsIfSaid => match json.bool("use_parallel_residual")? {
            Some(false) => BlockOrder::Sequential,
            _ => BlockOrder::ParallelNorms,
        },
        Parallel::Falcon if falcon_has_two_norms(json)? => BlockOrder::ParallelNorms,
        Parallel::Falcon => match (json.bool("new_decoder_architecture")?, json.bool("parallel_attn")?) {
            (Some(true), _) => BlockOrder::Parallel,
            (_, Some(false)) => BlockOrder::Sequential,
            _ => BlockOrder::Parallel,
        },
    };
    // Those of which only some have a norm of queries and keys, and then one of their own kind.
    let said = json.bool_of(&["use_qk_norm", "qk_layernorm"])?.unwrap_or(false);
    let layer_norm = QkNorm { kind: NormKind::Layer, over: QkNormOver::Head, after_rotation: false };
    let qk_norm = match family.name {
        "phi" | "stablelm" | "cohere" => said.then_some(layer_norm),
        _ => traits.qk_norm,
    };
    let word = json.str_of(&["hidden_activation", "hidden_act", "activation_function", "activation"])?;
    // Gemma 1's old configurations say `gelu` in `hidden_act`, and transformers takes them by their word.
    let word = if family.name == "gemma" { json.str("hidden_act")?.or(word) } else { word };
    Ok(Block {
        norm: traits.norm,
        norm_place: traits.norm_place,
        order,
        qk_norm,
        qkv_clip: json.float("clip_qkv")?.map(|clip| clip as f32),
        activation: word.map_or(Ok(defaults.activation), activation)?,
        gated: traits.gated,
        positions: traits.positions,
        logit_soft_cap: match family.name {
            "gemma2" | "gemma3" => json.float("final_logit_softcapping")?.map(|cap| cap as f32),
            _ => None,
        },
        ..Block::default()
    })
}

fn activation(word: &str) -> Result<Activation> {
    match word {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::GeluErf),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "relu2" | "relu_squared" => Ok(Activation::Relu2),
        "xielu" => Ok(Activation::XIELU),
        other => Err(unsupported(format!(
            "config.json: hidden_act `{other}`; rasp knows silu, gelu, gelu_new, gelu_pytorch_tanh, relu, relu2 and xielu"
        ))),
    }
}

fn falcon_has_two_norms(json: &Object) -> Result<bool> {
    let new = json.bool("new_decoder_architecture")?.unwrap_or(false);
    Ok(new && json.size("num_ln_in_parallel_attn")?.unwrap_or(2) == 2)
}

/// What each layer's attention sees, and which table turns it.
fn attention(json: &Object, family: &Family, class: &HfClass, config: &Config) -> Result<Vec<Attention>> {
    let (traits, layers) = (&family.traits, config.num_layers);
    let size = |default: Option<usize>| match json.has("sliding_window") {
        true => json.size("sliding_window"),
        false => Ok(default),
    };
    let opted = json.bool("use_sliding_window")?.unwrap_or(false);
    let listed = layer_types(json, layers)?;
    let (window, own): (Option<usize>, Box<dyn Fn(usize) -> bool>) = match traits.window {
        WindowRule::Never => (None, Box::new(|_| false)),
        WindowRule::All(default) => (size(default)?, Box::new(|_| true)),
        WindowRule::IfListed => (size(None)?.filter(|_| opted), Box::new(|_| false)),
        WindowRule::Qwen2 => {
            let from = json.size("max_window_layers")?.unwrap_or(28);
            (size(Some(4096))?.filter(|_| opted), Box::new(move |n| n >= from))
        }
        WindowRule::AllBut(every, key, default) => {
            // A number; the one family with a string there lists its layers.
            let said = if listed.is_none() && !key.is_empty() { json.size(key)? } else { None };
            let every = said.unwrap_or(every).max(1);
            (size(default)?, Box::new(move |n| (n + 1) % every != 0))
        }
    };
    // Mistral's configuration does not know the list.
    let listed = listed.filter(|_| family.name != "mistral" && traits.window != WindowRule::Never);
    let local = |n: usize| window.is_some() && listed.as_ref().map_or_else(|| own(n), |listed| listed[n]);
    // A hybrid's dense models may go without positions.
    let unturned = match class.class == GRANITE4 && json.str("position_embedding_type")? != Some("rope") {
        true => Unturned::All,
        false => traits.unturned,
    };
    let turned = turned(json, unturned, layers, window.is_some())?;
    let (scale, soft_cap) = scores(json, family)?;
    Ok((0..layers)
        .map(|n| {
            let table = usize::from(local(n) && traits.local_theta.is_some());
            let rope = turned(n, local(n)).then_some(table);
            Attention { window: window.filter(|_| local(n)), rope, scale, soft_cap }
        })
        .collect())
}

/// Which layers turn queries and keys, from their number and whether they have a window.
fn turned(json: &Object, unturned: Unturned, layers: usize, windows: bool) -> Result<Box<dyn Fn(usize, bool) -> bool>> {
    Ok(match unturned {
        Unturned::None => Box::new(|_, _| true),
        Unturned::All => Box::new(|_, _| false),
        // A model without any window has no such layers.
        Unturned::Full => Box::new(move |_, local| local || !windows),
        Unturned::Listed => match json.list_of("no_rope_layers", layers, "numbers", |n| n.as_u64())? {
            None => {
                let every = json.size("no_rope_layer_interval")?.unwrap_or(4).max(1);
                Box::new(move |n, _| (n + 1) % every != 0)
            }
            // A 0 says that there is none.
            Some(list) => Box::new(move |n, _| list[n] != 0),
        },
    })
}

/// Whether each layer has a window, where `layer_types` says so.
fn layer_types(json: &Object, layers: usize) -> Result<Option<Vec<bool>>> {
    let Some(names) = json.list_of("layer_types", layers, "names", |name| name.as_str())? else { return Ok(None) };
    let kind = |name: &str| match name {
        "full_attention" | "attention" => Ok(false),
        "sliding_attention" => Ok(true),
        other => Err(obstacle::value(
            &format!("config.json: layer_types: `{other}`"),
            "a layer that is neither full_attention nor sliding_attention",
        )),
    };
    names.into_iter().map(kind).collect::<Result<Vec<_>>>().map(Some)
}

/// The scale and the soft cap of all layers' scores.
fn scores(json: &Object, family: &Family) -> Result<(Option<f32>, Option<f32>)> {
    let scale = match family.name {
        "gemma2" | "gemma3" => Some(json.float("query_pre_attn_scalar")?.unwrap_or(256.0).powf(-0.5)),
        "granite" => Some(json.float("attention_multiplier")?.unwrap_or(1.0)),
        _ => None,
    };
    let soft_cap = match family.name {
        "gemma2" if json.has("attn_logit_softcapping") => json.float("attn_logit_softcapping")?,
        "gemma2" => Some(50.0),
        _ => None,
    };
    Ok((scale.map(|x| x as f32), soft_cap.map(|x| x as f32)))
}

/// Multipliers of embedding, residual stream and logits, which weights take over, but for the embedding's.
fn fold_multipliers(json: &Object, family: &Family, config: &mut Config, fold: &mut Fold) -> Result<()> {
    let number = |key: &str, default: f64| json.float(key).map(|x| x.unwrap_or(default));
    let (hidden, layers) = (config.hidden_size as f64, config.num_layers.max(1) as f64);
    let (embedding, residual, logits) = match family.name {
        "granite" => (
            number("embedding_multiplier", 1.0)?,
            number("residual_multiplier", 1.0)?,
            1.0 / number("logits_scaling", 1.0)?,
        ),
        "minicpm" => (
            number("scale_emb", 1.0)?,
            number("scale_depth", 1.0)? / layers.sqrt(),
            number("dim_model_base", 1.0)? / hidden,
        ),
        "cohere" | "cohere2" => (1.0, 1.0, number("logit_scale", 0.0625)?),
        _ if family.traits.scaled_embedding => (hidden.sqrt(), 1.0, 1.0),
        _ => (1.0, 1.0, 1.0),
    };
    config.block.embedding_scale = embedding as f32;
    (fold.residual_scale, fold.logit_scale) = (residual as f32, logits as f32);
    if family.name == "gemma2" && !json.has("final_logit_softcapping") {
        config.block.logit_soft_cap = Some(30.0);
    }
    Ok(())
}
