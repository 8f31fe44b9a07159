//! To the grid of q4: a scale and a minimum.

use super::{extremes, numbers, of_parts, of_whole_steps, on_grid, squared_error, sum};
use crate::grid::{GROUP, QuantGroup};
use half::f16;

/// Rounds of refinement of the best guess at most; two or three are usual.
const ROUNDS: usize = 8;

/// The scale and minimum with the smallest squared error found: of several guesses, each improved by least squares, the
/// best is improved until that does no more good. All errors are those of the scale and minimum as rounded to f16.
pub(super) fn group(w: &[f32; GROUP]) -> Option<QuantGroup> {
    let (low, high) = extremes(w);
    // What Q4_1 takes: nothing chosen below is worse.
    let mut best = Fit::new(w, (high - low) / 15.0, low);
    if best.scale.is_finite() && best.min.is_finite() && high > low {
        for (scale, min) in of_whole_steps(low, high) {
            best.improve(w, low, &numbers(w, scale, min));
        }
        if !on_grid(best.error, best.scale.to_f32()) {
            for (scale, min) in of_parts(low, high) {
                best.improve(w, low, &numbers(w, scale, min));
            }
        }
        for _ in 0..ROUNDS {
            if !best.improve(w, low, &numbers(w, best.scale.to_f32(), best.min.to_f32())) {
                break;
            }
        }
    }
    let numbers = numbers(w, best.scale.to_f32(), best.min.to_f32());
    QuantGroup::new(numbers.map(|q| q as u8), best.scale, best.min)
}

/// A scale and a minimum, and the squared error of the numbers nearest on that grid.
struct Fit {
    scale: f16,
    min: f16,
    error: f32,
}

impl Fit {
    fn new(w: &[f32; GROUP], scale: f32, min: f32) -> Fit {
        let (scale, min) = (f16::from_f32(scale), f16::from_f32(min));
        Fit { scale, min, error: squared_error(w, scale.to_f32(), min.to_f32()) }
    }

    /// Becomes the scale and minimum with the smallest error for these numbers, if that is smaller than its own;
    /// whether it was. `low` is near the values, so that differences from it are exact enough to be squared.
    fn improve(&mut self, w: &[f32; GROUP], low: f32, q: &[f32; GROUP]) -> bool {
        let n = GROUP as f32;
        let (sum_q, sum_w) = (sum(|i| q[i]), sum(|i| w[i] - low));
        let (sum_qq, sum_qw) = (sum(|i| q[i] * q[i]), sum(|i| q[i] * (w[i] - low)));
        let spread = n * sum_qq - sum_q * sum_q;
        if spread <= 0.0 {
            return false; // All the same number.
        }
        // The minimum makes up for what rounding did to the scale.
        let scale = f16::from_f32((n * sum_qw - sum_q * sum_w) / spread).to_f32();
        let fit = Fit::new(w, scale, low + (sum_w - scale * sum_q) / n);
        // An error that is no number is not smaller.
        let better = fit.error < self.error;
        if better {
            *self = fit;
        }
        better
    }
}
