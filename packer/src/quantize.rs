//! From floating point to whole numbers: for every 32 neighbours a scale, and in 4 bits a minimum or an offset.

use crate::grid::{GROUP, Grid, Group};
use half::f16;
use rasp::model::{QuantType, scale_and_min, with_scale_and_offset};
use rasp::{Error, Result, Status};
use rayon::prelude::*;

/// A matrix with rows of `cols`, a multiple of 32, on the nearest grid that can be found. `name` is what the values,
/// all finite, belong to.
pub(crate) fn quantize(name: &str, values: &[f32], cols: usize, quant: QuantType) -> Result<Grid> {
    let to_group = match quant {
        QuantType::Q8 => q8,
        QuantType::Q4 => q4,
        QuantType::Q4s => q4s,
    };
    let (groups, rest) = values.as_chunks::<GROUP>();
    debug_assert!(rest.is_empty() && cols.is_multiple_of(GROUP));
    let quantized: Vec<Option<Group>> = groups.par_iter().map(to_group).collect();
    if let Some(at) = quantized.iter().position(Option::is_none) {
        let (low, high) = extremes(&groups[at]);
        let (kind, what) = (quant.format().name, quant.format().range);
        let message =
            format!("{name}: {GROUP} weights from {low} to {high} are beyond the range of {kind}: its {what}");
        return Err(Error::new(Status::OutOfRange, message));
    }
    let quantized: Vec<Group> = quantized.into_iter().flatten().collect();
    Ok(Grid::new(quant, cols, &quantized))
}

fn extremes(w: &[f32; GROUP]) -> (f32, f32) {
    w.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &w| (low.min(w), high.max(w)))
}

/// The largest numbers that a group's largest value may become. 127 gives the finest step; a little less loses little
/// and may suit the other values better. (Where they come from a grid of 4 bits, much better.)
const REACHES: std::ops::RangeInclusive<u8> = 111..=127;

/// Every value within half a step: of some steps the one with the smallest squared error.
fn q8(w: &[f32; GROUP]) -> Option<Group> {
    let largest = w.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    let mut best: Option<(f32, f16)> = None;
    for reach in REACHES.rev() {
        let mut scale = f16::from_f32(largest / f32::from(reach));
        // Subnormal scales are coarse: where 127 of one do not reach, the next one's do.
        if largest / scale.to_f32() >= 127.5 {
            scale = f16::from_bits(scale.to_bits() + 1);
        }
        let step = scale.to_f32();
        let whole = bytes(w, step);
        let error = sum(|i| {
            let lost = w[i] - step * whole[i];
            lost * lost
        });
        // An error that is no number is not smaller: the finest step decides whether there is one at all.
        if best.is_none_or(|(least, _)| error < least) {
            best = Some((error, scale));
        }
    }
    let scale = best.map_or(f16::ZERO, |(_, scale)| scale);
    let whole = bytes(w, scale.to_f32());
    Group::new(whole.map(|q| (q as i8).cast_unsigned()), scale, f16::ZERO)
}

/// The numbers, -127 to 127, nearest to the values with that step.
fn bytes(w: &[f32; GROUP], step: f32) -> [f32; GROUP] {
    // As in `numbers`.
    const WHOLE: f32 = 12_582_912.0;
    let steps = if step > 0.0 { 1.0 / step } else { 0.0 };
    w.map(|w| (w * steps).clamp(-127.0, 127.0) + WHOLE - WHOLE)
}

/// Shares of the values' range that a first guess leaves out at either end: few values lie there, and a finer step
/// serves the others.
const LEFT_OUT: [f32; 5] = [0.0, 0.025, 0.05, 0.085, 0.13];

/// Rounds of refinement of the best guess at most; two or three are usual.
const ROUNDS: usize = 8;

/// The scale and minimum with the smallest squared error found: of several guesses, each improved by least squares, the
/// best is improved until that does no more good. All errors are those of the scale and minimum as rounded to f16.
fn q4(w: &[f32; GROUP]) -> Option<Group> {
    let (low, high) = extremes(w);
    // What Q4_1 takes: nothing chosen below is worse.
    let mut best = Fit::new(w, (high - low) / 15.0, low);
    if best.scale.is_finite() && best.min.is_finite() && high > low {
        for below in LEFT_OUT {
            for above in LEFT_OUT {
                let scale = (high - low) * (1.0 - below - above) / 15.0;
                best.improve(w, low, &numbers(w, scale, low + below * (high - low)));
            }
        }
        for _ in 0..ROUNDS {
            if !best.improve(w, low, &numbers(w, best.scale.to_f32(), best.min.to_f32())) {
                break;
            }
        }
    }
    let numbers = numbers(w, best.scale.to_f32(), best.min.to_f32());
    Group::new(numbers.map(|q| q as u8), best.scale, best.min)
}

