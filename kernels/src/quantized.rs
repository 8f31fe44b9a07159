//! Weights in whole numbers, and the activations that meet them.
//!
//! [`QUANT_GROUP`] input channels share a scale for each output: `w[k, c] = scale[g, c]·q[k, c] + min[g, c]` with
//! `g = k / 32` (`formats/` has them one by one).
//!
//! Activations are rounded to whole numbers too, a scale for each group of channels: `x[k] ≈ scale[g]·whole[k]`, of 8
//! bits ([`NARROW`] at most), but of 15 ([`WIDE`]) in groups that hold an outlier of their token. Sums within a group
//! are then whole numbers, the same in any order, and fit an i32: 32 · 2^14 · 2^7 = 2^26. So it is all the same how a
//! product takes the numbers: as they are, or as two limbs of 8 bits, `128·high + low`. Across groups sums are one
//! chain in ascending order:
//!
//! ```text
//! y = fma(x_scale[g]·scale[g, c], Σ_k whole[k]·q[k, c], y)
//! y = fma(min[g, c], x_scale[g]·Σ_k whole[k], y)              where there is a minimum
//! ```

use std::ops::Range;

use crate::formats::{QUANT_GROUP, QuantType, f16};

/// The largest whole number of an activation in a group of 8 bits.
pub const NARROW: i16 = 127;

/// The largest in a wide group: `128·127 + 63`, so that it is two limbs of -127 to 127, the low one of -64 to 63.
pub const WIDE: i16 = 16_319;

/// A read-only matrix `[rows, cols]` in column form: rows are input channels, each of the columns an output.
///
/// `rows`, `cols`, and every range of columns, are multiples of 32; rows lie in order or
/// [interleaved](crate::interleaved_place), their scales always in order: `[rows / 32, cols]`.
#[derive(Clone, Copy, Debug)]
pub struct Quantized<'a> {
    quant: QuantType,
    data: &'a [u8],
    scale: &'a [u16],
    min: &'a [u16],
    rows: usize,
    cols: usize,
    /// Columns of the matrix that this is a part of.
    width: usize,
    /// Rows of a run; 0 where rows lie in order.
    run: usize,
}

impl<'a> Quantized<'a> {
    /// `None` if a slice is not exactly as long as the shape says (`min` is empty but where the
    /// type [has minima](QuantType::has_minima) of its own), or if `rows`
    /// or `cols` is no multiple of 32.
    pub fn new(
        quant: QuantType,
        data: &'a [u8],
        scale: &'a [u16],
        min: &'a [u16],
        rows: usize,
        cols: usize,
    ) -> Option<Self> {
        let groups = (rows / QUANT_GROUP).checked_mul(cols)?;
        let mins = if quant.has_minima() { groups } else { 0 };
        let bytes = rows.checked_mul(quant.row_bytes(cols))?;
        let fits = data.len() == bytes && scale.len() == groups && min.len() == mins;
        let whole_groups = rows.is_multiple_of(QUANT_GROUP) && cols.is_multiple_of(32);
        (fits && whole_groups).then_some(Self { quant, data, scale, min, rows, cols, width: cols, run: 0 })
    }

    /// As [`new`](Quantized::new), for rows that lie [interleaved](crate::interleaved_place).
    pub fn interleaved(
        quant: QuantType,
        data: &'a [u8],
        scale: &'a [u16],
        min: &'a [u16],
        rows: usize,
        cols: usize,
    ) -> Option<Self> {
        Some(Self { run: rows / crate::STREAMS, ..Self::new(quant, data, scale, min, rows, cols)? })
    }

    /// How wide its numbers are.
    pub fn quant(&self) -> QuantType {
        self.quant
    }

    /// Input channels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Outputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Groups of input channels.
    pub fn groups(&self) -> usize {
        self.rows / QUANT_GROUP
    }

