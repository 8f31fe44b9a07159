//! What a level costs: perplexity on calibration text that nothing was made from.

use crate::calibrate;
use crate::progress::Progress;
use rasp::Result;
use rasp::model::Model;
use rasp::session::Scorer;
use std::sync::Arc;

/// Measures perplexity under the strict protocol: every token sparse.
pub(crate) struct Quality<'a> {
    scorer: Scorer,
    windows: &'a [&'a [u32]],
    dense: f64,
}

/// The mean loss of the dense model, in nats; 0 where there is no text.
pub(crate) fn dense(model: &Arc<Model>, windows: &[&[u32]], threads: usize) -> Result<f64> {
    Quality::new(model, windows, 0.0, threads)?.mean_loss(usize::MAX)
}

impl<'a> Quality<'a> {
    /// `dense` is the mean loss to compare with: that of the model as it came, see [`dense`].
    pub(crate) fn new(model: &Arc<Model>, windows: &'a [&'a [u32]], dense: f64, threads: usize) -> Result<Quality<'a>> {
        Ok(Quality { scorer: calibrate::scorer(model, windows, threads)?, windows, dense })
    }

    /// By how much the perplexity with these thresholds is above the dense model's: 0.02 is 2%.
    pub(crate) fn loss(&mut self, thresholds: &[f32]) -> Result<f64> {
        self.scorer.set_thresholds(thresholds)?;
        Ok((self.mean_loss(0)? - self.dense).exp() - 1.0)
    }

    /// The mean negative log-probability of a token, in nats.
    fn mean_loss(&mut self, sparse_from: usize) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0usize);
        for window in self.windows {
            for score in self.scorer.score(window, sparse_from)? {
                sum -= score.log_prob;
                count += 1;
            }
        }
        Ok(sum / count.max(1) as f64)
    }
}

/// The loss of every level.
pub(crate) fn losses(
    quality: &mut Quality<'_>,
    allocated: &[crate::allocate::Allocated],
    progress: &mut dyn Progress,
) -> Result<Vec<f64>> {
    progress.begin("measuring quality", allocated.len() as u64);
    let mut losses = Vec::new();
    for level in allocated {
        losses.push(quality.loss(&level.thresholds)?);
        progress.advance(1);
    }
    progress.end();
    Ok(losses)
}

/// How finely a sparsity is looked for.
const STEP: f32 = 0.01;

/// The sparsest setting, by hundredths, whose loss is at most `most`, thresholds between levels being interpolated as
/// the engine does; 0, dense, where even the first hundredth costs more. `levels` has at least one.
pub(crate) fn sparsest(
    quality: &mut Quality<'_>,
    levels: &[f32],
    allocated: &[crate::allocate::Allocated],
    losses: &[f64],
    most: f64,
    progress: &mut dyn Progress,
) -> Result<f32> {
    // The last level that is good enough bounds the search from below.
    let good = losses.iter().rposition(|&loss| loss <= most);
    let above = good.map_or(0, |g| g + 1);
    let Some(level) = allocated.get(above) else { return Ok(levels[above - 1]) };
    let low = good.map_or((0.0, vec![0.0; level.thresholds.len()]), |g| (levels[g], allocated[g].thresholds.clone()));
    let at = |sparsity: f32| -> Vec<f32> {
        let t = (sparsity - low.0) / (levels[above] - low.0);
        low.1.iter().zip(&level.thresholds).map(|(a, b)| a + t * (b - a)).collect()
    };
    let steps = ((levels[above] - low.0) / STEP).round() as usize;
    let (mut first, mut end) = (0, steps);
    progress.begin("finding the sparsest setting", (usize::BITS - steps.leading_zeros()).into());
    while end - first > 1 {
        let middle = first + (end - first) / 2;
        let thresholds = at(low.0 + middle as f32 * STEP);
        if quality.loss(&thresholds)? <= most {
            first = middle
        } else {
            end = middle
        }
        progress.advance(1);
    }
    progress.end();
    // The nearest number to so many hundredths: 0.35, not 0.35000002.
    Ok(((low.0 + first as f32 * STEP) * 100.0).round() / 100.0)
}
