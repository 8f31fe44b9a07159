//! How far the predictions of a sparse model are from the dense one's.

use super::Calibration;
use crate::calibrate;
use half::f16;
use rasp::Result;

/// The dense model's logits less their largest, `[vocab]` token after token of `windows`: in 16 bits, for there are
/// many.
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

/// [`divergence`](rasp::session::divergence) from dense logits in 16 bits.
pub(super) fn divergence(p: &[f16], q: &[f32]) -> f64 {
    rasp::session::divergence(p.iter().map(|p| p.to_f32()), q)
}

/// The same of logits in f32; leaves its gradient by the second, `q − p`, in it, and in `p` nothing of use. `None` if
/// they are not finite.
pub(super) fn with_gradient(p: &mut [f32], q: &mut [f32]) -> Option<f64> {
    let (largest_p, largest_q) = (largest(p), largest(q));
    let (mut sum_p, mut sum_q, mut along) = (0.0f64, 0.0f64, 0.0f64);
    for (p, q) in p.iter_mut().zip(&mut *q) {
        let (log_p, log_q) = (*p - largest_p, *q - largest_q);
        (*p, *q) = (log_p.exp(), log_q.exp());
        sum_p += f64::from(*p);
        sum_q += f64::from(*q);
        along += f64::from(*p) * f64::from(log_p - log_q);
    }
    let (scale_p, scale_q) = ((1.0 / sum_p) as f32, (1.0 / sum_q) as f32);
    p.iter().zip(&mut *q).for_each(|(p, q)| *q = *q * scale_q - p * scale_p);
    let divergence = along / sum_p - sum_p.ln() + sum_q.ln();
    divergence.is_finite().then_some(divergence)
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

    #[test]
    fn a_divergence_has_the_gradient_of_its_definition() {
        let (p, q) = ([0.3f32, -1.0, 2.0, 0.0], [0.1f32, 0.5, 1.0, -0.7]);
        let divergence = |q: [f32; 4]| with_gradient(&mut p.clone(), &mut q.clone()).unwrap();
        let mut gradient = q;
        let found = with_gradient(&mut p.clone(), &mut gradient).unwrap();
        let softmax = |z: [f32; 4]| z.map(|x| x.exp() / z.map(f32::exp).iter().sum::<f32>());
        let expected: f32 = softmax(p).iter().zip(softmax(q)).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((found - f64::from(expected)).abs() < 1e-6, "{found} for {expected}");
        for at in 0..4 {
            let moved = |by: f32| {
                let mut q = q;
                q[at] += by;
                divergence(q)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((f64::from(gradient[at]) - slope).abs() < 1e-4, "{at}: {} for {slope}", gradient[at]);
        }
        assert!(with_gradient(&mut [f32::NAN; 2], &mut [0.0; 2]).is_none());
    }
}
