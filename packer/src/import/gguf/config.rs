//! A model's shape from GGUF metadata.

use rasp::Result;
use rasp::format::Config;
use rasp::model::{Activation, Attention, Block, BlockOrder, NormKind};

use super::rope::{self, ROPE_FACTORS, Turning};
use super::value::Metadata;
use crate::import::config::{self, Fold, Shape, check_sizes};
use crate::import::family::{Family, Gguf, Parallel, Unturned, WindowRule, by_gguf_arch};
use crate::import::registry::families;
use crate::import::rope::{Rope, Scaling};
use crate::import::{bad, obstacle, unsupported};

/// Keys under the architecture's prefix that this importer takes into account, or that change nothing in what a model
/// computes. Any other may be a part of the mathematics, and is refused.
const KNOWN: &[&str] = &[
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "feed_forward_length",
    "tensor_data_layout",
    "vocab_size",
];

/// Further keys of some families.
fn is_known(family: &Family, key: &str) -> bool {
    let own: &[&str] = match family.name {
        "granite" => &[
            "attention.scale",
            "embedding_scale",
            "expert_shared_feed_forward_length",
            "logit_scale",
            "residual_scale",
        ],
        "minicpm" => &["embedding_scale", "logit_scale", "residual_scale"],
        "cohere" | "cohere2" => &["logit_scale"],
        "gemma2" | "gemma3" => &["attention.scale", "attn_logit_softcapping", "final_logit_softcapping"],
        "olmo" => &["attention.clamp_kqv"],
        "gpt_neox" | "stablelm" => &["use_parallel_residual"],
        _ => &[],
    };
    // Keys of layers that a hybrid family's dense models do not have.
    let of_other_layers = family.name == "granite" && key.starts_with("ssm.");
    KNOWN.contains(&key) || rope::KNOWN.contains(&key) || own.contains(&key) || of_other_layers
}

/// A model's shape, but for the values of the tensors that divide its rotary frequencies.
pub(super) struct Draft {
    config: Config,
    fold: Fold,
    layers: Vec<Attention>,
    ropes: Vec<Rope>,
    /// The tensor of LongRoPE's divisors, and their gain.
    long: Option<(&'static str, f64)>,
}

impl Draft {
    /// The shape; `read` gives the values of a tensor.
    pub(super) fn finish(mut self, listed: &[&str], read: impl Fn(&str) -> Result<Vec<f32>>) -> Result<Shape> {
        if let Some(rope) = self.ropes.first_mut() {
            if let Some((name, gain)) = self.long {
                rope.scaling = Scaling::Long { factors: read(name)?, gain };
            }
            if listed.contains(&ROPE_FACTORS[0]) {
                rope.factors = Some(read(ROPE_FACTORS[0])?);
            }
        }
        Shape::finish(self.config, self.fold, &self.ropes, &self.layers)
    }
}

/// The family that the file names.
pub(super) fn family(meta: &Metadata) -> Result<(&'static Family, &'static Gguf)> {
    let arch = meta.str("general.architecture")?.ok_or_else(|| bad("key `general.architecture` is missing"))?;
    by_gguf_arch(arch).ok_or_else(|| {
        let known: Vec<_> = families().filter_map(|f| f.gguf.as_ref().map(|g| g.architecture)).collect();
        obstacle::architecture("key `general.architecture`", arch, &known)
    })
}

/// What a file says beside its metadata.
pub(super) struct Beside<'a> {
    pub(super) file_name: &'a str,
    /// Whether there is no head of its own.
    pub(super) tied: bool,
    /// Whether a parallel block has a norm for each of attention and MLP.
    pub(super) two_norms: bool,
    /// Tokens of the tokenizer.
    pub(super) tokens: usize,
    /// Which of [`ROPE_FACTORS`] there are.
    pub(super) factors: &'a [&'static str],
    /// The context asked for.
    pub(super) context: Option<usize>,
}

/// Metadata under an architecture's prefix.
pub(super) struct Keys<'a> {
    meta: &'a Metadata<'a>,
    prefix: String,
}

impl<'a> Keys<'a> {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn size(&self, name: &str) -> Result<Option<usize>> {
        self.meta.size(&self.key(name))
    }