    /// The columns of that range, of every row. Panics if it is out of bounds or does not lie on multiples of 32.
    pub fn columns(self, range: Range<usize>) -> Quantized<'a> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns out of bounds");
        assert!(range.start.is_multiple_of(32) && range.end.is_multiple_of(32), "columns by 32");
        let cols = range.end - range.start;
        if cols == 0 || self.rows == 0 {
            return Quantized { data: &[], scale: &[], min: &[], cols, ..self };
        }
        let min = if self.min.is_empty() { self.min } else { &self.min[range.start..] };
        let data = &self.data[self.quant.row_bytes(range.start)..];
        Quantized { data, scale: &self.scale[range.start..], min, cols, ..self }
    }

    /// The rows of that range, as for [`Matrix::row_range`](crate::Matrix::row_range). Panics if it is out of bounds or
    /// cuts a group.
    pub fn row_range(self, range: Range<usize>) -> Quantized<'a> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of bounds");
        let whole_groups = range.start.is_multiple_of(QUANT_GROUP) && range.len().is_multiple_of(QUANT_GROUP);
        assert!(whole_groups, "rows by groups");
        let rows = range.len();
        if rows == 0 || self.cols == 0 {
            return Quantized { data: &[], scale: &[], min: &[], rows, ..self };
        }
        let group = range.start / QUANT_GROUP * self.width;
        let (first, run) = crate::matrix::part_of_runs(range, self.rows, self.run);
        let min = if self.min.is_empty() { self.min } else { &self.min[group..] };
        let data = &self.data[first * self.quant.row_bytes(self.width)..];
        Quantized { data, scale: &self.scale[group..], min, rows, run, ..self }
    }

    /// The whole numbers of row `k`: [`QuantType::row_bytes`] of them. Panics if there is no such row.
    pub fn row(&self, k: usize) -> &'a [u8] {
        assert!(k < self.rows, "row out of bounds");
        if self.cols == 0 {
            return &[];
        }
        let start = crate::matrix::dealt(k, self.run) * self.quant.row_bytes(self.width);
        &self.data[start..start + self.quant.row_bytes(self.cols)]
    }

    /// Scales of group `g`, as the type has them: one a column. Panics if there is no such group.
    pub fn scale(&self, g: usize) -> &'a [u16] {
        Self::of_group(self.scale, g, self.width, self.cols)
    }

    /// Minima of group `g`, as f16: one a column, or none. Panics if there is no such group.
    pub fn min(&self, g: usize) -> &'a [u16] {
        if self.min.is_empty() { &[] } else { Self::of_group(self.min, g, self.width, self.cols) }
    }

    /// Row `k` as f32: `scale·q`, or `scale·q + min`, rounded once. Panics if there is none, or if `y` is not
    /// [`cols`](Quantized::cols) long.
    pub fn widen(&self, k: usize, y: &mut [f32]) {
        let (row, scale, min) = (self.row(k), self.scale(k / QUANT_GROUP), self.min(k / QUANT_GROUP));
        assert!(y.len() == self.cols, "widen: shapes");
        let format = self.quant.format();
        let packing = format.packing;
        for (c, y) in y.iter_mut().enumerate() {
            let (scale, min) = (format.scale_and_min)(scale[c], min.get(c).copied().unwrap_or(0));
            *y = scale.mul_add(packing.number(packing.at(row, c)), min);
        }
    }

    /// Data, scales, minima, the width and the run: for the vector code. Dangling where there are none, but minima are
    /// null where there are none of their own.
    #[allow(dead_code)]
    pub(crate) fn parts(&self) -> (*const u8, *const u16, *const u16, usize, usize) {
        let min = if self.quant.has_minima() { self.min.as_ptr() } else { std::ptr::null() };
        (self.data.as_ptr(), self.scale.as_ptr(), min, self.width, self.run)
    }

    fn of_group(from: &'a [u16], g: usize, width: usize, cols: usize) -> &'a [u16] {
        if cols == 0 { &[] } else { &from[g * width..g * width + cols] }
    }
}

