//! The C border: the only `extern "C"` of the library, one file a noun.
//!
//! Every function goes through [`guard`]: it turns an error into a status and the caller's error struct, and catches
//! panics. What the caller points to is touched in one place each: inputs by [`slice`], results by [`Out`] (written, never
//! read), handles by `model` and `with_session`; option and result structs grow by [`Versioned`].

#![allow(non_camel_case_types)]

mod adapter;
mod answer;
mod batch;
mod boxed;
mod chat;
mod constraint;
mod conversation;
mod drafts;
mod embed;
mod error;
mod handle;
mod live;
mod model;
mod plan;
mod reply;
mod sampling;
mod session;
mod state;
mod step;
mod text;
mod turn;

pub use adapter::*;
pub use answer::*;
pub use batch::*;
pub use chat::*;
pub use constraint::*;
pub use conversation::*;
pub use drafts::*;
pub use embed::*;
pub use error::*;
pub use handle::rasp_session;
pub use model::*;
pub use plan::*;
pub use reply::*;
pub use sampling::*;
pub use session::*;
pub use state::*;
pub use step::*;
pub use text::*;

use crate::float_env::FloatEnv;
use crate::quiet::{message, quietly, silence};
use crate::{Error, Result, Status};
use std::ffi::{CStr, c_char, c_void};

/// Runs the body of an API function: whatever goes wrong becomes a status, with details in `error` if it is not null.
///
/// # Safety
/// `error` is null or valid for writes of a `rasp_error`.
unsafe fn guard(error: *mut rasp_error, body: impl FnOnce() -> Result<Status>) -> rasp_status {
    silence();
    let _standard = FloatEnv::standard();
    let outcome = match quietly(body) {
        Ok(outcome) => outcome,
        Err(payload) => {
            let words = message(&*payload);
            let error = Error::new(Status::Internal, format_args!("a defect of rasp, please report it: {words}"));
            // A payload may panic when dropped; then it is leaked instead.
            let _ = quietly(|| drop(payload));
            Err(error)
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
    Error::new(Status::InvalidArgument, format_args!("{what} is null"))
}

fn misaligned(what: &str) -> Error {
    Error::new(Status::InvalidArgument, format_args!("{what} is not aligned for its type"))
}

/// `len` elements at `data`; null is allowed for none.
///
/// # Safety
/// `data` is null or valid for reads of `len` elements for `'a`.
unsafe fn slice<'a, T>(data: *const T, len: usize, what: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(null(what));
    }
    if !data.is_aligned() {
        return Err(misaligned(what));
    }
    // A negative number turned into a size_t is the usual way to such a length; no object is larger.
    if len.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Error::new(Status::InvalidArgument, format_args!("{what} cannot have a length of {len}")));
    }
    // SAFETY: neither null nor misaligned nor longer than an object can be; valid by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// UTF-8 text of `len` bytes.
///
/// # Safety
/// As for [`slice`].
unsafe fn text<'a>(data: *const c_char, len: usize, what: &str) -> Result<&'a str> {
    // SAFETY: by the caller's promise.
    let bytes = unsafe { slice(data.cast::<u8>(), len, what)? };
    std::str::from_utf8(bytes).map_err(|e| {
        Error::new(Status::InvalidUtf8, format_args!("{what} is no UTF-8 from byte {} on", e.valid_up_to()))
    })
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
    bytes.to_str().map_err(|_| Error::new(Status::InvalidUtf8, format_args!("{what} is no UTF-8")))
}

/// A place of the caller's for a result. It is written and never read or borrowed: before the call it may hold anything,
/// and two of them may be the same.
#[derive(Clone, Copy)]
struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `place` is null or valid for writes of a `T` until the call ends.
    unsafe fn new(place: *mut T, what: &str) -> Result<Out<T>> {
        if place.is_null() {
            return Err(null(what));
        }
        if !place.is_aligned() {
            return Err(misaligned(what));
        }
        Ok(Out(place))
    }

    fn set(self, value: T) {
        // SAFETY: neither null nor misaligned; valid for writes by the promise of `new`.
        unsafe { self.0.write(value) }
    }
}

/// Places of the caller's for several results, one each of `len`.
#[derive(Clone, Copy)]
struct Outs<T> {
    start: *mut T,
    len: usize,
}

impl<T> Outs<T> {
    /// # Safety
    /// `start` is null or valid for writes of `len` elements until the call ends.
    unsafe fn new(start: *mut T, len: usize, what: &str) -> Result<Outs<T>> {
        if len > 0 && start.is_null() {
            return Err(null(what));
        }
        if len > 0 && !start.is_aligned() {
            return Err(misaligned(what));
        }
        Ok(Outs { start, len })
    }

