//! A first look at the head: its rows in 8 bits, and how far off they can be.
//!
//! Greedy decoding asks only for the largest logit. With `w` a row of the head, `q` its whole numbers, `s` its scale and
//! `h` the final hidden state, rounded to `h'`: by the Cauchy-Schwarz inequality
//!
//! ```text
//! |w·h − s·q·h'|  =  |(w − s·q)·h + s·q·(h − h')|  ≤  ‖w − s·q‖·‖h‖ + ‖s·q‖·‖h − h'‖
//! ```
//!
//! so whatever lies further below the best than that cannot win, and its exact logit need not be computed. Half the
//! head's bytes are read, and the token is the same to the last tie.

use crate::format::View;

/// The first look, as stored: `vocab` rows.
pub(crate) struct HeadLook {
    /// `q`: `[vocab, hidden]`
    pub(crate) weights: View<i8>,
    /// `s`: `[vocab]`
    pub(crate) scale: View<f32>,
    /// At least `‖w − s·q‖`: `[vocab]`
    pub(crate) error: View<f32>,
    /// At least `‖w‖` and `‖s·q‖`: `[vocab]`
    pub(crate) norm: View<f32>,
}

/// The final hidden state in whole numbers, and what that costs.
#[derive(Clone, Copy)]
pub(crate) struct Rounded {
    /// `h' = scale · x`
    pub(crate) scale: f32,
    /// At least `‖h‖`, a share of a thousandth more.
    norm: f32,
    /// At least `‖h − h'‖`, and what rounding of sums adds for each unit of `‖w‖`.
    error: f32,
}

impl Rounded {
    /// Rounds `h` into `x`, so finely that no sum with 8-bit weights leaves i32. `None` if `h` is not finite.
    pub(crate) fn new(h: &[f32], x: &mut [i16]) -> Option<Rounded> {
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let largest = h.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
        let limit = (f64::from(i32::MAX) / (128.0 * h.len().max(1) as f64)).min(f64::from(i16::MAX)).floor();
        let scale = f64::from(largest) / limit;
        let norm = squares(&mut h.iter().map(|&v| f64::from(v)));
        if !norm.is_finite() {
            return None;
        }
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        for (x, &v) in x.iter_mut().zip(h) {
            *x = (f64::from(v) * inverse).round() as i16;
        }
        let scale = scale as f32;
        let lost = squares(&mut h.iter().zip(&*x).map(|(&v, &x)| f64::from(v) - f64::from(scale) * f64::from(x)));
        // An exact logit is the sum of 32 lanes and their fold, a rounding each (n/32 + 6, of 2^-24 each); the first
        // look rounds four times. Twice that, to be safe.
        let rounding = norm * (h.len() as f64 / 32.0 + 16.0) * (f64::from(f32::EPSILON));
        let more = 1.001;
        Some(Rounded { scale, norm: (norm * more) as f32, error: ((lost + rounding) * more) as f32 })
    }

    /// The most that the first look at a row can be off, for its `error` and `norm`.
    #[inline]
    pub(crate) fn bound(&self, error: f32, norm: f32) -> f32 {
        // The constant covers products that underflow.
        error * self.norm + norm * self.error + 1e-30
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound against products in f64, for rows and states with outliers.
    #[test]
    fn no_first_look_is_further_off_than_its_bound() {
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
        };
        for n in [1, 7, 64, 576, 1536] {
            for outlier in [1.0, 300.0] {
                let mut h: Vec<f32> = (0..n).map(|_| random() as f32).collect();
                h[n / 2] *= outlier;
                let mut x = vec![0i16; n];
                let rounded = Rounded::new(&h, &mut x).unwrap();
                for _ in 0..50 {
                    let w: Vec<f64> = (0..n).map(|_| random() * random()).collect();
                    let s = w.iter().fold(0.0f64, |l, v| l.max(v.abs())) / 127.0;
                    let q: Vec<f64> = w.iter().map(|v| (v / s).round()).collect();
                    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt() as f32 * 1.0001;
                    let error = norm(&mut w.iter().zip(&q).map(|(w, q)| w - s * q));
                    let size = norm(&mut w.iter().copied()) + error;
                    let exact: f64 = w.iter().zip(&h).map(|(w, &h)| w * f64::from(h)).sum();
                    let whole: f64 = q.iter().zip(&x).map(|(q, &x)| q * f64::from(x)).sum();
                    assert!(whole.abs() < f64::from(i32::MAX));
                    let look = s * f64::from(rounded.scale) * whole;
                    assert!((look - exact).abs() <= f64::from(rounded.bound(error, size)), "{n}: {look} for {exact}");
                }
            }
        }
    }

    #[test]
    fn zeros_and_non_numbers() {
        let mut x = [7i16; 3];
        let rounded = Rounded::new(&[0.0; 3], &mut x).unwrap();
        assert_eq!((x, rounded.scale), ([0; 3], 0.0));
        assert!(Rounded::new(&[0.0, f32::NAN, 1.0], &mut x).is_none());
        assert!(Rounded::new(&[0.0, f32::INFINITY, 1.0], &mut x).is_none());
    }
}
