//! One pass of tokens through the decoder blocks.
//!
//! Walks the operations of each block (`model/block.rs`), an arm an operation. Every large one is a job that the thread
//! pool's threads share by outputs, so no sum is ever split and the bits do not depend on their number. A pass can stop
//! after any unit of work and go on at a later call, see `work.rs`.
//!
//! The tokens are some of one text, one after the other, or of several texts: then each text has keys, values and
//! thresholds of its own, and what is read once for all of them are the weights.

mod attention;
pub(crate) mod buffers;
mod context;
mod decode;
mod lm_head;
mod low_rank;
mod project;
mod prompt;
mod rows;
mod shared;
mod shortlist;
mod tiles;
mod up_rows;
mod work;

pub(crate) use context::{Mode, Read, Seq, view};
pub(crate) use lm_head::{HeadOutcome, HeadRow, all_logits, non_finite};
pub(crate) use rows::rope_table;
pub(crate) use shared::{SharedSlice, share};
pub(crate) use shortlist::{MOST_DECIDING, largest};
pub(crate) use tiles::{MASKED, MAX_ROWS, UNIT};

use super::budget::{Budget, Cancelled, Flow};
use super::engine::Observer;
use crate::format::BLOCKS;
use crate::model::{GroupKind, Model, Op, Stream};
use crate::pool::ThreadPool;
use buffers::Buffers;
use context::{Pass, Row};
use rows::angles;
use work::{ForksDone, Work};

/// Where tokens pass: a thread pool and its scratch. It belongs to a session, but tokens of others can pass in it as
/// well.
pub(crate) struct Workspace {
    pub(crate) pool: ThreadPool,
    pub(crate) buf: Buffers,
    /// Tokens of one pass at most.
    batch: usize,
    at: PassPlace,
    place: ForksDone,
    /// Of the pass in hand, or the last one.
    pub(crate) read: Read,
}

/// Where a pass stands. What it has computed so far is in the buffers.
#[derive(Default)]
struct PassPlace {
    /// Tokens of the pass.
    rows: usize,
    layer: usize,
    /// The place of an operation among the layer's.
    op: usize,
}

impl Workspace {
    pub(crate) fn new(pool: ThreadPool, batch: usize, buf: Buffers) -> Workspace {
        Workspace { pool, buf, batch, at: PassPlace::default(), place: ForksDone::default(), read: Read::default() }
    }

    /// Tokens of one text in one pass, at most.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Tokens that can be decoded in one pass. The sums of a token's blocks lie in rows of tokens that are not there.
    pub(crate) fn most_decoded(&self) -> usize {
        (self.batch / BLOCKS).clamp(1, MAX_ROWS)
    }

    /// Begins a pass of tokens at these positions (ids checked, no more than there is room for): their embeddings.
    /// Whatever pass was under way is forgotten.
    pub(crate) fn begin(&mut self, model: &Model, tokens: impl Iterator<Item = (u32, usize)>) {
        let (h, half, buf) = (model.config().hidden_size, model.config().head_dim / 2, &mut self.buf);
        let mut rows = 0;
        for (row, (token, position)) in tokens.enumerate() {
            model.embed(token, position, &mut buf.hidden[row * h..(row + 1) * h]);
            for (table, frequencies) in model.ropes().iter().enumerate() {
                let angles = angles(table, row, self.batch, half);
                let gain = model.config().block.rope_gain(table);
                rope_table(frequencies, gain, position, &mut buf.cos[angles.clone()], &mut buf.sin[angles]);
            }
            rows = row + 1;
        }
        self.at = PassPlace { rows, ..Default::default() };
        self.read = Read::default();
        self.restart();
    }

    /// Forgets what was interrupted, so that something else can begin.
    pub(crate) fn restart(&mut self) {
        self.place = ForksDone::default();
        self.buf.counts.fill(0);
    }

