//! What a setting costs on calibration text that nothing was made from, and how much it may.

use crate::allocate::Allocated;
use crate::calibrate;
use crate::progress::Progress;
use rasp::model::Model;
use rasp::session::{Passed, Scorer};
use rasp::{Error, Result, Status};
use std::sync::Arc;

/// What predictions made from sparse tokens lose beside the dense model's at the same positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// By how much their perplexity is above the dense model's: 0.02 is 2%.
    pub loss: f64,
    /// Their Kullback-Leibler divergence from the dense ones, in nats a token.
    pub kl: f64,
    /// The share of positions where the likeliest token is the dense model's.
    pub same_greedy: f64,
}

/// How much a setting may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// [`Cost::loss`] at most.
    Loss(f64),
    /// [`Cost::kl`] at most.
    Kl(f64),
    /// [`Cost::same_greedy`] at least.
    SameGreedy(f64),
}

impl Limit {
    /// The perplexity that it allows, if that is what it limits.
    pub fn loss(self) -> Option<f64> {
        if let Limit::Loss(most) = self { Some(most) } else { None }
    }

    /// Fails for what no cost can be held to.
    pub(crate) fn check(self) -> Result<()> {
        let bad = |message| Err(Error::new(Status::InvalidArgument, message));
        let from_zero = |x: f64| x.is_finite() && x >= 0.0;
        match self {
            Limit::Loss(most) if !from_zero(most) => bad("a quality is a finite number from 0 up: 0.02 is 2%"),
            Limit::Kl(most) if !from_zero(most) => bad("a divergence allowed is a finite number of nats from 0 up"),
            Limit::SameGreedy(least) if !(0.0..=1.0).contains(&least) => {
                bad("a share of greedy tokens that stay the same is a number from 0 to 1: 0.9 is 90%")
            }
            _ => Ok(()),
        }
    }

    fn allows(self, cost: &Cost) -> bool {
        match self {
            Limit::Loss(most) => cost.loss <= most,
            Limit::Kl(most) => cost.kl <= most,
            Limit::SameGreedy(least) => cost.same_greedy >= least,
        }
    }

    /// What share of this limit is used up; infinite where nothing may be.
    fn spent(self, cost: &Cost) -> f64 {
        match self {
            Limit::Loss(most) => cost.loss / most,
            Limit::Kl(most) => cost.kl / most,
            Limit::SameGreedy(least) => (1.0 - cost.same_greedy) / (1.0 - least),
        }
    }
}

/// Measures under the strict protocol: every token sparse, but for the model's dense prefix, whose predictions do not
/// count.
pub(crate) struct Quality<'a> {
    scorer: Scorer,
    windows: &'a [&'a [u32]],
    dense: &'a [Passed],
}

/// What the dense model makes of each window.
pub(crate) fn dense(model: &Arc<Model>, windows: &[&[u32]], threads: usize) -> Result<Vec<Passed>> {
    let mut scorer = calibrate::scorer(model, windows, threads)?;
    windows.iter().map(|window| scorer.reference(window, window.len())).collect()
}

impl<'a> Quality<'a> {
    /// `dense` is what to compare with: the model as it came, see [`dense`].
    pub(crate) fn new(
        model: &Arc<Model>,
        windows: &'a [&'a [u32]],
        dense: &'a [Passed],
        threads: usize,
    ) -> Result<Quality<'a>> {
        Ok(Quality { scorer: calibrate::scorer(model, windows, threads)?, windows, dense })
    }

    /// What this setting costs, as the engine goes by it.
    pub(crate) fn cost(&mut self, setting: &Allocated) -> Result<Cost> {
        let mut thresholds = setting.thresholds.clone();
        self.scorer.model().read_whole(&mut thresholds, |linear| setting.channels[linear.index()]);
        self.scorer.set_thresholds(&thresholds)?;
        let dense_prefix = self.scorer.model().recipe().dense_prefix;
        let (mut nats, mut kl, mut same, mut count) = (0.0, 0.0, 0usize, 0usize);
        for (window, dense) in self.windows.iter().zip(self.dense) {
            for compared in self.scorer.compare(window, 0, dense)?.iter().skip(dense_prefix) {
                nats += compared.reference.log_prob - compared.scored.log_prob;
                kl += compared.divergence;
                same += usize::from(compared.same_greedy);
                count += 1;
            }
        }
        let mean = |sum: f64| sum / count.max(1) as f64;
        Ok(Cost { loss: mean(nats).exp_m1(), kl: mean(kl), same_greedy: mean(same as f64) })
    }
}

/// What every level costs.
pub(crate) fn costs(
    quality: &mut Quality<'_>,
    allocated: &[Allocated],
    progress: &mut dyn Progress,
) -> Result<Vec<Cost>> {
    progress.begin("measuring quality", allocated.len() as u64);
    let mut costs = Vec::new();
    for level in allocated {
        costs.push(quality.cost(level)?);
        progress.advance(1);
    }
    progress.end();
    Ok(costs)
}

/// How finely a sparsity is looked for.
const STEP: f32 = 0.01;

