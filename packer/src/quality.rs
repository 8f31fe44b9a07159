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
    let (mut first, mut end) = (0, steps);
    progress.begin("finding the sparsest setting", (usize::BITS - steps.leading_zeros()).into());
    while end - first > 1 {
        let middle = first + (end - first) / 2;
        if limit.allows(&quality.cost(&at(lowest + middle as f32 * STEP))?) {
            first = middle
        } else {
            end = middle
        }
        progress.advance(1);
    }
    progress.end();
    // The nearest number to so many hundredths: 0.35, not 0.35000002.
    Ok(((lowest + first as f32 * STEP) * 100.0).round() / 100.0)
}
