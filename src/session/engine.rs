//! One pass of tokens through the decoder blocks.
//!
//! Reads like the papers: norm, q/k/v, rotate, attend, project, add; norm, gate and up, SiLU, down, add. Every large
//! step is a job that the team's threads share by outputs, so no sum is ever split and the bits do not depend on their
//! number.

use super::arena::{Arena, Buf, Cutter};
use super::kv_cache::{KEY_BLOCK, KvCache, KvType};
use super::shared::{Shared, share};
use crate::model::{Group, GroupKind, Model};
use crate::team::{Burst, Team};
use crate::{Error, Result, Status};
use rasp_kernels::{Kernels, MatMut, MatRef};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Columns and rows are shared out in units of this many: whole vectors and whole cache lines on every machine.
const UNIT: usize = 32;

/// Queries whose attention is computed together, so that keys and values are read once for all of them.
const QUERY_TILE: usize = 8;

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
    pub(crate) cancel: Arc<AtomicBool>,
    team: Team,
    /// Tokens of one pass at most.
    batch: usize,
    /// What `buf` and `kv` lie in; last, so that it is dropped after them.
    arena: Arena,
}

/// Activations and scratch. `T` is the tokens of a pass, `H`, `Q`, `K`, `I` as in `docs/design.md`.
pub(crate) struct Buffers {
    /// The residual stream: `[T, H]`
    pub(crate) hidden: Buf<f32>,
    /// `[T, H]`
    normed: Buf<f32>,
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
    /// `B x` of all linears of a group: `[T, largest rank of a group]`
    low_rank: Buf<f32>,
    /// `[T, head_dim / 2]` each
    cos: Buf<f32>,
    sin: Buf<f32>,
    /// `[vocab]`
    pub(crate) logits: Buf<f32>,
    /// One a linear: `[7 · layers]`
    pub(crate) thresholds: Buf<f32>,
    /// Kept channels, a part: `[parts, widest input]`
    active: Buf<u32>,
    /// Attention scores, a part: `[parts, QUERY_TILE, context]`
    scores: Buf<f32>,
}

