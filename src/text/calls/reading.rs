//! One call, or a list of them, as it comes: read where it stopped once there is more.

use super::format::{Body, Field, Format, Tags};
use super::json::{Made, add, inside, items, members, push, quote, unescape};
use super::literal::{Dialect, Literal, ParseStatus, whole};
use super::looked;
use super::tools::{ArgumentKind, ToolList};

/// Bytes of a call at most: one that is longer is text.
pub(super) const MAX_CALL_BYTES: usize = 1 << 20;
/// Bytes of a name, an identifier or a tag's attributes at most.
const MAX_FIELD: usize = 512;

/// A call that a model makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The function's.
    pub name: String,
    /// A JSON object, without white space between its parts.
    pub arguments: String,
    /// What a result refers to: the model's word for it, or one that was made up.
    pub id: String,
}

#[derive(Clone, Debug)]
enum ReadingStage {
    /// Before the mark that opens a call within its block.
    Open,
    /// Before a value, or in a list of which nothing was read.
    Begin {
        listed: bool,
    },
    Json(Literal),
    PythonName {
        listed: bool,
    },
    PythonArguments {
        literal: Literal,
        listed: bool,
    },
    /// After a call in a list; whether a comma has come.
    PythonNext {
        comma: bool,
    },
    Field(Field),
    TagName,
    TagHead,
    /// Between the arguments.
    Between,
    Key,
    Value,
    /// The end of a value, as far as what follows says that it is: where the value ends.
    ValueEnd(usize),
    Attributes,
}

/// A reading of what may become calls. Places are those in the text that begins with their first mark.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub at: usize,
    /// Where the part began that is being read.
    from: usize,
    stage: ReadingStage,
    out: String,
    call: Call,
    kind: ArgumentKind,
    function: Option<usize>,
    pub calls: Vec<Call>,
}

/// Where one of some marks is in a text from a place on: that, which, and its end; or where to go on searching.
#[inline(never)]
fn search(text: &str, from: usize, marks: &[&str], ended: bool) -> Result<(usize, usize, usize), usize> {
    let bytes = text.as_bytes();
    for at in from..bytes.len() {
        looked(1);
        let mut perhaps = false;
        for (index, mark) in marks.iter().enumerate().filter(|(_, mark)| !mark.is_empty()) {
            let (rest, mark) = (&bytes[at..], mark.as_bytes());
            if rest.starts_with(mark) {
                return Ok((at, index, at + mark.len()));
            }
            perhaps |= !ended && mark.starts_with(rest);
        }
        if perhaps {
            return Err(at);
        }
    }
    Err(bytes.len())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte) || byte >= 0x80
}

impl Reading {
    /// After a mark of so many bytes: one that opens a call, or a block of them.
    #[inline(never)]
    pub(super) fn new(format: &Format, at: usize, opened: bool) -> Reading {
        let stage = match &format.body {
            _ if !opened && !format.opens.is_empty() => ReadingStage::Open,
            Body::Value => ReadingStage::Begin { listed: false },
            Body::Named { first, .. } => ReadingStage::Field(*first),
            Body::Tagged(_) => ReadingStage::TagName,
        };
        let (out, call, calls) = (String::new(), Call::default(), Vec::new());
        Reading { at, from: at, stage, out, call, kind: ArgumentKind::Unknown, function: None, calls }
    }

    /// Reads on. `ended`: no more text comes.
    pub(super) fn run(&mut self, text: &str, format: &Format, tools: &ToolList, ended: bool) -> Made<ParseStatus> {
        // However much has come, no more counts.
        let within = &text[..floor(text, MAX_CALL_BYTES)];
        let (more, ended, text) = (within.len() < text.len(), ended && within.len() == text.len(), within);
        loop {
            looked(1);
            let step = match &format.body {
                _ if matches!(self.stage, ReadingStage::Open) => self.open(text, format, ended),
                Body::Value => self.value(text, format, ended)?,
                Body::Named { marks, .. } => self.named(text, marks, ended)?,
                Body::Tagged(tags) => self.tagged(text, tags, format.close, tools, ended)?,
            };
            match step {
                Some(ParseStatus::More) if more => {
                    self.at = text.len();
                    return Ok(ParseStatus::Wrong);
                }
                Some(step) => return Ok(step),
                None => {}
            }
        }
    }

    /// What comes next that is no white space; `None` where that is not known.
    fn peek(&mut self, text: &str) -> Option<u8> {
        self.at += text.as_bytes()[self.at..].iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        text.as_bytes().get(self.at).copied()
    }

