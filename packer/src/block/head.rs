//! The head: logits from the last residual stream, and a loss's gradient from logits back to it.

use super::{Mat, add_product, normed, normed_backward};
use rasp::Result;
use rasp::model::Model;
use rayon::prelude::*;
use std::ops::Range;

/// Tokens whose logits are in memory at once.
pub(crate) const HEAD_TOKENS: usize = 128;

/// Rows of the head that are widened at once.
pub(crate) const HEAD_ROWS: usize = 8192;

/// The head's rows, some at a time, `[rows, hidden]` each.
fn for_blocks(model: &Model, mut each: impl FnMut(Range<usize>, faer::MatRef<'_, f32>)) {
    let (vocab, hidden) = (model.config().vocab_size, model.config().hidden_size);
    let mut head = vec![0.0; HEAD_ROWS.min(vocab) * hidden];
    for start in (0..vocab).step_by(HEAD_ROWS) {
        let block = start..vocab.min(start + HEAD_ROWS);
        let head = &mut head[..block.len() * hidden];
        let rows = head.par_chunks_exact_mut(hidden).zip(block.clone());
        rows.for_each(|(y, row)| model.head_values(row as u32, y));
        each(block.clone(), faer::MatRef::from_row_major_slice(head, block.len(), hidden));
    }
}

/// Hands the logits `[rows, vocab]` of some tokens at a time to `each`, with the index of the first of them; `normed`
/// `[tokens, hidden]` is what the head takes.
pub(crate) fn logits(model: &Model, normed: &Mat, mut each: impl FnMut(usize, Mat) -> Result<()>) -> Result<()> {
    for first in (0..normed.rows()).step_by(HEAD_TOKENS) {
        let rows = HEAD_TOKENS.min(normed.rows() - first);
        let mut logits = Mat::zeros(rows, model.config().vocab_size);
        for_blocks(model, |block, head| {
            let x = normed.view().subrows(first, rows);
            add_product(logits.columns_mut(block.start, block.len()), x, head.transpose());
        });
        logits.par_rows_mut().for_each(|row| model.finish_logits(0..row.len(), row));
        each(first, logits)?;
    }
    Ok(())
}

/// The gradient of a loss by the last residual stream `x` `[tokens, hidden]`. `by_logits` is handed the logits
/// `[rows, vocab]` of some tokens at a time, with the index of the first of them, and leaves the gradient by them
/// there.
pub(crate) fn head_gradient(
    model: &Model,
    x: &Mat,
    mut by_logits: impl FnMut(usize, &mut Mat) -> Result<()>,
) -> Result<Mat> {
    let norm = model.final_norm();
    let mut dnormed = Mat::zeros(x.rows(), x.cols());
    logits(model, &normed(x, norm), |first, mut logits| {
        // A cap's slope is told by what comes out of it.
        let capped = model.config().block.logit_soft_cap.map(|cap| (cap, logits.clone()));
        by_logits(first, &mut logits)?;
        if let Some((cap, capped)) = capped {
            let each = logits.data_mut().iter_mut().zip(capped.data());
            each.for_each(|(gradient, logit)| *gradient *= 1.0 - (logit / cap) * (logit / cap));
        }
        for_blocks(model, |block, head| {
            let dlogits = logits.columns(block.start, block.len());
            add_product(dnormed.view_mut().subrows_mut(first, logits.rows()), dlogits, head);
        });
        Ok(())
    })?;
    Ok(normed_backward(x, norm, &dnormed))
}
