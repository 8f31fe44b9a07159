//! Writing one buffer from several threads, each its own part.

use rasp_kernels::MatMut;
use std::marker::PhantomData;
use std::ops::Range;

/// A mutable slice that the parts of a job share. Whoever takes a piece promises that no other part takes an
/// overlapping one during the same job.
#[derive(Clone, Copy)]
pub(crate) struct SharedSlice<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the pieces are `&mut [T]`s that do not overlap (the promise of `slice` and `matrix`), and may be used on any
// thread if `T` may be sent there.
unsafe impl<T: Send> Send for SharedSlice<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        SharedSlice { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The elements of `range`. Panics if they are not inside the slice.
    ///
    /// # Safety
    /// While the result lives, no other part holds any of these elements.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "piece outside the shared slice");
        // SAFETY: inside the slice by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

impl<'a> SharedSlice<'a, f32> {
    /// The view `[rows, columns]` of a row-major matrix with rows of `stride` elements. Panics if it is not inside the
    /// slice.
    ///
    /// # Safety
    /// While the result lives, no other part holds any of these elements.
    pub(crate) unsafe fn matrix(&self, rows: Range<usize>, columns: Range<usize>, stride: usize) -> MatMut<'a> {
        assert!(columns.start <= columns.end && columns.end <= stride, "columns outside the rows");
        assert!(rows.start <= rows.end && rows.end * stride <= self.len, "rows outside the shared slice");
        // SAFETY: the first element lies inside the slice, or one past it where there are no rows.
        let start = unsafe { self.start.add(rows.start * stride + if rows.is_empty() { 0 } else { columns.start }) };
        // SAFETY: every row's columns lie inside the slice by the assertions, rows do not overlap as columns stay
        // within the stride, all elements are initialised, and they are exclusive by the caller's promise.
        unsafe { MatMut::from_raw(start, rows.len(), columns.len(), stride) }
    }
}

/// The share of part `part` of `parts` in `0..len`, cut at multiples of `unit`.
pub(crate) fn share(len: usize, unit: usize, parts: usize, part: usize) -> Range<usize> {
    let units = len.div_ceil(unit);
    let cut = |part: usize| (units * part / parts * unit).min(len);
    cut(part)..cut(part + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once() {
        for len in [0, 1, 31, 32, 33, 192, 576, 1000] {
            for parts in [1, 2, 3, 8] {
                let mut next = 0;
                for part in 0..parts {
                    let share = share(len, 32, parts, part);
                    assert_eq!(share.start, next);
                    assert!(share.start.is_multiple_of(32) || share.is_empty());
                    next = share.end;
                }
                assert_eq!(next, len);
            }
        }
    }
}
