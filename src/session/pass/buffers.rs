//! The memory of an engine, by whose business it is: a pass's scratch, what a session has to itself, and the head's.

use super::context::Seq;
use super::tiles::{QUERY_TILE, sums_len};
use super::work::counts_len;
use crate::arena::{Buf, Cutter, MemoryUse};
use crate::model::{Group, GroupKind, Model, Rounded};
use crate::session::SessionOptions;
use crate::session::adapters::Adapters;
use crate::session::kv_cache::{Extent, KEY_BLOCK, KvCache};
use rasp_kernels::{PackedGroup, QUANT_GROUP, ScreenInput};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};

/// The memory of an [`Engine`](crate::session::engine::Engine).
pub(crate) struct EngineMemory {
    pub(crate) buf: Buffers,
    pub(crate) own: SequenceBuffers,
    pub(crate) head: HeadBuffers,
    pub(crate) cancel: Buf<AtomicBool>,
}

impl EngineMemory {
    /// `options` are whole, and `extent` is theirs.
    pub(crate) fn cut(cutter: &mut Cutter, model: &Model, extent: Extent, options: &SessionOptions) -> EngineMemory {
        EngineMemory {
            buf: Buffers::cut(cutter, model, extent.batch, options.threads),
            head: HeadBuffers::cut(cutter, model, options.drafts),
            own: SequenceBuffers::cut(cutter, model, extent, options),
            cancel: cutter.part(MemoryUse::Bookkeeping).take(1),
        }
    }
}

/// What the passes of a session need and no other text's may touch.
pub(crate) struct SequenceBuffers {
    pub(crate) kv: KvCache,
    /// One a linear, in the order of [`Linear::index`](crate::model::Linear::index)
    pub(crate) thresholds: Buf<f32>,
    pub(crate) adapters: Adapters,
    /// Attention scores, a part: `[parts, QUERY_TILE, context]`
    pub(super) scores: Buf<f32>,
}

impl SequenceBuffers {
    fn cut(cutter: &mut Cutter, model: &Model, extent: Extent, options: &SessionOptions) -> SequenceBuffers {
        let linears = model.linears().count();
        let tile =
            options.threads.saturating_mul(QUERY_TILE).saturating_mul(extent.context.next_multiple_of(KEY_BLOCK));
        SequenceBuffers {
            thresholds: cutter.part(MemoryUse::Bookkeeping).take(linears),
            scores: cutter.part(MemoryUse::Activations).take(tile),
            kv: KvCache::cut(cutter, model.config(), options.kv_type, extent),
            adapters: Adapters::cut(cutter, extent.batch, options.adapter_rank),
        }
    }

    /// What a pass of `count` of its tokens touches of it: the first stands at `position`, the first sparse one is
    /// number `sparse_from`.
    pub(crate) fn seq(&mut self, position: usize, count: usize, sparse_from: usize) -> Seq<'_> {
        let SequenceBuffers { kv, thresholds, scores, adapters } = self;
        Seq { position, count, kv, scores, thresholds, sparse_from, stores: true, adapters }
    }
}

/// What the head takes and gives.
pub(crate) struct HeadBuffers {
    /// What it takes, of the last token: `[H]`
    pub(crate) last: Buf<f32>,
    /// The token that is about to be the last, or is.
    pub(crate) token: HeadToken,
    /// Tokens that have passed as drafts behind it. A list, for a small stack has no room for them while a session is
    /// opened; shorter than was asked for if there was no memory.
    pub(crate) drafts: Vec<HeadToken>,
    /// The logits as biases and the host's callback leave them: `[vocab]`
    pub(crate) processed: Buf<f32>,
}

/// What the head takes and gives of one token.
pub(crate) struct HeadToken {
    /// What it takes: `[H]`, and in whole numbers
    pub(crate) x: Buf<f32>,
    pub(crate) whole: Buf<i16>,
    /// One for every 32 elements, where the head is in whole numbers
    pub(super) scale: Buf<f32>,
    /// The same for the lm_head's shortlist, its hot columns and its cold ones, and scratch
    pub(super) hot: Buf<i16>,
    pub(super) cold: Buf<i8>,
    pub(super) eights: Buf<i16>,
    /// What that rounding has cost
    pub(super) rounded: Option<Rounded>,
    /// The bits of a logit that the largest is not below, and how many rows were looked into for theirs
    pub(super) floor: AtomicU32,
    pub(super) candidates: AtomicUsize,
    /// `[vocab]`
    pub(crate) logits: Buf<f32>,
    /// Which of them are there, or wanted.
    pub(crate) stage: HeadStage,
    /// Bytes of the head that they have read.
    pub(crate) read: u64,
}

/// The logits that decide on a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deciding {
    /// So many of the largest.
    pub(crate) few: usize,
    /// Of those alone that a constraint will allow.
    pub(crate) masked: bool,
}

/// How far the logits of a token are.
#[derive(Clone, Copy)]
pub(crate) enum HeadStage {
    /// The largest are wanted.
    Shortlist(Deciding),
    /// All are wanted.
    Logits,
    /// All are there, but roughly: so many of the largest of some rows are wanted, once these are known.
    Rough { few: usize },
    /// The largest are there, so many of them, and with `None` all.
    Done { few: Option<usize> },
    /// One is no number.
    NonFinite,
}

