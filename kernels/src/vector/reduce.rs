//! Operations with a sum over the whole row, in the 32-lane order.

use super::{LANES, Simd};

/// 32 lanes as vectors: the first `LANES / S::LANES` of these are used. (Eight are the most, of four
/// lanes each; an array cannot take its length from the trait.)
pub(super) type Lanes<S> = [<S as Simd>::V; 8];

/// Vectors that make up the 32 lanes.
#[inline(always)]
pub(super) const fn vectors<S: Simd>() -> usize {
    LANES / S::LANES
}

#[inline(always)]
pub(super) fn zero_lanes<S: Simd>(s: S) -> Lanes<S> {
    [s.splat(0.0); 8]
}

/// The sum of the 32 lanes, folded in halves.
#[inline(always)]
pub(super) fn fold<S: Simd>(s: S, mut lanes: Lanes<S>) -> f32 {
    let mut half = vectors::<S>() / 2;
    while half > 0 {
        for v in 0..half {
            lanes[v] = s.add(lanes[v], lanes[v + half]);
        }
        half /= 2;
    }
    s.fold(lanes[0])
}

/// # Safety
/// See [`crate::vector`]: the three are of one length.
#[inline(always)]
pub(crate) unsafe fn rms_norm<S: Simd>(s: S, y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let len = x.len();
    let (y, x, weight) = (y.as_mut_ptr(), x.as_ptr(), weight.as_ptr());
    let full = len / S::LANES * S::LANES;
    // SAFETY: x has `len` elements.
    let inverse = inverse_rms(unsafe { sum_of_squares(s, x, len) }, len, eps);
    for i in (0..full).step_by(S::LANES) {
        // SAFETY: LANES elements from i on lie within all three, which are of one length.
        unsafe {
            let x = s.mul(s.load(x.add(i)), s.splat(inverse));
            s.store(y.add(i), s.mul(x, s.load(weight.add(i))));
        }
    }
    for i in full..len {
        // SAFETY: i < len.
        unsafe { *y.add(i) = *x.add(i) * inverse * *weight.add(i) }
    }
}

/// `1 / sqrt(sum / n + eps)`.
#[inline(always)]
fn inverse_rms(sum_of_squares: f32, n: usize, eps: f32) -> f32 {
    1.0 / (sum_of_squares / n as f32 + eps).sqrt()
}

/// The sum over `x` in the 32-lane order, each vector being put to its lane by `add`; the last one is filled up with
/// `fill`.
///
/// # Safety
/// `x` is valid for reading `len` elements.
#[inline(always)]
unsafe fn sum_over<S: Simd>(s: S, x: *const f32, len: usize, fill: f32, add: impl Fn(S::V, S::V) -> S::V) -> f32 {
    let mut lanes = zero_lanes(s);
    // The vector's place among the 32 lanes is counted by hand: blocks of 32, then what is left.
    let blocks = len / LANES * LANES;
    for i in (0..blocks).step_by(LANES) {
        for v in 0..vectors::<S>() {
            // SAFETY: the block's 32 elements lie within x.
            lanes[v] = add(lanes[v], unsafe { s.load(x.add(i + v * S::LANES)) });
        }
    }
    for v in 0..vectors::<S>() {
        let i = blocks + v * S::LANES;
        if i < len {
            // SAFETY: min(LANES, len - i) elements from i on lie within x.
            lanes[v] = add(lanes[v], unsafe { s.load_part(x.add(i), (len - i).min(S::LANES), fill) });
        }
    }
    fold(s, lanes)
}

/// The sum of squares in the 32-lane order. What fills the last vector adds 0·0 to lanes that are +0 or greater, and
/// leaves their bits alone.
///
/// # Safety
/// As for [`sum_over`].
#[inline(always)]
pub(super) unsafe fn sum_of_squares<S: Simd>(s: S, x: *const f32, len: usize) -> f32 {
    // SAFETY: by contract.
    unsafe {
        sum_over(
            s,
            x,
            len,
            0.0,
            #[inline(always)]
            |lane, x| s.fma(x, x, lane),
        )
    }
}

