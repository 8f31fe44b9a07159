//! Stored matrices: weights and caches, read in the format they were stored in.

use std::ops::Range;

/// The elements of a stored matrix.
///
/// `F16` (IEEE binary16) and `Bf16` (the upper half of a binary32) are bit patterns, so that a
/// mapped file can be used in place.
#[derive(Clone, Copy, Debug)]
pub enum Elems<'a> {
    /// IEEE binary32.
    F32(&'a [f32]),
    /// IEEE binary16.
    F16(&'a [u16]),
    /// bfloat16.
    Bf16(&'a [u16]),
    /// Whole numbers, whose scales are the caller's business.
    I8(&'a [i8]),
}

impl<'a> Elems<'a> {
    /// How many elements there are.
    pub fn len(self) -> usize {
        match self {
            Elems::F32(data) => data.len(),
            Elems::F16(data) | Elems::Bf16(data) => data.len(),
            Elems::I8(data) => data.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Bytes of one element.
    pub fn elem_bytes(self) -> usize {
        match self {
            Elems::F32(_) => 4,
            Elems::F16(_) | Elems::Bf16(_) => 2,
            Elems::I8(_) => 1,
        }
    }

    /// The elements of that range. Panics if it is out of bounds, as slicing does.
    pub fn slice(self, range: Range<usize>) -> Elems<'a> {
        match self {
            Elems::F32(data) => Elems::F32(&data[range]),
            Elems::F16(data) => Elems::F16(&data[range]),
            Elems::Bf16(data) => Elems::Bf16(&data[range]),
            Elems::I8(data) => Elems::I8(&data[range]),
        }
    }
}

/// Whether the last of `rows` rows, `stride` apart and `cols` long, ends within `len` elements.
pub(crate) fn fits(len: usize, rows: usize, cols: usize, stride: usize) -> bool {
    if rows == 0 || cols == 0 {
        return true;
    }
    (rows - 1).checked_mul(stride).and_then(|start| start.checked_add(cols)).is_some_and(|n| n <= len)
}

/// How many runs the rows of an interleaved matrix are dealt to.
///
/// A CPU follows several streams at once and gets more out of memory that way than from one: eight
/// rows at a time, each from its own run, were read at nearly twice the speed of eight neighbours
/// (`docs/performance.md`).
pub const STREAMS: usize = 8;

/// Where row `k` of an interleaved matrix of `rows` rows stands: rows are dealt to [`STREAMS`] runs in
/// turn, as cards to players, and the runs lie one after the other. What does not go round once more
/// (`rows mod STREAMS`) comes last.
pub fn interleaved_place(k: usize, rows: usize) -> usize {
    dealt(k, rows / STREAMS)
}

#[inline(always)]
pub(crate) fn dealt(k: usize, run: usize) -> usize {
    if k < STREAMS * run { k % STREAMS * run + k / STREAMS } else { k }
}

/// A range of rows, of `rows` in runs of `run`: where the first stands, and the length of a run in it. Panics if that
/// range is no matrix of its own.
pub(crate) fn part_of_runs(range: Range<usize>, rows: usize, run: usize) -> (usize, usize) {
    let dealt = STREAMS * run;
    if run == 0 || range.start >= dealt {
        return (range.start, 0);
    }
    let within = range.start.is_multiple_of(STREAMS) && range.end <= dealt;
    assert!(within || range == (0..rows), "a range that cuts the runs of interleaved rows");
    (range.start / STREAMS, run)
}

/// A read-only view `[rows, cols]`: its rows start at multiples of `stride`, in order or
/// [interleaved](interleaved_place).
///
/// Every element of the view lies within its data; the kernels rely on it.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: Elems<'a>,
    rows: usize,
    cols: usize,
    stride: usize,
    /// Rows of a run; 0 where rows lie in order.
    run: usize,
}

impl<'a> Matrix<'a> {
    /// `None` if an element of the view would lie outside `data`. No rows, or no columns, is fine.
    pub fn new(data: Elems<'a>, rows: usize, cols: usize, stride: usize) -> Option<Self> {
        fits(data.len(), rows, cols, stride).then_some(Self { data, rows, cols, stride, run: 0 })
    }

    /// As [`new`](Matrix::new), for rows that lie [interleaved](interleaved_place).
    pub fn interleaved(data: Elems<'a>, rows: usize, cols: usize, stride: usize) -> Option<Self> {
        let matrix = Self::new(data, rows, cols, stride)?;
        Some(Self { run: rows / STREAMS, ..matrix })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows of a run; 0 where rows lie in order.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(crate) fn run(&self) -> usize {
        self.run
    }

    /// Elements from the start of one row in memory to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The data; element `(k, c)` is at `place(k)·stride + c`.
    pub fn elems(&self) -> Elems<'a> {
        self.data
    }

    /// Bytes of one row's elements.
    pub fn row_bytes(&self) -> usize {
        self.cols * self.data.elem_bytes()
    }

    /// Where row `k` stands among the rows in memory.
    pub fn place(&self, k: usize) -> usize {
        dealt(k, self.run)
    }

    /// The elements of row `k`. Panics if there is none.
    pub fn row(self, k: usize) -> Elems<'a> {
        assert!(k < self.rows, "row out of bounds");
        // Where the row has an element the product cannot overflow: the constructor has checked the
        // last row's.
        let start = if self.cols != 0 { self.place(k) * self.stride } else { 0 };
        self.data.slice(start..start + self.cols)
    }

    /// The columns of that range, of every row. Panics if it is out of bounds.
    pub fn columns(self, range: Range<usize>) -> Matrix<'a> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns out of bounds");
        let cols = range.end - range.start;
        Matrix { data: self.from(cols != 0 && self.rows != 0, range.start), cols, ..self }
    }

    /// The rows of that range. Panics if it is out of bounds.
    ///
    /// Of interleaved rows, all may be taken, those that are left over (from the last multiple of [`STREAMS`] on), or
    /// some that lie within the runs, beginning at a multiple of [`STREAMS`]; it panics for others.
    pub fn row_range(self, range: Range<usize>) -> Matrix<'a> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of bounds");
        let rows = range.end - range.start;
        let (first, run) = part_of_runs(range, self.rows, self.run);
        // As in `row`.
        let some = rows != 0 && self.cols != 0;
        let offset = if some { first * self.stride } else { 0 };
        Matrix { data: self.from(some, offset), rows, run, ..self }
    }

    /// The data from `offset` on, or none of it: an empty view may stand anywhere.
    #[allow(clippy::wrong_self_convention)] // "the data from", not a conversion
    fn from(&self, some: bool, offset: usize) -> Elems<'a> {
        if some { self.data.slice(offset..self.data.len()) } else { self.data.slice(0..0) }
    }
}
