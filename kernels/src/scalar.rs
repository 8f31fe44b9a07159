//! The readable truth: plain loops, against whose bits every other file is tested.
//!
//! Written for itself, on none of the vector code, and used by none: where the two agree, neither is wrong alone. Hence
//! [`TABLE`] is all that others see. Numbers are taken apart here as their formats define them.

mod quantized;

use crate::activation::{ERF_P, ERF_POLYNOMIAL, GELU_CUBE, GELU_LINEAR};
use crate::{
    Isa, SCREEN_BLOCK, SCREEN_GROUP, exp as consts,
    operations::{Table, operations, table_of, types::*},
};
use quantized::{dot_rows_many_q, dot_rows_q, dot_rows_sparse_q, gemm_quantized, gemv_quantized, pack, quantize};

/// The operations of every CPU.
pub(crate) static TABLE: Table = operations! { table_of Isa::Scalar };

/// Lanes of every row-form sum, whatever the vectors of the machine.
const LANES: usize = 32;

/// bfloat16: the upper half of an f32.
fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// IEEE binary16: a sign, 5 bits of exponent with a bias of 15, 10 of mantissa.
fn f16_to_f32(bits: u16) -> f32 {
    let (exponent, mantissa) = (u32::from(bits >> 10 & 31), u32::from(bits & 0x3ff));
    let size = match exponent {
        0 => mantissa as f32 * power_of_two(-24),
        31 => f32::from_bits(0xff << 23 | mantissa << 13),
        _ => f32::from_bits((exponent + 127 - 15) << 23 | mantissa << 13),
    };
    if bits >> 15 == 0 { size } else { -size }
}

/// The nearest: so many steps of `2^(exponent - 10)`, of `2^-24` below `2^-14`, ties to even. From half a step above
/// the largest on it is an infinity.
fn f32_to_f16(value: f32) -> u16 {
    let size = value.abs();
    let exponent = ((size.to_bits() >> 23) as i32 - 127).max(-14);
    let bits = if size.is_nan() {
        0x7e00
    } else if exponent > 15 {
        0x7c00
    } else {
        // The first of the 1,024 to 2,047 steps of a number that is not subnormal counts its exponent up.
        let steps = (size * power_of_two(10 - exponent)).round_ties_even() as u16;
        (((exponent + 14) as u16) << 10) + steps
    };
    bits | ((value.to_bits() >> 31) as u16) << 15
}

/// Runs the body with `$data` the elements and `$at` their conversion, once for each format.
macro_rules! each_format {
    ($elems:expr, |$data:ident, $at:ident| $body:expr) => {
        match $elems {
            Elems::F32($data) => {
                let $at = |value: f32| value;
                $body
            }
            Elems::F16($data) => {
                let $at = f16_to_f32;
                $body
            }
            Elems::Bf16($data) => {
                let $at = bf16_to_f32;
                $body
            }
            Elems::I8($data) => {
                let $at = |value: i8| f32::from(value);
                $body
            }
        }
    };
}

/// `y[c] += x·row[c]`, fused.
fn accumulate<T: Copy>(y: &mut [f32], x: f32, row: &[T], at: impl Fn(T) -> f32) {
    for (y, &w) in y.iter_mut().zip(row) {
        *y = x.mul_add(at(w), *y);
    }
}

fn gemv_floats(y: &mut [f32], x: &[f32], active: Option<Active<'_>>, w: Matrix<'_>) {
    if w.cols() == 0 {
        return;
    }
    each_format!(w.elems(), |data, at| {
        let mut row = |k: usize| accumulate(y, x[k], &data[w.place(k) * w.stride()..][..w.cols()], at);
        match active {
            Some(active) => active.as_slice().iter().for_each(|&k| row(k as usize)),
            None => (0..x.len()).for_each(row),
        }
    })
}

fn gemm_floats(mut y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) {
    for m in 0..x.rows() {
        gemv_floats(y.row_mut(m), x.row(m), None, w);
    }
}

