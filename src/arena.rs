//! The one piece of memory of a session, its own or the host's, cut into buffers when it opens.

use crate::{Error, Result, Status};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::AtomicBool;

/// Every buffer starts on a cache line of its own, so that threads never share one by accident.
const ALIGNMENT: usize = 64;

/// What the memory itself must be aligned to: any allocator's is. The arena aligns within it, and counts the bytes that
/// may take, for two reasons: a host need not ask for more than `malloc` gives; and the system hands out zeroed pages
/// that cost nothing until they are touched (a large KV cache for one), but asked for more alignment than usual an
/// allocator would write the zeros itself.
const START_ALIGNMENT: usize = 8;

/// Element types of buffers.
///
/// # Safety
/// All bits zero is a valid value, the type has no destructor, and its alignment divides [`ALIGNMENT`].
pub(crate) unsafe trait Zeroable: Send + Sync {}
// SAFETY: zero is a value of every integer and float; all align to at most 8.
unsafe impl Zeroable for u8 {}
// SAFETY: as above.
unsafe impl Zeroable for u16 {}
// SAFETY: as above.
unsafe impl Zeroable for u32 {}
// SAFETY: as above.
unsafe impl Zeroable for i8 {}
// SAFETY: as above.
unsafe impl Zeroable for i16 {}
// SAFETY: as above.
unsafe impl Zeroable for u64 {}
// SAFETY: numbers, and truth values, which zero is one of; aligned to 4.
unsafe impl Zeroable for rasp_kernels::PackedGroup {}
// SAFETY: as above.
unsafe impl Zeroable for f32 {}
// SAFETY: zero is false.
unsafe impl Zeroable for AtomicBool {}
// SAFETY: as its elements.
unsafe impl Zeroable for (f32, u32) {}

/// Element types of buffers that need not be zeroed.
///
/// # Safety
/// As for [`Zeroable`], and any bits are a valid value.
pub(crate) unsafe trait AnyBits: Zeroable {}
// SAFETY: any bits are a number.
unsafe impl AnyBits for u16 {}
// SAFETY: as above.
unsafe impl AnyBits for f32 {}
// SAFETY: as above.
unsafe impl AnyBits for i8 {}

/// What a session's memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryUse {
    KvCache,
    Activations,
    Sampling,
    Bookkeeping,
}

/// The memory of a session, to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Bytes of all parts together.
    pub size: usize,
    /// What the address of the memory must be a multiple of.
    pub alignment: usize,
    /// Bytes of cached keys and values.
    pub kv_cache: usize,
    /// Bytes of what passes between the layers.
    pub activations: usize,
    /// Bytes of logits and of the sampler's candidates.
    pub sampling: usize,
    /// Bytes of everything else: tokens, thresholds, flags, what alignment takes.
    pub bookkeeping: usize,
}

/// Where the memory of an arena comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MemorySource {
    /// The allocator's, given back when the arena is dropped.
    Own,
    /// The host's: so many bytes. Whoever says this promises that they are valid for reads and writes, initialised,
    /// and nobody else's while the arena lives.
    Host(NonNull<u8>, usize),
}

/// Memory, freed when dropped if it is its own.
pub(crate) struct Arena {
    plan: MemoryPlan,
    /// The first buffer's place.
    base: NonNull<u8>,
    /// What to free; `None` if it is the host's.
    own: Option<(NonNull<u8>, Layout)>,
}

// SAFETY: an arena is memory and nothing else.
unsafe impl Send for Arena {}
// SAFETY: it gives no access to that memory; only its buffers do.
unsafe impl Sync for Arena {}

