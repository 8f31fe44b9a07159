//! Where a group's input channels stand in its matrix.
//!
//! The matrix is input-channel-major: a channel's weights are one row. Its channels are cut into [`BLOCKS`] blocks, so
//! that up to so many threads can read whole rows, each of its own block; and within a block they are interleaved, so
//! that neighbours, which are read together, come from streams far apart (`rasp_kernels::interleaved_place`).

use rasp_kernels::interleaved_place;
use std::ops::Range;

/// Blocks of a group's input channels. The sum over each is an own one, so this number is part of the format.
pub const BLOCKS: usize = 4;

/// The channels of a block, of so many in all: as equal as whole units of `unit` channels allow
/// ([`WeightType::block_unit`](crate::model::WeightType::block_unit), a multiple of eight).
pub fn block(channels: usize, unit: usize, block: usize) -> Range<usize> {
    let units = channels.div_ceil(unit);
    let cut = |block: usize| (units * block / BLOCKS * unit).min(channels);
    cut(block)..cut(block + 1)
}

/// For each channel, of so many in all, the row it stands in.
pub fn channel_rows(channels: usize, unit: usize) -> impl Iterator<Item = usize> {
    (0..BLOCKS).flat_map(move |n| {
        let block = block(channels, unit, n);
        let len = block.len();
        (0..len).map(move |k| block.start + interleaved_place(k, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_a_row_of_its_own_in_its_block() {
        for (channels, unit) in [0, 1, 7, 8, 31, 32, 33, 100, 576, 8960].into_iter().flat_map(|c| [(c, 8), (c, 32)]) {
            let rows: Vec<usize> = channel_rows(channels, unit).collect();
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..channels), "{channels}");
            let mut next = 0;
            for n in 0..BLOCKS {
                let block = block(channels, unit, n);
                assert_eq!(block.start, next);
                assert!(block.start.is_multiple_of(unit) || block.is_empty(), "{channels}");
                assert!(block.clone().all(|k| block.contains(&rows[k])), "{channels}");
                next = block.end;
            }
            assert_eq!(next, channels);
        }
    }

    #[test]
    fn the_layout_is_frozen() {
        let rows: Vec<usize> = channel_rows(576, 8).take(10).collect();
        assert_eq!(rows, [0, 18, 36, 54, 72, 90, 108, 126, 1, 19]);
        assert_eq!([0, 1, 2, 3].map(|n| block(576, 8, n)), [0..144, 144..288, 288..432, 432..576]);
        assert_eq!([0, 1, 2, 3].map(|n| block(576, 32, n)), [0..128, 128..288, 288..416, 416..576]);
    }
}
