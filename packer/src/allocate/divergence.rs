//! How far the predictions of a sparse model are from the dense one's.

use super::Calibration;
use crate::calibrate;
use half::f16;
use rasp::Result;

/// The dense model's logits less their largest, `[vocab]` token after token of `windows`: in 16 bits, for there are many.
pub(super) fn dense_logits(calibration: &Calibration<'_>, windows: &[&[u32]]) -> Result<Vec<f16>> {
    let mut scorer = calibrate::scorer(calibration.model, windows, calibration.threads)?;
    let mut dense = Vec::new();
    for window in windows {
        scorer.logits(window, window.len(), |_, logits| {
            let largest = largest(logits);
            dense.extend(logits.iter().map(|x| f16::from_f32(x - largest)));
            Ok(())
        })?;
    }
    Ok(dense)
}

fn largest(logits: &[f32]) -> f32 {
    logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b))
}

/// `Σ p·ln(p/q)` of the distributions of two vectors of logits, in nats.
pub(super) fn divergence(p: &[f16], q: &[f32]) -> f64 {
    let largest = largest(q);
    let (mut sum_p, mut sum_q, mut along) = (0.0f64, 0.0f64, 0.0f64);
    for (p, q) in p.iter().zip(q) {
        let (p, q) = (p.to_f32(), q - largest);
        let weight = f64::from(p.exp());
        sum_p += weight;
        sum_q += f64::from(q.exp());
        along += weight * f64::from(p - q);
    }
    along / sum_p - sum_p.ln() + sum_q.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_divergence_is_that_of_its_definition() {
        let (p, q) = ([0.5f32, 0.3, 0.2], [0.2f32, 0.2, 0.6]);
        let expected: f32 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        let logits = p.map(|p| f16::from_f32(p.ln() - 0.5f32.ln()));
        let found = divergence(&logits, &q.map(|q| q.ln() + 7.0));
        assert!((found - f64::from(expected)).abs() < 1e-3, "{found} for {expected}");
        assert!(divergence(&logits, &p.map(f32::ln)).abs() < 1e-4);
    }
}
