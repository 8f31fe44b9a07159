//! The truth for weights in whole numbers.

use super::{dot, power_of_two};
use crate::{
    Active, MatMut, NARROW, PackedGroup, QUANT_GROUP, QuantType, Quantized, QuantizedRef, QuantizedRows, WIDE,
    packed::{Activations, Inputs},
    prefetch::Prefetch,
};

/// Lanes of a row-form sum of whole numbers: each takes two neighbours of a group.
const PAIR_LANES: usize = QUANT_GROUP / 2;

pub(super) fn quantize(whole: &mut [i16], scale: &mut [f32], x: &[f32], wide_from: f32) {
    let widest = wide_from * (dot(x, x, |x| x) / x.len() as f32).sqrt();
    for ((whole, scale), x) in whole.chunks_mut(QUANT_GROUP).zip(scale).zip(x.chunks(QUANT_GROUP)) {
        whole.fill(0);
        if x.iter().any(|x| !x.is_finite()) {
            *scale = f32::NAN;
            continue;
        }
        let largest = x.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
        // Where squares overflow nothing compares, and all is wide.
        let limit = f32::from(if largest <= widest { NARROW } else { WIDE });
        // Nothing stands for values so small that what they are multiplied by would overflow.
        let factor = limit / largest;
        *scale = if factor.is_finite() { largest / limit } else { 0.0 };
        if factor.is_finite() {
            whole.iter_mut().zip(x).for_each(|(whole, &x)| *whole = (x * factor).round_ties_even() as i16);
        }
    }
}

/// Scale and minimum of [`QuantType::Q4s`] by its definition: 5 bits of exponent, 5 of mantissa, 6 of offset.
fn small_scale_and_min(bits: u16) -> (f32, f32) {
    let (exponent, mantissa, offset) = (i32::from(bits >> 11), f32::from(bits >> 6 & 31), f32::from(bits & 63));
    let scale = power_of_two(exponent - 20) * (1.0 + mantissa / 32.0);
    (scale, -scale * offset / 4.0)
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

/// The channels `channels` of group `g`, whose inputs `x` gives, and whose scale is `x_scale`.
fn group(y: &mut [f32], x: impl Fn(usize) -> i32, x_scale: f32, g: usize, channels: &[usize], w: &Quantized<'_>) {
    let (scale, min) = (w.scale(g), w.min(g));
    let total: i32 = channels.iter().map(|&k| x(k)).sum();
    for (c, y) in y.iter_mut().enumerate() {
        let sum: i32 = channels.iter().map(|&k| x(k) * at(w, k, c)).sum();
        let (scale, min) = match w.quant() {
            QuantType::Q8 => (super::f16_to_f32(scale[c]), None),
            QuantType::Q4 => (super::f16_to_f32(scale[c]), Some(super::f16_to_f32(min[c]))),
            QuantType::Q4s => {
                let (scale, min) = small_scale_and_min(scale[c]);
                (scale, Some(min))
            }
        };
        *y = (x_scale * scale).mul_add(sum as f32, *y);
        if let Some(min) = min {
            *y = min.mul_add(x_scale * total as f32, *y);
        }
    }
}

pub(super) fn gemv_quantized(
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    active: Option<Active<'_>>,
    w: Quantized<'_>,
    _: Prefetch,
) -> usize {
    let mut read = 0;
    for (g, &x_scale) in x_scale.iter().enumerate() {
        let kept = |k: &usize| active.is_none_or(|active| active.as_slice().binary_search(&(*k as u32)).is_ok());
        let mut channels = [0; QUANT_GROUP];
        let mut len = 0;
        for k in (g * QUANT_GROUP..(g + 1) * QUANT_GROUP).filter(kept) {
            channels[len] = k;
            len += 1;
        }
        if len > 0 {
            group(y, |k| i32::from(x[k]), x_scale, g, &channels[..len], &w);
            read += 1;
        }
    }
    read
}

pub(super) fn pack(packed: &mut [PackedGroup], x: QuantizedRef<'_>) {
    for (g, packed) in packed.iter_mut().enumerate() {
        packed.begin(x.rows());
        for m in 0..x.rows() {
            let (whole, scale) = x.row(m);
            let whole = whole[g * QUANT_GROUP..].first_chunk().expect("whole groups");
            packed.put(m, Inputs::new(whole), scale[g]);
        }
    }
}

pub(super) fn gemm_quantized(mut y: MatMut<'_>, x: Activations<'_>, w: Quantized<'_>, prefetch: Prefetch) {
    for m in 0..x.rows() {
        match x {
            Activations::Rows(x) => _ = gemv_quantized(y.row_mut(m), x.row(m).0, x.row(m).1, None, w, prefetch),
            Activations::Packed(packed) => {
                for (g, packed) in packed.iter().enumerate() {
                    let channels: [usize; QUANT_GROUP] = std::array::from_fn(|k| g * QUANT_GROUP + k);
                    let x = |k: usize| {
                        let limb = packed.inputs[m].limb;
                        let [low, high] = limb.map(|limb| limb[k % QUANT_GROUP / 4].to_le_bytes()[k % 4] as i8);
                        128 * i32::from(high) + i32::from(low)
                    };
                    group(y.row_mut(m), x, packed.factors[m][0], g, &channels, &w);
                }
            }
        }
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

pub(super) fn dot_rows_sparse_q(y: &mut [f32], x: &[i16], x_scale: &[f32], active: Active<'_>, w: QuantizedRows<'_>) {
    for (y, &n) in y.iter_mut().zip(active.as_slice()) {
        dot_rows_q(std::slice::from_mut(y), x, x_scale, w.row_range(n as usize..n as usize + 1));
    }
}
