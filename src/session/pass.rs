//! One pass of tokens through the decoder blocks.
//!
//! Walks the operations of each block (`model/block.rs`), an arm an operation. Every large one is a job that the team's
//! threads share by outputs, so no sum is ever split and the bits do not depend on their number. A pass can stop after any
//! unit of work and go on at a later call, see `work.rs`.
//!
//! The tokens are some of one text, one after the other, or one of each of several texts: then each has keys, values and
//! thresholds of its own, and what is read once for all of them are the weights.

use super::budget::{Budget, Cancelled, Flow};
use super::buffers::Buffers;
use super::engine::Observer;
use super::kv_cache::KvCache;
use super::linear::Pass;
use super::shared::{Shared, share};
use super::work::{Place, Work};
use crate::Result;
use crate::format::BLOCKS;
use crate::model::{Activation, GroupKind, Layer, Model, Norm, Op, QkNorm, QkNormOver, Stream};
use crate::team::Team;
use rasp_kernels::MatRef;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

/// Texts whose tokens pass together, at most. With so many, arithmetic is all that counts.
pub(super) const MAX_SEQS: usize = 32;

/// A text of which a token passes, or several: what a pass touches of its session.
pub(super) struct Seq<'a> {
    /// Of its first token in this pass.
    pub(super) position: usize,
    pub(super) kv: &'a mut KvCache,
    /// Room for attention scores, 8 queries' of a full context at least.
    pub(super) scores: &'a mut [f32],
    /// One a linear; `None`: dense.
    pub(super) thresholds: Option<&'a [f32]>,
    /// Bytes of linear weights read, as if its tokens had passed by themselves.
    pub(super) bytes: AtomicU64,
}

/// What kind of pass it is, and which of its tokens are sparse.
pub(crate) enum Mode<'a> {
    /// A prompt: all dense.
    Prompt,
    /// One generated token of each text; of those that are sparse dropped rows are skipped. `sparse` is for
    /// [`Engine::advance`](super::engine::Engine::advance), which passes one.
    Decode { sparse: bool },
    /// A text to be scored, sparse from the token of this index on: dropped inputs are zeroed in a copy
    /// (`masked: [T, widest input]`; `masked_whole` where weights are whole numbers), which gives the same bits as
    /// skipping rows.
    Window { sparse_from: usize, masked: &'a mut [f32], masked_whole: &'a mut [i16] },
}

/// Where tokens pass: a team and its scratch. It belongs to a session, but tokens of others can pass in it as well.
pub(crate) struct Workspace {
    pub(super) team: Team,
    pub(crate) buf: Buffers,
    /// Tokens of one pass at most.
    batch: usize,
    at: PassPlace,
    place: Place,
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
    pub(super) fn new(team: Team, batch: usize, buf: Buffers) -> Workspace {
        Workspace { team, buf, batch, at: PassPlace::default(), place: Place::default() }
    }

    /// Tokens of one text in one pass, at most.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// Texts of which a token can pass in one pass. The sums of a token's blocks lie in rows of tokens that are not there.
    pub(super) fn most_seqs(&self) -> usize {
        (self.batch / BLOCKS).clamp(1, MAX_SEQS)
    }

    /// Tokens of the pass under way.
    pub(super) fn rows(&self) -> usize {
        self.at.rows
    }

    /// Begins a pass of tokens at these positions (ids checked, no more than there is room for): their embeddings.
    /// Whatever pass was under way is forgotten.
    pub(super) fn begin(&mut self, model: &Model, tokens: impl Iterator<Item = (u32, usize)>) {
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
        self.restart();
    }

    /// Forgets what was interrupted, so that something else can begin.
    pub(super) fn restart(&mut self) {
        self.place = Place::default();
        self.buf.counts.fill(0);
    }

