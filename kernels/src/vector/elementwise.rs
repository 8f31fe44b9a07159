//! Operations on each element alone. What is left of a vector at the end goes through a padded one.

use super::{Simd, elem};
use crate::{Elems, formats::f16};

/// Calls `body(i, n)` for each vector: `n` elements from `i` on, `n = LANES` but at the end.
///
/// The body is a closure, which does not inherit the caller's target features: it is compiled with
/// them since this, like itself, is inlined there.
#[inline(always)]
pub(super) fn each_vector<S: Simd>(_: S, len: usize, mut body: impl FnMut(usize, usize)) {
    let full = len / S::LANES * S::LANES;
    for i in (0..full).step_by(S::LANES) {
        body(i, S::LANES);
    }
    if full < len {
        body(full, len - full);
    }
}

/// # Safety
/// `p` is valid for reading `n <= LANES` elements.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(s: S, p: *const f32, n: usize) -> S::V {
    // SAFETY: n elements are readable, and they are LANES in the first case.
    unsafe { if n == S::LANES { s.load(p) } else { s.load_part(p, n, 0.0) } }
}

/// # Safety
/// `p` is valid for writing `n <= LANES` elements.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(s: S, p: *mut f32, n: usize, v: S::V) {
    // SAFETY: n elements are writable, and they are LANES in the first case.
    unsafe { if n == S::LANES { s.store(p, v) } else { s.store_part(p, n, v) } }
}

/// # Safety
/// See [`crate::vector`]: the two are of one length.
#[inline(always)]
pub(crate) unsafe fn add<S: Simd>(s: S, y: &mut [f32], x: &[f32]) {
    let (y, x, len) = (y.as_mut_ptr(), x.as_ptr(), y.len());
    each_vector(
        s,
        len,
        // SAFETY: i + n <= len, the length of both.
        #[inline(always)]
        |i, n| unsafe {
            store(s, y.add(i), n, s.add(load(s, y.add(i), n), load(s, x.add(i), n)));
        },
    );
}

/// # Safety
/// See [`crate::vector`]: `x` is twice as long as `cos` and as `sin`.
#[inline(always)]
pub(crate) unsafe fn rope<S: Simd>(s: S, x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let first = x.as_mut_ptr();
    each_vector(
        s,
        half,
        // SAFETY: x has 2·half elements; i + n <= half.
        #[inline(always)]
        |i, n| unsafe {
            let second = first.add(half);
            let (a, b) = (load(s, first.add(i), n), load(s, second.add(i), n));
            let (cos, sin) = (load(s, cos.as_ptr().add(i), n), load(s, sin.as_ptr().add(i), n));
            store(s, first.add(i), n, s.fma(a, cos, s.neg(s.mul(b, sin))));
            store(s, second.add(i), n, s.fma(b, cos, s.mul(a, sin)));
        },
    );
}

/// # Safety
/// See [`crate::vector`]: the two are of one length.
#[inline(always)]
pub(crate) unsafe fn widen<S: Simd>(s: S, y: &mut [f32], x: Elems<'_>) {
    // SAFETY: the same contract.
    unsafe { elem::widen_all(s, y, x) }
}

/// # Safety
/// See [`crate::vector`]: the two are of one length.
#[inline(always)]
pub(crate) unsafe fn narrow_f16<S: Simd>(s: S, y: &mut [u16], x: &[f32]) {
    let vectors = x.len() / S::LANES * S::LANES;
    for i in (0..vectors).step_by(S::LANES) {
        // SAFETY: LANES elements from i on lie within both.
        unsafe { s.store_f16(y.as_mut_ptr().add(i), s.load(x.as_ptr().add(i))) }
    }
    for (y, &x) in y[vectors..].iter_mut().zip(&x[vectors..]) {
        *y = f16::from_f32(x);
    }
}
