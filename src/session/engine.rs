//! What a session computes with: its model, what it has to itself, and a place for passes of tokens.

use super::budget::{Budget, Cancelled, Flow, Halt};
use super::drafts::Ahead;
use super::pass::buffers::{EngineMemory, HeadBuffers, SequenceBuffers};
use super::pass::{HeadRow, Mode, SharedSlice, UNIT, Workspace, all_logits, share, view};
use crate::arena::Buf;
use crate::model::{Group, GroupKind, Model, RowsRef};
use crate::pool::ThreadPool;
use crate::sampling::argmax;
use crate::{Error, Result, Status};
use rasp_kernels::{MatRef, QUANT_GROUP, QuantizedRef};
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    pub(crate) own: SequenceBuffers,
    pub(crate) head: HeadBuffers,
    pub(super) ahead: Ahead,
    pub(crate) work: Workspace,
    pub(crate) traffic: Traffic,
    /// Bytes of the head that were read for tokens passed singly.
    pub(crate) head_bytes: u64,
    pub(crate) cancel: Cancel,
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
    pub(crate) fn new(model: Arc<Model>, pool: ThreadPool, batch: usize, memory: EngineMemory) -> Engine {
        let EngineMemory { buf, own, head, cancel } = memory;
        Engine {
            model,
            own,
            head,
            ahead: Ahead::default(),
            work: Workspace::new(pool, batch, buf),
            traffic: Traffic::default(),
            head_bytes: 0,
            cancel: Cancel { own: cancel, shared: None },
        }
    }

    /// Tokens of one pass at most.
    pub(crate) fn batch(&self) -> usize {
        self.work.batch()
    }

    /// Threads, the caller's included.
    pub(crate) fn parts(&self) -> usize {
        self.work.pool.parts()
    }

    /// Takes `tokens` (at most [`batch`](Engine::batch), ids checked), the first of which stands at `position`, through
    /// all blocks; those from number `sparse_from` on are sparse. At the end their keys and values are in the cache,
    /// and their last residuals stand in `work.buf.hidden`.
    pub(crate) fn forward(
        &mut self,
        tokens: &[u32],
        position: usize,
        sparse_from: usize,
        mode: Mode<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        self.ahead.forget();
        self.work.begin(&self.model, tokens.iter().copied().zip(position..));
        let counted = match mode {
            Mode::Prompt => 0,
            Mode::Decode => 1,
            Mode::Window { .. } => tokens.len().saturating_sub(sparse_from),
        };
        let mut seqs = [Some(self.own.seq(position, tokens.len(), sparse_from))];
        let budget = Budget::unlimited();
        whole(self.work.advance(&self.model, &mut seqs, &budget, &self.cancel, mode, observer))?;
        if counted > 0 {
            self.traffic.tokens += counted as u64;
            self.traffic.linear_bytes += self.work.read.of(0);
        }
        Ok(())
    }

    /// The last residuals of the last pass's first `rows` tokens, `[rows, hidden]`.
    pub(super) fn last_hidden(&self, rows: usize) -> &[f32] {
        &self.work.buf.hidden[..rows * self.model.config().hidden_size]
    }

    /// Puts others in their place, `[rows, hidden]` from row `start` on, for the head to take.
    pub(super) fn put_hidden(&mut self, start: usize, hidden: &[f32]) {
        let start = start * self.model.config().hidden_size;
        self.work.buf.hidden[start..start + hidden.len()].copy_from_slice(hidden);
    }

    /// The likeliest token after row `row` of the last pass.
    pub(crate) fn greedy(&mut self, row: usize) -> Result<u32> {
        let (model, budget) = (&*self.model, Budget::unlimited());
        let h = model.config().hidden_size;
        self.head.token.prepare(model, &self.work.buf.hidden[row * h..][..h]);
        self.work.restart();
        let token = [Some(self.head.token.row(model))];
        whole(all_logits(model, &mut self.work.pool(&budget, &self.cancel), &token))?;
        token.iter().flatten().try_for_each(HeadRow::check)?;
        self.head_bytes += model.head_bytes();
        Ok(argmax(&self.head.token.logits))
    }

    /// Counts tokens that passed densely where sparse ones are counted.
    pub(super) fn count_dense(&mut self, tokens: usize) {
        if tokens == 0 {
            return;
        }
        self.traffic.tokens += tokens as u64;
        let adapters = self.own.adapters.active();
        let bytes = |group: &Group| group.bytes() + group.low_rank_bytes() + adapters.bytes(group);
        let bytes: u64 = self.model.groups().map(bytes).sum();
        self.traffic.linear_bytes += tokens as u64 * bytes;
    }

    /// Logits of `rows` of the last pass, into `out`: `[rows, vocab]`. Each row has the bits of
    /// [`all_logits`].
    pub(crate) fn head_many(&mut self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let model = &*self.model;
        let kernels = model.kernels();
        let h = model.config().hidden_size;
        let buf = &mut self.work.buf;
        for row in rows.clone() {
            let span = row * h..(row + 1) * h;
            model.final_norm().apply(kernels, &mut buf.normed[span.clone()], &buf.hidden[span], 0..h);
        }
        let weights = model.lm_head();
        let normed = view(&buf.normed[rows.start * h..], rows.len(), h);
        let (whole, scale) = match weights {
            RowsRef::Float(_) => (&mut [][..], &mut [][..]),
            RowsRef::Quantized(_) => {
                (&mut buf.whole[..rows.len() * h], &mut buf.whole_scale[..rows.len() * h / QUANT_GROUP])
            }
        };
        if let RowsRef::Quantized(_) = weights {
            kernels.quantize(whole, scale, &buf.normed[rows.start * h..rows.end * h], 0.0);
        }
        let whole_cols = if whole.is_empty() { 0 } else { h };
        let whole = QuantizedRef::new(whole, scale, rows.len(), whole_cols).expect("buffers hold a batch");
        let vocab = weights.rows();
        let out = SharedSlice::new(out);
        let mut region = self.work.pool.region();
        let parts = region.parts();
        region.run(&|part| {
            let columns = share(vocab, UNIT, parts, part);
            // SAFETY: shares of different parts do not overlap.
            let mut out = unsafe { out.matrix(0..rows.len(), columns.clone(), vocab) };
            weights.row_range(columns.clone()).multiply(kernels, out.reborrow(), normed, whole);
            (0..rows.len()).for_each(|row| model.finish_logits(columns.clone(), out.row_mut(row)));
        })
    }
}

/// What came of work that had no budget to stop at.
fn whole(outcome: Flow) -> Result<()> {
    outcome.map_err(|halt| match halt {
        Halt::Failed(error) => error,
        Halt::Pending => Error::new(Status::Internal, "a pass without a budget stopped"),
    })
}
