//! Answers told apart: what of them is text, what the model thought, and what calls tools.

use super::turn::Turn;
use super::*;
use crate::model::Model;
use crate::text::{Part, Reply, Shown, Utf8Stream};
use std::cell::UnsafeCell;
use std::sync::Arc;

/// One answer that is told apart as it comes. It belongs to one thread at a time: a call that meets another one under
/// way on the same reply returns INVALID_STATE.
pub struct rasp_reply {
    turn: Turn,
    told: UnsafeCell<ReplyState>,
}

struct ReplyState {
    reply: Reply,
    model: Arc<Model>,
    /// Characters of tokens that are not whole.
    chars: Utf8Stream,
}

impl ReplyState {
    #[inline(never)]
    fn push(&mut self, text: &str) -> Result<Status> {
        self.reply.push(text)?;
        Ok(Status::Ok)
    }

    /// Takes bytes of characters that need not be whole; the `last` ones are none.
    #[inline(never)]
    fn push_bytes(reply: &mut Reply, chars: &mut Utf8Stream, bytes: &[u8], last: bool) -> Result<Status> {
        let mut outcome = reply.push("");
        let mut take = |piece: &str| {
            if outcome.is_ok() {
                outcome = reply.push(piece);
            }
        };
        match last {
            true => chars.finish(&mut take),
            false => chars.push(bytes, &mut take),
        }
        outcome.map(|()| Status::Ok)
    }
}

impl Drop for rasp_reply {
    fn drop(&mut self) {
        live::gone(live::HandleKind::Reply, self);
    }
}

/// rasp_reply_part: what the assistant says.
pub const RASP_PART_TEXT: u32 = 1;
/// rasp_reply_part: what it thinks before it says something.
pub const RASP_PART_REASONING: u32 = 2;
/// rasp_reply_part: a call of a tool.
pub const RASP_PART_CALL: u32 = 3;

/// A part of an answer. Its texts are UTF-8 without NULs at their ends; they are the library's, valid until the next
/// call on the reply.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_reply_part {
    /// What it is: one of RASP_PART_. 0: no part.
    pub kind: u32,
    /// Always 0 so far.
    pub reserved: u32,
    /// The text; of a call the arguments, a JSON object.
    pub text: *const c_char,
    /// Bytes at text.
    pub text_length: usize,
    /// The function that a call calls; NULL for other parts.
    pub name: *const c_char,
    /// Bytes at name.
    pub name_length: usize,
    /// What a call is known by, so that a message of its result can refer to it (tool_call_id): the model's own word,
    /// or nine letters and digits made up where its format has none. NULL for other parts.
    pub id: *const c_char,
    /// Bytes at id.
    pub id_length: usize,
}

const NO_PART: rasp_reply_part = rasp_reply_part {
    kind: 0,
    reserved: 0,
    text: std::ptr::null(),
    text_length: 0,
    name: std::ptr::null(),
    name_length: 0,
    id: std::ptr::null(),
    id_length: 0,
};

/// Runs `f` with what is behind a handle, unless another call is using it.
///
/// # Safety
/// `reply` is null or came from `rasp_reply_new` and has not been freed.
unsafe fn with_reply(reply: *const rasp_reply, f: &mut dyn FnMut(&mut ReplyState) -> Result<Status>) -> Result<Status> {
    // SAFETY: by the caller's promise.
    let reply = unsafe { live::behind(live::HandleKind::Reply, reply)? };
    // SAFETY: it is this call's turn, so no other one has what is in the cell.
    reply.turn.take(|| f(unsafe { &mut *reply.told.get() }))
}

/// Begins to tell an answer apart. Give it the messages and options that rasp_chat_tokenize made the prompt of: the
/// model's template says in which format tools are called and thoughts are written, its prompt whether the answer
/// begins with a thought, and the tools among the variables which arguments are texts.
///
/// An answer's way through it:
///
/// ```c
/// do {
///     status = rasp_step_text(session, RASP_TEXT_SHOW_MARKS, text, sizeof text, &length, NULL, &error);
///     if (status >= 0 && rasp_reply_push(reply, text, length, &error) < 0) break;
///     if (status == RASP_END) rasp_reply_finish(reply, &error);
///     while (rasp_reply_next(reply, &part, NULL) == RASP_OK)
///         if (part.kind == RASP_PART_TEXT) fwrite(part.text, 1, part.text_length, stdout);
/// } while (status == RASP_OK);
/// ```
///
/// A model whose template teaches no format that the library knows has answers of text alone.
///
/// On success *reply is the new reply, to be given back with rasp_reply_free; on an error it is NULL. It keeps the
/// model, and nothing of what it was given. Allocates. Safe from any thread. Errors: those of rasp_chat_tokenize.
///
/// # Safety
/// model is NULL or alive; messages is NULL or valid for reads of count messages, whose texts are NULL or valid for
/// reads of their lengths; options is NULL or valid, as its text is; reply and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_reply_new(
    model: *const rasp_model,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
    reply: *mut *mut rasp_reply,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let place = Out::new(reply, "reply")?;
            place.set(std::ptr::null_mut());
            let model = super::model::model(model)?.clone();
            let mut reply = None;
            super::chat::with_chat(&model, messages, count, options, &mut |template, chat| {
                reply = Some(Reply::new(template, chat)?);
                Ok(())
            })?;
            let none = || Error::new(Status::Internal, "a chat was read, and no reply made of it");
            let reply = reply.ok_or_else(none)?;
            let told = ReplyState { reply, model, chars: Utf8Stream::new() };
            let reserve = 4 * size_of::<rasp_reply>() + 1024;
            let made = || Ok(rasp_reply { turn: Turn::new(live::HandleKind::Reply), told: UnsafeCell::new(told) });
            boxed::give(live::HandleKind::Reply, place, reserve, made)
        })
    }
}

