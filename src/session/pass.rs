//! One pass of tokens through the decoder blocks.
//!
//! Reads like the papers: norm, q/k/v, rotate, attend, project, add; norm, gate and up, SiLU, down, add. Every large
//! step is a job that the team's threads share by outputs, so no sum is ever split and the bits do not depend on their
//! number. A pass can stop after any unit of work and go on at a later call, see `work.rs`.
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
use crate::model::{GroupKind, Model};
use crate::team::Team;
use rasp_kernels::MatRef;
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
    stage: Stage,
}

/// What a token passes in a decoder block, in order.
#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Qkv,
    Rotate,
    Attend,
    Project,
    GateUp,
    Down,
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
        let (kernels, h, half) = (model.kernels(), model.config().hidden_size, model.inv_freq().len());
        let (embedding, buf) = (model.embed_tokens(), &mut self.buf);
        let mut rows = 0;
        for (row, (token, position)) in tokens.enumerate() {
            embedding.widen(kernels, token as usize, &mut buf.hidden[row * h..(row + 1) * h]);
            let angles = row * half..(row + 1) * half;
            rope_table(model.inv_freq(), position, &mut buf.cos[angles.clone()], &mut buf.sin[angles]);
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
        let kernels = model.kernels();
        let (h, q, k) = (config.hidden_size, config.q_dim(), config.kv_dim());
        let eps = config.rms_norm_eps;
        let (rows, start) = (self.at.rows, self.at.layer);
        let (buf, at) = (&mut self.buf, &mut self.at);
        let mut pass = Pass {
            work: Work::new(self.team.burst(), budget, cancel, &mut self.place, &mut buf.counts),
            kernels,
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
            loop {
                at.stage = match at.stage {
                    Stage::Qkv => {
                        pass.norm(&mut buf.normed, &buf.hidden, &layer.attn_norm, eps)?;
                        let normed = view(&buf.normed, rows, h);
                        observer.group_input(n, GroupKind::Qkv, normed);
                        pass.linears(&layer.qkv, normed, &mut buf.qkv)?;
                        Stage::Rotate
                    }
                    Stage::Rotate => {
                        for row in 0..rows {
                            let qkv = &mut buf.qkv[row * (q + 2 * k)..][..q + 2 * k];
                            let half = row * config.head_dim / 2..(row + 1) * config.head_dim / 2;
                            for head in qkv[..q + k].chunks_exact_mut(config.head_dim) {
                                kernels.rope(head, &buf.cos[half.clone()], &buf.sin[half.clone()]);
                            }
                            pass.store(n, row, &qkv[q..q + k], &qkv[q + k..]);
                        }
                        Stage::Attend
                    }
                    Stage::Attend => {
                        pass.attention(model, n, &buf.qkv, &mut buf.attn)?;
                        Stage::Project
                    }
                    Stage::Project => {
                        let attn = view(&buf.attn, rows, q);
                        observer.group_input(n, GroupKind::O, attn);
                        pass.project(&layer.o, attn, &mut buf.delta, &mut buf.hidden)?;
                        Stage::GateUp
                    }
                    Stage::GateUp => {
                        pass.norm(&mut buf.normed, &buf.hidden, &layer.mlp_norm, eps)?;
                        let normed = view(&buf.normed, rows, h);
                        observer.group_input(n, GroupKind::GateUp, normed);
                        pass.gated(&layer.gate_up, normed, &mut buf.gate_up, &mut buf.act)?;
                        Stage::Down
                    }
                    Stage::Down => {
                        let act = view(&buf.act, rows, config.intermediate_size);
                        observer.group_input(n, GroupKind::Down, act);
                        pass.project(&layer.down, act, &mut buf.delta, &mut buf.hidden)?;
                        observer.hidden(n, view(&buf.hidden, rows, h));
                        at.stage = Stage::Qkv;
                        at.layer = n + 1;
                        pass.work.next_stage();
                        break;
                    }
                };
                pass.work.next_stage();
            }
        }
        Ok(())
    }
}

/// The first `rows` rows of a `[T, cols]` buffer.
pub(super) fn view(data: &[f32], rows: usize, cols: usize) -> MatRef<'_> {
    MatRef::new(data, rows, cols, cols).expect("buffers hold a batch")
}

/// Angles are computed in f64: at position 100 000 an f32 product would be off by hundredths of a radian.
pub(super) fn rope_table(inv_freq: &[f32], position: usize, cos: &mut [f32], sin: &mut [f32]) {
    for ((&frequency, cos), sin) in inv_freq.iter().zip(cos).zip(sin) {
        let (s, c) = (position as f64 * f64::from(frequency)).sin_cos();
        (*cos, *sin) = (c as f32, s as f32);
    }
}

impl Pass<'_, '_> {
    fn norm(&mut self, y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) -> Result<()> {
        let (kernels, h, rows, parts) = (self.kernels, weight.len(), self.rows, self.work.parts());
        if rows == 1 {
            // Cheaper than a fork, and than remembering that it is done.
            kernels.rms_norm(&mut y[..h], &x[..h], weight, eps);
            return Ok(());
        }
        let y = Shared::new(y);
        self.work.small(&|part| {
            for row in share(rows, 1, parts, part) {
                let span = row * h..(row + 1) * h;
                // SAFETY: shares of different parts do not overlap.
                kernels.rms_norm(unsafe { y.slice(span.clone()) }, &x[span], weight, eps);
            }
        })
    }

    /// Puts the key and value of a token of the pass into its text's cache.
    fn store(&mut self, layer: usize, row: usize, key: &[f32], value: &[f32]) {
        let (kernels, own) = (self.kernels, if self.is_of_many() { row } else { 0 });
        if let Some(Some(seq)) = self.seqs.get_mut(own) {
            seq.kv.put(kernels, layer, seq.position + row - own, key, value);
        }
    }
}
