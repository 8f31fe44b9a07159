//! What is sent for while rows are computed ([`crate::prefetch`] says which way is whose).

use super::{Columns, QUADS, Whole, group::GroupRows};
use crate::{prefetch::Prefetch, vector::Integers};

/// A cache line.
const LINE: usize = 64;
/// How far ahead a row is sent for into L1 where all of a group's are read side by side.
const NEAR: usize = 256;

/// What is sent for, a little at each step, a step being some bytes of each row.
pub(super) enum ReadAhead<'a> {
    /// A little of what each row goes on with, or begins with in the next rows, into L1.
    Near(Near<'a>),
    /// The next group's lines into L2: the rows' pieces in the order of their addresses, then scales, then minima.
    Far(Far<'a>),
}

impl<'a> ReadAhead<'a> {
    /// While `bytes` of all rows of `this` are computed, in so many steps, the same of `next`, whose columns `w` has.
    #[inline(always)]
    pub(super) fn of_groups<W: Whole>(
        [this, next]: [&'a GroupRows; 2],
        w: &Columns,
        bytes: usize,
        steps: usize,
        prefetch: Prefetch,
    ) -> ReadAhead<'a> {
        let near = Near::new([this.rows(0..QUADS), next.rows(0..QUADS)], bytes, NEAR);
        match prefetch {
            Prefetch::Near => ReadAhead::Near(near),
            Prefetch::Few | Prefetch::FewIfShort => ReadAhead::Near(near.with_shared::<W>(next, w)),
            Prefetch::Far => ReadAhead::Far(Far::new(next, w, bytes, steps)),
        }
    }

    /// All of a step's share, that from byte `done` of each row on.
    #[inline(always)]
    pub(super) fn step<S: Integers>(&mut self, s: S, done: usize) {
        let lines = self.begin(s, done);
        self.send(s, lines);
    }

    /// What the first steps take, while nothing is computed yet.
    #[inline(always)]
    pub(super) fn start<S: Integers>(&mut self, s: S) {
        match self {
            ReadAhead::Near(near) => near.start(s),
            ReadAhead::Far(far) => far.send(s, far.pace),
        }
    }

    /// Begins a step: so many lines of rows are to be sent for, at once or little by little.
    #[inline(always)]
    pub(super) fn begin<S: Integers>(&mut self, s: S, done: usize) -> usize {
        match self {
            ReadAhead::Near(near) => near.begin(s, done),
            ReadAhead::Far(far) => far.pace,
        }
    }

    /// Sends for so many lines of the step, if there are as many.
    #[inline(always)]
    pub(super) fn send<S: Integers>(&mut self, s: S, lines: usize) {
        match self {
            ReadAhead::Near(near) => near.send(s, lines),
            ReadAhead::Far(far) => far.send(s, lines),
        }
    }
}

pub(super) struct Near<'a> {
    this: &'a [*const u8],
    next: &'a [*const u8],
    /// Bytes of each row's piece, and those between what is sent for and what is used.
    bytes: usize,
    distance: usize,
    /// Whose lines this step sends for that are not sent for yet, and how many bytes into each row they lie.
    rows: &'a [*const u8],
    at: usize,
    /// What columns share of the next group, if that is sent for: so many bytes of each for a byte of a row.
    shared: [*const u8; 2],
    width: usize,
}

impl<'a> Near<'a> {
    /// While `bytes` of each of the rows `this` are computed, `distance` bytes ahead in them, and then in the rows
    /// `next`.
    #[inline(always)]
    pub(super) fn new([this, next]: [&'a [*const u8]; 2], bytes: usize, distance: usize) -> Near<'a> {
        let distance = distance.min(bytes.next_multiple_of(LINE));
        Near { this, next, bytes, distance, rows: &[], at: 0, shared: [std::ptr::null(); 2], width: 0 }
    }

    /// Also what columns share of the group of `next`, whose columns `w` has.
    #[inline(always)]
    pub(super) fn with_shared<W: Whole>(mut self, next: &GroupRows, w: &Columns) -> Near<'a> {
        if !next.is_empty() {
            let at = w.group(next.group, 0);
            (self.shared, self.width) = ([at.scale.cast(), at.min.cast()], 2 * W::COLUMNS);
        }
        self
    }

    #[inline(always)]
    fn start<S: Integers>(&mut self, s: S) {
        for line in (0..self.distance).step_by(LINE) {
            for row in self.this {
                s.prefetch(row.wrapping_add(line));
            }
        }
    }

    #[inline(always)]
    fn begin<S: Integers>(&mut self, s: S, done: usize) -> usize {
        for at in self.shared.into_iter().filter(|at| !at.is_null()) {
            for line in (done * self.width..(done + S::STEP) * self.width).step_by(LINE) {
                s.prefetch(at.wrapping_add(line));
            }
        }
        if !done.is_multiple_of(LINE) {
            return 0;
        }
        (self.rows, self.at) = (self.this, done + self.distance);
        if self.at >= self.bytes {
            (self.rows, self.at) = (self.next, self.at - self.bytes.next_multiple_of(LINE));
        }
        self.rows.len()
    }

    #[inline(always)]
    fn send<S: Integers>(&mut self, s: S, lines: usize) {
        let (now, later) = self.rows.split_at_checked(lines).unwrap_or((self.rows, &[]));
        for row in now {
            s.prefetch(row.wrapping_add(self.at));
        }
        self.rows = later;
    }
}

pub(super) struct Far<'a> {
    next: &'a GroupRows,
    /// Bytes of each row's piece, of the next group's scales and of its minima.
    bytes: usize,
    shared: [(*const u8, usize); 2],
    /// Pieces begun, and what is left of the last one.
    piece: usize,
    at: *const u8,
    end: *const u8,
    /// Lines a step.
    pace: usize,
}

impl<'a> Far<'a> {
    /// `bytes` of each row of `next`, and what columns share of its group, in so many steps.
    #[inline(always)]
    pub(super) fn new(next: &'a GroupRows, w: &Columns, bytes: usize, steps: usize) -> Far<'a> {
        let at = w.group(next.group, 0);
        let own = if next.is_empty() { 0 } else { 2 * w.cols };
        let shared = [(at.scale.cast(), own), (at.min.cast(), if at.min.is_null() { 0 } else { own })];
        let lines = |bytes: usize| if bytes == 0 { 0 } else { bytes / LINE + 1 };
        let all = next.count * lines(bytes) + lines(shared[0].1) + lines(shared[1].1);
        let (none, pace) = (std::ptr::null(), all.div_ceil(steps.max(1)));
        Far { next, bytes, shared, piece: 0, at: none, end: none, pace }
    }

    #[inline(always)]
    fn send<S: Integers>(&mut self, s: S, mut left: usize) {
        loop {
            while self.at < self.end {
                if left == 0 {
                    return;
                }
                s.prefetch_l2(self.at);
                self.at = self.at.wrapping_add(LINE);
                left -= 1;
            }
            let (start, bytes) = match self.piece.checked_sub(self.next.count) {
                None => (self.next.row[usize::from(self.next.order[self.piece] & 31)], self.bytes),
                Some(n @ (0 | 1)) => self.shared[n],
                Some(_) => return,
            };
            self.piece += 1;
            // From the start of a line on, so that the last line is not left out.
            self.at = start.wrapping_sub(start.addr() % LINE);
            self.end = if bytes == 0 { self.at } else { start.wrapping_add(bytes) };
        }
    }
}
