//! Chats: messages to text and tokens.

use super::*;
use crate::model::Model;
use crate::text::{Chat, ChatTemplate, ChatText, Message};

/// One message of a chat.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_message {
    /// "system", "user", "assistant" or what else the template knows: UTF-8, NUL-terminated.
    pub role: *const c_char,
    /// The text: UTF-8, NUL-terminated.
    pub content: *const c_char,
}

/// One message of a chat, with lengths: its texts may hold NULs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_chat_message {
    /// "system", "user", "assistant", "tool" or what else the template knows: UTF-8. Not NULL.
    pub role: *const c_char,
    /// Bytes at role.
    pub role_length: usize,
    /// The text: UTF-8. NULL: none, as where tool_calls in fields stand for it, or fields has the content.
    pub content: *const c_char,
    /// Bytes at content.
    pub content_length: usize,
    /// What else the message has, as a JSON object: name, tool_calls, tool_call_id, reasoning_content, a content in
    /// parts, or what else the template knows. NULL: nothing.
    pub fields: *const c_char,
    /// Bytes at fields.
    pub fields_length: usize,
}

/// What a chat template is given besides messages. Initialise with rasp_chat_options_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_chat_options {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// 1 (the default): end with what makes the model answer. 0: end with the last message.
    pub add_generation_prompt: u32,
    /// The template's variables, as a JSON object: tools, documents, enable_thinking, date_string, or what else the
    /// template knows. tools and documents are none where it does not have them. NULL: nothing.
    pub variables: *const c_char,
    /// Bytes at variables.
    pub variables_length: usize,
    /// What strftime_now shows templates: seconds since 1970 of the clock on the wall, that is time(NULL) and what
    /// local time is ahead of UTC. 0 (the default): there is no such function, and a template that does without writes
    /// no date.
    pub time: i64,
}

// SAFETY: two u32s, a pointer and a size of its width, and an i64 at a multiple of 8: no padding.
unsafe impl Versioned for rasp_chat_options {
    const NAME: &'static str = "rasp_chat_options";
    const FIRST: usize = size_of::<Self>();
    fn initial() -> Self {
        rasp_chat_options {
            struct_size: size_of::<Self>() as u32,
            add_generation_prompt: 1,
            variables: std::ptr::null(),
            variables_length: 0,
            time: 0,
        }
    }
}
const _: () = assert!(size_of::<rasp_chat_options>() == 16 + 2 * size_of::<usize>());

/// Sets options to their defaults. NULL is allowed and does nothing.
///
/// # Safety
/// options is NULL or points to a rasp_chat_options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_chat_options_init(options: *mut rasp_chat_options) {
    // SAFETY: by the caller's promise.
    unsafe { init(options, size_of::<rasp_chat_options>()) }
}

/// A text that may be absent.
///
/// # Safety
/// As for [`slice`].
unsafe fn optional<'a>(data: *const c_char, length: usize, what: &str) -> Result<Option<&'a str>> {
    if data.is_null() && length == 0 {
        return Ok(None);
    }
    if data.is_null() {
        return Err(null(what));
    }
    // SAFETY: by the caller's promise.
    unsafe { text(data, length, what) }.map(Some)
}

/// The text of a chat.
///
/// # Safety
/// As for [`rasp_chat_tokenize`], but for the model.
unsafe fn format(
    model: &Model,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
) -> Result<ChatText> {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut text = ChatText::default();
        with_chat(model, messages, count, options, &mut |template, chat| {
            text = template.format(chat)?;
            Ok(())
        })?;
        Ok(text)
    }
}

/// Runs `f` with the model's template and the chat that a caller gave.
///
/// # Safety
/// As for [`rasp_chat_tokenize`], but for the model.
pub(super) unsafe fn with_chat(
    model: &Model,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
    f: &mut dyn FnMut(&ChatTemplate, &Chat<'_>) -> Result<()>,
) -> Result<()> {
    // SAFETY: by the caller's promise.
    unsafe {
        let template = template(model)?;
        let options = self::options(options)?;
        if options.add_generation_prompt > 1 {
            let given = options.add_generation_prompt;
            let message = format_args!("rasp_chat_options.add_generation_prompt is {given}, not 0 or 1");
            return Err(Error::new(Status::InvalidArgument, message));
        }
        let messages = read(slice(messages, count, "messages")?, |index, m| {
            let message = || -> Result<Message<'_>> {
                let role = optional(m.role, m.role_length, "role")?.ok_or_else(|| null("role"))?;
                let content = optional(m.content, m.content_length, "content")?;
                Ok(Message { role, content, fields: optional(m.fields, m.fields_length, "fields")? })
            };
            message().map_err(|error| error.context(format_args!("message {index}")))
        })?;
        let chat = Chat {
            messages: &messages,
            add_generation_prompt: options.add_generation_prompt == 1,
            variables: optional(options.variables, options.variables_length, "variables")?,
            time: Some(options.time).filter(|time| *time != 0),
        };
        f(template, &chat)
    }
}

/// The tokens of a chat.
///
/// # Safety
/// As for [`format`].
pub(super) unsafe fn chat_tokens(
    model: &Model,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
) -> Result<Vec<u32>> {
    // SAFETY: by the caller's promise.
    let text = unsafe { format(model, messages, count, options) }?;
    let mut ids = Vec::new();
    model.tokenizer().encode_chat(&text, &mut ids)?;
    Ok(ids)
}

