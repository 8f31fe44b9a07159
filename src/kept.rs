//! Values that stay where they are, and are only ever shared.
//!
//! Threads hold pointers to such values beside their owner. A `Box` forbids that: whenever it is moved, even as part of
//! something else, it claims to be the only way to what it holds, and whoever reads through another pointer is wrong.

use crate::{Error, Result};
use std::ops::Deref;
use std::ptr::NonNull;

/// A `Box<[T]>` that makes no such claim, nor gives exclusive access.
pub(crate) struct Kept<T>(NonNull<[T]>);

// SAFETY: it owns its values and gives shared access to them alone: it is sent and shared like an `Arc`.
unsafe impl<T: Send + Sync> Send for Kept<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Kept<T> {}

impl<T> Kept<T> {
    pub(crate) fn none() -> Kept<T> {
        Kept::from(Box::default())
    }

    /// `len` values, or an error where there is no memory for them: those of `what`.
    pub(crate) fn new(len: usize, what: &'static str, value: impl FnMut(usize) -> T) -> Result<Kept<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(len).map_err(|_| Error::out_of_memory(what))?;
        values.extend((0..len).map(value));
        // As many as were reserved: nothing is allocated anew.
        Ok(Kept::from(values.into_boxed_slice()))
    }

    fn from(values: Box<[T]>) -> Kept<T> {
        Kept(NonNull::from(Box::leak(values)))
    }
}

impl<T> Deref for Kept<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: it points to what was a box, which nobody else owns, frees or writes.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a box in `from`, and is turned back into one once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
