//! What a pass is about: its texts, which of their tokens are sparse, and the scratch it computes in.

use super::tiles::MAX_ROWS;
use super::work::Work;
use crate::session::adapters::Adapters;
use crate::session::kv_cache::KvCache;
use rasp_kernels::{Kernels, MatRef, PackedGroup};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A text of which a token passes, or several: what a pass touches of its session.
pub(crate) struct Seq<'a> {
    /// Of its first token in this pass.
    pub(super) position: usize,
    /// Its tokens in this pass.
    pub(super) count: usize,
    pub(super) kv: &'a mut KvCache,
    /// Room for attention scores, 8 queries' of a full context at least.
    pub(super) scores: &'a mut [f32],
    /// What its sparse tokens pass with, one a linear.
    pub(super) thresholds: &'a [f32],
    /// Of its tokens in this pass, the first sparse one: those before it are dense.
    pub(super) sparse_from: usize,
    /// Whether its tokens' keys and values are stored; else they are there.
    pub(super) stores: bool,
    pub(super) adapters: &'a mut Adapters,
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
}

/// Whose token a row of a pass of decoded tokens is: the place of its text, and which of that one's tokens it is.
#[derive(Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) seq: usize,
    pub(super) token: usize,
}

impl Row {
    /// Text by text, the tokens of each one after the other.
    pub(super) fn all(seqs: &[Option<Seq<'_>>]) -> [Row; MAX_ROWS] {
        let tokens = |(seq, text): (usize, &Seq<'_>)| (0..text.count).map(move |token| Row { seq, token });
        let mut rows = seqs.iter().flatten().enumerate().flat_map(tokens);
        std::array::from_fn(|_| rows.next().unwrap_or_default())
    }
}

/// The tokens of a pass of decoded ones, as the parts of a job see them.
#[derive(Clone, Copy)]
pub(super) struct Decoded<'p, 's> {
    pub(super) seqs: &'p [Option<Seq<'s>>],
    pub(super) rows: &'p [Row; MAX_ROWS],
    pub(super) read: &'p Read,
}

impl<'s> Decoded<'_, 's> {
    /// What the token of this row goes by, one a linear; `None` for a dense one.
    pub(super) fn thresholds(&self, row: usize) -> Option<&'s [f32]> {
        let Row { seq, token } = self.rows[row];
        self.seqs[seq].as_ref().and_then(|seq| seq.thresholds(token))
    }
}

/// Bytes of linear weights that each token of a pass has read, as if it had passed by itself. Of tokens that are scored
/// all count as the first.
#[derive(Default)]
pub(crate) struct Read([AtomicU64; MAX_ROWS]);

impl Read {
    /// These tokens have read so many more, each of them.
    pub(super) fn add(&self, rows: Range<usize>, bytes: u64) {
        self.0[rows].iter().for_each(|read| _ = read.fetch_add(bytes, Ordering::Relaxed));
    }

    pub(crate) fn of(&self, row: usize) -> u64 {
        self.0[row].load(Ordering::Relaxed)
    }
}

/// How the tokens of a pass lie, and how they are multiplied. Which of them are sparse their [`Seq`]s say.
pub(crate) enum Mode<'a> {
    /// Tokens of one text, all dense.
    Prompt,
    /// Tokens of one text or of several, one of each most often; of a sparse one, dropped rows are skipped.
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
    /// The text of all tokens, or the texts of those that are decoded.
    pub(super) seqs: &'a mut [Option<Seq<'s>>],
    /// Whose tokens those that are decoded are.
    pub(super) rows_of: [Row; MAX_ROWS],
    pub(super) read: &'a Read,
    /// Whether any text passes with adapters.
    pub(super) adapted: bool,
    /// Kept channels: a piece of the widest input's length for each part.
    pub(super) active: &'a mut [u32],
    /// `B x` of all linears of a group: `[T, largest rank of a group]`
    pub(super) low_rank: &'a mut [f32],
    /// Sums of blocks: of one token `[BLOCKS - 1, output]`, else a tile for each part.
    pub(super) sums: &'a mut [f32],
    /// A group's input in whole numbers: `[T, widest input]`, and its scales.
    pub(super) whole: &'a mut [i16],
    pub(super) whole_scale: &'a mut [f32],
    /// Some rows of it packed: `[widest input / 32]`
    pub(super) packed: &'a mut [PackedGroup],
}

impl Pass<'_, '_> {
    /// Whose token a row is.
    pub(super) fn row(&self, row: usize) -> Row {
        match self.mode {
            Mode::Decode => self.rows_of[row],
            Mode::Prompt | Mode::Window { .. } => Row { seq: 0, token: row },
        }
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