impl HeadBuffers {
    /// With room for so many drafts.
    fn cut(cutter: &mut Cutter, model: &Model, drafts: usize) -> HeadBuffers {
        let c = model.config();
        let mut list = Vec::new();
        let room = if list.try_reserve_exact(drafts).is_ok() { drafts } else { 0 };
        for n in 0..drafts {
            // What is cut is the same in any case.
            let token = HeadToken::cut(cutter, model);
            if n < room {
                list.push(token);
            }
        }
        HeadBuffers {
            last: cutter.part(MemoryUse::Activations).take(c.hidden_size),
            token: HeadToken::cut(cutter, model),
            drafts: list,
            processed: cutter.part(MemoryUse::Sampling).take(c.vocab_size),
        }
    }
}

impl HeadToken {
    fn cut(cutter: &mut Cutter, model: &Model) -> HeadToken {
        let c = model.config();
        let quantized = usize::from(model.weight_type().quant().is_some());
        let (hot, cold) = model.shortlist().map_or((0, 0), |shortlist| (shortlist.hot, shortlist.cold()));
        cutter.part(MemoryUse::Activations);
        HeadToken {
            x: cutter.take(c.hidden_size),
            whole: cutter.take(quantized * c.hidden_size),
            scale: cutter.take(quantized * c.hidden_size / QUANT_GROUP),
            hot: cutter.take(hot),
            cold: cutter.take(cold),
            eights: cutter.take(ScreenInput::scratch(cold)),
            rounded: None,
            floor: AtomicU32::new(0),
            candidates: AtomicUsize::new(0),
            logits: cutter.part(MemoryUse::Sampling).take(c.vocab_size),
            stage: HeadStage::Logits,
            read: 0,
        }
    }
}

/// Activations and scratch of a pass. `T` is its tokens at most, `H`, `Q`, `K`, `I` as in `docs/design.md`.
pub(crate) struct Buffers {
    /// The residual stream: `[T, H]`
    pub(crate) hidden: Buf<f32>,
    /// `[T, H]`
    pub(crate) normed: Buf<f32>,
    /// `[T, Q + 2K]`
    pub(super) qkv: Buf<f32>,
    /// `[T, Q]`
    pub(super) attn: Buf<f32>,
    /// What a sub-block adds to the residual stream: `[T, H]`
    pub(super) delta: Buf<f32>,
    /// `[T, 2I]`, or `[T, I]` without a gate
    pub(super) gate_up: Buf<f32>,
    /// `[T, I]`
    pub(super) act: Buf<f32>,
    /// A group's input in whole numbers: `[T, widest input]`, and its scales, one for every 32
    pub(crate) whole: Buf<i16>,
    pub(crate) whole_scale: Buf<f32>,
    /// Some rows of it packed for products of many tokens: `[widest input / 32]`
    pub(super) packed: Buf<PackedGroup>,
    /// `B x` of all linears of a group: `[T, largest rank of a group]`
    pub(super) low_rank: Buf<f32>,
    /// Of each table of rotary frequencies, a token: `[tables, T, head_dim / 2]` each
    pub(crate) cos: Buf<f32>,
    pub(crate) sin: Buf<f32>,
    /// Sums of blocks of input channels, see [`Pass::sums`](super::context::Pass::sums)
    pub(super) sums: Buf<f32>,
    /// Kept channels, a part: `[parts, widest input]`
    pub(super) active: Buf<u32>,
    /// Pieces done, a part, see [`Work`](super::work::Work)
    pub(super) counts: Buf<u32>,
}

impl Buffers {
    fn cut(cutter: &mut Cutter, model: &Model, batch: usize, parts: usize) -> Buffers {
        let c = model.config();
        let rank = model.groups().map(Group::rank).max().unwrap_or(0);
        let input = model.groups().map(Group::input).max().unwrap_or(0);
        let output = model.groups().map(Group::output).max().unwrap_or(0);
        let whole = model.groups().filter(|g| g.is_quantized()).map(Group::input).max().unwrap_or(0);
        // A shift turns keys by one of them.
        let tables = model.ropes().len().max(1);
        // A product beyond the address space, of 32 bits for one, saturates, and the arena then refuses it.
        let many = |width: usize| batch.saturating_mul(width);
        cutter.part(MemoryUse::Activations);
        Buffers {
            hidden: cutter.take(many(c.hidden_size)),
            normed: cutter.take(many(c.hidden_size)),
            qkv: cutter.take(many(c.q_dim() + 2 * c.kv_dim())),
            attn: cutter.take(many(c.q_dim())),
            delta: cutter.take(many(c.hidden_size)),
            gate_up: cutter.take(many(c.group_shape(GroupKind::GateUp).outputs)),
            act: cutter.take(many(c.intermediate_size)),
            whole: cutter.take(many(whole)),
            whole_scale: cutter.take(many(whole / QUANT_GROUP)),
            packed: cutter.take(if batch > 1 { whole / QUANT_GROUP } else { 0 }),
            low_rank: cutter.take(many(rank)),
            cos: cutter.take(many(tables * c.head_dim / 2)),
            sin: cutter.take(many(tables * c.head_dim / 2)),
            sums: cutter.take(sums_len(output, batch, parts)),
            active: cutter.take(parts * input),
            counts: cutter.take(counts_len(parts)),
        }
    }
}
