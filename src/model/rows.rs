//! Matrices by outputs: the embedding and the head, a row a token; an `up` of which few rows are read.

use super::FloatType;
use crate::format::View;
use rasp_kernels::{Active, Kernels, MatMut, MatRef, Matrix, QUANT_GROUP, QuantizedRef, QuantizedRows};
use std::ops::Range;

/// `[rows, cols]`, as stored.
pub(crate) struct Rows {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) stored: StoredRows,
}

/// Their elements.
pub(crate) enum StoredRows {
    Float(FloatType, View<u16>),
    /// In 8 bits, with a scale (f16) for every 32 elements: `[rows, cols / 32]`.
    Quantized {
        data: View<i8>,
        scale: View<u16>,
    },
}

impl Rows {
    pub(super) fn view(&self) -> RowsRef<'_> {
        match &self.stored {
            StoredRows::Float(float, data) => RowsRef::Float(float.matrix(data, self.rows, self.cols)),
            StoredRows::Quantized { data, scale } => {
                let rows = QuantizedRows::new(data, scale, self.rows, self.cols);
                RowsRef::Quantized(rows.expect("shape checked at load"))
            }
        }
    }
}

/// The same, ready to compute with.
#[derive(Clone, Copy)]
pub(crate) enum RowsRef<'a> {
    Float(Matrix<'a>),
    Quantized(QuantizedRows<'a>),
}

impl<'a> RowsRef<'a> {
    pub(crate) fn rows(&self) -> usize {
        match self {
            RowsRef::Float(rows) => rows.rows(),
            RowsRef::Quantized(rows) => rows.rows(),
        }
    }

    pub(crate) fn cols(&self) -> usize {
        match self {
            RowsRef::Float(rows) => rows.cols(),
            RowsRef::Quantized(rows) => rows.cols(),
        }
    }

    /// Bytes of one row, its scales included.
    pub(crate) fn row_bytes(&self) -> usize {
        match self {
            RowsRef::Float(rows) => rows.row_bytes(),
            RowsRef::Quantized(rows) => rows.cols() + 2 * rows.cols() / QUANT_GROUP,
        }
    }

    pub(crate) fn row_range(self, range: Range<usize>) -> RowsRef<'a> {
        match self {
            RowsRef::Float(rows) => RowsRef::Float(rows.row_range(range)),
            RowsRef::Quantized(rows) => RowsRef::Quantized(rows.row_range(range)),
        }
    }

    /// `Y[m, n] = Σ_k X[m, k]·W[n, k]`, `X` being at hand as f32 and, for rows in whole numbers, as such.
    pub(crate) fn multiply(self, kernels: Kernels, y: MatMut<'_>, x: MatRef<'_>, whole: QuantizedRef<'_>) {
        match self {
            RowsRef::Float(rows) => kernels.dot_rows_many(y, x, rows),
            RowsRef::Quantized(rows) => kernels.dot_rows_many_q(y, whole, rows),
        }
    }

    /// `y[i] = Σ_k x[k]·W[active[i], k]`: other rows are not read.
    pub(crate) fn multiply_some(
        self,
        kernels: Kernels,
        y: &mut [f32],
        (x, whole): (&[f32], (&[i16], &[f32])),
        active: Active<'_>,
    ) {
        match self {
            RowsRef::Float(rows) => kernels.dot_rows_sparse(y, x, active, rows),
            RowsRef::Quantized(rows) => kernels.dot_rows_sparse_q(y, whole.0, whole.1, active, rows),
        }
    }

    /// Row `n` as f32.
    pub(crate) fn widen(&self, kernels: Kernels, n: usize, y: &mut [f32]) {
        match self {
            RowsRef::Float(rows) => kernels.widen(y, rows.row(n)),
            RowsRef::Quantized(rows) => rows.widen(n, y),
        }
    }
}
