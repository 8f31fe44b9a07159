//! Where the sparsity goes: per linear its rank and thresholds, for each sparsity level.

use crate::{Error, Result, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the magnitude of an input channel is multiplied with before it meets the threshold (METHOD, "One linear
/// layer").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// `|x_j|·‖W[:, j]‖`, the papers' score.
    WeightNorm,
    /// `|x_j|·‖R[:, j]‖`, the price of dropping channel `j` once the low-rank branch has the whole input.
    ResidualNorm,
    /// `|x_j|` alone (TEAL).
    Magnitude,
    /// `|x_j|·√(F_j / out)`, where `F_j` is the Fisher information of the channel: the square root of what dropping it
    /// costs in KL divergence, a weight saved. Scores of different linears can be compared.
    Fisher,
}

/// How the sparsity of a level is shared out among the linears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allocation {
    /// Every linear has the sparsity of the level.
    #[default]
    Uniform,
    /// One threshold for the whole model decides where the sparsity goes.
    Global,
}

/// The recipe of a file; `__metadata__["rasp.recipe"]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// How channels are scored.
    pub score: ScoreKind,
    /// The sparsity levels of the whole model, strictly ascending, each in (0, 1). Empty for a dense file.
    pub sparsity: Vec<f32>,
    /// How a level's sparsity is shared out.
    #[serde(default)]
    pub allocation: Allocation,
    /// The sparsity that a session starts with; 0 is dense.
    #[serde(default)]
    pub default_sparsity: f32,
    /// What that may cost: by how much the perplexity may be above the dense model's (0.02 is 2%) at the sparsest
    /// setting, which the default is. Absent if none was asked for, and in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f32>,
    /// By how much each level's perplexity was above the dense model's on held-back calibration text, every token
    /// sparse: 0.02 is 2%. Empty if it was not measured.
    #[serde(default)]
    pub loss: Vec<f32>,
    /// Positions at the beginning of a context whose tokens pass densely at any sparsity. Models keep an attention sink
    /// there (arXiv:2309.17453), which every later token looks at.
    #[serde(default)]
    pub dense_prefix: usize,
    /// Whether a linear's mask is gone by even where leaving out rows as short as its own takes as long as reading all
    /// of them ([`Model::read_whole`](crate::model::Model::read_whole)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_short_rows: bool,
    /// The level whose masks the weights were fitted to; they are the checkpoint's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensated: Option<f32>,
    /// One entry a linear, by name (`layers.0.q`).
    pub linears: BTreeMap<String, LinearRecipe>,
}

/// One linear's part of the recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearRecipe {
    /// Share of the kept budget that goes to input channels; the rest pays for the low rank.
    pub rho: f32,
    /// Rank `r` of `A·B`; 0 for none.
    pub rank: usize,
    /// One threshold a level: a channel is kept if its score is greater.
    pub thresholds: Vec<f32>,
    /// Share of this linear's dense weight traffic that was kept on the calibration text, low rank included, a level.
    pub kept: Vec<f32>,
}

