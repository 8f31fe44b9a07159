//! The lm_head's shortlist: its rows at little more than 4 bits a weight, and how far off they can be.
//!
//! Greedy decoding asks only for the largest logit. With `w` a row of the head, `v` its rough copy, `h` the final
//! hidden state, rounded to `h'`: by the triangle and the Cauchy-Schwarz inequalities, columns taken in two kinds,
//!
//! ```text
//! |w·h − v·h'|  ≤  Σ over hot and cold columns of  |(w − v)·h + v·(h − h')|  ≤  ‖w − v‖·‖h‖ + ‖v‖·‖h − h'‖
//! ```
//!
//! so whatever lies further below the best than that cannot win, and its exact logit need not be computed: a safe
//! screening rule, as those of sparse regression are (El Ghaoui, Viallon and Rabbani, "Safe Feature Elimination",
//! arXiv:1009.4219). Some thousandth of the rows remain. The token is the same to the last tie.
//!
//! A hidden state has a few columns that are many times as large as the others, always the same ones; they would make
//! the bound useless. So these, "hot", are kept in 8 bits and bounded apart.

use crate::format::View;
use rasp_kernels::{SCREEN_BLOCK, ScreenInput, ScreenRows};

/// The most hot columns: sums of so many products of 8 and 16 bits stay within an i32.
pub(crate) const MAX_HOT: usize = 480;
/// The most cold ones: sums of so many products with inputs of -1 to 1 stay within an i32.
pub(crate) const MAX_COLD: usize = 1 << 20;
/// The largest product of a step of 8 bits and a number of 4.
const LARGEST: usize = 128 * 8;

/// The shortlist, as stored: `vocab` rows.
pub(crate) struct Shortlist {
    /// See [`ScreenRows`]: `[vocab, row bytes]`
    pub(crate) data: View<u8>,
    /// `[vocab, 2]`
    pub(crate) scale: View<f32>,
    /// At least `‖w − v‖` of the cold columns: `[vocab]`. (Of the hot ones it is half a step each, at most.)
    pub(crate) error: View<f32>,
    /// At least `‖w‖` and `‖v‖`: `[vocab]`
    pub(crate) norm: View<f32>,
    /// The hidden state's columns in the shortlist's order, the hot ones first: `[hidden]`
    pub(crate) columns: Box<[u32]>,
    /// How many of them are hot.
    pub(crate) hot: usize,
}

/// A hidden state in whole numbers, and what that costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounded {
    /// `h' = scale · x`, of the hot columns and of the cold ones.
    pub(crate) scale: [f32; 2],
    /// What a row's hot scale is multiplied by, half of `√hot·‖h‖`, and its cold error, `‖h‖`; a thousandth more of
    /// each.
    norm: [f32; 2],
    /// At least `‖h − h'‖`, and what rounding of sums adds for each unit of `‖w‖`.
    lost: f32,
}

/// Columns of blocks that hold so many cold ones.
pub(crate) fn cold_columns(hidden: usize, hot: usize) -> usize {
    hidden.saturating_sub(hot).next_multiple_of(SCREEN_BLOCK)
}

impl Shortlist {
    /// Cold columns, those that fill the last block included.
    pub(crate) fn cold(&self) -> usize {
        cold_columns(self.columns.len(), self.hot)
    }

