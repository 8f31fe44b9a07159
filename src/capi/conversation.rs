//! Chats that are a session's own: each turn is given whole, and what the session holds of it does not pass again.

use super::chat::{chat_tokens, rasp_chat_message, rasp_chat_options};
use super::handle::{rasp_session, with_session};
use super::*;
use crate::session::Session;

/// Gives the session a conversation, and the caller how much of it stayed.
///
/// # Safety
/// As for [`rasp_chat_prefill`].
unsafe fn prefill(
    session: *mut rasp_session,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
    kept: *mut usize,
    pass: impl FnOnce(&mut Session, &[u32]) -> Result<usize>,
) -> Result<Status> {
    // SAFETY: by the caller's promise.
    let kept = if kept.is_null() { None } else { Some(unsafe { Out::new(kept, "kept") }?) };
    // SAFETY: as above.
    let stayed = unsafe {
        with_session(session, |session| {
            let tokens = chat_tokens(session.model(), messages, count, options)?;
            pass(session, &tokens)
        })
    }?;
    if let Some(kept) = kept {
        kept.set(stayed);
    }
    Ok(Status::Ok)
}

/// Makes the session hold a conversation, all of it, up to where the assistant speaks next: count messages in the
/// model's own chat format, tokens as rasp_chat_tokenize makes them. The longest beginning that the session holds
/// already stays and does not pass again; what it holds beyond that is forgotten (an answer that is to be made anew, a
/// message that was changed), and the rest passes as by rasp_prefill. So a host gives all messages each turn, and each
/// token passes once. *kept, if it is not NULL, gets the number of tokens that stayed.
///
/// Answers come back as text, which might be cut into other tokens than those that were sampled: the session keeps its
/// own as long as the text is the same, as they passed, at the sparsity that they were sampled at. So give answers back
/// as they came. (Templates that leave out what was thought, or trim what was said, end what stays there.) Settings
/// stay: sparsity, sampling, adapters; a constraint and stop strings are about the answer that comes next.
///
/// Allocates for the text and its tokens. Errors: TEMPLATE, INVALID_UTF8, INVALID_ARGUMENT, OUT_OF_MEMORY, CONTEXT_FULL
/// (there is no room: leave out old messages), and nothing has changed; those of rasp_prefill, CANCELLED for one, and
/// the session holds what stayed.
///
/// # Safety
/// session is NULL or open; messages is NULL or valid for reads of count messages, whose texts are NULL or valid for
/// reads of their lengths; options is NULL or valid, as its text is; kept and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_chat_prefill(
    session: *mut rasp_session,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
    kept: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe { guard(error, || prefill(session, messages, count, options, kept, Session::prefill_whole)) }
}

/// The same without computing anything yet: rasp_prefill_within and rasp_step_within do, as after rasp_prefill_begin.
/// Where all of it stays there is nothing to compute, and rasp_step_within may follow at once.
///
/// Allocates for the text and its tokens. Errors: as rasp_chat_prefill.
///
/// # Safety
/// As for rasp_chat_prefill.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_chat_prefill_begin(
    session: *mut rasp_session,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
    kept: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe { guard(error, || prefill(session, messages, count, options, kept, Session::prefill_whole_begin)) }
}

/// Tells which tokens a session holds, one that was sampled last included: at most capacity ids are written to tokens,
/// and their number always to *found.
///
/// Does not allocate. Errors: BUFFER_TOO_SMALL (nothing is written but *found), INVALID_ARGUMENT, INVALID_STATE.
///
/// # Safety
/// session is NULL or open; tokens is NULL or valid for writes of capacity ids; found and error are NULL or valid for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_tokens(
    session: *mut rasp_session,
    tokens: *mut u32,
    capacity: usize,
    found: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let found = Buffer::new(tokens, capacity, found, "found")?;
            with_session(session, |session| found.fill(session.tokens()))
        })
    }
}