    pub(super) fn need_size(&self, name: &str) -> Result<usize> {
        self.meta.need_size(&self.key(name))
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f64>> {
        self.meta.float(&self.key(name))
    }

    pub(super) fn need_float(&self, name: &str) -> Result<f64> {
        self.float(name)?.ok_or_else(|| bad(format!("key `{}` is missing", self.key(name))))
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>> {
        self.meta.bool(&self.key(name))
    }

    pub(super) fn bools(&self, name: &str) -> Result<Option<Vec<bool>>> {
        self.meta.bools(&self.key(name))
    }

    pub(super) fn str(&self, name: &str) -> Result<Option<&'a str>> {
        self.meta.str(&self.key(name))
    }
}

/// Reads a model's shape.
pub(super) fn read(meta: &Metadata, family: &'static Family, gguf: &Gguf, beside: Beside) -> Result<Draft> {
    let keys = Keys { meta, prefix: format!("{}.", gguf.architecture) };
    // The smallest first, so that the same file always gives the same message.
    if let Some(name) = meta.keys_under(&keys.prefix).filter(|key| !is_known(family, key)).min() {
        return Err(obstacle::key(&format!("key `{}{name}`", keys.prefix), name));
    }
    refuse_variants(&keys)?;

    let hidden_size = keys.need_size("embedding_length")?;
    let num_heads = keys.need_size("attention.head_count")?;
    let head_dim = match keys.size("attention.key_length")? {
        Some(dim) => dim,
        None if num_heads > 0 && hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            return Err(bad(format!("config: a hidden size of {hidden_size} does not divide among {num_heads} heads")));
        }
    };
    if let Some(dim) = keys.size("attention.value_length")?.filter(|d| *d != head_dim) {
        let key = keys.key("attention.value_length");
        return Err(unsupported(format!("`{key}` is {dim} where heads are {head_dim} wide")));
    }
    let eps_name = match family.traits.norm {
        NormKind::Rms => "attention.layer_norm_rms_epsilon",
        NormKind::Layer => "attention.layer_norm_epsilon",
    };
    let eps = keys.need_float(eps_name)?;
    let trained = keys.need_size("context_length")?;
    let mut config = Config {
        architecture: family.name.to_string(),
        name: meta.str("general.name")?.unwrap_or(beside.file_name).to_string(),
        vocab_size: keys.size("vocab_size")?.unwrap_or(beside.tokens),
        hidden_size,
        intermediate_size: keys.need_size("feed_forward_length")?,
        num_layers: keys.need_size("block_count")?,
        num_heads,
        num_kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(num_heads),
        head_dim,
        context_length: trained,
        rms_norm_eps: eps as f32,
        tie_word_embeddings: beside.tied,
        block: block(&keys, family, hidden_size, beside.two_norms)?,
    };
    check_sizes(&config)?;
    if let Activation::Xielu { .. } = config.block.activation {
        config.block.xielu = xielu(meta, config.num_layers)?;
    }
    let Turning { rope, long, reach } = rope::rope(family, &keys, &beside, trained)?;
    config.context_length = reach;
    let mut layers = attention(&keys, family, &config)?;
    let mut fold = Fold { interleaved: gguf.interleaved, ..Fold::none(&config) };
    fold.rotary_dim = keys.size("rope.dimension_count")?.unwrap_or(head_dim);
    if fold.rotary_dim != head_dim && !family.traits.may_turn_in_part {
        let key = keys.key("rope.dimension_count");
        return Err(unsupported(format!("`{key}` is {} where heads are {head_dim} wide", fold.rotary_dim)));
    }
    fold.residual_scale = keys.float("residual_scale")?.unwrap_or(1.0) as f32;
    fold.logit_scale = logit_scale(&keys, family)?;
    let mut ropes = Vec::new();
    if layers.iter().any(|layer| layer.rope.is_some()) {
        // Gemma's is its own, OLMo 3's the model's, unstretched.
        let default = family.traits.local_theta.map_or(rope.theta, |(_, theta)| theta);
        ropes.push(rope);
        if has_local_table(family, &layers) {
            let theta = keys.float("rope.freq_base_swa")?.unwrap_or(default);
            ropes.push(Rope { theta, scaling: Scaling::None, factors: None });
            layers.iter_mut().filter(|l| l.window.is_some()).for_each(|l| l.rope = l.rope.map(|_| 1));
        }
    }
    Ok(Draft { config, fold, layers, ropes, long })
}

/// Variants of the architecture that rasp does not compute.
fn refuse_variants(keys: &Keys) -> Result<()> {
    if let Some(experts) = keys.size("expert_count")?.filter(|n| *n > 0) {
        let said = format!("key `{}`", keys.key("expert_count"));
        return Err(obstacle::value(&said, &format!("a mixture of {experts} experts")));
    }
    if keys.bool("attention.causal")? == Some(false) {
        let said = format!("key `{}` is false", keys.key("attention.causal"));
        return Err(obstacle::value(&said, "attention that looks ahead"));
    }
    if let Some(parts) = keys.meta.size("split.count")?.filter(|n| *n > 1) {
        return Err(unsupported(format!(
            "one of {parts} files of a split model; merge them first (`llama-gguf-split --merge`)"
        )));
    }
    Ok(())
}

