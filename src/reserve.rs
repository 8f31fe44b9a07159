//! Memory that is set aside before a call that cannot be told that there is none.
//!
//! Rust's collections end the process when an allocation fails, and so do the libraries that parse JSON. Loading a
//! model goes through such code: it is run with a block set aside, as large as what it can ask for. While the system
//! has memory the block is not touched. When it has none, the code goes on in the block; then everything it has made is
//! dropped, the block is given back, and the call fails with [`OutOfMemory`](crate::Status::OutOfMemory).
//!
//! The [`Allocator`] is what our own code allocates with. It is no hook: in the shared library it is nobody else's, and
//! asks the system's allocator, as Rust does without it. A Rust program that brings an allocator of its own builds the
//! crate without the feature `reserve`; then a failed allocation in such a call ends it, as elsewhere in Rust.

use crate::{Error, Result};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Blocks of a reserve at most.
const BLOCKS: usize = 4;
/// The smallest piece is 16 bytes, and each class has pieces of twice the size of the one before.
const CLASSES: usize = usize::BITS as usize - 4;
const LEAST: usize = 16;

thread_local! {
    /// The reserve of the call under way. A plain pointer: nothing to destroy when the thread ends.
    static CURRENT: Cell<*mut Reserve> = const { Cell::new(std::ptr::null_mut()) };
}

#[derive(Clone, Copy)]
struct ReserveBlock {
    start: *mut u8,
    size: usize,
    used: usize,
}

struct Reserve {
    blocks: [ReserveBlock; BLOCKS],
    count: usize,
    /// Pieces that were given back, a list a class: each begins with the address of the next.
    free: [*mut u8; CLASSES],
    /// Whether the system had no memory and a piece was taken from here.
    touched: bool,
    /// Bytes that the call has asked for, less those that it has given back.
    held: isize,
}

const EMPTY: ReserveBlock = ReserveBlock { start: std::ptr::null_mut(), size: 0, used: 0 };

/// The class of pieces that hold `size` bytes.
fn class(size: usize) -> usize {
    (size.max(LEAST).next_power_of_two() / LEAST).trailing_zeros() as usize
}

fn class_size(class: usize) -> usize {
    LEAST << class
}

impl Reserve {
    fn new() -> Reserve {
        Reserve { blocks: [EMPTY; BLOCKS], count: 0, free: [std::ptr::null_mut(); CLASSES], touched: false, held: 0 }
    }

    /// Sets `bytes` more aside.
    fn grow(&mut self, bytes: usize) -> Result<()> {
        let none = || Error::out_of_memory("what the call may need");
        let layout = Layout::from_size_align(bytes.max(LEAST), 64).map_err(|_| none())?;
        if self.count == BLOCKS {
            return Err(none());
        }
        // SAFETY: the size is not zero.
        let start = unsafe { System.alloc(layout) };
        if start.is_null() {
            return Err(none());
        }
        self.blocks[self.count] = ReserveBlock { start, size: layout.size(), used: 0 };
        self.count += 1;
        Ok(())
    }

    fn owns(&self, piece: *mut u8) -> bool {
        let at = piece.addr();
        self.blocks[..self.count]
            .iter()
            .any(|block| (block.start.addr()..block.start.addr() + block.size).contains(&at))
    }

    /// A piece, or null if there is not enough left.
    fn take(&mut self, layout: Layout) -> *mut u8 {
        self.touched = true;
        if layout.size() > isize::MAX as usize / 4 {
            return std::ptr::null_mut();
        }
        let class = class(layout.size());
        let first = self.free[class];
        if !first.is_null() && first.addr().is_multiple_of(layout.align()) {
            // SAFETY: a piece of ours that was given back, of which `give` has made the first word the next one's
            // address.
            self.free[class] = unsafe { first.cast::<*mut u8>().read() };
            return first;
        }
        let (size, align) = (class_size(class), layout.align().max(LEAST));
        for block in &mut self.blocks[..self.count] {
            let from = (block.start.addr() + block.used).next_multiple_of(align) - block.start.addr();
            if from.checked_add(size).is_some_and(|end| end <= block.size) {
                block.used = from + size;
                // SAFETY: inside of the block.
                return unsafe { block.start.add(from) };
            }
        }
        std::ptr::null_mut()
    }

    /// Takes a piece back.
    ///
    /// # Safety
    /// It came from `take` with this layout, and is not used any more.
    unsafe fn give(&mut self, piece: *mut u8, layout: Layout) {
        let class = class(layout.size());
        // SAFETY: at least 16 bytes, aligned to as many, and nobody's.
        unsafe { piece.cast::<*mut u8>().write(self.free[class]) };
        self.free[class] = piece;
    }

