//! Which model a recipe belongs to, told by what no weight format changes: its shape and the gains of its norms.
//!
//! GGUF files keep gains in F32, whatever their weights are; Hugging Face checkpoints have them in bf16 or f16.
//! Rounding moves each by 0.4% at most and the mean of many by far less, so means over parts of every norm are
//! compared, within 1% of the norm's root mean square, and no two files of one model can differ because a rounded
//! number fell on the other side of some edge. Gains are taken as the engine has them: Gemma's `1 + w`, multipliers
//! folded in, the channels of normed queries and keys in the engine's order. That the head is the embedding, how many
//! rows that has and what context a file promises differs between files of one model, and does not count.

use crate::import::Checkpoint;
use rasp::format::{Bytes, Config, File, key};
use rasp::model::{Affine, ModelSizes, Role, tensors};
use rasp::{Error, Result, Status};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Parts of a norm that are told apart.
const PARTS: usize = 16;

/// The most by which the mean gain of a part may differ between files of one model, as a share of the root mean square
/// of its norm's.
const TOLERANCE: f32 = 0.01;

/// What a model is known by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelIdentity {
    /// What its file calls it: for people, and not compared.
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) sizes: ModelSizes,
    /// Whether `up` is [stored by outputs](rasp::model::Block::up_by_outputs): files of one model may differ in that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) up_by_outputs: bool,
    /// The mean gain of each part of each norm, in the order of [`tensors`].
    pub(crate) gains: Vec<Vec<f32>>,
}

impl ModelIdentity {
    /// That of a checkpoint.
    pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Result<ModelIdentity> {
        let config = checkpoint.config();
        ModelIdentity::new(config, |role| {
            let missing = || Error::new(Status::Internal, format!("the checkpoint has no {}", role.name(config)));
            checkpoint.vector(role)?.ok_or_else(missing)
        })
    }

    /// That of a packed file.
    pub(crate) fn of_packed(path: &Path) -> Result<ModelIdentity> {
        let file = Bytes::map(path).and_then(File::open)?;
        let config = Config::parse(file.needed(key::CONFIG)?)?;
        config.validate()?;
        ModelIdentity::new(&config, |role| Ok(file.finite(&role.name(&config), &role.shape(&config))?.to_vec()))
    }

    fn new(config: &Config, gains: impl Fn(Role) -> Result<Vec<f32>>) -> Result<ModelIdentity> {
        let norms = tensors(config).filter(|role| {
            matches!(role, Role::FinalNorm(Affine::Gain) | Role::Norm(_, _, Affine::Gain))
                || matches!(role, Role::QkNorm(_, _, Affine::Gain))
        });
        let gains = norms.map(|role| Ok(means(&gains(role)?))).collect::<Result<Vec<_>>>()?;
        let (name, sizes, up_by_outputs) = (config.name.clone(), ModelSizes::of(config), config.block.up_by_outputs);
        Ok(ModelIdentity { name, sizes, up_by_outputs, gains })
    }

    /// Whether its gains tell it from others: those of some families are all 1.
    pub(crate) fn is_told_by_gains(&self) -> bool {
        let mut all = self.gains.iter().flatten();
        let first = all.next().copied().unwrap_or(1.0);
        all.any(|gain| (gain - first).abs() > TOLERANCE * first.abs())
    }

    /// What first sets another model apart from this one.
    pub(crate) fn difference(&self, other: &ModelIdentity) -> Option<String> {
        match self.sizes.difference(&other.sizes) {
            Some(("gated", ..)) => return Some("one MLP has a gate, the other has none".into()),
            Some((name, ours, theirs)) => return Some(format!("{name} is {theirs}, not {ours}")),
            None => {}
        }
        let (ours, theirs) = (self.gains.len(), other.gains.len());
        if ours != theirs {
            return Some(format!("norms is {theirs}, not {ours}"));
        }
        let mut norms = self.gains.iter().zip(&other.gains).enumerate();
        let differ = norms.find(|(_, (ours, theirs))| {
            let size = (ours.iter().map(|x| x * x).sum::<f32>() / ours.len().max(1) as f32).sqrt();
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * size;
            ours.len() != theirs.len() || !ours.iter().zip(*theirs).all(near)
        });
        differ.map(|(n, _)| format!("it has other gains, in norm {} of {} first", n + 1, self.gains.len()))
    }

