//! The input channels that a sparse product reads.

/// Indices of the channels kept by a mask: strictly ascending, each below [`Active::bound`].
///
/// It is made by [`Kernels::select`](crate::Kernels::select) or checked once, so that the products
/// need no check for each row.
#[derive(Clone, Copy, Debug)]
pub struct Active<'a> {
    indices: &'a [u32],
    bound: usize,
}

impl<'a> Active<'a> {
    /// `None` unless the indices are strictly ascending and below `bound`.
    pub fn from_checked(indices: &'a [u32], bound: usize) -> Option<Self> {
        let ascending = indices.windows(2).all(|pair| pair[0] < pair[1]);
        let below = indices.last().is_none_or(|&last| (last as usize) < bound);
        (ascending && below).then_some(Self { indices, bound })
    }

    /// What a selection kernel wrote: each element of `indices` must come from one ascending pass
    /// over `0..bound`.
    pub(crate) fn from_selection(indices: &'a [u32], bound: usize) -> Self {
        debug_assert!(Self::from_checked(indices, bound).is_some());
        Self { indices, bound }
    }

    /// How many channels are kept.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The indices.
    pub fn as_slice(&self) -> &'a [u32] {
        self.indices
    }

    /// The number of channels they were chosen from.
    pub fn bound(&self) -> usize {
        self.bound
    }
}
