//! Causal attention and its gradient.

use super::matrix::{Mat, small_product};
use rasp::format::Config;
use rasp::model::Attention;
use rasp_kernels::Kernels;
use rayon::prelude::*;

/// The shape of attention: queries, keys and values lie side by side in rows of `Q + 2K`.
pub(crate) struct Heads<'a> {
    pub(crate) config: &'a Config,
    pub(crate) kind: Attention,
}

/// Turns queries and keys by their position (RoFormer, arXiv:2104.09864), or back with `sign` -1, which is the
/// gradient's way; what turns is multiplied by `gain` either way. `inv_freq`: `[head_dim / 2]`
pub(crate) fn rotate(config: &Config, inv_freq: &[f32], gain: f32, qkv: &mut Mat, sign: f64) {
    let (dim, half) = (config.head_dim, config.head_dim / 2);
    let turned = config.q_dim() + config.kv_dim();
    for position in 0..qkv.rows() {
        let angle = |&frequency: &f32| {
            let (sin, cos) = (sign * position as f64 * f64::from(frequency)).sin_cos();
            let gain = if frequency == 0.0 { 1.0 } else { f64::from(gain) };
            (sin * gain, cos * gain)
        };
        let angles: Vec<(f64, f64)> = inv_freq.iter().map(angle).collect();
        for head in qkv.row_mut(position)[..turned].chunks_exact_mut(dim) {
            for (i, &(sin, cos)) in angles.iter().enumerate() {
                let (a, b) = (head[i], head[i + half]);
                head[i] = a * cos as f32 - b * sin as f32;
                head[i + half] = b * cos as f32 + a * sin as f32;
            }
        }
    }
}

impl Heads<'_> {
    fn scale(&self) -> f32 {
        self.kind.scale.unwrap_or(1.0 / (self.config.head_dim as f32).sqrt())
    }

    /// The first position that a token sees.
    fn first(&self, position: usize) -> usize {
        self.kind.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// Columns of a query head, of its key, and of its value.
    fn columns(&self, head: usize) -> (usize, usize, usize) {
        let (q, kv, dim) = (self.config.q_dim(), self.config.kv_dim(), self.config.head_dim);
        let shared = head / (self.config.num_heads / self.config.num_kv_heads);
        (head * dim, q + shared * dim, q + kv + shared * dim)
    }

    /// `softmax(scale · q Kᵀ)` of one head, causal: `[tokens, tokens]`; and what the gradient by each score that goes
    /// into the softmax is to be multiplied by to be that by `q Kᵀ`, where it is not the scale alone.
    fn weights(&self, qkv: &Mat, head: usize) -> (Mat, Option<Mat>) {
        let (q, k, _) = self.columns(head);
        let dim = self.config.head_dim;
        let mut p = small_product(qkv.columns(q, dim), qkv.columns(k, dim).transpose());
        let (kernels, scale) = (Kernels::best(), self.scale());
        let slopes = self.kind.soft_cap.map(|cap| {
            p.data_mut().iter_mut().for_each(|score| *score *= scale);
            kernels.soft_cap(p.data_mut(), cap);
            let mut slopes = p.clone();
            slopes.data_mut().iter_mut().for_each(|score| *score = scale * (1.0 - (*score / cap) * (*score / cap)));
            slopes
        });
        let scale = if slopes.is_some() { 1.0 } else { scale };
        for row in 0..p.rows() {
            let (seen, unseen) = p.row_mut(row).split_at_mut(row + 1);
            let (before, seen) = seen.split_at_mut(self.first(row));
            kernels.softmax(seen, scale);
            before.fill(0.0);
            unseen.fill(0.0);
        }
        (p, slopes)
    }

    /// What `one` makes of each head, in order; heads are shared out among threads.
    fn each_head<T: Send>(&self, one: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        (0..self.config.num_heads).into_par_iter().map(one).collect()
    }

    /// The heads' outputs side by side, `[tokens, Q]`, from turned queries and keys.
    pub(crate) fn forward(&self, qkv: &Mat) -> Mat {
        let dim = self.config.head_dim;
        let outputs = self.each_head(|head| {
            let (_, _, v) = self.columns(head);
            small_product(self.weights(qkv, head).0.view(), qkv.columns(v, dim))
        });
        let mut out = Mat::zeros(qkv.rows(), self.config.q_dim());
        outputs.iter().enumerate().for_each(|(head, y)| out.add_to_columns(head * dim, y));
        out
    }

    /// The gradient by turned queries, keys and values, from `dout` by the heads' outputs.
    pub(crate) fn backward(&self, qkv: &Mat, dout: &Mat) -> Mat {
        let dim = self.config.head_dim;
        let scale = self.scale();
        let gradients = self.each_head(|head| {
            let (q, k, v) = self.columns(head);
            let (p, slopes) = self.weights(qkv, head);
            let dout = dout.columns(q, dim);
            let dv = small_product(p.view().transpose(), dout);
            let mut ds = small_product(dout, qkv.columns(v, dim).transpose());
            // Through the softmax: dS = P ∘ (dP − Σ dP∘P).
            for row in 0..p.rows() {
                let (p, ds) = (p.row(row), ds.row_mut(row));
                let mean: f32 = p.iter().zip(&*ds).map(|(p, ds)| p * ds).sum();
                match &slopes {
                    None => ds.iter_mut().zip(p).for_each(|(ds, p)| *ds = p * (*ds - mean) * scale),
                    Some(slopes) => {
                        let each = ds.iter_mut().zip(p).zip(slopes.row(row));
                        each.for_each(|((ds, p), slope)| *ds = p * (*ds - mean) * slope);
                    }
                }
            }
            let dq = small_product(ds.view(), qkv.columns(k, dim));
            let dk = small_product(ds.view().transpose(), qkv.columns(q, dim));
            [dq, dk, dv]
        });
        let mut d = Mat::zeros(qkv.rows(), qkv.cols());
        for (head, [dq, dk, dv]) in gradients.iter().enumerate() {
            let (q, k, v) = self.columns(head);
            // Several queries share a key and its value.
            [(q, dq), (k, dk), (v, dv)].into_iter().for_each(|(from, y)| d.add_to_columns(from, y));
        }
        d
    }
}
