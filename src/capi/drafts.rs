//! Drafts: what the next tokens are guessed by.

use super::handle::{rasp_session, with_session};
use super::*;
use crate::session::{DraftOptions, MAX_DRAFTS};

/// The most drafts of a pass.
pub const RASP_DRAFTS_MAX: u32 = 7;
const _: () = assert!(RASP_DRAFTS_MAX as usize == MAX_DRAFTS);
/// rasp_session_set_drafts: what stood after the longest earlier match of the last tokens, in the context and in the
/// text that is given.
pub const RASP_DRAFTS_LOOKUP: u32 = 1;
/// rasp_session_set_drafts: what the session's constraint leaves no choice of, such as keys and punctuation in JSON.
pub const RASP_DRAFTS_FORCED: u32 = 2;
/// rasp_session_set_drafts: what the model itself says at a sparser level of its file, where neither of the others
/// promises more. Unlike theirs these drafts take passes; they pay in files of 16 bits whose sessions are dense.
pub const RASP_DRAFTS_SELF: u32 = 4;

/// Sets what the next tokens are guessed by from now on, and how many at a time. A session that was opened with room
/// for drafts begins with RASP_DRAFTS_LOOKUP, RASP_DRAFTS_FORCED and as many as there is room for.
///
/// Drafts pass along with the token in hand, and while they are right a step only samples: tokens, logits and random
/// numbers are those without drafts, to the bit, but a long step is followed by short ones. How many pass is decided by
/// how often they have been right, never by time; none do where they do not pay, and with a deadline
/// (rasp_session_set_deadline).
///
/// kinds: RASP_DRAFTS_ bits, 0 for none. most: drafts of a pass, no more than rasp_session_options.drafts. tokens:
/// count tokens of a text that answers may quote (a file that is being edited, a log, the fixed parts of an answer),
/// looked into beside the context; it is copied, in 12 to 16 bytes a token that are no part of the session's plan, and
/// takes the place of the one before.
///
/// Allocates if count is not 0. On an error what was set before stays. Errors: OUT_OF_RANGE (more drafts than there is
/// room for, or an id that is none), OUT_OF_MEMORY, INVALID_ARGUMENT, INVALID_STATE.
///
/// # Safety
/// session is NULL or open; tokens is NULL or valid for reads of count ids; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_drafts(
    session: *mut rasp_session,
    kinds: u32,
    most: u32,
    tokens: *const u32,
    count: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let kinds = text::flags(kinds, RASP_DRAFTS_LOOKUP | RASP_DRAFTS_FORCED | RASP_DRAFTS_SELF)?;
            let options = DraftOptions {
                lookup: kinds & RASP_DRAFTS_LOOKUP != 0,
                forced: kinds & RASP_DRAFTS_FORCED != 0,
                own: kinds & RASP_DRAFTS_SELF != 0,
                most: most as usize,
            };
            let tokens = slice(tokens, count, "tokens")?;
            with_session(session, |session| session.set_drafts(options, tokens))?;
            Ok(Status::Ok)
        })
    }
}