    /// Goes on to a stage, which begins here.
    #[inline(never)]
    fn enter(&mut self, stage: ReadingStage, at: usize) -> Option<ParseStatus> {
        (self.stage, self.at, self.from) = (stage, at, at);
        None
    }

    fn open(&mut self, text: &str, format: &Format, ended: bool) -> Option<ParseStatus> {
        if self.peek(text).is_none() {
            return Some(ParseStatus::More);
        }
        let rest = &text.as_bytes()[self.at..];
        if let Some(open) = format.opens.iter().find(|open| rest.starts_with(open.as_bytes())) {
            *self = Reading::new(format, self.at + open.len(), true);
            return None;
        }
        let perhaps = !ended && format.opens.iter().any(|open| open.as_bytes().starts_with(rest));
        Some(if perhaps { ParseStatus::More } else { ParseStatus::Wrong })
    }

    /// Ends a call whose arguments are there.
    #[inline(never)]
    fn made(&mut self) -> Made<()> {
        self.call.arguments = std::mem::take(&mut self.out);
        add(&mut self.calls, std::mem::take(&mut self.call))
    }

    fn value(&mut self, text: &str, format: &Format, ended: bool) -> Made<Option<ParseStatus>> {
        match &mut self.stage {
            &mut ReadingStage::Begin { listed } => {
                let Some(byte) = self.peek(text) else { return Ok(Some(ParseStatus::More)) };
                let at = self.at;
                match byte {
                    b'{' => {
                        let literal = match listed {
                            true => Literal::list(Dialect::Json, &mut self.out)?,
                            false => Literal::new(Dialect::Json),
                        };
                        Ok(self.enter(ReadingStage::Json(literal), at))
                    }
                    b'[' if !listed => Ok(self.enter(ReadingStage::Begin { listed: true }, at + 1)),
                    byte if is_name(byte) && !byte.is_ascii_digit() => {
                        Ok(self.enter(ReadingStage::PythonName { listed }, at))
                    }
                    _ => Ok(Some(ParseStatus::Wrong)),
                }
            }
            ReadingStage::Json(literal) => {
                let step = literal.run(text, &mut self.at, &mut self.out, ended)?;
                if step != ParseStatus::Done {
                    return Ok(Some(step));
                }
                let json = std::mem::take(&mut self.out);
                Ok(Some(if self.of_json(&json, format)? { ParseStatus::Done } else { ParseStatus::Wrong }))
            }
            &mut ReadingStage::PythonName { listed } => {
                let rest = &text.as_bytes()[self.at..];
                let length = rest.iter().take_while(|byte| is_name(**byte)).count();
                self.at += length;
                match rest.get(length) {
                    _ if self.at - self.from > MAX_FIELD => {
                        self.at = floor(text, self.from + MAX_FIELD);
                        Ok(Some(ParseStatus::Wrong))
                    }
                    None => Ok(Some(ParseStatus::More)),
                    Some(b'(') => {
                        let name = &text[self.from..self.at];
                        // Llama's built-in tools have a method.
                        let of = name.strip_suffix(".call").filter(|of| !of.is_empty());
                        push(&mut self.call.name, of.unwrap_or(name))?;
                        let literal = Literal::arguments(&mut self.out)?;
                        Ok(self.enter(ReadingStage::PythonArguments { literal, listed }, self.at + 1))
                    }
                    Some(_) => Ok(Some(ParseStatus::Wrong)),
                }
            }
            ReadingStage::PythonArguments { literal, listed } => {
                let listed = *listed;
                match literal.run(text, &mut self.at, &mut self.out, ended)? {
                    ParseStatus::Done => {
                        self.made()?;
                        match listed {
                            true => Ok(self.enter(ReadingStage::PythonNext { comma: false }, self.at)),
                            false => Ok(Some(ParseStatus::Done)),
                        }
                    }
                    step => Ok(Some(step)),
                }
            }
            &mut ReadingStage::PythonNext { comma } => match (self.peek(text), comma) {
                (None, _) => Ok(Some(ParseStatus::More)),
                (Some(b','), false) => Ok(self.enter(ReadingStage::PythonNext { comma: true }, self.at + 1)),
                (Some(b']'), false) => {
                    self.at += 1;
                    Ok(Some(ParseStatus::Done))
                }
                (Some(byte), true) if is_name(byte) => {
                    Ok(self.enter(ReadingStage::PythonName { listed: true }, self.at))
                }
                _ => Ok(Some(ParseStatus::Wrong)),
            },
            _ => Ok(Some(ParseStatus::Wrong)),
        }
    }