/// A read-only matrix `[rows, cols]` in row form, 8 bits: each row an output, its input channels side by side, with a
/// scale for every 32 of them.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedRows<'a> {
    data: &'a [i8],
    scale: &'a [u16],
    rows: usize,
    cols: usize,
}

impl<'a> QuantizedRows<'a> {
    /// `None` if a slice is not exactly as long as the shape says, or if `cols` is no multiple of 32.
    pub fn new(data: &'a [i8], scale: &'a [u16], rows: usize, cols: usize) -> Option<Self> {
        let fits = cols.is_multiple_of(QUANT_GROUP)
            && rows.checked_mul(cols) == Some(data.len())
            && scale.len() == data.len() / QUANT_GROUP;
        fits.then_some(Self { data, scale, rows, cols })
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input channels.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The rows of that range. Panics if it is out of bounds.
    pub fn row_range(&self, range: Range<usize>) -> QuantizedRows<'a> {
        let at = |per_row: usize| range.start * per_row..range.end * per_row;
        QuantizedRows {
            data: &self.data[at(self.cols)],
            scale: &self.scale[at(self.cols / QUANT_GROUP)],
            rows: range.len(),
            cols: self.cols,
        }
    }

    /// The whole numbers of row `n`, and their scales as f16. Panics if there is none.
    pub fn row(&self, n: usize) -> (&'a [i8], &'a [u16]) {
        let groups = self.cols / QUANT_GROUP;
        (&self.data[n * self.cols..][..self.cols], &self.scale[n * groups..][..groups])
    }

    /// Row `n` as f32: each number times its scale, rounded once. Panics if there is none, or if `y` is not
    /// [`cols`](QuantizedRows::cols) long.
    pub fn widen(&self, n: usize, y: &mut [f32]) {
        let (whole, scale) = self.row(n);
        assert!(y.len() == whole.len(), "widen: shapes");
        for ((y, q), &scale) in y.chunks_exact_mut(QUANT_GROUP).zip(whole.chunks_exact(QUANT_GROUP)).zip(scale) {
            let scale = f16::to_f32(scale);
            for (y, &q) in y.iter_mut().zip(q) {
                *y = scale * f32::from(q);
            }
        }
    }
}

/// Activations in whole numbers: `[rows, cols]`, and for each row a scale for every 32 columns. `cols` is a multiple of
/// 32.
#[derive(Clone, Copy, Debug)]
pub struct QuantizedRef<'a> {
    whole: &'a [i16],
    scale: &'a [f32],
    rows: usize,
    cols: usize,
    /// Elements, and scales, from the start of one row to the start of the next.
    stride: (usize, usize),
}

