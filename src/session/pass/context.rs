//! What a pass is about: its texts, which of their tokens are sparse, and the scratch it computes in.

use super::work::Work;
use crate::session::kv_cache::KvCache;
use rasp_kernels::{Kernels, MatRef};
use std::sync::atomic::{AtomicU64, Ordering};

/// A text of which a token passes, or several: what a pass touches of its session.
pub(crate) struct Seq<'a> {
    /// Of its first token in this pass.
    pub(super) position: usize,
    pub(super) kv: &'a mut KvCache,
    /// Room for attention scores, 8 queries' of a full context at least.
    pub(super) scores: &'a mut [f32],
    /// What its sparse tokens pass with, one a linear.
    pub(super) thresholds: &'a [f32],
    /// Of its tokens in this pass, the first sparse one: those before it are dense.
    pub(super) sparse_from: usize,
    /// Whether its tokens' keys and values are stored; else they are there.
    pub(super) stores: bool,
    /// Bytes of linear weights read, as if its tokens had passed by themselves.
    pub(super) bytes: AtomicU64,
}

impl<'a> Seq<'a> {
    /// The thresholds that token `n` of this pass goes by, one a linear; `None` for a dense one.
    pub(super) fn thresholds(&self, n: usize) -> Option<&'a [f32]> {
        (n >= self.sparse_from).then_some(self.thresholds)
    }

    /// The same for a token that passes again, whose keys and values are held: they stay, for among tokens that were
    /// shifted since others would come of it, and a call that is cancelled must leave them.
    pub(crate) fn held(self) -> Seq<'a> {
        Seq { stores: false, ..self }
    }

    /// Bytes of linear weights read so far.
    pub(crate) fn into_bytes(self) -> u64 {
        self.bytes.into_inner()
    }
}

/// Notes that a token of each of these texts has read so many bytes of linear weights.
pub(super) fn count(seqs: &[Option<Seq<'_>>], bytes: u64) {
    seqs.iter().flatten().for_each(|seq| _ = seq.bytes.fetch_add(bytes, Ordering::Relaxed));
}

/// How the tokens of a pass lie, and how they are multiplied. Which of them are sparse their [`Seq`]s say.
pub(crate) enum Mode<'a> {
    /// Tokens of one text, all dense.
    Prompt,
    /// One token of each text; of a sparse one, dropped rows are skipped.
    Decode,
    /// Tokens of one text to be scored: a sparse one's dropped inputs are zeroed in a copy (`masked: [T, widest
    /// input]`; `masked_whole` where weights are whole numbers), which gives the same bits as skipping rows.
    Window { masked: &'a mut [f32], masked_whole: &'a mut [i16] },
}

/// The state of one pass that all its operations use.
pub(super) struct Pass<'a, 's> {
    pub(super) work: Work<'a>,
    pub(super) kernels: Kernels,
    pub(super) rows: usize,
    /// Rows of a pass at most.
    pub(super) batch: usize,
    pub(super) mode: &'a mut Mode<'s>,
    /// The text of each token, or of all.
    pub(super) seqs: &'a mut [Option<Seq<'s>>],
    /// Kept channels: a piece of the widest input's length for each part.
    pub(super) active: &'a mut [u32],
    /// `B x` of all linears of a group: `[T, largest rank of a group]`
    pub(super) low_rank: &'a mut [f32],
    /// Sums of blocks: of one token `[BLOCKS - 1, output]`, else a tile for each part.
    pub(super) sums: &'a mut [f32],
    /// A group's input in whole numbers: `[T, widest input]`, and its scales.
    pub(super) whole: &'a mut [i16],
    pub(super) whole_scale: &'a mut [f32],
}

impl Pass<'_, '_> {
    /// Whether each token is of a text of its own.
    pub(super) fn is_of_many(&self) -> bool {
        matches!(self.mode, Mode::Decode)
    }

    /// Of one text's tokens, the first sparse one; as many as there are if there is none.
    pub(super) fn sparse_from(&self) -> usize {
        self.seqs.iter().flatten().next().map_or(self.rows, |seq| seq.sparse_from.min(self.rows))
    }
}

/// The first `rows` rows of a `[T, cols]` buffer.
pub(crate) fn view(data: &[f32], rows: usize, cols: usize) -> MatRef<'_> {
    MatRef::new(data, rows, cols, cols).expect("buffers hold a batch")
}
