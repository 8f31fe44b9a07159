//! Where the gradient starts: the loss of labels drawn from the model's own predictions.

use crate::block::{Mat, add_product, product, rms_norm, rms_norm_backward};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rasp::model::Model;
use rasp::{Error, Result, Status};
use std::ops::Range;

/// Tokens whose logits are in memory at once.
const ROWS: usize = 64;

/// Rows of the head that are widened at once.
const HEAD_ROWS: usize = 8192;

/// Hands the logits `[rows, vocab]` of some tokens at a time to `each`, with the index of the first of them; `normed`
/// `[tokens, hidden]` is what the head takes.
pub(crate) fn logits(
    model: &Model,
    normed: &Mat,
    threads: usize,
    mut each: impl FnMut(usize, Mat) -> Result<()>,
) -> Result<()> {
    let (vocab, hidden) = (model.config().vocab_size, model.config().hidden_size);
    let mut head = vec![0.0; HEAD_ROWS.min(vocab) * hidden];
    for first in (0..normed.rows()).step_by(ROWS) {
        let rows = ROWS.min(normed.rows() - first);
        let mut logits = Mat::zeros(rows, vocab);
        for block in blocks(vocab) {
            let head = &mut head[..block.len() * hidden];
            model.head_values(block.clone(), head);
            let head = faer::MatRef::from_row_major_slice(head, block.len(), hidden);
            let part = product(normed.view().subrows(first, rows), head.transpose(), threads);
            for row in 0..rows {
                logits.row_mut(row)[block.clone()].copy_from_slice(part.row(row));
            }
        }
        each(first, logits)?;
    }
    Ok(())
}

/// The head's rows, some at a time.
fn blocks(vocab: usize) -> impl Iterator<Item = Range<usize>> {
    (0..vocab).step_by(HEAD_ROWS).map(move |start| start..vocab.min(start + HEAD_ROWS))
}

/// The gradient by the last residual stream `x` `[tokens, hidden]` of `Σ_t -log p_t(y_t)`, each `y_t` drawn from `p_t`.
pub(super) fn gradient(model: &Model, x: &Mat, seed: u64, threads: usize) -> Result<Mat> {
    let eps = model.config().rms_norm_eps;
    let (vocab, hidden) = (model.config().vocab_size, model.config().hidden_size);
    let normed = rms_norm(x, model.final_norm_values(), eps);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut dnormed = Mat::zeros(x.rows(), hidden);
    let mut head = vec![0.0; HEAD_ROWS.min(vocab) * hidden];
    logits(model, &normed, threads, |first, mut logits| {
        let rows = logits.rows();
        for row in 0..rows {
            loss_gradient(logits.row_mut(row), &mut random).ok_or_else(|| {
                Error::new(Status::NonFinite, format!("the logits of calibration token {}", first + row))
            })?;
        }
        for block in blocks(vocab) {
            let head = &mut head[..block.len() * hidden];
            model.head_values(block.clone(), head);
            let head = faer::MatRef::from_row_major_slice(head, block.len(), hidden);
            let dlogits = logits.columns(block.start, block.len());
            add_product(dnormed.view_mut().subrows_mut(first, rows), dlogits, head, threads);
        }
        Ok(())
    })?;
    Ok(rms_norm_backward(x, model.final_norm_values(), eps, &dnormed))
}

/// Turns logits into the gradient `p − onehot(y)`, `y` drawn from `p = softmax(logits)`. `None` if they are not finite.
fn loss_gradient(logits: &mut [f32], random: &mut Xoshiro256PlusPlus) -> Option<()> {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut sum = 0.0f64;
    for x in logits.iter_mut() {
        *x = (*x - largest).exp();
        sum += f64::from(*x);
    }
    if !sum.is_finite() {
        return None;
    }
    let uniform = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let mut left = uniform * sum;
    let drawn = logits.iter().position(|&p| {
        left -= f64::from(p);
        left < 0.0
    });
    logits.iter_mut().for_each(|p| *p = (f64::from(*p) / sum) as f32);
    // Rounding can leave nothing drawn; then it is the last token that has any probability.
    let drawn = drawn.or_else(|| logits.iter().rposition(|&p| p > 0.0))?;
    logits[drawn] -= 1.0;
    Some(())
}
