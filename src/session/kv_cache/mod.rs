//! Keys and values of the tokens so far, laid out so that attention is made of the engine's one matrix product.
//!
//! Keys lie in blocks of 32 positions, each block `[head_dim, 32]`: scores of 32 positions are a column-form product of
//! the query with the block, without a horizontal sum. Values lie `[positions, head_dim]`: their weighted sum is a
//! column-form product as well. Which positions there are, and where, is in `places.rs`.

mod places;
mod prefix;
mod shift;
mod stretches;

use crate::arena::{Buf, Cutter, MemoryUse};
use crate::format::Config;
use places::Places;
use prefix::SharedPrefix;
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
    /// The scales: `[layers, kv_heads, room]`
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

    fn kv_type(&self) -> KvType {
        match self {
            Store::F16(_) => KvType::F16,
            Store::F32(_) => KvType::F32,
            Store::I8(..) => KvType::I8,
        }
    }

    fn clear(&mut self, range: Range<usize>) {
        match self {
            Store::F16(data) => data[range].fill(0),
            Store::F32(data) => data[range].fill(0.0),
            Store::I8(data, _) => data[range].fill(0),
        }
    }
}

pub(crate) struct KvCache {
    places: Places,
    /// `[layers, kv_heads, room / 32, head_dim, 32]`, the room in positions being the layer's.
    keys: Store,
    /// `[layers, kv_heads, room, head_dim]`
    values: Store,
    /// What it does not hold itself of the first positions.
    prefix: Option<SharedPrefix>,
    /// One head's row on its way into a store: `[head_dim]`
    narrow: Buf<u16>,
    whole: Buf<i8>,
    /// And on its way out of one.
    wide: Buf<f32>,
}

/// How much a cache holds.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Tokens there is room for.
    pub(crate) context: usize,
    /// Tokens that pass together at most.
    pub(crate) batch: usize,
    /// Whether layers that attend to a window hold that alone.
    pub(crate) windows_alone: bool,
}

impl KvCache {
    pub(crate) fn cut(cutter: &mut Cutter, config: &Config, kv_type: KvType, extent: Extent) -> KvCache {
        let Extent { context, batch, windows_alone } = extent;
        let positions = Places::positions(config, context, batch, windows_alone);
        // A product beyond the address space saturates, and the arena then refuses it.
        let size = config.kv_dim().saturating_mul(positions);
        cutter.part(MemoryUse::KvCache);
        // Not zeroed in the host's memory: what stands at a position is written when its token passes. Scores of
        // positions beyond are computed along with their block, whatever lies there, and thrown away.
        let mut store = || match kv_type {
            KvType::F16 => Store::F16(cutter.take_any(size)),
            KvType::F32 => Store::F32(cutter.take_any(size)),
            KvType::I8 => Store::I8(cutter.take_any(size), cutter.take_any(size / config.head_dim)),
        };
        let (keys, values) = (store(), store());
        let (narrow, whole) = (cutter.take(config.head_dim), cutter.take(config.head_dim));
        let wide = cutter.take(config.head_dim);
        KvCache {
            places: Places::cut(cutter, config, context, batch, windows_alone),
            keys,
            values,
            prefix: None,
            narrow,
            whole,
            wide,
        }
    }

    /// Stores the key and value (`[kv_heads · head_dim]` each) of `position` in `layer`.
    pub(crate) fn put(&mut self, kernels: Kernels, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        self.own(position, position);
        let dim = self.places.head_dim;
        let place = position % self.places.room(layer);
        for head in 0..self.places.num_kv_heads {
            let start = self.head_start(layer, head);
            self.put_key(kernels, start, place, &key[head * dim..][..dim]);
            let value = &value[head * dim..][..dim];
            let row = start + place * dim;
            match &mut self.values {
                Store::F16(values) => kernels.narrow_f16(&mut values[row..row + dim], value),
                Store::F32(values) => values[row..row + dim].copy_from_slice(value),
                Store::I8(values, scales) => {
                    scales[start / dim + place] = round(&mut values[row..row + dim], value);
                }
            }
        }
        self.places.stored(position);
    }

