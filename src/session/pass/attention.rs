//! Attention over the KV cache.

use super::context::{Mode, Pass, Row, Seq};
use super::shared::{SharedSlice, share};
use super::tiles::{MAX_ROWS, QUERY_TILE, UNIT_BYTES, UNIT_MACS, cut};
use super::work::Pieces;
use crate::format::Config;
use crate::model::{Attention, Model};
use crate::session::budget::Flow;
use crate::session::kv_cache::{KEY_BLOCK, KvCache};
use rasp_kernels::{Kernels, MatMut, MatRef};

impl Pass<'_, '_> {
    /// `attn = softmax(scale · q Kᵀ) V`, causal and within the layer's window, every query head with its group's keys
    /// and values (GQA, arXiv:2305.13245).
    pub(super) fn attention(
        &mut self,
        model: &Model,
        layer: usize,
        kind: Attention,
        qkv: &[f32],
        attn: &mut [f32],
    ) -> Flow {
        let (config, attn) = (model.config(), SharedSlice::new(attn));
        let layer = LayerAttention::new(config, layer, kind);
        match self.mode {
            Mode::Prompt | Mode::Window { .. } if self.rows > 1 => self.attention_of_one(config, layer, qkv, attn),
            Mode::Prompt | Mode::Window { .. } | Mode::Decode => self.attention_of_each(config, layer, qkv, attn),
        }
    }

    /// Tokens one by one: the heads of one group are the rows that share keys and values.
    fn attention_of_each(
        &mut self,
        config: &Config,
        layer: LayerAttention,
        qkv: &[f32],
        attn: SharedSlice<'_, f32>,
    ) -> Flow {
        let (kernels, rows, parts) = (self.kernels, self.rows, self.work.parts());
        let (dim, heads, width) = (config.head_dim, config.num_heads, config.q_dim() + 2 * config.kv_dim());
        let group = heads / config.num_kv_heads;
        let tokens: [Row; MAX_ROWS] = std::array::from_fn(|row| self.row(row.min(rows - 1)));
        let mut seqs = self.seqs.iter_mut().flatten();
        let texts: [Option<AttendingText<'_>>; MAX_ROWS] = std::array::from_fn(|_| {
            let seq = seqs.next()?;
            // A text's scores are its own session's, of fewer parts perhaps. If they hold fewer rows than there are
            // parts, some parts leave it alone.
            let stride = (seq.position + seq.count).next_multiple_of(KEY_BLOCK);
            let rows = seq.scores.len() / stride;
            let ways = parts.min(rows).max(1);
            Some(AttendingText {
                kv: &*seq.kv,
                position: seq.position,
                ways,
                piece: rows / ways * stride,
                scores: SharedSlice::new(&mut *seq.scores),
            })
        });
        self.work.large(&|part, pieces| {
            for (row, &Row { seq, token }) in tokens[..rows].iter().enumerate() {
                let Some(text) = &texts[seq] else { continue };
                // Where heads do not divide evenly, the larger share is another part's at every text.
                let way = (part + seq) % parts;
                if way >= text.ways {
                    continue;
                }
                let seen = text.position + token + 1;
                // SAFETY: each part that comes here has a piece of its own, at every token of the text the same.
                let scores = unsafe { text.scores.slice(way * text.piece..(way + 1) * text.piece) };
                let most = QUERY_TILE.min(text.piece / seen.next_multiple_of(KEY_BLOCK));
                let mut mine = share(heads, 1, text.ways, way);
                while !mine.is_empty() {
                    let head = mine.start;
                    let end = mine.end.min((head / group + 1) * group).min(head + most);
                    let queries = MatRef::new(&qkv[row * width + head * dim..], end - head, dim, dim);
                    // SAFETY: the heads of this part alone.
                    let out = unsafe { attn.matrix(row * heads + head..row * heads + end, 0..dim, dim) };
                    let head = Head { kernels, kv: text.kv, layer, kv_head: head / group };
                    head.attend(queries.expect("heads lie in q"), out, seen, 0, scores, pieces);
                    mine.start = end;
                }
            }
        })
    }

    /// Tokens of one text, each of which sees those before it as well.
    fn attention_of_one(
        &mut self,
        config: &Config,
        layer: LayerAttention,
        qkv: &[f32],
        attn: SharedSlice<'_, f32>,
    ) -> Flow {
        let (kernels, rows, parts) = (self.kernels, self.rows, self.work.parts());
        let (dim, heads, width) = (config.head_dim, config.num_heads, config.q_dim() + 2 * config.kv_dim());
        let group = heads / config.num_kv_heads;
        let Some(Some(Seq { kv, scores, position, .. })) = self.seqs.first_mut() else { return Ok(()) };
        let (kv, position, per_part) = (&**kv, *position, scores.len() / parts);
        let scores = SharedSlice::new(scores);
        self.work.large(&|part, pieces| {
            // SAFETY: each part has a piece of its own.
            let scores = unsafe { scores.slice(part * per_part..(part + 1) * per_part) };
            for (tile, first) in (0..rows).step_by(QUERY_TILE).enumerate() {
                let end = rows.min(first + QUERY_TILE);
                for head in (0..heads).filter(|head| (tile + head) % parts == part) {
                    let queries = MatRef::new(&qkv[first * width + head * dim..], end - first, dim, width);
                    let queries = queries.expect("heads lie in q");
                    // SAFETY: each tile of each head belongs to one part.
                    let out = unsafe { attn.matrix(first..end, head * dim..(head + 1) * dim, heads * dim) };
                    let head = Head { kernels, kv, layer, kv_head: head / group };
                    head.attend(queries, out, position + first + 1, 1, scores, pieces);
                }
            }
        })
    }
}

