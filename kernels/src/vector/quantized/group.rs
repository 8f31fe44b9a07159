//! A group of input channels: where its rows are, and what they are multiplied by.

use std::ops::Range;

use super::Columns;
use crate::{QUANT_GROUP, matrix::dealt, packed::Inputs, vector::Integers};

/// The channels that take part: those listed, ascending, or all of so many.
#[derive(Clone, Copy)]
pub(super) struct KeptChannels<'a> {
    pub(super) active: Option<&'a [u32]>,
    pub(super) rows: usize,
}

/// How many bytes the rows of a group lie behind its first one, where interleaved rows are dealt to all runs.
pub(super) struct Offsets([usize; QUANT_GROUP]);

impl Offsets {
    #[inline(always)]
    pub(super) fn new(w: &Columns) -> Offsets {
        let mut offsets = [0; QUANT_GROUP];
        for (at, offset) in offsets.iter_mut().enumerate() {
            *offset = dealt(at, w.run) * w.row_bytes;
        }
        Offsets(offsets)
    }
}

/// The rows of a group that take part. The last quad is filled up with the last of them.
pub(super) struct GroupRows {
    pub(super) group: usize,
    /// Rows, without those that fill up.
    pub(super) count: usize,
    pub(super) row: [*const u8; QUANT_GROUP],
    /// Which of them comes when, in the order of addresses.
    pub(super) order: [u8; QUANT_GROUP],
    /// Their inputs; 0 for those that fill up.
    x: [i16; QUANT_GROUP],
}

impl GroupRows {
    pub(super) const NONE: GroupRows = GroupRows {
        group: 0,
        count: 0,
        row: [std::ptr::null(); QUANT_GROUP],
        order: [0; QUANT_GROUP],
        x: [0; QUANT_GROUP],
    };

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline(always)]
    pub(super) fn quads(&self) -> usize {
        self.count.div_ceil(4)
    }

    /// The rows of those quads, without those that fill up.
    #[inline(always)]
    pub(super) fn rows(&self, quads: Range<usize>) -> &[*const u8] {
        let end = (4 * quads.end).min(self.count);
        self.row.get(4 * quads.start..end).unwrap_or(&[])
    }

    /// The group of the channel at `start` of the list, or none at its end; returns where the next one starts.
    /// `ordered`: whether it is asked later in which order they lie.
    ///
    /// # Safety
    /// The list's channels are rows of `w`, which has columns, and elements of `x`; `offsets` are those of `w`.
    #[inline(always)]
    pub(super) unsafe fn read(
        &mut self,
        w: &Columns,
        offsets: &Offsets,
        x: *const i16,
        list: KeptChannels<'_>,
        start: usize,
        ordered: bool,
    ) -> usize {
        self.count = 0;
        let Some(active) = list.active else {
            if start < list.rows {
                self.group = start / QUANT_GROUP;
                // SAFETY: rows are whole groups; the rest is the caller's.
                unsafe { self.read_all(w, x.add(start)) };
            }
            return start + QUANT_GROUP;
        };
        let active = active.get(start..).unwrap_or(&[]);
        let Some(&first) = active.first() else { return start };
        let group = first as usize / QUANT_GROUP;
        self.group = group;
        self.x = [0; QUANT_GROUP];
        let all = &active[..active.len().min(QUANT_GROUP)];
        // SAFETY: the list's channels, and so their groups, are rows and elements.
        unsafe {
            let x = x.add(group * QUANT_GROUP);
            if w.run == 0 || (group + 1) * QUANT_GROUP <= 8 * w.run {
                let base = w.row(group * QUANT_GROUP);
                self.count = self.read_some(all, |at| (base.wrapping_add(offsets.0[at]), *x.add(at)));
            } else {
                self.count = self.read_some(all, |at| (w.row(group * QUANT_GROUP + at), *x.add(at)));
            }
        }
        for n in self.count..4 * self.quads() {
            self.row[n] = self.row[self.count - 1];
        }
        if ordered {
            self.put_in_order(&all[..self.count], w.run != 0);
        }
        start + self.count
    }

    /// The channels that are of the first one's group, and how many; `get` has the row and the input of each of it.
    #[inline(always)]
    fn read_some(&mut self, channels: &[u32], get: impl Fn(usize) -> (*const u8, i16)) -> usize {
        for (n, &k) in channels.iter().enumerate() {
            let k = k as usize;
            if k / QUANT_GROUP != self.group {
                return n;
            }
            (self.row[n], self.x[n]) = get(k % QUANT_GROUP);
        }
        channels.len()
    }

    /// Finds the order of these channels' rows in memory.
    #[inline(always)]
    fn put_in_order(&mut self, channels: &[u32], interleaved: bool) {
        // The place of each of the 32, from 0 on, and who is there.
        let (mut taken, mut who) = (0u32, [0u8; QUANT_GROUP]);
        for (n, &k) in channels.iter().enumerate() {
            let at = k as usize % QUANT_GROUP;
            let place = if interleaved { at % 8 * 4 + at / 8 } else { at };
            taken |= 1 << place;
            who[place] = n as u8;
        }
        for n in 0..channels.len() {
            self.order[n] = who[(taken.trailing_zeros() & 31) as usize];
            taken &= taken.wrapping_sub(1);
        }
    }

    /// # Safety
    /// The group's rows are all there, `x` its inputs.
    #[inline(always)]
    unsafe fn read_all(&mut self, w: &Columns, x: *const i16) {
        self.count = QUANT_GROUP;
        let first = self.group * QUANT_GROUP;
        // SAFETY: by contract.
        unsafe {
            if !x.is_null() {
                std::ptr::copy_nonoverlapping(x, self.x.as_mut_ptr(), QUANT_GROUP);
            }
            if w.run != 0 && first + QUANT_GROUP <= 8 * w.run {
                let (step, mut at) = (w.run * w.row_bytes, w.row(first));
                for r in 0..8 {
                    for j in 0..4 {
                        self.row[8 * j + r] = at.wrapping_add(j * w.row_bytes);
                        self.order[4 * r + j] = (8 * j + r) as u8;
                    }
                    at = at.wrapping_add(step);
                }
            } else {
                for k in 0..QUANT_GROUP {
                    self.row[k] = w.row(first + k);
                    self.order[k] = k as u8;
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn inputs<S: Integers>(&self, s: S) -> Inputs {
        s.split(&self.x)
    }

    /// All rows of a group, without inputs; none beyond the last group.
    ///
    /// # Safety
    /// `w` has columns.
    #[inline(always)]
    pub(super) unsafe fn read_group(&mut self, w: &Columns, group: usize, groups: usize) {
        (self.group, self.count) = (group, 0);
        if group < groups {
            // SAFETY: the group is there.
            unsafe { self.read_all(w, std::ptr::null()) };
        }
    }
}
