//! `y += x·W`, one token: bound by the bytes of `W`.
//!
//! Rows are taken a few at a time across all columns, as in [`crate::vector::gemv`]: where they are interleaved, each goes
//! on with a run that is read from end to end, which the CPU's own prefetcher follows. A group of 32 channels takes several
//! such passes; between them its sums wait in cache. (All 32 rows at once would need no waiting, but are 32 places to read
//! at: more than the misses a core may have outstanding, and an EPYC reads half as fast.)

use std::mem::MaybeUninit;

use super::{COLS, Columns, Q4, Q8, Whole, finish, widened};
use crate::{
    QUANT_GROUP, QuantType, Quantized, STREAMS,
    vector::{
        Simd,
        list::{All, Rows},
    },
};

/// A cache line.
const LINE: usize = 64;
/// Bytes of each row between what is prefetched and what is used: a multiple of [`LINE`].
const AHEAD: usize = 256;
/// Columns whose part of `y` and whose sums stay in cache while rows go by: 24 KiB of each.
const TILE: usize = 6144;
/// Columns that are taken at a time: two blocks.
const STEP: usize = 2 * COLS;

/// # Safety
/// See [`crate::vector`]: `y [cols]`, `x [rows]`, `x_scale [rows / 32]`.
#[inline(always)]
pub(crate) unsafe fn gemv_q<S: Simd>(s: S, y: &mut [f32], x: &[i16], x_scale: &[f32], w: Quantized<'_>) {
    // SAFETY: the shapes are the caller's; every row is below the number of rows.
    unsafe { tiles(s, y, x, x_scale, All { start: 0, len: w.rows() }, w) };
}

/// # Safety
/// See [`crate::vector`]: `y [cols]`, `x [rows]`, `x_scale [rows / 32]`, `active` below `rows`.
#[inline(always)]
pub(crate) unsafe fn gemv_sparse_q<S: Simd>(
    s: S,
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    active: &[u32],
    w: Quantized<'_>,
) -> usize {
    if y.is_empty() {
        return active.chunk_by(|&a, &b| a as usize / QUANT_GROUP == b as usize / QUANT_GROUP).count();
    }
    // SAFETY: the shapes are the caller's, as is that the indices are below the number of rows.
    unsafe { tiles(s, y, x, x_scale, active, w) }
}

/// The number of groups that `channels` belong to, if there are columns.
///
/// # Safety
/// As for [`gemv_q`], and each of `channels`, which ascend, is below the number of rows.
#[inline(always)]
unsafe fn tiles<S: Simd>(
    s: S,
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    channels: impl Rows,
    w: Quantized<'_>,
) -> usize {
    let mut groups = 0;
    for c in (0..w.cols()).step_by(TILE) {
        let end = w.cols().min(c + TILE);
        let columns = Columns::new(&w.columns(c..end));
        let (y, x, x_scale) = (y[c..end].as_mut_ptr(), x.as_ptr(), x_scale.as_ptr());
        // SAFETY: those columns are there; the rest is the caller's.
        unsafe {
            groups = match w.quant() {
                QuantType::Q8 => tile::<S, Q8>(s, y, x, x_scale, channels, &columns),
                QuantType::Q4 | QuantType::Q4s => tile::<S, Q4>(s, y, x, x_scale, channels, &columns),
            };
        }
    }
    groups
}

/// Channels of one group that take part in a pass, in pairs, the last with itself and a zero if their number is odd.
struct Pass {
    group: usize,
    pairs: usize,
    row: [*const u8; STREAMS],
    /// `x` of two channels, the first in the low half.
    x: [i32; STREAMS / 2],
    /// Whether it is its group's first, and its last.
    first: bool,
    last: bool,
    /// Whether channels may be missing from its list.
    holes: bool,
}

impl Pass {
    /// From the channel at `start` of the list on; and where the next pass starts.
    ///
    /// # Safety
    /// `start` is within the list, whose channels ascend and are rows of `w` and elements of `x`.
    #[inline(always)]
    unsafe fn new(w: &Columns, x: *const i16, channels: impl Rows, start: usize) -> (Pass, usize) {
        // SAFETY: only called for places within the list.
        let group_of = |i: usize| unsafe { channels.at(i) } / QUANT_GROUP;
        let (group, len) = (group_of(start), channels.len());
        let (row, holes) = ([std::ptr::null(); STREAMS], channels.has_holes());
        let mut pass = Pass { group, pairs: 0, row, x: [0; STREAMS / 2], first: false, last: false, holes };
        let mut i = start;
        while i < len && i - start < STREAMS && group_of(i) == group {
            let n = i - start;
            // SAFETY: the channel is a row of w and an element of x.
            unsafe {
                let k = channels.at(i);
                pass.row[n] = w.row(k);
                pass.x[n / 2] |= i32::from((*x.add(k)).cast_unsigned()) << (16 * (n % 2));
            }
            i += 1;
        }
        if (i - start) % 2 == 1 {
            pass.row[i - start] = pass.row[i - start - 1];
        }
        pass.pairs = (i - start).div_ceil(2);
        pass.first = start == 0 || group_of(start - 1) != group;
        pass.last = i == len || group_of(i) != group;
        (pass, i)
    }

    /// The sum of its `x`.
    fn total(&self) -> i32 {
        self.x.iter().map(|&pair| (pair << 16 >> 16) + (pair >> 16)).sum()
    }
}

/// The sums of a group's columns between two passes.
type Waiting<S> = [MaybeUninit<[<S as Simd>::Sums; 2]>; TILE / STEP];