impl Arena {
    /// Measures what `cut` takes after `front` bytes of the caller's own.
    pub(crate) fn plan<B>(front: usize, cut: impl Fn(&mut Cutter) -> B) -> Result<MemoryPlan> {
        let mut cutter = Cutter::new(None, front);
        cut(&mut cutter);
        let [kv_cache, activations, sampling, bookkeeping] = cutter.parts;
        let slack = ALIGNMENT - START_ALIGNMENT;
        let size = cutter.taken.and_then(|taken| taken.checked_add(slack)).filter(|&size| size <= isize::MAX as usize);
        let size =
            size.ok_or_else(|| Error::new(Status::OutOfMemory, "a session of this size exceeds the address space"))?;
        let bookkeeping = bookkeeping + slack;
        Ok(MemoryPlan { size, alignment: START_ALIGNMENT, kv_cache, activations, sampling, bookkeeping })
    }

    /// An arena of just the memory that [`plan`](Arena::plan) measures, and the buffers in it. The buffers must not be
    /// used once it is dropped.
    pub(crate) fn cut<B>(memory: MemorySource, front: usize, cut: impl Fn(&mut Cutter) -> B) -> Result<(Arena, B)> {
        let plan = Arena::plan(front, &cut)?;
        let size = plan.size;
        let (start, own) = match memory {
            MemorySource::Own => {
                let layout = Layout::from_size_align(size, START_ALIGNMENT).expect("the plan's size fits");
                // SAFETY: the size is not zero, for the slack alone.
                let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| {
                    Error::new(Status::OutOfMemory, format_args!("no memory for a session of {size} bytes"))
                })?;
                (start, Some((start, layout)))
            }
            MemorySource::Host(start, _) if !start.addr().get().is_multiple_of(START_ALIGNMENT) => {
                let message = format_args!("a session's memory must start at a multiple of {START_ALIGNMENT}");
                return Err(Error::new(Status::InvalidArgument, message));
            }
            MemorySource::Host(_, given) if given < size => {
                let message =
                    format_args!("a session with these options needs {size} bytes of memory; {given} were given");
                return Err(Error::new(Status::BufferTooSmall, message));
            }
            MemorySource::Host(start, _) => (start, None),
        };
        let skip = start.addr().get().next_multiple_of(ALIGNMENT) - start.addr().get();
        // SAFETY: `skip` is at most the slack that the plan added to what the buffers take, as `start` is a multiple of
        // START_ALIGNMENT.
        let base = unsafe { start.add(skip) };
        let mut cutter = Cutter::new(Some(base), front);
        cutter.dirty = own.is_none();
        let buffers = cut(&mut cutter);
        debug_assert_eq!(cutter.taken.map(|taken| taken + ALIGNMENT - START_ALIGNMENT), Some(size));
        Ok((Arena { plan, base, own }, buffers))
    }

    /// What it holds.
    pub(crate) fn memory(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Whether the memory is not the host's.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The caller's own bytes, aligned to 64; zeros in no way guaranteed.
    pub(crate) fn front(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Some((start, layout)) = self.own {
            // SAFETY: allocated in `cut` with this layout, freed once.
            unsafe { dealloc(start.as_ptr(), layout) }
        }
    }
}

/// Hands out the buffers of an arena one after the other; in a first run it only counts.
pub(crate) struct Cutter {
    base: Option<NonNull<u8>>,
    /// Bytes taken so far; `None` once the sum has overflowed.
    taken: Option<usize>,
    /// True if the memory holds anything but zeros.
    dirty: bool,
    part: MemoryUse,
    /// Bytes taken for each [`MemoryUse`].
    parts: [usize; 4],
}

impl Cutter {
    fn new(base: Option<NonNull<u8>>, front: usize) -> Cutter {
        let mut cutter = Cutter { base, taken: Some(0), dirty: false, part: MemoryUse::Bookkeeping, parts: [0; 4] };
        cutter.place(front, 1);
        cutter
    }

    /// What the buffers that follow are for.
    pub(crate) fn part(&mut self, part: MemoryUse) -> &mut Cutter {
        self.part = part;
        self
    }

    /// Room for `len` elements of `size` bytes; `None` while counting.
    fn place(&mut self, len: usize, size: usize) -> Option<NonNull<u8>> {
        let at = self.taken?;
        self.taken = len.checked_mul(size).and_then(|bytes| bytes.checked_add(at)?.checked_next_multiple_of(ALIGNMENT));
        // An overflow fails the plan, so what its parts say is seen by nobody.
        self.parts[self.part as usize] += self.taken.map_or(0, |taken| taken - at);
        // SAFETY: the counting run took the same lengths in the same order, so `at` lies inside the memory.
        self.base.map(|base| unsafe { base.add(at) })
    }

