//! Chat templates: the model's own Jinja template, rendered as Hugging Face's `transformers` renders it.

use super::Tokenizer;
use crate::{Error, Result, Status};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, context};

/// What one render may cost: a step of the template costs about one, and so do 64 bytes that it makes. So a template
/// cannot run without end, nor fill memory with text. (Of what minijinja 3.1 can do, one thing is not charged: joining
/// lists with `+`, again and again, to ever longer ones.)
const FUEL: u64 = 100_000;
/// What each message adds; real templates need some hundreds.
const FUEL_PER_MESSAGE: u64 = 2_000;

/// How deep macros and recursive loops may go; each level takes some of the host's stack.
const DEPTH: usize = 64;

const NAME: &str = "chat_template";

/// One turn of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: &'a str,
    /// What is said.
    pub content: &'a str,
}

/// A model's chat template. It never changes, and any threads may use it at once.
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// The texts of the beginning- and end-of-text tokens, which templates print.
    bos: Option<String>,
    eos: Option<String>,
}

fn failed(error: minijinja::Error) -> Error {
    let hint = match error.kind() {
        // No other name is asked for this often that rasp does not offer.
        ErrorKind::UnknownFunction if error.detail().is_some_and(|d| d.contains("strftime_now")) => {
            " (rasp gives templates no clock)"
        }
        ErrorKind::OutOfFuel => " (the template does more work than any conversation needs)",
        _ => "",
    };
    Error::new(Status::Template, format!("{error}{hint}"))
}

fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

impl ChatTemplate {
    /// Compiles a template; `tokenizer` knows the texts of `bos_token` and `eos_token`.
    pub fn new(template: &str, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        let text = |id: Option<u32>| {
            id.and_then(|id| tokenizer.token_bytes(id)).map(|b| String::from_utf8_lossy(b).into_owned())
        };
        ChatTemplate::with_tokens(template, text(tokenizer.bos()), text(tokenizer.eos()))
    }

    /// Compiles a template, given the texts of `bos_token` and `eos_token`.
    pub fn with_tokens(template: &str, bos: Option<String>, eos: Option<String>) -> Result<ChatTemplate> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?;
        environment.set_syntax(syntax);
        environment.set_recursion_limit(DEPTH);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_template_owned(NAME, template.to_string()).map_err(failed)?;
        Ok(ChatTemplate { environment, bos, eos })
    }

    /// The conversation as one text, to be encoded with [`parse_special`](super::EncodeOptions::parse_special).
    /// `add_generation_prompt` ends it with the start of the assistant's next turn.
    ///
    /// A template may refuse a conversation (two user turns in a row, say): the error has its own words.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        // A template copies a message's text a few times over; each byte of it pays for 64.
        let bytes = messages.iter().map(|m| m.content.len() as u64).sum::<u64>();
        let fuel = FUEL + FUEL_PER_MESSAGE * messages.len() as u64 + bytes;
        let messages: Vec<Value> = messages.iter().map(|m| context! { role => m.role, content => m.content }).collect();
        let text = |token: &Option<String>| token.as_deref().map_or(Value::UNDEFINED, Value::from);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let template = environment.get_template(NAME).map_err(failed)?;
        template
            .render(context! {
                messages,
                add_generation_prompt,
                bos_token => text(&self.bos),
                eos_token => text(&self.eos),
            })
            .map_err(failed)
    }
}
