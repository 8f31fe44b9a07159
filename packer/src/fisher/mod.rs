//! What it costs to drop an input channel: the diagonal of the Fisher information, from one backward pass.
//!
//! Dropping channel `j` of a linear changes its output by `-x_j·W[:, j]`, hence the loss by about `½·x_j²·F_j`, where
//! `F_j = E[h_j²]` and `h_j = gᵀ·W[:, j]` is the gradient of the loss by `x_j` through that linear alone. With labels
//! drawn from the model itself (not from the text) the first-order term has mean zero and the second is the exact
//! Gauss-Newton one: the KL divergence from the dense model (Martens, arXiv:1412.1193, sections 5 and 8). So a
//! channel's damage a weight saved is `x_j²·F_j / out`, comparable between all linears of the model: one threshold on
//! `|x_j|·√(F_j / out)` says both which channels to drop and where.
//!
//! The engine runs the model forward and hands out each block's residual stream; the backward pass recomputes one block
//! at a time from it, so memory holds one block's activations and weights.

mod labels;
#[cfg(test)]
mod tests;

use crate::block::{BlockPass, Masks, Mat, dense_streams};
use crate::calibrate;
use crate::progress::Progress;
use rasp::Result;
use rasp::model::{Linear, Model};
use rasp::session::Scorer;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `F_j` of every linear's channels, in the order of [`rasp::model::Linear::index`], summed over the tokens of so many
/// windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fisher {
    sums: Vec<Vec<f64>>,
    tokens: usize,
    windows: usize,
}

impl Fisher {
    fn new(model: &Model) -> Fisher {
        let sums = model.groups().flat_map(|group| group.linears().iter().map(|_| vec![0.0; group.input()])).collect();
        Fisher { sums, tokens: 0, windows: 0 }
    }

    /// Adds the squares of `h` (`[tokens, in]`), the first token's left out: nobody predicts anything before it, and
    /// its massive activations (arXiv:2402.17762) have gradients unlike any other token's.
    fn add(&mut self, linear: usize, h: &Mat) {
        for row in 1..h.rows() {
            for (sum, &h) in self.sums[linear].iter_mut().zip(h.row(row)) {
                *sum += f64::from(h) * f64::from(h);
            }
        }
    }

    /// The factor of `|x_j|` in the score, for one linear of `outputs` outputs: `√(F̃_j / out)`.
    ///
    /// `F̃_j` is the geometric mean of the channel's own figure and its linear's mean: a channel's own, from a few
    /// thousand tokens, is noisy, and shrinking it halfway loses least on text it was not made from
    /// (`docs/lab/2026-11-29-quality-allocation.md`).
    pub(crate) fn score(&self, linear: usize, outputs: usize) -> Vec<f32> {
        let own = &self.sums[linear];
        let tokens = self.tokens.max(1) as f64;
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        own.iter().map(|f| ((f * mean).sqrt() / tokens / outputs as f64).sqrt() as f32).collect()
    }
}

/// Adds what one window of text tells. `seed` draws the labels.
fn add_window(fisher: &mut Fisher, scorer: &mut Scorer, tokens: &[u32], seed: u64) -> Result<()> {
    let mut streams = dense_streams(scorer, tokens)?;
    let model: Arc<Model> = scorer.model().clone();
    let last = streams.pop().expect("there is one after the last block");
    let mut gradient = labels::gradient(&model, &last, seed)?;
    drop(last);
    while let Some(x) = streams.pop() {
        let layer = streams.len();
        let block = BlockPass::new(&model, layer);
        let told = &mut |linear: &Linear, _: &Mat, h: &Mat| fisher.add(linear.index(), h);
        gradient = block.backward(&x, gradient, Masks::DENSE, told);
    }
    fisher.tokens += tokens.len() - 1;
    fisher.windows += 1;
    Ok(())
}

/// The Fisher information of a model on `windows` of text. `done` is what the first windows gave before, `after` hears
/// of each window: a long measurement can be interrupted and go on.
pub(crate) fn measure(
    model: &Arc<Model>,
    windows: &[&[u32]],
    threads: usize,
    done: Option<Fisher>,
    mut after: impl FnMut(&Fisher) -> Result<()>,
    progress: &mut dyn Progress,
) -> Result<Fisher> {
    let mut fisher = done.unwrap_or_else(|| Fisher::new(model));
    let mut scorer = calibrate::scorer(model, windows, threads)?;
    progress.begin("gradients of the loss", windows.len() as u64);
    progress.advance(fisher.windows as u64);
    for window in &windows[fisher.windows.min(windows.len())..] {
        let seed = fisher.windows as u64;
        add_window(&mut fisher, &mut scorer, window, seed)?;
        after(&fisher)?;
        progress.advance(1);
    }
    progress.end();
    Ok(fisher)
}
