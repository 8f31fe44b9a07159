//! Where the keys and values of a position lie, and which positions are held.
//!
//! A layer holds all positions, one after the other, or, if it attends to a window and the session is opened so, as
//! many blocks as a window and a batch of tokens touch: then the block of a position takes the place of the one that
//! many before. A position keeps its place within its block, and a block its 32 neighbours, so attention computes what
//! it would anyway.

use super::KEY_BLOCK;
use crate::arena::{Buf, Cutter, MemoryUse, Zeroable};
use crate::format::Config;
use std::ops::Range;

/// The places of a cache: head by head, the heads of a layer one after the other.
pub(super) struct Places {
    num_layers: usize,
    pub(super) num_kv_heads: usize,
    pub(super) head_dim: usize,
    /// Positions that a layer has room for which holds all of them, a multiple of [`KEY_BLOCK`].
    capacity: usize,
    /// A layer's, where windows are held alone; else empty: every layer holds all positions.
    layers: Buf<LayerRoom>,
    /// One more than the largest position that was stored.
    top: usize,
    /// Tokens whose windows came from another cache: of what is before those nothing was ever here.
    refilled: usize,
}

/// The room of a layer.
#[derive(Clone, Copy)]
pub(super) struct LayerRoom {
    /// Positions that a token sees, its own included; 0: all.
    window: usize,
    /// Positions that all layers before have room for.
    before: usize,
    /// Positions there is room for, a multiple of [`KEY_BLOCK`].
    room: usize,
}

/// Positions of a layer that sees so many, of which `batch` are stored before the first of them attends: that one's
/// window and the last one's own, at worst out of step with blocks. One more, so that the token before can pass again.
fn room(window: usize, batch: usize, capacity: usize) -> usize {
    let positions = window.saturating_add(batch);
    ((positions.saturating_add(KEY_BLOCK - 2) / KEY_BLOCK + 1).saturating_mul(KEY_BLOCK)).min(capacity)
}

/// The window of a layer, 0 for none, and what it has room for.
fn layer_room(config: &Config, n: usize, batch: usize, capacity: usize) -> (usize, usize) {
    match config.block.attention(n).window {
        Some(window) => (window, room(window, batch, capacity)),
        None => (0, capacity),
    }
}

impl Places {
    /// For so many tokens, of which `batch` pass together at most. With `windows_alone` layers hold what they attend
    /// to.
    pub(super) fn cut(
        cutter: &mut Cutter,
        config: &Config,
        context: usize,
        batch: usize,
        windows_alone: bool,
    ) -> Places {
        let capacity = context.next_multiple_of(KEY_BLOCK);
        let count = if windows_alone { config.num_layers } else { 0 };
        let mut layers: Buf<LayerRoom> = cutter.part(MemoryUse::Bookkeeping).take(count);
        let mut before = 0;
        for (n, layer) in layers.iter_mut().enumerate() {
            let (window, room) = layer_room(config, n, batch, capacity);
            *layer = LayerRoom { window, before, room };
            before += room;
        }
        Places {
            num_layers: config.num_layers,
            num_kv_heads: config.num_kv_heads,
            head_dim: config.head_dim,
            capacity,
            layers,
            top: 0,
            refilled: 0,
        }
    }

    /// Positions that all layers have room for.
    pub(super) fn positions(config: &Config, context: usize, batch: usize, windows_alone: bool) -> usize {
        let capacity = context.next_multiple_of(KEY_BLOCK);
        let room = |n: usize| if windows_alone { layer_room(config, n, batch, capacity).1 } else { capacity };
        (0..config.num_layers).fold(0, |sum: usize, n| sum.saturating_add(room(n)))
    }

    fn layer(&self, n: usize) -> LayerRoom {
        let all = LayerRoom { window: 0, before: n * self.capacity, room: self.capacity };
        self.layers.get(n).copied().unwrap_or(all)
    }

    /// Positions that a layer has room for: the place of a position is what is left of it by this.
    pub(super) fn room(&self, layer: usize) -> usize {
        self.layer(layer).room
    }

