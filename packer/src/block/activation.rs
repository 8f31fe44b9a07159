//! What stands between the linears of an MLP, and its gradient.

use super::matrix::Mat;
use rasp::model::Activation;
use rasp_kernels::Kernels;
use rayon::prelude::*;

/// `activation(gate)·up`, from both side by side, or `activation(up)` of an MLP without a gate.
pub(crate) fn activated(kind: Activation, gate_up: &Mat, width: usize) -> Mat {
    let kernels = Kernels::best();
    let mut y = Mat::zeros(gate_up.rows(), width);
    y.par_rows_mut().enumerate().for_each(|(row, y)| {
        let (x, up) = gate_up.row(row).split_at(width);
        kernels.activate(kind, y, x, (!up.is_empty()).then_some(up));
    });
    y
}

/// The derivative of `f` at `x`, `y` being `f(x)`.
fn slope(kind: Activation, x: f32, y: f32) -> f32 {
    match kind {
        Activation::Silu => {
            let s = 1.0 / (1.0 + (-x).exp());
            s * (1.0 + x * (1.0 - s))
        }
        Activation::GeluTanh => {
            // f = x·σ(u), u = x·(a + b·x²)
            let (a, b) =
                (2.0 * (2.0 / std::f32::consts::PI).sqrt(), 0.044715 * 2.0 * (2.0 / std::f32::consts::PI).sqrt());
            let s = 1.0 / (1.0 + (-x * (a + b * x * x)).exp());
            s + x * s * (1.0 - s) * (a + 3.0 * b * x * x)
        }
        Activation::GeluErf => {
            // f = x·Φ(x); near 0 the quotient has no digits, and Φ is ½.
            let below = if x.abs() > 1e-3 { y / x } else { 0.5 };
            below + x * (-0.5 * x * x).exp() / (2.0 * std::f32::consts::PI).sqrt()
        }
        Activation::Relu => f32::from(x > 0.0),
        Activation::Relu2 => 2.0 * x.max(0.0),
        Activation::Xielu { alpha_p, alpha_n, beta } => {
            2.0 * alpha_p * x.max(0.0) + alpha_n * (x.min(0.0).exp() - 1.0) + beta
        }
    }
}

/// The gradient by gate and up, side by side, from `dact` by what [`activated`] makes of them.
pub(crate) fn activated_backward(kind: Activation, gate_up: &Mat, dact: &Mat) -> Mat {
    let (width, kernels) = (dact.cols(), Kernels::best());
    let mut d = Mat::zeros(gate_up.rows(), gate_up.cols());
    d.par_rows_mut().enumerate().for_each(|(row, d)| {
        let (x, up) = gate_up.row(row).split_at(width);
        let (dx, dup) = d.split_at_mut(width);
        // The activation itself waits where its gradient goes.
        kernels.activate(kind, dx, x, None);
        for (i, &dact) in dact.row(row).iter().enumerate() {
            let (y, slope) = (dx[i], slope(kind, x[i], dx[i]));
            match up.get(i) {
                Some(up) => {
                    dx[i] = dact * up * slope;
                    dup[i] = dact * y;
                }
                None => dx[i] = dact * slope,
            }
        }
    });
    d
}
