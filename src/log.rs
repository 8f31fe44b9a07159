//! What a model tells its host about itself, through the host's function and nowhere else.

use std::ffi::{c_char, c_void};
use std::fmt::{self, Write};

/// How much a message matters; a lower one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum LogLevel {
    /// A load failed; the message is the error's.
    Error = 1,
    /// Something works, but not as well as it could.
    Warning = 2,
    /// What was chosen and found at load.
    Info = 3,
    /// Sessions coming and going.
    Debug = 4,
}

impl LogLevel {
    /// All of them.
    pub const ALL: [LogLevel; 4] = [LogLevel::Error, LogLevel::Warning, LogLevel::Info, LogLevel::Debug];
}

/// Hears a message: `(context, level, message)`, the message UTF-8 and NUL-terminated, valid during the call.
pub type LogFunction = unsafe extern "C" fn(*mut c_void, u32, *const c_char);

/// Bytes of a message at most, its NUL included; a longer one is cut.
const LONGEST: usize = 512;

/// A function of the host's that hears of what happens to a model and its sessions.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    level: LogLevel,
    function: LogFunction,
    context: *mut c_void,
}

// SAFETY: the context is only handed to the function, which may be called on any thread (the promise of `new`).
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

impl Log {
    /// A log of messages up to `level`.
    ///
    /// # Safety
    /// Until the model that is loaded with it and all its sessions are gone, `function` can be called with `context` on
    /// any thread, on several at once, and returns without unwinding.
    pub unsafe fn new(level: LogLevel, function: LogFunction, context: *mut c_void) -> Log {
        Log { level, function, context }
    }

    /// Does not allocate: the message is made on the stack.
    pub(crate) fn tell(&self, level: LogLevel, message: fmt::Arguments<'_>) {
        if level > self.level {
            return;
        }
        let mut line = LogLine { bytes: [0; LONGEST], len: 0 };
        // Fails where the line is full, which is where it is cut.
        let _ = line.write_fmt(message);
        // What the host's function allocates is not for the end of a load to take back.
        // SAFETY: the last byte stays zero; the rest is the promise of `new`.
        crate::reserve::outside(|| unsafe { (self.function)(self.context, level as u32, line.bytes.as_ptr().cast()) });
    }
}

struct LogLine {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Write for LogLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.floor_char_boundary(LONGEST - 1 - self.len);
        for (to, &from) in self.bytes[self.len..].iter_mut().zip(&text.as_bytes()[..end]) {
            // A NUL inside would hide the rest.
            *to = if from == 0 { b' ' } else { from };
        }
        self.len += end;
        if end == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    unsafe extern "C" fn remember(context: *mut c_void, level: u32, message: *const c_char) {
        // SAFETY: the test's vector, and a message.
        let (heard, text) = unsafe { (&mut *context.cast::<Vec<(u32, String)>>(), CStr::from_ptr(message)) };
        heard.push((level, text.to_str().unwrap().into()));
    }

    #[test]
    fn messages_up_to_the_level_are_told_and_long_ones_cut_at_a_character() {
        let mut heard: Vec<(u32, String)> = Vec::new();
        // SAFETY: called here alone.
        let log = unsafe { Log::new(LogLevel::Info, remember, (&raw mut heard).cast()) };
        log.tell(LogLevel::Debug, format_args!("unheard"));
        log.tell(LogLevel::Info, format_args!("{} and\0{}", 1, 2));
        log.tell(LogLevel::Error, format_args!("x{}{}", "ä".repeat(300), "y"));
        assert_eq!(heard, [(3, "1 and 2".to_string()), (1, format!("x{}", "ä".repeat(255)))]);
    }
}