/// The sparsest setting, by hundredths, whose cost `limit` allows, thresholds between levels being interpolated as
/// the engine does; 0, dense, where even the first hundredth costs more. `levels` has at least one.
pub(crate) fn sparsest(
    quality: &mut Quality<'_>,
    levels: &[f32],
    allocated: &[Allocated],
    costs: &[Cost],
    limit: Limit,
    progress: &mut dyn Progress,
) -> Result<f32> {
    // The last level that is good enough bounds the search from below.
    let good = costs.iter().rposition(|cost| limit.allows(cost));
    let above = good.map_or(0, |g| g + 1);
    let Some(level) = allocated.get(above) else { return Ok(levels[above - 1]) };
    let linears = level.thresholds.len();
    let dense = || Allocated { thresholds: vec![0.0; linears], channels: vec![1.0; linears] };
    let (lowest, low) = good.map_or_else(|| (0.0, dense()), |g| (levels[g], allocated[g].clone()));
    let at = |sparsity: f32| -> Allocated {
        let t = (sparsity - lowest) / (levels[above] - lowest);
        let between = |(a, b): (&f32, &f32)| a + t * (b - a);
        let share = |(a, b): (&f64, &f64)| a + f64::from(t) * (b - a);
        Allocated {
            thresholds: low.thresholds.iter().zip(&level.thresholds).map(between).collect(),
            channels: low.channels.iter().zip(&level.channels).map(share).collect(),
        }
    };
    let steps = ((levels[above] - lowest) / STEP).round() as usize;
    progress.begin("finding the sparsest setting", (usize::BITS - steps.leading_zeros()).into());
    let ends = [good.map_or(0.0, |g| limit.spent(&costs[g])), limit.spent(&costs[above])];
    let found = last_allowed(steps, ends, |step| {
        let cost = quality.cost(&at(lowest + step as f32 * STEP))?;
        progress.advance(1);
        Ok((limit.spent(&cost), limit.allows(&cost)))
    })?;
    progress.end();
    // The nearest number to so many hundredths: 0.35, not 0.35000002.
    Ok(((lowest + found as f32 * STEP) * 100.0).round() / 100.0)
}

/// The last step before `steps` that is allowed, where step 0 is and `steps` is not: `spent` is what these two spend of
/// what they may, `look` gives that of a step in between and whether it is allowed. Looks first where a cost that grows
/// with the third power, as those of models do, would come to its limit, and in the middle after a look that told little.
fn last_allowed(steps: usize, spent: [f64; 2], mut look: impl FnMut(usize) -> Result<(f64, bool)>) -> Result<usize> {
    let (mut first, mut end) = (0, steps);
    let [mut low, mut high] = spent.map(f64::cbrt);
    let mut guess = true;
    while end - first > 1 {
        let width = end - first;
        let share = if guess { (1.0 - low) / (high - low) } else { 0.5 };
        // A cost that is no number gives a guess of 0.
        let step = (first + (share * width as f64) as usize).clamp(first + 1, end - 1);
        let (spent, allowed) = look(step)?;
        if allowed {
            (first, low) = (step, spent.cbrt());
        } else {
            (end, high) = (step, spent.cbrt());
        }
        guess = (end - first) * 2 <= width;
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the last step where the cost is at most 1, and how many looks that took.
    fn found(steps: usize, cost: impl Fn(usize) -> f64) -> (usize, usize) {
        let mut looks = 0;
        let last = last_allowed(steps, [cost(0), cost(steps)], |step| {
            looks += 1;
            assert!(step > 0 && step < steps);
            Ok((cost(step), cost(step) <= 1.0))
        });
        (last.unwrap(), looks)
    }

    #[test]
    fn the_last_allowed_step_is_found_whatever_costs_grow_like() {
        for steps in 1..=40 {
            for last in 0..steps {
                let limit = last as f64 + 0.5;
                for power in [0.5, 1.0, 2.0, 4.0, 8.0] {
                    let (step, looks) = found(steps, |step| (step as f64 / limit).powf(power));
                    assert!(step == last && looks <= 2 * steps.ilog2() as usize + 2, "{steps} {last} {power}: {looks}");
                }
                // Nothing, then no number; and nothing, then all.
                for beyond in [f64::NAN, f64::INFINITY, 1e300] {
                    assert_eq!(found(steps, |step| if step <= last { 0.0 } else { beyond }).0, last);
                }
            }
        }
        // As a model's costs grow: SmolLM2's at 30% and 50%.
        let (step, looks) = found(30, |step| 0.027 * (step as f64 / 30.0).powi(3) / 0.02);
        assert!(step == 27 && looks <= 2, "{step} {looks}");
    }

    #[test]
    fn what_is_spent_says_what_is_allowed() {
        let cost = Cost { loss: 0.02, kl: 0.05, same_greedy: 0.9 };
        for (limit, spent) in [(Limit::Loss(0.04), 0.5), (Limit::Kl(0.1), 0.5), (Limit::SameGreedy(0.8), 0.5)] {
            assert!((limit.spent(&cost) - spent).abs() < 1e-12 && limit.allows(&cost));
        }
        assert!(limit_of_nothing(Limit::Loss(0.0)) && limit_of_nothing(Limit::SameGreedy(1.0)));
        let better = Cost { loss: -0.01, ..cost };
        assert!(Limit::Loss(0.0).spent(&better) <= 0.0 && Limit::Loss(0.0).allows(&better));
    }

    /// True if a limit of nothing is beyond all means for what costs something.
    fn limit_of_nothing(limit: Limit) -> bool {
        let cost = Cost { loss: 0.02, kl: 0.05, same_greedy: 0.9 };
        limit.spent(&cost) == f64::INFINITY && !limit.allows(&cost)
    }
}
