//! A better allocation by evolution: the Fisher information prices every channel as if it alone were dropped. Together
//! they cost otherwise, differently so in different kinds of linears and at different depths. Differential evolution
//! (R-Sparse, arXiv:2504.19449, section 3.3, searches its ρ so) finds a factor for each linear's threshold, from a few
//! numbers: an offset and a slope over depth for each of the seven kinds, and offsets for the first and the last block.
//!
//! The objective is the KL divergence of sparse predictions from dense ones on calibration text, at equal traffic: it
//! tells small differences from far fewer tokens than perplexity does.

use super::Calibration;
use super::divergence::{dense_logits, divergence};
use super::evolution::{Found, Search, evolution, normal};
use super::global::{Point, dense, fixed_point, spread, threshold};
use crate::calibrate;
use crate::plan::Plan;
use crate::progress::Progress;
use half::f16;
use rand_xoshiro::Xoshiro256PlusPlus;
use rasp::model::LinearKind;
use rasp::session::Scorer;
use rasp::{Error, Result, Status};

/// Windows the objective is measured on: its dense logits are kept in memory, in 16 bits.
const WINDOWS: usize = 3;
/// Numbers of a candidate: an offset and a slope for each kind, then the first and the last block's offset.
const GENES: usize = 2 * LinearKind::ALL.len() + 2;
/// Spread of the first generation, in natural logarithms of thresholds.
const SPREAD: f32 = 0.25;
/// By how much more the traffic's price is measured with.
const MORE_TRAFFIC: f64 = 0.02;

/// Finds a factor for the threshold of every linear. `known` is what an interrupted search had found.
pub(crate) fn search(
    calibration: &Calibration<'_>,
    plan: &Plan,
    options: Search,
    known: Option<Found>,
    mut save: impl FnMut(&Found) -> Result<()>,
    progress: &mut dyn Progress,
) -> Result<Vec<f32>> {
    let level = plan.middle().ok_or_else(|| Error::new(Status::InvalidArgument, "a search needs sparsity levels"))?;
    let tails = dense(calibration, progress)?;
    let point = fixed_point(calibration, plan, level, &tails, 1.0, progress)?;
    let mut objective = Objective::new(calibration, plan, level, point)?;
    let (layers, kinds) = (calibration.model.layers().len(), calibration.model.config().linears());

    progress.begin("searching", ((options.generations + 1) * options.population) as u64);
    if let Some(found) = &known {
        progress.advance(((found.generation + 1) * options.population) as u64);
    }
    let random = |random: &mut Xoshiro256PlusPlus| (0..GENES).map(|_| SPREAD * normal(random)).collect();
    // The first is what the scores alone say.
    let found = evolution(vec![0.0; GENES], random, options, known, &mut save, |genes| {
        let cost = objective.cost(&factors(genes, kinds, layers));
        progress.advance(1);
        cost
    })?;
    progress.end();
    let (genes, cost) = found.best();
    progress.note(&format!("search: from a KL divergence of {:.4} to {cost:.4} nats a token", found.start));
    Ok(factors(genes, kinds, layers))
}

/// The factor of each linear's threshold.
fn factors(genes: &[f32], linears: &[LinearKind], layers: usize) -> Vec<f32> {
    let kinds = LinearKind::ALL.len();
    let factor = |layer: usize, kind: usize| {
        // From -1 in the first block to 1 in the last.
        let depth = if layers > 1 { 2.0 * layer as f32 / (layers - 1) as f32 - 1.0 } else { 0.0 };
        let mut log = genes[kind] + genes[kinds + kind] * depth;
        if layer == 0 {
            log += genes[2 * kinds];
        }
        if layer + 1 == layers {
            log += genes[2 * kinds + 1];
        }
        log.exp()
    };
    (0..layers).flat_map(|layer| linears.iter().map(move |&kind| factor(layer, kind as usize))).collect()
}

