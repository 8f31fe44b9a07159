//! Status codes with frozen values, and the error that carries one with a message.

mod message;

pub use message::Message;

use std::fmt;

/// Outcome of a call, as an integer whose values never change once released.
///
/// Zero and above are successes, below zero are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    /// The call did what it was asked.
    Ok = 0,
    /// A step sampled a token that ends generation; the token is given all the same.
    End = 1,
    /// The budget is spent and the work unfinished: the next call goes on.
    Pending = 2,
    /// A null pointer, a struct size this library does not know, or an option outside its range.
    InvalidArgument = -1,
    /// The operating system refused to open, read or map a file.
    Io = -2,
    /// The bytes are not a well-formed `.rasp` file (or, in the packer, not a well-formed checkpoint).
    BadFile = -3,
    /// The file is of a format version this library does not read.
    UnsupportedVersion = -4,
    /// The architecture, tensor type or tokenizer is none this library knows.
    Unsupported = -5,
    /// A token id, sparsity or index lies outside what the model allows.
    OutOfRange = -6,
    /// The session's context has no room for the tokens.
    ContextFull = -7,
    /// The caller's buffer is too small; the needed size has been written.
    BufferTooSmall = -8,
    /// A NaN or an infinity where a finite number must stand.
    NonFinite = -9,
    /// `cancel` was called.
    Cancelled = -10,
    /// Memory could not be had.
    OutOfMemory = -11,
    /// The call does not fit the session's state (a step before any token was fed, for one).
    InvalidState = -12,
    /// Text that must be UTF-8 is not.
    InvalidUtf8 = -13,
    /// The chat template is missing or failed.
    Template = -14,
    /// A defect of this library, caught before it reached the host.
    Internal = -15,
    /// The bytes are no saved session, or one that is damaged or of another model.
    BadState = -16,
}

impl Status {
    /// Every status, for tables and tests.
    pub const ALL: [Status; 19] = [
        Status::Ok,
        Status::End,
        Status::Pending,
        Status::InvalidArgument,
        Status::Io,
        Status::BadFile,
        Status::UnsupportedVersion,
        Status::Unsupported,
        Status::OutOfRange,
        Status::ContextFull,
        Status::BufferTooSmall,
        Status::NonFinite,
        Status::Cancelled,
        Status::OutOfMemory,
        Status::InvalidState,
        Status::InvalidUtf8,
        Status::Template,
        Status::Internal,
        Status::BadState,
    ];

    /// The frozen integer.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// A short lower-case name, such as `context full`; it ends with a NUL for C.
    pub(crate) const fn name_nul(self) -> &'static str {
        match self {
            Status::Ok => "ok\0",
            Status::End => "end of generation\0",
            Status::Pending => "pending\0",
            Status::InvalidArgument => "invalid argument\0",
            Status::Io => "input/output error\0",
            Status::BadFile => "bad file\0",
            Status::UnsupportedVersion => "unsupported version\0",
            Status::Unsupported => "unsupported\0",
            Status::OutOfRange => "out of range\0",
            Status::ContextFull => "context full\0",
            Status::BufferTooSmall => "buffer too small\0",
            Status::NonFinite => "non-finite number\0",
            Status::Cancelled => "cancelled\0",
            Status::OutOfMemory => "out of memory\0",
            Status::InvalidState => "invalid state\0",
            Status::InvalidUtf8 => "invalid UTF-8\0",
            Status::Template => "chat template error\0",
            Status::Internal => "internal error\0",
            Status::BadState => "bad state\0",
        }
    }

    /// A short lower-case name, such as `context full`.
    pub fn name(self) -> &'static str {
        self.name_nul().trim_end_matches('\0')
    }
}

/// What went wrong and where: a [`Status`] below zero and a sentence for a person. It is made without an allocation, so
/// that it can say that memory is out.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    status: Status,
    message: Message,
}

/// The result of nearly every call of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind; `message` names what was wrong and where. A string, or `format_args!`, which takes
    /// no memory.
    pub fn new(status: Status, message: impl Into<Message>) -> Self {
        Error { status, message: message.into() }
    }

    /// The kind of error.
    pub fn status(&self) -> Status {
        self.status
    }

    /// What was wrong and where.
    pub fn message(&self) -> &str {
        self.message.as_str()
    }

    /// The same error, with where it happened put before it: `context: message`.
    pub fn context(self, context: impl fmt::Display) -> Self {
        Error { status: self.status, message: format_args!("{context}: {}", self.message()).into() }
    }

    /// Memory for `what` could not be had.
    pub(crate) fn out_of_memory(what: &str) -> Self {
        Error::new(Status::OutOfMemory, format_args!("no memory for {what}"))
    }
}

/// What is wrong with a file, or with a tensor or metadata of it.
pub(crate) fn bad_file(message: impl Into<Message>) -> Error {
    Error::new(Status::BadFile, message)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.name(), self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("status", &self.status).field("message", &self.message()).finish()
    }
}

impl std::error::Error for Error {}