    /// The thread pool at work on something other than a pass.
    pub(crate) fn pool<'a>(&'a mut self, budget: &'a Budget, cancel: &'a dyn Cancelled) -> Work<'a> {
        Work::new(self.pool.region(), budget, cancel, &mut self.place, &mut self.buf.counts)
    }

    /// Takes the pass as far through the blocks as the budget goes. At their end the tokens' keys and values are in
    /// their caches, and their last residuals stand in `buf.hidden`. `seqs`, one but in mode `Decode`, and
    /// `mode` are the same at every call.
    pub(crate) fn advance<'s>(
        &mut self,
        model: &Model,
        seqs: &mut [Option<Seq<'s>>],
        budget: &Budget,
        cancel: &dyn Cancelled,
        mut mode: Mode<'s>,
        observer: &mut dyn Observer,
    ) -> Flow {
        let config = model.config();
        let (h, q, inner) = (config.hidden_size, config.q_dim(), config.intermediate_size);
        let (rows, start) = (self.at.rows, self.at.layer);
        let (buf, at) = (&mut self.buf, &mut self.at);
        let rows_of = Row::all(seqs);
        let adapted = seqs.iter().flatten().any(|seq| !seq.adapters.active().is_empty());
        let mut pass = Pass {
            work: Work::new(self.pool.region(), budget, cancel, &mut self.place, &mut buf.counts),
            kernels: model.kernels(),
            rows,
            batch: self.batch,
            mode: &mut mode,
            seqs,
            rows_of,
            read: &self.read,
            adapted,
            active: &mut buf.active,
            low_rank: &mut buf.low_rank,
            sums: &mut buf.sums,
            whole: &mut buf.whole,
            whole_scale: &mut buf.whole_scale,
            packed: &mut buf.packed,
        };

        for (n, layer) in model.layers().iter().enumerate().skip(start) {
            while let Some(&op) = layer.ops().get(at.op) {
                let next = layer.ops().get(at.op + 1);
                // What follows a projection and takes its outputs alone is done along with it, part by part.
                let mut done = 1;
                match op {
                    Op::Norm(id) => pass.norm(layer.norm(id), &mut buf.normed, &buf.hidden)?,
                    Op::Project(kind @ (GroupKind::Qkv | GroupKind::GateUp), from) => {
                        let x = if from == Stream::Residual { &buf.hidden } else { &buf.normed };
                        let x = view(x, rows, h);
                        observer.group_input(n, kind, x);
                        match next {
                            Some(&Op::Activate(activation)) => {
                                let (gate_up, act) = (&mut buf.gate_up, &mut buf.act);
                                pass.activated(layer.group(kind), activation, x, gate_up, act)?;
                                done = 2;
                            }
                            _ => pass.linears(layer.group(kind), x, &mut buf.qkv)?,
                        }
                    }
                    Op::Project(kind @ (GroupKind::O | GroupKind::Down), _) => {
                        let x = match kind {
                            GroupKind::O => view(&buf.attn, rows, q),
                            _ => view(&buf.act, rows, inner),
                        };
                        observer.group_input(n, kind, x);
                        match next {
                            Some(Op::Add) => {
                                pass.project(layer.group(kind), x, &mut buf.delta, &mut buf.hidden)?;
                                done = 2;
                            }
                            _ => pass.linears(layer.group(kind), x, &mut buf.delta)?,
                        }
                    }
                    Op::Clip(most) => pass.clip(config, most, &mut buf.qkv),
                    Op::HeadNorm(norm) => pass.head_norm(model, layer, norm, &mut buf.qkv, &mut buf.attn),
                    Op::Rotate(table) => pass.rotate(config, table, &mut buf.qkv, &buf.cos, &buf.sin),
                    Op::Store => pass.store(config, n, &buf.qkv),
                    Op::Attend(kind) => pass.attention(model, n, kind, &buf.qkv, &mut buf.attn)?,
                    Op::Activate(_) => unreachable!("done along with the projection before it"),
                    Op::PostNorm(id) => {
                        // The normed stream has been read: its buffer takes the delta's norm, and becomes the delta.
                        pass.norm(layer.norm(id), &mut buf.normed, &buf.delta)?;
                        std::mem::swap(&mut buf.normed, &mut buf.delta);
                    }
                    Op::Add => pass.kernels.add(&mut buf.hidden[..rows * h], &buf.delta[..rows * h]),
                }
                at.op += done;
                pass.work.next_stage();
            }
            observer.hidden(n, view(&buf.hidden, rows, h));
            (at.layer, at.op) = (n + 1, 0);
        }
        Ok(())
    }
}
