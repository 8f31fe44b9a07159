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

    /// Its elements as bytes, and the bytes of one; then those of its scales.
    fn bytes(&self) -> [(&[u8], usize); 2] {
        match self {
            Store::F16(data) => [(data.bytes(), 2), (&[], 4)],
            Store::F32(data) => [(data.bytes(), 4), (&[], 4)],
            Store::I8(data, scales) => [(data.bytes(), 1), (scales.bytes(), 4)],
        }
    }

    fn bytes_mut(&mut self) -> [(&mut [u8], usize); 2] {
        match self {
            Store::F16(data) => [(data.bytes_mut(), 2), (&mut [], 4)],
            Store::F32(data) => [(data.bytes_mut(), 4), (&mut [], 4)],
            Store::I8(data, scales) => [(data.bytes_mut(), 1), (scales.bytes_mut(), 4)],
        }
    }
}

/// How the elements of a head lie.
#[derive(Clone, Copy)]
enum Order {
    /// `[capacity / 32, head_dim, 32]`
    Keys,
    /// `[capacity, head_dim]`
    Values,
    /// `[capacity]`
    Scales,
}

pub(crate) struct KvCache {
    shape: Shape,
    /// `[layers, kv_heads, capacity / 32, head_dim, 32]`
    keys: Store,
    /// `[layers, kv_heads, capacity, head_dim]`
    values: Store,
    /// One head's row on its way into a store: `[head_dim]`
    narrow: Buf<u16>,
    whole: Buf<i8>,
    /// And on its way out of one.
    wide: Buf<f32>,
}

#[derive(Clone, Copy)]
struct Shape {
    num_layers: usize,
    num_kv_heads: usize,
    head_dim: usize,
    /// Positions there is room for, a multiple of [`KEY_BLOCK`].
    capacity: usize,
}

impl Shape {
    /// Where the keys or values of one head of one layer begin.
    fn head_start(&self, layer: usize, head: usize) -> usize {
        (layer * self.num_kv_heads + head) * self.capacity * self.head_dim
    }

