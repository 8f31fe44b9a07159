//! How a model turns queries and keys, from GGUF metadata.

use rasp::Result;

use super::config::{Beside, Keys};
use crate::import::family::Family;
use crate::import::obstacle;
use crate::import::rope::{Rope, Scaling, context, long_gain, stretch, yarn_gain};
use crate::import::unsupported;

/// Keys under the architecture's prefix that are read here, or that change nothing.
pub(super) const KNOWN: &[&str] = &[
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
];

/// Tensors that divide rotary frequencies: of all contexts, of short ones, of long ones.
pub(super) const ROPE_FACTORS: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"];

/// Those of them that readers of the family apply.
pub(super) fn rope_factors(family: &Family) -> &'static [&'static str] {
    match family.name {
        "llama" | "mistral" | "granite" | "minicpm" => &ROPE_FACTORS,
        "exaone4" | "apertus" => &ROPE_FACTORS[..1],
        "phi3" => &ROPE_FACTORS[1..],
        _ => &[],
    }
}

/// How a model turns queries and keys.
pub(super) struct Turning {
    pub(super) rope: Rope,
    /// The tensor of LongRoPE's divisors, and their gain.
    pub(super) long: Option<(&'static str, f64)>,
    /// The context that the table is for.
    pub(super) reach: usize,
}

/// The model's table, that of layers without a window where those differ, and the context that it reaches.
pub(super) fn rope(family: &Family, keys: &Keys, beside: &Beside, trained: usize) -> Result<Turning> {
    let theta = keys.float("rope.freq_base")?.unwrap_or(10000.0);
    let factor = match keys.float("rope.scaling.factor")? {
        Some(factor) => Some(factor),
        None => keys.float("rope.scale_linear")?,
    };
    let original = keys.size("rope.scaling.original_context_length")?.unwrap_or(trained);
    let (mut reach, mut long) = (trained, None);
    let is_long = ROPE_FACTORS[1..].iter().all(|name| beside.factors.contains(name));
    let scaling = match (keys.str("rope.scaling.type")?, is_long) {
        (_, true) => {
            // LongRoPE: divisors for texts within the original context, and others for longer ones.
            reach = original.min(trained);
            let gain = match keys.float("rope.scaling.attn_factor")? {
                Some(gain) => gain,
                None => long_gain(stretch(trained, original), original as f64),
            };
            let is_longer = beside.context.unwrap_or(reach) > original;
            long = Some((ROPE_FACTORS[if is_longer { 2 } else { 1 }], gain));
            Scaling::None
        }
        (Some("none"), _) => Scaling::None,
        // A factor without a type is linear; writers put 0 for "no factor".
        (None | Some("linear"), _) => match factor {
            None | Some(0.0) => Scaling::None,
            Some(factor) => Scaling::Linear { factor },
        },
        (Some("yarn"), _) => {
            let factor = factor.map_or_else(|| keys.need_float("rope.scaling.factor"), Ok)?;
            Scaling::Yarn {
                factor,
                original_context: original as f64,
                beta_fast: keys.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: keys.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                truncate: true,
                gain: yarn_gain_of(family, keys, factor)?,
            }
        }
        (Some(other), _) => {
            return Err(unsupported(format!("rope scaling `{other}`; rasp knows none, linear, yarn and longrope")));
        }
    };
    if !matches!(scaling, Scaling::Yarn { .. }) {
        refuse_yarn(keys)?;
    }
    let reach = context(beside.context, trained, reach)?;
    Ok(Turning { rope: Rope { theta, scaling, factors: None }, long, reach })
}

/// What YaRN multiplies queries and keys by: `yarn_attn_factor`, which converters write for transformers'
/// `attention_factor`, or what follows from the factor; and `attn_factor` times as much.
fn yarn_gain_of(family: &Family, keys: &Keys, factor: f64) -> Result<f64> {
    const MIX: &str = "rope.scaling.yarn_ext_factor";
    let mix = keys.float(MIX)?;
    if let Some(mix) = mix.filter(|mix| *mix >= 0.0 && *mix != 1.0) {
        let said = format!("key `{}` is {mix}", keys.key(MIX));
        return Err(obstacle::value(&said, "YaRN whose ramp is mixed in by a share other than 1"));
    }
    // Below 0 nothing is set: llama.cpp writes all keys so when it saves a model, with a gain of 1 that it never reads.
    let is_unset = mix.is_some_and(|mix| mix < 0.0);
    // Of other architectures no reader heeds it.
    let all = match family.name {
        "mistral" => keys.float("rope.scaling.yarn_log_multiplier")?.filter(|all| *all != 0.0),
        _ => None,
    };
    let given = keys.float("rope.scaling.yarn_attn_factor")?.filter(|_| !is_unset);
    let gain = match (given, all) {
        (Some(gain), _) => gain,
        (None, Some(all)) => yarn_gain(factor, 1.0) / yarn_gain(factor, all),
        (None, None) => yarn_gain(factor, 1.0),
    };
    Ok(gain * keys.float("rope.scaling.attn_factor")?.unwrap_or(1.0))
}

/// Refuses a gain of YaRN's where there is no YaRN.
fn refuse_yarn(keys: &Keys) -> Result<()> {
    for (name, none) in [("rope.scaling.yarn_attn_factor", 1.0), ("rope.scaling.yarn_ext_factor", 0.0)] {
        if let Some(value) = keys.float(name)?.filter(|value| *value >= 0.0 && *value != none) {
            let said =
                format!("key `{}` is {value}, but `{}` is not `yarn`", keys.key(name), keys.key("rope.scaling.type"));
            return Err(unsupported(format!(
                "{said}; convert the model again with the scaling that it was trained with"
            )));
        }
    }
    Ok(())
}