/// The sum of the lanes, folded in halves: lane `l` plus lane `l + half`.
fn fold(mut lanes: [f32; LANES]) -> f32 {
    for half in [16, 8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}

fn dot<T: Copy>(x: &[f32], row: &[T], at: impl Fn(T) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for (k, (&x, &w)) in x.iter().zip(row).enumerate() {
        lanes[k % LANES] = x.mul_add(at(w), lanes[k % LANES]);
    }
    fold(lanes)
}

fn dot_rows(y: &mut [f32], x: &[f32], w: Matrix<'_>) {
    if w.cols() == 0 {
        return y.fill(0.0);
    }
    each_format!(w.elems(), |data, at| for (n, y) in y.iter_mut().enumerate() {
        *y = dot(x, &data[w.place(n) * w.stride()..][..w.cols()], at);
    })
}

fn dot_rows_many(mut y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) {
    for m in 0..x.rows() {
        dot_rows(y.row_mut(m), x.row(m), w);
    }
}

fn dot_rows_sparse(y: &mut [f32], x: &[f32], active: Active<'_>, w: Matrix<'_>) {
    for (y, &n) in y.iter_mut().zip(active.as_slice()) {
        dot_rows(std::slice::from_mut(y), x, w.row_range(n as usize..n as usize + 1));
    }
}

fn dot_rows_screen(y: &mut [&mut [f32]], x: &[ScreenInput<'_>], w: ScreenRows<'_>) {
    y.iter_mut().zip(x).for_each(|(y, x)| dot_rows_screen_of(y, x, w));
}

fn dot_rows_screen_of(y: &mut [f32], x: &ScreenInput<'_>, w: ScreenRows<'_>) {
    let (hot, cold, x_scale) = x.numbers();
    let (data, scale, bytes) = w.parts();
    for (n, y) in y.iter_mut().enumerate() {
        let (steps, rest) = data[n * bytes..][..bytes].split_at(cold.len() / SCREEN_GROUP);
        let (whole, nibbles) = rest.split_at(hot.len());
        let products = hot.iter().zip(whole).map(|(&x, &q)| i32::from(x) * i32::from(q.cast_signed()));
        let mut sums = [products.fold(0, i32::wrapping_add), 0];
        for (k, &x) in cold.iter().enumerate() {
            let (block, at) = (k / SCREEN_BLOCK, k % SCREEN_BLOCK);
            let byte = nibbles[block * SCREEN_GROUP + at % SCREEN_GROUP];
            let q = if at < SCREEN_GROUP { byte & 15 } else { byte >> 4 };
            let product = (i32::from(q) - 8) * i32::from(x) * i32::from(steps[k / SCREEN_GROUP].cast_signed());
            sums[1] = sums[1].wrapping_add(product);
        }
        *y = sums[0] as f32 * scale[2 * n] * x_scale[0] + sums[1] as f32 * scale[2 * n + 1] * x_scale[1];
    }
}

/// The mask's one decision. Written as the negation of "not above", so that a NaN is kept, and
/// seen, where a comparison would drop it in silence.
fn kept(x: f32, score: f32, threshold: f32) -> bool {
    let below = x.abs() * score <= threshold;
    !below
}

fn select_into(x: &[f32], score: Option<&[f32]>, threshold: f32, out: &mut [u32]) -> usize {
    let mut count = 0;
    for (k, &x) in x.iter().enumerate() {
        if kept(x, score.map_or(1.0, |score| score[k]), threshold) {
            out[count] = k as u32;
            count += 1;
        }
    }
    count
}

fn mask(y: &mut [f32], x: &[f32], score: Option<&[f32]>, threshold: f32) -> usize {
    let mut count = 0;
    for (k, (y, &x)) in y.iter_mut().zip(x).enumerate() {
        let keep = kept(x, score.map_or(1.0, |score| score[k]), threshold);
        *y = if keep { x } else { 0.0 };
        count += usize::from(keep);
    }
    count
}

fn rms_norm(y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let inverse = inverse_rms(dot(x, x, |x| x), x.len(), eps);
    for ((y, &x), &weight) in y.iter_mut().zip(x).zip(weight) {
        *y = x * inverse * weight;
    }
}

fn layer_norm(y: &mut [f32], x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
    let mut lanes = [0.0; LANES];
    for (k, &x) in x.iter().enumerate() {
        lanes[k % LANES] += x;
    }
    let mean = fold(lanes) / x.len() as f32;
    let mut lanes = [0.0; LANES];
    for (k, &x) in x.iter().enumerate() {
        lanes[k % LANES] = (x - mean).mul_add(x - mean, lanes[k % LANES]);
    }
    let inverse = inverse_rms(fold(lanes), x.len(), eps);
    for (k, y) in y.iter_mut().enumerate() {
        let normed = (x[k] - mean) * inverse * weight[k];
        *y = bias.map_or(normed, |bias| normed + bias[k]);
    }
}

/// `1 / sqrt(sum / n + eps)`.
fn inverse_rms(sum_of_squares: f32, n: usize, eps: f32) -> f32 {
    1.0 / (sum_of_squares / n as f32 + eps).sqrt()
}

fn softmax(x: &mut [f32], scale: f32) {
    let mut largest = f32::NEG_INFINITY;
    for x in x.iter_mut() {
        *x *= scale;
        largest = if *x > largest { *x } else { largest };
    }
    let mut lanes = [0.0; LANES];
    for (k, x) in x.iter_mut().enumerate() {
        *x = exp(*x - largest);
        lanes[k % LANES] += *x;
    }
    let inverse = 1.0 / fold(lanes);
    for x in x {
        *x *= inverse;
    }
}

/// exp, see [`crate::exp`].
fn exp(x: f32) -> f32 {
    let x = if consts::HIGHEST < x { consts::HIGHEST } else { x };
    let x = if consts::LOWEST > x { consts::LOWEST } else { x };
    let z = x.mul_add(std::f32::consts::LOG2_E, consts::MAGIC);
    let n = z - consts::MAGIC;
    let r = n.mul_add(-consts::LN2_HIGH, x);
    let r = n.mul_add(-consts::LN2_LOW, r);
    let mut q = consts::POLYNOMIAL[0];
    for &coefficient in &consts::POLYNOMIAL[1..] {
        q = q.mul_add(r, coefficient);
    }
    let p = q.mul_add(r * r, r) + 1.0;
    // The low bits of z hold n. (For a NaN they hold nothing of use, but p is then a NaN too, and
    // the arithmetic wraps as the vectors' does.)
    let n = z.to_bits().wrapping_sub(consts::MAGIC.to_bits()) as i32;
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `x / (1 + exp(-x))`.
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

fn relu(x: f32) -> f32 {
    if 0.0 > x { 0.0 } else { x }
}

fn gelu_tanh(x: f32) -> f32 {
    x / (1.0 + exp(-(x * (x * x).mul_add(GELU_CUBE, GELU_LINEAR))))
}

fn gelu_erf(x: f32) -> f32 {
    let t = 1.0 / x.abs().mul_add(ERF_P, 1.0);
    let mut p = ERF_POLYNOMIAL[0];
    for &coefficient in &ERF_POLYNOMIAL[1..] {
        p = p.mul_add(t, coefficient);
    }
    let tail = p * t * exp(x * x * -0.5);
    relu(x) - x.abs() * tail
}

fn xielu(x: f32, alpha_p: f32, alpha_n: f32, beta: f32) -> f32 {
    let (above, below) = (relu(x), -relu(-x));
    x.mul_add(beta, above * above * alpha_p + (exp(below) - 1.0 - below) * alpha_n)
}

fn activate(kind: Activation, y: &mut [f32], x: &[f32], up: Option<&[f32]>) {
    for (k, y) in y.iter_mut().enumerate() {
        let x = match kind {
            Activation::Silu => silu(x[k]),
            Activation::GeluTanh => gelu_tanh(x[k]),
            Activation::GeluErf => gelu_erf(x[k]),
            Activation::Relu => relu(x[k]),
            Activation::Relu2 => relu(x[k]) * relu(x[k]),
            Activation::Xielu { alpha_p, alpha_n, beta } => xielu(x[k], alpha_p, alpha_n, beta),
        };
        *y = up.map_or(x, |up| x * up[k]);
    }
}

fn soft_cap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = (1.0 - 2.0 / (exp(*x * (2.0 / cap)) + 1.0)) * cap;
    }
}

fn add(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = x.split_at_mut(cos.len());
    for i in 0..cos.len() {
        (first[i], second[i]) = rotate(first[i], second[i], cos[i], sin[i]);
    }
}

/// `(a + ib)·(cos + i sin)`.
fn rotate(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (a.mul_add(cos, -(b * sin)), b.mul_add(cos, a * sin))
}

fn widen(y: &mut [f32], x: Elems<'_>) {
    each_format!(x, |data, at| for (y, &x) in y.iter_mut().zip(data) {
        *y = at(x);
    })
}

fn narrow_f16(y: &mut [u16], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = f32_to_f16(x);
    }
}

