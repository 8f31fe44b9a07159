//! An answer, told apart as it comes: what of it is text, what the model thought, and what calls tools.

use super::format::{Format, Thinking};
use super::json::{Made, NoMemory, add, push, quote};
use super::literal::ParseStatus;
use super::looked;
use super::reading::{Call, Reading};
use super::tools::ToolList;
use crate::text::{Chat, ChatTemplate, ChatText};
use crate::{Error, Result, Status};
use std::fmt::Write;

/// A part of an answer. Texts that follow each other are one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// What the assistant says.
    Text(&'a str),
    /// What it thinks before it says something.
    Reasoning(&'a str),
    /// What it calls.
    Call(&'a Call),
}

/// What of an answer is known but was not told.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// From a place in the text, or in the thoughts.
    Said {
        thought: bool,
        from: usize,
    },
    Call(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Text,
    Reasoning,
    /// After a call, and no text since.
    Called,
}

/// Takes an answer's text as it comes, and tells what it is made of.
///
/// What may become a call is held back, and so is white space, which belongs to neither where text ends beside a call
/// or a thought. What seemed to be a call and is none is text: nothing is lost. All it holds is in proportion to the
/// answer, and so is the time it takes.
#[derive(Clone, Debug)]
pub struct Reply {
    format: Option<&'static Format>,
    thinking: Option<&'static Thinking>,
    tools: ToolList,
    /// How many messages came before: identifiers are made of it.
    messages: usize,
    /// What has come and is not told apart, from `start` on.
    held: String,
    start: usize,
    /// How far it was looked through, and where in that the white space at its end begins.
    at: usize,
    solid: usize,
    place: Place,
    /// Whether nothing but white space and thoughts has come.
    fresh: bool,
    /// What may become calls; it begins at `at`.
    reading: Option<Reading>,
    /// Whether it began without a mark.
    bare: bool,
    /// Whether a mark of the format ended with the last call, so that more calls may follow without one.
    in_block: bool,
    content: String,
    reasoning: String,
    calls: Vec<Call>,
    known: Vec<Known>,
    told: usize,
    finished: bool,
    /// Whether memory failed, so that it is not known what of the answer is lost.
    broken: bool,
}

/// What a mark in a text means.
#[derive(Clone, Copy)]
enum Mark {
    Block,
    Open,
    Think,
    ThinkEnd,
    /// Not to be shown.
    Silent,
}

impl Reply {
    /// For an answer to a chat, whose template says how tools are called and whether the answer begins with thoughts.
    pub fn new(template: &ChatTemplate, chat: &Chat<'_>) -> Result<Reply> {
        let mut reply = Reply::to(template, chat)?;
        if reply.thinking.is_some() {
            reply.follow(&template.format(chat)?);
        }
        Ok(reply)
    }

    /// The same, given what the template made of the chat.
    pub fn of_prompt(template: &ChatTemplate, chat: &Chat<'_>, prompt: &ChatText) -> Result<Reply> {
        let mut reply = Reply::to(template, chat)?;
        reply.follow(prompt);
        Ok(reply)
    }

    /// To a chat whose text nobody has looked at.
    fn to(template: &ChatTemplate, chat: &Chat<'_>) -> Result<Reply> {
        let forms = template.forms();
        let mut reply = Reply::of(forms.format, forms.thinking);
        if let Some(variables) = chat.variables {
            reply.tools = ToolList::of_variables(variables)?;
        }
        reply.messages = chat.messages.len();
        Ok(reply)
    }

    /// Begins within a thought if that is where the prompt ends.
    fn follow(&mut self, prompt: &ChatText) {
        let Some(thinking) = self.thinking else { return };
        // The template's own words after all that was said.
        let own = prompt.inert().last().map_or(0, |said| said.end as usize);
        let own = &prompt.text()[own..];
        let (open, close) = (own.rfind(thinking.open.trim_end()), own.rfind(thinking.close));
        if open.is_some() && open > close {
            self.place = Place::Reasoning;
        }
    }

    pub(super) fn of(format: Option<&'static Format>, thinking: Option<&'static Thinking>) -> Reply {
        Reply {
            format,
            thinking,
            tools: ToolList::default(),
            messages: 0,
            held: String::new(),
            start: 0,
            at: 0,
            solid: 0,
            place: Place::Text,
            fresh: true,
            reading: None,
            bare: false,
            in_block: false,
            content: String::new(),
            reasoning: String::new(),
            calls: Vec::new(),
            known: Vec::new(),
            told: 0,
            finished: false,
            broken: false,
        }
    }

    #[cfg(test)]
    pub(super) fn set_tools(&mut self, tools: ToolList) {
        self.tools = tools;
    }

    /// The name of the form in which the model calls tools, if it is known.
    pub fn format(&self) -> Option<&'static str> {
        self.format.map(|format| format.name)
    }

    /// The same for an answer in which no tool can be called: what looks like a call is text.
    pub fn without_calls(mut self) -> Reply {
        self.format = None;
        self
    }

    /// Whether all that this can tell is text: the template teaches neither calls nor thoughts.
    pub fn is_plain(&self) -> bool {
        self.format.is_none() && self.thinking.is_none()
    }

    /// Takes more of the answer. Where memory fails part of it may be lost, and so this and what follows fails.
    pub fn push(&mut self, piece: &str) -> Result<()> {
        if self.finished {
            return Err(Error::new(Status::InvalidState, "the answer is finished: nothing can be added to it"));
        }
        self.take(piece, false)
    }

    /// Ends the answer: what was held back is text, or a call whose end the model left out.
    pub fn finish(&mut self) -> Result<()> {
        if !self.finished {
            self.take("", true)?;
            self.finished = true;
        }
        Ok(())
    }

    /// Whether what comes is what the model thinks.
    #[cfg(feature = "constrained")]
    pub(super) fn thinks(&self) -> bool {
        self.place == Place::Reasoning
    }

    /// Whether it was ended.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    #[inline(never)]
    fn take(&mut self, piece: &str, ended: bool) -> Result<()> {
        if self.broken {
            return Err(NoMemory.into());
        }
        if self.told == self.known.len() {
            self.known.clear();
            self.told = 0;
        }
        let read = push(&mut self.held, piece).and_then(|()| self.read(ended));
        self.broken = read.is_err();
        Ok(read?)
    }

    /// The next part of what is known of the answer; none until more has come.
    pub fn next_part(&mut self) -> Option<Part<'_>> {
        let known = *self.known.get(self.told)?;
        self.told += 1;
        let (thought, from) = match known {
            Known::Call(index) => return Some(Part::Call(&self.calls[index])),
            Known::Said { thought, from } => (thought, from),
        };
        let all = if thought { &self.reasoning } else { &self.content };
        let next = self.known[self.told..].iter().find_map(|known| match known {
            Known::Said { thought: other, from } if *other == thought => Some(*from),
            _ => None,
        });
        let said = &all[from..next.unwrap_or(all.len())];
        Some(if thought { Part::Reasoning(said) } else { Part::Text(said) })
    }

    /// The calls that are known.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// What is known of the answer as one message, a JSON object: `content`, and `reasoning_content` and `tool_calls`
    /// where there are some. It is what the fields of a [`Message`](crate::text::Message) may be, by which the answer
    /// goes back into the conversation.
    pub fn message(&self) -> Result<String> {
        Ok(self.written()?)
    }

    fn written(&self) -> Made<String> {
        let mut out = String::new();
        push(&mut out, "{\"content\":")?;
        quote(&mut out, &self.content)?;
        if !self.reasoning.is_empty() {
            push(&mut out, ",\"reasoning_content\":")?;
            quote(&mut out, &self.reasoning)?;
        }
        for (index, call) in self.calls.iter().enumerate() {
            push(&mut out, if index == 0 { ",\"tool_calls\":[" } else { "," })?;
            push(&mut out, "{\"type\":\"function\",\"id\":")?;
            quote(&mut out, &call.id)?;
            push(&mut out, ",\"function\":{\"name\":")?;
            quote(&mut out, &call.name)?;
            push(&mut out, ",\"arguments\":")?;
            push(&mut out, &call.arguments)?;
            push(&mut out, "}}")?;
        }
        push(&mut out, if self.calls.is_empty() { "}" } else { "]}" })?;
        Ok(out)
    }

    /// Tells apart what is held, as far as it can be.
    fn read(&mut self, ended: bool) -> Made<()> {
        loop {
            let more = match self.reading.is_some() {
                true => self.read_call(ended)?,
                false => self.read_text(ended)?,
            };
            if !more {
                break;
            }
        }
        if self.start > 0 {
            looked(self.held.len());
            self.held.drain(..self.start);
            self.at -= self.start;
            self.solid -= self.start;
            self.start = 0;
        }
        Ok(())
    }

    /// Goes on with what may become calls; whether there is more to be told apart.
    fn read_call(&mut self, ended: bool) -> Made<bool> {
        let (Some(format), Some(mut reading)) = (self.format, self.reading.take()) else { return Ok(false) };
        let step = reading.run(&self.held[self.at..], format, &self.tools, ended)?;
        let end = self.at + reading.at;
        // Without a mark, JSON is a call only of what there is.
        let unknown = self.bare && step == ParseStatus::Done && {
            let mut known = true;
            for call in &reading.calls {
                known &= self.tools.find(&call.name)?.is_some();
            }
            !known
        };
        match step {
            ParseStatus::More if !ended => {
                self.reading = Some(reading);
                return Ok(false);
            }
            ParseStatus::Done if !unknown => {
                self.told_text(self.solid)?;
                for call in reading.calls {
                    self.add_call(call)?;
                }
                (self.place, self.in_block) = (Place::Called, true);
            }
            // Text; what comes after it is looked at anew.
            _ => {
                let mut end = if step == ParseStatus::More { self.held.len() } else { end.max(self.at + 1) };
                while !self.held.is_char_boundary(end) {
                    end += 1;
                }
                self.solid = self.at + self.held[self.at..end].trim_end().len();
                self.told_text(self.solid)?;
                self.at = end;
                return Ok(true);
            }
        }
        self.skip(end);
        Ok(true)
    }

    #[inline(never)]
    fn add_call(&mut self, mut call: Call) -> Made<()> {
        if call.id.is_empty() {
            // Nine letters and digits, which is what some templates ask for.
            // As many as two numbers have at most, and four letters.
            call.id.try_reserve(44).map_err(|_| NoMemory)?;
            let _ = write!(call.id, "call{:03}{:02}", self.messages, self.calls.len());
        }
        add(&mut self.known, Known::Call(self.calls.len()))?;
        add(&mut self.calls, call)
    }

    /// What comes next begins here.
    #[inline(never)]
    fn skip(&mut self, at: usize) {
        (self.start, self.at, self.solid) = (at, at, at);
    }

    /// Hands out what is held up to a place, as what it is.
    #[inline(never)]
    fn told_text(&mut self, end: usize) -> Made<()> {
        let text = &self.held[self.start..end];
        let thought = self.place == Place::Reasoning;
        let all = if thought { &mut self.reasoning } else { &mut self.content };
        // White space after a call, after thoughts or before them is none of the text.
        let text = if all.is_empty() && thought || self.place == Place::Called { text.trim_start() } else { text };
        if text.is_empty() {
            return Ok(());
        }
        let goes_on = matches!(self.known[self.told..].last(), Some(Known::Said { thought: t, .. }) if *t == thought);
        let from = all.len();
        push(all, text)?;
        if !goes_on {
            add(&mut self.known, Known::Said { thought, from })?;
        }
        if !thought {
            (self.place, self.fresh, self.in_block) = (Place::Text, false, false);
        }
        self.start = end;
        Ok(())
    }

    /// The marks that mean something here.
    fn marks(&self) -> impl Iterator<Item = (&'static str, Mark)> + use<> {
        let thinks = self.place == Place::Reasoning;
        let (format, thinking) = (self.format, self.thinking);
        let called = self.place == Place::Called && self.in_block;
        let of_format = format.into_iter().filter(move |_| !thinks).flat_map(move |format| {
            let blocks = format.blocks.iter().map(|[open, _]| (*open, Mark::Block));
            let ends = format.blocks.iter().map(|[_, close]| *close).chain([format.close]);
            let ends = ends.filter(move |end| called && !end.is_empty()).map(|end| (end, Mark::Silent));
            let opens = format.opens.iter().map(|open| (*open, Mark::Open));
            ends.chain(blocks).chain(opens).chain(format.silent.iter().map(|silent| (*silent, Mark::Silent)))
        });
        let of_thinking = thinking.into_iter().map(move |thinking| match thinks {
            true => (thinking.close, Mark::ThinkEnd),
            false => (thinking.open, Mark::Think),
        });
        of_thinking.chain(of_format)
    }

    /// Goes on with text; whether there is more to be told apart.
    fn read_text(&mut self, ended: bool) -> Made<bool> {
        while self.at < self.held.len() {
            looked(1);
            let rest = &self.held.as_bytes()[self.at..];
            // The longest of those that are here, once none that is longer can be.
            let mut perhaps = false;
            let mut found: Option<(usize, Mark)> = None;
            for (text, mark) in self.marks() {
                let text = text.as_bytes();
                if rest.starts_with(text) && found.is_none_or(|(length, _)| length < text.len()) {
                    found = Some((text.len(), mark));
                }
                perhaps |= !ended && text.len() > rest.len() && text.starts_with(rest);
            }
            if perhaps {
                break;
            }
            if let Some((length, mark)) = found {
                self.enter(mark, length)?;
                return Ok(true);
            }
            let c = self.held[self.at..].chars().next().unwrap_or('\0');
            if self.may_begin(c) {
                self.reading = self.format.map(|format| Reading::new(format, 0, true));
                self.bare = self.format.is_some_and(|format| format.bare);
                return Ok(true);
            }
            self.at += c.len_utf8();
            // What parts calls is no text, if it does.
            let parts = self.place == Place::Called && self.in_block && (c == ',' || c == ';');
            if !parts && !c.is_whitespace() {
                self.solid = self.at;
                if self.place == Place::Called {
                    self.told_text(self.solid)?;
                }
            }
        }
        if ended {
            // White space at the end is the text's, unless nothing else is.
            self.solid = if self.place == Place::Text { self.held.len() } else { self.solid };
        }
        self.told_text(self.solid)?;
        if ended {
            self.skip(self.held.len());
        }
        Ok(false)
    }

    /// Whether this may be a call that no mark opens.
    fn may_begin(&self, c: char) -> bool {
        let Some(format) = self.format.filter(|format| format.opens.is_empty()) else { return false };
        let json = c == '{' || c == '[';
        match self.place {
            Place::Reasoning => false,
            Place::Called if self.in_block => json || c.is_alphabetic() || c == '_',
            _ => format.bare && self.fresh && json && self.solid == self.start && !self.tools.is_empty(),
        }
    }

    #[inline(never)]
    fn enter(&mut self, mark: Mark, length: usize) -> Made<()> {
        let at = self.at;
        match mark {
            Mark::Block | Mark::Open => {
                let Some(format) = self.format else { return Ok(()) };
                let opened = matches!(mark, Mark::Open) || format.opens.is_empty();
                (self.reading, self.bare) = (Some(Reading::new(format, length, opened)), false);
                return Ok(());
            }
            Mark::Silent => self.told_text(self.solid)?,
            Mark::Think => {
                self.told_text(self.solid)?;
                self.place = Place::Reasoning;
                self.skip(at + length);
                return Ok(());
            }
            Mark::ThinkEnd => {
                self.told_text(self.solid)?;
                self.place = Place::Called;
                self.in_block = false;
            }
        }
        self.skip(at + length);
        Ok(())
    }
}