    /// The elements of the first `positions`, head by head, in stretches that do not depend on the capacity.
    fn runs(self, order: Order, positions: usize) -> impl Iterator<Item = Range<usize>> {
        let width = if let Order::Scales = order { 1 } else { self.head_dim };
        // Of keys' last block, a part of every row.
        let rest = if let Order::Keys = order { positions % KEY_BLOCK } else { 0 };
        let rows = if rest > 0 { self.head_dim } else { 0 };
        (0..self.num_layers * self.num_kv_heads).flat_map(move |head| {
            let start = head * self.capacity * width;
            let last = start + (positions - rest) * width;
            let parts = (0..rows).map(move |row| last + row * KEY_BLOCK..last + row * KEY_BLOCK + rest);
            std::iter::once(start..last).chain(parts)
        })
    }
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
            shape: Shape {
                num_layers: config.num_layers,
                num_kv_heads: config.num_kv_heads,
                head_dim: config.head_dim,
                capacity,
            },
            keys,
            values,
            narrow: cutter.take(config.head_dim),
            whole: cutter.take(config.head_dim),
            wide: cutter.take(config.head_dim),
        }
    }

    /// Stores the key and value (`[kv_heads · head_dim]` each) of `position` in `layer`.
    pub(crate) fn put(&mut self, kernels: Kernels, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        let dim = self.shape.head_dim;
        for head in 0..self.shape.num_kv_heads {
            let start = self.shape.head_start(layer, head);
            self.put_key(kernels, start, position, &key[head * dim..][..dim]);
            let value = &value[head * dim..][..dim];
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

    /// Stores the key (`[head_dim]`) of `position` of the head that begins at `start`.
    fn put_key(&mut self, kernels: Kernels, start: usize, position: usize, key: &[f32]) {
        let block = key_at(start, self.shape.head_dim, position);
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
                scales[start / self.shape.head_dim + position] = round(&mut self.whole, key);
                let column = keys[block..].iter_mut().step_by(KEY_BLOCK);
                column.zip(self.whole.iter()).for_each(|(slot, &k)| *slot = k);
            }
        }
    }

    /// The key of `position` of the head that begins at `start`, into `key`.
    fn key(&mut self, kernels: Kernels, start: usize, position: usize, key: &mut [f32]) {
        let block = key_at(start, self.shape.head_dim, position);
        match &self.keys {
            Store::F16(keys) => {
                let column = keys[block..].iter().step_by(KEY_BLOCK);
                self.narrow.iter_mut().zip(column).for_each(|(k, &slot)| *k = slot);
                kernels.widen(key, Elems::F16(&self.narrow));
            }
            Store::F32(keys) => {
                let column = keys[block..].iter().step_by(KEY_BLOCK);
                key.iter_mut().zip(column).for_each(|(k, &slot)| *k = slot);
            }
            Store::I8(keys, scales) => {
                let scale = scales[start / self.shape.head_dim + position];
                let column = keys[block..].iter().step_by(KEY_BLOCK);
                key.iter_mut().zip(column).for_each(|(k, &slot)| *k = f32::from(slot) * scale);
            }
        }
    }

    /// Forgets these positions of a layer: those after them, up to `len`, move into their place, and `turn` turns the
    /// key of a head back by the distance. (A rotation by `p` and then by `-d` is one by `p - d`; but a key that is not f32
    /// is rounded once more.)
    pub(crate) fn shift(
        &mut self,
        kernels: Kernels,
        layer: usize,
        gap: Range<usize>,
        len: usize,
        turn: impl Fn(usize, &mut [f32]),
    ) {
        let (keep, discard) = (gap.start, gap.len());
        let Shape { num_kv_heads, head_dim: dim, .. } = self.shape;
        for head in 0..num_kv_heads {
            let start = self.shape.head_start(layer, head);
            for position in keep + discard..len {
                let mut key = std::mem::replace(&mut self.wide, Buf::empty());
                self.key(kernels, start, position, &mut key);
                turn(head, &mut key);
                self.put_key(kernels, start, position - discard, &key);
                self.wide = key;
            }
            let from = |width: usize| (keep + discard) * width..len * width;
            let rows = from(dim).start + start..from(dim).end + start;
            let to = start + keep * dim;
            match &mut self.values {
                Store::F16(values) => values.copy_within(rows, to),
                Store::F32(values) => values.copy_within(rows, to),
                Store::I8(values, scales) => {
                    values.copy_within(rows, to);
                    let start = start / dim;
                    scales.copy_within(from(1).start + start..from(1).end + start, start + keep);
                }
            }
        }
    }

    /// Bytes of the first `positions`.
    pub(crate) fn bytes_of(&self, positions: usize) -> usize {
        let Shape { num_layers, num_kv_heads, head_dim, .. } = self.shape;
        let row = match self.keys {
            Store::F16(_) => 2 * head_dim,
            Store::F32(_) => 4 * head_dim,
            Store::I8(..) => head_dim + size_of::<f32>(),
        };
        2 * row * positions * num_layers * num_kv_heads
    }

    /// The bytes of the first `positions`, in stretches: the same ones for every capacity.
    pub(crate) fn stretches(&self, positions: usize) -> impl Iterator<Item = &[u8]> {
        let shape = self.shape;
        let [[keys, key_scales], [values, value_scales]] = [self.keys.bytes(), self.values.bytes()];
        let parts =
            [(keys, Order::Keys), (key_scales, Order::Scales), (values, Order::Values), (value_scales, Order::Scales)];
        parts.into_iter().filter(|((bytes, _), _)| !bytes.is_empty()).flat_map(move |((bytes, size), order)| {
            shape.runs(order, positions).map(move |run| &bytes[run.start * size..run.end * size])
        })
    }

    /// Calls `fill` with the same stretches, to be written.
    pub(crate) fn fill_stretches(&mut self, positions: usize, mut fill: impl FnMut(&mut [u8])) {
        let shape = self.shape;
        let [[keys, key_scales], [values, value_scales]] = [self.keys.bytes_mut(), self.values.bytes_mut()];
        let parts =
            [(keys, Order::Keys), (key_scales, Order::Scales), (values, Order::Values), (value_scales, Order::Scales)];
        for ((bytes, size), order) in parts.into_iter().filter(|((bytes, _), _)| !bytes.is_empty()) {
            shape.runs(order, positions).for_each(|run| fill(&mut bytes[run.start * size..run.end * size]));
        }
    }

    /// Keys of the 32 positions from `32 · block`: `[head_dim, 32]`.
    pub(crate) fn key_block(&self, layer: usize, head: usize, block: usize) -> Matrix<'_> {
        let size = KEY_BLOCK * self.shape.head_dim;
        let start = self.shape.head_start(layer, head) + block * size;
        dense(self.keys.elems(start..start + size), self.shape.head_dim, KEY_BLOCK)
    }

    /// What the scores of the first `len` positions, and their weights in the sum of values, are to be multiplied by.
    pub(crate) fn scales(&self, layer: usize, head: usize, len: usize) -> Option<(&[f32], &[f32])> {
        let start = self.shape.head_start(layer, head) / self.shape.head_dim;
        match (&self.keys, &self.values) {
            (Store::I8(_, keys), Store::I8(_, values)) => {
                Some((&keys[start..start + len], &values[start..start + len]))
            }
            _ => None,
        }
    }

    /// Values of the first `len` positions: `[len, head_dim]`.
    pub(crate) fn values(&self, layer: usize, head: usize, len: usize) -> Matrix<'_> {
        let start = self.shape.head_start(layer, head);
        dense(self.values.elems(start..start + len * self.shape.head_dim), len, self.shape.head_dim)
    }
}

/// The first element of the key of `position`, of a head that begins at `start`; the others follow a block's width apart.
fn key_at(start: usize, head_dim: usize, position: usize) -> usize {
    start + position / KEY_BLOCK * KEY_BLOCK * head_dim + position % KEY_BLOCK
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
