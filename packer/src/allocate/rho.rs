//! The paper's search (R-Sparse, arXiv:2504.19449, section 3.3): ρ of every linear, by evolution, at a fixed sparsity.
//!
//! Some blocks at a time evolve while the others keep what was found for them. A candidate passes the calibration text
//! by METHOD's first form, `y = W (x∘m) + A B (x∘(1−m))`, whose factors are cut from one decomposition: no weights have
//! to be written for it. The objective is the KL divergence from the dense predictions.

use super::divergence::{dense_logits, divergence};
use super::evolution::{Found, Search, evolution, normal};
use super::global::{dense, fixed_point, spread, threshold};
use super::{Calibration, uniform};
use crate::block::{BlockPass, Linears, Masks, Mat, add_product, embedded, group_weights, logits, normed, product};
use crate::decompose::{Factors, truncated_svd};
use crate::histogram::Tail;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::work::WorkFolder;
use faer::MatRef;
use half::f16;
use rasp::format::Allocation;
use rasp::model::Model;
use rasp::{Error, Result, Status};

/// Windows the objective is measured on.
const WINDOWS: usize = 2;
/// Groups of blocks that evolve one after the other.
const GROUPS: usize = 5;
/// A gene within this of 0 is ρ = 1, no low rank: most linears want none.
const NONE: f32 = 0.05;
/// Spread of the first generation's genes.
const SPREAD: f32 = 0.1;
/// The least ρ.
const LEAST: f32 = 0.7;

fn rho(gene: f32, least: f32) -> f32 {
    (1.0 - (gene.abs() - NONE).max(0.0)).max(least)
}

/// The least ρ whose rank leaves half of the sparsest level's budget to channels.
fn least(levels: &[f32], level: usize) -> f32 {
    let sparsest = levels.last().copied().unwrap_or_default();
    LEAST.max(1.0 - 0.5 * (1.0 - sparsest) / (1.0 - levels[level]))
}

/// The plan that gives each linear a ρ of its own, in the order of [`rasp::model::Linear::index`].
pub(crate) type Planned<'a> = &'a dyn Fn(&[f32]) -> Result<Plan>;

/// Finds ρ for every linear. `level` is the place among the levels whose budget fixes the ranks, at which candidates
/// are compared.
pub(crate) fn search_rho(
    calibration: &Calibration<'_>,
    plan: Planned<'_>,
    level: usize,
    options: Search,
    work: &WorkFolder,
    progress: &mut dyn Progress,
) -> Result<Vec<f32>> {
    let model = calibration.model;
    let layers = model.layers().len();
    let kinds = model.config().linears().len();
    let whole = plan(&vec![1.0; layers * kinds])?;
    let dense = dense(calibration, progress)?;
    let tails = match whole.allocation {
        Allocation::Global => fixed_point(calibration, &whole, level, &dense, 1.0, progress)?.tails,
        Allocation::Uniform => dense,
    };
    let least = least(&whole.levels, level);
    let most = plan(&vec![least; layers * kinds])?;
    let factors = factors(model, &most, progress)?;
    let windows = &calibration.windows[..WINDOWS.min(calibration.windows.len())];
    let dense = dense_logits(calibration, windows)?;
    let objective = RhoObjective { model, windows, tails, factors, level, dense };

    let mut found = vec![1.0; layers * kinds];
    let bands = GROUPS.min(layers);
    progress.begin("searching rho", (bands * (options.generations + 1) * options.population) as u64);
    let (mut from, mut to) = (f64::NAN, f64::NAN);
    for n in 0..bands {
        let linears = n * layers / bands * kinds..(n + 1) * layers / bands * kinds;
        let name = format!("rho.{n}");
        let known: Option<Found> = work.load(&name)?;
        if let Some(found) = &known {
            progress.advance(((found.generation + 1) * options.population) as u64);
        }
        let random = |random: &mut _| linears.clone().map(|_| SPREAD * normal(random)).collect();
        let options = Search { seed: options.seed.wrapping_add(1000 * n as u64), ..options };
        let mut save = |found: &Found| work.save(&name, found);
        // The first member changes nothing.
        let best = evolution(vec![0.0; linears.len()], random, options, known, &mut save, |genes| {
            let mut candidate = found.clone();
            candidate[linears.clone()].iter_mut().zip(genes).for_each(|(own, &gene)| *own = rho(gene, least));
            let cost = objective.cost(&plan(&candidate)?);
            progress.advance(1);
            cost
        })?;
        let (genes, cost) = best.best();
        found[linears.clone()].iter_mut().zip(genes).for_each(|(own, &gene)| *own = rho(gene, least));
        if from.is_nan() {
            from = best.start;
        }
        to = cost;
    }
    progress.end();
    let low = found.iter().filter(|&&rho| rho < 1.0).count();
    progress.note(&format!(
        "search of rho: from a KL divergence of {from:.4} to {to:.4} nats a token; {low} of {} linears have a low rank",
        found.len()
    ));
    Ok(found)
}

