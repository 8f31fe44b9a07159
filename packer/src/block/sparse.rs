//! Where a sparse pass begins, and what a linear keeps of its inputs.

use super::Mat;
use rasp::model::{Linear, Model};

/// The residual streams before the first block, one a window: `[tokens, hidden]`.
pub(crate) fn embedded(model: &Model, windows: &[&[u32]]) -> Vec<Mat> {
    let hidden = model.config().hidden_size;
    let stream = |window: &&[u32]| {
        let mut x = Mat::zeros(window.len(), hidden);
        window.iter().enumerate().for_each(|(row, &token)| model.embedding_values(token, x.row_mut(row)));
        x
    };
    windows.iter().map(stream).collect()
}

/// `x∘m`: the channels that a linear keeps of each token of a window; all of them of the first `dense` tokens.
pub(crate) fn mask(x: &Mat, linear: &Linear, threshold: f32, dense: usize) -> Mat {
    let mut masked = x.clone();
    for row in dense..masked.rows() {
        for (j, x) in masked.row_mut(row).iter_mut().enumerate() {
            if x.abs() * linear.score().map_or(1.0, |score| score[j]) <= threshold {
                *x = 0.0;
            }
        }
    }
    masked
}