    /// Where one head of one layer begins, in positions.
    pub(super) fn head(&self, layer: usize, head: usize) -> usize {
        let LayerRoom { before, room, .. } = self.layer(layer);
        before * self.num_kv_heads + head * room
    }

    /// The heads of all layers, layer by layer.
    pub(super) fn heads(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let num_kv_heads = self.num_kv_heads;
        (0..self.num_layers).flat_map(move |layer| (0..num_kv_heads).map(move |head| (layer, head)))
    }

    /// Positions of a layer, in stretches that lie as they stand.
    pub(super) fn stretches(
        &self,
        layer: usize,
        positions: Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> {
        let (room, Range { mut start, end }) = (self.room(layer), positions);
        std::iter::from_fn(move || {
            let place = start % room;
            let stretch = start..end.min(start + room - place);
            start = stretch.end;
            (!stretch.is_empty()).then_some((place, stretch))
        })
    }

    /// A position is stored.
    pub(super) fn stored(&mut self, position: usize) {
        self.top = self.top.max(position + 1);
    }

    /// Nothing is held.
    pub(super) fn forget(&mut self) {
        (self.top, self.refilled) = (0, 0);
    }

    /// What is held are the windows of the first `tokens`, of which the last can pass again.
    pub(super) fn refill(&mut self, tokens: usize) {
        (self.top, self.refilled) = (tokens, tokens);
    }

    /// Whether layers hold windows alone.
    pub(super) fn has_windows(&self) -> bool {
        self.layers.iter().any(|layer| layer.window > 0)
    }

    /// Where all heads of each layer lie that holds a window alone, in positions.
    pub(super) fn of_windows(&self) -> impl Iterator<Item = Range<usize>> {
        let (heads, layers) = (self.num_kv_heads, self.layers.iter().filter(|layer| layer.window > 0));
        layers.map(move |layer| layer.before * heads..(layer.before + layer.room) * heads)
    }

    /// The first position that a layer holds.
    fn first_held(&self, layer: &LayerRoom) -> usize {
        let last_block = self.top.saturating_sub(1) / KEY_BLOCK;
        let overwritten = (last_block + 1).saturating_sub(layer.room / KEY_BLOCK) * KEY_BLOCK;
        overwritten.max(self.refilled.saturating_sub(layer.window))
    }

    /// Whether the windows of a token at this position are held, but for what passes with it.
    pub(super) fn reaches(&self, position: usize) -> bool {
        let mut windows = self.layers.iter().filter(|layer| layer.window > 0);
        position == 0 || windows.all(|layer| self.first_held(layer) <= (position + 1).saturating_sub(layer.window))
    }

    /// The least position that a window begins at if there are so many tokens; windows are of the last one.
    pub(super) fn windows_begin(&self, tokens: usize) -> usize {
        let windows = self.layers.iter().filter(|layer| layer.window > 0);
        windows.map(|layer| tokens.saturating_sub(layer.window)).min().unwrap_or(tokens)
    }

    /// Whether every position before the last one stored is held, at a place of its own.
    pub(super) fn holds_all(&self) -> bool {
        self.layers.iter().filter(|layer| layer.window > 0).all(|layer| self.first_held(layer) == 0)
    }

    /// The positions that a saved layer has, of the first `positions`: its last one's window and the rest of that's
    /// first block, or all.
    pub(super) fn kept(&self, layer: usize, positions: usize) -> Range<usize> {
        let window = self.layer(layer).window;
        let first = if window == 0 { 0 } else { positions.saturating_sub(window) / KEY_BLOCK * KEY_BLOCK };
        first..positions
    }

    /// Those of them that are not of the window.
    pub(super) fn before_window(&self, layer: usize, positions: usize) -> Range<usize> {
        let kept = self.kept(layer, positions);
        kept.start..positions.saturating_sub(self.layer(layer).window).max(kept.start)
    }

    pub(super) fn num_layers(&self) -> usize {
        self.num_layers
    }
}

// SAFETY: a layer of zeros is one.
unsafe impl Zeroable for LayerRoom {}
