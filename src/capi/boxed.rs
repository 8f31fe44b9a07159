//! Handles that are boxes of their own: how they come to the host, and back.

use super::live::{self, HandleKind};
use super::*;

/// Puts a handle of what `make` makes where the caller wants it. Reserves so many bytes for that.
///
/// # Safety
/// As for [`within`](crate::reserve::within): what `make` keeps is in what it gives.
pub(super) unsafe fn give<T>(
    kind: HandleKind,
    place: Out<*mut T>,
    reserve: usize,
    make: impl FnOnce() -> Result<T>,
) -> Result<Status> {
    // SAFETY: by the caller's promise.
    let handle = Box::into_raw(unsafe { crate::reserve::within(reserve, || Ok(Box::new(make()?))) }?);
    live::born(kind, handle);
    place.set(handle);
    Ok(Status::Ok)
}

/// Frees what is behind a handle, if `last` allows it. Null is allowed and does nothing.
///
/// # Safety
/// `handle` is null or came from [`give`] and has not been freed; it is not used afterwards.
pub(super) unsafe fn free<T>(kind: HandleKind, handle: *mut T, last: impl FnOnce(&T) -> Result<()>) -> rasp_status {
    // SAFETY: null is allowed for the error; the rest below.
    unsafe {
        guard(std::ptr::null_mut(), || {
            if !handle.is_null() {
                // SAFETY: alive by the caller's promise.
                last(live::behind(kind, handle)?)?;
                // SAFETY: it came from `Box::into_raw`, and is not used afterwards by the caller's promise.
                drop(Box::from_raw(handle));
            }
            Ok(Status::Ok)
        })
    }
}
