//! Scores fitted to what dropping really does: the Fisher information prices each channel as if it alone were dropped,
//! but the errors of all that are add up, with signs. Which channels of a linear to keep is found here by gradient
//! descent on the KL divergence from the dense model, at one sparsity; no weight changes.
//!
//! Channel `j` of a linear is kept where `|x_j|·c_j·exp(f_j) > τ`. A step function has no slope, so that of a logistic
//! function of `ln(|x_j|·c_j·exp(f_j) / τ)` stands in for it (a straight-through estimator, arXiv:1308.3432):
//!
//! ```text
//! ∂L/∂f_j = Σ_t x_tj·h_tj·s_tj      ∂(share kept)/∂f_j ∝ Σ_t s_tj      h = the gradient by the linear's kept input
//! ```
//!
//! Of the loss a multiple of the share is taken such that all slopes of a linear together are 0: channels compete
//! within their linear, and how much each linear keeps stays as the Fisher information has it. (Slopes of whole linears
//! were tried: they are biased, and make things worse, `docs/lab/2026-11-29-quality-allocation.md`.) The steps are
//! Adam's (arXiv:1412.6980), with one second moment a linear.

use super::Calibration;
use super::divergence::with_gradient;
use super::global::{Point, dense, fixed_point, share_kept};
use crate::block::{BlockPass, Masks, Mat, dense_streams, embedded, head_gradient, logits, normed};
use crate::calibrate;
use crate::plan::Plan;
use crate::progress::Progress;
use rasp::model::{Linear, Model};
use rasp::{Error, Result, Status};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The logistic function's steepness in the logarithm of a score, as a power: slopes fall off within a half. Twice as
/// steep it hears of fewer tokens, and what it finds is noisier.
const STEEPNESS: i32 = 2;
/// How far all steps together move a channel's `f`, were there any number of them and its slope always its linear's
/// usual one.
const REACH: f32 = 1.2;
/// Steps that together go half of that way: of what a few windows say of a channel little is its own, so fewer go less
/// far (`docs/lab/2026-12-01-quality-noise-of-tuning.md`).
const NOISE: f32 = 60.0;
/// The share of the rate that is left at the last step.
const LAST_RATE: f32 = 0.05;
/// What stays of a running mean from one step to the next: of the slopes, of their squares, of a linear's price.
const SLOPES: f32 = 0.9;
const SQUARES: f32 = 0.97;
const PRICES: f32 = 0.8;

/// Channels that a thread takes at once.
const CHANNELS: usize = 256;

/// How far tuning goes.
pub(crate) struct Course<'a> {
    /// Windows to pass over after those of the calibration, one a step; then it begins with these again
    pub(crate) more: &'a [&'a [u32]],
    pub(crate) steps: usize,
}

/// What has been found so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tuned {
    /// What linears had at the beginning: those with a share of their own keep it, the others have one in common
    thresholds: Vec<f32>,
    log_threshold: f32,
    /// The divergence of each step's window, in nats a token
    divergences: Vec<f64>,
    linears: Vec<Channels>,
}

/// The channels of one linear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Channels {
    /// `f_j`
    log_factors: Vec<f32>,
    /// Running means: of the slopes, of their mean square, and of the two sums a price is made of
    slopes: Vec<f32>,
    square: f32,
    loss: f32,
    share: f32,
}

/// What a window says of one linear.
struct Slopes {
    /// `Σ_t x_tj·h_tj·s_tj` and `Σ_t s_tj`, one a channel
    loss: Vec<f32>,
    share: Vec<f32>,
    /// Channels kept, of so many
    kept: u64,
    of: u64,
}

