//! `y += x·W`, one token: a group of input channels at a time. The rows of a group are as many streams; what each goes on
//! with is prefetched, and at its end the rows of the next group.

use super::{COLS, Columns, PAIRS, Q4, Q8, Whole, finish};
use crate::{
    QUANT_GROUP, QuantType, Quantized,
    vector::{
        Simd,
        list::{All, Rows},
    },
};

/// A cache line.
const LINE: usize = 64;
/// Bytes of each row between what is prefetched and what is used: a multiple of [`LINE`].
const AHEAD: usize = 128;

/// Which channels of a group take part: in pairs, the last with itself and a zero if their number is odd.
struct Batch {
    group: usize,
    /// Channels, one more if the number is odd.
    rows: usize,
    row: [*const u8; QUANT_GROUP],
    /// `x` of two channels, the first in the low half.
    pair: [i32; PAIRS],
    /// The sum of `x`.
    total: i32,
}

impl Batch {
    /// # Safety
    /// `w` has columns and the rows of its group `group`, of which `channels` are some, ascending.
    #[inline(always)]
    unsafe fn new(w: &Columns, x: *const i16, group: usize, channels: impl Rows) -> Batch {
        let mut batch =
            Batch { group, rows: channels.len(), row: [std::ptr::null(); QUANT_GROUP], pair: [0; PAIRS], total: 0 };
        for i in 0..channels.len() {
            // SAFETY: the channel is a row of w and an element of x.
            unsafe {
                let k = channels.at(i);
                let value = *x.add(k);
                batch.row[i] = w.row(k);
                batch.pair[i / 2] |= i32::from(value.cast_unsigned()) << (16 * (i % 2));
                batch.total += i32::from(value);
            }
        }
        if channels.len() % 2 == 1 {
            batch.row[channels.len()] = batch.row[channels.len() - 1];
            batch.rows += 1;
        }
        batch
    }
}

/// # Safety
/// See [`crate::vector`]: `y [cols]`, `x [rows]`, `x_scale [rows / 32]`.
#[inline(always)]
pub(crate) unsafe fn gemv_q<S: Simd>(s: S, y: &mut [f32], x: &[i16], x_scale: &[f32], w: Quantized<'_>) {
    if y.is_empty() || x.is_empty() {
        return;
    }
    let (y, x, x_scale, columns) = (y.as_mut_ptr(), x.as_ptr(), x_scale.as_ptr(), Columns::new(&w));
    // SAFETY: the shapes are the caller's, and every group is below the number of groups.
    unsafe {
        let batch = |g: usize| Batch::new(&columns, x, g, All { start: g * QUANT_GROUP, len: QUANT_GROUP });
        let mut next = batch(0);
        for g in 0..w.groups() {
            let this = std::mem::replace(&mut next, batch((g + 1).min(w.groups() - 1)));
            match w.quant() {
                QuantType::Q8 => through::<S, Q8>(s, y, x_scale, &columns, &this, &next),
                QuantType::Q4 => through::<S, Q4>(s, y, x_scale, &columns, &this, &next),
            }
        }
    }
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
    let group_of = |k: u32| k as usize / QUANT_GROUP;
    let mut groups = active.chunk_by(|&a, &b| group_of(a) == group_of(b));
    if y.is_empty() {
        return groups.count();
    }
    let (y, x, x_scale, columns) = (y.as_mut_ptr(), x.as_ptr(), x_scale.as_ptr(), Columns::new(&w));
    let batch = |channels: &[u32]| {
        let group = channels.first().map_or(0, |&k| group_of(k));
        // SAFETY: the indices are the caller's, below the number of rows.
        unsafe { Batch::new(&columns, x, group, channels) }
    };
    let mut next = batch(groups.next().unwrap_or_default());
    let mut read = 0;
    while next.rows > 0 {
        let this = std::mem::replace(&mut next, batch(groups.next().unwrap_or_default()));
        // SAFETY: the shapes are the caller's.
        unsafe {
            match w.quant() {
                QuantType::Q8 => through::<S, Q8>(s, y, x_scale, &columns, &this, &next),
                QuantType::Q4 => through::<S, Q4>(s, y, x_scale, &columns, &this, &next),
            }
        }
        read += 1;
    }
    read
}

/// One group through all columns.
///
/// # Safety
/// `y` has `w.cols > 0` elements, `x_scale` one for the group; both batches are of `w`.
#[inline(always)]
unsafe fn through<S: Simd, W: Whole>(s: S, y: *mut f32, x_scale: *const f32, w: &Columns, this: &Batch, next: &Batch) {
    let bytes = w.cols / COLS * W::BYTES;
    // SAFETY: the group has a scale.
    let scale = unsafe { *x_scale.add(this.group) };
    let total = scale * this.total as f32;
    let mut done = 0;
    while done < bytes {
        // A line of each row: what follows it, or what comes first of the next group.
        let ahead = done + AHEAD;
        if ahead < bytes {
            for row in &this.row[..this.rows] {
                s.prefetch(row.wrapping_add(ahead));
            }
        } else if ahead - bytes.next_multiple_of(LINE) < bytes {
            for row in &next.row[..next.rows] {
                s.prefetch(row.wrapping_add(ahead - bytes.next_multiple_of(LINE)));
            }
        }
        let end = bytes.min(done + LINE);
        // SAFETY: the columns from `done` to `end` lie within the rows.
        unsafe {
            while done + 2 * W::BYTES <= end {
                let mut sums = [s.zero_sums(); 2];
                for p in 0..this.rows / 2 {
                    let x = s.splat_pair(this.pair[p]);
                    let row_pair = W::row_pairs(s, this.row[2 * p].add(done), this.row[2 * p + 1].add(done));
                    sums = [s.add_row_pair(sums[0], row_pair[0], x), s.add_row_pair(sums[1], row_pair[1], x)];
                }
                let at = w.group(this.group, done / W::BYTES);
                finish::<S, W, 2>(s, y.add(at.column), |v| W::sums2_at(s, sums, v), at, scale, total);
                done += 2 * W::BYTES;
            }
            while done < end {
                let mut sums = s.zero_sums();
                for p in 0..this.rows / 2 {
                    let row_pair = W::row_pair(s, this.row[2 * p].add(done), this.row[2 * p + 1].add(done));
                    sums = s.add_row_pair(sums, row_pair, s.splat_pair(this.pair[p]));
                }
                let at = w.group(this.group, done / W::BYTES);
                finish::<S, W, 1>(s, y.add(at.column), |v| s.sums_at(sums, v), at, scale, total);
                done += W::BYTES;
            }
        }
    }
}
