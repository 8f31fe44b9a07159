//! What was asked for, linear by linear: the recipe as a user states it, and the budget it gives each linear.

use rasp::format::{Allocation, Config, LinearShape, ScoreKind};
use rasp::model::{LinearKind, WeightType};
use rasp::{Error, Result, Status};
use serde::Deserialize;

/// The sparsity whose budget fixes the ranks of a file with several levels, unless the recipe says otherwise.
const DEFAULT_RANK_SPARSITY: f32 = 0.5;

/// Bits of a weight, and of a number of a low rank, in floating point.
const FLOAT_BITS: f64 = 16.0;

/// A recipe as a user writes it (`rasp pack --recipe FILE`): rules that are applied in order, the later one winning.
///
/// ```json
/// { "score": "weight_norm", "rank_sparsity": 0.5,
///   "rules": [ { "linears": "layers.*.v", "sparsity": [0.1, 0.2] },
///              { "linears": "layers.0.*", "rho": 0.9 } ] }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeRequest {
    /// How channels are scored; if absent `fisher`, or `weight_norm` where the sparsity is shared out uniformly.
    #[serde(default)]
    pub score: Option<ScoreKind>,
    /// The level whose budget fixes the ranks; the one nearest to 0.5 if absent.
    #[serde(default)]
    pub rank_sparsity: Option<f32>,
    /// Exceptions from the uniform setting.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// One exception from the uniform setting.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which linears: `layers.N.KIND`, each part of which may be `*`.
    pub linears: String,
    /// Their ρ, in 0 to 1.
    #[serde(default)]
    pub rho: Option<f32>,
    /// Their own sparsity at each sparsity level, in 0 to 1.
    #[serde(default)]
    pub sparsity: Option<Vec<f32>>,
}

impl RecipeRequest {
    /// Reads the JSON of a recipe file.
    pub fn parse(json: &str) -> Result<RecipeRequest> {
        serde_json::from_str(json).map_err(|e| Error::new(Status::BadFile, e.to_string()))
    }
}

/// The sparsity levels and, for each linear, what it may keep at each level.
pub(crate) struct Plan {
    pub(crate) score: ScoreKind,
    pub(crate) allocation: Allocation,
    /// Strictly ascending, in (0, 1).
    pub(crate) levels: Vec<f32>,
    /// The level whose budget fixes the ranks.
    pub(crate) rank_level: usize,
    /// In the order of [`rasp::model::Linear::index`].
    pub(crate) linears: Vec<LinearPlan>,
}

/// One linear's share of the budget (METHOD, "One linear layer").
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearPlan {
    pub(crate) layer: usize,
    pub(crate) kind: LinearKind,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) rho: f32,
    pub(crate) rank: usize,
    /// The share of input channels kept, a level: what was asked for, later what was found.
    pub(crate) channels: Vec<f64>,
    /// True if a rule says how much is kept, whatever the allocation.
    pub(crate) fixed: bool,
}

impl LinearPlan {
    pub(crate) fn name(&self) -> String {
        self.kind.name_in(self.layer)
    }

    /// Weights of the dense linear.
    pub(crate) fn weights(&self) -> usize {
        self.inputs * self.outputs
    }

    /// The low-rank factors' numbers as a share of the dense linear's.
    pub(crate) fn rank_share(&self) -> f64 {
        (self.rank * (self.inputs + self.outputs)) as f64 / self.weights() as f64
    }

    /// The share of the dense linear's bytes that is read at a level: the channels kept, all scales and minima (few
    /// groups of channels have none that is kept), and the low rank.
    pub(crate) fn kept(&self, level: usize, weight_type: WeightType) -> f64 {
        let dense = weight_type.bits_per_weight();
        let bits = weight_type.quant().map_or(FLOAT_BITS, |quant| quant.bits() as f64);
        (self.channels[level] * bits + (dense - bits) + self.rank_bits(weight_type) / self.weights() as f64) / dense
    }

    /// Bits of the low-rank factors as they are stored.
    fn rank_bits(&self, weight_type: WeightType) -> f64 {
        let numbers = self.rank * self.inputs + weight_type.low_rank_rows(self.rank) * self.outputs;
        numbers as f64 * weight_type.low_rank().bits_per_weight()
    }
}