    /// Fails on what no model has.
    pub(crate) fn validate(&self) -> Result<()> {
        let bad = |message: &str| Err(Error::new(Status::BadFile, format!("model: {message}")));
        if self.name.chars().count() > 200 || self.name.chars().any(char::is_control) {
            return bad("its name is longer than 200 characters, or has some that cannot be shown");
        }
        if !self.gains.iter().flatten().all(|gain| gain.is_finite()) {
            return bad("a gain is no finite number");
        }
        Ok(())
    }
}

/// The mean of each part, to five digits.
fn means(gains: &[f32]) -> Vec<f32> {
    let parts = PARTS.min(gains.len());
    let part = |n: usize| &gains[n * gains.len() / parts..(n + 1) * gains.len() / parts];
    let mean = |part: &[f32]| part.iter().map(|&x| f64::from(x)).sum::<f64>() / part.len() as f64;
    let short = |x: f64| format!("{x:.4e}").parse().unwrap_or(x as f32);
    (0..parts).map(|n| short(mean(part(n)))).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of a model with these gains, a number for each norm's channel.
    pub(in crate::recipe) fn identity(config: &Config, gain: impl Fn(usize) -> f32) -> ModelIdentity {
        ModelIdentity::new(config, |role| {
            let layer = if let Role::Norm(layer, ..) = role { layer + 1 } else { 0 };
            Ok((0..role.shape(config)[0]).map(|channel| gain(1000 * layer + channel)).collect())
        })
        .unwrap()
    }

    fn noise(n: usize) -> f32 {
        1.0 + ((n as f32 * 12.9898).sin() * 43758.547).fract() * 0.5
    }

    #[test]
    fn rounding_of_gains_keeps_the_model_and_other_gains_do_not() {
        let config = Config { hidden_size: 576, ..Config::example() };
        let exact = identity(&config, noise);
        assert_eq!(exact.gains.len(), 5);
        assert!(exact.is_told_by_gains() && !identity(&config, |_| 1.0).is_told_by_gains());
        let half = identity(&config, |n| half::f16::from_f32(noise(n)).to_f32());
        let brain = identity(&config, |n| half::bf16::from_f32(noise(n)).to_f32());
        // Stored less 1, as Gemma's are.
        let less = identity(&config, |n| 1.0 + half::bf16::from_f32(noise(n) - 1.0).to_f32());
        for same in [&exact, &half, &brain, &less] {
            assert_eq!((exact.difference(same), same.difference(&exact)), (None, None));
        }
        // One channel of one norm by as much as a part's tolerance allows, and by more.
        let near = identity(&config, |n| noise(n) + if n == 7 { 0.2 } else { 0.0 });
        let far = identity(&config, |n| noise(n) + if n == 1007 { 1.0 } else { 0.0 });
        assert_eq!(exact.difference(&near), None);
        assert!(exact.difference(&far).unwrap().contains("gains"));
        let other = identity(&config, |n| noise(n + 1));
        assert!(exact.difference(&other).unwrap().contains("gains"));
    }

    #[test]
    fn shapes_count_and_names_vocabularies_and_contexts_do_not() {
        let config = Config::example();
        let ours = identity(&config, noise);
        let as_other = |config: Config| ours.difference(&identity(&config, noise));
        for same in [
            Config { name: "another".into(), architecture: "qwen2".into(), ..config.clone() },
            Config { vocab_size: 300, tie_word_embeddings: true, context_length: 64, ..config.clone() },
        ] {
            assert_eq!(as_other(same), None);
        }
        for (other, word) in [
            (Config { intermediate_size: 97, ..config.clone() }, "intermediate_size is 97, not 96"),
            (Config { num_kv_heads: 4, ..config.clone() }, "num_kv_heads"),
            (Config { num_layers: 3, ..config.clone() }, "num_layers"),
        ] {
            let difference = as_other(other).unwrap();
            assert!(difference.contains(word), "{difference}");
        }
        let wrong = ModelIdentity { gains: vec![vec![f32::NAN; 16]; 5], ..ours.clone() };
        assert!(ours.difference(&wrong).is_some() && wrong.validate().is_err() && ours.validate().is_ok());
        assert!(ModelIdentity { name: "\u{1b}[2J".into(), ..ours }.validate().is_err());
    }
}
