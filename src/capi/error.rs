//! Statuses and the caller's error struct.

use crate::{Error, Status};
use std::ffi::c_char;

/// Outcome of a call: one of the RASP_ constants. Zero and above are successes, below zero are errors. Values never
/// change.
pub type rasp_status = i32;

/// The call did what it was asked.
pub const RASP_OK: rasp_status = 0;
/// rasp_step sampled a token that ends generation; the token is given all the same.
pub const RASP_END: rasp_status = 1;
/// The budget is spent and the work unfinished: the next call goes on with it.
pub const RASP_PENDING: rasp_status = 2;
/// A null pointer, a struct_size this library does not know, or an option outside its range.
pub const RASP_ERROR_INVALID_ARGUMENT: rasp_status = -1;
/// The operating system refused to open, read or map a file.
pub const RASP_ERROR_IO: rasp_status = -2;
/// The bytes are not a well-formed .rasp file.
pub const RASP_ERROR_BAD_FILE: rasp_status = -3;
/// The file is of a format version this library does not read.
pub const RASP_ERROR_UNSUPPORTED_VERSION: rasp_status = -4;
/// The architecture, tensor type or tokenizer is none this library knows.
pub const RASP_ERROR_UNSUPPORTED: rasp_status = -5;
/// A token id, sparsity or size lies outside what the model allows.
pub const RASP_ERROR_OUT_OF_RANGE: rasp_status = -6;
/// The session's context has no room for the tokens.
pub const RASP_ERROR_CONTEXT_FULL: rasp_status = -7;
/// The caller's buffer is too small; the needed size has been written.
pub const RASP_ERROR_BUFFER_TOO_SMALL: rasp_status = -8;
/// A NaN or an infinity where a finite number must stand.
pub const RASP_ERROR_NON_FINITE: rasp_status = -9;
/// rasp_cancel was called.
pub const RASP_ERROR_CANCELLED: rasp_status = -10;
/// Memory could not be had.
pub const RASP_ERROR_OUT_OF_MEMORY: rasp_status = -11;
/// The call does not fit the session's state: a step before any token was fed, or a session in use by another thread.
pub const RASP_ERROR_INVALID_STATE: rasp_status = -12;
/// Text that must be UTF-8 is not.
pub const RASP_ERROR_INVALID_UTF8: rasp_status = -13;
/// The chat template is missing or failed.
pub const RASP_ERROR_TEMPLATE: rasp_status = -14;
/// A defect of this library, caught before it reached the host.
pub const RASP_ERROR_INTERNAL: rasp_status = -15;
/// The bytes are no saved session, or one that is damaged or of another model.
pub const RASP_ERROR_BAD_STATE: rasp_status = -16;

/// Bytes of the message of a rasp_error, the final NUL included.
pub const RASP_ERROR_MESSAGE_SIZE: usize = 252;

/// Details of an error, in memory of the caller. Functions that take a rasp_error accept NULL, and write it only when
/// they fail.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_error {
    /// The status that was returned.
    pub code: rasp_status,
    /// What was wrong and where: UTF-8, NUL-terminated, cut at a character if it was longer.
    pub message: [c_char; RASP_ERROR_MESSAGE_SIZE],
}

impl rasp_error {
    pub(super) fn new(error: &Error) -> rasp_error {
        let mut message = [0; RASP_ERROR_MESSAGE_SIZE];
        let text = error.message();
        let end = text.floor_char_boundary(RASP_ERROR_MESSAGE_SIZE - 1);
        for (to, &from) in message.iter_mut().zip(&text.as_bytes()[..end]) {
            // A NUL inside would hide the rest.
            *to = if from == 0 { b' ' as c_char } else { from as c_char };
        }
        rasp_error { code: error.status().code(), message }
    }
}

/// A short name of a status, such as "context full". A static string; never null, also for an unknown status. Safe from
/// any thread.
#[unsafe(no_mangle)]
pub extern "C" fn rasp_status_name(status: rasp_status) -> *const c_char {
    let known = Status::ALL.into_iter().find(|s| s.code() == status);
    known.map_or("unknown status\0", Status::name_nul).as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn codes_and_constants_agree() {
        let constants = [
            RASP_OK,
            RASP_END,
            RASP_PENDING,
            RASP_ERROR_INVALID_ARGUMENT,
            RASP_ERROR_IO,
            RASP_ERROR_BAD_FILE,
            RASP_ERROR_UNSUPPORTED_VERSION,
            RASP_ERROR_UNSUPPORTED,
            RASP_ERROR_OUT_OF_RANGE,
            RASP_ERROR_CONTEXT_FULL,
            RASP_ERROR_BUFFER_TOO_SMALL,
            RASP_ERROR_NON_FINITE,
            RASP_ERROR_CANCELLED,
            RASP_ERROR_OUT_OF_MEMORY,
            RASP_ERROR_INVALID_STATE,
            RASP_ERROR_INVALID_UTF8,
            RASP_ERROR_TEMPLATE,
            RASP_ERROR_INTERNAL,
            RASP_ERROR_BAD_STATE,
        ];
        assert_eq!(Status::ALL.map(Status::code), constants);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let error = rasp_error::new(&Error::new(Status::Io, "ä".repeat(300)));
        // SAFETY: `new` leaves the last byte zero.
        let text = unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_str().unwrap();
        assert_eq!(text, "ä".repeat(125));
        assert_eq!(error.code, RASP_ERROR_IO);
    }
}