    /// Gives the blocks back to the system.
    ///
    /// # Safety
    /// No piece of them is used any more.
    unsafe fn end(&self) {
        for block in &self.blocks[..self.count] {
            // SAFETY: allocated with this layout, which was one then; nobody's by contract.
            unsafe { System.dealloc(block.start, Layout::from_size_align_unchecked(block.size, 64)) };
        }
    }
}

/// Runs `body` with `bytes` set aside. If memory ran out meanwhile, what it gives is dropped, and an error takes its
/// place.
///
/// # Safety
/// What `body` allocates on this thread is freed by its end, or is owned by what it gives: nothing of it is left in a
/// place that lasts longer (a variable of the caller's, a static, a thread-local), for it may lie in the reserve, which
/// ends here. Code of others that `body` calls and that does not keep to this goes [`outside`].
pub(crate) unsafe fn within<T>(bytes: usize, body: impl FnOnce() -> Result<T>) -> Result<T> {
    if !CURRENT.get().is_null() {
        return body();
    }
    /// Ends the reserve.
    struct Leave(*mut Reserve);
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.set(std::ptr::null_mut());
            // SAFETY: it is still in its place, and nobody's any more, nor is a piece of it.
            unsafe { (*self.0).end() };
        }
    }
    let place = std::cell::UnsafeCell::new(Reserve::new());
    // SAFETY: nobody else has it yet.
    unsafe { &mut *place.get() }.grow(bytes)?;
    CURRENT.set(place.get());
    let leave = Leave(place.get());
    let outcome = crate::quiet::quietly(body);
    // SAFETY: the allocator uses it only inside of its own calls, of which none is under way.
    let touched = unsafe { (*place.get()).touched };
    let outcome = match outcome {
        Ok(outcome) if touched => {
            drop(outcome);
            Err(Error::out_of_memory("the call"))
        }
        Ok(outcome) => outcome,
        Err(payload) if touched => {
            // It may lie in the reserve.
            std::mem::forget(payload);
            Err(Error::new(crate::Status::Internal, "a defect of rasp, met when there was no memory"))
        }
        Err(payload) => {
            drop(leave);
            std::panic::resume_unwind(payload)
        }
    };
    drop(leave);
    outcome
}

/// Runs code that may keep what it allocates, the host's for one, as if no reserve were there.
pub(crate) fn outside<T>(foreign: impl FnOnce() -> T) -> T {
    /// Puts the reserve back, also when `foreign` unwinds.
    struct Back(*mut Reserve);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _back = Back(CURRENT.replace(std::ptr::null_mut()));
    foreign()
}

/// Bytes that the call under way has asked for and not given back; 0 outside of a reserve.
#[cfg_attr(not(feature = "constrained"), allow(dead_code))]
pub(crate) fn held() -> usize {
    let current = CURRENT.get();
    // SAFETY: `within` keeps it in its place while the pointer is there, and the allocator is not at work.
    if current.is_null() { 0 } else { usize::try_from(unsafe { (*current).held }).unwrap_or(0) }
}

/// Notes that the call under way holds `bytes` more.
fn note(bytes: isize) {
    let current = CURRENT.get();
    if !current.is_null() {
        // SAFETY: `within` keeps it in its place while the pointer is there; nothing else refers to it meanwhile.
        unsafe { (*current).held = (*current).held.wrapping_add(bytes) };
    }
}

/// Sets `bytes` more aside for the call under way, if it has a reserve.
pub(crate) fn more(bytes: usize) -> Result<()> {
    let current = CURRENT.get();
    if current.is_null() {
        return Ok(());
    }
    // SAFETY: `within` keeps it in its place while the pointer is there, and the allocator is not at work.
    unsafe { (*current).grow(bytes) }
}

/// What this library allocates with: the system's allocator, and where that has no memory, the reserve of the call
/// under way.
pub struct Allocator;

