//! Row-major matrices of f32 and their products.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// `[rows, cols]`, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mat {
    data: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl Mat {
    pub(crate) fn new(data: Vec<f32>, rows: usize, cols: usize) -> Mat {
        assert_eq!(data.len(), rows * cols, "a matrix of its shape");
        Mat { data, rows, cols }
    }

    pub(crate) fn zeros(rows: usize, cols: usize) -> Mat {
        // Written here, not left to the system as `vec![0.0; n]` does: a page that is added to before it is written is
        // mapped twice, and the second time all threads are stopped for it.
        let mut data = Vec::with_capacity(rows * cols);
        data.resize(rows * cols, 0.0);
        Mat::new(data, rows, cols)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    pub(crate) fn data(&self) -> &[f32] {
        &self.data
    }

    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// The rows in order, to be shared out among threads.
    pub(crate) fn par_rows_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [f32]> {
        self.data.par_chunks_mut(self.cols.max(1))
    }

    /// Columns `from .. from + cols`, as a view.
    pub(crate) fn columns(&self, from: usize, cols: usize) -> MatRef<'_, f32> {
        self.view().subcols(from, cols)
    }

    pub(crate) fn columns_mut(&mut self, from: usize, cols: usize) -> MatMut<'_, f32> {
        self.view_mut().subcols_mut(from, cols)
    }

    /// The same columns as rows: from input-channel-major to `[out, in]`, as checkpoints have linears.
    pub(crate) fn columns_as_rows(&self, from: usize, cols: usize) -> Vec<f32> {
        (from..from + cols).flat_map(|col| (0..self.rows).map(move |row| self.row(row)[col])).collect()
    }

    pub(crate) fn view(&self) -> MatRef<'_, f32> {
        MatRef::from_row_major_slice(&self.data, self.rows, self.cols)
    }

    pub(crate) fn view_mut(&mut self) -> MatMut<'_, f32> {
        MatMut::from_row_major_slice_mut(&mut self.data, self.rows, self.cols)
    }

    /// Adds `y` to the columns from `from` on.
    pub(crate) fn add_to_columns(&mut self, from: usize, y: &Mat) {
        for row in 0..y.rows {
            let columns = &mut self.row_mut(row)[from..from + y.cols];
            columns.iter_mut().zip(y.row(row)).for_each(|(x, y)| *x += y);
        }
    }

    /// Adds `other`, element by element.
    pub(crate) fn add(&mut self, other: &Mat) {
        debug_assert_eq!((self.rows, self.cols), (other.rows, other.cols));
        self.data.iter_mut().zip(&other.data).for_each(|(x, y)| *x += y);
    }
}

/// Marks the upper halves of vector registers as unused. faer's kernels leave them in use, and scalar code behind them,
/// which rustc writes in SSE, has to preserve them with each instruction: attention's softmax took five times as long.
fn clear_upper_halves() {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx")]
        fn clear() {
            std::arch::x86_64::_mm256_zeroupper();
        }
        if std::arch::is_x86_feature_detected!("avx") {
            // SAFETY: the processor has AVX.
            unsafe { clear() }
        }
    }
}

/// faer's product: `y += a·b`, on this thread.
fn add_small_product(y: MatMut<'_, f32>, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    matmul(y, Accum::Add, a, b, 1.0, Par::Seq);
    clear_upper_halves();
}

/// Columns, or rows, of a product that a thread takes at once.
const PIECE: usize = 128;

/// `y += a·b`, on all threads of the pool, in pieces along the longer side of `y`. faer's own way to share a product
/// out has its threads wait for each other at every step, in loops that do nothing.
pub(crate) fn add_product(y: MatMut<'_, f32>, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    let pieces = y.nrows().max(y.ncols()).div_ceil(PIECE).max(1);
    if y.ncols() >= y.nrows() {
        let pieces = y.par_col_partition_mut(pieces).zip(b.par_col_partition(pieces));
        pieces.for_each(|(y, b)| add_small_product(y, a, b));
    } else {
        let pieces = y.par_row_partition_mut(pieces).zip(a.par_row_partition(pieces));
        pieces.for_each(|(y, a)| add_small_product(y, a, b));
    }
}

/// `a·b`, on all threads of the pool.
pub(crate) fn product(a: MatRef<'_, f32>, b: MatRef<'_, f32>) -> Mat {
    let mut y = Mat::zeros(a.nrows(), b.ncols());
    add_product(y.view_mut(), a, b);
    y
}

/// `a·b`, on this thread.
pub(crate) fn small_product(a: MatRef<'_, f32>, b: MatRef<'_, f32>) -> Mat {
    let mut y = Mat::zeros(a.nrows(), b.ncols());
    add_small_product(y.view_mut(), a, b);
    y
}
