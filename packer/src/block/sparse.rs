//! Where a sparse pass begins, and what a linear keeps of its inputs.

use super::Mat;
use rasp::model::{Linear, Model};
use rayon::prelude::*;
use std::borrow::Cow;

/// The residual streams before the first block, one a window: `[tokens, hidden]`.
pub(crate) fn embedded(model: &Model, windows: &[&[u32]]) -> Vec<Mat> {
    let hidden = model.config().hidden_size;
    let stream = |window: &&[u32]| {
        let mut x = Mat::zeros(window.len(), hidden);
        window.iter().enumerate().for_each(|(row, &token)| model.embedding_values(token, row, x.row_mut(row)));
        x
    };
    windows.iter().map(stream).collect()
}

/// What all linears of a model keep.
#[derive(Clone, Copy)]
pub(crate) struct Masks<'a> {
    /// The threshold of each linear, in the order of [`Linear::index`]; none where everything is kept
    thresholds: &'a [f32],
    /// Scores of each, in place of the model's own
    scores: Option<&'a [Vec<f32>]>,
    /// Tokens at the beginning of a window of which everything is kept
    dense: usize,
}

impl<'a> Masks<'a> {
    /// Nothing is dropped.
    pub(crate) const DENSE: Masks<'static> = Masks { thresholds: &[], scores: None, dense: 0 };

    /// Each token after the first `dense` loses what these say, a linear each, of the model's own scores.
    pub(crate) fn new(thresholds: &'a [f32], dense: usize) -> Masks<'a> {
        Masks { thresholds, scores: None, dense }
    }

    /// The same with other scores.
    pub(crate) fn with_scores(self, scores: &'a [Vec<f32>]) -> Masks<'a> {
        Masks { scores: Some(scores), ..self }
    }

    /// `x∘m`: the channels that a linear keeps of each token of a window.
    pub(crate) fn kept<'x>(&self, x: &'x Mat, linear: &Linear) -> Cow<'x, Mat> {
        let mut kept = Cow::Borrowed(x);
        if !self.thresholds.is_empty() {
            self.drop_in(x, linear, kept.to_mut());
        }
        kept
    }

    /// Puts 0 into `y`, shaped as `x`, where a linear drops `x`.
    pub(crate) fn drop_in(&self, x: &Mat, linear: &Linear, y: &mut Mat) {
        let n = linear.index();
        let Some(&threshold) = self.thresholds.get(n) else { return };
        let score = self.scores.map_or(linear.score(), |scores| Some(&scores[n]));
        let drop = |y: &mut f32, score: f32| *y = if score <= threshold { 0.0 } else { *y };
        y.par_rows_mut().enumerate().skip(self.dense).for_each(|(row, y)| {
            let channels = x.row(row).iter().zip(y);
            match score {
                Some(score) => channels.zip(score).for_each(|((x, y), c)| drop(y, x.abs() * c)),
                None => channels.for_each(|(x, y)| drop(y, x.abs())),
            }
        });
    }
}