    /// Takes the calls that JSON tells of; `false` if one is none.
    fn of_json(&mut self, json: &str, format: &Format) -> Made<bool> {
        if !json.starts_with('[') {
            return self.one_of_json(json, format);
        }
        for item in items(json) {
            if !self.one_of_json(item, format)? {
                return Ok(false);
            }
        }
        Ok(!self.calls.is_empty())
    }

    #[inline(never)]
    fn one_of_json(&mut self, json: &str, format: &Format) -> Made<bool> {
        let (mut name, mut arguments, mut id, mut count) = (None, None, None, 0);
        let mut object = json;
        if let Some(inner) = super::json::member(json, "function").filter(|inner| inner.starts_with('{')) {
            object = inner;
            id = super::json::member(json, "id");
        }
        for (key, value) in members(object) {
            count += 1;
            match key {
                "name" | "tool_name" | "function" => name = inside(value),
                "arguments" | "parameters" => arguments = Some(value),
                "id" | "tool_call_id" => id = Some(value),
                _ => {}
            }
        }
        if format.print.is_keyed() && count == 1 {
            (name, arguments) = members(object).next().map(|(key, value)| (Some(key), Some(value))).unwrap_or_default();
        }
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(false) };
        match arguments {
            None | Some("null") => push(&mut self.out, "{}")?,
            Some(object) if object.starts_with('{') => push(&mut self.out, object)?,
            // An object's JSON, as a text.
            Some(text) => {
                let mut inner = String::new();
                unescape(&mut inner, inside(text).unwrap_or_default())?;
                if !whole(Dialect::Json, &inner, &mut self.out)? || !self.out.starts_with('{') {
                    return Ok(false);
                }
            }
        }
        unescape(&mut self.call.name, name)?;
        if self.call.name.is_empty() {
            return Ok(false);
        }
        let id = id.filter(|id| *id != "null").unwrap_or_default();
        unescape(&mut self.call.id, inside(id).unwrap_or(id))?;
        self.made()?;
        Ok(true)
    }

    fn named(&mut self, text: &str, marks: &[(&str, Field)], ended: bool) -> Made<Option<ParseStatus>> {
        if let ReadingStage::Json(literal) = &mut self.stage {
            let step = literal.run(text, &mut self.at, &mut self.out, ended)?;
            if step == ParseStatus::Done {
                self.made()?;
            }
            return Ok(Some(step));
        }
        let ReadingStage::Field(field) = self.stage else { return Ok(Some(ParseStatus::Wrong)) };
        if let Field::Arguments(dialect) = field {
            return Ok(match self.peek(text) {
                None => Some(ParseStatus::More),
                Some(b'{') => self.enter(ReadingStage::Json(Literal::new(dialect)), self.at),
                Some(_) => Some(ParseStatus::Wrong),
            });
        }
        let mut all = [""; 4];
        for (place, (mark, _)) in all.iter_mut().zip(marks) {
            *place = mark;
        }
        // A field ends within its room, wherever the pieces of the text do.
        let room = floor(text, self.from + MAX_FIELD);
        let (end, next, after) = match search(&text[..room], self.at, &all, ended || room < text.len()) {
            Ok((end, index, after)) => (end, marks[index].1, if marks[index].0 == "{" { end } else { after }),
            Err(at) => {
                self.at = at;
                return Ok(Some(if room < text.len() { ParseStatus::Wrong } else { ParseStatus::More }));
            }
        };
        let found = text[self.from..end].trim();
        match field {
            Field::Id => push(&mut self.call.id, found)?,
            Field::Name => push(&mut self.call.name, found)?,
            Field::Handle => {
                push(&mut self.call.id, found)?;
                let name = found.strip_prefix("functions.").unwrap_or(found);
                push(&mut self.call.name, name.rsplit_once(':').map_or(name, |(name, _)| name))?;
            }
            Field::Skip | Field::Arguments(_) => {}
        }
        if matches!(next, Field::Arguments(_)) && self.call.name.is_empty() {
            self.at = end;
            return Ok(Some(ParseStatus::Wrong));
        }
        Ok(self.enter(ReadingStage::Field(next), after))
    }

    fn tagged(
        &mut self,
        text: &str,
        tags: &Tags,
        close: &str,
        tools: &ToolList,
        ended: bool,
    ) -> Made<Option<ParseStatus>> {
        // What ends the part that is being read.
        let ends = match self.stage {
            ReadingStage::Between | ReadingStage::ValueEnd(_) => return self.between(text, tags, close, ended),
            ReadingStage::TagName => [tags.name_end, tags.key, close],
            ReadingStage::TagHead => [tags.head_end, "", ""],
            ReadingStage::Key => [tags.key_end, "", ""],
            ReadingStage::Attributes => [tags.value, "", ""],
            ReadingStage::Value => [tags.value_end, "", ""],
            _ => return Ok(Some(ParseStatus::Wrong)),
        };
        let is_value = matches!(self.stage, ReadingStage::Value);
        let room = if is_value { text.len() } else { floor(text, self.from + MAX_FIELD) };
        let (end, which, after) = match search(&text[..room], self.at, &ends, ended || room < text.len()) {
            Ok(found) => found,
            Err(at) => {
                self.at = at;
                return Ok(Some(if room < text.len() { ParseStatus::Wrong } else { ParseStatus::More }));
            }
        };
        let found = text[self.from..end].trim();
        match self.stage {
            ReadingStage::TagName if found.is_empty() => {
                self.at = end;
                Ok(Some(ParseStatus::Wrong))
            }
            ReadingStage::TagName => {
                push(&mut self.call.name, found)?;
                self.function = tools.find(found)?;
                push(&mut self.out, "{")?;
                Ok(match (which, tags.head_end) {
                    (0, "") => self.enter(ReadingStage::Between, after),
                    (0, _) => self.enter(ReadingStage::TagHead, after),
                    _ => self.enter(ReadingStage::Between, end),
                })
            }
            ReadingStage::Key => {
                self.kind = tools.kind(self.function, found)?;
                if self.out.len() > 1 {
                    push(&mut self.out, ",")?;
                }
                quote(&mut self.out, found)?;
                push(&mut self.out, ":")?;
                Ok(self
                    .enter(if tags.value.is_empty() { ReadingStage::Value } else { ReadingStage::Attributes }, after))
            }
            ReadingStage::Attributes => {
                if !found.is_empty() && !tags.text.is_empty() {
                    self.kind = if found.contains(tags.text) { ArgumentKind::Text } else { ArgumentKind::Other };
                }
                Ok(self.enter(ReadingStage::Value, after))
            }
            ReadingStage::Value => {
                // Its beginning stays known.
                (self.stage, self.at) = (ReadingStage::ValueEnd(end), after);
                Ok(None)
            }
            _ => Ok(self.enter(ReadingStage::Between, after)),
        }
    }

    /// Reads what follows an argument, or the name: another, or the end.
    fn between(&mut self, text: &str, tags: &Tags, close: &str, ended: bool) -> Made<Option<ParseStatus>> {
        if self.peek(text).is_none() {
            return Ok(Some(ParseStatus::More));
        }
        let rest = &text.as_bytes()[self.at..];
        let marks = [tags.key.as_bytes(), close.as_bytes()];
        let which = marks.iter().position(|mark| rest.starts_with(mark));
        if which.is_none() && !ended && marks.iter().any(|mark| mark.starts_with(rest)) {
            return Ok(Some(ParseStatus::More));
        }
        match (which, &self.stage) {
            (Some(_), &ReadingStage::ValueEnd(end)) => {
                self.argument(&text[self.from..end], tags.lines)?;
                (self.stage, self.from) = (ReadingStage::Between, self.at);
                Ok(None)
            }
            // What seemed to end the value is within it.
            (None, &ReadingStage::ValueEnd(end)) => {
                (self.stage, self.at) = (ReadingStage::Value, end + tags.value_end.len());
                Ok(None)
            }
            (None, _) => Ok(Some(ParseStatus::Wrong)),
            (Some(0), _) => Ok(self.enter(ReadingStage::Key, self.at + tags.key.len())),
            (Some(_), _) => {
                push(&mut self.out, "}")?;
                self.at += close.len();
                self.made()?;
                Ok(Some(ParseStatus::Done))
            }
        }
    }

    /// Appends an argument, which is a text unless its schema and its looks say otherwise.
    #[inline(never)]
    fn argument(&mut self, text: &str, lines: bool) -> Made<()> {
        let mut inner = text;
        if lines {
            inner = inner.strip_prefix('\n').unwrap_or(inner);
            inner = inner.strip_suffix('\n').unwrap_or(inner);
        }
        // What would not be itself in XML.
        if let Some(quoted) = inner.strip_prefix("<![CDATA[").and_then(|rest| rest.strip_suffix("]]>")) {
            return quote(&mut self.out, quoted);
        }
        let is_text = self.kind == ArgumentKind::Text
            || self.kind == ArgumentKind::Unknown && inner.trim_start().starts_with(['"', '\'']);
        // Some templates print lists as Python does.
        if !is_text && whole(Dialect::Python, inner, &mut self.out)? {
            return Ok(());
        }
        quote(&mut self.out, inner)
    }
}

/// The last place between characters, up to this one.
fn floor(text: &str, at: usize) -> usize {
    if at >= text.len() { text.len() } else { text.floor_char_boundary(at) }
}
