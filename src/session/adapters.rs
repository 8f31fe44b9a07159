//! LoRA adapters of a session: which ones its tokens pass with, and how strongly.

use super::Session;
use crate::arena::{Buf, Cutter, MemoryUse};
use crate::model::{Adapter, Group, Linear, LowRank, Model};
use crate::{Error, Result, Status};
use std::ops::Range;
use std::sync::Arc;

/// Adapters of a session at a time, at most.
pub const MAX_ADAPTERS: usize = 8;

/// Linears that share an input, at most: `B·x` of all of them lies side by side.
const LINEARS_OF_A_GROUP: usize = 3;

/// The adapters that a session's tokens pass with, and what is computed of them.
pub(crate) struct Adapters {
    active: ActiveAdapters,
    /// `s·B·x` of all adapters of a group's linears, side by side: `[batch, LINEARS_OF_A_GROUP · room]`
    t: Buf<f32>,
    /// Ranks that there is room for: the sum of the adapters' largest.
    room: usize,
}

/// Adapters, each with what its outputs are multiplied by. A list, for a small stack has no room for them while a
/// session is opened.
#[derive(Default)]
pub(crate) struct ActiveAdapters(Vec<(Arc<Adapter>, f32)>);

impl ActiveAdapters {
    fn iter(&self) -> impl Iterator<Item = &(Arc<Adapter>, f32)> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of their largest ranks: as many as one output starts from, at most.
    pub(crate) fn rank(&self) -> usize {
        self.iter().map(|(adapter, _)| adapter.rank()).sum()
    }

    /// What they add to the linears of a group: each adapter's factors linear by linear, where their outputs stand, and
    /// its scale. The outputs of an `up` by outputs stand behind the group's own.
    pub(crate) fn of<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = (Range<usize>, &'a LowRank, f32)> {
        self.iter().flat_map(move |(adapter, scale)| {
            let own = move |linear: &'a Linear| Some((linear.columns(), adapter.low_rank(linear)?, *scale));
            let behind = group.output()..2 * group.output();
            let gate = group.linears().first().filter(|_| group.up().is_some());
            let up = gate.and_then(|gate| Some((behind, adapter.up(gate)?, *scale)));
            group.linears().iter().filter_map(own).chain(up)
        })
    }

    /// The ranks of all of these.
    pub(crate) fn width(&self, group: &Group) -> usize {
        self.of(group).map(|(_, low_rank, _)| low_rank.rank()).sum()
    }

    /// Bytes that a token reads of them in a group.
    pub(crate) fn bytes(&self, group: &Group) -> u64 {
        self.of(group).map(|(_, low_rank, _)| low_rank.bytes() as u64).sum()
    }
}

impl Adapters {
    pub(crate) fn cut(cutter: &mut Cutter, batch: usize, room: usize) -> Adapters {
        let width = LINEARS_OF_A_GROUP.saturating_mul(room);
        let t = cutter.part(MemoryUse::Activations).take(batch.saturating_mul(width));
        Adapters { active: ActiveAdapters::default(), t, room }
    }

    /// Has room for the list: to be called once, when a session is opened, so that nothing is allocated later.
    pub(crate) fn reserve(&mut self) -> Result<()> {
        let count = if self.room == 0 { 0 } else { MAX_ADAPTERS };
        self.active.0.try_reserve_exact(count).map_err(|_| Error::out_of_memory("the adapters"))
    }

    pub(crate) fn active(&self) -> &ActiveAdapters {
        &self.active
    }

    /// `s·B·x` of a pass's tokens: `[rows, ActiveAdapters::width]`
    pub(crate) fn computed(&self) -> &[f32] {
        &self.t
    }

    /// The adapters, and room for what is computed of them.
    pub(crate) fn parts(&mut self) -> (&ActiveAdapters, &mut [f32]) {
        (&self.active, &mut self.t)
    }

    /// The same adapters as another session's, for one that has none. Fails if there is no room for them.
    pub(crate) fn go_on_as(&mut self, other: &Adapters) -> Result<()> {
        self.check(other.active.rank())?;
        self.active.0.extend_from_slice(&other.active.0);
        Ok(())
    }

    /// Takes these in place of those before; on an error nothing changes.
    pub(crate) fn set(&mut self, model: &Model, adapters: impl IntoIterator<Item = (Arc<Adapter>, f32)>) -> Result<()> {
        let mut list = [const { None }; MAX_ADAPTERS];
        let mut rank = 0;
        for (n, (adapter, scale)) in adapters.into_iter().enumerate() {
            let Some(place) = list.get_mut(n) else {
                return Err(Error::new(Status::OutOfRange, format_args!("at most {MAX_ADAPTERS} adapters at a time")));
            };
            if !scale.is_finite() {
                let message = format_args!("the scale of adapter {n} is {scale}, not a finite number");
                return Err(Error::new(Status::InvalidArgument, message));
            }
            adapter.check(model).map_err(|e| e.context(format_args!("adapter {n}")))?;
            rank += adapter.rank();
            *place = Some((adapter, scale));
        }
        self.check(rank)?;
        self.active.0.clear();
        self.active.0.extend(list.into_iter().flatten());
        Ok(())
    }

    fn check(&self, rank: usize) -> Result<()> {
        if rank <= self.room {
            return Ok(());
        }
        let room = self.room;
        let message = format_args!(
            "adapters of rank {rank} together; the session was opened with room for {room}: open it with adapter_rank \
             {rank}"
        );
        Err(Error::new(Status::OutOfRange, message))
    }
}

impl Session {
    /// Sets the adapters that tokens pass with from now on, each with what its outputs are multiplied by: 1 is as it
    /// was trained, 0 adds nothing. They take the place of those before; none: the model alone.
    ///
    /// What has passed stays as it is, keys, values and logits: the text so far is the text so far. A token that has to
    /// pass again (after a [`rewind`](Session::rewind)) does so with the adapters of that moment.
    pub fn set_adapters(&mut self, adapters: impl IntoIterator<Item = (Arc<Adapter>, f32)>) -> Result<()> {
        self.idle()?;
        self.engine.own.adapters.set(&self.engine.model, adapters)?;
        // Drafts have passed with those before.
        self.engine.ahead.forget();
        Ok(())
    }

    /// The adapters that tokens pass with, and their scales.
    pub fn adapters(&self) -> impl Iterator<Item = (&Arc<Adapter>, f32)> {
        self.engine.own.adapters.active().iter().map(|(adapter, scale)| (adapter, *scale))
    }
}