#[cfg(test)]
mod tests {
    use super::{exp, f16_to_f32, f32_to_f16};

    /// Against the crate that the vector code takes: two ways to the same bits.
    #[test]
    fn sixteen_bits_are_those_of_the_standard() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(bits), half::f16::from_bits(bits).to_f32());
            assert!(
                ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()),
                "{bits:#x}: {ours} {theirs}"
            );
            if !ours.is_nan() {
                assert_eq!(f32_to_f16(ours), bits);
            }
        }
        // Every 997th float, and those around the middle between two of 16 bits.
        let middles = (0..0x7c00u16).flat_map(|bits| {
            let middle = (f16_to_f32(bits) + f16_to_f32((bits + 1).min(0x7bff))) / 2.0;
            [middle.to_bits() - u32::from(bits > 0), middle.to_bits(), middle.to_bits() + 1]
        });
        for bits in
            (0..f32::INFINITY.to_bits()).step_by(997).chain(middles).chain([0x477f_efff, 0x477f_f000, 0x7f80_0000])
        {
            for bits in [bits, bits | 1 << 31] {
                let value = f32::from_bits(bits);
                assert_eq!(f32_to_f16(value), half::f16::from_f32(value).to_bits(), "{value}");
            }
        }
        assert!(half::f16::from_bits(f32_to_f16(f32::NAN)).is_nan());
    }

    /// Distance in units of the last place of the exact result, those of subnormals where it is one.
    fn ulps(got: f32, want: f64) -> f64 {
        let exponent = want.abs().log2().floor().max(-126.0);
        (f64::from(got) - want).abs() / (exponent - 23.0).exp2()
    }

    #[test]
    fn exp_is_within_two_ulps() {
        let mut worst = (0.0, 0.0);
        // Every 997th float from -104 to 88.72, of both signs.
        for sign in [0u32, 1 << 31] {
            let end = if sign == 0 { 88.72f32 } else { 104.0 };
            for bits in (0..=end.to_bits()).step_by(997) {
                let x = f32::from_bits(sign | bits);
                let error = ulps(exp(x), f64::from(x).exp());
                worst = if error > worst.0 { (error, x) } else { worst };
            }
        }
        assert!(worst.0 <= 2.0, "{} ulps at {}", worst.0, worst.1);
    }

    #[test]
    fn exp_has_the_right_limits() {
        assert_eq!(exp(0.0).to_bits(), 1.0f32.to_bits());
        assert_eq!(exp(-0.0).to_bits(), 1.0f32.to_bits());
        assert!(exp(f32::NAN).is_nan() && exp(-f32::NAN).is_nan());
        for x in [88.73, 89.0, 1e10, f32::MAX, f32::INFINITY] {
            assert_eq!(exp(x), f32::INFINITY, "{x}");
        }
        assert!(exp(88.72).is_finite());
        for x in [-104.0, -105.0, -1e10, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x).to_bits(), 0, "{x}");
        }
        assert!(exp(-103.0) > 0.0, "a subnormal, not yet zero");
    }
}
