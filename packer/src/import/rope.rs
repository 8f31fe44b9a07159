//! Rotary position embedding: the frequencies, and the order of the rows that they turn.

use rasp::Result;

use super::bad;

/// How a model's context was stretched beyond what its frequencies were first made for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scaling {
    None,
    /// Every frequency divided by one factor.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: f64,
    },
}

/// Frequencies `[head_dim / 2]`: `theta^(−2i/head_dim)`, scaled, then divided by `factors` where there are any.
///
/// Computed in `f64` and rounded once.
pub(crate) fn inv_freq(head_dim: usize, theta: f64, scaling: &Scaling, factors: Option<&[f32]>) -> Result<Vec<f32>> {
    if !(theta.is_finite() && theta > 1.0) {
        return Err(bad(format!("config: rope theta is {theta}, expected above 1")));
    }
    scaling.check()?;
    if let Some(factors) = factors {
        if factors.len() != head_dim / 2 {
            return Err(bad(format!("{} rope factors, expected head_dim / 2 = {}", factors.len(), head_dim / 2)));
        }
        if let Some(at) = factors.iter().position(|f| !(f.is_finite() && *f > 0.0)) {
            return Err(bad(format!("rope factor {at} is {}, expected above 0", factors[at])));
        }
    }
    let mut freqs = Vec::with_capacity(head_dim / 2);
    for i in 0..head_dim / 2 {
        let plain = theta.powf(-((2 * i) as f64) / head_dim as f64);
        let factor = factors.map_or(1.0, |f| f64::from(f[i]));
        let freq = (scaling.apply(plain) / factor) as f32;
        if !(freq.is_finite() && freq > 0.0) {
            return Err(bad(format!("config: rotary frequency {i} comes out as {freq}")));
        }
        freqs.push(freq);
    }
    Ok(freqs)
}

impl Scaling {
    fn check(&self) -> Result<()> {
        let positive = |name: &str, v: f64| {
            if v.is_finite() && v > 0.0 {
                return Ok(());
            }
            Err(bad(format!("config: rope scaling: {name} is {v}, expected above 0")))
        };
        match *self {
            Scaling::None => Ok(()),
            Scaling::Linear { factor } => positive("factor", factor),
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                positive("factor", factor)?;
                positive("low_freq_factor", low_freq_factor)?;
                positive("original_max_position_embeddings", original_context)?;
                if !(high_freq_factor.is_finite() && high_freq_factor > low_freq_factor) {
                    return Err(bad(format!(
                        "config: rope scaling: high_freq_factor is {high_freq_factor}, \
                         expected above low_freq_factor {low_freq_factor}"
                    )));
                }
                Ok(())
            }
        }
    }

    fn apply(&self, freq: f64) -> f64 {
        match *self {
            Scaling::None => freq,
            Scaling::Linear { factor } => freq / factor,
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                // How many whole turns fit the original context: many turns are kept, few are stretched.
                let turns = original_context * freq / std::f64::consts::TAU;
                let keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let keep = keep.clamp(0.0, 1.0);
                keep * freq + (1.0 - keep) * freq / factor
            }
        }
    }
}

