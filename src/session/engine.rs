//! One pass of tokens through the decoder blocks.
//!
//! Reads like the papers: norm, q/k/v, rotate, attend, project, add; norm, gate and up, SiLU, down, add. Every large
//! step is a job that the team's threads share by outputs, so no sum is ever split and the bits do not depend on their
//! number. A pass can stop after any unit of work and go on at a later call, see `work.rs`.

use super::budget::{Budget, Flow, Halt};
use super::kv_cache::{KEY_BLOCK, KvCache, KvType};
use super::linear::{Pass, sums_len};
use super::shared::{Shared, share};
use super::work::{Place, Work, counts_len};
use crate::arena::{Buf, Cutter, Part};
use crate::model::{Group, GroupKind, Model};
use crate::team::Team;
use crate::{Error, Result, Status};
use rasp_kernels::{MatRef, QUANT_GROUP};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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

/// Everything a pass needs besides the tokens: the model, the threads, the cache and the activations.
pub(crate) struct Engine {
    pub(crate) model: Arc<Model>,
    pub(crate) kv: KvCache,
    pub(crate) buf: Buffers,
    pub(crate) traffic: Traffic,
    /// Bytes of the head that were read for tokens passed singly.
    pub(crate) head_bytes: u64,
    pub(crate) cancel: Cancel,
    pub(super) team: Team,
    /// Tokens of one pass at most.
    batch: usize,
    at: PassPlace,
    pub(super) place: Place,
}