impl Buffers {
    fn cut(cutter: &mut Cutter, model: &Model, batch: usize, parts: usize, context: usize) -> Buffers {
        let c = model.config();
        let groups = || model.layers().iter().flat_map(|l| l.groups());
        let rank = groups().map(Group::rank).max().unwrap_or(0);
        let input = groups().map(Group::input).max().unwrap_or(0);
        let linears = groups().map(|g| g.linears().len()).sum();
        let tile = parts.saturating_mul(QUERY_TILE).saturating_mul(context.next_multiple_of(KEY_BLOCK));
        Buffers {
            hidden: cutter.take(batch * c.hidden_size),
            normed: cutter.take(batch * c.hidden_size),
            qkv: cutter.take(batch * (c.q_dim() + 2 * c.kv_dim())),
            attn: cutter.take(batch * c.q_dim()),
            delta: cutter.take(batch * c.hidden_size),
            gate_up: cutter.take(batch * 2 * c.intermediate_size),
            act: cutter.take(batch * c.intermediate_size),
            low_rank: cutter.take(batch * rank),
            cos: cutter.take(batch * c.head_dim / 2),
            sin: cutter.take(batch * c.head_dim / 2),
            logits: cutter.take(c.vocab_size),
            thresholds: cutter.take(linears),
            active: cutter.take(parts * input),
            scores: cutter.take(tile),
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
    /// (`masked: [T, widest input]`), which gives the same bits as skipping rows.
    Window { sparse_from: usize, masked: &'a mut [f32] },
}

impl Engine {
    pub(crate) fn new(
        model: Arc<Model>,
        context: usize,
        batch: usize,
        threads: usize,
        kv_type: KvType,
    ) -> Result<Engine> {
        let team = Team::new(threads)?;
        let (arena, (buf, kv)) = Arena::cut(|cutter| {
            let buffers = Buffers::cut(cutter, &model, batch, threads, context);
            (buffers, KvCache::cut(cutter, model.config(), kv_type, context))
        })?;
        let (traffic, cancel) = (Traffic::default(), Arc::default());
        Ok(Engine { model, kv, buf, traffic, cancel, team, batch, arena })
    }

    /// Bytes of the arena.
    pub(crate) fn size(&self) -> usize {
        self.arena.size()
    }

    /// Tokens of one pass at most.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Threads, the caller's included.
    pub(crate) fn parts(&self) -> usize {
        self.team.parts()
    }

    /// Takes `tokens` (at most [`batch`](Engine::batch), ids checked) from `position` on through all blocks: their
    /// keys and values enter the cache, their last residuals stand in `buf.hidden`.
    pub(crate) fn forward(
        &mut self,
        tokens: &[u32],
        position: usize,
        mut mode: Mode<'_>,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let model = &*self.model;
        let config = model.config();
        let kernels = model.kernels();
        let rows = tokens.len();
        let (h, q, k) = (config.hidden_size, config.q_dim(), config.kv_dim());
        let eps = config.rms_norm_eps;
        let counted = match mode {
            Mode::Prompt => 0,
            Mode::Decode { .. } => 1,
            Mode::Window { sparse_from, .. } => rows.saturating_sub(sparse_from),
        };
        let buf = &mut self.buf;
        let mut pass = Pass {
            burst: self.team.burst(),
            kernels,
            rows,
            mode: &mut mode,
            thresholds: &buf.thresholds,
            active: Shared::new(&mut buf.active),
            low_rank: &mut buf.low_rank,
            bytes: AtomicU64::new(0),
            cancel: &self.cancel,
        };

        let embedding = model.embed_tokens();
        for (row, &token) in buf.hidden.chunks_exact_mut(h).zip(tokens) {
            kernels.widen(row, embedding.row(token as usize));
        }
        rope_table(model.inv_freq(), position, rows, &mut buf.cos, &mut buf.sin);

        for (n, layer) in model.layers().iter().enumerate() {
            pass.norm(&mut buf.normed, &buf.hidden, &layer.attn_norm, eps);
            let normed = view(&buf.normed, rows, h);
            observer.group_input(n, GroupKind::Qkv, normed);
            pass.apply(&layer.qkv, normed, &mut buf.qkv, &|_| {})?;

            for row in 0..rows {
                let qkv = &mut buf.qkv[row * (q + 2 * k)..][..q + 2 * k];
                let half = row * config.head_dim / 2..(row + 1) * config.head_dim / 2;
                for head in qkv[..q + k].chunks_exact_mut(config.head_dim) {
                    kernels.rope(head, &buf.cos[half.clone()], &buf.sin[half.clone()]);
                }
                self.kv.put(kernels, n, position + row, &qkv[q..q + k], &qkv[q + k..]);
            }
            pass.attention(model, n, &buf.qkv, &self.kv, position, &mut buf.scores, &mut buf.attn);

            let attn = view(&buf.attn, rows, q);
            observer.group_input(n, GroupKind::O, attn);
            pass.project(&layer.o, attn, &mut buf.delta, &mut buf.hidden)?;

            pass.norm(&mut buf.normed, &buf.hidden, &layer.mlp_norm, eps);
            let normed = view(&buf.normed, rows, h);
            observer.group_input(n, GroupKind::GateUp, normed);
            pass.gated(&layer.gate_up, normed, &mut buf.gate_up, &mut buf.act)?;

            let act = view(&buf.act, rows, config.intermediate_size);
            observer.group_input(n, GroupKind::Down, act);
            pass.project(&layer.down, act, &mut buf.delta, &mut buf.hidden)?;
            observer.hidden(n, view(&buf.hidden, rows, h));
        }
        let bytes = pass.bytes.into_inner();
        drop(pass.burst);
        if counted > 0 {
            self.traffic.tokens += counted as u64;
            self.traffic.linear_bytes += bytes;
        }
        Ok(())
    }

    /// Logits of row `row` of the last pass, into `buf.logits`.
    pub(crate) fn head(&mut self, row: usize) -> Result<()> {
        let model = &*self.model;
        let kernels = model.kernels();
        let h = model.config().hidden_size;
        let buf = &mut self.buf;
        let normed = &mut buf.normed[..h];
        kernels.rms_norm(normed, &buf.hidden[row * h..][..h], model.final_norm(), model.config().rms_norm_eps);
        let normed = &*normed;
        let weights = model.lm_head();
        let mut burst = self.team.burst();
        let parts = burst.parts();
        let finite = AtomicBool::new(true);
        let logits = Shared::new(&mut buf.logits);
        burst.run(&|part| {
            let rows = share(weights.rows(), UNIT, parts, part);
            // SAFETY: shares of different parts do not overlap.
            let logits = unsafe { logits.slice(rows.clone()) };
            kernels.dot_rows(logits, normed, weights.row_range(rows));
            // Compared as integers, which the compiler turns into vectors.
            let largest = logits.iter().fold(0, |largest, x| x.abs().to_bits().max(largest));
            if largest >= f32::INFINITY.to_bits() {
                finite.store(false, Ordering::Relaxed);
            }
        });
        match finite.into_inner() {
            true => Ok(()),
            false => Err(non_finite()),
        }
    }

    /// Logits of `rows` of the last pass, into `out`: `[rows, vocab]`. Each row has the bits of
    /// [`head`](Engine::head).
    pub(crate) fn head_many(&mut self, rows: Range<usize>, out: &mut [f32]) {
        let model = &*self.model;
        let kernels = model.kernels();
        let h = model.config().hidden_size;
        let buf = &mut self.buf;
        for row in rows.clone() {
            let span = row * h..(row + 1) * h;
            let eps = model.config().rms_norm_eps;
            kernels.rms_norm(&mut buf.normed[span.clone()], &buf.hidden[span], model.final_norm(), eps);
        }
        let normed = view(&buf.normed[rows.start * h..], rows.len(), h);
        let weights = model.lm_head();
        let vocab = weights.rows();
        let out = Shared::new(out);
        let mut burst = self.team.burst();
        let parts = burst.parts();
        burst.run(&|part| {
            let columns = share(vocab, UNIT, parts, part);
            // SAFETY: shares of different parts do not overlap.
            let out = unsafe { out.matrix(0..rows.len(), columns.clone(), vocab) };
            kernels.dot_rows_many(out, normed, weights.row_range(columns));
        });
    }
}

/// The error for logits that are no numbers.
pub(crate) fn non_finite() -> Error {
    Error::new(
        Status::NonFinite,
        "the logits hold a NaN or an infinity: damaged weights (load with verify to find them), or activations beyond \
         the range of f16 in the KV cache",
    )
}

/// The first `rows` rows of a `[T, cols]` buffer.
fn view(data: &[f32], rows: usize, cols: usize) -> MatRef<'_> {
    MatRef::new(data, rows, cols, cols).expect("buffers hold a batch")
}

/// Angles are computed in f64: at position 100 000 an f32 product would be off by hundredths of a radian.
fn rope_table(inv_freq: &[f32], position: usize, rows: usize, cos: &mut [f32], sin: &mut [f32]) {
    let half = inv_freq.len();
    for row in 0..rows {
        for (i, &frequency) in inv_freq.iter().enumerate() {
            let (s, c) = ((position + row) as f64 * f64::from(frequency)).sin_cos();
            cos[row * half + i] = c as f32;
            sin[row * half + i] = s as f32;
        }
    }
}

/// The state of one pass that all its steps use.
struct Pass<'a, 's> {
    burst: Burst<'a>,
    kernels: Kernels,
    rows: usize,
    mode: &'a mut Mode<'s>,
    thresholds: &'a [f32],
    active: Shared<'a, u32>,
    low_rank: &'a mut [f32],
    /// Bytes of linear weights read by the tokens that are counted.
    bytes: AtomicU64,
    cancel: &'a AtomicBool,
}

impl Pass<'_, '_> {
    fn norm(&mut self, y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
        let (kernels, h, rows, parts) = (self.kernels, weight.len(), self.rows, self.burst.parts());
        if rows == 1 {
            // Cheaper than a fork.
            return kernels.rms_norm(&mut y[..h], &x[..h], weight, eps);
        }
        let y = Shared::new(y);
        self.burst.run(&|part| {
            for row in share(rows, 1, parts, part) {
                let span = row * h..(row + 1) * h;
                // SAFETY: shares of different parts do not overlap.
                kernels.rms_norm(unsafe { y.slice(span.clone()) }, &x[span], weight, eps);
            }
        });
    }

    /// `hidden += group(x)`, for a group of one linear.
    fn project(&mut self, group: &Group, x: MatRef<'_>, delta: &mut [f32], hidden: &mut [f32]) -> Result<()> {
        let (kernels, width) = (self.kernels, group.output());
        let hidden = Shared::new(hidden);
        self.apply(group, x, delta, &|mine: Slice<'_>| {
            for row in 0..mine.rows {
                let span = row * width + mine.range.start..row * width + mine.range.end;
                // SAFETY: the columns of this part alone.
                kernels.add(unsafe { hidden.slice(span.clone()) }, unsafe { mine.y.slice(span) });
            }
        })
    }

    /// `act = silu(gate(x)) · up(x)` (SwiGLU, arXiv:2002.05202, equation 6).
    fn gated(&mut self, group: &Group, x: MatRef<'_>, gate_up: &mut [f32], act: &mut [f32]) -> Result<()> {
        let (kernels, width) = (self.kernels, group.output() / 2);
        let act = Shared::new(act);
        self.apply(group, x, gate_up, &|mine: Slice<'_>| {
            for row in 0..mine.rows {
                let at = |start: usize| start + mine.range.start..start + mine.range.end;
                // SAFETY: of gate, up and act, the columns of this part alone; gate and up lie apart.
                let (gate, up, act) = unsafe {
                    let start = 2 * row * width;
                    (mine.y.slice(at(start)), mine.y.slice(at(start + width)), act.slice(at(row * width)))
                };
                kernels.silu_mul(act, gate, up);
            }
        })
    }

