//! The C border: the only `extern "C"` of the library, one file a noun.
//!
//! Every function goes through [`guard`]: it checks pointers, turns an error into a status and the caller's error
//! struct, and catches panics. Handles are converted in one place each (`model`, `with_session`); option and result
//! structs grow by [`Versioned`].

#![allow(non_camel_case_types)]

mod error;
mod model;
mod sampling;
mod session;
mod text;

pub use error::*;
pub use model::*;
pub use sampling::*;
pub use session::*;
pub use text::*;

use crate::quiet::{message, quietly, silence};
use crate::{Error, Result, Status};
use std::ffi::{CStr, c_char};

/// Runs the body of an API function: whatever goes wrong becomes a status, with details in `error` if it is not null.
///
/// # Safety
/// `error` is null or valid for writes of a `rasp_error`.
unsafe fn guard(error: *mut rasp_error, body: impl FnOnce() -> Result<Status>) -> rasp_status {
    silence();
    let outcome = match quietly(body) {
        Ok(outcome) => outcome,
        Err(payload) => {
            let text = format!("a defect of rasp, please report it: {}", message(&*payload));
            // A payload may panic when dropped; then it is leaked instead.
            let _ = quietly(|| drop(payload));
            Err(Error::new(Status::Internal, text))
        }
    };
    match outcome {
        Ok(status) => status.code(),
        Err(e) => {
            if !error.is_null() {
                // SAFETY: valid for writes by the caller's promise.
                unsafe { error.write(rasp_error::new(&e)) };
            }
            e.status().code()
        }
    }
}

fn null(what: &str) -> Error {
    Error::new(Status::InvalidArgument, format!("{what} is null"))
}

/// `len` elements at `data`; null is allowed for none.
///
/// # Safety
/// `data` is null or valid for reads of `len` elements for `'a`.
unsafe fn slice<'a, T>(data: *const T, len: usize, what: &str) -> Result<&'a [T]> {
    match (data.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(null(what)),
        // SAFETY: not null, valid by the caller's promise.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(data, len) }),
    }
}

/// UTF-8 text of `len` bytes.
///
/// # Safety
/// As for [`slice`].
unsafe fn text<'a>(data: *const c_char, len: usize, what: &str) -> Result<&'a str> {
    // SAFETY: by the caller's promise.
    let bytes = unsafe { slice(data.cast::<u8>(), len, what)? };
    std::str::from_utf8(bytes)
        .map_err(|e| Error::new(Status::InvalidUtf8, format!("{what} is no UTF-8 from byte {} on", e.valid_up_to())))
}

/// A NUL-terminated UTF-8 string.
///
/// # Safety
/// `data` is null or points to a NUL-terminated string, valid for `'a`.
unsafe fn c_text<'a>(data: *const c_char, what: &str) -> Result<&'a str> {
    if data.is_null() {
        return Err(null(what));
    }
    // SAFETY: not null, terminated by the caller's promise.
    let bytes = unsafe { CStr::from_ptr(data) };
    bytes.to_str().map_err(|_| Error::new(Status::InvalidUtf8, format!("{what} is no UTF-8")))
}

/// A place for a result.
///
/// # Safety
/// `place` is null or valid for writes for `'a`, and holds a value of `T`.
unsafe fn out<'a, T>(place: *mut T, what: &str) -> Result<&'a mut T> {
    // SAFETY: by the caller's promise.
    unsafe { place.as_mut() }.ok_or_else(|| null(what))
}

/// Copies `from` to a caller's buffer of `capacity` elements and its length to `count`, also if it does not fit.
///
/// # Safety
/// `buffer` is null or valid for writes of `capacity` elements; `count` as for [`out`].
unsafe fn copy_out<T: Copy>(from: &[T], buffer: *mut T, capacity: usize, count: *mut usize) -> Result<Status> {
    // SAFETY: by the caller's promise.
    let count = unsafe { out(count, "count")? };
    *count = from.len();
    if from.len() > capacity {
        let message = format!("{} needed, the buffer has room for {capacity}", from.len());
        return Err(Error::new(Status::BufferTooSmall, message));
    }
    if !from.is_empty() {
        if buffer.is_null() {
            return Err(null("buffer"));
        }
        // SAFETY: room for `from` by the comparison above; the caller's buffer does not overlap our memory.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), buffer, from.len()) };
    }
    Ok(Status::Ok)
}

/// A struct of the API that can grow at its end. Its first field is a `u32`, its size as its user was compiled.
///
/// # Safety
/// `repr(C)`, begins with the `u32`, and any bits are a value of every field; it has no padding.
unsafe trait Versioned: Copy {
    /// Its name, for messages.
    const NAME: &'static str;
    /// Its size when it first appeared.
    const FIRST: usize;
    /// What it means if the caller says nothing.
    fn initial() -> Self;
}

/// The caller's size of a struct, checked to be one that can be.
///
/// # Safety
/// `place` is valid for reads of a `u32`, and of as many bytes as that says.
unsafe fn size_of_callers<T: Versioned>(place: *const T) -> Result<usize> {
    // SAFETY: by the caller's promise.
    let size = unsafe { place.cast::<u32>().read_unaligned() } as usize;
    if size < T::FIRST {
        let message = format!("{}.struct_size is {size}: was it initialised with its _init function?", T::NAME);
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let ours = size_of::<T>();
    if size > ours {
        // A newer caller: fine as long as it uses nothing that we do not know.
        // SAFETY: readable for `size` bytes by the caller's promise.
        let rest = unsafe { std::slice::from_raw_parts(place.cast::<u8>().add(ours), size.min(4096) - ours) };
        if size > 4096 || rest.iter().any(|&byte| byte != 0) {
            let message = format!("{} has fields that this library does not know", T::NAME);
            return Err(Error::new(Status::InvalidArgument, message));
        }
    }
    Ok(size.min(ours))
}

/// The options a caller gave; null means the defaults.
///
/// # Safety
/// `place` is null, or as for [`size_of_callers`].
unsafe fn options<T: Versioned>(place: *const T) -> Result<T> {
    let mut value = T::initial();
    if !place.is_null() {
        // SAFETY: by the caller's promise.
        let size = unsafe { size_of_callers(place)? };
        // SAFETY: both hold `size` bytes, any bits are a value, and ours is a copy of its own.
        unsafe { std::ptr::copy_nonoverlapping(place.cast::<u8>(), (&raw mut value).cast(), size) };
    }
    Ok(value)
}

/// Writes as much of `value` as the caller's struct has room for; its `struct_size` stays.
///
/// # Safety
/// As for [`size_of_callers`], and valid for writes as well.
unsafe fn fill<T: Versioned>(place: *mut T, value: &T) -> Result<Status> {
    if place.is_null() {
        return Err(null(T::NAME));
    }
    // SAFETY: by the caller's promise.
    let size = unsafe { size_of_callers(place.cast_const())? };
    let skip = size_of::<u32>();
    // SAFETY: both hold `size` bytes, of which the first four stay; FIRST is at least that.
    unsafe {
        let from = (&raw const *value).cast::<u8>().add(skip);
        std::ptr::copy_nonoverlapping(from, place.cast::<u8>().add(skip), size - skip);
    }
    Ok(Status::Ok)
}

/// Version of the library, such as "0.1.0". A static string; never null. Safe from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn rasp_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Version of the binary interface. It changes only when a program compiled against an older header would misbehave.
/// 0 means that it is not frozen yet. Safe from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn rasp_abi_version() -> u32 {
    0
}