/// Where a pass stands. What it has computed so far is in the buffers.
#[derive(Default)]
struct PassPlace {
    /// Tokens of the pass, and the position of the first.
    rows: usize,
    position: usize,
    layer: usize,
    stage: Stage,
    /// Bytes of linear weights that the tokens that are counted have read.
    bytes: u64,
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

/// The memory of an [`Engine`].
pub(crate) struct EngineMemory {
    buf: Buffers,
    kv: KvCache,
    cancel: Buf<AtomicBool>,
}

impl EngineMemory {
    pub(crate) fn cut(
        cutter: &mut Cutter,
        model: &Model,
        context: usize,
        batch: usize,
        threads: usize,
        kv_type: KvType,
    ) -> EngineMemory {
        EngineMemory {
            buf: Buffers::cut(cutter, model, batch, threads, context),
            kv: KvCache::cut(cutter, model.config(), kv_type, context),
            cancel: cutter.part(Part::Bookkeeping).take(1),
        }
    }
}

/// Activations and scratch. `T` is the tokens of a pass, `H`, `Q`, `K`, `I` as in `docs/design.md`.
pub(crate) struct Buffers {
    /// The residual stream: `[T, H]`
    pub(crate) hidden: Buf<f32>,
    /// `[T, H]`
    pub(super) normed: Buf<f32>,
    /// `[T, Q + 2K]`
    qkv: Buf<f32>,
    /// `[T, Q]`
    attn: Buf<f32>,
    /// What a sub-block adds to the residual stream: `[T, H]`
    delta: Buf<f32>,
    /// `[T, 2I]`
    gate_up: Buf<f32>,
    /// `[T, I]`
    act: Buf<f32>,
    /// A group's input in whole numbers: `[T, widest input]`, and its scales, one for every 32
    pub(super) whole: Buf<i16>,
    pub(super) whole_scale: Buf<f32>,
    /// `B x` of all linears of a group: `[T, largest rank of a group]`
    low_rank: Buf<f32>,
    /// `[T, head_dim / 2]` each
    pub(super) cos: Buf<f32>,
    pub(super) sin: Buf<f32>,
    /// What the head takes, of the last token: `[H]`
    pub(super) last: Buf<f32>,
    /// The same of the token that is about to be the last, and in whole numbers
    pub(super) coming: Buf<f32>,
    pub(super) last_i16: Buf<i16>,
    /// One for every 32 elements, where the head is in whole numbers
    pub(super) last_scale: Buf<f32>,
    /// `[vocab]`
    pub(crate) logits: Buf<f32>,
    /// The logits as biases and the host's callback leave them: `[vocab]`
    pub(crate) steered: Buf<f32>,
    /// One a linear: `[7 · layers]`
    pub(crate) thresholds: Buf<f32>,
    /// Sums of blocks of input channels, see [`Pass::sums`]
    sums: Buf<f32>,
    /// Kept channels, a part: `[parts, widest input]`
    active: Buf<u32>,
    /// Attention scores, a part: `[parts, QUERY_TILE, context]`
    scores: Buf<f32>,
    /// Pieces done, a part, see [`Work`]
    pub(super) counts: Buf<u32>,
}

impl Buffers {
    fn cut(cutter: &mut Cutter, model: &Model, batch: usize, parts: usize, context: usize) -> Buffers {
        let c = model.config();
        let groups = || model.layers().iter().flat_map(|l| l.groups());
        let rank = groups().map(Group::rank).max().unwrap_or(0);
        let input = groups().map(Group::input).max().unwrap_or(0);
        let output = groups().map(Group::output).max().unwrap_or(0);
        let whole = groups().filter(|g| g.is_quantized()).map(Group::input).max().unwrap_or(0);
        let linears = groups().map(|g| g.linears().len()).sum();
        // A product beyond the address space, of 32 bits for one, saturates, and the arena then refuses it.
        let many = |width: usize| batch.saturating_mul(width);
        let tile = parts.saturating_mul(QUERY_TILE).saturating_mul(context.next_multiple_of(KEY_BLOCK));
        let thresholds = cutter.part(Part::Bookkeeping).take(linears);
        let logits = cutter.part(Part::Sampling).take(c.vocab_size);
        let steered = cutter.take(c.vocab_size);
        cutter.part(Part::Activations);
        Buffers {
            hidden: cutter.take(many(c.hidden_size)),
            normed: cutter.take(many(c.hidden_size)),
            qkv: cutter.take(many(c.q_dim() + 2 * c.kv_dim())),
            attn: cutter.take(many(c.q_dim())),
            delta: cutter.take(many(c.hidden_size)),
            gate_up: cutter.take(many(2 * c.intermediate_size)),
            act: cutter.take(many(c.intermediate_size)),
            whole: cutter.take(many(whole)),
            whole_scale: cutter.take(many(whole / QUANT_GROUP)),
            low_rank: cutter.take(many(rank)),
            cos: cutter.take(many(c.head_dim / 2)),
            sin: cutter.take(many(c.head_dim / 2)),
            last: cutter.take(c.hidden_size),
            coming: cutter.take(c.hidden_size),
            last_i16: cutter.take(if model.head_look().is_some() || whole > 0 { c.hidden_size } else { 0 }),
            last_scale: cutter.take(if whole > 0 { c.hidden_size / QUANT_GROUP } else { 0 }),
            logits,
            steered,
            thresholds,
            sums: cutter.take(sums_len(output, batch, parts)),
            active: cutter.take(parts * input),
            scores: cutter.take(tile),
            counts: cutter.take(counts_len(parts)),
        }
    }
}

/// What kind of pass it is, and which of its tokens are sparse.
pub(crate) enum Mode<'a> {
    /// A prompt: all dense.
    Prompt,
    /// One generated token; if it is sparse, dropped rows are skipped.
    Decode { sparse: bool },
    /// A text to be scored, sparse from the token of this index on: dropped inputs are zeroed in a copy
    /// (`masked: [T, widest input]`; `masked_whole` where weights are whole numbers), which gives the same bits as
    /// skipping rows.
    Window { sparse_from: usize, masked: &'a mut [f32], masked_whole: &'a mut [i16] },
}

impl Engine {
    /// An engine in `memory`, which was cut for as many tokens and threads.
    pub(crate) fn new(model: Arc<Model>, team: Team, batch: usize, memory: EngineMemory) -> Engine {
        let EngineMemory { buf, kv, cancel } = memory;
        let cancel = Cancel { own: cancel, shared: None };
        let (at, place) = Default::default();
        Engine { model, kv, buf, traffic: Traffic::default(), head_bytes: 0, cancel, team, batch, at, place }
    }

    /// Tokens of one pass at most.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Threads, the caller's included.
    pub(crate) fn parts(&self) -> usize {
        self.team.parts()
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
        self.advance(&Budget::unlimited(), mode, observer).map_err(|halt| match halt {
            Halt::Failed(error) => error,
            Halt::Pending => Error::new(Status::Internal, "a pass without a budget stopped"),
        })
    }