/// The model's template.
fn template(model: &Model) -> Result<&ChatTemplate> {
    let template = model.chat_template();
    template.ok_or_else(|| Error::new(Status::Template, "this model came without a chat template"))
}

/// The messages that were given, each by its index.
fn read<'a, T>(given: &'a [T], message: impl Fn(usize, &'a T) -> Result<Message<'a>>) -> Result<Vec<Message<'a>>> {
    let mut messages = Vec::new();
    messages.try_reserve_exact(given.len()).map_err(|_| Error::out_of_memory("the messages"))?;
    for (index, given) in given.iter().enumerate() {
        messages.push(message(index, given)?);
    }
    Ok(messages)
}

/// Puts count messages into the model's own chat format and turns that into tokens: at most capacity of them are
/// written to tokens, and their number always to *found, so that a first call with capacity 0 tells how many there are.
/// options NULL: the defaults. Prefill with the tokens as they are: the template writes a BOS token where there is to
/// be one.
///
/// What messages and variables say is text, whatever it looks like: special tokens are recognised in the template's own
/// words alone, and a message neither makes one nor breaks one. Of messages without names of special tokens the tokens
/// are those of rasp_chat_format and RASP_TOKENIZE_PARSE_SPECIAL. A role of ASCII letters, digits, _ and - may be part
/// of a special token of the template's (<|user|>): which roles there are is the host's to say.
///
/// The template is the file's, and is trusted with nothing: it is compiled now, not at load, and what it may make and
/// do is bounded. One that cannot be used costs the chat, not the model. Numbers in fields and variables have 64 bits;
/// lists and objects there may lie 22 deep.
///
/// Allocates. Safe from any thread. Errors: TEMPLATE (there is none, it is wrong, refuses the messages or asks for too
/// much), BUFFER_TOO_SMALL (nothing is written but *found), INVALID_UTF8, INVALID_ARGUMENT (fields or variables are no
/// JSON object, too), OUT_OF_MEMORY.
///
/// # Safety
/// model is NULL or alive; messages is NULL or valid for reads of count messages, whose texts are NULL or valid for
/// reads of their lengths; options is NULL or valid, as its text is; tokens is NULL or valid for writes of capacity
/// ids; found and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_chat_tokenize(
    model: *const rasp_model,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
    tokens: *mut u32,
    capacity: usize,
    found: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let found = Buffer::new(tokens, capacity, found, "found")?;
            found.fill(&chat_tokens(super::model::model(model)?, messages, count, options)?)
        })
    }
}

/// The text that rasp_chat_tokenize makes tokens of, to be looked at: at most capacity bytes of UTF-8 are written to
/// text, without a NUL, and their number always to *length. Do not tokenize it: it does not tell the template's own
/// tokens from what a message says.
///
/// Allocates. Safe from any thread. Errors: those of rasp_chat_tokenize.
///
/// # Safety
/// model is NULL or alive; messages is NULL or valid for reads of count messages, whose texts are NULL or valid for
/// reads of their lengths; options is NULL or valid, as its text is; text is NULL or valid for writes of capacity
/// bytes; length and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_chat_text(
    model: *const rasp_model,
    messages: *const rasp_chat_message,
    count: usize,
    options: *const rasp_chat_options,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let found = Buffer::new(text.cast(), capacity, length, "length")?;
            found.fill(format(super::model::model(model)?, messages, count, options)?.text().as_bytes())
        })
    }
}

/// Puts count messages into the model's own chat format: at most capacity bytes of UTF-8 are written to text, without a
/// NUL, and their number always to *length. add_generation_prompt not 0: end with what makes the model answer. Tokenize
/// the result with RASP_TOKENIZE_PARSE_SPECIAL.
///
/// It cannot promise who speaks: a message that holds the template's own tokens (<|im_end|>, say) reads as if the
/// template had written them, so a user can open a turn of the system's. Use rasp_chat_tokenize for messages of others;
/// it also takes texts with NULs, tools and all else that templates know.
///
/// The template is the file's, and is trusted with nothing: it is compiled now, not at load, and what it may make and
/// do is bounded. One that cannot be used costs the chat, not the model.
///
/// Allocates. Safe from any thread. Errors: TEMPLATE (there is none, it is wrong, refuses the messages or asks for too
/// much), BUFFER_TOO_SMALL (nothing is written but *length), INVALID_UTF8, INVALID_ARGUMENT, OUT_OF_MEMORY.
///
/// # Safety
/// model is NULL or alive; messages is NULL or valid for reads of count messages, whose strings are NULL or
/// NUL-terminated; text is NULL or valid for writes of capacity bytes; length and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_chat_format(
    model: *const rasp_model,
    messages: *const rasp_message,
    count: usize,
    add_generation_prompt: i32,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let found = Buffer::new(text.cast(), capacity, length, "length")?;
            let template = template(super::model::model(model)?)?;
            let messages = read(slice(messages, count, "messages")?, |_, m| {
                Ok(Message::new(c_text(m.role, "role")?, c_text(m.content, "content")?))
            })?;
            let formatted = template.render(&messages, add_generation_prompt != 0)?;
            found.fill(formatted.as_bytes())
        })
    }
}
