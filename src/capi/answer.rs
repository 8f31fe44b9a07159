//! An answer as text: whole characters, stop strings, and why it ended.

use super::handle::with_session;
use super::*;
use crate::session::{Ended, Session, TextStep};
use crate::text::{MAX_STOP_BYTES, MAX_STOPS, MAX_TEXT_BYTES, Shown};
use std::time::Duration;

/// The most stop strings that rasp_session_set_stop takes.
pub const RASP_STOP_MAX: usize = 16;
const _: () = assert!(RASP_STOP_MAX == MAX_STOPS);

/// The most bytes they can have together.
pub const RASP_STOP_MAX_BYTES: usize = 1024;
const _: () = assert!(RASP_STOP_MAX_BYTES == MAX_STOP_BYTES);

/// Bytes of text that one call of rasp_step_text or rasp_finish_text may need.
pub const RASP_STEP_TEXT_SIZE: usize = 4160;
const _: () = assert!(RASP_STEP_TEXT_SIZE >= MAX_TEXT_BYTES);

/// rasp_step_text: special tokens, such as <|im_end|>, are text as well.
pub const RASP_TEXT_SHOW_SPECIAL: u32 = 1;
/// rasp_step_text: of special tokens those are text that mark calls of tools and reasoning, for rasp_reply_push.
pub const RASP_TEXT_SHOW_MARKS: u32 = 2;

/// The answer goes on.
pub const RASP_ENDED_NOT: u32 = 0;
/// The model ended the answer.
pub const RASP_ENDED_TOKEN: u32 = 1;
/// A stop string was completed.
pub const RASP_ENDED_STOP: u32 = 2;
/// The context has no room for another token.
pub const RASP_ENDED_CONTEXT: u32 = 3;

/// Sets the strings that end an answer of rasp_step_text from now on: count of them, UTF-8, NUL-terminated, none of them
/// empty. They replace what was set before, and a count of 0 clears it. What was held back is forgotten.
///
/// A string is looked for in the text of the answer, wherever its tokens cut it, not in the prompt. The name of a special
/// token is no text unless rasp_step_text shows it; those that end a turn end an answer anyway.
///
/// The strings are copied. Does not allocate. On an error the old ones stay. Errors: OUT_OF_RANGE (more than RASP_STOP_MAX
/// or RASP_STOP_MAX_BYTES), INVALID_UTF8, INVALID_ARGUMENT, INVALID_STATE.
///
/// # Safety
/// session is NULL or open; strings is NULL or valid for reads of count pointers, each NULL or to a NUL-terminated string;
/// error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_stop(
    session: *mut rasp_session,
    strings: *const *const c_char,
    count: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let strings = slice(strings, count, "strings")?;
            let mut stops = [""; MAX_STOPS];
            if strings.len() > stops.len() {
                let message = format_args!("{count} stop strings; a session takes {MAX_STOPS}");
                return Err(Error::new(Status::OutOfRange, message));
            }
            for (stop, &string) in stops.iter_mut().zip(strings) {
                *stop = c_text(string, "a stop string")?;
            }
            with_session(session, |session| session.set_stops(stops[..count].iter().copied()))?;
            Ok(Status::Ok)
        })
    }
}

/// A caller's buffer of at least RASP_STEP_TEXT_SIZE bytes, filled piece by piece.
struct TextOut {
    start: *mut u8,
    written: usize,
    length: Out<usize>,
}

impl TextOut {
    /// # Safety
    /// `text` is null or valid for writes of `capacity` bytes, `length` as for [`Out::new`].
    unsafe fn new(text: *mut c_char, capacity: usize, length: *mut usize) -> Result<TextOut> {
        // SAFETY: by the caller's promise.
        let length = unsafe { Out::new(length, "length")? };
        length.set(0);
        if text.is_null() {
            return Err(null("text"));
        }
        if capacity < RASP_STEP_TEXT_SIZE {
            length.set(RASP_STEP_TEXT_SIZE);
            let message =
                format_args!("the buffer has {capacity} bytes; it takes RASP_STEP_TEXT_SIZE, {RASP_STEP_TEXT_SIZE}");
            return Err(Error::new(Status::BufferTooSmall, message));
        }
        Ok(TextOut { start: text.cast(), written: 0, length })
    }

