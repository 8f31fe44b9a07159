//! Text to tokens and back.

use super::*;
use crate::text::{EncodeOptions, Utf8Stream};

/// rasp_tokenize: add what the model expects at the beginning and end of a text (such as a BOS token).
pub const RASP_TOKENIZE_ADD_SPECIAL: u32 = 1;
/// rasp_tokenize: recognise special tokens such as <|im_start|> in the text. Leave it out for text from strangers.
pub const RASP_TOKENIZE_PARSE_SPECIAL: u32 = 2;
/// rasp_detokenize: leave special tokens out.
pub const RASP_DETOKENIZE_SKIP_SPECIAL: u32 = 1;

/// The most bytes rasp_text_stream_push writes for a token of n bytes is 3 * n + RASP_TEXT_STREAM_EXTRA.
pub const RASP_TEXT_STREAM_EXTRA: usize = 9;

/// Puts the bytes of tokens together into whole UTF-8 characters. A plain struct of the caller: set it to zeros before
/// the first push; there is nothing to free.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct rasp_text_stream {
    /// The start of a character; do not touch.
    pub pending: [u8; 3],
    /// How many bytes wait; do not touch.
    pub length: u8,
}

pub(super) fn flags(given: u32, known: u32) -> Result<u32> {
    match given & !known {
        0 => Ok(given),
        unknown => Err(Error::new(Status::InvalidArgument, format_args!("unknown flags {unknown:#x}"))),
    }
}

/// Turns length bytes of UTF-8 text into tokens: at most capacity of them are written to tokens, and their number always
/// to *count, so that a first call with capacity 0 tells how many there are. flags: RASP_TOKENIZE_ bits. No text is no
/// tokens.
///
/// Allocates. Safe from any thread. Errors: BUFFER_TOO_SMALL (nothing is written but *count), INVALID_UTF8,
/// INVALID_ARGUMENT.
///
/// # Safety
/// model is NULL or alive; text is NULL or valid for reads of length bytes; tokens is NULL or valid for writes of
/// capacity ids; count and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_tokenize(
    model: *const rasp_model,
    text: *const c_char,
    length: usize,
    flags: u32,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let found = Buffer::new(tokens, capacity, count, "count")?;
            let model = super::model::model(model)?;
            let flags = self::flags(flags, RASP_TOKENIZE_ADD_SPECIAL | RASP_TOKENIZE_PARSE_SPECIAL)?;
            let options = EncodeOptions {
                add_special: flags & RASP_TOKENIZE_ADD_SPECIAL != 0,
                parse_special: flags & RASP_TOKENIZE_PARSE_SPECIAL != 0,
            };
            let mut ids = Vec::new();
            model.tokenizer().encode(super::text(text, length, "text")?, options, &mut ids)?;
            found.fill(&ids)
        })
    }
}

/// Turns count tokens into bytes: at most capacity of them are written to text, without a NUL, and their number always to
/// *length. The bytes of tokens that came from rasp_tokenize are the text's; those of generated tokens may end inside a
/// character (see rasp_text_stream). flags: RASP_DETOKENIZE_ bits.
///
/// Allocates. Safe from any thread. Errors: BUFFER_TOO_SMALL (nothing is written but *length), OUT_OF_RANGE,
/// INVALID_ARGUMENT.
///
/// # Safety
/// model is NULL or alive; tokens is NULL or valid for reads of count ids; text is NULL or valid for writes of capacity
/// bytes; length and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_detokenize(
    model: *const rasp_model,
    tokens: *const u32,
    count: usize,
    flags: u32,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let found = Buffer::new(text.cast(), capacity, length, "length")?;
            let model = super::model::model(model)?;
            let skip = self::flags(flags, RASP_DETOKENIZE_SKIP_SPECIAL)? != 0;
            let bytes = model.tokenizer().decode(slice(tokens, count, "tokens")?, skip)?;
            found.fill(&bytes)
        })
    }
}

pub(super) fn token_range(token: u32, vocab: usize) -> Error {
    Error::new(Status::OutOfRange, format_args!("token id {token}; the vocabulary has {vocab}"))
}