/// One of several texts, as the parts of a job see it.
struct AttendingText<'a> {
    kv: &'a KvCache,
    /// Of its first token in this pass.
    position: usize,
    /// Its heads are shared out to so many parts,
    ways: usize,
    /// of which each has so many of the scores.
    piece: usize,
    scores: SharedSlice<'a, f32>,
}

/// A layer, and what its attention does.
#[derive(Clone, Copy)]
struct LayerAttention {
    layer: usize,
    /// Positions that a token sees, its own included.
    window: usize,
    scale: f32,
    soft_cap: Option<f32>,
}

impl LayerAttention {
    fn new(config: &Config, layer: usize, kind: Attention) -> LayerAttention {
        let scale = kind.scale.unwrap_or(1.0 / (config.head_dim as f32).sqrt());
        LayerAttention { layer, window: kind.window.unwrap_or(usize::MAX), scale, soft_cap: kind.soft_cap }
    }

    /// The first position that a token sees which sees as far as `limit`.
    fn first(&self, limit: usize) -> usize {
        limit.saturating_sub(self.window)
    }
}

/// Keys and values of one head of one layer.
struct Head<'a> {
    kernels: Kernels,
    kv: &'a KvCache,
    layer: LayerAttention,
    kv_head: usize,
}

impl Head<'_> {
    /// Attention of a few queries. Query `i` sees the first `limit + i · step` positions, as far back as the window
    /// goes. Some positions' keys, or values, are a unit of work; scores wait in `scores` meanwhile.
    fn attend(
        &self,
        queries: MatRef<'_>,
        mut out: MatMut<'_>,
        limit: usize,
        step: usize,
        scores: &mut [f32],
        pieces: &mut Pieces<'_>,
    ) {
        let (rows, dim) = (queries.rows(), queries.cols());
        let len = limit + (rows - 1) * step;
        let stride = len.next_multiple_of(KEY_BLOCK);
        let scores = &mut scores[..rows * stride];
        // Keys and values are at most f32.
        let most = (UNIT_BYTES / size_of::<f32>()).min(UNIT_MACS / rows) / dim;
        // Of no query's window is what lies before the first one's.
        let first = self.layer.first(limit) / KEY_BLOCK * KEY_BLOCK;
        pieces.each(cut(first..stride, KEY_BLOCK, most), |positions| {
            for at in positions.step_by(KEY_BLOCK) {
                let tile = &mut scores[at..];
                let mut tile = MatMut::new(tile, rows, KEY_BLOCK, stride).expect("scores hold a tile");
                (0..rows).for_each(|row| tile.row_mut(row).fill(0.0));
                self.kernels.gemm(tile, queries, self.kv.key_block(self.layer.layer, self.kv_head, at / KEY_BLOCK));
            }
        });
        pieces.each(cut(first..len, KEY_BLOCK, most), |positions| {
            if positions.start == first {
                self.weigh(scores, first, limit, step, stride);
                (0..rows).for_each(|row| out.row_mut(row).fill(0.0));
            }
            let weights = MatRef::new(scores, rows, len, stride).expect("scores hold a tile");
            for (positions, values) in self.kv.values(self.layer.layer, self.kv_head, positions) {
                self.kernels.gemm(out.reborrow(), weights.columns(positions), values);
            }
        });
    }

    /// Scores, from position `start` on, to weights: the softmax of each row over the positions it sees, 0 elsewhere.
    fn weigh(&self, scores: &mut [f32], start: usize, limit: usize, step: usize, stride: usize) {
        let times = |row: &mut [f32], first: usize, which: usize| {
            for (positions, scales) in self.kv.scales(self.layer.layer, self.kv_head, first..first + row.len()) {
                let row = &mut row[positions.start - first..positions.end - first];
                row.iter_mut().zip(scales[which]).for_each(|(x, f)| *x *= f);
            }
        };
        for (i, row) in scores.chunks_exact_mut(stride).enumerate() {
            let (seen, unseen) = row.split_at_mut(limit + i * step);
            let first = self.layer.first(seen.len());
            let (before, seen) = seen.split_at_mut(first);
            times(seen, first, 0);
            match self.layer.soft_cap {
                None => self.kernels.softmax(seen, self.layer.scale),
                Some(cap) => {
                    seen.iter_mut().for_each(|score| *score *= self.layer.scale);
                    self.kernels.soft_cap(seen, cap);
                    self.kernels.softmax(seen, 1.0);
                }
            }
            times(seen, first, 1);
            before[start..].fill(0.0);
            unseen.fill(0.0);
        }
    }
}
