//! What tuning finds, as a small file that belongs to a model and not to a weight format: the scores of its channels,
//! each sparsity level's thresholds, and what the levels cost. Packing with one takes no calibration.
//!
//! It serves every file of the model, since scores are of channels: dropping one costs much the same whether its
//! weights have 16 bits or 4 (`docs/lab/2026-11-29-quality-allocation.md`).

mod file;
mod identity;
mod scores;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use identity::ModelIdentity;
pub use source::{RecipeSource, known_recipes};
pub(crate) use source::{check_saving, chosen, read};

use crate::measure::Measured;
use crate::plan::{Plan, RecipeRequest};
use crate::quality::Limit;
use crate::scoring::Scores;
use rasp::format::{Allocation, Config, Recipe, ScoreKind};
use rasp::model::{Group, Model};
use rasp::{Error, Result, Status};
use serde::{Deserialize, Serialize};

/// What tuning found for a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TunedRecipe {
    pub(crate) model: ModelIdentity,
    pub(crate) allocation: Allocation,
    /// Tokens at the beginning of a context that pass densely.
    pub(crate) dense_prefix: usize,
    /// Sparsity levels, ascending.
    pub(crate) levels: Vec<f32>,
    /// By how much each level's perplexity was above the dense model's on held-back text; empty if not measured.
    pub(crate) ppl_increase: Vec<f32>,
    /// What was asked of the quality, and the sparsest setting that had it.
    pub(crate) quality: Option<(f64, f32)>,
    /// What it was found on, where that is known.
    pub(crate) text: Option<CalibrationText>,
    /// Of each layer whose `up` is by outputs, the share that is read; of others none.
    pub(crate) active: Vec<f32>,
    /// In the order of [`rasp::model::Linear::index`].
    pub(crate) linears: Vec<TunedLinear>,
}

/// One linear's part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TunedLinear {
    pub(crate) name: String,
    /// The factor of `|x_j|`, one an input channel.
    pub(crate) scores: Vec<f32>,
    /// One a level: a channel is kept if its score times its input's magnitude is greater.
    pub(crate) thresholds: Vec<f32>,
    /// The share of channels that they keep on the calibration text.
    pub(crate) channels: Vec<f32>,
}

/// What a recipe was found on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationText {
    /// The file's name; `None` for a text that the model wrote itself.
    pub file: Option<String>,
    /// Tokens calibrated on.
    pub tokens: usize,
    /// FNV-1a of these tokens, in hexadecimal digits.
    pub checksum: String,
    /// Steps of tuning; 0: scores as measured.
    pub tuning_steps: usize,
}

impl CalibrationText {
    /// `wikitext.txt, 4096 tokens, 24 steps of tuning`
    pub fn words(&self) -> String {
        let file = self.file.as_deref().unwrap_or("its own text");
        let tuned = match self.tuning_steps {
            0 => "not tuned".into(),
            1 => "1 step of tuning".into(),
            n => format!("{n} steps of tuning"),
        };
        format!("{file}, {} tokens, {tuned}", self.tokens)
    }
}

impl TunedRecipe {
    /// What calibration told of `model`, whose plan has the shares that were found.
    pub(crate) fn found(
        identity: ModelIdentity,
        plan: &Plan,
        measured: &Measured,
        dense_prefix: usize,
        model: &Model,
    ) -> TunedRecipe {
        let linears = plan.linears.iter().zip(model.linears()).enumerate().map(|(n, (plan, linear))| TunedLinear {
            name: plan.name(),
            scores: linear.score().unwrap_or_default().to_vec(),
            thresholds: measured.thresholds.get(n).cloned().unwrap_or_default(),
            channels: plan.channels.iter().map(|&share| share as f32).collect(),
        });
        TunedRecipe {
            model: identity,
            allocation: plan.allocation,
            dense_prefix,
            levels: plan.levels.clone(),
            ppl_increase: measured.losses.iter().map(|&loss| loss as f32).collect(),
            quality: measured.quality.and_then(Limit::loss).map(|most| (most, measured.default_sparsity)),
            text: measured.text.clone(),
            active: measured.active.clone(),
            linears: linears.collect(),
        }
    }

    /// That of a packed file: its scores, and what its `recipe` says.
    pub(crate) fn packed(identity: ModelIdentity, model: &Model) -> Result<TunedRecipe> {
        let bad = |message: &str| Error::new(Status::InvalidArgument, message);
        let (config, recipe) = (model.config(), model.recipe());
        if recipe.score != ScoreKind::Fisher || recipe.sparsity.is_empty() {
            return Err(bad("it has no scores that were measured (fisher), or no sparsity levels: no recipe to take"));
        }
        if recipe.compensated.is_some() {
            return Err(bad("its weights were fitted to what it drops: its recipe is of no others"));
        }
        let mut linears = Vec::new();
        for (n, linear) in model.linears().enumerate() {
            let name = linear_name(config, n);
            let own = &recipe.linears[&name];
            if own.rank > 0 {
                return Err(bad("it has low ranks: its thresholds are of what these leave"));
            }
            linears.push(TunedLinear {
                scores: linear.score().unwrap_or_default().to_vec(),
                thresholds: own.thresholds.clone(),
                channels: own.kept.iter().map(|&kept| model.weight_type().kept_channels(kept)).collect(),
                name,
            });
        }
        Ok(TunedRecipe {
            model: identity,
            allocation: recipe.allocation,
            dense_prefix: recipe.dense_prefix,
            levels: recipe.sparsity.clone(),
            ppl_increase: recipe.loss.clone(),
            quality: recipe.quality.map(|most| (f64::from(most), recipe.default_sparsity)),
            text: None,
            active: model.groups().filter_map(Group::up).filter_map(|up| up.kept().first().copied()).collect(),
            linears,
        })
    }

