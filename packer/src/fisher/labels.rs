//! Where the gradient starts: the loss of labels drawn from the model's own predictions.

use crate::block::{Mat, head_gradient};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rasp::model::Model;
use rasp::{Error, Result, Status};

/// The gradient by the last residual stream `x` `[tokens, hidden]` of `Σ_t -log p_t(y_t)`, each `y_t` drawn from `p_t`.
pub(super) fn gradient(model: &Model, x: &Mat, seed: u64) -> Result<Mat> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    head_gradient(model, x, |first, logits| {
        (0..logits.rows()).try_for_each(|row| {
            loss_gradient(logits.row_mut(row), &mut random).ok_or_else(|| {
                Error::new(Status::NonFinite, format!("the logits of calibration token {}", first + row))
            })
        })
    })
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
