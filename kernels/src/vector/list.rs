//! Which rows of a matrix in column form a product reads.

/// Which rows take part, ascending.
pub(super) trait Rows: Copy {
    /// Whether rows between two of them may be missing, so that the CPU's own prefetcher loses its thread.
    const HOLES: bool;
    fn len(self) -> usize;
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
    const HOLES: bool = false;
    #[inline(always)]
    fn len(self) -> usize {
        self.len
    }
    #[inline(always)]
    unsafe fn at(self, i: usize) -> usize {
        self.start + i
    }
}

impl Rows for &[u32] {
    const HOLES: bool = true;
    #[inline(always)]
    fn len(self) -> usize {
        self.len()
    }
    #[inline(always)]
    unsafe fn at(self, i: usize) -> usize {
        // SAFETY: by contract.
        unsafe { *self.get_unchecked(i) as usize }
    }
}