/// # Safety
/// See [`crate::vector`]: those that are there are of one length.
#[inline(always)]
pub(crate) unsafe fn layer_norm<S: Simd>(
    s: S,
    y: &mut [f32],
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
) {
    let len = x.len();
    let (y, x, weight) = (y.as_mut_ptr(), x.as_ptr(), weight.as_ptr());
    // SAFETY: x has `len` elements.
    let sum = unsafe {
        sum_over(
            s,
            x,
            len,
            0.0,
            #[inline(always)]
            |lane, x| s.add(lane, x),
        )
    };
    let mean = sum / len as f32;
    let middle = s.splat(mean);
    // What fills the last vector is the mean, whose square from it is 0.
    // SAFETY: as above.
    let squares = unsafe {
        sum_over(
            s,
            x,
            len,
            mean,
            #[inline(always)]
            |lane, x| s.fma(s.sub(x, middle), s.sub(x, middle), lane),
        )
    };
    let inverse = s.splat(inverse_rms(squares, len, eps));
    let bias = bias.map(<[f32]>::as_ptr);
    super::elementwise::each_vector(
        s,
        len,
        // SAFETY: i + n <= len, the length of all that are there.
        #[inline(always)]
        |i, n| unsafe {
            use super::elementwise::{load, store};
            let normed = s.mul(s.mul(s.sub(load(s, x.add(i), n), middle), inverse), load(s, weight.add(i), n));
            let sum = match bias {
                Some(bias) => s.add(normed, load(s, bias.add(i), n)),
                None => normed,
            };
            store(s, y.add(i), n, sum);
        },
    );
}

/// # Safety
/// See [`crate::vector`]: any length will do.
#[inline(always)]
pub(crate) unsafe fn softmax<S: Simd>(s: S, x: &mut [f32], scale: f32) {
    let len = x.len();
    let full = len / S::LANES * S::LANES;
    let rest = len - full;
    let x = x.as_mut_ptr();

    // The greatest, in whatever order: the bits of a maximum do not depend on it, but for the sign
    // of a zero, which the subtraction forgets.
    let mut largest = s.splat(f32::NEG_INFINITY);
    for i in (0..full).step_by(S::LANES) {
        // SAFETY: LANES elements from i on lie within x.
        let v = unsafe {
            let v = s.mul(s.load(x.add(i)), s.splat(scale));
            s.store(x.add(i), v);
            v
        };
        largest = s.max(v, largest);
    }
    let mut lanes = [f32::NEG_INFINITY; 16];
    // SAFETY: the array holds LANES elements.
    unsafe { s.store(lanes.as_mut_ptr(), largest) };
    let mut largest = lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    for i in full..len {
        // SAFETY: i < len.
        let v = unsafe {
            *x.add(i) *= scale;
            *x.add(i)
        };
        largest = if v > largest { v } else { largest };
    }

    let mut lanes = zero_lanes(s);
    let max = s.splat(largest);
    let blocks = len / LANES * LANES;
    for i in (0..blocks).step_by(LANES) {
        for v in 0..vectors::<S>() {
            // SAFETY: the block's 32 elements lie within x.
            unsafe {
                let p = x.add(i + v * S::LANES);
                let e = super::exp::exp(s, s.sub(s.load(p), max));
                s.store(p, e);
                lanes[v] = s.add(lanes[v], e);
            }
        }
    }
    for v in 0..vectors::<S>() {
        let i = blocks + v * S::LANES;
        if i < len {
            let n = (len - i).min(S::LANES);
            // SAFETY: n elements from i on lie within x.
            unsafe {
                // A padding of -inf has exp 0, and a lane, never -0, keeps its bits when 0 is added.
                // (If the maximum is itself infinite, every result is a NaN anyway.)
                let e = s.load_part(x.add(i), n, f32::NEG_INFINITY);
                let e = super::exp::exp(s, s.sub(e, max));
                s.store_part(x.add(i), n, e);
                lanes[v] = s.add(lanes[v], e);
            }
        }
    }

    let inverse = 1.0 / fold(s, lanes);
    for i in (0..full).step_by(S::LANES) {
        // SAFETY: LANES elements from i on lie within x.
        unsafe { s.store(x.add(i), s.mul(s.load(x.add(i)), s.splat(inverse))) }
    }
    for i in full..full + rest {
        // SAFETY: i < len.
        unsafe { *x.add(i) *= inverse }
    }
}