    /// The same with these of its levels alone.
    pub(crate) fn with_levels(mut self, levels: &[f32]) -> Result<TunedRecipe> {
        let place = |level: &f32| {
            self.levels.iter().position(|own| own == level).ok_or_else(|| {
                let message = format!(
                    "sparsity {level}: the recipe has the levels {}; name some of those, or calibrate for others \
                     (--recipe-from none)",
                    list(&self.levels)
                );
                Error::new(Status::InvalidArgument, message)
            })
        };
        let places = levels.iter().map(place).collect::<Result<Vec<_>>>()?;
        let pick = |of: &[f32]| places.iter().filter_map(|&n| of.get(n).copied()).collect::<Vec<f32>>();
        self.ppl_increase = pick(&self.ppl_increase);
        for linear in &mut self.linears {
            (linear.thresholds, linear.channels) = (pick(&linear.thresholds), pick(&linear.channels));
        }
        // What lay between levels that are not there would now be another setting.
        if self.levels != levels {
            self.quality = None;
        }
        self.levels = levels.to_vec();
        Ok(self)
    }

    /// The plan that it makes: nothing of it is left to be found.
    pub(crate) fn plan(&self, config: &Config) -> Result<Plan> {
        let request = RecipeRequest { score: Some(ScoreKind::Fisher), ..RecipeRequest::default() };
        let mut plan = Plan::new(config, &self.levels, 1.0, self.allocation, &request)?;
        for (linear, tuned) in plan.linears.iter_mut().zip(&self.linears) {
            linear.channels = tuned.channels.iter().map(|&share| f64::from(share)).collect();
        }
        Ok(plan)
    }

    /// What calibration would have told, with the default sparsity for a quality.
    pub(crate) fn measured(&self, quality: Option<f64>) -> Measured {
        Measured {
            tokens: 0,
            thresholds: self.linears.iter().map(|linear| linear.thresholds.clone()).collect(),
            losses: self.ppl_increase.iter().map(|&loss| f64::from(loss)).collect(),
            costs: Vec::new(),
            default_sparsity: quality.map_or(0.0, |most| self.sparsest(most)),
            compensated: None,
            quality: quality.filter(|_| !self.ppl_increase.is_empty()).map(Limit::Loss),
            text: self.text.clone(),
            active: self.active.clone(),
        }
    }

    /// The scores of its linears.
    pub(crate) fn scores(&self) -> Scores {
        self.linears.iter().map(|linear| linear.scores.clone()).collect()
    }

    /// The sparsest setting whose perplexity is at most the share `most` above the dense model's. Between levels the
    /// increase is taken as linear, which is more than it is: it bends upwards.
    fn sparsest(&self, most: f64) -> f32 {
        if let Some((asked, found)) = self.quality
            // Packed files have it in 32 bits.
            && asked as f32 == most as f32
        {
            return found;
        }
        if self.ppl_increase.len() != self.levels.len() {
            return 0.0;
        }
        let wide = |pair: (&f32, &f32)| (f64::from(*pair.0), f64::from(*pair.1));
        let points = || std::iter::once((0.0, 0.0)).chain(self.levels.iter().zip(&self.ppl_increase).map(wide));
        let last = points().rfind(|point| point.1 <= most).unwrap_or((0.0, 0.0));
        let Some(next) = points().find(|point| point.0 > last.0) else { return last.0 as f32 };
        // Down to a hundredth; a whole one may come out a hair below itself.
        let share = (most - last.1) / (next.1 - last.1) * (next.0 - last.0);
        (last.0 + (share * 100.0 + 1e-4).floor().max(0.0) / 100.0) as f32
    }

    /// Fails unless everything in it is a number that packing can use, and belongs to its model.
    pub(crate) fn validate(&self) -> Result<()> {
        self.model.validate()?;
        let bad = |message: String| Err(Error::new(Status::BadFile, message));
        let Some(&last) = self.levels.last() else { return bad("no sparsity levels".into()) };
        // What the engine asks of a file's recipe.
        Recipe {
            score: ScoreKind::Fisher,
            sparsity: self.levels.clone(),
            allocation: self.allocation,
            default_sparsity: self.quality.map_or(0.0, |(_, sparsity)| sparsity),
            quality: self.quality.map(|(most, _)| most as f32),
            loss: self.ppl_increase.clone(),
            dense_prefix: self.dense_prefix,
            skip_short_rows: false,
            compensated: None,
            linears: Default::default(),
        }
        .validate()?;
        if self.dense_prefix > usize::from(u16::MAX) {
            return bad(format!("a dense prefix of {} tokens, at sparsity {last}", self.dense_prefix));
        }
        for linear in &self.linears {
            let within = |x: &f32, most: f32| (0.0..=most).contains(x);
            let TunedLinear { name, scores, thresholds, channels } = linear;
            if thresholds.len() != self.levels.len() || channels.len() != self.levels.len() {
                let (thresholds, shares, levels) = (thresholds.len(), channels.len(), self.levels.len());
                return bad(format!("{name} has {thresholds} thresholds and {shares} shares for {levels} levels"));
            }
            if !scores.iter().chain(thresholds).all(|x| within(x, f32::MAX)) {
                return bad(format!("{name} has a score or threshold that is negative or not finite"));
            }
            if !channels.iter().all(|x| within(x, 1.0)) {
                return bad(format!("{name} keeps a share outside 0 to 1 of its channels"));
            }
        }
        Ok(())
    }
}

/// The name of linear `n` of a model.
fn linear_name(config: &Config, n: usize) -> String {
    let kinds = config.linears();
    kinds[n % kinds.len()].name_in(n / kinds.len())
}

/// Numbers for a sentence.
fn list(numbers: &[f32]) -> String {
    numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(", ")
}
