//! Counting the scores of channels while text passes.

use super::Calibration;
use crate::calibrate;
use crate::histogram::Histogram;
use crate::progress::Progress;
use rasp::Result;
use rasp::model::{GroupKind, Model};
use rasp::session::{MatRef, Observer};
use std::sync::Arc;

/// Counts the score `|x_j|·c_j` of every channel of every linear.
struct ScoreHistograms {
    model: Arc<Model>,
    /// One a linear
    histograms: Vec<Histogram>,
}

impl Observer for ScoreHistograms {
    fn group_input(&mut self, layer: usize, group: GroupKind, x: MatRef<'_>) {
        let group = self.model.layers()[layer].group(group);
        for linear in group.linears() {
            let histogram = &mut self.histograms[linear.index()];
            for row in 0..x.rows() {
                match linear.score() {
                    Some(score) => x.row(row).iter().zip(score).for_each(|(x, c)| histogram.add(x.abs() * c)),
                    None => x.row(row).iter().for_each(|x| histogram.add(x.abs())),
                }
            }
        }
    }
}

/// The scores of every linear's channels on `windows`: of dense tokens, or with `thresholds` of tokens that are sparse
/// in every linear before. `what` names the stage.
pub(super) fn scores(
    calibration: &Calibration<'_>,
    windows: &[&[u32]],
    thresholds: Option<&[f32]>,
    what: &str,
    progress: &mut dyn Progress,
) -> Result<Vec<Histogram>> {
    let model = calibration.model;
    let histograms = model.linears().map(|_| Histogram::new()).collect();
    let mut observer = ScoreHistograms { model: model.clone(), histograms };
    let mut scorer = calibrate::scorer(model, windows, calibration.threads)?;
    if let Some(thresholds) = thresholds {
        scorer.set_thresholds(thresholds)?;
    }
    progress.begin(what, windows.iter().map(|w| w.len() as u64).sum());
    for window in windows {
        let sparse_from = if thresholds.is_some() { 0 } else { window.len() };
        scorer.observe(window, sparse_from, &mut observer)?;
        progress.advance(window.len() as u64);
    }
    progress.end();
    Ok(observer.histograms)
}