/// `r = ⌊((1−s)·in·out − kept·out) / (in + out)⌋` with `kept = ⌊(1−s)·ρ·in⌋`.
fn rank(sparsity: f64, rho: f64, inputs: usize, outputs: usize) -> usize {
    let kept = ((1.0 - sparsity) * rho * inputs as f64).floor();
    let budget = (1.0 - sparsity) * inputs as f64 * outputs as f64 - kept * outputs as f64;
    // ρ = 1 is no low rank at all: what rounding down to whole channels leaves over is not spent on a rank of 1.
    if rho >= 1.0 { 0 } else { (budget / (inputs + outputs) as f64).floor() as usize }
}

impl Plan {
    /// The budget of every linear for these levels, ρ and recipe.
    pub(crate) fn new(
        config: &Config,
        levels: &[f32],
        rho: f32,
        allocation: Allocation,
        request: &RecipeRequest,
    ) -> Result<Plan> {
        let wrong = |message: String| Err(Error::new(Status::InvalidArgument, message));
        let score = match (allocation, request.score) {
            (Allocation::Uniform, score) => score.unwrap_or(ScoreKind::WeightNorm),
            (Allocation::Global, None | Some(ScoreKind::Fisher)) => ScoreKind::Fisher,
            (Allocation::Global, Some(_)) => {
                let message = "one threshold for the whole model needs the score fisher: only its scores can be compared \
                               between linears";
                return wrong(message.into());
            }
        };
        if !levels.iter().all(|s| *s > 0.0 && *s < 1.0) || !levels.windows(2).all(|w| w[0] < w[1]) {
            return wrong(format!("sparsities {levels:?}: they must ascend and lie between 0 and 1"));
        }
        if !(0.0..=1.0).contains(&rho) {
            return wrong(format!("rho {rho} lies outside 0 to 1"));
        }
        for rule in &request.rules {
            check_rule(rule, levels, config).map_err(|e| e.context(format!("rule {:?}", rule.linears)))?;
        }
        let rank_level = match (request.rank_sparsity, levels) {
            (_, []) => 0,
            (Some(s), _) => match levels.iter().position(|&level| level == s) {
                Some(level) => level,
                None => return wrong(format!("rank_sparsity {s} is none of the sparsities {levels:?}")),
            },
            (None, _) => {
                let distance = |level: &usize| (levels[*level] - DEFAULT_RANK_SPARSITY).abs();
                (0..levels.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
            }
        };
        let mut linears = Vec::with_capacity(config.num_layers * config.linears().len());
        for layer in 0..config.num_layers {
            for &kind in config.linears() {
                let LinearShape { inputs, outputs } = config.linear_shape(kind);
                let (channels, fixed) = (Vec::new(), false);
                let mut linear = LinearPlan { layer, kind, inputs, outputs, rho, rank: 0, channels, fixed };
                let mut sparsity = levels.to_vec();
                for rule in request.rules.iter().filter(|r| matches(&r.linears, layer, kind)) {
                    linear.rho = rule.rho.unwrap_or(linear.rho);
                    if let Some(own) = &rule.sparsity {
                        (sparsity, linear.fixed) = (own.clone(), true);
                    }
                }
                linear.spend(&sparsity, rank_level)?;
                linears.push(linear);
            }
        }
        Ok(Plan { score, allocation, levels: levels.to_vec(), rank_level, linears })
    }

    /// The level in the middle, nearest to 0.5, which stands for all where only one can be searched for; `None` without
    /// sparsity levels.
    pub(crate) fn middle(&self) -> Option<usize> {
        let distance = |level: &usize| (self.levels[*level] - 0.5).abs();
        (0..self.levels.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }
}

impl LinearPlan {
    /// Splits the budget of each level between the low rank, fixed by one level, and input channels.
    fn spend(&mut self, sparsity: &[f32], rank_level: usize) -> Result<()> {
        let Some(&fixing) = sparsity.get(rank_level) else { return Ok(()) };
        let rho = f64::from(self.rho);
        self.rank = rank(f64::from(fixing), rho, self.inputs, self.outputs);
        for (level, &s) in sparsity.iter().enumerate() {
            let budget = 1.0 - f64::from(s);
            // Where the rank was fixed the share is METHOD's, to the letter; elsewhere the channels get what the
            // rank leaves.
            let share = if level == rank_level { budget * rho } else { budget - self.rank_share() };
            if share < 0.0 {
                return Err(Error::new(
                    Status::InvalidArgument,
                    format!(
                        "{}: at sparsity {s} the low rank alone ({:.3} of the traffic, rank {}) exceeds the budget; \
                         raise rho, or leave that level to a file of its own",
                        self.name(),
                        self.rank_share(),
                        self.rank
                    ),
                ));
            }
            self.channels.push(share);
        }
        Ok(())
    }
}

fn check_rule(rule: &Rule, levels: &[f32], config: &Config) -> Result<()> {
    let wrong = |message: String| Err(Error::new(Status::InvalidArgument, message));
    let layers = config.num_layers;
    let matched = (0..layers).any(|layer| config.linears().iter().any(|&kind| matches(&rule.linears, layer, kind)));
    if !matched {
        return wrong(format!("it matches no linear: they are layers.0.q to layers.{}.down", layers - 1));
    }
    if rule.rho.is_some_and(|rho| !(0.0..=1.0).contains(&rho)) {
        return wrong("its rho lies outside 0 to 1".into());
    }
    match &rule.sparsity {
        Some(own) if own.len() != levels.len() => {
            wrong(format!("it has {} sparsities for {} levels", own.len(), levels.len()))
        }
        Some(own) if !own.iter().all(|s| (0.0..=1.0).contains(s)) => wrong("its sparsities must lie in 0 to 1".into()),
        _ => Ok(()),
    }
}

/// Whether a pattern such as `layers.*.q` means this linear.
fn matches(pattern: &str, layer: usize, kind: LinearKind) -> bool {
    let mut parts = pattern.split('.');
    let mut next = |name: &str| parts.next().is_some_and(|part| part == "*" || part == name);
    next("layers") && next(&layer.to_string()) && next(kind.name()) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of linear traffic kept at each level, weighted by size.
    fn kept_by(plan: &Plan, weight_type: WeightType) -> Vec<f64> {
        let total: usize = plan.linears.iter().map(LinearPlan::weights).sum();
        let level = |level: usize| {
            let kept = |l: &LinearPlan| l.kept(level, weight_type) * l.weights() as f64;
            plan.linears.iter().map(kept).sum::<f64>() / total as f64
        };
        (0..plan.levels.len()).map(level).collect()
    }

    fn config() -> Config {
        Config {
            hidden_size: 576,
            intermediate_size: 1536,
            num_heads: 9,
            num_kv_heads: 3,
            head_dim: 64,
            ..Config::example()
        }
    }

    fn plan(levels: &[f32], rho: f32, json: &str) -> Result<Plan> {
        Plan::new(&config(), levels, rho, Allocation::Uniform, &RecipeRequest::parse(json).unwrap())
    }

    #[test]
    fn pure_input_sparsity_has_no_rank() {
        let plan = plan(&[0.3, 0.5], 1.0, "{}").unwrap();
        assert_eq!(plan.linears.len(), 14);
        assert!(plan.linears.iter().all(|l| l.rank == 0));
        let kept = kept_by(&plan, WeightType::BF16);
        assert!((kept[0] - 0.7).abs() < 1e-6 && (kept[1] - 0.5).abs() < 1e-6, "{kept:?}");
    }

    #[test]
    fn the_budget_is_methods() {
        // gate at s = 0.5, ρ = 0.9: kept = ⌊0.45·576⌋ = 259, r = ⌊(0.5·576·1536 − 259·1536) / 2112⌋ = 21.
        let plan = plan(&[0.5], 0.9, "{}").unwrap();
        let gate = &plan.linears[4];
        assert_eq!((gate.name().as_str(), gate.rank), ("layers.0.gate", 21));
        assert!((gate.channels[0] - 0.45).abs() < 1e-6);
        assert!((kept_by(&plan, WeightType::F16)[0] - 0.5).abs() < 2e-3);
    }

    #[test]
    fn levels_beside_the_fixing_one_keep_what_the_rank_leaves() {
        let plan = plan(&[0.3, 0.5, 0.7], 0.9, "{}").unwrap();
        for (kept, s) in kept_by(&plan, WeightType::BF16).iter().zip(&plan.levels) {
            assert!((kept - (1.0 - f64::from(*s))).abs() < 2e-3, "{kept} at {s}");
        }
        let error = self::plan(&[0.5, 0.9], 0.5, "{}").err().unwrap();
        assert!(error.message().contains("exceeds the budget"), "{error}");
    }

    #[test]
    fn scales_are_read_whatever_is_kept() {
        let plan = plan(&[0.5], 1.0, "{}").unwrap();
        for (weight_type, kept) in [
            (WeightType::Q8, (4.0 + 0.5) / 8.5),
            (WeightType::Q4, (2.0 + 1.0) / 5.0),
            (WeightType::Q4S, (2.0 + 0.5) / 4.5),
        ] {
            assert!((kept_by(&plan, weight_type)[0] - kept).abs() < 1e-6);
        }
        // The factors have 8 bits and scales all the same, 32 ranks of A for 21.
        let plan = self::plan(&[0.5], 0.9, "{}").unwrap();
        let gate = &plan.linears[4];
        let factors = f64::from(21 * 576 + 32 * 1536) * 8.5 / (576.0 * 1536.0 * 5.0);
        assert!((gate.kept(0, WeightType::Q4) - (0.45 * 4.0 + 1.0) / 5.0 - factors).abs() < 1e-6);
    }

    #[test]
    fn later_rules_win_and_stars_match_one_part() {
        let json = r#"{"rules": [{"linears": "layers.*.v", "sparsity": [0.1]},
                                 {"linears": "layers.1.*", "sparsity": [0.2], "rho": 0.5}]}"#;
        let plan = plan(&[0.5], 1.0, json).unwrap();
        let share = |i: usize| plan.linears[i].channels[0];
        assert!((share(2) - 0.9).abs() < 1e-6 && (share(0) - 0.5).abs() < 1e-6);
        assert!((share(9) - 0.4).abs() < 1e-6 && plan.linears[9].rank > 0);
    }