    /// The team at work on something other than a pass.
    pub(super) fn team<'a>(&'a mut self, budget: &'a Budget, cancel: &'a dyn Cancelled) -> Work<'a> {
        Work::new(self.team.burst(), budget, cancel, &mut self.place, &mut self.buf.counts)
    }

    /// Takes the pass as far through the blocks as the budget goes. At their end the tokens' keys and values are in their
    /// caches, and their last residuals stand in `buf.hidden`. `seqs`, as many as there are tokens in mode `Decode` and
    /// else one, and `mode` are the same at every call.
    pub(super) fn advance<'s>(
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
        let mut pass = Pass {
            work: Work::new(self.team.burst(), budget, cancel, &mut self.place, &mut buf.counts),
            kernels: model.kernels(),
            rows,
            batch: self.batch,
            mode: &mut mode,
            seqs,
            active: &mut buf.active,
            low_rank: &mut buf.low_rank,
            sums: &mut buf.sums,
            whole: &mut buf.whole,
            whole_scale: &mut buf.whole_scale,
        };

        for (n, layer) in model.layers().iter().enumerate().skip(start) {
            while let Some(&op) = layer.ops().get(at.op) {
                // What follows a projection and takes its outputs alone is done along with it, part by part.
                let mut done = 1;
                match op {
                    Op::Norm(id) => {
                        let norm = norm_of(layer.norm(id));
                        pass.norm(norm, &mut buf.normed, &buf.hidden)?;
                    }
                    Op::Project(kind, from) => {
                        let (group, next) = (layer.group(kind), layer.ops().get(at.op + 1));
                        let (width, stream) = match from {
                            Stream::Residual => (h, &buf.hidden),
                            Stream::Normed => (h, &buf.normed),
                            Stream::Attended => (q, &buf.attn),
                            Stream::Activated => (inner, &buf.act),
                        };
                        observer.group_input(n, kind, view(stream, rows, width));
                        match (kind, from, next) {
                            (GroupKind::Qkv, ..) => {
                                pass.linears(group, view(stream, rows, width), &mut buf.qkv)?;
                            }
                            (GroupKind::GateUp, Stream::Residual | Stream::Normed, Some(&Op::Activate(activation))) => {
                                let x = if from == Stream::Normed { &buf.normed } else { &buf.hidden };
                                pass.activated(group, activation, view(x, rows, h), &mut buf.gate_up, &mut buf.act)?;
                                done = 2;
                            }
                            (GroupKind::GateUp, ..) => {
                                pass.linears(group, view(stream, rows, width), &mut buf.gate_up)?;
                            }
                            (GroupKind::O | GroupKind::Down, Stream::Attended, Some(Op::Add)) => {
                                let x = view(&buf.attn, rows, q);
                                pass.project(group, x, &mut buf.delta, &mut buf.hidden)?;
                                done = 2;
                            }
                            (GroupKind::O | GroupKind::Down, Stream::Activated, Some(Op::Add)) => {
                                let x = view(&buf.act, rows, inner);
                                pass.project(group, x, &mut buf.delta, &mut buf.hidden)?;
                                done = 2;
                            }
                            (GroupKind::O | GroupKind::Down, ..) => {
                                pass.linears(group, view(stream, rows, width), &mut buf.delta)?;
                            }
                        }
                    }
                    Op::Clip(most) => {
                        let width = q + 2 * config.kv_dim();
                        buf.qkv[..rows * width].iter_mut().for_each(|x| *x = x.clamp(-most, most));
                    }
                    Op::HeadNorm(norm) => pass.head_norm(model, layer, norm, &mut buf.qkv, &mut buf.attn),
                    Op::Rotate(table) => {
                        let (width, turned) = (q + 2 * config.kv_dim(), q + config.kv_dim());
                        for row in 0..rows {
                            let angles = angles(table, row, self.batch, config.head_dim / 2);
                            let (cos, sin) = (&buf.cos[angles.clone()], &buf.sin[angles]);
                            for head in buf.qkv[row * width..][..turned].chunks_exact_mut(config.head_dim) {
                                pass.kernels.rope(head, cos, sin);
                            }
                        }
                    }
                    Op::Store => {
                        let (width, kv) = (q + 2 * config.kv_dim(), config.kv_dim());
                        for row in 0..rows {
                            let (key, value) = buf.qkv[row * width..][q..q + 2 * kv].split_at(kv);
                            pass.store(n, row, key, value);
                        }
                    }
                    Op::Attend(kind) => pass.attention(model, n, kind, &buf.qkv, &mut buf.attn)?,
                    Op::Activate(activation) => {
                        pass.activate(activation, config.block.gated, inner, &buf.gate_up, &mut buf.act);
                    }
                    Op::PostNorm(id) => {
                        // The normed stream has been read: its buffer takes the delta's norm, and becomes the delta.
                        pass.norm(norm_of(layer.norm(id)), &mut buf.normed, &buf.delta)?;
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

/// A norm that the layer's operations name, which the loader has seen to.
fn norm_of(norm: Option<&Norm>) -> &Norm {
    norm.expect("a layer has the norms of its operations")
}

/// Where the angles of a token lie, of which a table has `batch`.
fn angles(table: usize, row: usize, batch: usize, half: usize) -> Range<usize> {
    (table * batch + row) * half..(table * batch + row + 1) * half
}

/// The first `rows` rows of a `[T, cols]` buffer.
pub(super) fn view(data: &[f32], rows: usize, cols: usize) -> MatRef<'_> {
    MatRef::new(data, rows, cols, cols).expect("buffers hold a batch")
}

/// Angles are computed in f64: at position 100 000 an f32 product would be off by hundredths of a radian.
/// What turns is multiplied by `gain`.
pub(super) fn rope_table(inv_freq: &[f32], gain: f32, position: usize, cos: &mut [f32], sin: &mut [f32]) {
    for ((&frequency, cos), sin) in inv_freq.iter().zip(cos).zip(sin) {
        let (s, c) = (position as f64 * f64::from(frequency)).sin_cos();
        let gain = if frequency == 0.0 { 1.0 } else { f64::from(gain) };
        (*cos, *sin) = ((c * gain) as f32, (s * gain) as f32);
    }
}

impl Pass<'_, '_> {
    fn norm(&mut self, norm: &Norm, y: &mut [f32], x: &[f32]) -> Result<()> {
        let (kernels, h, rows, parts) = (self.kernels, norm.gain().len(), self.rows, self.work.parts());
        if rows == 1 {
            // Cheaper than a fork, and than remembering that it is done.
            norm.apply(kernels, &mut y[..h], &x[..h], 0..h);
            return Ok(());
        }
        let y = Shared::new(y);
        self.work.small(&|part| {
            for row in share(rows, 1, parts, part) {
                let span = row * h..(row + 1) * h;
                // SAFETY: shares of different parts do not overlap.
                norm.apply(kernels, unsafe { y.slice(span.clone()) }, &x[span], 0..h);
            }
        })
    }

    /// Queries and keys normed in place; `scratch` takes a token's queries.
    fn head_norm(&self, model: &Model, layer: &Layer, norm: QkNorm, qkv: &mut [f32], scratch: &mut [f32]) {
        let (config, Some(norms)) = (model.config(), layer.qk_norm()) else { return };
        let (q, kv) = (config.q_dim(), config.kv_dim());
        for row in qkv.chunks_exact_mut(q + 2 * kv).take(self.rows) {
            let (queries, rest) = row.split_at_mut(q);
            for (x, own) in [queries, &mut rest[..kv]].into_iter().zip(norms) {
                let width = match norm.over {
                    QkNormOver::Head => config.head_dim,
                    QkNormOver::Vector => x.len(),
                };
                let y = &mut scratch[..x.len()];
                y.copy_from_slice(x);
                for (n, (x, y)) in x.chunks_exact_mut(width).zip(y.chunks_exact(width)).enumerate() {
                    own.apply(self.kernels, x, y, n * width..(n + 1) * width);
                }
            }
        }
    }

    /// `act = activation(gate) · up`, or `activation(up)`, of what lies in `gate_up`.
    fn activate(&self, activation: Activation, gated: bool, width: usize, gate_up: &[f32], act: &mut [f32]) {
        for (act, row) in
            act.chunks_exact_mut(width).zip(gate_up.chunks_exact(width << usize::from(gated))).take(self.rows)
        {
            let (x, up) = row.split_at(width);
            self.kernels.activate(activation, act, x, gated.then_some(up));
        }
    }

    /// Puts the key and value of a token of the pass into its text's cache.
    fn store(&mut self, layer: usize, row: usize, key: &[f32], value: &[f32]) {
        let (kernels, own) = (self.kernels, if self.is_of_many() { row } else { 0 });
        if let Some(Some(seq)) = self.seqs.get_mut(own) {
            seq.kv.put(kernels, layer, seq.position + row - own, key, value);
        }
    }
}
