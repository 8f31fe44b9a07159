//! Attention over the KV cache.

use super::engine::QUERY_TILE;
use super::kv_cache::{KEY_BLOCK, KvCache};
use super::linear::Pass;
use super::shared::{Shared, share};
use crate::model::Model;
use rasp_kernels::{Kernels, MatMut, MatRef};

impl Pass<'_, '_> {
    /// `attn = softmax(q Kᵀ / √head_dim) V`, causal, every query head with its group's keys and values (GQA,
    /// arXiv:2305.13245).
    #[allow(clippy::too_many_arguments)]
    pub(super) fn attention(
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
    let scales = kv.scales(layer, kv_head, len);
    let times = |row: &mut [f32], factors: &[f32]| row.iter_mut().zip(factors).for_each(|(x, f)| *x *= f);
    for (i, row) in scores.chunks_exact_mut(stride).enumerate() {
        let (seen, unseen) = row.split_at_mut(limit + i * step);
        if let Some((keys, _)) = scales {
            times(seen, keys);
        }
        kernels.softmax(seen, scale);
        if let Some((_, values)) = scales {
            times(seen, values);
        }
        unseen.fill(0.0);
        out.row_mut(i).fill(0.0);
    }
    let weights = MatRef::new(scores, rows, len, stride).expect("scores hold a tile");
    kernels.gemm(out, weights, kv.values(layer, kv_head, len));
}
