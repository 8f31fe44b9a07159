//! Tables of rotary frequencies from `config.json`.
//!
//! `rope_theta` and `rope_scaling` stand beside each other in older checkpoints, together in `rope_parameters` in newer
//! ones; there, models whose layers differ have an object for each kind of layer.

use rasp::Result;

use super::json::Object;
use crate::import::family::{Defaults, Family};
use crate::import::rope::{Rope, Scaling, context, long_gain, stretch, yarn_gain};
use crate::import::{bad, obstacle, unsupported};

/// A configuration, as far as rotation goes.
pub(super) struct RopeConfig<'a> {
    pub(super) json: Object<'a>,
    pub(super) family: &'static Family,
    pub(super) defaults: &'a Defaults,
    pub(super) head_dim: usize,
    /// The context that the configuration says, and the one asked for.
    pub(super) trained: usize,
    pub(super) context: Option<usize>,
}

impl RopeConfig<'_> {
    /// Channels of a head that turn.
    pub(super) fn rotary_dim(&self) -> Result<usize> {
        let nested = parameters(&self.json)?;
        let places = [Some(self.json), nested].into_iter().flatten();
        for place in places {
            if let Some(share) = place.float_of(&["partial_rotary_factor", "rotary_pct", "rope_pct"])? {
                if share != 1.0 && !self.family.traits.may_turn_in_part {
                    return Err(unsupported(format!("config.json: partial_rotary_factor {share}")));
                }
                let dim = self.head_dim as f64 * share;
                return match (0.0..=self.head_dim as f64).contains(&dim) {
                    true => Ok(dim as usize),
                    false => Err(bad(format!("config.json: {share} of a head's channels turn"))),
                };
            }
        }
        Ok((self.head_dim as f64 * self.family.traits.partial_rotary) as usize)
    }
}

/// Where scaling is said.
fn parameters<'a>(json: &Object<'a>) -> Result<Option<Object<'a>>> {
    match json.object("rope_parameters")? {
        Some(p) => Ok(Some(p)),
        None => json.object("rope_scaling"),
    }
}

/// The model's tables, that of layers with a window second where they have one of their own, and the context that they
/// reach.
pub(super) fn ropes(source: &RopeConfig) -> Result<(Vec<Rope>, usize)> {
    let json = &source.json;
    let (given, local) = match parameters(json)? {
        None => (None, None),
        Some(p) => by_layers(source, p)?,
    };
    let theta = json.float_of(&["rope_theta", "rotary_emb_base"])?.unwrap_or(source.defaults.theta);
    let (rope, reach) = rope(source, given, theta)?;
    let mut tables = vec![rope];
    if let Some((key, default)) = source.family.traits.local_theta {
        let theta = json.float(key)?.unwrap_or(default);
        let table = match local {
            Some(p) => self::rope(source, Some(p), theta)?.0,
            // Layers with a window need no stretching.
            None => Rope { theta, scaling: Scaling::None, factors: None },
        };
        tables.push(table);
    }
    Ok((tables, reach))
}

/// The parameters of layers without a window and of those with one: an object for each, or one for all, which the
/// latter may not share.
fn by_layers<'a>(source: &RopeConfig, p: Object<'a>) -> Result<(Option<Object<'a>>, Option<Object<'a>>)> {
    const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];
    let (full, sliding) = (p.object(KINDS[0])?, p.object(KINDS[1])?);
    if full.is_none() && sliding.is_none() {
        return Ok((Some(p), None));
    }
    if let Some(key) = p.keys().find(|key| !KINDS.contains(key)) {
        return Err(unsupported(format!("config.json: rope_parameters: `{key}` beside objects for kinds of layers")));
    }
    let differ = full.is_some() && sliding.is_some_and(|sliding| !sliding.same(&full));
    if differ && source.family.traits.local_theta.is_none() {
        return Err(unsupported("config.json: rope_parameters that differ between kinds of layers"));
    }
    Ok((full.or(sliding), sliding))
}

/// One table, and the context that it reaches.
fn rope(source: &RopeConfig, given: Option<Object>, theta: f64) -> Result<(Rope, usize)> {
    let theta = given.map(|p| p.float("rope_theta")).transpose()?.flatten().unwrap_or(theta);
    let (scaling, reach) = match given {
        Some(p) if source.family.traits.scaled_rope => scaling(source, &p)?,
        _ => (Scaling::None, source.trained),
    };
    let reach = context(source.context, source.trained, reach)?;
    Ok((Rope { theta, scaling, factors: None }, reach))
}

