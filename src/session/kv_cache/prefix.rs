//! A beginning that several sessions share: its keys and values are in memory once, and read in place.
//!
//! A fork makes it of what its parent has passed. Nobody writes there: a session that goes back into it, or shifts,
//! first copies the rest of the block that it writes to its own memory, which has room for everything all along. So a
//! fork's plan is a session's, to the byte, and sharing saves what the system does not have to put behind pages that
//! nobody touches.

use super::{Extent, KEY_BLOCK, KvCache};
use crate::Result;
use crate::arena::{Arena, MemorySource};
use crate::format::Config;
use crate::reserve;
use std::sync::Arc;

/// What an `Arc` of it takes: its counts too, in a piece whose size is a power of two.
const SHARED_BYTES: usize = (size_of::<PrefixMemory>() + 2 * size_of::<usize>()).next_power_of_two();

/// Keys and values of positions that were passed, for whoever goes on from them.
struct PrefixMemory {
    kv: KvCache,
    /// Where they lie.
    arena: Arena,
}

/// The positions that a session reads in shared memory: whole blocks, from the first on.
#[derive(Clone)]
pub(super) struct SharedPrefix {
    memory: Arc<PrefixMemory>,
    positions: usize,
}

impl SharedPrefix {
    /// A copy of the first `positions` of a cache.
    fn new(config: &Config, of: &KvCache, positions: usize) -> Result<SharedPrefix> {
        let (extent, kv_type) = (Extent { context: positions, batch: 1, windows_alone: false }, of.keys.kv_type());
        let (arena, mut kv) = Arena::cut(MemorySource::Own, 0, |cutter| KvCache::cut(cutter, config, kv_type, extent))?;
        of.held(0..positions).for_each(|(cache, positions)| kv.take_from(cache, positions));
        let memory = PrefixMemory { kv, arena };
        // SAFETY: what is made in the reserve is the `Arc` alone, which is dropped if it lies there.
        let memory = unsafe { reserve::within(SHARED_BYTES, || Ok(Arc::new(memory))) }?;
        Ok(SharedPrefix { memory, positions })
    }

    pub(super) fn kv(&self) -> &KvCache {
        &self.memory.kv
    }
}

impl KvCache {
    /// Takes over the first `positions` of another cache of the same type; what both can read in place is shared,
    /// unless `apart`.
    pub(crate) fn go_on_as(&mut self, parent: &mut KvCache, config: &Config, positions: usize, apart: bool) {
        if apart || self.has_windows() || !parent.share(config, positions) {
            self.begin_with(positions);
            return parent.held(0..positions).for_each(|(cache, positions)| self.take_from(cache, positions));
        }
        self.forget();
        self.prefix.clone_from(&parent.prefix);
        self.take_from(parent, parent.shared()..positions);
    }

    /// Puts what it holds of the first `positions` where others can read it, but for the last block: the last token may
    /// pass again. Whether anything is there; without memory nothing new is.
    fn share(&mut self, config: &Config, positions: usize) -> bool {
        let whole = positions.saturating_sub(1) / KEY_BLOCK * KEY_BLOCK;
        self.own(whole, positions);
        // What is shared already does while it is the better part.
        if 2 * self.shared() < whole
            && let Ok(prefix) = SharedPrefix::new(config, self, whole)
        {
            self.prefix = Some(prefix);
        }
        self.shared() > 0
    }

    /// Positions that are read in shared memory.
    pub(super) fn shared(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.positions)
    }

    /// Bytes of that memory.
    pub(crate) fn shared_bytes(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.memory.arena.memory().size)
    }

    /// The cache that a position's block lies in.
    pub(super) fn holder(&self, position: usize) -> &KvCache {
        match &self.prefix {
            Some(prefix) if position < prefix.positions => prefix.kv(),
            _ => self,
        }
    }

    /// Has positions from `from` on, which are to be written, in its own memory, where there are `positions`.
    pub(super) fn own(&mut self, from: usize, positions: usize) {
        let block = from / KEY_BLOCK * KEY_BLOCK;
        let Some(prefix) = self.prefix.take_if(|prefix| block < prefix.positions) else { return };
        self.take_from(prefix.kv(), block..positions.min(prefix.positions).max(block));
        self.prefix = (block > 0).then_some(SharedPrefix { positions: block, ..prefix });
    }
}