    /// `y = group(x)`; then every part calls `finish` with the columns (of each linear) that it has computed.
    fn apply(
        &mut self,
        group: &Group,
        x: MatRef<'_>,
        y: &mut [f32],
        finish: &(dyn Fn(Slice<'_>) + Sync),
    ) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(Status::Cancelled, "cancelled by the host"));
        }
        self.low_rank_input(group, x);
        let y = Shared::new(y);
        match self.mode {
            Mode::Window { sparse_from, .. } if *sparse_from < self.rows => self.masked_batch(group, x, y, finish),
            Mode::Window { .. } | Mode::Prompt => self.stream(group, x, y, false, finish),
            Mode::Decode { sparse } => {
                let sparse = *sparse;
                self.stream(group, x, y, sparse, finish)
            }
        }
        Ok(())
    }

    /// `t = B x` of every linear of the group that has a low rank, side by side in `self.low_rank`.
    fn low_rank_input(&mut self, group: &Group, x: MatRef<'_>) {
        let total = group.rank();
        if total == 0 {
            return;
        }
        let (kernels, rows, parts) = (self.kernels, self.rows, self.burst.parts());
        let t = Shared::new(&mut *self.low_rank);
        self.burst.run(&|part| {
            let mut start = 0;
            for low_rank in group.linears().iter().filter_map(|l| l.low_rank()) {
                let b = low_rank.b();
                let mine = share(b.rows(), 1, parts, part);
                // SAFETY: shares of different parts do not overlap, nor do those of different linears.
                let t = unsafe { t.matrix(0..rows, start + mine.start..start + mine.end, total) };
                kernels.dot_rows_many(t, x, b.row_range(mine));
                start += b.rows();
            }
        });
    }

    /// Dense tokens, or the one sparse token of a decode: streams each weight row that is needed, once.
    fn stream(
        &mut self,
        group: &Group,
        x: MatRef<'_>,
        y: Shared<'_, f32>,
        sparse: bool,
        finish: &(dyn Fn(Slice<'_>) + Sync),
    ) {
        let (kernels, rows, parts) = (self.kernels, self.rows, self.burst.parts());
        let (thresholds, active, bytes) = (self.thresholds, self.active, &self.bytes);
        let low_rank = &*self.low_rank;
        self.burst.run(&|part| {
            let mut read = 0;
            let mut first_rank = 0;
            let mut range = 0..0;
            for linear in group.linears() {
                let columns = linear.columns();
                range = share(columns.len(), UNIT, parts, part);
                let columns = columns.start + range.start..columns.start + range.end;
                // SAFETY: shares of different parts do not overlap, nor do the columns of different linears.
                let mut out = unsafe { y.matrix(0..rows, columns.clone(), group.output()) };
                start_sum(kernels, group, linear, &range, low_rank, first_rank, &mut out);
                first_rank += linear.rank();
                let weights = group.weights().columns(columns);
                if sparse {
                    // SAFETY: each part has a piece of its own.
                    let scratch = unsafe { active.slice(part * group.input()..(part + 1) * group.input()) };
                    let active = kernels.select(x.row(0), linear.score(), thresholds[linear.index()], scratch);
                    kernels.gemv_sparse(out.row_mut(0), x.row(0), active, weights);
                    read += active.len() * weights.row_bytes();
                } else {
                    match rows {
                        1 => kernels.gemv(out.row_mut(0), x.row(0), weights),
                        _ => kernels.gemm(out, x, weights),
                    }
                    read += weights.rows() * weights.row_bytes();
                }
                read += low_rank_bytes(linear, range.len(), part);
            }
            bytes.fetch_add(read as u64, Ordering::Relaxed);
            finish(Slice { rows, range, y });
        });
    }

    /// Many tokens, the later ones sparse: every linear's mask is applied to a copy of the input.
    fn masked_batch(&mut self, group: &Group, x: MatRef<'_>, y: Shared<'_, f32>, finish: &(dyn Fn(Slice<'_>) + Sync)) {
        let Mode::Window { sparse_from, masked } = &mut *self.mode else { return };
        let (kernels, rows, parts, first) = (self.kernels, self.rows, self.burst.parts(), *sparse_from);
        let (thresholds, bytes, input) = (self.thresholds, &self.bytes, group.input());
        let low_rank = &*self.low_rank;
        let mut first_rank = 0;
        for (n, linear) in group.linears().iter().enumerate() {
            let columns = linear.columns();
            let shared = Shared::new(&mut masked[..rows * input]);
            self.burst.run(&|part| {
                let mut kept = 0;
                for row in share(rows, 1, parts, part) {
                    // SAFETY: shares of different parts do not overlap.
                    let masked = unsafe { shared.slice(row * input..(row + 1) * input) };
                    if row < first {
                        masked.copy_from_slice(x.row(row));
                    } else {
                        kept += kernels.mask(masked, x.row(row), linear.score(), thresholds[linear.index()]);
                    }
                }
                let row_bytes = group.weights().columns(columns.clone()).row_bytes();
                bytes.fetch_add((kept * row_bytes) as u64, Ordering::Relaxed);
            });
            let counted = rows.saturating_sub(first);
            let extra = low_rank_bytes(linear, columns.len(), 0);
            bytes.fetch_add((counted * extra) as u64, Ordering::Relaxed);

            let masked = view(masked, rows, input);
            let last = n + 1 == group.linears().len();
            self.burst.run(&|part| {
                let range = share(columns.len(), UNIT, parts, part);
                let columns = columns.start + range.start..columns.start + range.end;
                // SAFETY: shares of different parts do not overlap.
                let mut out = unsafe { y.matrix(0..rows, columns.clone(), group.output()) };
                start_sum(kernels, group, linear, &range, low_rank, first_rank, &mut out);
                kernels.gemm(out, masked, group.weights().columns(columns));
                if last {
                    finish(Slice { rows, range, y });
                }
            });
            first_rank += linear.rank();
        }
    }

    /// `attn = softmax(q Kᵀ / √head_dim) V`, causal, every query head with its group's keys and values (GQA,
    /// arXiv:2305.13245).
    #[allow(clippy::too_many_arguments)]
    fn attention(
        &mut self,
        model: &Model,
        layer: usize,
        qkv: &[f32],
        kv: &KvCache,
        position: usize,
        scores: &mut [f32],
        attn: &mut [f32],
    ) {
        let config = model.config();
        let (kernels, rows, parts) = (self.kernels, self.rows, self.burst.parts());
        let (dim, heads, width) = (config.head_dim, config.num_heads, config.q_dim() + 2 * config.kv_dim());
        let group = heads / config.num_kv_heads;
        let per_part = scores.len() / parts;
        let scores = Shared::new(scores);
        let attn = Shared::new(attn);
        self.burst.run(&|part| {
            // SAFETY: each part has a piece of its own.
            let scores = unsafe { scores.slice(part * per_part..(part + 1) * per_part) };
            if rows == 1 {
                // One token: the heads of one group are the rows that share keys and values.
                let mut mine = share(heads, 1, parts, part);
                while !mine.is_empty() {
                    let head = mine.start;
                    let end = mine.end.min((head / group + 1) * group).min(head + QUERY_TILE);
                    let queries = MatRef::new(&qkv[head * dim..], end - head, dim, dim).expect("heads lie in q");
                    // SAFETY: the heads of this part alone.
                    let out = unsafe { attn.matrix(head..end, 0..dim, dim) };
                    attend(kernels, kv, layer, head / group, queries, out, position + 1, 0, scores);
                    mine.start = end;
                }
                return;
            }
            for (tile, first) in (0..rows).step_by(QUERY_TILE).enumerate() {
                let end = rows.min(first + QUERY_TILE);
                for head in (0..heads).filter(|head| (tile + head) % parts == part) {
                    let queries = MatRef::new(&qkv[first * width + head * dim..], end - first, dim, width);
                    let queries = queries.expect("heads lie in q");
                    // SAFETY: each tile of each head belongs to one part.
                    let out = unsafe { attn.matrix(first..end, head * dim..(head + 1) * dim, heads * dim) };
                    attend(kernels, kv, layer, head / group, queries, out, position + first + 1, 1, scores);
                }
            }
        });
    }
}

/// What one part has computed of a group: columns `range` of each of its linears, `rows` tokens, in `y`.
struct Slice<'a> {
    rows: usize,
    range: Range<usize>,
    y: Shared<'a, f32>,
}

/// `y = bias + A t`: where the sum over input channels starts. `t` holds `B x` of all linears of the group; this one's
/// begins at `first_rank`.
fn start_sum(
    kernels: Kernels,
    group: &Group,
    linear: &crate::model::Linear,
    range: &Range<usize>,
    t: &[f32],
    first_rank: usize,
    y: &mut MatMut<'_>,
) {
    for row in 0..y.rows() {
        match group.bias() {
            Some(bias) => {
                let start = linear.columns().start;
                y.row_mut(row).copy_from_slice(&bias[start + range.start..start + range.end]);
            }
            None => y.row_mut(row).fill(0.0),
        }
    }
    if let Some(low_rank) = linear.low_rank() {
        let t = MatRef::new(&t[first_rank..], y.rows(), linear.rank(), group.rank()).expect("a batch of ranks");
        kernels.gemm(y.reborrow(), t, low_rank.a().columns(range.clone()));
    }
}

/// Bytes of a linear's low-rank factors read by the part that computes `columns` of its outputs; `B` is counted once,
/// with part 0.
fn low_rank_bytes(linear: &crate::model::Linear, columns: usize, part: usize) -> usize {
    linear.low_rank().map_or(0, |l| {
        let b = if part == 0 { l.b().rows() * l.b().row_bytes() } else { 0 };
        b + l.a().columns(0..columns).row_bytes() * l.a().rows()
    })
}

/// Attention of a few queries over one head's keys and values. Query `i` sees the first `limit + i · step` positions.
#[allow(clippy::too_many_arguments)]
fn attend(
    kernels: Kernels,
    kv: &KvCache,
    layer: usize,
    kv_head: usize,
    queries: MatRef<'_>,
    mut out: MatMut<'_>,
    limit: usize,
    step: usize,
    scores: &mut [f32],
) {
    let rows = queries.rows();
    let len = limit + (rows - 1) * step;
    let stride = len.next_multiple_of(KEY_BLOCK);
    let scores = &mut scores[..rows * stride];
    scores.fill(0.0);
    for block in 0..stride / KEY_BLOCK {
        let tile = &mut scores[block * KEY_BLOCK..];
        let tile = MatMut::new(tile, rows, KEY_BLOCK, stride).expect("scores hold a tile");
        kernels.gemm(tile, queries, kv.key_block(layer, kv_head, block));
    }
    let scale = 1.0 / (queries.cols() as f32).sqrt();
    for (i, row) in scores.chunks_exact_mut(stride).enumerate() {
        let (seen, unseen) = row.split_at_mut(limit + i * step);
        kernels.softmax(seen, scale);
        unseen.fill(0.0);
        out.row_mut(i).fill(0.0);
    }
    let weights = MatRef::new(scores, rows, len, stride).expect("scores hold a tile");
    kernels.gemm(out, weights, kv.values(layer, kv_head, len));
}