/// Takes more of the answer, length bytes of UTF-8 at text: what rasp_step_text and rasp_finish_text write with
/// RASP_TEXT_SHOW_MARKS. With it special tokens that the model's format is made of are text, and others are none.
///
/// Allocates. Errors: INVALID_UTF8, INVALID_ARGUMENT, INVALID_STATE (the answer is finished), OUT_OF_MEMORY (some of
/// the answer is lost; all that can be done with the reply is to read what it has and free it).
///
/// # Safety
/// reply is NULL or has not been freed; text is NULL or valid for reads of length bytes; error is NULL or valid for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_reply_push(
    reply: *mut rasp_reply,
    text: *const c_char,
    length: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let text = super::text(text, length, "text")?;
            with_reply(reply, &mut |told| told.push(text))
        })
    }
}

/// Takes a token of the answer instead of text, as rasp_step and rasp_step_batch give them: a host pushes the one or
/// the other. Tokens that end an answer, and special ones that mark nothing, add nothing.
///
/// Allocates. Errors: OUT_OF_RANGE, and those of rasp_reply_push.
///
/// # Safety
/// reply is NULL or has not been freed; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_reply_push_token(
    reply: *mut rasp_reply,
    token: u32,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_reply(reply, &mut |told| {
                let ReplyState { reply, model, chars } = told;
                let tokenizer = model.tokenizer();
                let bytes = tokenizer.token_bytes(token);
                let bytes = bytes.ok_or_else(|| super::text::token_range(token, tokenizer.vocab_size()))?;
                let shown = model.shows(token, Shown::Marks) && !tokenizer.is_end(token);
                ReplyState::push_bytes(reply, chars, if shown { bytes } else { &[] }, false)
            })
        })
    }
}

/// Ends the answer: what was held back is known now, as text, or as a call whose end the model left out. To be called
/// once the answer has ended, before its last parts are taken. A second time it does nothing.
///
/// Allocates. Errors: INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY.
///
/// # Safety
/// reply is NULL or has not been freed; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_reply_finish(reply: *mut rasp_reply, error: *mut rasp_error) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_reply(reply, &mut |told| {
                if !told.reply.is_finished() {
                    ReplyState::push_bytes(&mut told.reply, &mut told.chars, &[], true)?;
                }
                told.reply.finish()?;
                Ok(Status::Ok)
            })
        })
    }
}

/// Writes the next part of what is known of the answer to *part. RASP_OK: there was one. RASP_PENDING (a success):
/// there is none until more is pushed. RASP_END: there is none, and the answer is finished. In these cases and on
/// errors part->kind is 0.
///
/// Text and reasoning come in pieces, as early as it is sure that they are no part of a call; a call comes once, when
/// it is whole. A call that is none (broken JSON, an answer that was cut) comes as the text that it is.
///
/// Does not allocate. Errors: INVALID_ARGUMENT, INVALID_STATE.
///
/// # Safety
/// reply is NULL or has not been freed; part and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_reply_next(
    reply: *mut rasp_reply,
    part: *mut rasp_reply_part,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let place = Out::new(part, "part")?;
            place.set(NO_PART);
            with_reply(reply, &mut |told| {
                let finished = told.reply.is_finished();
                let part = |kind, text: &str| rasp_reply_part {
                    kind,
                    text: text.as_ptr().cast(),
                    text_length: text.len(),
                    ..NO_PART
                };
                place.set(match told.reply.next_part() {
                    None => return Ok(if finished { Status::End } else { Status::Pending }),
                    Some(Part::Text(text)) => part(RASP_PART_TEXT, text),
                    Some(Part::Reasoning(text)) => part(RASP_PART_REASONING, text),
                    Some(Part::Call(call)) => rasp_reply_part {
                        name: call.name.as_ptr().cast(),
                        name_length: call.name.len(),
                        id: call.id.as_ptr().cast(),
                        id_length: call.id.len(),
                        ..part(RASP_PART_CALL, &call.arguments)
                    },
                });
                Ok(Status::Ok)
            })
        })
    }
}

/// Writes what is known of the whole answer as one message, a JSON object: content, and reasoning_content and
/// tool_calls where there are some, as templates expect them. With role "assistant" and this as its fields (content
/// NULL) a rasp_chat_message puts the answer into the conversation. At most capacity bytes of UTF-8 are written to
/// json, without a NUL, and their number always to *length.
///
/// Allocates. Errors: BUFFER_TOO_SMALL (nothing is written but *length), INVALID_ARGUMENT, INVALID_STATE,
/// OUT_OF_MEMORY.
///
/// # Safety
/// reply is NULL or has not been freed; json is NULL or valid for writes of capacity bytes; length and error are NULL
/// or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_reply_message(
    reply: *mut rasp_reply,
    json: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let found = Buffer::new(json.cast(), capacity, length, "length")?;
            let mut message = String::new();
            with_reply(reply, &mut |told| {
                message = told.reply.message()?;
                Ok(Status::Ok)
            })?;
            found.fill(message.as_bytes())
        })
    }
}

/// Frees a reply. NULL is allowed and does nothing. Does not allocate. Safe from any thread. RASP_OK, INVALID_STATE
/// where another call is using it, or what the check described at rasp_free finds.
///
/// # Safety
/// reply is NULL or has not been freed; it is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_reply_free(reply: *mut rasp_reply) -> rasp_status {
    // SAFETY: by the caller's promise.
    unsafe { boxed::free(live::HandleKind::Reply, reply, |reply| reply.turn.last()) }
}
