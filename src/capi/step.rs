//! Prompt in, tokens out: the calls that compute.

use super::handle::with_session;
use super::*;
use crate::session::Session;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Appends count prompt tokens, densely. Afterwards the logits are those after the last one. On an error nothing has
/// been appended. Does not allocate. Errors: CONTEXT_FULL, OUT_OF_RANGE, INVALID_ARGUMENT (no tokens), CANCELLED,
/// NON_FINITE, INVALID_STATE.
///
/// # Safety
/// session is NULL or open; tokens is NULL or valid for reads of count ids; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_prefill(
    session: *mut rasp_session,
    tokens: *const u32,
    count: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let tokens = slice(tokens, count, "tokens")?;
            with_session(session, |session| session.prefill(tokens))?;
            Ok(Status::Ok)
        })
    }
}

/// Appends count prompt tokens, which are copied, without computing anything yet. rasp_prefill_within does that, a part at
/// a time, or rasp_step_within, or rasp_step. Until the prompt has passed the session is pending: other calls return
/// INVALID_STATE, but for rasp_cancel (which makes the next call take the prompt back), rasp_session_reset,
/// rasp_session_get_stats, rasp_session_clear_stats and rasp_session_close. Does not allocate. Errors: CONTEXT_FULL,
/// OUT_OF_RANGE, INVALID_ARGUMENT (no tokens), INVALID_STATE.
///
/// # Safety
/// session is NULL or open; tokens is NULL or valid for reads of count ids; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_prefill_begin(
    session: *mut rasp_session,
    tokens: *const u32,
    count: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let tokens = slice(tokens, count, "tokens")?;
            with_session(session, |session| session.prefill_begin(tokens))?;
            Ok(Status::Ok)
        })
    }
}

/// Goes on with the prompt of rasp_prefill_begin for about budget_ns nanoseconds. RASP_OK once all of it has passed (the
/// logits are then those after it), RASP_PENDING (a success) before. One unit of work is done in any case, and none
/// begins after the budget is spent; a unit reads about 1 MiB of weights or takes 8 million multiply-adds, 0.1 to 0.3 ms
/// on a desktop CPU. So 0 is one unit. The clock changes nothing but where the work is cut. On an error the whole prompt
/// is taken back. Does not allocate. Errors: INVALID_STATE (no prompt is under way), CANCELLED, NON_FINITE,
/// INVALID_ARGUMENT.
///
/// # Safety
/// session is NULL or open; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_prefill_within(
    session: *mut rasp_session,
    budget_ns: u64,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let done = with_session(session, |session| session.prefill_within(Duration::from_nanos(budget_ns)))?;
            Ok(if done { Status::Ok } else { Status::Pending })
        })
    }
}

/// What a step that sampled this token returns.
fn status_of(session: &Session, token: u32) -> Status {
    if session.model().tokenizer().is_end(token) { Status::End } else { Status::Ok }
}

/// Samples the next token, appends it and writes it to *token. RASP_END (a success) if it ends generation. The token
/// before it, if it was sampled too, passes through the model first, at the session's sparsity; so the first step after
/// a prompt is quick. What an earlier call left pending is finished. On an error nothing has been appended. Does not
/// allocate. Errors: CONTEXT_FULL, INVALID_STATE (no prompt yet), CANCELLED, NON_FINITE, INVALID_ARGUMENT.
///
/// # Safety
/// session is NULL or open; token and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_step(session: *mut rasp_session, token: *mut u32, error: *mut rasp_error) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let place = Out::new(token, "token")?;
            with_session(session, |session| {
                let token = session.step()?;
                place.set(token);
                Ok(status_of(session, token))
            })
        })
    }
}

/// As much of rasp_step as budget_ns nanoseconds allow, as for rasp_prefill_within: RASP_PENDING (a success) if the token
/// is not there yet, *token is then left alone and the next call goes on; else RASP_OK or RASP_END. What is left of a
/// prompt that rasp_prefill_begin began passes first. The tokens are those of rasp_step, bit for bit, however they are
/// cut. A game calls it once a frame.
///
/// While it is pending the session takes rasp_step_within, rasp_step (which finishes the token), rasp_cancel (which makes
/// the next call take everything back), rasp_session_reset, rasp_session_get_stats, rasp_session_clear_stats,
/// rasp_finish_text and rasp_session_close; other calls return INVALID_STATE. Does not allocate. Errors as for rasp_step.
///
/// # Safety
/// session is NULL or open; token and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_step_within(
    session: *mut rasp_session,
    budget_ns: u64,
    token: *mut u32,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let place = Out::new(token, "token")?;
            with_session(session, |session| {
                let Some(token) = session.step_within(Duration::from_nanos(budget_ns))? else {
                    return Ok(Status::Pending);
                };
                place.set(token);
                Ok(status_of(session, token))
            })
        })
    }
}

/// Appends a token of the host's choice, at the session's sparsity. It takes the place of a token that rasp_step sampled
/// last. Afterwards the logits are those after it. On an error nothing has changed. Does not allocate. Errors as for
/// rasp_prefill.
///
/// # Safety
/// session is NULL or open; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_decode(session: *mut rasp_session, token: u32, error: *mut rasp_error) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_session(session, |session| session.decode(token))?;
            Ok(Status::Ok)
        })
    }
}

/// Deadline mode: every token of rasp_step and rasp_step_within chooses its sparsity between min_sparsity and
/// max_sparsity so that it takes no more than ns_per_token nanoseconds of computing, as dense as that allows. The time
/// between the calls of a token that was cut does not count. 0 turns it off; the sparsity then stays what it was last.
///
/// It is kept by measuring, so single tokens can be late (rasp_stats.late_tokens counts them), and all are where
/// max_sparsity is not enough. rasp_stats.sparsity is that of the last token, kept the density reached. Unlike all else in
/// this library the tokens then depend on time. Does not allocate. Errors: OUT_OF_RANGE (naming the range),
/// INVALID_STATE, INVALID_ARGUMENT.
///
/// # Safety
/// session is NULL or open; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_deadline(
    session: *mut rasp_session,
    ns_per_token: u64,
    min_sparsity: f32,
    max_sparsity: f32,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_session(session, |session| session.set_deadline(ns_per_token, min_sparsity, max_sparsity))?;
            Ok(Status::Ok)
        })
    }
}

/// Makes the call that is under way on the session, or else the next one, return CANCELLED as soon as the unit of work in
/// hand (see rasp_prefill_within) is done; the session stays as it was before that call, or before what it left pending. NULL is allowed and does nothing. Safe from any
/// thread, as long as the session is not closed meanwhile. Does not allocate or wait.
///
/// # Safety
/// session is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_cancel(session: *const rasp_session) {
    // SAFETY: by the caller's promise; the flag lives as long as the session.
    let _ = quietly(|| unsafe { handle::session(session).map(|s| s.cancel.as_ref().store(true, Ordering::Relaxed)) });
}
