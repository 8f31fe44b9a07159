//! Keys and values of the tokens so far, laid out so that attention is made of the engine's one matrix product.
//!
//! Keys lie in blocks of 32 positions, each block `[head_dim, 32]`: scores of 32 positions are a column-form product of
//! the query with the block, without a horizontal sum. Values lie `[positions, head_dim]`: their weighted sum is a
//! column-form product as well.

use crate::arena::{Buf, Cutter, Part};
use crate::format::Config;
use rasp_kernels::{Elems, Kernels, Matrix};
use std::ops::Range;

/// Positions in a block of keys.
pub(crate) const KEY_BLOCK: usize = 32;

/// Element type of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KvType {
    /// Half the memory and traffic of f32; rounding is far below that of the weights.
    #[default]
    F16,
    /// Exact.
    F32,
    /// A quarter of f32: 8 bits, with a scale for each head and position.
    I8,
}

impl KvType {
    /// All of them.
    pub const ALL: [KvType; 3] = [KvType::F16, KvType::F32, KvType::I8];

    /// `f16`, `f32` or `i8`.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F16 => "f16",
            KvType::F32 => "f32",
            KvType::I8 => "i8",
        }
    }
}

enum Store {
    F16(Buf<u16>),
    F32(Buf<f32>),
    /// The scales: `[layers, kv_heads, capacity]`
    I8(Buf<i8>, Buf<f32>),
}

impl Store {
    fn elems(&self, range: Range<usize>) -> Elems<'_> {
        match self {
            Store::F16(data) => Elems::F16(&data[range]),
            Store::F32(data) => Elems::F32(&data[range]),
            Store::I8(data, _) => Elems::I8(&data[range]),
        }
    }
}

pub(crate) struct KvCache {
    num_kv_heads: usize,
    head_dim: usize,
    /// Positions there is room for, a multiple of [`KEY_BLOCK`].
    capacity: usize,
    /// `[layers, kv_heads, capacity / 32, head_dim, 32]`
    keys: Store,
    /// `[layers, kv_heads, capacity, head_dim]`
    values: Store,
    /// One head's row on its way into a store: `[head_dim]`
    narrow: Buf<u16>,
    whole: Buf<i8>,
}

impl KvCache {
    pub(crate) fn cut(cutter: &mut Cutter, config: &Config, kv_type: KvType, context: usize) -> KvCache {
        let capacity = context.next_multiple_of(KEY_BLOCK);
        // A product beyond the address space saturates, and the arena then refuses it.
        let size = config.num_layers.saturating_mul(config.kv_dim()).saturating_mul(capacity);
        cutter.part(Part::KvCache);
        // Not zeroed in the host's memory: what stands at a position is written when its token passes. Scores of
        // positions beyond are computed along with their block, whatever lies there, and thrown away.
        let mut store = || match kv_type {
            KvType::F16 => Store::F16(cutter.take_any(size)),
            KvType::F32 => Store::F32(cutter.take_any(size)),
            KvType::I8 => Store::I8(cutter.take_any(size), cutter.take_any(size / config.head_dim)),
        };
        let (keys, values) = (store(), store());
        KvCache {
            num_kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            capacity,
            keys,
            values,
            narrow: cutter.take(config.head_dim),
            whole: cutter.take(config.head_dim),
        }
    }

    /// Where the keys or values of one head of one layer begin.
    fn head_start(&self, layer: usize, head: usize) -> usize {
        (layer * self.num_kv_heads + head) * self.capacity * self.head_dim
    }

    /// Stores the key and value (`[kv_heads · head_dim]` each) of `position` in `layer`.
    pub(crate) fn put(&mut self, kernels: Kernels, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        let dim = self.head_dim;
        for head in 0..self.num_kv_heads {
            let start = self.head_start(layer, head);
            let key = &key[head * dim..][..dim];
            let value = &value[head * dim..][..dim];
            let block = start + position / KEY_BLOCK * KEY_BLOCK * dim + position % KEY_BLOCK;
            match &mut self.keys {
                Store::F16(keys) => {
                    kernels.narrow_f16(&mut self.narrow, key);
                    let column = keys[block..].iter_mut().step_by(KEY_BLOCK);
                    column.zip(self.narrow.iter()).for_each(|(slot, &k)| *slot = k);
                }
                Store::F32(keys) => {
                    let column = keys[block..].iter_mut().step_by(KEY_BLOCK);
                    column.zip(key).for_each(|(slot, &k)| *slot = k);
                }
                Store::I8(keys, scales) => {
                    scales[start / dim + position] = round(&mut self.whole, key);
                    let column = keys[block..].iter_mut().step_by(KEY_BLOCK);
                    column.zip(self.whole.iter()).for_each(|(slot, &k)| *slot = k);
                }
            }
            let row = start + position * dim;
            match &mut self.values {
                Store::F16(values) => kernels.narrow_f16(&mut values[row..row + dim], value),
                Store::F32(values) => values[row..row + dim].copy_from_slice(value),
                Store::I8(values, scales) => {
                    scales[start / dim + position] = round(&mut values[row..row + dim], value);
                }
            }
        }
    }

    /// Keys of the 32 positions from `32 · block`: `[head_dim, 32]`.
    pub(crate) fn key_block(&self, layer: usize, head: usize, block: usize) -> Matrix<'_> {
        let size = KEY_BLOCK * self.head_dim;
        let start = self.head_start(layer, head) + block * size;
        dense(self.keys.elems(start..start + size), self.head_dim, KEY_BLOCK)
    }

    /// What the scores of the first `len` positions, and their weights in the sum of values, are to be multiplied by.
    pub(crate) fn scales(&self, layer: usize, head: usize, len: usize) -> Option<(&[f32], &[f32])> {
        let start = self.head_start(layer, head) / self.head_dim;
        match (&self.keys, &self.values) {
            (Store::I8(_, keys), Store::I8(_, values)) => {
                Some((&keys[start..start + len], &values[start..start + len]))
            }
            _ => None,
        }
    }

    /// Values of the first `len` positions: `[len, head_dim]`.
    pub(crate) fn values(&self, layer: usize, head: usize, len: usize) -> Matrix<'_> {
        let start = self.head_start(layer, head);
        dense(self.values.elems(start..start + len * self.head_dim), len, self.head_dim)
    }
}

/// Rounds a head's row to whole numbers; returns the value of 1. A row that is not finite gets a scale that is not.
fn round(whole: &mut [i8], row: &[f32]) -> f32 {
    let largest = f32::from_bits(row.iter().fold(0, |largest, x| x.abs().to_bits().max(largest)));
    let scale = largest / 127.0;
    let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (whole, x) in whole.iter_mut().zip(row) {
        *whole = (x * factor).round_ties_even() as i8;
    }
    scale
}

fn dense(elems: Elems<'_>, rows: usize, cols: usize) -> Matrix<'_> {
    Matrix::new(elems, rows, cols, cols).expect("cut to this size")
}
