//! Every linear at the sparsity of the level: METHOD's thresholds, quantiles over one pass of the dense model.

use super::global::bisect;
use super::observe::scores;
use super::{Allocated, Calibration};
use crate::histogram::Tail;
use crate::plan::Plan;
use crate::progress::Progress;
use rasp::Result;

/// The quantile of each linear's scores over all tokens and channels that leaves the planned share above it.
pub(super) fn levels(
    calibration: &Calibration<'_>,
    plan: &Plan,
    progress: &mut dyn Progress,
) -> Result<Vec<Allocated>> {
    let histograms = scores(calibration, calibration.windows, None, "calibrating", progress)?;
    let level = |level: usize| {
        let channels: Vec<f64> = plan.linears.iter().map(|linear| linear.channels[level]).collect();
        let quantiles = histograms.iter().zip(&channels).map(|(h, share)| h.quantile(1.0 - share));
        Allocated { thresholds: quantiles.collect(), channels }
    };
    Ok((0..plan.levels.len()).map(level).collect())
}

/// The same for one level, from what lies above each threshold.
pub(super) fn thresholds(tails: &[Tail], plan: &Plan, level: usize) -> Vec<f32> {
    let linears = plan.linears.iter().zip(tails);
    linears.map(|(linear, tail)| bisect(|t| tail.share_above(t) > linear.channels[level])).collect()
}
