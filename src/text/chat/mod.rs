//! Chat templates: the model's own Jinja template, rendered as Hugging Face's `transformers` renders it.
//!
//! A template comes with a file, and a file may mean harm. So it is compiled and run by a machine of our own that has
//! no way to do any: it is read once it is used, in a single pass; running it takes no stack of the host's, since calls
//! and loops are lists of ours; what it makes is charged before it is there; and all memory is asked for, and may be
//! refused. Whatever is wrong with a template costs the chat, with [`Status::Template`], and not the model.

mod clock;
mod code;
mod compile;
mod expression;
mod filters;
mod format;
mod json;
mod lexer;
mod machine;
mod marks;
mod memory;
mod methods;
mod operators;
mod print;
mod strings;
mod tests_of;
mod writer;

use super::Tokenizer;
use super::calls::Forms;
use crate::{Error, Result, Status};
use memory::RenderBudget;
use std::ops::Range;
use std::sync::OnceLock;

/// Bytes of a template at most; those in use have up to some tens of thousands.
pub const MAX_TEMPLATE_BYTES: usize = 256 << 10;

/// Bytes that one render may make, and what each byte of the messages adds: templates copy them a few times over.
const BYTES: usize = 4 << 20;
const BYTES_PER_BYTE: usize = 32;

/// Steps of one render, and what each message adds to them. Real templates take some hundreds a message.
const WORK: u64 = 200_000;
const WORK_PER_MESSAGE: u64 = 5_000;

/// One turn of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: &'a str,
    /// What is said; none where a call of a tool stands for it, or `fields` has it.
    pub content: Option<&'a str>,
    /// What else the message has, as a JSON object: `name`, `tool_calls`, `content` in parts.
    pub fields: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// A message of words alone.
    pub const fn new(role: &'a str, content: &'a str) -> Message<'a> {
        Message { role, content: Some(content), fields: None }
    }
}

/// What a template is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chat<'a> {
    /// The conversation.
    pub messages: &'a [Message<'a>],
    /// Whether the text ends with the start of the assistant's next turn.
    pub add_generation_prompt: bool,
    /// The template's other variables, as a JSON object: `tools`, `documents`, `enable_thinking`, or what else it
    /// knows.
    pub variables: Option<&'a str>,
    /// What `strftime_now` shows: seconds since 1970 of the clock on the wall (local time). Without it the template has
    /// no such function.
    pub time: Option<i64>,
}

/// A conversation as one text, which knows what of it is the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatText {
    text: String,
    inert: Vec<Range<u32>>,
}

impl ChatText {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The stretches of it, in bytes, that come from messages and variables: they become no special token, see
    /// [`encode_chat`](Tokenizer::encode_chat). Ascending; none touches another.
    pub fn inert(&self) -> &[Range<u32>] {
        &self.inert
    }

    /// The text alone.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// A model's chat template. It never changes, and any threads may use it at once.
pub struct ChatTemplate {
    template: Box<str>,
    /// The texts of the beginning- and end-of-text tokens, which templates print.
    bos: Option<Box<str>>,
    eos: Option<Box<str>>,
    /// Found when it is first asked for.
    forms: OnceLock<Forms>,
}

/// Why a template cannot be compiled, and at which byte. Small: the compiler hands it up from bracket to bracket, on
/// the host's stack.
#[derive(Clone, Copy)]
struct Fault {
    place: u32,
    why: Why,
}

#[derive(Clone, Copy)]
enum Why {
    Text(&'static str),
    /// It is missing.
    Missing(&'static str),
    /// It stands for nothing.
    Character(char),
    /// There is none of this name.
    Tag(code::Span),
    OutOfMemory,
}

impl Fault {
    /// In words, for the template that it is of.
    fn error(self, source: &str) -> Error {
        let before = &source.as_bytes()[..(self.place as usize).min(source.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let say = |words: std::fmt::Arguments<'_>| {
            Error::new(Status::Template, format_args!("line {line} of the chat template: {words}"))
        };
        match self.why {
            Why::Text(text) => say(format_args!("{text}")),
            Why::Missing(what) => say(format_args!("{what:?} is missing")),
            Why::Character(c) => say(format_args!("{c:?} stands for nothing here")),
            Why::Tag(span) => {
                let name = source.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default();
                say(format_args!("there is no tag `{name}` in chat templates"))
            }
            Why::OutOfMemory => Error::out_of_memory("a chat template"),
        }
    }
}

fn fault<T>(place: usize, why: impl Into<Why>) -> std::result::Result<T, Fault> {
    // A template is far shorter than 4 GiB.
    Err(Fault { place: place as u32, why: why.into() })
}

impl From<&'static str> for Why {
    fn from(text: &'static str) -> Why {
        Why::Text(text)
    }
}

fn out_of_memory() -> Fault {
    Fault { place: 0, why: Why::OutOfMemory }
}

fn no_memory() -> Error {
    Error::out_of_memory("a chat template")
}

/// A copy, if there is memory for one.
fn copy(text: &str) -> Result<String> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len()).map_err(|_| no_memory())?;
    copy.push_str(text);
    Ok(copy)
}

impl ChatTemplate {
    /// A template as it stands: what is wrong with it shows when it is used, or [checked](ChatTemplate::check).
    /// `tokenizer` knows the texts of `bos_token` and `eos_token`.
    pub fn new(template: &str, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        let text = |id: Option<u32>| -> Result<Option<String>> {
            let Some(bytes) = id.and_then(|id| tokenizer.token_bytes(id)) else { return Ok(None) };
            let mut text = String::new();
            for chunk in bytes.utf8_chunks() {
                let parts = [chunk.valid(), if chunk.invalid().is_empty() { "" } else { "\u{fffd}" }];
                for part in parts {
                    text.try_reserve(part.len()).map_err(|_| no_memory())?;
                    text.push_str(part);
                }
            }
            Ok(Some(text))
        };
        ChatTemplate::with_tokens(template, text(tokenizer.bos())?, text(tokenizer.eos())?)
    }

