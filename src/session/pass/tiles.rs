//! How large the pieces are that a pass is cut into, and why.

use crate::format::BLOCKS;
use std::ops::Range;

/// Tokens that are decoded together, at most, of one text or of as many. With so many, arithmetic is all that counts.
pub(crate) const MAX_ROWS: usize = 32;

/// Columns and rows are shared out in units of this many: whole vectors and whole cache lines on every machine.
pub(crate) const UNIT: usize = 32;

/// Queries whose attention is computed together, so that keys and values are read once for all of them.
pub(super) const QUERY_TILE: usize = 8;

/// A unit of work reads at most about so many bytes of weights, or of keys and values: 0.1 ms of one core that reads
/// 10 GB/s.
pub(super) const UNIT_BYTES: usize = 1 << 20;

/// And it takes at most about so many multiply-adds: 0.3 ms of one core at 25 a nanosecond. This is what counts for a
/// batch of tokens.
pub(super) const UNIT_MACS: usize = 8 << 20;

/// The same of weights in whole numbers, whose products take about half of the time.
pub(super) const UNIT_MACS_INTEGER: usize = 16 << 20;

/// Where several tokens take the same weights one after the other, a unit reads so many bytes, which stay in the cache
/// meanwhile: half of a small L2.
pub(super) const SHARED_BYTES: usize = 256 << 10;

/// Elements of a batch that are finished together, the most of a unit of work: an exponential each, perhaps.
pub(super) const FINISH: usize = 64 << 10;

/// Least elements of a part's tile of block sums: 136 KiB, within L2.
pub(super) const TILE: usize = 34 << 10;

/// Elements between a tile's rows: a cache line, so that rows whose length is a power of two share no places in L1.
pub(super) const PAD: usize = 16;

/// Columns of whole numbers that a unit of a batch's work has at least, where there are so many: a cache line of 4
/// bits.
pub(super) const STRIP: usize = 128;

/// Outputs of one token that are finished without waking anybody: less work than a fork.
pub(super) const ALONE: usize = 4096;

/// Columns that one token's product takes together: what its kernel does anyway, to keep their sums in L1.
pub(super) const COLUMNS: usize = 6144;

/// So many tokens are multiplied together from the start; of fewer the first goes by itself, since a product of one
/// reads memory in longer streams. (Of whole numbers the product of several reads as that of one does.)
pub(super) const MANY: usize = 8;

/// So many sparse tokens in whole numbers are multiplied together, dropped inputs zeroed; fewer one by one. (Three at half
/// the channels take as long either way, four a tenth less together: `docs/lab/2026-11-30-speed-zen5-reading.md`.)
pub(crate) const MASKED: usize = 3;

/// Elements that the sums of blocks need, see [`Pass::sums`](super::context::Pass::sums).
pub(super) fn sums_len(widest: usize, batch: usize, parts: usize) -> usize {
    let one_token = (BLOCKS - 1) * widest;
    one_token.max(parts.saturating_mul(tile_len(batch)))
}

/// Elements of one part's tile.
pub(super) fn tile_len(batch: usize) -> usize {
    TILE.max(batch.saturating_mul(UNIT + PAD))
}

/// A range in pieces of at most `most`, rounded down to whole `unit`s (one at least), counted from its start.
pub(super) fn cut(range: Range<usize>, unit: usize, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let step = (most / unit).max(1) * unit;
    range.clone().step_by(step).map(move |start| start..range.end.min(start + step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_cover_a_range_once() {
        let lens = |range, unit, most| cut(range, unit, most).map(|r| (r.start, r.end)).collect::<Vec<_>>();
        assert_eq!(lens(3..10, 1, 3), [(3, 6), (6, 9), (9, 10)]);
        assert_eq!(lens(0..100, 32, 70), [(0, 64), (64, 100)]);
        assert_eq!(lens(0..40, 32, 1), [(0, 32), (32, 40)]);
        assert_eq!(lens(5..5, 1, 1), []);
    }
}
