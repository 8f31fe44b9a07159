//! Which rows of a matrix in column form a product reads.

/// Which rows take part, ascending.
pub(super) trait Rows: Copy {
    fn len(self) -> usize;
    /// Whether rows between two of them may be missing, so that the CPU's own prefetcher loses its thread.
    fn has_holes(self) -> bool;
    /// # Safety
    /// `i < len`.
    unsafe fn at(self, i: usize) -> usize;
}

/// `len` neighbours.
#[derive(Clone, Copy)]
pub(super) struct All {
    pub start: usize,
    pub len: usize,
}

impl Rows for All {
    #[inline(always)]
    fn len(self) -> usize {
        self.len
    }
    #[inline(always)]
    fn has_holes(self) -> bool {
        false
    }
    #[inline(always)]
    unsafe fn at(self, i: usize) -> usize {
        self.start + i
    }
}

impl Rows for &[u32] {
    #[inline(always)]
    fn len(self) -> usize {
        self.len()
    }
    #[inline(always)]
    fn has_holes(self) -> bool {
        true
    }
    #[inline(always)]
    unsafe fn at(self, i: usize) -> usize {
        // SAFETY: by contract.
        unsafe { *self.get_unchecked(i) as usize }
    }
}
