//! The one allocation of a session, cut into buffers when it opens.

use crate::{Error, Result, Status};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Every buffer starts on a cache line of its own, so that threads never share one by accident.
const ALIGNMENT: usize = 64;

/// Element types of buffers.
///
/// # Safety
/// All bits zero is a valid value, the type has no destructor, and its alignment divides [`ALIGNMENT`].
pub(crate) unsafe trait Zeroable: Copy + Send + Sync {}
// SAFETY: zero is a value of every integer and float; all align to at most 8.
unsafe impl Zeroable for u16 {}
// SAFETY: as above.
unsafe impl Zeroable for u32 {}
// SAFETY: as above.
unsafe impl Zeroable for i16 {}
// SAFETY: as above.
unsafe impl Zeroable for i8 {}
// SAFETY: as above.
unsafe impl Zeroable for u64 {}
// SAFETY: as above.
unsafe impl Zeroable for f32 {}

/// Zeroed memory, freed when dropped.
pub(crate) struct Arena {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an arena is memory and nothing else.
unsafe impl Send for Arena {}
// SAFETY: it gives no access to that memory; only its buffers do.
unsafe impl Sync for Arena {}

impl Arena {
    /// Measures what `cut` takes, allocates just that, and cuts it: an arena and the buffers in it. The buffers must
    /// be dropped with the arena or before it.
    pub(crate) fn cut<B>(cut: impl Fn(&mut Cutter) -> B) -> Result<(Arena, B)> {
        let too_large = || Error::new(Status::OutOfMemory, "a session of this size exceeds the address space");
        let mut measure = Cutter { base: None, taken: Some(0) };
        cut(&mut measure);
        let taken = measure.taken.ok_or_else(too_large)?;
        // The system hands out zeroed pages that cost nothing until they are touched, a large KV cache for one; but only
        // for its own alignment. Asked for more, the allocator would write the zeros itself. So we align within it.
        let size = taken.checked_add(ALIGNMENT).ok_or_else(too_large)?;
        let layout = Layout::from_size_align(size, align_of::<u64>()).map_err(|_| too_large())?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })
            .ok_or_else(|| Error::new(Status::OutOfMemory, format!("no memory for a session of {size} bytes")))?;
        let arena = Arena { start, layout };
        let skip = start.addr().get().next_multiple_of(ALIGNMENT) - start.addr().get();
        // SAFETY: `skip` is less than the ALIGNMENT bytes that were added to what the buffers take.
        let base = unsafe { start.add(skip) };
        let mut cutter = Cutter { base: Some(base), taken: Some(0) };
        let buffers = cut(&mut cutter);
        debug_assert_eq!(cutter.taken, Some(taken));
        Ok((arena, buffers))
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `cut` with this layout, freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Hands out the buffers of an arena one after the other; in a first run it only counts.
pub(crate) struct Cutter {
    base: Option<NonNull<u8>>,
    /// Bytes taken so far; `None` once the sum has overflowed.
    taken: Option<usize>,
}

impl Cutter {
    /// A buffer of `len` zeros (empty while counting).
    pub(crate) fn take<T: Zeroable>(&mut self, len: usize) -> Buf<T> {
        let at = self.taken;
        self.taken =
            at.and_then(|at| len.checked_mul(size_of::<T>())?.checked_add(at)?.checked_next_multiple_of(ALIGNMENT));
        match (self.base, at) {
            // SAFETY: the counting run took the same lengths in the same order, so `at` lies inside the allocation.
            (Some(base), Some(at)) => Buf { start: unsafe { base.add(at) }.cast(), len },
            _ => Buf { start: NonNull::dangling(), len: 0 },
        }
    }
}

/// A buffer inside an [`Arena`]: exclusive to whoever holds it, valid while the arena lives.
pub(crate) struct Buf<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: a buffer is the only way to its elements, like a `&mut [T]`.
unsafe impl<T: Zeroable> Send for Buf<T> {}
// SAFETY: sharing a buffer gives shared access to its elements only.
unsafe impl<T: Zeroable> Sync for Buf<T> {}

impl<T: Zeroable> Deref for Buf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `take` gave out `len` zeroed, aligned elements to this buffer alone, and the arena outlives it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> DerefMut for Buf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeroed_aligned_and_apart() {
        let (arena, (mut a, mut b, c)) =
            Arena::cut(|cutter| (cutter.take::<u16>(5), cutter.take::<f32>(17), cutter.take::<u64>(0))).unwrap();
        assert_eq!((a.len(), b.len(), c.len()), (5, 17, 0));
        assert_eq!(arena.size(), 64 + 128 + 64);
        assert!(a.iter().all(|&x| x == 0) && b.iter().all(|&x| x == 0.0));
        a.fill(0xffff);
        b.fill(1.0);
        assert!(a.iter().all(|&x| x == 0xffff) && b.iter().all(|&x| x == 1.0));
        assert_eq!(b.as_ptr().addr() % 64, 0);
    }

    #[test]
    fn a_size_beyond_all_memory_is_an_error() {
        let error = Arena::cut(|cutter| (cutter.take::<u64>(usize::MAX / 4), cutter.take::<u16>(9))).err().unwrap();
        assert_eq!(error.status(), Status::OutOfMemory);
        let error = Arena::cut(|cutter| cutter.take::<u16>(usize::MAX / 4)).err().unwrap();
        assert_eq!(error.status(), Status::OutOfMemory);
    }
}
