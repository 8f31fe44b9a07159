//! What a session holds: taken back, doubled, saved, made shorter.

use super::handle::{HANDLE, with_session};
use super::*;

/// Keeps the first tokens tokens of a session and forgets those after them. Settings stay; random numbers go on where they
/// are (rasp_session_set_sampling starts them anew).
///
/// The logits are then those after the last token kept, to the bit, as if the session had stopped there. Unless they are
/// still at hand (only a token that was sampled last is forgotten), that token passes through the model once more, at the
/// sparsity at which it passed first: at the next rasp_step or rasp_logits, or not at all if rasp_prefill or rasp_decode
/// comes first. 0 tokens: as rasp_session_reset, but for the random numbers.
///
/// Does not allocate. Errors: OUT_OF_RANGE (more tokens than there are, or beyond what a session with windows_alone
/// holds), INVALID_STATE, INVALID_ARGUMENT.
///
/// # Safety
/// session is NULL or open; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_rewind(
    session: *mut rasp_session,
    tokens: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_session(session, |session| session.rewind(tokens))?;
            Ok(Status::Ok)
        })
    }
}

/// Opens a second session with the tokens, cache, logits, sparsity, sampling, logit biases, stop strings, constraint and
/// random numbers of the first. It goes on exactly as the first one would, but for a logits callback, which is not taken
/// over; from then on the two are independent. options may be NULL for those of the first, in memory of its own; else they
/// are as for rasp_session_open (rasp_session_plan tells the memory), with room for the tokens and the same kv_type.
///
/// The prompt does not pass again. The first fork puts the keys and values of its tokens, in whole blocks of 32, into
/// memory that both sessions and further forks read in place (rasp_stats.shared_bytes); only the rest is copied. So
/// many sessions that begin alike hold the beginning once: each has room for all of its context, as rasp_session_plan
/// says, but what nobody writes there takes no pages where the system gives zeroed memory lazily. A session that goes
/// back into the beginning, or shifts, has what it writes for itself from then on; any of them can be closed whatever
/// becomes of the others, and the last one frees what was shared. Where options.memory is given, where layers hold
/// windows alone, and where there is no memory for it, nothing is shared, and all is copied.
///
/// On success *fork is the new session, to be closed with rasp_session_close; on an error it is NULL. Allocates as
/// rasp_session_open does. Errors: those of rasp_session_open, CONTEXT_FULL (no room for the tokens), INVALID_STATE.
///
/// # Safety
/// session is NULL or open; options as for rasp_session_open; fork and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_fork(
    session: *mut rasp_session,
    options: *const rasp_session_options,
    fork: *mut *mut rasp_session,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let place = Out::new(fork, "fork")?;
            place.set(std::ptr::null_mut());
            let given = super::options(options)?.read()?;
            let (options, memory) = (if options.is_null() { None } else { Some(&given.0) }, given.1);
            let child = with_session(session, |session| session.fork_behind(HANDLE, options, memory))?;
            place.set(rasp_session::born(child));
            Ok(Status::Ok)
        })
    }
}

/// Forgets discard tokens after the first keep; those after them move up, which makes room in a full context. Keys are
/// rotated to their new places, so the session goes on as if the tokens had stood there; what later tokens took from the
/// discarded ones when they passed stays in their keys and values. In a cache of RASP_KV_F16 or RASP_KV_I8 the moved keys
/// are rounded once more. The logits stay those of the last token; after rasp_session_rewind they are computed first, if they
/// are not at hand. keep is for what a model must not lose: the first
/// token, a system prompt.
///
/// Takes the time of reading and writing the cache once. Does not allocate. Errors: OUT_OF_RANGE (at least one token that
/// has passed must be left after the discarded ones), INVALID_STATE, INVALID_ARGUMENT; where logits are computed CANCELLED and
/// NON_FINITE too.
///
/// # Safety
/// session is NULL or open; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_shift(
    session: *mut rasp_session,
    keep: usize,
    discard: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_session(session, |session| session.shift(keep, discard))?;
            Ok(Status::Ok)
        })
    }
}

/// Writes what a session holds to buffer: tokens, keys and values, sparsity, sampling, random numbers, and what the last
/// token's logits are computed from; and the bytes
/// that takes to *size, also if capacity is less (a NULL buffer of capacity 0 asks for no more than that). They are
/// mostly keys and values: as many bytes a token as rasp_memory_plan.kv_cache has for each token of the context (with
/// windows_alone, fewer).
///
/// Logit biases, a logits callback, stop strings and a constraint are not among it: a session keeps those it has when it is
/// restored.
///
/// The bytes depend on the machine in no way, and hold the fingerprint of the model's file and a checksum. A later
/// version of this library may refuse them.
///
/// Does not allocate. Errors: BUFFER_TOO_SMALL (nothing is written but *size), INVALID_STATE, INVALID_ARGUMENT.
///
/// # Safety
/// session is NULL or open; buffer is NULL or valid for writes of capacity bytes; size and error are NULL or valid for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_save(
    session: *mut rasp_session,
    buffer: *mut c_void,
    capacity: usize,
    size: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let place = Out::new(size, "size")?;
            place.set(0);
            with_session(session, |session| {
                let needed = session.state_size();
                place.set(needed);
                if capacity < needed {
                    let message = format_args!("the state has {needed} bytes, the buffer {capacity}");
                    return Err(Error::new(Status::BufferTooSmall, message));
                }
                if buffer.is_null() {
                    return Err(null("buffer"));
                }
                // SAFETY: room for as many bytes; they may be uninitialised until they are zeroed.
                let buffer = {
                    buffer.write_bytes(0, needed);
                    std::slice::from_raw_parts_mut(buffer.cast::<u8>(), needed)
                };
                session.save(buffer)?;
                Ok(Status::Ok)
            })
        })
    }
}

/// Makes a session hold what rasp_session_save wrote, and go on as the saved one would have, to the bit. What it held is
/// forgotten. Model and kv_type must be the same; context, batch, threads and machine may be others. data need not be
/// aligned. The logits are computed when they are first needed; no token passes again, unless the session that was saved
/// would have had to (after rasp_session_rewind). For stop strings and a constraint a new answer begins. States that
/// earlier versions of this library have written are read.
///
/// On an error the session is as it was. Does not allocate. Errors: BAD_STATE (the bytes are no state, truncated, damaged,
/// of another model or another kv_type; the message says which), UNSUPPORTED_VERSION, CONTEXT_FULL (no room for the
/// tokens), INVALID_STATE, INVALID_ARGUMENT.
///
/// # Safety
/// session is NULL or open; data is NULL or valid for reads of size bytes; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_restore(
    session: *mut rasp_session,
    data: *const c_void,
    size: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let data = slice(data.cast::<u8>(), size, "data")?;
            with_session(session, |session| session.restore(data))?;
            Ok(Status::Ok)
        })
    }
}