fn block(keys: &Keys, family: &Family, hidden: usize, two_norms: bool) -> Result<Block> {
    let traits = &family.traits;
    let embedding_scale = match keys.float("embedding_scale")? {
        Some(scale) => scale as f32,
        None if traits.scaled_embedding => (hidden as f64).sqrt() as f32,
        None => 1.0,
    };
    let logit_soft_cap = match family.name {
        "gemma2" => Some(keys.float("final_logit_softcapping")?.unwrap_or(30.0) as f32),
        _ => keys.float("final_logit_softcapping")?.map(|cap| cap as f32),
    };
    Ok(Block {
        norm: traits.norm,
        norm_place: traits.norm_place,
        order: match (traits.parallel, keys.bool("use_parallel_residual")?) {
            (Parallel::Never, _) | (Parallel::IfSaid, None | Some(false)) => BlockOrder::Sequential,
            (Parallel::TwoNormsIfSaid, Some(false)) => BlockOrder::Sequential,
            (Parallel::TwoNormsIfSaid, _) => BlockOrder::ParallelNorms,
            (Parallel::Falcon, _) if two_norms => BlockOrder::ParallelNorms,
            (Parallel::OneNorm | Parallel::IfSaid | Parallel::Falcon, _) => BlockOrder::Parallel,
        },
        qk_norm: traits.qk_norm,
        // 0 is none.
        qkv_clip: keys.float("attention.clamp_kqv")?.filter(|clip| *clip != 0.0).map(|clip| clip as f32),
        activation: family.activation(),
        gated: traits.gated,
        positions: traits.positions,
        embedding_scale,
        logit_soft_cap,
        ..Block::default()
    })
}

fn logit_scale(keys: &Keys, family: &Family) -> Result<f32> {
    let scale = keys.float("logit_scale")?.unwrap_or(1.0);
    // A divisor there, a factor in the others.
    let is_divisor = matches!(family.name, "granite" | "minicpm");
    Ok(if is_divisor { 1.0 / scale } else { scale } as f32)
}

/// Each layer's parameters of xIELU, of which files have what softplus makes positive (arXiv:2411.13010, section 3.2).
fn xielu(meta: &Metadata, layers: usize) -> Result<Vec<[f32; 3]>> {
    let list = |key: &str| {
        let list = meta.floats(key)?.ok_or_else(|| bad(format!("key `{key}` is missing")))?;
        match list.len() == layers {
            true => Ok(list),
            false => Err(bad(format!("`{key}` lists {} of {layers} layers", list.len()))),
        }
    };
    let (alpha_p, alpha_n) = (list("xielu.alpha_p")?, list("xielu.alpha_n")?);
    let (beta, eps) = (list("xielu.beta")?, list("xielu.eps")?);
    (0..layers).map(|n| config::xielu(alpha_p[n], alpha_n[n], beta[n], eps[n])).collect()
}

/// What each layer's attention sees, and which table turns it.
fn attention(keys: &Keys, family: &Family, config: &Config) -> Result<Vec<Attention>> {
    let traits = &family.traits;
    let window = keys.size("attention.sliding_window")?.filter(|window| *window > 0);
    let pattern = "attention.sliding_window_pattern";
    let listed = keys.bools(pattern)?;
    if let Some(listed) = listed.as_ref().filter(|listed| listed.len() != config.num_layers) {
        return Err(bad(format!("`{}` lists {} of {} layers", keys.key(pattern), listed.len(), config.num_layers)));
    }
    // Which layers have no window; none: all have one.
    let every = match traits.window {
        _ if listed.is_some() => None,
        WindowRule::AllBut(every, ..) => Some(keys.size(pattern)?.unwrap_or(every).max(1)),
        WindowRule::All(_) => None,
        _ if window.is_some_and(|window| window < config.context_length) => {
            let key = keys.key("attention.sliding_window");
            return Err(unsupported(format!("`{key}`: which layers of a {} model have a window", family.name)));
        }
        _ => None,
    };
    let own = |n: usize| every.is_none_or(|every| !(n + 1).is_multiple_of(every));
    let local = |n: usize| window.is_some() && listed.as_ref().map_or_else(|| own(n), |listed| listed[n]);
    // Granite 4 says so of models that were not trained with positions.
    let unturned = match family.name == "granite" && keys.bool("rope.scaling.finetuned")? == Some(false) {
        true => Unturned::All,
        false => traits.unturned,
    };
    let turned = |n: usize| match unturned {
        Unturned::None => true,
        Unturned::All => false,
        Unturned::Full => local(n) || window.is_none(),
        Unturned::Listed => !(n + 1).is_multiple_of(4),
    };
    let scale = match (family.name, keys.float("attention.scale")?) {
        (_, Some(scale)) => Some(scale as f32),
        // The largest Gemmas alone scale by the width of a query head's share of the residual stream.
        ("gemma2" | "gemma3", None) if config.num_layers >= 46 && config.num_heads == 32 => {
            Some((config.hidden_size as f64 / config.num_heads as f64).powf(-0.5) as f32)
        }
        _ => None,
    };
    let soft_cap = match family.name {
        "gemma2" => Some(keys.float("attn_logit_softcapping")?.unwrap_or(50.0) as f32),
        _ => keys.float("attn_logit_softcapping")?.map(|cap| cap as f32),
    };
    Ok((0..config.num_layers)
        .map(|n| {
            let rope = turned(n).then_some(0);
            Attention { window: window.filter(|_| local(n)), rope, scale, soft_cap }
        })
        .collect())
}

/// Whether layers with a window turn by a table of their own.
fn has_local_table(family: &Family, layers: &[Attention]) -> bool {
    // OLMo 3 is OLMo 2 with windows.
    let windows = layers.iter().any(|layer| layer.window.is_some());
    windows && (family.traits.local_theta.is_some() || family.name == "olmo2")
}