impl<'a> QuantizedRef<'a> {
    /// Rows one after the other. `None` if a slice is shorter than the shape says, or `cols` no multiple of 32.
    pub fn new(whole: &'a [i16], scale: &'a [f32], rows: usize, cols: usize) -> Option<Self> {
        let groups = cols / QUANT_GROUP;
        let fits = rows.checked_mul(cols)? <= whole.len() && rows.checked_mul(groups)? <= scale.len();
        (fits && cols.is_multiple_of(QUANT_GROUP)).then_some(Self { whole, scale, rows, cols, stride: (cols, groups) })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The numbers of row `m`, and their scales. Panics if there is none.
    pub fn row(&self, m: usize) -> (&'a [i16], &'a [f32]) {
        assert!(m < self.rows, "row out of bounds");
        if self.cols == 0 {
            return (&[], &[]);
        }
        let (n, g) = self.stride;
        (&self.whole[m * n..][..self.cols], &self.scale[m * g..][..self.cols / QUANT_GROUP])
    }

    /// Other numbers of the same scales: rows one after the other. `None` if they are fewer.
    pub fn with_whole(&self, whole: &'a [i16]) -> Option<QuantizedRef<'a>> {
        let fits = self.rows.checked_mul(self.cols)? <= whole.len();
        fits.then_some(QuantizedRef { whole, stride: (self.cols, self.stride.1), ..*self })
    }

    /// Numbers, scales and strides: for the vector code. Dangling where there are none.
    #[allow(dead_code)]
    pub(crate) fn parts(&self) -> (*const i16, *const f32, (usize, usize)) {
        (self.whole.as_ptr(), self.scale.as_ptr(), self.stride)
    }

    /// The rows of that range. Panics if it is out of bounds.
    pub fn row_range(&self, range: Range<usize>) -> QuantizedRef<'a> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows out of bounds");
        let (rows, (n, g)) = (range.len(), self.stride);
        let (whole, scale) = if rows != 0 && self.cols != 0 {
            (&self.whole[range.start * n..], &self.scale[range.start * g..])
        } else {
            (&[][..], &[][..])
        };
        QuantizedRef { whole, scale, rows, ..*self }
    }

    /// The columns of that range, of every row. Panics if it is out of bounds or cuts a group.
    pub fn columns(&self, range: Range<usize>) -> QuantizedRef<'a> {
        assert!(range.start <= range.end && range.end <= self.cols, "columns out of bounds");
        assert!(
            range.start.is_multiple_of(QUANT_GROUP) && range.len().is_multiple_of(QUANT_GROUP),
            "columns by groups"
        );
        let some = !range.is_empty() && self.rows != 0;
        let (whole, scale) = if some {
            (&self.whole[range.start..], &self.scale[range.start / QUANT_GROUP..])
        } else {
            (&[][..], &[][..])
        };
        QuantizedRef { whole, scale, cols: range.len(), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_checked() {
        let (data, scale) = ([0u8; 64 * 64], [0u16; 2 * 64]);
        let q8 =
            |rows, cols, scales| Quantized::new(QuantType::Q8, &data[..rows * cols], &scale[..scales], &[], rows, cols);
        assert!(q8(64, 64, 128).is_some());
        assert!(q8(32, 64, 128).is_none(), "scales of a group too many");
        assert!(q8(64, 48, 96).is_none() && q8(48, 64, 64).is_none(), "48 is no multiple of 32");
        assert!(Quantized::new(QuantType::Q4, &data[..64 * 32], &scale, &[], 64, 64).is_none(), "no minima");
        assert!(Quantized::new(QuantType::Q4, &data[..64 * 32], &scale, &scale, 64, 64).is_some());
        assert!(Quantized::new(QuantType::Q8, &[], &[], &[], usize::MAX - 31, 64).is_none());
        assert!(Quantized::new(QuantType::Q4s, &data[..64 * 32], &scale, &[], 64, 64).is_some());
        assert!(
            Quantized::new(QuantType::Q4s, &data[..64 * 32], &scale, &scale, 64, 64).is_none(),
            "minima are within"
        );
        assert!(QuantizedRows::new(&[0; 64], &[0; 2], 1, 64).is_some());
        assert!(QuantizedRows::new(&[0; 64], &[0; 1], 1, 64).is_none());
        assert!(QuantizedRows::new(&[0; 48], &[0; 1], 1, 48).is_none());
        assert!(QuantizedRef::new(&[0; 64], &[0.0; 2], 2, 32).is_some());
        assert!(QuantizedRef::new(&[0; 64], &[0.0; 1], 2, 32).is_none());
        assert!(QuantizedRef::new(&[0; 66], &[0.0; 4], 2, 33).is_none());
    }

    #[test]
    fn columns_are_parts_of_rows() {
        let data: Vec<u8> = (0..32 * 64).map(|i| (i / 64 + i % 64) as u8).collect();
        let scale: Vec<u16> = (0..64).collect();
        let w = Quantized::interleaved(QuantType::Q8, &data, &scale, &[], 32, 64).unwrap();
        assert_eq!(w.row(1), &data[4 * 64..5 * 64], "the second of eight runs of four");
        let part = w.columns(32..64);
        assert_eq!((part.row(1), part.scale(0)), (&data[4 * 64 + 32..5 * 64], &scale[32..]));
        assert_eq!(w.columns(32..32).row(3), &[0u8; 0]);
    }
}