impl Recipe {
    /// Fails unless the levels ascend and every linear has a finite threshold for each level.
    pub fn validate(&self) -> Result<()> {
        let bad = |message: String| Err(Error::new(Status::BadFile, format!("recipe: {message}")));
        let mut last = 0.0;
        for &s in &self.sparsity {
            if !(s > last && s < 1.0) {
                return bad(format!("sparsity levels {:?} do not ascend within 0 to 1", self.sparsity));
            }
            last = s;
        }
        if let Some(quality) = self.quality.filter(|quality| !(quality.is_finite() && *quality >= 0.0)) {
            return bad(format!("a quality of {quality}, expected a finite number from 0 up"));
        }
        if !(0.0..=last).contains(&self.default_sparsity) {
            return bad(format!("default_sparsity {} lies outside 0 to {last}", self.default_sparsity));
        }
        let measured = self.loss.is_empty() || self.loss.len() == self.sparsity.len();
        if !measured || !self.loss.iter().all(|loss| loss.is_finite()) {
            return bad(format!("losses {:?} for {} levels", self.loss, self.sparsity.len()));
        }
        if let Some(level) = self.compensated
            && !self.sparsity.contains(&level)
        {
            return bad(format!("compensated {level} is none of {:?}", self.sparsity));
        }
        for (name, linear) in &self.linears {
            if linear.thresholds.len() != self.sparsity.len() || linear.kept.len() != self.sparsity.len() {
                return bad(format!(
                    "{name} has {} thresholds and {} shares for {} levels",
                    linear.thresholds.len(),
                    linear.kept.len(),
                    self.sparsity.len()
                ));
            }
            let finite = |t: &f32| t.is_finite() && *t >= 0.0;
            if !linear.thresholds.iter().all(finite) || !linear.kept.iter().all(finite) {
                return bad(format!("{name} has a threshold or share that is negative or not finite"));
            }
            if !(0.0..=1.0).contains(&linear.rho) {
                return bad(format!("{name} has rho {}, outside 0 to 1", linear.rho));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(sparsity: &[f32], thresholds: &[f32]) -> Recipe {
        let linear =
            LinearRecipe { rho: 1.0, rank: 0, thresholds: thresholds.to_vec(), kept: vec![0.5; thresholds.len()] };
        Recipe {
            score: ScoreKind::WeightNorm,
            sparsity: sparsity.to_vec(),
            allocation: Allocation::Global,
            default_sparsity: 0.0,
            quality: None,
            loss: vec![0.01; sparsity.len()],
            dense_prefix: 1,
            skip_short_rows: false,
            compensated: None,
            linears: BTreeMap::from([("layers.0.q".to_string(), linear)]),
        }
    }

    #[test]
    fn levels_must_ascend_and_be_complete() {
        assert!(recipe(&[0.3, 0.5], &[1.0, 2.0]).validate().is_ok());
        assert!(recipe(&[], &[]).validate().is_ok());
        for (s, t) in [
            (&[0.5, 0.3][..], &[1.0, 2.0][..]),
            (&[0.5, 0.5], &[1.0, 2.0]),
            (&[0.0], &[1.0]),
            (&[1.0], &[1.0]),
            (&[f32::NAN], &[1.0]),
            (&[0.5], &[1.0, 2.0]),
            (&[0.5], &[f32::NAN]),
            (&[0.5], &[f32::INFINITY]),
            (&[0.5], &[-1.0]),
        ] {
            let error = recipe(s, t).validate().unwrap_err();
            assert_eq!(error.status(), Status::BadFile, "{s:?} {t:?}");
        }
    }

    #[test]
    fn defaults_and_losses_must_belong_to_the_levels() {
        let whole = recipe(&[0.3, 0.5], &[1.0, 2.0]);
        assert!(
            Recipe {
                default_sparsity: 0.4,
                quality: Some(0.02),
                loss: Vec::new(),
                compensated: Some(0.3),
                ..whole.clone()
            }
            .validate()
            .is_ok()
        );
        for wrong in [
            Recipe { default_sparsity: 0.6, ..whole.clone() },
            Recipe { default_sparsity: f32::NAN, ..whole.clone() },
            Recipe { quality: Some(-0.1), ..whole.clone() },
            Recipe { quality: Some(f32::INFINITY), ..whole.clone() },
            Recipe { compensated: Some(0.4), ..whole.clone() },
            Recipe { loss: vec![0.1], ..whole.clone() },
            Recipe { loss: vec![0.1, f32::INFINITY], ..whole.clone() },
        ] {
            assert_eq!(wrong.validate().unwrap_err().status(), Status::BadFile, "{wrong:?}");
        }
        // Files from before these were there.
        let json = r#"{"score": "weight_norm", "sparsity": [0.5], "linears": {}}"#;
        let old: Recipe = serde_json::from_str(json).unwrap();
        assert_eq!((old.allocation, old.default_sparsity, old.loss.len()), (Allocation::Uniform, 0.0, 0));
        assert_eq!((old.dense_prefix, old.compensated), (0, None));
    }

    #[test]
    fn thresholds_survive_json_to_the_bit() {
        let before = recipe(&[0.1, 0.7], &[0.1234567, 3.4e-38]);
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), before);
    }
}
