//! To the grid of q4s: a scale and an offset that share 16 bits.

use super::{extremes, numbers, of_parts, of_whole_steps, on_grid, squared_error, sum};
use crate::grid::{GROUP, QuantGroup};
use rasp::model::{scale_and_min, with_scale_and_offset};

/// The scale and offset with the smallest squared error found: of several guesses, each with the scale that suits its
/// numbers best, the best goes from neighbour to neighbour, in scale and in offset, until none is better.
pub(super) fn group(w: &[f32; GROUP]) -> Option<QuantGroup> {
    // The grid reaches from 15.75 steps below zero to 15 above: values that are all of one sign are no range of their
    // own.
    let (low, high) = extremes(w);
    let (low, high) = (low.min(0.0), high.max(0.0));
    let guess = |scale: f32, low: f32| {
        let offset = if scale > 0.0 { (-4.0 * low / scale).round().clamp(0.0, 63.0) as u16 } else { 0 };
        with_scale_and_offset(scale, offset)
    };
    // Beyond the largest scale the range is not reached, whatever is left out.
    let mut best = SmallFit::new(w, guess((high - low) / 15.0, low)?);
    // What Q4_0 takes, of either sign.
    for (scale, low) in [(low / -8.0, low), (high / 8.0, high / 8.0 * -7.0)] {
        best = guess(scale, low).map_or(best, |bits| best.or(SmallFit::new(w, bits)));
    }
    let improved = |best: SmallFit, (scale, low): (f32, f32)| match guess(scale, low) {
        Some(bits) => best.or(SmallFit::new(w, bits)).or(SmallFit::new(w, best_scale(w, bits))),
        None => best,
    };
    best = of_whole_steps(low, high).fold(best, improved);
    if !on_grid(best.error, scale_and_min(best.bits).0) {
        best = of_parts(low, high).fold(best, improved);
    }
    loop {
        let (scale, offset) = (best.bits >> 6, best.bits & 63);
        let mut next = best;
        for scale in scale.saturating_sub(1)..=(scale + 1).min(1023) {
            for offset in offset.saturating_sub(1)..=(offset + 1).min(63) {
                next = next.or(SmallFit::new(w, scale << 6 | offset));
            }
        }
        if next.bits == best.bits {
            break;
        }
        best = next;
    }
    let (scale, min) = scale_and_min(best.bits);
    let numbers = numbers(w, scale, min).map(|q| q as u8);
    Some(QuantGroup { numbers, scale: best.bits, min: 0 })
}

/// With the same offset, the scale with the smallest squared error for the numbers that are nearest with this one.
fn best_scale(w: &[f32; GROUP], bits: u16) -> u16 {
    let (scale, min) = scale_and_min(bits);
    let q = numbers(w, scale, min).map(|q| q + min / scale);
    let (qq, qw) = (sum(|i| q[i] * q[i]), sum(|i| q[i] * w[i]));
    let better = if qq > 0.0 { with_scale_and_offset(qw / qq, bits & 63) } else { None };
    better.unwrap_or(bits)
}

/// A scale with its offset, and the squared error of the numbers nearest on that grid.
#[derive(Clone, Copy)]
struct SmallFit {
    bits: u16,
    error: f32,
}

impl SmallFit {
    fn new(w: &[f32; GROUP], bits: u16) -> SmallFit {
        let (scale, min) = scale_and_min(bits);
        SmallFit { bits, error: squared_error(w, scale, min) }
    }

    /// The better one; itself if they are alike.
    fn or(self, other: SmallFit) -> SmallFit {
        if other.error < self.error { other } else { self }
    }
}