/// Factors of every linear, of the rank that the plan gives it.
fn factors(model: &Model, plan: &Plan, progress: &mut dyn Progress) -> Result<Vec<Factors>> {
    progress.begin("decomposing", plan.linears.len() as u64);
    let mut factors = Vec::with_capacity(plan.linears.len());
    for group in model.groups() {
        let weights = group_weights(model, group);
        for linear in group.linears() {
            let plan = &plan.linears[linear.index()];
            let rows = weights.columns_as_rows(linear.columns().start, plan.outputs);
            let found = truncated_svd(&rows, plan.outputs, plan.inputs, plan.rank);
            factors.push(found.map_err(|e| e.context(plan.name()))?);
            progress.advance(1);
        }
    }
    progress.end();
    Ok(factors)
}

/// The KL divergence of a candidate from the dense model, in nats a token.
struct RhoObjective<'a> {
    model: &'a Model,
    windows: &'a [&'a [u32]],
    tails: Vec<Tail>,
    factors: Vec<Factors>,
    level: usize,
    /// The dense model's logits less their largest, token after token
    dense: Vec<f16>,
}

impl RhoObjective<'_> {
    fn cost(&self, plan: &Plan) -> Result<f64> {
        let goal = 1.0 - f64::from(plan.levels[self.level]);
        let thresholds = match plan.allocation {
            Allocation::Global => {
                let threshold = threshold(&self.tails, plan, self.level, goal, &[]);
                spread(&self.tails, plan, self.level, threshold, &[])
            }
            Allocation::Uniform => uniform::thresholds(&self.tails, plan, self.level),
        };
        let vocab = self.model.config().vocab_size;
        let (mut sum, mut tokens) = (0.0, 0usize);
        let mut dense = self.dense.chunks_exact(vocab);
        self.predict(plan, &thresholds, |logits| {
            sum += divergence(dense.next().expect("the same windows have as many tokens"), logits);
            tokens += 1;
        })?;
        match sum.is_finite() {
            true => Ok(sum / tokens.max(1) as f64),
            false => Err(Error::new(Status::NonFinite, "the logits of the calibration text")),
        }
    }

    /// Hands the logits of every token to `each`, of a plan with these thresholds.
    fn predict(&self, plan: &Plan, thresholds: &[f32], mut each: impl FnMut(&[f32])) -> Result<()> {
        let model = self.model;
        let masks = Masks::new(thresholds, model.recipe().dense_prefix);
        let mut streams = embedded(model, self.windows);
        for layer in 0..model.layers().len() {
            BlockPass::new(model, layer).forward(&mut streams, &mut |group, inputs| {
                let linears = Linears::new(model, group);
                let mut outputs: Vec<Mat> = inputs.iter().map(|x| linears.start(x)).collect();
                for linear in group.linears() {
                    let (start, len) = (linear.columns().start, linear.columns().len());
                    let weights = linears.weights.columns(start, len);
                    let plan = &plan.linears[linear.index()];
                    let Factors { a, b } = &self.factors[linear.index()];
                    let most = b.len() / plan.inputs;
                    let b = MatRef::from_row_major_slice(b, most, plan.inputs).subrows(0, plan.rank);
                    let a = MatRef::from_row_major_slice(a, plan.outputs, most).subcols(0, plan.rank);
                    for (y, x) in outputs.iter_mut().zip(inputs) {
                        let kept = masks.kept(x, linear);
                        add_product(y.columns_mut(start, len), kept.view(), weights);
                        if plan.rank > 0 {
                            let mut rest = x.clone();
                            rest.data_mut().iter_mut().zip(kept.data()).for_each(|(x, kept)| *x -= kept);
                            let t = product(rest.view(), b.transpose());
                            add_product(y.columns_mut(start, len), t.view(), a.transpose());
                        }
                    }
                }
                Ok(outputs)
            })?;
        }
        for stream in &streams {
            let normed = normed(stream, model.final_norm());
            logits(model, &normed, |_, logits| {
                (0..logits.rows()).for_each(|row| each(logits.row(row)));
                Ok(())
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_genes_are_no_low_rank_and_none_exceeds_a_budget() {
        assert_eq!([0.0, 0.04, -0.05].map(|gene| rho(gene, LEAST)), [1.0; 3]);
        assert!((rho(-0.15, LEAST) - 0.9).abs() < 1e-6);
        assert_eq!(rho(9.0, LEAST), LEAST);
        assert_eq!(least(&[0.3, 0.5, 0.7], 1), LEAST);
        // At 90% a tenth is left: half of that, a fifth of the budget at 50%, cannot be had twice.
        assert!((least(&[0.5, 0.9], 0) - 0.9).abs() < 1e-6);
    }
}