    /// All places, as good as this value.
    fn fill<'a>(self, value: T) -> &'a mut [T]
    where
        T: Copy,
    {
        if self.len == 0 {
            return &mut [];
        }
        (0..self.len).for_each(|index| self.set(index, value));
        // SAFETY: neither null nor misaligned, initialised just now, and nobody else's until the call ends by the
        // promise of `new`.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }

    fn set(self, index: usize, value: T) {
        assert!(index < self.len, "a result too many");
        // SAFETY: neither null nor misaligned, and the index is below `len`; valid for writes by the promise of `new`.
        unsafe { self.start.add(index).write(value) }
    }
}

/// A caller's buffer and the place for the length of what belongs there.
struct Buffer<T> {
    start: *mut T,
    capacity: usize,
    count: Out<usize>,
}

impl<T: Copy> Buffer<T> {
    /// The count is 0 until [`fill`](Buffer::fill): an error leaves no length that a careless caller might believe.
    ///
    /// # Safety
    /// `start` is null or valid for writes of `capacity` elements, `count` as for [`Out::new`].
    unsafe fn new(start: *mut T, capacity: usize, count: *mut usize, name: &str) -> Result<Buffer<T>> {
        // SAFETY: by the caller's promise.
        let count = unsafe { Out::new(count, name)? };
        count.set(0);
        Ok(Buffer { start, capacity, count })
    }

    /// Fails, and sets the count to `needed`, unless so many elements can be written.
    fn check(&self, needed: usize) -> Result<()> {
        if needed > self.capacity {
            self.count.set(needed);
            let message = format_args!("{needed} needed, the buffer has room for {}", self.capacity);
            return Err(Error::new(Status::BufferTooSmall, message));
        }
        if needed > 0 && self.start.is_null() {
            return Err(null("buffer"));
        }
        if needed > 0 && !self.start.is_aligned() {
            return Err(misaligned("buffer"));
        }
        Ok(())
    }