    /// Where the keys or values of one head of one layer begin.
    fn head_start(&self, layer: usize, head: usize) -> usize {
        self.places.head(layer, head) * self.places.head_dim
    }

    /// Stores the key (`[head_dim]`) at a place of the head that begins at `start`.
    fn put_key(&mut self, kernels: Kernels, start: usize, place: usize, key: &[f32]) {
        let block = key_at(start, self.places.head_dim, place);
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
                scales[start / self.places.head_dim + place] = round(&mut self.whole, key);
                let column = keys[block..].iter_mut().step_by(KEY_BLOCK);
                column.zip(self.whole.iter()).for_each(|(slot, &k)| *slot = k);
            }
        }
    }

    /// The key at a place of the head that begins at `start`, into `key`.
    fn key(&mut self, kernels: Kernels, start: usize, place: usize, key: &mut [f32]) {
        let block = key_at(start, self.places.head_dim, place);
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
                let scale = scales[start / self.places.head_dim + place];
                let column = keys[block..].iter().step_by(KEY_BLOCK);
                key.iter_mut().zip(column).for_each(|(k, &slot)| *k = f32::from(slot) * scale);
            }
        }
    }

    /// Whether the windows of a token at this position are held.
    pub(crate) fn reaches(&self, position: usize) -> bool {
        self.places.reaches(position)
    }

    /// Whether layers hold a window alone.
    pub(crate) fn has_windows(&self) -> bool {
        self.places.has_windows()
    }

    /// Nothing is held any more.
    pub(crate) fn forget(&mut self) {
        self.prefix = None;
        self.places.forget();
    }

    /// Keys of the 32 positions from `32 · block`: `[head_dim, 32]`.
    pub(crate) fn key_block(&self, layer: usize, head: usize, block: usize) -> Matrix<'_> {
        let KvCache { places, keys, .. } = self.holder(block * KEY_BLOCK);
        let size = KEY_BLOCK * places.head_dim;
        let start = places.head(layer, head) * places.head_dim + block % (places.room(layer) / KEY_BLOCK) * size;
        dense(keys.elems(start..start + size), places.head_dim, KEY_BLOCK)
    }

    /// What the scores of these positions, and their weights in the sum of values, are to be multiplied by: stretches
    /// of them, nothing where numbers need no scale.
    pub(crate) fn scales(
        &self,
        layer: usize,
        head: usize,
        positions: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, [&[f32]; 2])> {
        self.held(positions).flat_map(move |(cache, positions)| {
            let start = cache.places.head(layer, head);
            let both = match (&cache.keys, &cache.values) {
                (Store::I8(_, keys), Store::I8(_, values)) => Some([keys, values]),
                _ => None,
            };
            both.into_iter().flat_map(move |both| {
                cache.places.stretches(layer, positions.clone()).map(move |(place, stretch)| {
                    let places = start + place..start + place + stretch.len();
                    (stretch, both.map(|scales| &scales[places.clone()]))
                })
            })
        })
    }

    /// Values of these positions, in stretches: `[positions, head_dim]` each.
    pub(crate) fn values(
        &self,
        layer: usize,
        head: usize,
        positions: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, Matrix<'_>)> {
        self.held(positions).flat_map(move |(cache, positions)| {
            let (start, dim) = (cache.head_start(layer, head), cache.places.head_dim);
            cache.places.stretches(layer, positions).map(move |(place, stretch)| {
                let from = start + place * dim;
                let values = cache.values.elems(from..from + stretch.len() * dim);
                let matrix = dense(values, stretch.len(), dim);
                (stretch, matrix)
            })
        })
    }

    /// These positions by the cache that they lie in.
    fn held(&self, positions: Range<usize>) -> impl Iterator<Item = (&KvCache, Range<usize>)> {
        let Range { start, end } = positions;
        let cut = self.shared().clamp(start, end);
        let shared = self.prefix.as_ref().map(|prefix| (prefix.kv(), start..cut));
        shared.into_iter().chain([(self, cut..end)])
    }
}

/// The first element of the key at a place of a head that begins at `start`; the others follow a block's width apart.
fn key_at(start: usize, head_dim: usize, place: usize) -> usize {
    start + place / KEY_BLOCK * KEY_BLOCK * head_dim + place % KEY_BLOCK
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