/// The KL divergence of the sparse model from the dense one, in nats a token, at the traffic asked for.
struct Objective<'a> {
    scorer: Scorer,
    windows: &'a [&'a [u32]],
    plan: &'a Plan,
    level: usize,
    point: Point,
    /// The dense model's logits less their largest, token after token
    dense: Vec<f16>,
    /// The share of bytes that the scores alone read, and by how much the logarithm of the cost rises a share read
    traffic: (f64, f64),
}

impl<'a> Objective<'a> {
    fn new(calibration: &Calibration<'a>, plan: &'a Plan, level: usize, point: Point) -> Result<Objective<'a>> {
        let windows = &calibration.windows[..WINDOWS.min(calibration.windows.len())];
        let scorer = calibrate::scorer(calibration.model, windows, calibration.threads)?;
        let dense = dense_logits(calibration, windows)?;
        let mut objective = Objective { scorer, windows, plan, level, point, dense, traffic: (0.0, 0.0) };
        let linears = plan.linears.len();
        let goal = 1.0 - f64::from(plan.levels[level]);
        let at = objective.measure(&vec![1.0; linears], goal)?;
        let more = objective.measure(&vec![1.0; linears], (goal + MORE_TRAFFIC).min(1.0))?;
        // Reading more cannot cost more; where the two cannot be told apart traffic has no price.
        let slope = ((more.0 / at.0).ln() / (more.1 - at.1)).min(0.0);
        objective.traffic = (at.1, if slope.is_finite() { slope } else { 0.0 });
        Ok(objective)
    }

    /// What a candidate costs, as if it read what the scores alone read.
    fn cost(&mut self, factors: &[f32]) -> Result<f64> {
        let goal = 1.0 - f64::from(self.plan.levels[self.level]);
        let (divergence, traffic) = self.measure(factors, goal)?;
        Ok(divergence * (self.traffic.1 * (self.traffic.0 - traffic)).exp())
    }

    /// The divergence and the share of bytes read.
    fn measure(&mut self, factors: &[f32], goal: f64) -> Result<(f64, f64)> {
        let (tails, plan) = (&self.point.tails, self.plan);
        let threshold = threshold(tails, plan, self.level, goal, factors);
        self.scorer.set_thresholds(&spread(tails, plan, self.level, threshold, factors))?;
        self.scorer.take_traffic();
        let vocab = self.scorer.model().config().vocab_size;
        let (mut sum, mut dense) = (0.0, self.dense.chunks_exact(vocab));
        let mut tokens = 0usize;
        for window in self.windows {
            self.scorer.logits(window, 0, |position, logits| {
                let dense = dense.next().expect("the same windows have as many tokens");
                let divergence = divergence(dense, logits);
                if !divergence.is_finite() {
                    let message = format!("the logits of calibration token {position}");
                    return Err(Error::new(Status::NonFinite, message));
                }
                sum += divergence;
                tokens += 1;
                Ok(())
            })?;
        }
        let traffic = self.scorer.take_traffic();
        let whole = traffic.tokens as f64 * self.scorer.model().linear_bytes() as f64;
        Ok((sum / tokens.max(1) as f64, traffic.linear_bytes as f64 / whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_follow_kind_and_depth() {
        let mut genes = vec![0.0; GENES];
        assert!(factors(&genes, &LinearKind::ALL, 3).iter().all(|&f| f == 1.0));
        (genes[2], genes[7 + 6], genes[14], genes[15]) = (1.0, 0.5, 2.0, -1.0);
        let logs: Vec<f32> = factors(&genes, &LinearKind::ALL, 3).iter().map(|f| f.ln()).collect();
        let expected = |layer: usize, kind: usize| {
            let own = if kind == 2 { 1.0 } else { 0.0 } + if kind == 6 { 0.5 * (layer as f32 - 1.0) } else { 0.0 };
            own + [2.0, 0.0, -1.0][layer]
        };
        for (n, log) in logs.iter().enumerate() {
            assert!((log - expected(n / 7, n % 7)).abs() < 1e-5, "{n}: {log}");
        }
        assert_eq!(factors(&[0.5; GENES], &LinearKind::ALL, 1).len(), 7);
    }
}
