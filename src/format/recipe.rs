//! Where the sparsity goes: per linear its rank and thresholds, for a ladder of sparsities.

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
}

/// The recipe of a file; `__metadata__["rasp.recipe"]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// How channels are scored.
    pub score: ScoreKind,
    /// The ladder: model-level sparsities, strictly ascending, each in (0, 1). Empty for a dense file.
    pub sparsity: Vec<f32>,
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
    /// One threshold a rung: a channel is kept if its score is greater.
    pub thresholds: Vec<f32>,
    /// Share of this linear's dense weight traffic that was kept on the calibration text, low rank included, a rung.
    pub kept: Vec<f32>,
}

impl Recipe {
    /// Fails unless the ladder ascends and every linear has a finite threshold for each rung.
    pub fn validate(&self) -> Result<()> {
        let bad = |message: String| Err(Error::new(Status::BadFile, format!("recipe: {message}")));
        let mut last = 0.0;
        for &s in &self.sparsity {
            if !(s > last && s < 1.0) {
                return bad(format!("sparsity ladder {:?} does not ascend within 0 to 1", self.sparsity));
            }
            last = s;
        }
        for (name, linear) in &self.linears {
            if linear.thresholds.len() != self.sparsity.len() || linear.kept.len() != self.sparsity.len() {
                return bad(format!(
                    "{name} has {} thresholds and {} shares for {} rungs",
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
            linears: BTreeMap::from([("layers.0.q".to_string(), linear)]),
        }
    }

    #[test]
    fn a_ladder_must_ascend_and_be_complete() {
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
    fn thresholds_survive_json_to_the_bit() {
        let before = recipe(&[0.1, 0.7], &[0.1234567, 3.4e-38]);
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), before);
    }
}