    fn push(&mut self, bytes: &[u8]) {
        // All pieces of a call fit: MAX_TEXT_BYTES is what there can be. Cut, so that memory is safe even if not.
        let bytes = &bytes[..bytes.len().min(RASP_STEP_TEXT_SIZE - self.written)];
        // SAFETY: within the RASP_STEP_TEXT_SIZE bytes that `new` was promised; ours and the caller's do not overlap.
        unsafe { self.start.add(self.written).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.written += bytes.len();
    }

    fn done(self) {
        self.length.set(self.written);
    }
}

/// Samples the next token of an answer as rasp_step does, and writes the text that can be shown now to text, without a
/// NUL, and its length to *length: whole characters of UTF-8 (what is none comes out as U+FFFD), nothing of a stop string
/// and nothing that can still become part of one, special tokens only with RASP_TEXT_SHOW_SPECIAL or _MARKS. It is often no text at
/// all. An answer begins after rasp_prefill or rasp_session_reset.
///
/// RASP_END at the end of the answer, which may come with its last text: what was held back is written then, but a stop
/// string and what followed it are not. *ended says why: one of RASP_ENDED_; ended may be NULL. A full context is such an
/// end here and no error. To end an answer yourself, after so many tokens for one, call rasp_finish_text.
///
/// A chat's loop:
///
/// ```c
/// do {
///     status = rasp_step_text(session, 0, text, sizeof text, &length, NULL, &error);
///     fwrite(text, 1, length, stdout);
/// } while (status == RASP_OK);
/// ```
///
/// Does not allocate. On an error *length is 0, nothing has been appended and what is held back stays. Errors:
/// BUFFER_TOO_SMALL (capacity is less than RASP_STEP_TEXT_SIZE; *length is then that), and those of rasp_step but for
/// CONTEXT_FULL.
///
/// # Safety
/// session is NULL or open; text is NULL or valid for writes of capacity bytes; ended is NULL, or it, length and error are
/// NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_step_text(
    session: *mut rasp_session,
    flags: u32,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    ended: *mut u32,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe { guard(error, || step_text(session, None, flags, text, capacity, length, ended)) }
}

/// As much of rasp_step_text as budget_ns nanoseconds allow, as for rasp_step_within: RASP_PENDING (a success) if the token is
/// not there yet; *length is then 0, *ended RASP_ENDED_NOT, and the next call goes on. Else RASP_OK or RASP_END. What is left
/// of a prompt that rasp_prefill_begin began passes first. The text is that of rasp_step_text, however it is cut. A game
/// whose characters speak calls it once a frame.
///
/// While it is pending the session takes this call and those that rasp_step_within names; a token that one of them finishes
/// is not part of the text. Does not allocate. Errors as for rasp_step_text.
///
/// # Safety
/// As for rasp_step_text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_step_text_within(
    session: *mut rasp_session,
    budget_ns: u64,
    flags: u32,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    ended: *mut u32,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe { guard(error, || step_text(session, Some(budget_ns), flags, text, capacity, length, ended)) }
}

/// # Safety
/// As for [`rasp_step_text`].
unsafe fn step_text(
    session: *mut rasp_session,
    budget_ns: Option<u64>,
    flags: u32,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    ended: *mut u32,
) -> Result<Status> {
    // SAFETY: by the caller's promise.
    let mut out = unsafe { TextOut::new(text, capacity, length)? };
    // SAFETY: as above.
    let place = if ended.is_null() { None } else { Some(unsafe { Out::new(ended, "ended")? }) };
    let set_ended = |value| place.iter().for_each(|place| place.set(value));
    set_ended(RASP_ENDED_NOT);
    let flags = self::text::flags(flags, RASP_TEXT_SHOW_SPECIAL | RASP_TEXT_SHOW_MARKS)?;
    let shown = match flags & RASP_TEXT_SHOW_SPECIAL {
        0 if flags & RASP_TEXT_SHOW_MARKS != 0 => Shown::Marks,
        0 => Shown::Text,
        _ => Shown::Special,
    };
    let step = |session: &mut Session| {
        let sink = |bytes: &[u8]| out.push(bytes);
        match budget_ns {
            None => Ok(session.step_text(shown, sink)?.map_or(TextStep::GoesOn, TextStep::Ended)),
            Some(ns) => session.step_text_within(Duration::from_nanos(ns), shown, sink),
        }
    };
    // SAFETY: as above.
    let found = unsafe { with_session(session, step)? };
    out.done();
    Ok(match found {
        TextStep::Pending => Status::Pending,
        TextStep::GoesOn => Status::Ok,
        TextStep::Ended(why) => {
            set_ended(match why {
                Ended::Token => RASP_ENDED_TOKEN,
                Ended::Stop => RASP_ENDED_STOP,
                Ended::Context => RASP_ENDED_CONTEXT,
            });
            Status::End
        }
    })
}

/// Writes the text that rasp_step_text holds back to text, without a NUL, and its length to *length: for a host that ends
/// an answer before the model does. Nothing is held back afterwards.
///
/// Does not allocate. Errors: BUFFER_TOO_SMALL (capacity is less than RASP_STEP_TEXT_SIZE; *length is then that),
/// INVALID_ARGUMENT, INVALID_STATE.
///
/// # Safety
/// session is NULL or open; text is NULL or valid for writes of capacity bytes; length and error are NULL or valid for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_finish_text(
    session: *mut rasp_session,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let mut out = TextOut::new(text, capacity, length)?;
            with_session(session, |session| {
                session.finish_text(|bytes| out.push(bytes));
                Ok(())
            })?;
            out.done();
            Ok(Status::Ok)
        })
    }
}
