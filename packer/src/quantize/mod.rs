//! From floating point to whole numbers: for every 32 neighbours a scale, and in 4 bits a minimum or an offset. A file
//! has a format's way to its grid.

mod q4;
mod q4s;
mod q8;

use crate::grid::{GROUP, Grid, QuantGroup};
use rasp::model::QuantType;
use rasp::{Error, Result, Status};
use rayon::prelude::*;
use std::ops::RangeInclusive;

/// A matrix with rows of `cols`, a multiple of 32, on the nearest grid that can be found. `name` is what the values,
/// all finite, belong to.
pub(crate) fn quantize(name: &str, values: &[f32], cols: usize, quant: QuantType) -> Result<Grid> {
    let to_group = match quant {
        QuantType::Q8 => q8::group,
        QuantType::Q4 => q4::group,
        QuantType::Q4s => q4s::group,
    };
    let (groups, rest) = values.as_chunks::<GROUP>();
    debug_assert!(rest.is_empty() && cols.is_multiple_of(GROUP));
    let quantized: Vec<Option<QuantGroup>> = groups.par_iter().map(to_group).collect();
    if let Some(at) = quantized.iter().position(Option::is_none) {
        let (low, high) = extremes(&groups[at]);
        let (kind, what) = (quant.format().name, quant.format().range);
        let message =
            format!("{name}: {GROUP} weights from {low} to {high} are beyond the range of {kind}: its {what}");
        return Err(Error::new(Status::OutOfRange, message));
    }
    let quantized: Vec<QuantGroup> = quantized.into_iter().flatten().collect();
    Ok(Grid::new(quant, cols, &quantized))
}

fn extremes(w: &[f32; GROUP]) -> (f32, f32) {
    w.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &w| (low.min(w), high.max(w)))
}

/// Steps that the values of a group of a 4-bit checkpoint lie apart at most, from the smallest to the largest: mostly
/// all 15 of them. Their grid is found by dividing the range by that, where no share of it left out would.
const STEPS: RangeInclusive<u8> = 11..=15;

/// Scales, each with its minimum, of values from `low` to `high` that are whole [`STEPS`] apart.
fn of_whole_steps(low: f32, high: f32) -> impl Iterator<Item = (f32, f32)> {
    STEPS.map(move |steps| ((high - low) / f32::from(steps), low))
}

/// Of the squared error of values that lie anyhow, a twelfth of a step's square each, the share below which a group's
/// values lie on a grid of their own, near the one found: no other guess is needed.
const ON_GRID: f32 = 0.2;

/// Whether values that lose so much on a grid of such steps lie on one of their own.
fn on_grid(error: f32, scale: f32) -> bool {
    error <= ON_GRID * GROUP as f32 / 12.0 * scale * scale
}

/// Shares of the values' range that a first guess leaves out at either end: few values lie there, and a finer step
/// serves the others.
const LEFT_OUT: [f32; 5] = [0.0, 0.025, 0.05, 0.085, 0.13];

/// Scales, each with its minimum, of values from `low` to `high` with these shares left out. Nothing left out at either
/// end is one of the whole steps.
fn of_parts(low: f32, high: f32) -> impl Iterator<Item = (f32, f32)> {
    let pairs = LEFT_OUT.into_iter().flat_map(|below| LEFT_OUT.map(|above| (below, above))).skip(1);
    pairs.map(move |(below, above)| ((high - low) * (1.0 - below - above) / 15.0, low + below * (high - low)))
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
    use half::f16;

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

    /// Values of a 4-bit checkpoint: some whole steps apart, from a minimum that is no whole number of steps.
    #[test]
    fn the_grid_of_a_checkpoint_is_found() {
        let mut state = 5u32;
        let mut below = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % n
        };
        for n in 0..2000 {
            let (scale, first) = (0.001 + below(1000) as f32 * 1e-5, below(60) as f32 / 4.0);
            // Not every group reaches from 0 to 15.
            let steps = 16 - n % 5;
            let mut w: [f32; GROUP] = std::array::from_fn(|_| scale * (below(steps) as f32 - first.min(14.0)));
            (w[3], w[20]) = (scale * -first.min(14.0), scale * ((steps - 1) as f32 - first.min(14.0)));
            let anyhow = f64::from(scale).powi(2) / 12.0 * GROUP as f64;
            let (large, small) = (lost(&w, QuantType::Q4), lost(&w, QuantType::Q4s));
            assert!(large <= 1e-3 * anyhow, "{large} of {anyhow}, {scale} {first} {steps}: {w:?}");
            // Its scales have 5 bits, its minimum quarters of a step: and what is of one sign reaches to zero.
            if w[3] <= 0.0 && w[20] >= 0.0 {
                assert!(small <= 0.3 * anyhow, "{small} of {anyhow}, {scale} {first} {steps}: {w:?}");
            }
        }
    }

    #[test]
    fn any_finite_values_are_quantized_or_refused() {
        let edge = [0.0, -0.0, f32::from_bits(1), 1e-30, 6e-8, 1.0, -65504.0, 60000.0, 5e6];
        for (a, b) in edge.iter().flat_map(|a| edge.iter().map(move |b| (*a, *b))) {
            let w = std::array::from_fn(|i| if i % 3 == 0 { a } else { b });
            for quant in QuantType::ALL {
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