/// Reorders the rows of one projection from the interleaved pairing, where a head's rows `2i` and `2i + 1` turn
/// together, to the half-split one, where `i` and `i + head_dim/2` do. `cols` is 1 for a bias, and a row may as well be
/// of what stands for its weights.
///
/// Llama's GGUF converters store q and k interleaved; this takes that back, head by head.
pub(crate) fn interleaved_to_half_split<T: Copy>(rows: &[T], cols: usize, head_dim: usize) -> Vec<T> {
    let half = head_dim / 2;
    let mut out = Vec::with_capacity(rows.len());
    for head in rows.chunks_exact(head_dim * cols) {
        for (part, i) in (0..2).flat_map(|part| (0..half).map(move |i| (part, i))) {
            out.extend_from_slice(&head[(2 * i + part) * cols..][..cols]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_frequencies() {
        let freqs = inv_freq(8, 10000.0, &Scaling::None, None).unwrap();
        assert_eq!(freqs, [1.0, 0.1, 0.01, 0.001]);
        let freqs = inv_freq(8, 10000.0, &Scaling::Linear { factor: 4.0 }, None).unwrap();
        assert_eq!(freqs, [0.25, 0.025, 0.0025, 0.00025]);
        let factors = [1.0, 2.0, 4.0, 8.0];
        let freqs = inv_freq(8, 10000.0, &Scaling::None, Some(&factors)).unwrap();
        assert_eq!(freqs, [1.0, 0.05, 0.0025, 0.000125]);
    }

    /// Llama 3.1's own numbers, head_dim 128: against the formula as Hugging Face's transformers states it, through
    /// wavelengths.
    #[test]
    fn llama3_frequencies() {
        let (factor, low, high, context) = (8.0, 1.0, 4.0, 8192.0);
        let scaling =
            Scaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_context: context };
        let got = inv_freq(128, 500000.0, &scaling, None).unwrap();
        let mut seen = [0; 3];
        for (i, got) in got.into_iter().enumerate() {
            let freq = 500000f64.powf(-(i as f64) / 64.0);
            let wave = std::f64::consts::TAU / freq;
            let want = if wave < context / high {
                seen[0] += 1;
                freq
            } else if wave > context / low {
                seen[1] += 1;
                freq / factor
            } else {
                seen[2] += 1;
                let smooth = (context / wave - low) / (high - low);
                (1.0 - smooth) * freq / factor + smooth * freq
            };
            assert!((f64::from(got) / want - 1.0).abs() < 1e-6, "{i}: {got} against {want}");
        }
        assert!(seen.iter().all(|n| *n > 3), "{seen:?}");
    }

    #[test]
    fn senseless_scalings_are_refused() {
        for scaling in [
            Scaling::Linear { factor: 0.0 },
            Scaling::Linear { factor: f64::NAN },
            Scaling::Linear { factor: 1e300 },
            Scaling::Llama3 { factor: 8.0, low_freq_factor: 4.0, high_freq_factor: 4.0, original_context: 8192.0 },
        ] {
            assert!(inv_freq(8, 10000.0, &scaling, None).is_err(), "{scaling:?}");
        }
        for theta in [0.0, 1.0, -5.0, f64::INFINITY, f64::NAN] {
            assert!(inv_freq(8, theta, &Scaling::None, None).is_err(), "{theta}");
        }
        for factors in [&[1.0f32; 3][..], &[1.0, 1.0, 0.0, 1.0], &[1.0, f32::NAN, 1.0, 1.0]] {
            assert!(inv_freq(8, 10000.0, &Scaling::None, Some(factors)).is_err(), "{factors:?}");
        }
    }

    /// The converter's own way, an index at a time: `reshape(heads, 2, dim/2, in).swapaxes(1, 2)`.
    fn interleave(rows: &[f32], cols: usize, dim: usize) -> Vec<f32> {
        let heads = rows.len() / cols / dim;
        let mut out = vec![0.0; rows.len()];
        for head in 0..heads {
            for i in 0..dim / 2 {
                for part in 0..2 {
                    for c in 0..cols {
                        let to = ((head * dim / 2 + i) * 2 + part) * cols + c;
                        let from = ((head * 2 + part) * (dim / 2) + i) * cols + c;
                        out[to] = rows[from];
                    }
                }
            }
        }
        out
    }

    #[test]
    fn order_is_undone() {
        let rows: Vec<f32> = (0..3 * 8 * 5).map(|v| v as f32).collect();
        for cols in [1, 5] {
            let stored = interleave(&rows, cols, 8);
            assert_ne!(stored, rows);
            assert_eq!(interleaved_to_half_split(&stored, cols, 8), rows);
        }
        // And spelt out for one head of 4, one column.
        let half_split = interleaved_to_half_split(&[0.0, 1.0, 2.0, 3.0], 1, 4);
        assert_eq!(half_split, [0.0, 2.0, 1.0, 3.0]);
    }

    /// What the order is for: attention scores. Stored rows with the interleaved rotation must score as the reordered
    /// rows with the half-split rotation.
    #[test]
    fn scores_do_not_change() {
        let (dim, cols) = (6, 3);
        let freqs = inv_freq(dim, 100.0, &Scaling::None, None).unwrap();
        let stored: [Vec<f32>; 2] =
            [0, 1].map(|side| (0..dim * cols).map(|v| ((v * 37 + side * 11) % 17) as f32 / 8.0 - 1.0).collect());
        let x = [[0.5f32, -1.0, 0.25], [1.5, 0.75, -0.5]];
        let turn = |a: &mut f32, b: &mut f32, angle: f32| {
            let (s, c) = angle.sin_cos();
            (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
        };
        let project = |rows: &[f32], x: &[f32]| -> Vec<f32> {
            rows.chunks(cols).map(|r| r.iter().zip(x).map(|(r, x)| r * x).sum()).collect()
        };
        let score = |half_split: bool| {
            let sides: Vec<Vec<f32>> = (0..2)
                .map(|side| {
                    let rows = &stored[side];
                    let rows = if half_split { interleaved_to_half_split(rows, cols, dim) } else { rows.clone() };
                    let mut v = project(&rows, &x[side]);
                    for (i, freq) in freqs.iter().enumerate() {
                        let (a, b) = if half_split { (i, i + dim / 2) } else { (2 * i, 2 * i + 1) };
                        let (low, high) = v.split_at_mut(b);
                        turn(&mut low[a], &mut high[0], freq * (3 + 4 * side) as f32);
                    }
                    v
                })
                .collect();
            sides[0].iter().zip(&sides[1]).map(|(q, k)| q * k).sum::<f32>()
        };
        assert!((score(true) - score(false)).abs() < 1e-5);
    }
}
