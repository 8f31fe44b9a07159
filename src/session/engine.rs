//! What a session computes with: its model, what it has to itself, and a place for passes of tokens.

use super::budget::{Budget, Cancelled, Flow, Halt};
use super::buffers::{EngineMemory, HeadBuffers, Own};
use super::pass::{Mode, Seq, Workspace};
use crate::arena::Buf;
use crate::model::{GroupKind, Model};
use crate::sampling::argmax;
use crate::team::Team;
use crate::{Error, Result, Status};
use rasp_kernels::MatRef;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Columns and rows are shared out in units of this many: whole vectors and whole cache lines on every machine.
pub(super) const UNIT: usize = 32;

/// Queries whose attention is computed together, so that keys and values are read once for all of them.
pub(super) const QUERY_TILE: usize = 8;

/// Watches a pass of tokens; calibration and the parity tests are made of it.
pub trait Observer {
    /// The input `[tokens, in]` of a group of linears, before any mask.
    fn group_input(&mut self, _layer: usize, _group: GroupKind, _x: MatRef<'_>) {}

    /// The residual stream `[tokens, hidden]` after a block.
    fn hidden(&mut self, _layer: usize, _x: MatRef<'_>) {}
}

/// Observes nothing.
pub(crate) struct Unobserved;
impl Observer for Unobserved {}

/// Bytes of linear weights that tokens read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Tokens counted.
    pub tokens: u64,
    /// Bytes of the blocks' linear weights they read, low-rank factors included.
    pub linear_bytes: u64,
}

/// Everything a pass needs besides the tokens.
pub(crate) struct Engine {
    pub(crate) model: Arc<Model>,
    pub(crate) own: Own,
    pub(crate) head: HeadBuffers,
    pub(crate) work: Workspace,
    pub(crate) traffic: Traffic,
    /// Bytes of the head that were read for tokens passed singly.
    pub(crate) head_bytes: u64,
    pub(crate) cancel: Cancel,
    /// Of the pass in hand: the position of its first token, and the bytes of linear weights that the tokens that are
    /// counted have read.
    position: usize,
    bytes: u64,
}

/// Stops the call in progress, or the next.
pub(crate) struct Cancel {
    /// One flag, in the session's memory.
    own: Buf<AtomicBool>,
    /// The host's, which takes its place.
    pub(super) shared: Option<Arc<AtomicBool>>,
}

impl Cancel {
    pub(super) fn own(&self) -> &AtomicBool {
        &self.own[0]
    }
}

impl Deref for Cancel {
    type Target = AtomicBool;

    fn deref(&self) -> &AtomicBool {
        self.shared.as_deref().unwrap_or(self.own())
    }
}

impl Cancelled for Cancel {
    fn cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

impl Engine {
    /// An engine in `memory`, which was cut for as many tokens and threads.
    pub(crate) fn new(model: Arc<Model>, team: Team, batch: usize, memory: EngineMemory) -> Engine {
        let EngineMemory { buf, own, head, cancel } = memory;
        Engine {
            model,
            own,
            head,
            work: Workspace::new(team, batch, buf),
            traffic: Traffic::default(),
            head_bytes: 0,
            cancel: Cancel { own: cancel, shared: None },
            position: 0,
            bytes: 0,
        }
    }

    /// Tokens of one pass at most.
    pub(crate) fn batch(&self) -> usize {
        self.work.batch()
    }

    /// Threads, the caller's included.
    pub(crate) fn parts(&self) -> usize {
        self.work.team.parts()
    }

    /// Takes `tokens` through all blocks: [`begin`](Engine::begin), and all of [`advance`](Engine::advance).
    pub(crate) fn forward(
        &mut self,
        tokens: &[u32],
        position: usize,
        mode: Mode<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        self.begin(tokens, position);
        whole(self.advance(&Budget::unlimited(), mode, observer))
    }

    /// The likeliest token after row `row` of the last pass.
    pub(crate) fn greedy(&mut self, row: usize) -> Result<u32> {
        self.prepare_head(row);
        whole(self.logits(&Budget::unlimited()))?;
        Ok(argmax(&self.head.logits))
    }

    /// Begins a pass of `tokens` (at most [`batch`](Engine::batch), ids checked) from `position` on: their embeddings.
    /// Whatever pass was under way is forgotten.
    pub(crate) fn begin(&mut self, tokens: &[u32], position: usize) {
        self.work.begin(&self.model, tokens.iter().copied().zip(position..));
        (self.position, self.bytes) = (position, 0);
    }

    /// Counts tokens that passed densely where sparse ones are counted.
    pub(super) fn count_dense(&mut self, tokens: usize) {
        if tokens == 0 {
            return;
        }
        self.traffic.tokens += tokens as u64;
        let bytes: u64 = self.model.groups().map(|group| group.bytes() + group.low_rank_bytes() as u64).sum();
        self.traffic.linear_bytes += tokens as u64 * bytes;
    }

    /// Takes the pass as far through the blocks as the budget goes. At their end the tokens' keys and values are in the
    /// cache, and their last residuals stand in `work.buf.hidden`. `mode` is the same at every call.
    pub(crate) fn advance(&mut self, budget: &Budget, mode: Mode<'_>, observer: &mut dyn Observer) -> Flow {
        let rows = self.work.rows();
        let (counted, sparse) = match mode {
            Mode::Prompt => (0, false),
            Mode::Decode { sparse } => (1, sparse),
            Mode::Window { sparse_from, .. } => (rows.saturating_sub(sparse_from), true),
        };
        let mut seqs = [Some(Seq { bytes: AtomicU64::new(self.bytes), ..self.own.seq(self.position, sparse) })];
        let outcome = self.work.advance(&self.model, &mut seqs, budget, &self.cancel, mode, observer);
        let [seq] = seqs;
        self.bytes = seq.map_or(0, |seq| seq.bytes.into_inner());
        outcome?;
        if counted > 0 {
            self.traffic.tokens += counted as u64;
            self.traffic.linear_bytes += self.bytes;
        }
        Ok(())
    }
}

/// What came of work that had no budget to stop at.
fn whole(outcome: Flow) -> Result<()> {
    outcome.map_err(|halt| match halt {
        Halt::Failed(error) => error,
        Halt::Pending => Error::new(Status::Internal, "a pass without a budget stopped"),
    })
}

impl Own {
    /// What a pass touches of it; the first of its tokens stands at `position`.
    pub(super) fn seq(&mut self, position: usize, sparse: bool) -> Seq<'_> {
        let Own { kv, thresholds, scores } = self;
        Seq { position, kv, scores, thresholds: sparse.then_some(&**thresholds), bytes: AtomicU64::new(0) }
    }
}
