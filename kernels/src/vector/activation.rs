//! What stands between the linears of an MLP, and soft caps: [`crate::activation`], operation for operation.

use super::Simd;
use super::elementwise::{each_vector, load, store};
use super::exp::{exp, silu};
use crate::activation::{Activation, ERF_P, ERF_POLYNOMIAL, GELU_CUBE, GELU_LINEAR};

/// # Safety
/// See [`crate::vector`]: those that are there are of one length.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(s: S, kind: Activation, y: &mut [f32], x: &[f32], up: Option<&[f32]>) {
    macro_rules! by {
        (|$x:ident| $f:expr) => {
            // SAFETY: the same contract.
            unsafe {
                each(
                    s,
                    y,
                    x,
                    up,
                    #[inline(always)]
                    |$x| $f,
                )
            }
        };
    }
    match kind {
        Activation::Silu => by!(|x| silu(s, x)),
        Activation::GeluTanh => by!(|x| gelu_tanh(s, x)),
        Activation::GeluErf => by!(|x| gelu_erf(s, x)),
        Activation::Relu => by!(|x| relu(s, x)),
        Activation::Relu2 => by!(|x| s.mul(relu(s, x), relu(s, x))),
        Activation::Xielu { alpha_p, alpha_n, beta } => by!(|x| xielu(s, x, [alpha_p, alpha_n, beta])),
    }
}

/// `y = f(x)·up`, or `f(x)`.
///
/// # Safety
/// Those that are there are of one length.
#[inline(always)]
unsafe fn each<S: Simd>(s: S, y: &mut [f32], x: &[f32], up: Option<&[f32]>, f: impl Fn(S::V) -> S::V) {
    let (len, y, x) = (y.len(), y.as_mut_ptr(), x.as_ptr());
    match up.map(<[f32]>::as_ptr) {
        Some(up) => each_vector(
            s,
            len,
            // SAFETY: i + n <= len, the length of all three.
            #[inline(always)]
            |i, n| unsafe { store(s, y.add(i), n, s.mul(f(load(s, x.add(i), n)), load(s, up.add(i), n))) },
        ),
        None => each_vector(
            s,
            len,
            // SAFETY: i + n <= len, the length of both.
            #[inline(always)]
            |i, n| unsafe { store(s, y.add(i), n, f(load(s, x.add(i), n))) },
        ),
    }
}

/// # Safety
/// See [`crate::vector`]: any length will do.
#[inline(always)]
pub(crate) unsafe fn soft_cap<S: Simd>(s: S, x: &mut [f32], cap: f32) {
    let (len, x) = (x.len(), x.as_mut_ptr());
    let (twice, one) = (s.splat(2.0 / cap), s.splat(1.0));
    each_vector(
        s,
        len,
        // SAFETY: i + n <= len.
        #[inline(always)]
        |i, n| unsafe {
            let e = exp(s, s.mul(load(s, x.add(i), n), twice));
            let tanh = s.sub(one, s.div(s.splat(2.0), s.add(e, one)));
            store(s, x.add(i), n, s.mul(tanh, s.splat(cap)));
        },
    );
}

#[inline(always)]
fn relu<S: Simd>(s: S, x: S::V) -> S::V {
    // Zero first, so that a NaN comes through.
    s.max(s.splat(0.0), x)
}

#[inline(always)]
fn xielu<S: Simd>(s: S, x: S::V, [alpha_p, alpha_n, beta]: [f32; 3]) -> S::V {
    let (above, below) = (relu(s, x), s.neg(relu(s, s.neg(x))));
    let above = s.mul(s.mul(above, above), s.splat(alpha_p));
    let below = s.mul(s.sub(s.sub(exp(s, below), s.splat(1.0)), below), s.splat(alpha_n));
    s.fma(x, s.splat(beta), s.add(above, below))
}

#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let slope = s.fma(s.mul(x, x), s.splat(GELU_CUBE), s.splat(GELU_LINEAR));
    s.div(x, s.add(s.splat(1.0), exp(s, s.neg(s.mul(x, slope)))))
}

#[inline(always)]
fn gelu_erf<S: Simd>(s: S, x: S::V) -> S::V {
    let size = s.abs(x);
    let t = s.div(s.splat(1.0), s.fma(size, s.splat(ERF_P), s.splat(1.0)));
    let mut p = s.splat(ERF_POLYNOMIAL[0]);
    for &coefficient in &ERF_POLYNOMIAL[1..] {
        p = s.fma(p, t, s.splat(coefficient));
    }
    let tail = s.mul(s.mul(p, t), exp(s, s.mul(s.mul(x, x), s.splat(-0.5))));
    s.sub(relu(s, x), s.mul(size, tail))
}
