//! The truth for weights in whole numbers.

use super::dot;
use crate::{MatMut, NARROW, QUANT_GROUP, QuantType, Quantized, QuantizedRef, QuantizedRows, WIDE, scale_and_min};

/// Lanes of a row-form sum of whole numbers: each takes two neighbours of a group.
pub(crate) const PAIR_LANES: usize = QUANT_GROUP / 2;

/// From which magnitude on a group is wide: `wide_from` times the root mean square of `n` elements.
#[inline(always)]
pub(crate) fn widest(sum_of_squares: f32, n: usize, wide_from: f32) -> f32 {
    wide_from * (sum_of_squares / n as f32).sqrt()
}

/// For the largest magnitude of a group, as bits, and from which on it is wide: what its values are multiplied by to become
/// whole numbers, and the scale that takes that back. A group with a NaN or an infinity becomes NaNs. One whose largest
/// value is so small that the factor would overflow (below 1e-34) becomes zeros.
#[inline(always)]
pub(crate) fn factors(largest: u32, widest: f32) -> (f32, f32) {
    if largest >= f32::INFINITY.to_bits() {
        return (0.0, f32::NAN);
    }
    let largest = f32::from_bits(largest);
    // Where squares overflow nothing compares, and all is wide.
    let narrow = largest <= widest;
    let limit = f32::from(if narrow { NARROW } else { WIDE });
    let factor = limit / largest;
    if factor < f32::INFINITY { (factor, largest / limit) } else { (0.0, 0.0) }
}

pub(super) fn quantize(whole: &mut [i16], scale: &mut [f32], x: &[f32], wide_from: f32) {
    let widest = widest(dot(x, x, |x| x), x.len(), wide_from);
    for ((whole, scale), x) in whole.chunks_mut(QUANT_GROUP).zip(scale).zip(x.chunks(QUANT_GROUP)) {
        let largest = x.iter().map(|x| x.abs().to_bits()).max().unwrap_or(0);
        let factor;
        (factor, *scale) = factors(largest, widest);
        for (whole, &x) in whole.iter_mut().zip(x) {
            *whole = if factor == 0.0 { 0 } else { (x * factor).round_ties_even() as i16 };
        }
    }
}

/// The whole number in column `c` of a row.
fn at(w: &Quantized<'_>, k: usize, c: usize) -> i32 {
    let row = w.row(k);
    match w.quant() {
        QuantType::Q8 => i32::from(row[c].cast_signed()),
        QuantType::Q4 | QuantType::Q4s => {
            let byte = row[c / 32 * 16 + c % 16];
            i32::from(if c % 32 < 16 { byte & 15 } else { byte >> 4 })
        }
    }
}

/// The channels `channels` of group `g`.
fn group(y: &mut [f32], (x, x_scale): (&[i16], &[f32]), g: usize, channels: &[usize], w: &Quantized<'_>) {
    let (scale, min) = (w.scale(g), w.min(g));
    let total: i32 = channels.iter().map(|&k| i32::from(x[k])).sum();
    for (c, y) in y.iter_mut().enumerate() {
        let sum: i32 = channels.iter().map(|&k| i32::from(x[k]) * at(w, k, c)).sum();
        let (scale, min) = match w.quant() {
            QuantType::Q8 => (super::f16_to_f32(scale[c]), None),
            QuantType::Q4 => (super::f16_to_f32(scale[c]), Some(super::f16_to_f32(min[c]))),
            QuantType::Q4s => {
                let (scale, min) = scale_and_min(scale[c]);
                (scale, Some(min))
            }
        };
        *y = (x_scale[g] * scale).mul_add(sum as f32, *y);
        if let Some(min) = min {
            *y = min.mul_add(x_scale[g] * total as f32, *y);
        }
    }
}

pub(super) fn gemv_q(
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    active: Option<&[u32]>,
    w: Quantized<'_>,
    _: bool,
) -> usize {
    let mut read = 0;
    for g in 0..w.groups() {
        let kept = |k: &usize| active.is_none_or(|active| active.binary_search(&(*k as u32)).is_ok());
        let mut channels = [0; QUANT_GROUP];
        let mut len = 0;
        for k in (g * QUANT_GROUP..(g + 1) * QUANT_GROUP).filter(kept) {
            channels[len] = k;
            len += 1;
        }
        if len > 0 {
            group(y, (x, x_scale), g, &channels[..len], &w);
            read += 1;
        }
    }
    read
}

pub(super) fn gemm_q(mut y: MatMut<'_>, x: QuantizedRef<'_>, w: Quantized<'_>, far: bool) {
    for m in 0..x.rows() {
        let (whole, scale) = x.row(m);
        gemv_q(y.row_mut(m), whole, scale, None, w, far);
    }
}

pub(super) fn dot_rows_q(y: &mut [f32], x: &[i16], x_scale: &[f32], w: QuantizedRows<'_>) {
    for (n, y) in y.iter_mut().enumerate() {
        let (whole, scale) = w.row(n);
        let mut lanes = [0.0f32; PAIR_LANES];
        for g in 0..scale.len() {
            let factor = x_scale[g] * super::f16_to_f32(scale[g]);
            for (l, lane) in lanes.iter_mut().enumerate() {
                let k = g * QUANT_GROUP + 2 * l;
                let pair = i32::from(x[k]) * i32::from(whole[k]) + i32::from(x[k + 1]) * i32::from(whole[k + 1]);
                *lane = factor.mul_add(pair as f32, *lane);
            }
        }
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        *y = lanes[0];
    }
}

pub(super) fn dot_rows_many_q(mut y: MatMut<'_>, x: QuantizedRef<'_>, w: QuantizedRows<'_>) {
    for m in 0..x.rows() {
        let (whole, scale) = x.row(m);
        dot_rows_q(y.row_mut(m), whole, scale, w);
    }
}