    #[test]
    fn one_threshold_needs_scores_that_compare() {
        let plan =
            |json: &str| Plan::new(&config(), &[0.5], 1.0, Allocation::Global, &RecipeRequest::parse(json).unwrap());
        assert_eq!(plan("{}").unwrap().score, ScoreKind::Fisher);
        assert!(plan(r#"{"score": "magnitude"}"#).err().unwrap().message().contains("fisher"));
        let ruled = plan(r#"{"rules": [{"linears": "layers.0.q", "sparsity": [0.1]}]}"#).unwrap();
        assert!(ruled.linears[0].fixed && !ruled.linears[1].fixed);
    }

    #[test]
    fn wrong_requests_are_named() {
        for (levels, rho, json, word) in [
            (&[0.5, 0.3][..], 1.0, "{}", "ascend"),
            (&[0.0], 1.0, "{}", "between 0 and 1"),
            (&[f32::NAN], 1.0, "{}", "ascend"),
            (&[0.5], 1.5, "{}", "rho"),
            (&[0.5], 1.0, r#"{"rank_sparsity": 0.4}"#, "rank_sparsity"),
            (&[0.5], 1.0, r#"{"rules": [{"linears": "layers.7.q"}]}"#, "matches no linear"),
            (&[0.5], 1.0, r#"{"rules": [{"linears": "layers.*.q", "sparsity": [0.1, 0.2]}]}"#, "for 1 levels"),
            (&[0.5], 1.0, r#"{"rules": [{"linears": "layers.*.q", "rho": -1}]}"#, "rho"),
        ] {
            let error = plan(levels, rho, json).err().unwrap();
            assert!(error.message().contains(word), "{error} lacks {word}");
        }
        assert!(RecipeRequest::parse(r#"{"rule": []}"#).is_err());
    }
}
