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
}

impl<'a> Elems<'a> {
    /// How many elements there are.
    pub fn len(self) -> usize {
        match self {
            Elems::F32(data) => data.len(),
            Elems::F16(data) | Elems::Bf16(data) => data.len(),
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
        }
    }

    /// The elements of that range. Panics if it is out of bounds, as slicing does.
    pub fn slice(self, range: Range<usize>) -> Elems<'a> {
        match self {
            Elems::F32(data) => Elems::F32(&data[range]),
            Elems::F16(data) => Elems::F16(&data[range]),
            Elems::Bf16(data) => Elems::Bf16(&data[range]),
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

/// A read-only view `[rows, cols]`: row `k` starts at element `k·stride`.
///
/// Every element of the view lies within its data; the kernels rely on it.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: Elems<'a>,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> Matrix<'a> {
    /// `None` if an element of the view would lie outside `data`. No rows, or no columns, is fine.
    pub fn new(data: Elems<'a>, rows: usize, cols: usize, stride: usize) -> Option<Self> {
        fits(data.len(), rows, cols, stride).then_some(Self { data, rows, cols, stride })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The data; element `(k, c)` is at `k·stride + c`.
    pub fn elems(&self) -> Elems<'a> {
        self.data
    }

    /// Bytes of one row's elements.
    pub fn row_bytes(&self) -> usize {
        self.cols * self.data.elem_bytes()
    }

    /// The elements of row `k`. Panics if there is none.
    pub fn row(self, k: usize) -> Elems<'a> {
        let row = self.row_range(k..k + 1);
        row.data.slice(0..row.cols)
    }

    /// The columns of that range, of every row. Panics if it is out of bounds.
    pub fn columns(self, range: Range<usize>) -> Matrix<'a> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns out of bounds");
        let cols = range.end - range.start;
        Matrix { data: self.from(cols != 0 && self.rows != 0, range.start), cols, ..self }
    }

    /// The rows of that range. Panics if it is out of bounds.
    pub fn row_range(self, range: Range<usize>) -> Matrix<'a> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of bounds");
        let rows = range.end - range.start;
        // Where the result has an element, `start` is a row of `self`, so that the product cannot
        // overflow: the constructor has checked the last row's.
        let some = rows != 0 && self.cols != 0;
        let offset = if some { range.start * self.stride } else { 0 };
        Matrix { data: self.from(some, offset), rows, ..self }
    }

    /// The data from `offset` on, or none of it: an empty view may stand anywhere.
    #[allow(clippy::wrong_self_convention)] // "the data from", not a conversion
    fn from(&self, some: bool, offset: usize) -> Elems<'a> {
        if some { self.data.slice(offset..self.data.len()) } else { self.data.slice(0..0) }
    }
}
