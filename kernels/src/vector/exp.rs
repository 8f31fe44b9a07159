//! exp and silu of a vector: [`crate::exp`], operation for operation.

use super::Simd;
use crate::exp::{HIGHEST, LN2_HIGH, LN2_LOW, LOWEST, MAGIC, POLYNOMIAL};

#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // The constant first, so that a NaN comes through.
    let x = s.max(s.splat(LOWEST), s.min(s.splat(HIGHEST), x));
    let z = s.fma(x, s.splat(std::f32::consts::LOG2_E), s.splat(MAGIC));
    let n = s.sub(z, s.splat(MAGIC));
    let r = s.fma(n, s.splat(-LN2_HIGH), x);
    let r = s.fma(n, s.splat(-LN2_LOW), r);
    let mut q = s.splat(POLYNOMIAL[0]);
    for &coefficient in &POLYNOMIAL[1..] {
        q = s.fma(q, r, s.splat(coefficient));
    }
    let p = s.add(s.fma(q, s.mul(r, r), r), s.splat(1.0));
    s.scale_by_power(p, z)
}

/// `x / (1 + exp(-x))`
#[inline(always)]
pub(super) fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp(s, s.neg(x))))
}
