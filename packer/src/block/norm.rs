//! Norms and their gradients.

use super::matrix::Mat;
use rasp::model::{Norm, NormKind};
use rasp_kernels::Kernels;
use std::ops::Range;

/// `1 / √(mean(x²) + eps)`
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mean = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    1.0 / (mean + eps).sqrt()
}

fn mean(x: impl ExactSizeIterator<Item = f32>) -> f32 {
    let n = x.len() as f32;
    x.sum::<f32>() / n
}

/// `y = norm(x)`, with the gains and biases of these elements of the norm's width (arXiv:1910.07467, equation 4;
/// arXiv:1607.06450, equation 4).
pub(super) fn norm_row(kernels: Kernels, norm: &Norm, x: &[f32], y: &mut [f32], of: Range<usize>) {
    let (gain, eps) = (&norm.gain()[of.clone()], norm.eps());
    match norm.kind() {
        NormKind::Rms => {
            let r = inverse_rms(x, eps);
            y.iter_mut().zip(x).zip(gain).for_each(|((y, x), g)| *y = x * (r * g));
        }
        NormKind::Layer => kernels.layer_norm(y, x, gain, norm.bias().map(|bias| &bias[of]), eps),
    }
}

/// The gradient by `x`, from `dy` by the norm, into `dx`. With `r = 1/√(mean(x²) + eps)`: `r·(g∘dy) −
/// x·r³/n·Σ(g∘dy∘x)`; where the mean is taken off first, the same of what is left, less its own mean.
pub(super) fn norm_row_backward(norm: &Norm, x: &[f32], dy: &[f32], dx: &mut [f32], of: Range<usize>) {
    dx.iter_mut().zip(dy).zip(&norm.gain()[of]).for_each(|((dx, dy), g)| *dx = dy * g);
    let centre = if norm.kind() == NormKind::Layer { mean(x.iter().copied()) } else { 0.0 };
    let centred = || x.iter().map(|x| x - centre);
    let r = 1.0 / (mean(x.iter().map(|x| (x - centre) * (x - centre))) + norm.eps()).sqrt();
    let along: f32 = dx.iter().zip(centred()).map(|(dx, x)| dx * x).sum();
    let pull = along * r * r * r / x.len() as f32;
    let level = if norm.kind() == NormKind::Layer { mean(dx.iter().copied()) * r } else { 0.0 };
    dx.iter_mut().zip(centred()).for_each(|(dx, x)| *dx = *dx * r - x * pull - level);
}

/// A norm of the residual stream, or of what is added to it, row by row.
pub(crate) fn normed(x: &Mat, norm: &Norm) -> Mat {
    let (mut y, kernels) = (Mat::zeros(x.rows(), x.cols()), Kernels::best());
    (0..x.rows()).for_each(|row| norm_row(kernels, norm, x.row(row), y.row_mut(row), 0..x.cols()));
    y
}

/// The gradient by `x`, from `dy` by the norm.
pub(crate) fn normed_backward(x: &Mat, norm: &Norm, dy: &Mat) -> Mat {
    let mut dx = Mat::zeros(x.rows(), x.cols());
    (0..x.rows()).for_each(|row| norm_row_backward(norm, x.row(row), dy.row(row), dx.row_mut(row), 0..x.cols()));
    dx
}