    /// The same, given the texts of `bos_token` and `eos_token`.
    pub fn with_tokens(template: &str, bos: Option<String>, eos: Option<String>) -> Result<ChatTemplate> {
        let [bos, eos] = [bos, eos].map(|text| text.map(String::into_boxed_str));
        Ok(ChatTemplate { template: copy(template)?.into_boxed_str(), bos, eos, forms: OnceLock::new() })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.template
    }

    /// The form in which the template has tools called, by its name; none if it is not known. A
    /// [`Reply`](super::Reply) reads it.
    pub fn call_format(&self) -> Option<&'static str> {
        self.forms().format_name()
    }

    pub(super) fn forms(&self) -> Forms {
        *self.forms.get_or_init(|| Forms::of(&self.template))
    }

    /// Whether a special token of this name is one that an answer is told apart by.
    pub(crate) fn has_mark(&self, name: &[u8]) -> bool {
        self.forms().has_mark(name)
    }

    /// Fails if the template cannot be compiled.
    pub fn check(&self) -> Result<()> {
        self.compile().map(|_| ())
    }

    fn compile(&self) -> Result<code::Program> {
        if self.template.len() > MAX_TEMPLATE_BYTES {
            let message =
                format_args!("the template has {} bytes; {MAX_TEMPLATE_BYTES} are the most", self.template.len());
            return Err(Error::new(Status::Template, message));
        }
        // Line ends are made alike first, as Jinja2 does.
        let mut source = copy(&self.template)?;
        if source.contains('\r') {
            source.clear();
            for (index, line) in self.template.split('\r').enumerate() {
                let line = if index == 0 { line } else { line.strip_prefix('\n').unwrap_or(line) };
                if index > 0 {
                    source.push('\n');
                }
                source.push_str(line);
            }
        }
        compile::compile(&source).map_err(|fault| fault.error(&source))
    }

    /// The conversation as one text. To be encoded with [`encode_chat`](Tokenizer::encode_chat), which takes the
    /// template's own tokens for such, and what is said for text.
    ///
    /// A template may refuse a conversation (two user turns in a row, say): the error has its own words.
    pub fn format(&self, chat: &Chat<'_>) -> Result<ChatText> {
        let program = self.compile()?;
        let len = |text: Option<&str>| text.map_or(0, str::len);
        let messages = chat.messages.iter().map(|m| m.role.len() + len(m.content) + len(m.fields)).sum::<usize>();
        let bytes = messages.saturating_add(len(chat.variables));
        let budget = RenderBudget {
            bytes: BYTES.saturating_add(bytes.saturating_mul(BYTES_PER_BYTE)),
            work: WORK + WORK_PER_MESSAGE * chat.messages.len() as u64 + bytes as u64,
        };
        let texts = [("bos_token", &self.bos), ("eos_token", &self.eos)];
        let known = texts.map(|(name, text)| text.as_deref().map(|text| (name, text)));
        // As many as there are, in their order.
        let (mut tokens, mut count) = ([("", ""); 2], 0);
        for token in known.into_iter().flatten() {
            (tokens[count], count) = (token, count + 1);
        }
        let written = machine::render(&program, budget, chat, &tokens[..count])?;
        Ok(ChatText { text: written.text, inert: written.marks.into_vec() })
    }

    /// The text alone of a conversation without more.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.format(&Chat { messages, add_generation_prompt, ..Chat::default() }).map(ChatText::into_text)
    }
}
