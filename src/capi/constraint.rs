//! Constrained output: JSON of a schema, text of a regular expression or a grammar.

use super::handle::with_session;
use super::*;
use crate::constraint::{Constraint, ConstraintKind};
use std::sync::Arc;

/// What a text may be, compiled for one model's vocabulary: immutable, shared by any number of sessions of that model,
/// safe to use from any thread at once.
pub struct rasp_constraint {
    constraint: Arc<Constraint>,
}

impl Drop for rasp_constraint {
    fn drop(&mut self) {
        live::gone(live::HandleKind::Constraint, self);
    }
}

/// rasp_constraint_new: a JSON schema; the text is a value of it. One space follows each comma and colon and there is
/// no other white space between the parts, unless the schema says otherwise in llguidance's "x-guidance".
pub const RASP_CONSTRAINT_JSON_SCHEMA: u32 = 0;
/// rasp_constraint_new: a regular expression, in the syntax of Rust's regex, that the whole text matches.
pub const RASP_CONSTRAINT_REGEX: u32 = 1;
/// rasp_constraint_new: a context-free grammar in llguidance's variant of Lark, whose rule start is the whole text.
pub const RASP_CONSTRAINT_GRAMMAR: u32 = 2;
/// rasp_constraint_new: the tools of a chat: the list in JSON, or the object that rasp_chat_options.variables is, with
/// tools in it. Text is free until a call begins, in the format of the model's chat template; from there it is a call
/// of one of these functions with arguments that its schema allows. With "tool_choice": "required" in the object, or a
/// function by its name ({"type": "function", "function": {"name": "..."}}), the answer is one call, after what the
/// model thinks where its prompt begins with that. UNSUPPORTED where the template teaches no format that the library
/// knows.
pub const RASP_CONSTRAINT_TOOLS: u32 = 3;

/// Compiles a constraint for a model: length bytes of UTF-8 at source, written in what kind says, one of
/// RASP_CONSTRAINT_. The source is not kept.
///
/// On success *constraint is the new constraint, to be given back with rasp_constraint_free; on an error it is NULL.
/// The first constraint of a model takes some milliseconds and megabytes more than others.
///
/// Allocates. Safe from any thread. Errors: UNSUPPORTED (a library built lean, without the cargo feature
/// constrained, or a model without an end token), INVALID_ARGUMENT (naming what is wrong with the source, or that no
/// text fits it), INVALID_UTF8, OUT_OF_MEMORY.
///
/// # Safety
/// model is NULL or alive; source is NULL or valid for reads of length bytes; constraint and error are NULL or valid
/// for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_constraint_new(
    model: *const rasp_model,
    kind: u32,
    source: *const c_char,
    length: usize,
    constraint: *mut *mut rasp_constraint,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let place = Out::new(constraint, "constraint")?;
            place.set(std::ptr::null_mut());
            let model = super::model::model(model)?;
            let kind = match kind {
                RASP_CONSTRAINT_JSON_SCHEMA => ConstraintKind::JsonSchema,
                RASP_CONSTRAINT_REGEX => ConstraintKind::Regex,
                RASP_CONSTRAINT_GRAMMAR => ConstraintKind::Grammar,
                RASP_CONSTRAINT_TOOLS => ConstraintKind::Tools,
                other => return Err(Error::new(Status::InvalidArgument, format_args!("kind is {other}"))),
            };
            let source = super::text(source, length, "source")?;
            let constraint = Constraint::new(model, kind, source)?;
            let reserve = 4 * size_of::<Constraint>() + 1024;
            let made = || Ok(rasp_constraint { constraint: Arc::new(constraint) });
            boxed::give(live::HandleKind::Constraint, place, reserve, made)
        })
    }
}

/// Frees a constraint. NULL is allowed and does nothing. Sessions that use it keep what they need. Does not allocate.
/// Safe from any thread. Always RASP_OK, but for the check described at rasp_free.
///
/// # Safety
/// constraint is NULL or has not been freed; it is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_constraint_free(constraint: *mut rasp_constraint) -> rasp_status {
    // SAFETY: by the caller's promise.
    unsafe { boxed::free(live::HandleKind::Constraint, constraint, |_| Ok(())) }
}

/// Has every answer from now on obey a constraint, which must be of the session's model; NULL ends that. An answer
/// begins with this call, and anew with each rasp_prefill and rasp_session_reset; tokens given to rasp_decode are part
/// of it. The constraint applies after logit biases; what a logits callback does cannot undo it. Where the answer may
/// end, end tokens are allowed; where it can only end one comes, and rasp_step returns RASP_END.
///
/// It bounds the form of an answer, not its length: see to it that the source does, or end it yourself.
///
/// Allocates, and so do every step, shift and fork while a constraint is set. Errors: INVALID_ARGUMENT, INVALID_STATE,
/// UNSUPPORTED, OUT_OF_MEMORY. A step under a constraint can also return INVALID_STATE (tokens of the host's do not fit
/// it, or no text fits from here on), UNSUPPORTED (it takes more work than its limits allow), INVALID_ARGUMENT (biases
/// or the callback forbid all that it allows) and OUT_OF_MEMORY; nothing has been appended then. For the time of a step
/// it wants some 32 MB of address space, more for a large constraint; memory of it is used only where the system has no
/// other.
///
/// # Safety
/// session is NULL or open; constraint is NULL or has not been freed; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_constraint(
    session: *mut rasp_session,
    constraint: *const rasp_constraint,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let constraint = if constraint.is_null() {
                None
            } else {
                Some(live::behind(live::HandleKind::Constraint, constraint)?.constraint.clone())
            };
            with_session(session, |session| session.set_constraint(constraint))?;
            Ok(Status::Ok)
        })
    }
}