/// The scaling, and the context that it is for.
fn scaling(source: &RopeConfig, p: &Object) -> Result<(Scaling, usize)> {
    const KNOWN: &[&str] = &[
        "rope_type",
        "type",
        "rope_theta",
        "factor",
        "original_max_position_embeddings",
        "low_freq_factor",
        "high_freq_factor",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
        "short_factor",
        "long_factor",
        "alpha",
        "partial_rotary_factor",
        "finetuned",
        "mrope_section",
    ];
    if let Some(key) = p.keys().find(|key| !KNOWN.contains(key)) {
        return Err(obstacle::key(&format!("config.json: rope scaling: key `{key}`"), key));
    }
    let trained = source.trained;
    let kind = match p.str("rope_type")? {
        Some(kind) => kind,
        None => p.str("type")?.unwrap_or("default"),
    };
    let original = || p.float("original_max_position_embeddings");
    let scaling = match kind {
        "default" => Scaling::None,
        "linear" => Scaling::Linear { factor: p.need_float("factor")? },
        "llama3" => Scaling::Llama3 {
            factor: p.need_float("factor")?,
            low_freq_factor: p.need_float("low_freq_factor")?,
            high_freq_factor: p.need_float("high_freq_factor")?,
            original_context: p.need_float("original_max_position_embeddings")?,
        },
        "yarn" => {
            let factor = p.need_float("factor")?;
            let gain = match (p.float("attention_factor")?, p.float("mscale")?, p.float("mscale_all_dim")?) {
                (Some(gain), _, _) => gain,
                (None, Some(m), Some(all)) if m != 0.0 && all != 0.0 => yarn_gain(factor, m) / yarn_gain(factor, all),
                _ => yarn_gain(factor, 1.0),
            };
            Scaling::Yarn {
                factor,
                original_context: original()?.unwrap_or(trained as f64),
                beta_fast: p.float("beta_fast")?.unwrap_or(32.0),
                beta_slow: p.float("beta_slow")?.unwrap_or(1.0),
                truncate: p.bool("truncate")?.unwrap_or(true),
                gain,
            }
        }
        // Fixed by the model's own number; or by the length of a text, which here is the context asked for: up to the
        // model's own nothing changes.
        "dynamic" => match p.float("alpha")? {
            Some(alpha) if alpha != 0.0 => Scaling::Ntk { stretch: alpha },
            _ => {
                let (factor, context) = (p.need_float("factor")?, source.context.unwrap_or(trained));
                if context > trained {
                    let stretch = factor * context as f64 / trained as f64 - (factor - 1.0);
                    return Ok((Scaling::Ntk { stretch }, context));
                }
                Scaling::None
            }
        },
        "longrope" | "su" => return longrope(source, p),
        other => {
            return Err(unsupported(format!(
                "config.json: rope scaling `{other}`; rasp knows default, linear, dynamic, yarn, longrope and llama3"
            )));
        }
    };
    Ok((scaling, trained))
}

/// LongRoPE has divisors for texts within the original context and others for longer ones; a file has those for its
/// context, by default the original one.
fn longrope(source: &RopeConfig, p: &Object) -> Result<(Scaling, usize)> {
    let outer = source.json.size("original_max_position_embeddings")?;
    let original = match (outer, p.size("original_max_position_embeddings")?) {
        (Some(original), _) | (None, Some(original)) => original,
        (None, None) => return Err(bad("config.json: longrope without `original_max_position_embeddings`")),
    };
    let factor = match (outer, p.float("factor")?) {
        (None, Some(factor)) => factor,
        _ => stretch(source.trained, original),
    };
    let reach = original.min(source.trained);
    let key = if source.context.unwrap_or(reach) > original { "long_factor" } else { "short_factor" };
    let factors = p.list(key, "numbers", |x| x.as_f64().map(|x| x as f32))?;
    let factors = factors.ok_or_else(|| bad(format!("config.json: longrope: `{key}` is missing")))?;
    let gain = p.float("attention_factor")?.unwrap_or_else(|| long_gain(factor, original as f64));
    Ok((Scaling::Long { factors, gain }, reach))
}
