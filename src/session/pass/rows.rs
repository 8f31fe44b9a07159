//! What is done to each token by itself: norms, rotation, keys and values into the cache.

use super::context::{Pass, Row};
use super::shared::{SharedSlice, share};
use crate::Result;
use crate::format::Config;
use crate::model::{Layer, Model, Norm, QkNorm, QkNormOver};
use std::ops::Range;

impl Pass<'_, '_> {
    pub(super) fn norm(&mut self, norm: &Norm, y: &mut [f32], x: &[f32]) -> Result<()> {
        let (kernels, h, rows, parts) = (self.kernels, norm.gain().len(), self.rows, self.work.parts());
        if rows == 1 {
            // Cheaper than a fork, and than remembering that it is done.
            norm.apply(kernels, &mut y[..h], &x[..h], 0..h);
            return Ok(());
        }
        let y = SharedSlice::new(y);
        self.work.small(&|part| {
            for row in share(rows, 1, parts, part) {
                let span = row * h..(row + 1) * h;
                // SAFETY: shares of different parts do not overlap.
                norm.apply(kernels, unsafe { y.slice(span.clone()) }, &x[span], 0..h);
            }
        })
    }

    /// Queries, keys and values held between minus `most` and `most`.
    pub(super) fn clip(&self, config: &Config, most: f32, qkv: &mut [f32]) {
        let width = config.q_dim() + 2 * config.kv_dim();
        qkv[..self.rows * width].iter_mut().for_each(|x| *x = x.clamp(-most, most));
    }

    /// Queries and keys normed in place; `scratch` takes a token's queries.
    pub(super) fn head_norm(&self, model: &Model, layer: &Layer, norm: QkNorm, qkv: &mut [f32], scratch: &mut [f32]) {
        let (config, Some(norms)) = (model.config(), layer.qk_norm()) else { return };
        let (q, kv) = (config.q_dim(), config.kv_dim());
        for row in qkv.chunks_exact_mut(q + 2 * kv).take(self.rows) {
            let (queries, rest) = row.split_at_mut(q);
            for (x, own) in [queries, &mut rest[..kv]].into_iter().zip(norms) {
                let width = match norm.over {
                    QkNormOver::Head => config.head_dim,
                    QkNormOver::Vector => x.len(),
                };
                let y = &mut scratch[..x.len()];
                y.copy_from_slice(x);
                for (n, (x, y)) in x.chunks_exact_mut(width).zip(y.chunks_exact(width)).enumerate() {
                    own.apply(self.kernels, x, y, n * width..(n + 1) * width);
                }
            }
        }
    }

    /// Queries and keys turned in place by a token's angles, of which a table has `batch` times half a head.
    pub(super) fn rotate(&self, config: &Config, table: usize, qkv: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (q, kv) = (config.q_dim(), config.kv_dim());
        for (row, qkv) in qkv.chunks_exact_mut(q + 2 * kv).take(self.rows).enumerate() {
            let angles = angles(table, row, self.batch, config.head_dim / 2);
            let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
            qkv[..q + kv].chunks_exact_mut(config.head_dim).for_each(|head| self.kernels.rope(head, cos, sin));
        }
    }

    /// Keys and values of the pass's tokens into their texts' caches.
    pub(super) fn store(&mut self, config: &Config, layer: usize, qkv: &[f32]) {
        let (q, kv) = (config.q_dim(), config.kv_dim());
        for (row, qkv) in qkv.chunks_exact(q + 2 * kv).take(self.rows).enumerate() {
            let Row { seq, token } = self.row(row);
            let (key, value) = qkv[q..].split_at(kv);
            if let Some(Some(seq)) = self.seqs.get_mut(seq)
                && seq.stores
            {
                seq.kv.put(self.kernels, layer, seq.position + token, key, value);
            }
        }
    }
}

/// Where the angles of a token lie, of which a table has `batch`.
pub(super) fn angles(table: usize, row: usize, batch: usize, half: usize) -> Range<usize> {
    (table * batch + row) * half..(table * batch + row + 1) * half
}

/// Angles are computed in f64: at position 100 000 an f32 product would be off by hundredths of a radian.
/// What turns is multiplied by `gain`.
pub(crate) fn rope_table(inv_freq: &[f32], gain: f32, position: usize, cos: &mut [f32], sin: &mut [f32]) {
    for ((&frequency, cos), sin) in inv_freq.iter().zip(cos).zip(sin) {
        let (s, c) = (position as f64 * f64::from(frequency)).sin_cos();
        let gain = if frequency == 0.0 { 1.0 } else { f64::from(gain) };
        (*cos, *sin) = ((c * gain) as f32, (s * gain) as f32);
    }
}