    /// A buffer of `len` zeros (empty while counting).
    pub(crate) fn take<T: Zeroable>(&mut self, len: usize) -> Buf<T> {
        match self.place(len, size_of::<T>()) {
            Some(start) => {
                if self.dirty {
                    // SAFETY: room for `len` elements, which are nobody's yet.
                    unsafe { start.cast::<T>().write_bytes(0, len) };
                }
                Buf { start: start.cast(), len }
            }
            None => Buf::empty(),
        }
    }

    /// The same, but in memory of the host's its elements are whatever lies there: for a large buffer that is written
    /// before it is read.
    pub(crate) fn take_any<T: AnyBits>(&mut self, len: usize) -> Buf<T> {
        match self.place(len, size_of::<T>()) {
            Some(start) => Buf { start: start.cast(), len },
            None => Buf::empty(),
        }
    }

    /// An empty list with room for `capacity` elements.
    pub(crate) fn list<T: Zeroable + Copy>(&mut self, capacity: usize) -> List<T> {
        List { buf: self.take(capacity), len: 0 }
    }
}

/// A buffer inside an [`Arena`]: exclusive to whoever holds it, valid while the arena lives.
pub(crate) struct Buf<T> {
    start: NonNull<T>,
    len: usize,
}

impl<T> Buf<T> {
    /// A buffer of nothing.
    pub(crate) const fn empty() -> Buf<T> {
        Buf { start: NonNull::dangling(), len: 0 }
    }
}

impl<T: AnyBits> Buf<T> {
    /// Its elements' bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the elements' memory, as in `deref`; numbers have no padding.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.len * size_of::<T>()) }
    }

    /// The same, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and any bytes make valid elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.len * size_of::<T>()) }
    }
}

// SAFETY: a buffer is the only way to its elements, like a `&mut [T]`.
unsafe impl<T: Zeroable> Send for Buf<T> {}
// SAFETY: sharing a buffer gives shared access to its elements only.
unsafe impl<T: Zeroable> Sync for Buf<T> {}

impl<T: Zeroable> Deref for Buf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the cutter gave out `len` aligned elements to this buffer alone, which are zeros or (`take_any`) of a
        // type that any bits are a value of, and the arena outlives it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> DerefMut for Buf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// A list inside an [`Arena`]: a `Vec` that cannot grow beyond its room. What would panics, so ask for
/// [`capacity`](List::capacity) first.
pub(crate) struct List<T> {
    buf: Buf<T>,
    len: usize,
}

impl<T: Zeroable + Copy> List<T> {
    /// Elements there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.buf.len()
    }

    pub(crate) fn push(&mut self, element: T) {
        self.buf[self.len] = element;
        self.len += 1;
    }

    pub(crate) fn extend_from_slice(&mut self, elements: &[T]) {
        self.buf[self.len..][..elements.len()].copy_from_slice(elements);
        self.len += elements.len();
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let mut kept = 0;
        for i in 0..self.len {
            if keep(&self.buf[i]) {
                self.buf[kept] = self.buf[i];
                kept += 1;
            }
        }
        self.len = kept;
    }
}

impl<T: Zeroable + Copy> Extend<T> for List<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        elements.into_iter().for_each(|element| self.push(element));
    }
}

impl<T: Zeroable> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.buf[..self.len]
    }
}

