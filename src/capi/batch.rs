//! Several sessions in one step.

use super::handle::{rasp_session, with_sessions};
use super::*;

/// rasp_step of count sessions over one model at once, in which the weights are read once for all of them: several
/// characters or requests cost far less together than one after the other. Every session keeps its own text, sampling,
/// sparsity, biases, constraint, callback, cache and statistics, and ends in the state, and with the token, that a rasp_step
/// of its own would have given, to the bit.
///
/// What became of each is in statuses: RASP_OK or RASP_END, with its token in tokens; or an error as of rasp_step (a full
/// context, say), which leaves that session as it was and does not disturb the others. tokens of sessions that failed are
/// left alone. Sessions that are in the middle of a prompt or a token finish that first, one after the other.
///
/// Returns RASP_OK if all have stepped (RASP_END too is found in statuses alone), and else the status of the first that has
/// not; error says which. A call that cannot be (a session that is NULL, given twice, in use by another thread or of another
/// model than the first) does nothing, and has its error in all statuses.
///
/// The first session's threads (or its run callback) and memory do the work: as many sessions pass together as a quarter of
/// its options.batch, at most 32, and then those that follow; open it accordingly. rasp_cancel on one of the sessions ends
/// its step when the others are done (a session that has passed its token by then has it all the same); on all of them,
/// within a unit of work. rasp_stats.units are counted at the first session; a deadline counts the time of the whole pass.
///
/// A count of 0 does nothing. Does not allocate. Errors: INVALID_ARGUMENT, INVALID_STATE, and those of rasp_step.
///
/// # Safety
/// sessions is NULL or valid for reads of count pointers, each NULL or to an open session; tokens and statuses are NULL or
/// valid for writes of count elements; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_step_batch(
    sessions: *const *mut rasp_session,
    count: usize,
    tokens: *mut u32,
    statuses: *mut rasp_status,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let sessions = slice(sessions, count, "sessions")?;
            let (tokens, statuses) = (Outs::new(tokens, count, "tokens")?, Outs::new(statuses, count, "statuses")?);
            let all = |status: Status| (0..count).for_each(|n| statuses.set(n, status.code()));
            // Until it is known better: a panic leaves it so.
            all(Status::Internal);
            let mut failed: Option<(usize, Error)> = None;
            let outcome = with_sessions(sessions, |sessions| {
                let Some(leader) = sessions.next() else { return Ok(()) };
                let model = leader.model().clone();
                leader.step_with(sessions, |n, outcome| match outcome {
                    Ok(token) => {
                        tokens.set(n, token);
                        let status = if model.tokenizer().is_end(token) { Status::End } else { Status::Ok };
                        statuses.set(n, status.code());
                    }
                    Err(error) => {
                        statuses.set(n, error.status().code());
                        if failed.as_ref().is_none_or(|&(first, _)| n < first) {
                            failed = Some((n, error));
                        }
                    }
                });
                Ok(())
            });
            outcome.inspect_err(|error| all(error.status()))?;
            match failed {
                None => Ok(Status::Ok),
                Some((n, error)) => Err(error.context(format_args!("session {n}"))),
            }
        })
    }
}