    /// Its rows, ready to compute with.
    pub(crate) fn rows(&self) -> ScreenRows<'_> {
        let rows = ScreenRows::new(&self.data, &self.scale, self.error.len(), self.hot, self.cold());
        rows.expect("shapes checked at load")
    }

    /// Bytes that are read of it for a token.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + size_of::<f32>() * (self.scale.len() + self.error.len() + self.norm.len())
    }

    /// Rounds `h` into `hot` and `cold`. `None` if it is not finite.
    pub(crate) fn round(&self, h: &[f32], hot: &mut [i16], cold: &mut [i8]) -> Option<Rounded> {
        let (hot_columns, cold_columns) = self.columns.split_at(self.hot);
        let most_cold = (i32::MAX as usize / (LARGEST * cold.len().max(1))).min(i8::MAX as usize);
        let of_hot = round(h, hot_columns, i16::MAX as usize, |at, x| hot[at] = x as i16);
        let of_cold = round(h, cold_columns, most_cold, |at, x| cold[at] = x as i8);
        cold[cold_columns.len()..].fill(0);
        // Not `hypot`, which is glibc's of 2.35: squares of f32s are far from the end of f64.
        let norm = (of_hot.norm * of_hot.norm + of_cold.norm * of_cold.norm).sqrt();
        if !norm.is_finite() {
            return None;
        }
        // An exact logit is the sum of 32 lanes and their fold, a rounding each (n/32 + 6, of 2^-24 each); the
        // shortlist rounds six times. Twice that, to be safe. Heads of whole numbers take their input in 15 bits, each
        // group of 32 by its largest: √32 · 0.502 / 16319 of the norm at most.
        let rounding = norm * ((h.len() as f64 / 32.0 + 16.0) * f64::from(f32::EPSILON) + 2e-4);
        let more = 1.001;
        let half_steps = (self.hot as f64).sqrt() / 2.0;
        Some(Rounded {
            scale: [of_hot.scale, of_cold.scale],
            norm: [(of_hot.norm * half_steps * more) as f32, (of_cold.norm * more) as f32],
            lost: ((of_hot.lost + of_cold.lost + rounding) * more) as f32,
        })
    }
}

/// Some columns of a hidden state, rounded.
struct RoundedColumns {
    scale: f32,
    norm: f64,
    lost: f64,
}

/// Rounds those columns of `h` to whole numbers from `-limit` to `limit`, which `put` takes with their places.
fn round(h: &[f32], columns: &[u32], limit: usize, mut put: impl FnMut(usize, f32)) -> RoundedColumns {
    let values = || columns.iter().map(|&c| h[c as usize]);
    let largest = values().fold(0.0f32, |largest, v| largest.max(v.abs()));
    let scale = (f64::from(largest) / limit.max(1) as f64) as f32;
    let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
    let (mut norm, mut lost) = (0.0, 0.0);
    for (at, v) in values().enumerate() {
        // A scale that was rounded down would give more than the limit.
        let x = (v * inverse).round().clamp(-(limit as f32), limit as f32);
        put(at, x);
        norm += f64::from(v) * f64::from(v);
        let error = f64::from(v) - f64::from(scale) * f64::from(x);
        lost += error * error;
    }
    RoundedColumns { scale, norm: norm.sqrt(), lost: lost.sqrt() }
}

impl Rounded {
    /// The most that the shortlist can be off at a row of this hot scale, cold error and norm.
    #[inline]
    pub(crate) fn bound(&self, hot_scale: f32, error: f32, norm: f32) -> f32 {
        // The constant covers products that underflow.
        hot_scale * self.norm[0] + error * self.norm[1] + norm * self.lost + 1e-30
    }
}

