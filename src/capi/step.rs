//! Prompt in, tokens out: the calls that compute.

use super::session::with_session;
use super::*;
use std::sync::atomic::Ordering;

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

/// Samples the next token, appends it and writes it to *token. RASP_END (a success) if it ends generation. The token
/// before it, if it was sampled too, passes through the model first, at the session's sparsity; so the first step after
/// a prompt is quick. On an error nothing has been appended. Does not allocate. Errors: CONTEXT_FULL, INVALID_STATE (no
/// prompt yet), CANCELLED, NON_FINITE, INVALID_ARGUMENT.
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
                let ends = session.model().tokenizer().is_end(token);
                Ok(if ends { Status::End } else { Status::Ok })
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

/// Makes the call that is under way on the session, or else the next one, return CANCELLED as soon as the linear layer
/// in hand is done; the session stays as it was before that call. NULL is allowed and does nothing. Safe from any
/// thread, as long as the session is not closed meanwhile. Does not allocate or wait.
///
/// # Safety
/// session is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_cancel(session: *const rasp_session) {
    // SAFETY: by the caller's promise; the flag lives as long as the session.
    let _ = quietly(|| unsafe {
        super::session::session(session).map(|s| s.cancel.as_ref().store(true, Ordering::Relaxed))
    });
}