/// The model's scores, `scores`, fitted along a course. `known` is what an interrupted run had found; `save` hears of
/// each step.
pub(crate) fn tune(
    calibration: &Calibration<'_>,
    plan: &Plan,
    scores: &[Vec<f32>],
    Course { more, steps }: Course<'_>,
    known: Option<Tuned>,
    mut save: impl FnMut(&Tuned) -> Result<()>,
    progress: &mut dyn Progress,
) -> Result<Vec<Vec<f32>>> {
    let level = plan.middle().ok_or_else(|| Error::new(Status::InvalidArgument, "tuning needs sparsity levels"))?;
    let mut tuned = match known {
        Some(known) => known,
        None => {
            let tails = dense(calibration, progress)?;
            Tuned::new(scores, fixed_point(calibration, plan, level, &tails, 1.0, progress)?)
        }
    };
    let goal = 1.0 - f64::from(plan.levels[level]);
    let windows: Vec<_> = calibration.windows.iter().chain(more).copied().take(steps).collect();
    let mut scorer = calibrate::scorer(calibration.model, &windows, calibration.threads)?;
    // The dense model's last stream of each window, while it will be needed again.
    let mut dense = vec![None; windows.len()];
    progress.begin("tuning scores", steps as u64);
    progress.advance(tuned.divergences.len() as u64);
    for step in tuned.divergences.len()..steps {
        let at = step % windows.len();
        let stream = match dense[at].take() {
            Some(stream) => stream,
            None => dense_streams(&mut scorer, windows[at])?.pop().expect("there is one after the last block"),
        };
        let pass = WindowPass { model: calibration.model, window: windows[at] };
        // Linears with a share of their own keep their threshold, and their scores.
        let threshold = tuned.log_threshold.exp();
        let linears = plan.linears.iter().zip(&tuned.thresholds);
        let thresholds: Vec<f32> = linears.map(|(linear, &own)| if linear.fixed { own } else { threshold }).collect();
        let (divergence, slopes) = pass.slopes(&stream, &tuned.scores(scores), &thresholds)?;
        dense[at] = (step + windows.len() < steps).then_some(stream);
        let kept = share_kept(plan, slopes.iter().map(Slopes::share_kept));
        tuned.divergences.push(divergence);
        for ((channels, slopes), linear) in tuned.linears.iter_mut().zip(&slopes).zip(&plan.linears) {
            if !linear.fixed {
                channels.step(slopes, step, steps);
            }
            if !channels.square.is_finite() {
                let message = format!("{}: the gradient of the divergence, in step {step}", linear.name());
                return Err(Error::new(Status::NonFinite, message));
            }
        }
        // The share falls by about a quarter of what the threshold's logarithm rises: a quarter of the way, as every
        // window keeps another share.
        tuned.log_threshold += (kept - goal) as f32;
        save(&tuned)?;
        progress.advance(1);
    }
    progress.end();
    let divergences = &tuned.divergences;
    let quarter = divergences.len().div_ceil(4);
    let mean = |divergences: &[f64]| divergences.iter().sum::<f64>() / divergences.len().max(1) as f64;
    let (first, last) = (mean(&divergences[..quarter]), mean(&divergences[divergences.len() - quarter..]));
    progress.note(&format!(
        "tuned: a KL divergence of {first:.4} nats a token in the first quarter of the steps, {last:.4} in the last"
    ));
    Ok(tuned.scores(scores))
}

impl Tuned {
    fn new(scores: &[Vec<f32>], point: Point) -> Tuned {
        let channels = |score: &Vec<f32>| {
            let zeros = vec![0.0; score.len()];
            Channels { log_factors: zeros.clone(), slopes: zeros, square: 0.0, loss: 0.0, share: 0.0 }
        };
        Tuned {
            thresholds: point.thresholds,
            log_threshold: point.threshold.max(f32::MIN_POSITIVE).ln(),
            divergences: Vec::new(),
            linears: scores.iter().map(channels).collect(),
        }
    }

    /// `c_j·exp(f_j)` of every linear.
    fn scores(&self, scores: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let of = |(score, channels): (&Vec<f32>, &Channels)| {
            score.iter().zip(&channels.log_factors).map(|(c, f)| c * f.exp()).collect()
        };
        scores.iter().zip(&self.linears).map(of).collect()
    }
}

impl Channels {
    /// One step of Adam, the learning rate falling along a cosine.
    fn step(&mut self, found: &Slopes, step: usize, steps: usize) {
        let mean = |mean: &mut f32, new: f32, stays: f32| *mean = stays * *mean + (1.0 - stays) * new;
        mean(&mut self.loss, found.loss.iter().sum(), PRICES);
        mean(&mut self.share, found.share.iter().sum(), PRICES);
        if self.share <= 0.0 {
            // No score is near the threshold: everything is kept, or nothing.
            return;
        }
        let price = self.loss / self.share;
        let mut square = 0.0;
        for ((slope, loss), share) in self.slopes.iter_mut().zip(&found.loss).zip(&found.share) {
            let new = loss - price * share;
            square += new * new;
            mean(slope, new, SLOPES);
        }
        mean(&mut self.square, square / self.slopes.len() as f32, SQUARES);
        let unbiased = |stays: f32| 1.0 - stays.powi(step as i32 + 1);
        let usual = (self.square / unbiased(SQUARES)).sqrt() * unbiased(SLOPES);
        let along = (step + 1) as f32 / steps as f32;
        let falling = 0.5 * (1.0 + (std::f32::consts::PI * along).cos());
        let rate = first_rate(steps) * (LAST_RATE + (1.0 - LAST_RATE) * falling);
        if usual > 0.0 {
            self.log_factors.iter_mut().zip(&self.slopes).for_each(|(f, slope)| *f -= rate * slope / usual);
        }
    }
}

/// How far the first of so many steps moves a channel's `f`, if its slope is its linear's usual one; on the way along
/// the cosine half of that is left.
fn first_rate(steps: usize) -> f32 {
    2.0 * REACH / (steps as f32 + NOISE)
}

