//! Keys and values as bytes, in stretches: what a saved state has of them, and what one cache takes from another.

use super::{KEY_BLOCK, KvCache, Places, Store};
use std::ops::Range;

/// How the elements of a head lie.
#[derive(Clone, Copy)]
enum HeadLayout {
    /// `[room / 32, head_dim, 32]`
    Keys,
    /// `[room, head_dim]`
    Values,
    /// `[room]`
    Scales,
}

impl HeadLayout {
    /// Elements of a position.
    fn width(self, head_dim: usize) -> usize {
        if let HeadLayout::Scales = self { 1 } else { head_dim }
    }
}

/// Keys, their scales, values and theirs, in this order.
const PARTS: [HeadLayout; 4] = [HeadLayout::Keys, HeadLayout::Scales, HeadLayout::Values, HeadLayout::Scales];

impl Store {
    /// Its elements as bytes, and the bytes of one; or its scales, if it has some.
    fn bytes(&self, layout: HeadLayout) -> (&[u8], usize) {
        match (self, layout) {
            (Store::I8(_, scales), HeadLayout::Scales) => (scales.bytes(), 4),
            (_, HeadLayout::Scales) => (&[], 4),
            (Store::F16(data), _) => (data.bytes(), 2),
            (Store::F32(data), _) => (data.bytes(), 4),
            (Store::I8(data, _), _) => (data.bytes(), 1),
        }
    }

    /// The same, to be written.
    fn bytes_mut(&mut self, layout: HeadLayout) -> (&mut [u8], usize) {
        match (self, layout) {
            (Store::I8(_, scales), HeadLayout::Scales) => (scales.bytes_mut(), 4),
            (_, HeadLayout::Scales) => (&mut [], 4),
            (Store::F16(data), _) => (data.bytes_mut(), 2),
            (Store::F32(data), _) => (data.bytes_mut(), 4),
            (Store::I8(data, _), _) => (data.bytes_mut(), 1),
        }
    }
}

impl KvCache {
    /// Bytes of what is kept of the first `positions`.
    pub(crate) fn bytes_of(&self, positions: usize) -> usize {
        let Places { num_kv_heads, head_dim, .. } = self.places;
        let row = match self.keys {
            Store::F16(_) => 2 * head_dim,
            Store::F32(_) => 4 * head_dim,
            Store::I8(..) => head_dim + size_of::<f32>(),
        };
        let kept = (0..self.places.num_layers()).map(|layer| self.places.kept(layer, positions).len());
        2 * row * kept.sum::<usize>() * num_kv_heads
    }

    /// Bytes of a part, those of an element, and where they are.
    fn part(&self, part: usize) -> (&[u8], usize) {
        if part < 2 { self.keys.bytes(PARTS[part]) } else { self.values.bytes(PARTS[part]) }
    }

    fn part_mut(&mut self, part: usize) -> (&mut [u8], usize, &Places) {
        let store = if part < 2 { &mut self.keys } else { &mut self.values };
        let (bytes, size) = store.bytes_mut(PARTS[part]);
        (bytes, size, &self.places)
    }

    /// Calls `take` with the bytes of what is kept of the first `positions`, in stretches: one after the other the same
    /// for every capacity and batch, and wherever they lie.
    pub(crate) fn each_stretch(&self, positions: usize, mut take: impl FnMut(&[u8])) {
        for (part, layout) in PARTS.into_iter().enumerate() {
            for (layer, head) in self.places.heads() {
                for (cache, positions) in self.held(0..positions) {
                    let (bytes, size) = cache.part(part);
                    if !bytes.is_empty() {
                        let goes_round = positions.end > cache.places.room(layer);
                        let runs = runs(&cache.places, layout, layer, head, positions, goes_round);
                        runs.for_each(|run| take(&bytes[run.start * size..run.end * size]));
                    }
                }
            }
        }
    }

    /// Calls `fill` with the stretches of the first `positions`, to be written: they are all that is held from then on.
    pub(crate) fn fill_stretches(&mut self, positions: usize, mut fill: impl FnMut(&mut [u8])) {
        self.begin_with(positions);
        for (part, layout) in PARTS.into_iter().enumerate() {
            let (bytes, size, places) = self.part_mut(part);
            if bytes.is_empty() {
                continue;
            }
            for (layer, head) in places.heads() {
                let goes_round = positions > places.room(layer);
                let runs = runs(places, layout, layer, head, 0..positions, goes_round);
                runs.for_each(|run| fill(&mut bytes[run.start * size..run.end * size]));
            }
        }
    }

    /// What is held from now on are the first `positions`, which are to be written.
    pub(super) fn begin_with(&mut self, positions: usize) {
        self.prefix = None;
        self.places.refill(positions);
        for (part, layout) in PARTS.into_iter().enumerate() {
            let (bytes, size, places) = self.part_mut(part);
            let width = size * layout.width(places.head_dim);
            if !bytes.is_empty() {
                // No place is without a number, whatever goes round.
                places.of_windows().for_each(|span| bytes[span.start * width..span.end * width].fill(0));
            }
        }
    }

    /// Copies what another cache, of the same type and model, has in its own memory of these positions.
    pub(super) fn take_from(&mut self, other: &KvCache, positions: Range<usize>) {
        for (part, layout) in PARTS.into_iter().enumerate() {
            let (from, size) = other.part(part);
            let (to, _, places) = self.part_mut(part);
            if from.is_empty() {
                continue;
            }
            for (layer, head) in places.heads() {
                // Cut alike: where one goes round, both by the block.
                let goes_round = positions.end > places.room(layer).min(other.places.room(layer));
                let runs_in = |places| runs(places, layout, layer, head, positions.clone(), goes_round);
                for (into, out_of) in runs_in(places).zip(runs_in(&other.places)) {
                    to[into.start * size..into.end * size]
                        .copy_from_slice(&from[out_of.start * size..out_of.end * size]);
                }
            }
        }
    }
}

/// The elements of what is kept of these positions of a head, in stretches: those that lie one after the other, or
/// where they may go round, by the block.
fn runs(
    places: &Places,
    layout: HeadLayout,
    layer: usize,
    head: usize,
    positions: Range<usize>,
    goes_round: bool,
) -> impl Iterator<Item = Range<usize>> {
    let dim = places.head_dim;
    let width = layout.width(dim);
    let (start, room) = (places.head(layer, head) * width, places.room(layer));
    let kept = places.kept(layer, positions.end).start.max(positions.start)..positions.end;
    let step = if goes_round { KEY_BLOCK } else { kept.len().max(1) };
    kept.clone().step_by(step).flat_map(move |first| {
        let count = step.min(kept.end - first);
        // Of keys' last block, a part of every row.
        let rest = if let HeadLayout::Keys = layout { count % KEY_BLOCK } else { 0 };
        let rows = if rest > 0 { dim } else { 0 };
        let first = start + first % room * width;
        let last = first + (count - rest) * width;
        let parts = (0..rows).map(move |row| last + row * KEY_BLOCK..last + row * KEY_BLOCK + rest);
        std::iter::once(first..last).chain(parts)
    })
}