impl<T: Zeroable> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buf[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Three = (Buf<u16>, Buf<f32>, Buf<u64>);

    fn three(cutter: &mut Cutter) -> Three {
        let first = cutter.part(MemoryUse::KvCache).take::<u16>(5);
        let second = cutter.part(MemoryUse::Sampling).take::<f32>(17);
        (first, second, cutter.take::<u64>(0))
    }

    fn check((a, b, c): &mut Three) {
        assert_eq!((a.len(), b.len(), c.len()), (5, 17, 0));
        assert!(a.iter().all(|&x| x == 0) && b.iter().all(|&x| x == 0.0));
        a.fill(0xffff);
        b.fill(1.0);
        assert!(a.iter().all(|&x| x == 0xffff) && b.iter().all(|&x| x == 1.0));
        assert_eq!(b.as_ptr().addr() % 64, 0);
    }

    #[test]
    fn buffers_are_zeroed_aligned_and_apart() {
        let (arena, mut buffers) = Arena::cut(MemorySource::Own, 3, three).unwrap();
        let MemoryPlan { size, kv_cache, activations, sampling, bookkeeping, .. } = *arena.memory();
        assert_eq!([size, kv_cache, activations, sampling, bookkeeping], [64 + 64 + 128 + 56, 64, 0, 128, 64 + 56]);
        assert_eq!(*arena.memory(), Arena::plan(3, three).unwrap());
        check(&mut buffers);
    }

    #[test]
    fn memory_of_the_hosts_is_zeroed_and_nothing_beyond_it_touched() {
        let size = Arena::plan(3, three).unwrap().size;
        // From every address that is allowed, within a cache line.
        for offset in (0..64).step_by(8) {
            let mut words = vec![u64::MAX; size / 8 + 18];
            // SAFETY: the words' bytes, which any bytes may be.
            let bytes: &mut [u8] =
                unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 8) };
            // Of all the bytes: a reference to the first would be to that alone.
            let start = NonNull::from(&mut bytes[offset + 8..]).cast();
            let (arena, mut buffers) = Arena::cut(MemorySource::Host(start, size), 3, three).unwrap();
            check(&mut buffers);
            // SAFETY: three bytes were asked for.
            unsafe { arena.front().write_bytes(7, 3) };
            drop(arena);
            assert!(words[..offset / 8 + 1].iter().all(|&word| word == u64::MAX), "before, {offset}");
            assert!(words[offset / 8 + 1 + size / 8..].iter().all(|&word| word == u64::MAX), "after, {offset}");
        }
    }

    #[test]
    fn too_little_memory_or_an_odd_address_is_named() {
        let size = Arena::plan(0, three).unwrap().size;
        let mut words = vec![0u64; size / 8];
        let start = NonNull::from(&mut words[..]).cast::<u8>();
        let error = Arena::cut(MemorySource::Host(start, size - 1), 0, three).err().unwrap();
        assert_eq!(error.status(), Status::BufferTooSmall);
        assert!(error.message().contains(&format!("{size} bytes")), "{error}");
        // SAFETY: inside.
        let odd = unsafe { start.add(4) };
        assert_eq!(
            Arena::cut(MemorySource::Host(odd, size), 0, three).err().unwrap().status(),
            Status::InvalidArgument
        );
    }

    #[test]
    fn a_size_beyond_all_memory_is_an_error() {
        for (words, halves) in [(usize::MAX / 4, 9), (0, usize::MAX / 4), (0, usize::MAX / 2 - 99)] {
            let cut =
                Arena::cut(MemorySource::Own, 0, |cutter| (cutter.take::<u64>(words), cutter.take::<u16>(halves)));
            assert_eq!(cut.err().unwrap().status(), Status::OutOfMemory, "{words} {halves}");
        }
    }

    #[test]
    fn a_list_is_a_vec_that_cannot_grow() {
        let (_arena, mut list) = Arena::cut(MemorySource::Own, 0, |cutter| cutter.list::<u32>(5)).unwrap();
        list.extend([1, 2]);
        list.extend_from_slice(&[3, 4]);
        list.push(5);
        assert_eq!((&*list, list.capacity()), (&[1, 2, 3, 4, 5][..], 5));
        list.retain(|n| n % 2 == 1);
        assert_eq!(*list, [1, 3, 5]);
        list.truncate(9);
        list.truncate(1);
        assert_eq!(*list, [1]);
        list.clear();
        assert!(list.is_empty());
    }
}