impl Slopes {
    fn new(channels: usize) -> Slopes {
        Slopes { loss: vec![0.0; channels], share: vec![0.0; channels], kept: 0, of: 0 }
    }

    fn share_kept(&self) -> f64 {
        self.kept as f64 / self.of.max(1) as f64
    }

    /// Adds what tokens from `first` on say: inputs `x` and the gradient `h` by what is kept of them, `[tokens, in]`.
    fn take(&mut self, x: &Mat, h: &Mat, score: &[f32], threshold: f32, first: usize) {
        let channels = self.loss.par_chunks_mut(CHANNELS).zip(self.share.par_chunks_mut(CHANNELS));
        let channels = channels.zip(score.par_chunks(CHANNELS)).enumerate();
        self.kept += channels
            .map(|(n, ((loss, share), score))| {
                let mut kept = 0;
                for row in first..x.rows() {
                    let inputs = x.row(row)[n * CHANNELS..].iter().zip(&h.row(row)[n * CHANNELS..]);
                    for (((&x, &h), &c), (loss, share)) in inputs.zip(score).zip(loss.iter_mut().zip(&mut *share)) {
                        let ratio = x.abs() * c / threshold;
                        kept += u64::from(ratio > 1.0);
                        // σ(k·ln r) = r^k / (1 + r^k), its slope k·σ·(1 − σ); beyond 100 there is none to speak of.
                        let power = ratio.min(100.0).powi(STEEPNESS);
                        let slope = STEEPNESS as f32 * power / ((1.0 + power) * (1.0 + power));
                        *loss += x * h * slope;
                        *share += slope;
                    }
                }
                kept
            })
            .sum::<u64>();
        self.of += (x.rows().saturating_sub(first) * x.cols()) as u64;
    }
}

/// A window on its way through the model and back.
struct WindowPass<'a> {
    model: &'a Model,
    window: &'a [u32],
}

impl WindowPass<'_> {
    /// The residual stream `[tokens, hidden]` before each block and after the last.
    fn streams(&self, masks: Masks<'_>) -> Vec<Mat> {
        let mut streams = embedded(self.model, &[self.window]);
        for layer in 0..self.model.layers().len() {
            let mut next = [streams[layer].clone()];
            BlockPass::new(self.model, layer).sparse(&mut next, masks);
            streams.extend(next);
        }
        streams
    }

    /// The divergence from the dense model, whose last stream is `dense`, in nats a token, and the slopes of every
    /// linear.
    fn slopes(&self, dense: &Mat, scores: &[Vec<f32>], thresholds: &[f32]) -> Result<(f64, Vec<Slopes>)> {
        let prefix = self.model.recipe().dense_prefix;
        let masks = Masks::new(thresholds, prefix).with_scores(scores);
        let mut streams = self.streams(masks);
        let last = streams.pop().expect("there is one after the last block");
        let (divergence, mut gradient) = divergence_gradient(self.model, &last, dense)?;
        let mut slopes: Vec<Slopes> = scores.iter().map(|score| Slopes::new(score.len())).collect();
        while let Some(x) = streams.pop() {
            let block = BlockPass::new(self.model, streams.len());
            gradient = block.backward(&x, gradient, masks, &mut |linear: &Linear, x: &Mat, h: &Mat| {
                let n = linear.index();
                slopes[n].take(x, h, &scores[n], thresholds[n], prefix);
            });
        }
        Ok((divergence / self.window.len() as f64, slopes))
    }
}

/// `Σ_t KL(p_t ‖ q_t)` and its gradient by the last residual stream `x` `[tokens, hidden]`: `q` is what the model
/// predicts from `x`, `p` what it predicts from the stream `dense`.
fn divergence_gradient(model: &Model, x: &Mat, dense: &Mat) -> Result<(f64, Mat)> {
    let dense = normed(dense, model.final_norm());
    let mut divergence = 0.0;
    let gradient = head_gradient(model, x, |first, q| {
        let rows = dense.data()[first * dense.cols()..][..q.rows() * dense.cols()].to_vec();
        logits(model, &Mat::new(rows, q.rows(), dense.cols()), |start, mut p| {
            let pairs = p.par_rows_mut().zip(q.par_rows_mut().skip(start));
            let divergences: Vec<_> = pairs.map(|(p, q)| with_gradient(p, q)).collect();
            for (row, found) in divergences.into_iter().enumerate() {
                let token = first + start + row;
                divergence += found
                    .ok_or_else(|| Error::new(Status::NonFinite, format!("the logits of calibration token {token}")))?;
            }
            Ok(())
        })
    })?;
    Ok((divergence, gradient))
}

#[cfg(test)]
mod tests;
