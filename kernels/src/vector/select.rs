//! The mask: which input channels are kept.

use super::Simd;

/// # Safety
/// See [`crate::vector`]: `score` is as long as `x`, `out` no shorter, and the length fits a u32.
#[inline(always)]
pub(crate) unsafe fn select<S: Simd>(s: S, x: &[f32], score: Option<&[f32]>, threshold: f32, out: &mut [u32]) -> usize {
    let limit = s.splat(threshold);
    let full = x.len() / S::LANES * S::LANES;
    let mut count = 0;
    for i in (0..full).step_by(S::LANES) {
        // SAFETY: LANES elements from i on lie within x and score. They also lie within out from
        // `count` on: count <= i, and out is as long as x.
        unsafe {
            let price = price(s, x, score, i);
            count += s.compress(s.not_le(price, limit), i as u32, out.as_mut_ptr().add(count));
        }
    }
    for (k, &x) in x.iter().enumerate().skip(full) {
        if kept(x, score.map_or(1.0, |score| score[k]), threshold) {
            out[count] = k as u32;
            count += 1;
        }
    }
    count
}

/// # Safety
/// See [`crate::vector`]: `y`, `x` and `score` are of one length.
#[inline(always)]
pub(crate) unsafe fn mask<S: Simd>(s: S, y: &mut [f32], x: &[f32], score: Option<&[f32]>, threshold: f32) -> usize {
    let limit = s.splat(threshold);
    let full = x.len() / S::LANES * S::LANES;
    let mut count = 0;
    for i in (0..full).step_by(S::LANES) {
        // SAFETY: LANES elements from i on lie within x, score and y.
        unsafe {
            let kept = s.not_le(price(s, x, score, i), limit);
            s.store(y.as_mut_ptr().add(i), s.keep(kept, s.load(x.as_ptr().add(i))));
            count += s.count(kept);
        }
    }
    for (k, (y, &x)) in y.iter_mut().zip(x).enumerate().skip(full) {
        let kept = kept(x, score.map_or(1.0, |score| score[k]), threshold);
        *y = if kept { x } else { 0.0 };
        count += usize::from(kept);
    }
    count
}

/// The mask's decision for what is left of a vector. Written as the negation of "not above", so that a NaN is kept, and
/// seen, where a comparison would drop it in silence.
#[inline(always)]
fn kept(x: f32, score: f32, threshold: f32) -> bool {
    let below = x.abs() * score <= threshold;
    !below
}

/// `|x|·score` of the vector at `i`.
///
/// # Safety
/// LANES elements from `i` on lie within `x` and `score`.
#[inline(always)]
unsafe fn price<S: Simd>(s: S, x: &[f32], score: Option<&[f32]>, i: usize) -> S::V {
    // SAFETY: by contract.
    unsafe {
        let x = s.abs(s.load(x.as_ptr().add(i)));
        match score {
            Some(score) => s.mul(x, s.load(score.as_ptr().add(i))),
            None => x, // times 1, exactly
        }
    }
}
