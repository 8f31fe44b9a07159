//! What a report says, before it is a page.

use crate::eval::measure::Sparse;
use crate::eval::table::Mean;
use crate::inspect::{Sizes, linears};
use crate::number;
use rasp::{Model, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

#[derive(Serialize)]
pub struct Report {
    pub file: String,
    pub name: String,
    pub architecture: String,
    pub parameters: u64,
    pub weights: &'static str,
    pub bits_per_weight: f64,
    pub layers: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocabulary: usize,
    pub context: usize,
    /// What multiplies the magnitude of a channel, by its name in the recipe in words.
    pub score: String,
    pub isa: &'static str,
    pub threads: usize,
    pub version: &'static str,
    /// How a level's sparsity is shared out, by its name in the recipe in words.
    pub allocation: String,
    /// The sparsity that sessions start with.
    pub default_sparsity: f64,
    /// Bytes of the linears, dense.
    pub linear_bytes: u64,
    /// Where the file's bytes go: what, and how many.
    pub bytes: Vec<(&'static str, u64)>,
    /// What the settings' perplexities were measured on.
    pub quality: Option<QualitySource>,
    /// The prompt of the settings' texts.
    pub prompt: String,
    /// Dense first, then the sparsity levels, with what sessions start at among them.
    pub settings: Vec<SettingReport>,
    pub linears: Vec<LinearReport>,
}

#[derive(Serialize)]
pub struct QualitySource {
    pub text: String,
    pub windows: usize,
    /// Tokens of a window.
    pub ctx: usize,
}

/// Dense, a sparsity level, or between two.
#[derive(Default, Serialize)]
pub struct SettingReport {
    pub sparsity: f64,
    /// Which level it is.
    #[serde(skip)]
    pub level: Option<usize>,
    /// Share of the linears' bytes read on the calibration text.
    pub kept_calibration: f64,
    /// By how much the perplexity exceeds the dense one on held-back calibration text, if the file says it: 0.02 is 2%.
    pub loss_calibration: Option<f64>,
    /// Share of the linears' bytes read on the text of [`QualitySource`].
    pub kept: Option<f64>,
    pub perplexity: Option<f64>,
    /// What its sparse predictions lose on that text.
    pub sparse: Option<Sparse>,
    /// What tasks come to, in the order in which they were given.
    pub tasks: Vec<TaskScore>,
    pub speed: Option<Speed>,
    pub text: String,
    /// Why the text ended: `end`, `length` or `context`.
    pub stop: &'static str,
}

/// One task at one setting.
#[derive(Serialize)]
pub struct TaskScore {
    pub task: String,
    /// Items.
    pub n: usize,
    /// `acc` or `acc_norm`.
    pub metric: &'static str,
    pub score: Mean,
    /// By how much that is above the dense model's, item by item; `None` for that itself.
    pub above_dense: Option<Mean>,
}

#[derive(Serialize)]
pub struct Speed {
    /// Tokens a second: the median, the least and the most of the rounds.
    pub tok_s: f64,
    pub tok_s_min: f64,
    pub tok_s_max: f64,
    /// Share of the linears' bytes read.
    pub kept: f64,
    /// Bytes of linears and head that a token read.
    pub bytes_per_token: f64,
}

#[derive(Serialize)]
pub struct LinearReport {
    pub layer: usize,
    pub kind: &'static str,
    pub input: usize,
    pub output: usize,
    pub rho: f64,
    pub rank: usize,
    /// One a level.
    pub thresholds: Vec<f32>,
    /// Share of its bytes read on the calibration text, a level.
    pub kept: Vec<f64>,
}

impl SettingReport {
    /// `dense`, or `30%`.
    pub fn name(&self) -> String {
        if self.sparsity == 0.0 { "dense".into() } else { format!("{}%", trimmed(100.0 * self.sparsity, 1)) }
    }

    /// What was read on the text if that was measured, else on the calibration text.
    pub fn traffic(&self) -> f64 {
        self.kept.unwrap_or(self.kept_calibration)
    }
}

impl Report {
    /// What the file itself says.
    pub fn of(model: &Model, path: &Path, threads: usize) -> Result<Report> {
        let file = crate::open(path)?;
        let (sizes, config, recipe) = (Sizes::of(&file), model.config(), model.recipe());
        let word = |value: Value| value.as_str().unwrap_or_default().replace('_', " ");
        let linears: Vec<LinearReport> = linears(model)
            .enumerate()
            .map(|(place, (_, linear, input, recipe))| LinearReport {
                layer: place / config.linears().len(),
                kind: linear.kind().name(),
                input,
                output: linear.columns().len(),
                rho: number(recipe.rho),
                rank: recipe.rank,
                thresholds: recipe.thresholds.clone(),
                kept: recipe.kept.iter().map(|&kept| number(kept)).collect(),
            })
            .collect();
        let level = |(level, &sparsity): (usize, &f32)| -> Result<SettingReport> {
            Ok(SettingReport {
                sparsity: number(sparsity),
                level: Some(level),
                kept_calibration: model.expected_traffic(sparsity)?.kept,
                loss_calibration: recipe.loss.get(level).map(|&loss| number(loss)),
                ..Default::default()
            })
        };
        let levels = recipe.sparsity.iter().enumerate().map(level).collect::<Result<Vec<_>>>()?;
        let loss_calibration = (!recipe.loss.is_empty()).then_some(0.0);
        let dense = SettingReport { kept_calibration: 1.0, loss_calibration, ..Default::default() };
        let mut settings = std::iter::once(dense).chain(levels).collect();
        let default = recipe.default_sparsity;
        add(&mut settings, number(default), model.expected_traffic(default)?.kept);
        let bytes = [
            ("linears", sizes.linears),
            ("low rank", sizes.low_rank),
            ("embedding", sizes.embedding),
            ("head", sizes.head),
            ("screen of the head", sizes.head_screen),
            ("tokenizer", sizes.tokenizer),
            ("scores", sizes.scores),
            ("norms, header, padding", sizes.other),
        ];
        Ok(Report {
            file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            name: config.name.clone(),
            architecture: config.architecture.clone(),
            parameters: sizes.parameters,
            weights: model.weight_type().name(),
            bits_per_weight: model.weight_type().bits_per_weight(),
            layers: config.num_layers,
            hidden: config.hidden_size,
            intermediate: config.intermediate_size,
            heads: config.num_heads,
            kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            vocabulary: config.vocab_size,
            context: config.context_length,
            score: word(json!(recipe.score)),
            allocation: word(json!(recipe.allocation)),
            default_sparsity: number(recipe.default_sparsity),
            isa: model.isa().name(),
            threads,
            version: env!("CARGO_PKG_VERSION"),
            linear_bytes: model.linear_bytes(),
            bytes: bytes.into_iter().filter(|&(_, bytes)| bytes > 0).collect(),
            quality: None,
            prompt: String::new(),
            settings,
            linears,
        })
    }

    /// The settings that are levels, with their numbers.
    pub fn levels(&self) -> impl Iterator<Item = (usize, &SettingReport)> {
        self.settings.iter().filter_map(|setting| Some((setting.level?, setting)))
    }

    /// The setting that sessions start with.
    pub fn default_setting(&self) -> &SettingReport {
        let default = self.settings.iter().find(|setting| setting.sparsity == self.default_sparsity);
        default.unwrap_or(&self.settings[0])
    }

    /// By how much the perplexity of a setting's sparse predictions exceeds the dense one at the same positions, as a
    /// share of that: on the text, or if there was none as the file says.
    pub fn loss(&self, setting: &SettingReport) -> Option<f64> {
        match self.quality {
            Some(_) => Some(setting.sparse.map_or(0.0, |sparse| sparse.loss)),
            None => setting.loss_calibration,
        }
    }

    /// How many times as fast as dense a setting decodes.
    pub fn speedup(&self, setting: &SettingReport) -> Option<f64> {
        Some(setting.speed.as_ref()?.tok_s / self.settings[0].speed.as_ref()?.tok_s)
    }
}

/// Adds a setting at `sparsity` which reads that share, if there is none: between two others what the file says of its
/// loss is on the line between what it says of them.
fn add(settings: &mut Vec<SettingReport>, sparsity: f64, kept_calibration: f64) {
    let Some(place) = settings.iter().position(|setting| setting.sparsity >= sparsity) else { return };
    if place == 0 || settings[place].sparsity == sparsity {
        return;
    }
    let (below, above) = (&settings[place - 1], &settings[place]);
    let share = (sparsity - below.sparsity) / (above.sparsity - below.sparsity);
    let between = |below: f64, above: f64| below + share * (above - below);
    let setting = SettingReport {
        sparsity,
        kept_calibration,
        loss_calibration: below.loss_calibration.zip(above.loss_calibration).map(|(b, a)| between(b, a)),
        ..Default::default()
    };
    settings.insert(place, setting);
}

/// With at most so many digits after the point, without zeros at the end.
pub fn trimmed(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_between_levels_is_a_setting_of_its_own() {
        let setting = |sparsity: f64, level, loss| SettingReport {
            sparsity,
            level,
            kept_calibration: 1.0 - sparsity,
            loss_calibration: Some(loss),
            ..Default::default()
        };
        let levels = || vec![setting(0.0, None, 0.0), setting(0.25, Some(0), 0.01), setting(0.5, Some(1), 0.05)];
        let mut settings = levels();
        add(&mut settings, 0.375, 0.625);
        assert_eq!(settings.iter().map(|s| s.level).collect::<Vec<_>>(), [None, Some(0), None, Some(1)]);
        assert_eq!((settings[2].sparsity, settings[2].kept_calibration), (0.375, 0.625));
        assert!((settings[2].loss_calibration.unwrap() - 0.03).abs() < 1e-12);
        for there in [0.0, 0.5, 0.75] {
            let mut settings = levels();
            add(&mut settings, there, 0.5);
            assert_eq!(settings.len(), 3, "{there}");
        }
    }
}
