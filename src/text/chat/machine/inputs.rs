//! What a template is given: the messages, the host's variables, and what the tokenizer knows.

use super::Machine;
use crate::text::chat::memory::{Value, failed, push};
use crate::text::chat::{Chat, Message};
use crate::{Error, Result, Status};

/// Whether a role is a word, as roles are. Templates make tags of them (`'<|' + role + '|>'`), so such a one is not
/// inert: it decides which tag it is, and can neither end one nor begin another.
fn is_word(role: &str) -> bool {
    !role.is_empty() && role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

impl Machine<'_> {
    pub(super) fn context(&mut self, chat: &Chat<'_>, tokens: &[(&str, &str)]) -> Result<()> {
        self.memory.time = chat.time;
        for (name, text) in tokens {
            let text = self.memory.text(text)?;
            self.give(name, text)?;
        }
        // As `transformers` gives them where there are none.
        self.give("tools", Value::None)?;
        self.give("documents", Value::None)?;
        if let Some(variables) = chat.variables {
            let pairs = self.memory.object(variables).map_err(|error| error.context("variables"))?;
            for &[name, value] in pairs.as_chunks::<2>().0 {
                let Value::Str(name) = name else { continue };
                if let name @ ("messages" | "add_generation_prompt") = self.memory.str(name) {
                    let message = format_args!("variables have {name:?}, which is given by itself");
                    return Err(Error::new(Status::InvalidArgument, message));
                }
                push(&mut self.variables, (name, value))?;
            }
        }
        let [role, content] = [self.memory.text("role")?, self.memory.text("content")?];
        let mut all = Vec::new();
        for (index, message) in chat.messages.iter().enumerate() {
            let message = self.message(message, role, content);
            let message = message.map_err(|error| error.context(format_args!("message {index}")))?;
            push(&mut all, message)?;
        }
        let all = self.memory.list(&all)?;
        self.give("messages", all)?;
        self.give("add_generation_prompt", Value::Bool(chat.add_generation_prompt))
    }

    pub(super) fn give(&mut self, name: &str, value: Value) -> Result<()> {
        let Value::Str(name) = self.memory.text(name)? else { return failed("no text") };
        push(&mut self.variables, (name, value))
    }

    fn message(&mut self, message: &Message<'_>, role: Value, content: Value) -> Result<Value> {
        let mut pairs = Vec::new();
        let speaker = match is_word(message.role) {
            true => self.memory.text(message.role)?,
            false => self.memory.inert(message.role)?,
        };
        [role, speaker].into_iter().try_for_each(|value| push(&mut pairs, value))?;
        if let Some(text) = message.content {
            let text = self.memory.inert(text)?;
            [content, text].into_iter().try_for_each(|value| push(&mut pairs, value))?;
        }
        if let Some(fields) = message.fields {
            let fields = self.memory.object(fields).map_err(|error| error.context("fields"))?;
            for name in fields.iter().step_by(2) {
                let Value::Str(name) = *name else { continue };
                let given = match self.memory.str(name) {
                    "role" => true,
                    "content" => message.content.is_some(),
                    _ => false,
                };
                if given {
                    let name = self.memory.str(name);
                    let words = format_args!("fields have {name:?}, which is given by itself");
                    return Err(Error::new(Status::InvalidArgument, words));
                }
            }
            fields.iter().try_for_each(|value| push(&mut pairs, *value))?;
        }
        self.memory.known_dict(&pairs)
    }
}
