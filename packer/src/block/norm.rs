//! RMS norm and its gradient.

use super::matrix::Mat;

/// `1 / √(mean(x²) + eps)`
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mean = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    1.0 / (mean + eps).sqrt()
}

/// `x / √(mean(x²) + eps) · gain`, row by row (arXiv:1910.07467, equation 4).
pub(crate) fn rms_norm(x: &Mat, gain: &[f32], eps: f32) -> Mat {
    let mut y = x.clone();
    for row in 0..y.rows() {
        let r = inverse_rms(x.row(row), eps);
        y.row_mut(row).iter_mut().zip(gain).for_each(|(y, g)| *y *= r * g);
    }
    y
}

/// The gradient by `x`, from `dy` by the norm: `r·(g∘dy) − x·r³/n·Σ(g∘dy∘x)` with `r = 1/√(mean(x²) + eps)`.
pub(crate) fn rms_norm_backward(x: &Mat, gain: &[f32], eps: f32, dy: &Mat) -> Mat {
    let mut dx = dy.clone();
    for row in 0..x.rows() {
        let x = x.row(row);
        let r = inverse_rms(x, eps);
        let dx = dx.row_mut(row);
        dx.iter_mut().zip(gain).for_each(|(dx, g)| *dx *= g);
        let along: f32 = dx.iter().zip(x).map(|(dx, x)| dx * x).sum();
        let pull = along * r * r * r / x.len() as f32;
        dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = *dx * r - x * pull);
    }
    dx
}
