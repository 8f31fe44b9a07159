//! Views of f32 activations: `[rows, cols]`, one row a token.

use std::{marker::PhantomData, ops::Range};

use crate::matrix::fits;

/// A read-only view `[rows, cols]` of f32 values: row `m` starts at element `m·stride`.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> MatRef<'a> {
    /// `None` if an element of the view would lie outside `data`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Option<Self> {
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

    /// Row `m`. Panics if there is none.
    pub fn row(&self, m: usize) -> &'a [f32] {
        assert!(m < self.rows, "row out of bounds");
        if self.cols == 0 {
            return &[];
        }
        &self.data[m * self.stride..][..self.cols]
    }

    /// The rows of that range. Panics if it is out of bounds.
    pub fn row_range(&self, range: Range<usize>) -> MatRef<'a> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of bounds");
        let rows = range.end - range.start;
        let data = if rows != 0 && self.cols != 0 { &self.data[range.start * self.stride..] } else { &[] };
        MatRef { data, rows, ..*self }
    }

    /// The columns of that range, of every row. Panics if it is out of bounds.
    pub fn columns(&self, range: Range<usize>) -> MatRef<'a> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns out of bounds");
        let cols = range.end - range.start;
        let data = if cols != 0 && self.rows != 0 { &self.data[range.start..] } else { &[] };
        MatRef { data, cols, ..*self }
    }

    /// The first element; dangling if the view is empty.
    #[allow(dead_code)] // for the vector code
    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.data.as_ptr()
    }
}

/// A mutable view `[rows, cols]` of f32 values: row `m` starts at element `m·stride`.
///
/// It owns the elements of its rows and nothing between them, so that one buffer can be cut into
/// views of disjoint columns, one a thread.
#[derive(Debug)]
pub struct MatMut<'a> {
    data: *mut f32,
    rows: usize,
    cols: usize,
    stride: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `MatMut` is a set of `&mut [f32]`, one a row, and those are Send.
unsafe impl Send for MatMut<'_> {}
// SAFETY: a shared `MatMut` gives shared slices alone, and those are Sync.
unsafe impl Sync for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// `None` if an element of the view would lie outside `data`, or if rows would overlap.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> Option<Self> {
        let apart = rows <= 1 || stride >= cols;
        (apart && fits(data.len(), rows, cols, stride)).then_some(Self {
            data: data.as_mut_ptr(),
            rows,
            cols,
            stride,
            life: PhantomData,
        })
    }

    /// A view of memory that is shared out by other means, such as the columns of one thread.
    ///
    /// # Safety
    ///
    /// For `'a`, the `cols` elements at `data + m·stride` of every row `m` are valid for reads and
    /// writes, initialised, disjoint from those of every other row, and used through this view
    /// alone.
    pub unsafe fn from_raw(data: *mut f32, rows: usize, cols: usize, stride: usize) -> Self {
        Self { data, rows, cols, stride, life: PhantomData }
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

    /// The same view for a shorter time.
    pub fn reborrow(&mut self) -> MatMut<'_> {
        MatMut { life: PhantomData, ..*self }
    }

    /// Row `m`. Panics if there is none.
    pub fn row(&self, m: usize) -> &[f32] {
        assert!(m < self.rows, "row out of bounds");
        if self.cols == 0 {
            return &[];
        }
        // SAFETY: m < rows and cols > 0, so the constructor has shown that the row is valid; `self`
        // is borrowed, and nothing else reaches its elements.
        unsafe { std::slice::from_raw_parts(self.data.add(m * self.stride), self.cols) }
    }

    /// Row `m`, to be written. Panics if there is none.
    pub fn row_mut(&mut self, m: usize) -> &mut [f32] {
        assert!(m < self.rows, "row out of bounds");
        if self.cols == 0 {
            return &mut [];
        }
        // SAFETY: as in `row`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(m * self.stride), self.cols) }
    }

    /// The rows of that range. Panics if it is out of bounds.
    pub fn row_range(self, range: Range<usize>) -> MatMut<'a> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of bounds");
        let rows = range.end - range.start;
        let some = rows != 0 && self.cols != 0;
        // SAFETY: the view then has an element (start, 0), so the pointer stays in its allocation.
        let data = if some { unsafe { self.data.add(range.start * self.stride) } } else { self.data };
        MatMut { data, rows, ..self }
    }

    /// The columns of that range, of every row. Panics if it is out of bounds.
    pub fn columns(self, range: Range<usize>) -> MatMut<'a> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns out of bounds");
        let cols = range.end - range.start;
        let some = cols != 0 && self.rows != 0;
        // SAFETY: the view then has an element (0, start), so the pointer stays in its allocation.
        let data = if some { unsafe { self.data.add(range.start) } } else { self.data };
        MatMut { data, cols, ..self }
    }

    /// The columns before `col`, and those from it on. Panics if `col > cols`.
    pub fn split_at_col(self, col: usize) -> (MatMut<'a>, MatMut<'a>) {
        assert!(col <= self.cols, "column out of bounds");
        let cols = self.cols;
        // The two copies own disjoint columns, since `columns` keeps each to its range.
        let left = MatMut { life: PhantomData, ..self };
        (left.columns(0..col), self.columns(col..cols))
    }

    /// The first element; dangling if the view is empty.
    #[allow(dead_code)] // for the vector code
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.data
    }
}
