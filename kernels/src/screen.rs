//! A rough copy of a matrix in row form, at little more than 4 bits a number, and the input that meets it.
//!
//! It serves to find the few rows whose products can be large, without reading the matrix itself. Of the columns a few
//! are "hot": those in which inputs are largest. They have 8 bits, the others 4, with a step for every [`SCREEN_GROUP`]
//! of them:
//!
//! ```text
//! y = scale[n, 0]·x_scale[0]·Σ_hot q·x  +  scale[n, 1]·x_scale[1]·Σ_g step[n, g]·Σ_{cold in g} (q − 8)·x
//! ```
//!
//! Inputs are whole numbers as well, of 16 and 8 bits (-127 to 127), so both sums are the same in any order.

use std::ops::Range;

/// Cold columns that share a step.
pub const SCREEN_GROUP: usize = 32;
/// Cold columns come in blocks of so many: two groups.
pub const SCREEN_BLOCK: usize = 2 * SCREEN_GROUP;
/// Hot columns come in as many as this.
pub const SCREEN_HOT: usize = 32;

/// The rough rows.
///
/// A row is its steps (`cold / 32` of i8), its hot numbers (`hot` of i8), then its cold ones (`cold / 2` bytes): of a
/// block of 64 byte `i` holds number `i` in its low bits and number `32 + i` in its high ones.
#[derive(Clone, Copy, Debug)]
pub struct ScreenRows<'a> {
    data: &'a [u8],
    /// `[rows, 2]`
    scale: &'a [f32],
    rows: usize,
    hot: usize,
    cold: usize,
}

impl<'a> ScreenRows<'a> {
    /// Bytes of a row.
    pub const fn row_bytes(hot: usize, cold: usize) -> usize {
        cold / SCREEN_GROUP + hot + cold / 2
    }

    /// `scale [rows, 2]`: of the hot columns and of the cold ones. `None` if a slice is not exactly as long as the
    /// shape says, or if `hot` is no multiple of 32 or `cold` none of 64.
    pub fn new(data: &'a [u8], scale: &'a [f32], rows: usize, hot: usize, cold: usize) -> Option<Self> {
        let fits = cold.is_multiple_of(SCREEN_BLOCK)
            && hot.is_multiple_of(SCREEN_HOT)
            && rows.checked_mul(Self::row_bytes(hot, cold)) == Some(data.len())
            && rows.checked_mul(2) == Some(scale.len());
        fits.then_some(Self { data, scale, rows, hot, cold })
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows of that range. Panics if it is out of bounds.
    pub fn row_range(&self, range: Range<usize>) -> ScreenRows<'a> {
        let bytes = Self::row_bytes(self.hot, self.cold);
        ScreenRows {
            data: &self.data[range.start * bytes..range.end * bytes],
            scale: &self.scale[2 * range.start..2 * range.end],
            rows: range.len(),
            ..*self
        }
    }

    /// Rows, their scales and the bytes of a row.
    #[inline(always)]
    pub(crate) fn parts(&self) -> (&'a [u8], &'a [f32], usize) {
        (self.data, self.scale, Self::row_bytes(self.hot, self.cold))
    }

    /// True if an input has as many columns of either kind.
    pub(crate) fn takes(&self, x: &ScreenInput<'_>) -> bool {
        x.hot.len() == self.hot && x.cold.len() == self.cold
    }
}

/// An input, its columns in the order of [`ScreenRows`].
#[derive(Clone, Copy, Debug)]
pub struct ScreenInput<'a> {
    hot: &'a [i16],
    cold: &'a [i8],
    /// `-8·Σ x` of each group of cold columns, then zeros: times the steps, what makes numbers from -8 to 7 of those
    /// from 0 to 15.
    eights: &'a [i16],
    scale: [f32; 2],
}

impl<'a> ScreenInput<'a> {
    /// Length of the scratch for so many cold columns.
    pub const fn scratch(cold: usize) -> usize {
        (cold / SCREEN_GROUP).next_multiple_of(SCREEN_HOT)
    }

    /// `x ≈ scale[0]·hot` and `scale[1]·cold`; `eights` is [scratch](ScreenInput::scratch). `None` if it has another
    /// length, or if there are other than whole blocks of cold columns, or of hot ones other than multiples of 32.
    pub fn new(hot: &'a [i16], cold: &'a [i8], eights: &'a mut [i16], scale: [f32; 2]) -> Option<Self> {
        let whole = cold.len().is_multiple_of(SCREEN_BLOCK) && hot.len().is_multiple_of(SCREEN_HOT);
        if !whole || eights.len() != Self::scratch(cold.len()) {
            return None;
        }
        eights.fill(0);
        for (eight, x) in eights.iter_mut().zip(cold.chunks_exact(SCREEN_GROUP)) {
            // 8 · 32 · 128 is one more than an i16 holds; its negation is not.
            *eight = x.iter().fold(0i16, |sum, &x| sum.wrapping_sub(8 * i16::from(x)));
        }
        Some(Self { hot, cold, eights, scale })
    }

    /// Its numbers, hot and cold, and their scales.
    pub(crate) fn numbers(&self) -> (&'a [i16], &'a [i8], [f32; 2]) {
        (self.hot, self.cold, self.scale)
    }

    /// How many hot columns, and cold ones: for the vector code.
    #[allow(dead_code)]
    #[inline(always)]
    pub(crate) fn lengths(&self) -> (usize, usize) {
        (self.hot.len(), self.cold.len())
    }

    /// Its numbers, hot and cold, and the scratch: for the vector code.
    #[allow(dead_code)]
    #[inline(always)]
    pub(crate) fn parts(&self) -> (&'a [i16], &'a [i8], &'a [i16]) {
        (self.hot, self.cold, self.eights)
    }

    /// The product with a row of these scales, from its two sums: for the vector code.
    #[allow(dead_code)]
    #[inline(always)]
    pub(crate) fn value(&self, [hot, cold]: [i32; 2], scale: [f32; 2]) -> f32 {
        hot as f32 * scale[0] * self.scale[0] + cold as f32 * scale[1] * self.scale[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_checked() {
        let (data, scale) = ([0u8; 2 * 66], [1.0f32; 4]);
        assert_eq!(ScreenRows::row_bytes(32, 64), 66);
        assert!(ScreenRows::new(&data, &scale, 2, 32, 64).is_some());
        assert!(ScreenRows::new(&data, &scale, 1, 32, 64).is_none(), "a row left over");
        assert!(ScreenRows::new(&data, &scale[..2], 2, 32, 64).is_none(), "scales of one row");
        assert!(ScreenRows::new(&data[..2 * 49], &scale, 2, 32, 32).is_none(), "half a block");
        assert!(ScreenRows::new(&data[..2 * 50], &scale, 2, 16, 64).is_none(), "half a vector");
        assert!(ScreenRows::new(&[], &[], usize::MAX, 32, 64).is_none());
        let (hot, cold) = ([0; 32], [0; 64]);
        assert_eq!(ScreenInput::scratch(64), 32);
        assert!(ScreenInput::new(&hot, &cold, &mut [0; 32], [1.0; 2]).is_some());
        assert!(ScreenInput::new(&hot, &cold, &mut [0; 31], [1.0; 2]).is_none());
        assert!(ScreenInput::new(&hot, &cold[..32], &mut [0; 32], [1.0; 2]).is_none());
        assert!(ScreenInput::new(&hot[..31], &cold, &mut [0; 32], [1.0; 2]).is_none());
    }
}