/// The number of groups.
///
/// # Safety
/// As for [`tiles`], and the matrix has at most [`TILE`] columns.
#[inline(always)]
unsafe fn tile<S: Simd, W: Whole>(
    s: S,
    y: *mut f32,
    x: *const i16,
    x_scale: *const f32,
    channels: impl Rows,
    w: &Columns,
) -> usize {
    if channels.len() == 0 {
        return 0;
    }
    let mut waiting: Waiting<S> = [const { MaybeUninit::uninit() }; TILE / STEP];
    let (mut total, mut groups) = (0, 0);
    // SAFETY: places are within the list, groups those of its channels. `waiting` is filled by the first pass of each group,
    // and all its passes have the same columns.
    unsafe {
        let (mut next, mut at) = Pass::new(w, x, channels, 0);
        loop {
            let this = next;
            let more = at < channels.len();
            // While the last pass runs something at hand is prefetched.
            (next, at) = Pass::new(w, x, channels, if more { at } else { at - 1 });
            total = this.total() + if this.first { 0 } else { total };
            let scale = *x_scale.add(this.group);
            let factors = (scale, scale * total as f32);
            match this.pairs {
                // Groups are whole where no channel is missing.
                _ if !channels.has_holes() => columns::<S, W, 4>(s, y, w, &this, &next, factors, &mut waiting),
                1 => columns::<S, W, 1>(s, y, w, &this, &next, factors, &mut waiting),
                2 => columns::<S, W, 2>(s, y, w, &this, &next, factors, &mut waiting),
                3 => columns::<S, W, 3>(s, y, w, &this, &next, factors, &mut waiting),
                _ => columns::<S, W, 4>(s, y, w, &this, &next, factors, &mut waiting),
            }
            groups += usize::from(this.last);
            if !more {
                return groups;
            }
        }
    }
}

/// `P` pairs of channels through all columns.
///
/// # Safety
/// `y` has `w.cols` elements; both passes are of `w`, `this` has `P` pairs; what waits is of its group, unless it is the first.
#[inline(always)]
unsafe fn columns<S: Simd, W: Whole, const P: usize>(
    s: S,
    y: *mut f32,
    w: &Columns,
    this: &Pass,
    next: &Pass,
    (scale, total): (f32, f32),
    waiting: &mut Waiting<S>,
) {
    let bytes = w.cols / COLS * W::BYTES;
    // Where every row of 4 bits is read, L2 is near enough for rows, and scales, a fifth of the bytes, are better sent
    // for with the last pass of the group before theirs. Otherwise they come with the pass before their group's last.
    let whole_q4 = W::MIN && !this.holes;
    let x: [_; P] = std::array::from_fn(|p| s.splat_pair(this.x[p]));
    let row: [[_; 2]; P] = std::array::from_fn(|p| [this.row[2 * p], this.row[2 * p + 1]]);
    let mut done = 0;
    while done < bytes {
        // A line of each row: what follows it, or what comes first in the next pass.
        let ahead = done + AHEAD;
        if whole_q4 {
            // Not needed.
        } else if ahead < bytes {
            for p in row.as_flattened() {
                s.prefetch(p.wrapping_add(ahead));
            }
        } else if ahead - bytes.next_multiple_of(LINE) < bytes {
            for p in &next.row[..2 * next.pairs] {
                s.prefetch(p.wrapping_add(ahead - bytes.next_multiple_of(LINE)));
            }
        }
        // And the next pass into L2, and a group's scales, a line for each block of columns.
        for p in &next.row[..2 * next.pairs] {
            s.prefetch_l2(p.wrapping_add(done));
        }
        let scales = if whole_q4 { this.last } else { next.last };
        if scales {
            let at = w.group(next.group, done / W::BYTES);
            for block in 0..LINE / W::BYTES {
                s.prefetch_l2(at.scale.wrapping_add(block * COLS).cast());
                if W::MIN && !at.min.is_null() {
                    s.prefetch_l2(at.min.wrapping_add(block * COLS).cast());
                }
            }
        }
        let end = bytes.min(done + LINE);
        // SAFETY: the columns from `done` to `end` lie within the rows and the tile.
        unsafe {
            while done + 2 * W::BYTES <= end {
                let wait = waiting.get_unchecked_mut(done / (2 * W::BYTES));
                let mut sums = if this.first { [s.zero_sums(); 2] } else { wait.assume_init() };
                for p in 0..P {
                    let row_pair = W::row_pairs(s, row[p][0].add(done), row[p][1].add(done));
                    sums = [s.add_row_pair(sums[0], row_pair[0], x[p]), s.add_row_pair(sums[1], row_pair[1], x[p])];
                }
                if this.last {
                    let at = w.group(this.group, done / W::BYTES);
                    let shared = widened::<S, W, 2>(s, at);
                    finish::<S, W, 2>(s, y.add(at.column), |v| W::sums2_at(s, sums, v), &shared, scale, total);
                } else {
                    wait.write(sums);
                }
                done += 2 * W::BYTES;
            }
            // Half a step at most, at the very end.
            if done < end {
                let wait = waiting.get_unchecked_mut(done / (2 * W::BYTES));
                let mut sums = if this.first { s.zero_sums() } else { wait.assume_init()[0] };
                for p in 0..P {
                    let row_pair = W::row_pair(s, row[p][0].add(done), row[p][1].add(done));
                    sums = s.add_row_pair(sums, row_pair, x[p]);
                }
                if this.last {
                    let at = w.group(this.group, done / W::BYTES);
                    let shared = widened::<S, W, 1>(s, at);
                    finish::<S, W, 1>(s, y.add(at.column), |v| s.sums_at(sums, v), &shared, scale, total);
                } else {
                    wait.write([sums, s.zero_sums()]);
                }
                done += W::BYTES;
            }
        }
    }
}