/// The same for a scale and an offset that share 16 bits: of several guesses, each with the scale that suits its
/// numbers best, the best goes from neighbour to neighbour, in scale and in offset, until none is better.
fn q4s(w: &[f32; GROUP]) -> Option<Group> {
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
    for below in LEFT_OUT {
        for above in LEFT_OUT {
            let scale = (high - low) * (1.0 - below - above) / 15.0;
            let Some(bits) = guess(scale, low + below * (high - low)) else { continue };
            best = best.or(SmallFit::new(w, bits));
            best = best.or(SmallFit::new(w, best_scale(w, bits)));
        }
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
    Some(Group { numbers, scale: best.bits, min: 0 })
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

/// The numbers, 0 to 15, nearest to the values on a grid.
fn numbers(w: &[f32; GROUP], scale: f32, min: f32) -> [f32; GROUP] {
    // Beyond 2^23 an f32 has no fraction: adding this rounds, and (unlike `round`) needs no call on old processors.
    const WHOLE: f32 = 12_582_912.0;
    let steps = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    w.map(|w| ((w - min) * steps).clamp(0.0, 15.0) + WHOLE - WHOLE)
}

/// Of the [`numbers`] nearest on a grid.
fn squared_error(w: &[f32; GROUP], scale: f32, min: f32) -> f32 {
    let q = numbers(w, scale, min);
    sum(|i| {
        let lost = w[i] - (scale * q[i] + min);
        lost * lost
    })
}

/// Eight sums side by side, which compilers can turn into vectors as they may not one.
fn sum(term: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0; 8];
    for start in (0..GROUP).step_by(8) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of bell-shaped values, some with outliers, of all sizes.
    fn groups() -> Vec<[f32; GROUP]> {
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        (0..2000)
            .map(|n| {
                let size = 10f32.powi(n % 8 - 4);
                let mut w: [f32; GROUP] = std::array::from_fn(|_| (0..6).map(|_| uniform()).sum::<f32>() * size);
                if n % 5 == 0 {
                    w[n as usize % GROUP] *= 6.0;
                }
                if n % 7 == 0 {
                    w.iter_mut().for_each(|w| *w += 2.0 * size);
                }
                w
            })
            .collect()
    }

    fn error(w: &[f32; GROUP], values: &[f32]) -> f64 {
        w.iter().zip(values).map(|(w, v)| (f64::from(*w) - f64::from(*v)).powi(2)).sum()
    }

    fn lost(w: &[f32; GROUP], quant: QuantType) -> f64 {
        error(w, &quantize("w", w, GROUP, quant).unwrap().values())
    }

    /// ggml's `quantize_row_q4_1_ref`.
    fn q4_1(w: &[f32; GROUP]) -> f64 {
        let (low, high) = extremes(w);
        let d = (high - low) / 15.0;
        let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
        let (scale, min) = (f16::from_f32(d).to_f32(), f16::from_f32(low).to_f32());
        error(w, &w.map(|w| scale * ((w - low) * inverse + 0.5).floor().min(15.0) + min))
    }

    /// ggml's `quantize_row_q4_0_ref`.
    fn q4_0(w: &[f32; GROUP]) -> f64 {
        let far = w.iter().fold(0.0f32, |far, &w| if w.abs() > far.abs() { w } else { far });
        let d = far / -8.0;
        let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
        let scale = f16::from_f32(d).to_f32();
        error(w, &w.map(|w| scale * ((w * inverse + 8.5).floor().min(15.0) - 8.0)))
    }

    #[test]
    fn four_bits_lose_less_than_ggmls() {
        let (mut ours, mut small, mut its, mut without_min) = (0.0, 0.0, 0.0, 0.0);
        for w in groups() {
            let (lost, reference) = (lost(&w, QuantType::Q4), q4_1(&w));
            assert!(lost <= reference * (1.0 + 1e-5), "{lost} {reference}: {w:?}");
            // Groups of all sizes count alike.
            let size = w.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
            (ours, its, without_min) = (ours + lost / size, its + reference / size, without_min + q4_0(&w) / size);
            // Its scales are coarser.
            let lost = super::tests::lost(&w, QuantType::Q4s);
            assert!(lost <= q4_0(&w) * 1.1, "{lost} {}: {w:?}", q4_0(&w));
            small += lost / size;
        }
        println!("squared error lost: q4 {ours}, Q4_1 {its}; in 4.5 bits q4s {small}, Q4_0 {without_min}");
        assert!(ours < 0.85 * its && ours < 0.65 * without_min, "{ours} {its} {without_min}");
        assert!(small < 0.75 * without_min, "{small} {without_min}");
    }

    #[test]
    fn eight_bits_are_within_half_a_step() {
        let tiny = f32::from_bits(1);
        let subnormal = [1e-7, 3.1e-6, 9e-6, 2e-5].map(|size| std::array::from_fn(|i| size * (i as f32 / 15.5 - 1.0)));
        for w in groups().into_iter().chain(subnormal).chain([[0.0; GROUP], [-3.0; GROUP], [tiny; GROUP]]) {
            let grid = quantize("w", &w, GROUP, QuantType::Q8).unwrap();
            let step = f16::from_bits(grid.scale[0]).to_f32();
            let allowed = 0.5 * step * (1.0 + 1e-4) + f32::MIN_POSITIVE;
            assert!(w.iter().zip(grid.values()).all(|(w, v)| (w - v).abs() <= allowed), "{step}: {w:?}");
            assert!(grid.numbers.iter().all(|&q| q != 0x80));
        }
    }

    #[test]
    fn what_lies_on_a_grid_stays_there() {
        let whole: [f32; GROUP] = std::array::from_fn(|i| 0.25 * (i % 16) as f32 - 1.5);
        assert_eq!(lost(&whole, QuantType::Q4), 0.0);
        let whole: [f32; GROUP] = std::array::from_fn(|i| 0.5 * (8.0 * i as f32 - 127.0));
        assert_eq!(lost(&whole, QuantType::Q8), 0.0);
        for value in [0.0, 1.5, -2.0, 6.0e-8f32] {
            assert!(lost(&[value; GROUP], QuantType::Q4) <= 1e-15, "{value}");
        }
        let whole: [f32; GROUP] = std::array::from_fn(|i| 0.25 * (i % 16) as f32 - 1.5 - 0.25 * 0.75);
        assert_eq!(lost(&whole, QuantType::Q4s), 0.0);
        assert_eq!(lost(&[0.0; GROUP], QuantType::Q4s), 0.0);
        for value in [1.5f32, -2.0, 0.0123] {
            let each = (lost(&[value; GROUP], QuantType::Q4s) / GROUP as f64).sqrt();
            assert!(each <= 0.01 * f64::from(value.abs()), "{value}: {each}");
        }
        // An f16 stands for all of them.
        assert!(lost(&[0.1; GROUP], QuantType::Q4).sqrt() < 0.1 / 256.0);
    }

    #[test]
    fn any_finite_values_are_quantized_or_refused() {
        let edge = [0.0, -0.0, f32::from_bits(1), 1e-30, 6e-8, 1.0, -65504.0, 60000.0, 5e6];
        for (a, b) in edge.iter().flat_map(|a| edge.iter().map(move |b| (*a, *b))) {
            let w = std::array::from_fn(|i| if i % 3 == 0 { a } else { b });
            for quant in [QuantType::Q8, QuantType::Q4, QuantType::Q4s] {
                let largest = a.abs().max(b.abs());
                match quantize("w", &w, GROUP, quant) {
                    Ok(_) => assert!(lost(&w, quant).sqrt() <= 6.0 * f64::from(largest), "{quant:?} {a} {b}"),
                    Err(e) => assert!(
                        largest > if quant == QuantType::Q4 { 9e5 } else { 6e4 } && quant != QuantType::Q8,
                        "{quant:?} {a} {b}: {e}"
                    ),
                }
            }
        }
    }

    #[test]
    fn what_is_beyond_f16_is_named() {
        let mut w = vec![0.5; 4 * GROUP];
        for (value, quant, word) in [
            (1e9, QuantType::Q8, "q8"),
            (1e9, QuantType::Q4, "q4"),
            (-7e4, QuantType::Q4, "-70000"),
            (-7e4, QuantType::Q4s, "4032"),
            (f32::MAX, QuantType::Q4s, "q4s"),
            (f32::MAX, QuantType::Q4, "q4"),
            (f32::MIN, QuantType::Q8, "q8"),
        ] {
            w[70] = value;
            let error = quantize("layers.3.up", &w, 2 * GROUP, quant).unwrap_err();
            assert_eq!(error.status(), Status::OutOfRange);
            assert!(error.message().contains("layers.3.up") && error.message().contains(word), "{error}");
        }
        // Beyond f16, but not its hundred-and-twenty-seventh part.
        w[70] = 1e6;
        assert!(quantize("w", &w, 2 * GROUP, QuantType::Q8).is_ok());
    }
}