    /// Begins a pass of `tokens` (at most [`batch`](Engine::batch), ids checked) from `position` on: their embeddings.
    /// Whatever pass was under way is forgotten.
    pub(crate) fn begin(&mut self, tokens: &[u32], position: usize) {
        let model = &*self.model;
        let (kernels, h, rows) = (model.kernels(), model.config().hidden_size, tokens.len());
        let embedding = model.embed_tokens();
        for (row, &token) in self.buf.hidden.chunks_exact_mut(h).zip(tokens) {
            embedding.widen(kernels, token as usize, row);
        }
        rope_table(model.inv_freq(), position, rows, &mut self.buf.cos, &mut self.buf.sin);
        self.at = PassPlace { rows, position, ..Default::default() };
        self.restart();
    }

    /// Forgets what was interrupted, so that something else can begin.
    pub(super) fn restart(&mut self) {
        self.place = Place::default();
        self.buf.counts.fill(0);
    }

    /// Counts tokens that passed densely where sparse ones are counted.
    pub(super) fn count_dense(&mut self, tokens: usize) {
        self.traffic.tokens += tokens as u64;
        let groups = self.model.layers().iter().flat_map(|layer| layer.groups());
        let bytes: u64 = groups.map(|group| group.bytes() + group.low_rank_bytes() as u64).sum();
        self.traffic.linear_bytes += tokens as u64 * bytes;
    }

    /// Takes the pass as far through the blocks as the budget goes. At their end the tokens' keys and values are in the
    /// cache, and their last residuals stand in `buf.hidden`. `mode` is the same at every call.
    pub(crate) fn advance(&mut self, budget: &Budget, mut mode: Mode<'_>, observer: &mut dyn Observer) -> Flow {
        let model = &*self.model;
        let config = model.config();
        let kernels = model.kernels();
        let PassPlace { rows, position, layer: start, .. } = self.at;
        let (h, q, k) = (config.hidden_size, config.q_dim(), config.kv_dim());
        let eps = config.rms_norm_eps;
        let counted = match mode {
            Mode::Prompt => 0,
            Mode::Decode { .. } => 1,
            Mode::Window { sparse_from, .. } => rows.saturating_sub(sparse_from),
        };
        let (buf, at) = (&mut self.buf, &mut self.at);
        let mut pass = Pass {
            work: Work::new(self.team.burst(), budget, &self.cancel, &mut self.place, &mut buf.counts),
            kernels,
            rows,
            batch: self.batch,
            mode: &mut mode,
            thresholds: &buf.thresholds,
            active: &mut buf.active,
            low_rank: &mut buf.low_rank,
            sums: &mut buf.sums,
            whole: &mut buf.whole,
            whole_scale: &mut buf.whole_scale,
            bytes: &mut at.bytes,
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
                            self.kv.put(kernels, n, position + row, &qkv[q..q + k], &qkv[q + k..]);
                        }
                        Stage::Attend
                    }
                    Stage::Attend => {
                        pass.attention(model, n, &buf.qkv, &self.kv, position, &mut buf.scores, &mut buf.attn)?;
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
        drop(pass);
        if counted > 0 {
            self.traffic.tokens += counted as u64;
            self.traffic.linear_bytes += at.bytes;
        }
        Ok(())
    }
}

/// The first `rows` rows of a `[T, cols]` buffer.
pub(super) fn view(data: &[f32], rows: usize, cols: usize) -> MatRef<'_> {
    MatRef::new(data, rows, cols, cols).expect("buffers hold a batch")
}

/// Angles are computed in f64: at position 100 000 an f32 product would be off by hundredths of a radian.
pub(super) fn rope_table(inv_freq: &[f32], position: usize, rows: usize, cos: &mut [f32], sin: &mut [f32]) {
    let half = inv_freq.len();
    for row in 0..rows {
        for (i, &frequency) in inv_freq.iter().enumerate() {
            let (s, c) = ((position + row) as f64 * f64::from(frequency)).sin_cos();
            cos[row * half + i] = c as f32;
            sin[row * half + i] = s as f32;
        }
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
}