/// A hidden state as the shortlist takes it.
pub(crate) fn input<'a>(hot: &'a [i16], cold: &'a [i8], eights: &'a mut [i16], rounded: Rounded) -> ScreenInput<'a> {
    ScreenInput::new(hot, cold, eights, rounded.scale).expect("buffers of the shortlist's shape")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Bytes;

    fn view<T: crate::format::Plain>(bytes: Vec<u8>) -> View<T> {
        let len = bytes.len() / size_of::<T>();
        View::new(&Bytes::copy(&bytes).unwrap(), 0, len).unwrap()
    }

    fn floats(values: &[f32]) -> View<f32> {
        view(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Random rows of random steps, and rows near them: the bound against products in f64, for states with outliers.
    #[test]
    fn no_rough_logit_is_further_off_than_its_bound() {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
        };
        for (hidden, hot) in [(40, 32), (64, 0), (576, 64), (1536, 64), (100, 0), (32, 32)] {
            let cold = cold_columns(hidden, hot);
            // Every column's place is another one's.
            let columns: Box<[u32]> = (0..hidden as u32).rev().collect();
            for outlier in [1.0, 300.0] {
                let mut h: Vec<f32> = (0..hidden).map(|_| random() as f32).collect();
                h[hidden / 2] *= outlier;
                for _ in 0..20 {
                    let bytes: Vec<u8> =
                        (0..ScreenRows::row_bytes(hot, cold)).map(|_| (random() * 128.0) as i8 as u8).collect();
                    let scale = [0.01 * random().abs() as f32, 0.001 * random().abs() as f32];
                    let steps = cold / 32;
                    let rough: Vec<f64> = (0..hidden)
                        .map(|place| {
                            if place < hot {
                                return f64::from(bytes[steps + place] as i8) * f64::from(scale[0]);
                            }
                            let k = place - hot;
                            let byte = bytes[steps + hot + k / 64 * 32 + k % 32];
                            let q = f64::from(if k % 64 < 32 { byte & 15 } else { byte >> 4 }) - 8.0;
                            q * f64::from(bytes[k / 32] as i8) * f64::from(scale[1])
                        })
                        .collect();
                    // Half a step off in the hot columns, anything in the cold ones.
                    let w: Vec<f64> = (0..hidden)
                        .map(|place| {
                            rough[place] + random() * if place < hot { f64::from(scale[0]) / 2.0 } else { 0.1 }
                        })
                        .collect();
                    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt() as f32 * 1.0001;
                    let lost = |from: usize| norm(&mut w[from..].iter().zip(&rough[from..]).map(|(w, v)| w - v));
                    let (error, size) = (lost(hot), norm(&mut w.iter().copied()) + lost(0));
                    let screen = Shortlist {
                        data: view(bytes),
                        scale: floats(&scale),
                        error: floats(&[error]),
                        norm: floats(&[size]),
                        columns: columns.clone(),
                        hot,
                    };
                    let (mut x_hot, mut x_cold, mut eights) =
                        (vec![0; hot], vec![1; cold], vec![0; ScreenInput::scratch(cold)]);
                    let rounded = screen.round(&h, &mut x_hot, &mut x_cold).unwrap();
                    let mut got = [f32::NAN];
                    let input = input(&x_hot, &x_cold, &mut eights, rounded);
                    rasp_kernels::Kernels::best().dot_rows_screen(&mut [&mut got], &[input], screen.rows());
                    let exact: f64 = w.iter().zip(&*columns).map(|(w, &c)| w * f64::from(h[c as usize])).sum();
                    let off = (f64::from(got[0]) - exact).abs();
                    let bound = f64::from(rounded.bound(scale[0], error, size));
                    assert!(off <= bound, "{hidden}, {hot}: {} for {exact}, bound {bound}", got[0]);
                    // And it is no wider than it has to be: within the sum of all products' magnitudes.
                    assert!(bound < 1e4 * f64::from(error + scale[0] + size));
                }
            }
        }
    }

    #[test]
    fn zeros_and_non_numbers() {
        let screen = |hidden: u32, hot| Shortlist {
            data: view(Vec::new()),
            scale: floats(&[]),
            error: floats(&[]),
            norm: floats(&[]),
            columns: (0..hidden).collect(),
            hot,
        };
        let (mut hot, mut cold) = ([7i16; 32], [7i8; 64]);
        let rounded = screen(34, 32).round(&[0.0; 34], &mut hot, &mut cold).unwrap();
        assert_eq!((hot, cold, rounded.scale), ([0; 32], [0; 64], [0.0; 2]));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 31, 32, 33] {
                let mut h = [1.0; 34];
                h[at] = bad;
                assert!(screen(34, 32).round(&h, &mut hot, &mut cold).is_none());
            }
        }
        // Subnormal: too small to be worth a scale.
        let rounded = screen(34, 32).round(&[1e-42; 34], &mut hot, &mut cold).unwrap();
        assert!(rounded.lost > 0.0 && rounded.scale.iter().all(|s| s.is_finite()));
    }

    /// Wide states are rounded so coarsely that no sum leaves an i32.
    #[test]
    fn no_sum_wraps() {
        for (hidden, limit) in [(576, 127), (16_384 + 64, 127), (40_000, 52), (MAX_COLD + 64, 1)] {
            let screen = Shortlist {
                data: view(Vec::new()),
                scale: floats(&[]),
                error: floats(&[]),
                norm: floats(&[]),
                columns: (0..hidden as u32).collect(),
                hot: 64,
            };
            let (mut hot, mut cold) = (vec![0; 64], vec![0; screen.cold()]);
            screen.round(&vec![-1.0; hidden], &mut hot, &mut cold).unwrap();
            assert_eq!((hot[63], cold[hidden - 65]), (-i16::MAX, -limit), "{hidden}");
            let sum: i64 = cold.iter().map(|&x| i64::from(x).abs() * LARGEST as i64).sum();
            assert!(sum <= i64::from(i32::MAX), "{hidden}: {sum}");
        }
        assert!(MAX_HOT as i64 * 128 * i64::from(i16::MAX) <= i64::from(i32::MAX));
    }
}