    /// Copies `from` to the buffer, and its length to the count also if it does not fit.
    fn fill(self, from: &[T]) -> Result<Status> {
        self.check(from.len())?;
        if !from.is_empty() {
            // SAFETY: room for `from` by the check above; the caller's buffer does not overlap our memory.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.start, from.len()) };
        }
        self.count.set(from.len());
        Ok(Status::Ok)
    }
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

/// No struct of this API will ever be larger, in bytes.
const LARGEST_STRUCT: usize = 4096;

/// The caller's size of a struct, checked to be one that can be.
///
/// # Safety
/// `place` is valid for reads of a `u32`, and of as many bytes as that says.
unsafe fn size_of_callers<T: Versioned>(place: *const T) -> Result<usize> {
    // SAFETY: by the caller's promise.
    let size = unsafe { place.cast::<u32>().read_unaligned() } as usize;
    if size < T::FIRST {
        let message = format_args!("{}.struct_size is {size}: was it initialised with its _init function?", T::NAME);
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let ours = size_of::<T>();
    if size > ours {
        // A newer caller: fine as long as it uses nothing that we do not know. A size beyond all reason is garbage, and
        // what it promises to be readable is not looked at.
        let unknown = size > LARGEST_STRUCT || {
            // SAFETY: readable for `size` bytes by the caller's promise.
            let rest = unsafe { std::slice::from_raw_parts(place.cast::<u8>().add(ours), size - ours) };
            rest.iter().any(|&byte| byte != 0)
        };
        if unknown {
            let message = format_args!("{} has fields that this library does not know", T::NAME);
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

/// Sets a caller's struct to what it means if the caller says nothing, as far as it went when it had this size. Null is
/// allowed and does nothing.
///
/// # Safety
/// `place` is null or valid for writes of `size` bytes: a `u32` at least, and no more than a `T` has.
unsafe fn init<T: Versioned>(place: *mut T, size: usize) {
    if place.is_null() {
        return;
    }
    let initial = T::initial();
    // SAFETY: by the caller's promise; ours is as large and a copy of its own. It begins with its size.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const initial).cast::<u8>(), place.cast(), size);
        place.cast::<u32>().write_unaligned(size as u32);
    }
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

/// Version of the binary interface: 1, as in the soname. It changes only when a program compiled against an older header
/// would misbehave. Safe from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn rasp_abi_version() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;

    /// A struct that began with `size` and `old`, and has grown by `new`.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown {
        size: u32,
        old: u32,
        new: u64,
    }

    // SAFETY: two u32s and a u64.
    unsafe impl Versioned for Grown {
        const NAME: &'static str = "grown";
        const FIRST: usize = 8;
        fn initial() -> Self {
            Grown { size: 16, old: 1, new: 2 }
        }
    }

    fn read(words: &[u64]) -> Result<Grown> {
        // SAFETY: every test gives as many bytes as its first number says, or a number that is refused unread.
        unsafe { options(words.as_ptr().cast::<Grown>()) }
    }

    fn word(low: u32, high: u32) -> u64 {
        u64::from(low) | u64::from(high) << 32
    }

    #[test]
    fn structs_of_older_and_newer_callers() {
        // SAFETY: null is allowed.
        assert_eq!(unsafe { options::<Grown>(std::ptr::null()) }.unwrap(), Grown::initial());
        // Older: what it does not know has its default.
        assert_eq!(read(&[word(8, 7)]).unwrap(), Grown { size: 8, old: 7, new: 2 });
        assert_eq!(read(&[word(16, 7), 9]).unwrap(), Grown { size: 16, old: 7, new: 9 });
        // Newer: fine while what we do not know is zero.
        assert_eq!(read(&[word(24, 7), 9, 0]).unwrap().new, 9);
        assert!(read(&[word(24, 7), 9, 1 << 63]).unwrap_err().message().contains("does not know"));
        for size in [0, 4, 7, LARGEST_STRUCT as u32 + 1, u32::MAX] {
            assert_eq!(read(&[word(size, 7), 9]).unwrap_err().status(), Status::InvalidArgument, "{size}");
        }
    }

    #[test]
    fn results_reach_as_far_as_the_caller_knows() {
        let value = Grown { size: 16, old: 5, new: 6 };
        for (size, expected) in [(8, [word(8, 5), 77, 0]), (16, [word(16, 5), 6, 0]), (24, [word(24, 5), 6, 0])] {
            let mut words = [word(size, 0), 77, 0];
            // SAFETY: at least `size` bytes.
            unsafe { fill(words.as_mut_ptr().cast::<Grown>(), &value) }.unwrap();
            assert_eq!(words, expected);
        }
    }

    #[test]
    fn lengths_and_addresses_that_cannot_be() {
        let words = [1u32, 2];
        let odd = words.as_ptr().wrapping_byte_add(1);
        // SAFETY: all but the first two are refused before anything is read.
        unsafe {
            assert_eq!(slice(words.as_ptr(), 2, "x").unwrap(), words);
            assert!(slice::<u32>(std::ptr::null(), 0, "x").unwrap().is_empty());
            assert!(slice::<u32>(std::ptr::null(), 1, "x").unwrap_err().message().contains("x is null"));
            assert!(slice(odd, 1, "x").unwrap_err().message().contains("aligned"));
            for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4 + 1] {
                assert!(slice(words.as_ptr(), len, "x").unwrap_err().message().contains("length"), "{len}");
            }
        }
    }

    #[test]
    fn a_buffer_tells_what_it_lacks_and_nothing_else() {
        let mut count = MaybeUninit::<usize>::uninit();
        let mut room = [0u32; 2];
        for (capacity, expected) in [(0, Status::BufferTooSmall), (2, Status::Ok)] {
            // SAFETY: room for `capacity`, and for the count.
            let buffer = unsafe { Buffer::new(room.as_mut_ptr(), capacity, count.as_mut_ptr(), "count") }.unwrap();
            // SAFETY: written by `new`.
            assert_eq!(unsafe { count.assume_init() }, 0);
            let outcome = buffer.fill(&[3, 4]);
            assert_eq!(outcome.unwrap_or_else(|e| e.status()), expected);
            // SAFETY: as above.
            assert_eq!(unsafe { count.assume_init() }, 2);
        }
        assert_eq!(room, [3, 4]);
    }

    #[test]
    fn a_panic_becomes_a_status_with_its_words() {
        let mut error = MaybeUninit::<rasp_error>::uninit();
        // SAFETY: valid for writes; null is allowed.
        let (status, silent) = unsafe {
            (guard(error.as_mut_ptr(), || panic!("two and two is {}", 5)), guard(std::ptr::null_mut(), || panic!()))
        };
        assert_eq!((status, silent), (RASP_ERROR_INTERNAL, RASP_ERROR_INTERNAL));
        // SAFETY: written by the guard.
        let error = unsafe { error.assume_init() };
        // SAFETY: every message ends with a NUL.
        let text = unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_str().unwrap();
        assert!(error.code == RASP_ERROR_INTERNAL && text.ends_with("two and two is 5"), "{text}");
    }
}
