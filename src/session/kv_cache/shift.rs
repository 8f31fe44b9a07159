//! Positions that move down into the place of forgotten ones.

use super::{KEY_BLOCK, KvCache, Store, key_at};
use crate::arena::Buf;
use rasp_kernels::Kernels;
use std::ops::Range;

impl KvCache {
    /// Forgets these positions of a layer: those after them, up to `len`, move into their place, and `turn` turns the
    /// key of a head back by the distance. (A rotation by `p` and then by `-d` is one by `p - d`; but a key that is not
    /// f32 is rounded once more.)
    pub(crate) fn shift(
        &mut self,
        kernels: Kernels,
        layer: usize,
        gap: Range<usize>,
        len: usize,
        turn: impl Fn(usize, &mut [f32]),
    ) {
        self.own(gap.start, len);
        if self.places.room(layer) < len {
            return self.rotate(kernels, layer, gap.len(), len, turn);
        }
        let (keep, discard) = (gap.start, gap.len());
        let dim = self.places.head_dim;
        for head in 0..self.places.num_kv_heads {
            let start = self.head_start(layer, head);
            for position in keep + discard..len {
                self.turn_key(kernels, start, position, position - discard, |key| turn(head, key));
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

    /// The same for a layer that holds a window alone, which begins after the gap: places go round by the distance.
    fn rotate(
        &mut self,
        kernels: Kernels,
        layer: usize,
        distance: usize,
        len: usize,
        turn: impl Fn(usize, &mut [f32]),
    ) {
        let (dim, room) = (self.places.head_dim, self.places.room(layer));
        let by = distance % room;
        for head in 0..self.places.num_kv_heads {
            let start = self.head_start(layer, head);
            let (all, scales) = (start..start + room * dim, start / dim..start / dim + room);
            match &mut self.keys {
                Store::F16(keys) => rotate_keys(&mut keys[all.clone()], dim, by),
                Store::F32(keys) => rotate_keys(&mut keys[all.clone()], dim, by),
                Store::I8(keys, of_keys) => {
                    rotate_keys(&mut keys[all.clone()], dim, by);
                    of_keys[scales.clone()].rotate_left(by);
                }
            }
            match &mut self.values {
                Store::F16(values) => values[all].rotate_left(by * dim),
                Store::F32(values) => values[all].rotate_left(by * dim),
                Store::I8(values, of_values) => {
                    values[all].rotate_left(by * dim);
                    of_values[scales].rotate_left(by);
                }
            }
            // Before the window, but in its first block, is what has a weight of 0: it must be a number.
            for position in self.places.before_window(layer, len - distance) {
                let place = start + position % room * dim;
                self.values.clear(place..place + dim);
            }
            for position in self.places.kept(layer, len - distance) {
                self.turn_key(kernels, start, position % room, position % room, |key| turn(head, key));
            }
        }
    }

    /// Turns the key at one place of the head that begins at `start` and stores it at another.
    fn turn_key(&mut self, kernels: Kernels, start: usize, from: usize, to: usize, turn: impl Fn(&mut [f32])) {
        let mut key = std::mem::replace(&mut self.wide, Buf::empty());
        self.key(kernels, start, from, &mut key);
        turn(&mut key);
        self.put_key(kernels, start, to, &key);
        self.wide = key;
    }

    /// Whether `gap` can be shifted out of the first `len` positions: the windows begin after it, or all is held.
    pub(crate) fn can_shift(&self, gap: &Range<usize>, len: usize) -> bool {
        self.places.holds_all() || self.places.windows_begin(len - gap.len()) >= gap.start
    }

    /// After a shift of all layers `tokens` are left.
    pub(crate) fn shifted(&mut self, tokens: usize) {
        if !self.places.holds_all() {
            self.places.refill(tokens);
        }
    }
}

/// Turns keys `[room / 32, head_dim, 32]` round: each position's place takes what lies so many places on.
fn rotate_keys<T>(keys: &mut [T], head_dim: usize, by: usize) {
    let room = keys.len() / head_dim;
    for row in 0..head_dim {
        let mut reverse = |places: Range<usize>| {
            for n in 0..places.len() / 2 {
                let at = |place| key_at(row * KEY_BLOCK, head_dim, place);
                keys.swap(at(places.start + n), at(places.end - 1 - n));
            }
        };
        reverse(0..by);
        reverse(by..room);
        reverse(0..room);
    }
}