/// The bytes of one token: *bytes points to *length of them, without a NUL, valid while the model lives. Does not
/// allocate. Safe from any thread. Errors: OUT_OF_RANGE, INVALID_ARGUMENT.
///
/// # Safety
/// model is NULL or alive; bytes, length and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_token_bytes(
    model: *const rasp_model,
    token: u32,
    bytes: *mut *const u8,
    length: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let (bytes, length) = (Out::new(bytes, "bytes")?, Out::new(length, "length")?);
            bytes.set(std::ptr::null());
            length.set(0);
            let tokenizer = super::model::model(model)?.tokenizer();
            let found = tokenizer.token_bytes(token);
            let found = found.ok_or_else(|| token_range(token, tokenizer.vocab_size()))?;
            bytes.set(found.as_ptr());
            length.set(found.len());
            Ok(Status::Ok)
        })
    }
}

/// 1 if the token ends generation (end of text, end of turn), else 0; also 0 for a NULL model or an id that is none. Does
/// not allocate. Safe from any thread.
///
/// # Safety
/// model is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_token_is_end(model: *const rasp_model, token: u32) -> i32 {
    // SAFETY: by the caller's promise.
    let found = quietly(|| unsafe { super::model::model(model) }.is_ok_and(|m| m.tokenizer().is_end(token)));
    i32::from(found.unwrap_or(false))
}

/// 1 if the token is special (not part of plain text), else 0; also 0 for a NULL model or an id that is none. Does not
/// allocate. Safe from any thread.
///
/// # Safety
/// model is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_token_is_special(model: *const rasp_model, token: u32) -> i32 {
    // SAFETY: by the caller's promise.
    let found = quietly(|| unsafe { super::model::model(model) }.is_ok_and(|m| m.tokenizer().is_special(token)));
    i32::from(found.unwrap_or(false))
}

/// Appends the bytes of a token to a stream and writes the characters that are now whole to text, without a NUL, and
/// their length to *length. Bytes that can still become a character wait in the stream; invalid ones come out as U+FFFD.
/// Pass zero bytes (NULL, 0) at the end of a text for what still waits: it is no whole character, and comes out as
/// U+FFFD.
///
/// Does not allocate. Errors: BUFFER_TOO_SMALL if capacity is less than 3 * n + RASP_TEXT_STREAM_EXTRA (nothing
/// happens), INVALID_ARGUMENT.
///
/// # Safety
/// stream is NULL or valid; bytes is NULL or valid for reads of n bytes; text is NULL or valid for writes of capacity
/// bytes; length and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_text_stream_push(
    stream: *mut rasp_text_stream,
    bytes: *const u8,
    n: usize,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let length = Out::new(length, "length")?;
            length.set(0);
            let place = Out::new(stream, "stream")?;
            let state = stream.read();
            let bytes = slice(bytes, n, "bytes")?;
            let needed = n.saturating_mul(3).saturating_add(RASP_TEXT_STREAM_EXTRA);
            if capacity < needed {
                length.set(needed);
                let message = format_args!("the buffer has {capacity} bytes; {n} bytes may need {needed}");
                return Err(Error::new(Status::BufferTooSmall, message));
            }
            if text.is_null() {
                return Err(null("text"));
            }
            let mut stream = Utf8Stream::new();
            let waiting = usize::from(state.length).min(state.pending.len());
            let mut written = 0;
            let mut sink = |piece: &str| {
                // Three bytes out for each one in, and three each for up to three that waited, fit by the check above.
                let room = capacity - written;
                let piece = &piece.as_bytes()[..piece.len().min(room)];
                text.add(written).cast::<u8>().copy_from_nonoverlapping(piece.as_ptr(), piece.len());
                written += piece.len();
            };
            stream.push(&state.pending[..waiting], &mut sink);
            match bytes {
                [] => stream.finish(&mut sink),
                bytes => stream.push(bytes, &mut sink),
            }
            let pending = stream.pending();
            let mut state = rasp_text_stream { length: pending.len().min(3) as u8, ..Default::default() };
            state.pending[..usize::from(state.length)].copy_from_slice(&pending[..usize::from(state.length)]);
            place.set(state);
            length.set(written);
            Ok(Status::Ok)
        })
    }
}
