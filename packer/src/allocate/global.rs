//! One threshold for the whole model: scores are comparable between linears, so each level keeps the channels whose
//! dropping would cost most for the bytes saved, wherever they are.
//!
//! Sparse linears upstream change what enters those below (smaller inputs, mostly), so that thresholds made from the
//! dense model's inputs keep less than they should. So the threshold of a level is a fixed point: with it, tokens that
//! are sparse everywhere keep just the share asked for.

use super::observe::scores;
use super::{Allocated, Calibration};
use crate::histogram::{Histogram, Tail};
use crate::plan::Plan;
use crate::progress::Progress;
use rasp::Result;

/// Windows of a sparse pass: enough to know the share kept to a thousandth.
pub(crate) const SPARSE_WINDOWS: usize = 4;
/// Sparse passes for a level at most.
const PASSES: usize = 4;
/// The share of the model's weights by which a level may keep more or less than asked for.
const TOLERANCE: f64 = 0.002;

pub(super) fn levels(
    calibration: &Calibration<'_>,
    plan: &Plan,
    mut known: Vec<Allocated>,
    mut found: impl FnMut(&[Allocated]) -> Result<()>,
    progress: &mut dyn Progress,
) -> Result<Vec<Allocated>> {
    let dense = dense(calibration, progress)?;
    for level in known.len()..plan.levels.len() {
        let lower = known.last().map_or(1.0, |before| lower(&dense, plan, level - 1, before));
        let point = fixed_point(calibration, plan, level, &dense, lower, progress)?;
        let thresholds = point.thresholds;
        let channels = point.tails.iter().zip(&thresholds).map(|(tail, &t)| tail.share_above(t)).collect();
        known.push(Allocated { thresholds, channels });
        found(&known)?;
    }
    Ok(known)
}

/// How much lower a level's threshold is than the dense inputs say; much the same from one level to the next. Of what is
/// kept of the level, so that a run that goes on after it finds what one that found it would have.
fn lower(dense: &[Tail], plan: &Plan, level: usize, found: &Allocated) -> f32 {
    // All linears have the model's threshold but for those whose share is fixed; where all are, it is of no use.
    let own = plan.linears.iter().zip(&found.thresholds).find(|(linear, _)| !linear.fixed);
    own.map_or(1.0, |(_, own)| own / threshold(dense, plan, level, 1.0 - f64::from(plan.levels[level]), &[]))
}

/// What the linears' scores are while tokens are dense.
pub(super) fn dense(calibration: &Calibration<'_>, progress: &mut dyn Progress) -> Result<Vec<Tail>> {
    let histograms = scores(calibration, calibration.windows, None, "calibrating", progress)?;
    Ok(histograms.iter().map(Histogram::tail).collect())
}

/// A level's threshold, and the scores that it is of.
pub(super) struct Point {
    pub(super) threshold: f32,
    /// One a linear
    pub(super) thresholds: Vec<f32>,
    pub(super) tails: Vec<Tail>,
}

/// The threshold with which sparse tokens keep just what the level asks for. The first guess is `lower` times that of
/// the dense inputs.
pub(super) fn fixed_point(
    calibration: &Calibration<'_>,
    plan: &Plan,
    level: usize,
    dense: &[Tail],
    lower: f32,
    progress: &mut dyn Progress,
) -> Result<Point> {
    let goal = 1.0 - f64::from(plan.levels[level]);
    let mut guess = lower * threshold(dense, plan, level, goal, &[]);
    let mut thresholds = spread(dense, plan, level, guess, &[]);
    let windows = &calibration.windows[..SPARSE_WINDOWS.min(calibration.windows.len())];
    let mut pass = 1;
    loop {
        let what = format!("calibrating {:.2}, pass {pass}", plan.levels[level]);
        let histograms = scores(calibration, windows, Some(&thresholds), &what, progress)?;
        let tails: Vec<Tail> = histograms.iter().map(Histogram::tail).collect();
        if (kept(&tails, plan, &thresholds) - goal).abs() < TOLERANCE || pass == PASSES {
            return Ok(Point { threshold: guess, thresholds, tails });
        }
        guess = threshold(&tails, plan, level, goal, &[]);
        thresholds = spread(&tails, plan, level, guess, &[]);
        pass += 1;
    }
}

/// The threshold of every linear, given the model's: the same, times the linear's own of `factors` where there are
/// such; but for linears whose share a rule has fixed.
pub(super) fn spread(tails: &[Tail], plan: &Plan, level: usize, threshold: f32, factors: &[f32]) -> Vec<f32> {
    let linears = plan.linears.iter().zip(tails).enumerate();
    linears
        .map(|(n, (linear, tail))| match linear.fixed {
            true => bisect(|t| tail.share_above(t) > linear.channels[level]),
            false => threshold * factors.get(n).unwrap_or(&1.0),
        })
        .collect()
}

/// The share of the model's linear weights that these thresholds keep, low ranks included.
fn kept(tails: &[Tail], plan: &Plan, thresholds: &[f32]) -> f64 {
    share_kept(plan, tails.iter().zip(thresholds).map(|(tail, &threshold)| tail.share_above(threshold)))
}

/// The same, of the share of channels that each linear keeps.
pub(super) fn share_kept(plan: &Plan, channels: impl Iterator<Item = f64>) -> f64 {
    let mut sums = (0.0, 0.0);
    for (linear, share) in plan.linears.iter().zip(channels) {
        let weights = linear.weights() as f64;
        sums.0 += weights * (share + linear.rank_share());
        sums.1 += weights;
    }
    sums.0 / sums.1
}

/// The threshold that keeps the share `goal` of the model's weights; `factors` as for [`spread`].
pub(super) fn threshold(tails: &[Tail], plan: &Plan, level: usize, goal: f64, factors: &[f32]) -> f32 {
    bisect(|t| kept(tails, plan, &spread(tails, plan, level, t, factors)) > goal)
}

/// The least number, to the last bits, that is not `below` any more.
pub(super) fn bisect(below: impl Fn(f32) -> bool) -> f32 {
    // Non-negative floats are ordered as their bits are.
    let (mut low, mut high) = (0u32, f32::MAX.to_bits());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if below(f32::from_bits(middle)) { low = middle } else { high = middle }
    }
    f32::from_bits(high)
}