// SAFETY: pieces are the system's, which keeps the contract, or the reserve's of this thread: those are aligned, hold
// what was asked for, are given out once, and are recognised by their address when they come back, which is before the
// reserve ends (the promise of `within`).
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promise.
        let piece = unsafe { System.alloc(layout) };
        if !piece.is_null() {
            return piece;
        }
        let reserve = CURRENT.get();
        // SAFETY: `within` keeps it in its place while the pointer is there; nothing else refers to it meanwhile.
        if reserve.is_null() { piece } else { unsafe { (*reserve).take(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's promise.
        let piece = unsafe { System.alloc_zeroed(layout) };
        let reserve = CURRENT.get();
        if !piece.is_null() || reserve.is_null() {
            return piece;
        }
        // SAFETY: as in `alloc`.
        let piece = unsafe { (*reserve).take(layout) };
        if !piece.is_null() {
            // SAFETY: it holds as many bytes.
            unsafe { piece.write_bytes(0, layout.size()) };
        }
        piece
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        let reserve = CURRENT.get();
        // SAFETY: as in `alloc`; what lies in the reserve came from `take`, with this layout by the caller's promise,
        // and everything else from the system with it.
        unsafe {
            if !reserve.is_null() && (*reserve).owns(piece) {
                (*reserve).give(piece, layout);
            } else {
                System.dealloc(piece, layout);
            }
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let reserve = CURRENT.get();
        // SAFETY: as in `alloc`.
        let owned = !reserve.is_null() && unsafe { (*reserve).owns(piece) };
        if !owned {
            // SAFETY: the system's, since it is not the reserve's; the rest is the caller's promise.
            let moved = unsafe { System.realloc(piece, layout, size) };
            if !moved.is_null() {
                note(size as isize - layout.size() as isize);
            }
            if !moved.is_null() || reserve.is_null() {
                return moved;
            }
        } else if class(size) == class(layout.size()) {
            // Pieces of a class are of one size.
            note(size as isize - layout.size() as isize);
            return piece;
        }
        // SAFETY: the alignment is that of a layout, and the size does not overflow when rounded up to it, by the
        // caller's promise.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the reserve is in its place, as in `alloc`. The new piece holds `size` bytes and the old one those of
        // its layout; they are apart, since the old one was not given back yet. It is now, and nobody uses it any more.
        unsafe {
            let moved = (*reserve).take(new);
            if !moved.is_null() {
                note(size as isize);
                moved.copy_from_nonoverlapping(piece, layout.size().min(size));
                self.dealloc(piece, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    /// As many bytes as the system has not.
    fn from_reserve(bytes: usize) -> Vec<u8> {
        // SAFETY: a reserve is current in these tests; the piece is a vector's, which gives it back to the allocator.
        unsafe {
            let piece = (*CURRENT.get()).take(Layout::array::<u8>(bytes).unwrap());
            assert!(!piece.is_null());
            piece.write_bytes(7, bytes);
            Vec::from_raw_parts(piece, bytes, bytes)
        }
    }

    #[test]
    fn what_was_made_without_memory_is_dropped() {
        let dropped = std::cell::Cell::new(false);
        struct Tell<'a>(&'a std::cell::Cell<bool>, #[allow(dead_code)] Vec<u8>);
        impl Drop for Tell<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let body = || {
            let mut bytes = from_reserve(100);
            // It grows from the reserve into the system's memory, or the reserve's.
            bytes.extend([8; 500]);
            assert_eq!((bytes[99], bytes[100], bytes.len()), (7, 8, 600));
            Ok(Tell(&dropped, bytes))
        };
        // SAFETY: all it makes is in what it gives.
        let outcome = unsafe { within(4096, body) };
        assert_eq!(outcome.err().unwrap().status(), Status::OutOfMemory);
        assert!(dropped.get() && CURRENT.get().is_null());
        // SAFETY: nothing is made.
        let five = |bytes| unsafe { within(bytes, || Ok(5)) };
        assert_eq!(five(64).unwrap(), 5);
        assert_eq!(five(usize::MAX).err().unwrap().status(), Status::OutOfMemory);
    }

    /// A log of the host's may keep what it allocates.
    #[test]
    fn outside_there_is_no_reserve_and_afterwards_there_is() {
        let body = || {
            let here = CURRENT.get();
            assert!(!here.is_null());
            assert!(outside(|| CURRENT.get()).is_null());
            let unwound = std::panic::catch_unwind(|| outside(|| std::panic::resume_unwind(Box::new("on purpose"))));
            assert!(unwound.is_err() && CURRENT.get() == here);
            Ok(())
        };
        // SAFETY: what is made is dropped in it.
        unsafe { within(64, body) }.unwrap();
    }

    #[test]
    fn pieces_are_apart_aligned_and_used_again() {
        let body = || {
            more(1 << 16)?;
            let mut held: Vec<(usize, Vec<u8>)> = Vec::new();
            // Miri looks at every byte of them, and at its leisure.
            for round in 0..if cfg!(miri) { 25 } else { 400 } {
                let size = 1 + round * 37 % 900;
                let bytes = from_reserve(size);
                held.iter().for_each(|(size, bytes)| assert!(bytes.len() == *size && bytes.iter().all(|b| *b == 7)));
                held.push((size, bytes));
                if held.len() > 40 {
                    held.swap_remove(round % 40);
                }
            }
            // SAFETY: current, as above.
            let reserve = unsafe { &mut *CURRENT.get() };
            for align in [16, 64, 256, 4096] {
                let piece = reserve.take(Layout::from_size_align(24, align).unwrap());
                assert!(piece.addr().is_multiple_of(align) && reserve.owns(piece));
            }
            assert!(reserve.take(Layout::array::<u8>(1 << 20).unwrap()).is_null());
            Ok(())
        };
        // SAFETY: what is made is dropped in it.
        let outcome = unsafe { within(1 << 16, body) };
        assert_eq!(outcome.unwrap_err().status(), Status::OutOfMemory, "the reserve was touched");
    }
}
