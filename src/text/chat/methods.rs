//! What a template calls: methods of texts, dictionaries and lists as Python has them, and functions.

use super::clock::strftime;
use super::code::{Arguments, Span};
use super::memory::{List, Memory, Value, failed, push};
use super::operators::{kind, position};
use crate::Result;

/// Numbers of `range` at most.
const RANGE: i64 = 100_000;

/// Characters that a text is padded to at most.
pub(super) const WIDTH: usize = 4096;

/// What a call was given.
#[derive(Clone, Copy)]
pub(super) struct Given<'s> {
    pub positional: &'s [Value],
    /// Names and values.
    pub named: &'s [Value],
}

impl<'s> Given<'s> {
    pub fn new(values: &'s [Value], arguments: Arguments) -> Given<'s> {
        let (positional, named) = values.split_at(usize::from(arguments.positional).min(values.len()));
        Given { positional, named }
    }

    /// The argument at a place, or of a name.
    pub fn get(self, memory: &Memory<'_>, at: usize, name: &str) -> Option<Value> {
        let named = || {
            let pairs = self.named.as_chunks::<2>().0;
            pairs.iter().find(|[its, _]| matches!(its, Value::Str(its) if memory.str(*its) == name)).map(|[_, v]| *v)
        };
        self.positional.get(at).copied().or_else(named)
    }

    pub fn text(self, memory: &Memory<'_>, at: usize, name: &str) -> Result<Option<Span>> {
        match self.get(memory, at, name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(other) => failed(format_args!("{name} is {}, not a text", kind(other))),
        }
    }

    pub fn int(self, memory: &Memory<'_>, at: usize, name: &str) -> Result<Option<i64>> {
        match self.get(memory, at, name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Int(n)) => Ok(Some(n)),
            Some(Value::Bool(truth)) => Ok(Some(i64::from(truth))),
            Some(other) => failed(format_args!("{name} is {}, not a whole number", kind(other))),
        }
    }

    /// A width, which is bounded.
    pub fn width(self, memory: &Memory<'_>, at: usize, name: &str) -> Result<Option<usize>> {
        let Some(width) = self.int(memory, at, name)? else { return Ok(None) };
        let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
        if width > WIDTH {
            return failed(format_args!("a width of {width}; {WIDTH} is the most"));
        }
        Ok(Some(width))
    }
}

impl Memory<'_> {
    pub fn function(&mut self, name: Span, given: Given<'_>) -> Result<Value> {
        match self.str(name) {
            "raise_exception" => match given.text(self, 0, "message")? {
                Some(text) => failed(self.str(text)),
                None => failed("the template refuses the conversation"),
            },
            "strftime_now" => {
                let (Some(format), Some(time)) = (given.text(self, 0, "format")?, self.time) else {
                    return failed("strftime_now takes a format");
                };
                let mut out = self.writer();
                strftime(&mut out, self.str(format), time)?;
                if self.marked(format) {
                    out.mark(0)?;
                }
                self.finish(out)
            }
            "namespace" => {
                let namespace = self.namespace();
                let Value::Namespace(id) = namespace else { return Ok(namespace) };
                if let Some(Value::Dict(dict)) = given.positional.first() {
                    for pair in 0..dict.len as usize {
                        if let Value::Str(name) = self.item(*dict, 2 * pair) {
                            self.set_attribute(id, name, self.item(*dict, 2 * pair + 1))?;
                        }
                    }
                }
                for [name, value] in given.named.as_chunks::<2>().0 {
                    if let Value::Str(name) = name {
                        self.set_attribute(id, *name, *value)?;
                    }
                }
                Ok(namespace)
            }
            "dict" => match given.positional.first() {
                Some(Value::Dict(dict)) => {
                    let mut pairs = Vec::new();
                    let old = self.items(*dict, true);
                    old.iter().chain(given.named).try_for_each(|value| push(&mut pairs, *value))?;
                    self.dict(&pairs)
                }
                Some(other) => failed(format_args!("dict of {}", kind(*other))),
                None => self.dict(given.named),
            },
            "range" => {
                let number = |at| match given.positional.get(at) {
                    None => Ok(None),
                    Some(Value::Int(n)) => Ok(Some(*n)),
                    Some(other) => failed(format_args!("range of {}", kind(*other))),
                };
                let (start, stop, step) = match (number(0)?, number(1)?, number(2)?) {
                    (Some(stop), None, None) => (0, stop, 1),
                    (Some(start), Some(stop), step) => (start, stop, step.unwrap_or(1)),
                    _ => return failed("range takes one to three numbers"),
                };
                if step == 0 {
                    return failed("range with a step of zero");
                }
                let distance = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
                let count = distance.max(0) as u64;
                let count = count.div_ceil(step.unsigned_abs());
                if count > RANGE as u64 {
                    return failed(format_args!("range of {count} numbers; {RANGE} are the most"));
                }
                let mut all = Vec::new();
                self.budget.bytes(count as usize * size_of::<Value>())?;
                (0..count as i64).try_for_each(|n| push(&mut all, Value::Int(start + n * step)))?;
                self.list(&all)
            }
            other => failed(format_args!("there is no function {other}")),
        }
    }

    pub fn method(&mut self, name: Span, object: Value, given: Given<'_>) -> Result<Value> {
        match object {
            Value::Str(text) => self.text_method(name, text, given),
            Value::Dict(dict) => self.dict_method(name, dict, given),
            Value::List(list) => match self.str(name) {
                "count" | "index" => {
                    let wanted = given.positional.first().copied().unwrap_or(Value::None);
                    let counts = self.str(name) == "count";
                    let mut count = 0;
                    for at in 0..list.len as usize {
                        if self.equal(self.item(list, at), wanted)? {
                            if !counts {
                                return Ok(Value::Int(at as i64));
                            }
                            count += 1;
                        }
                    }
                    if counts { Ok(Value::Int(count)) } else { failed("the list has no such item") }
                }
                other => failed(format_args!("a list has no method {other} here")),
            },
            Value::Undefined(of) => self.undefined(of),
            other => failed(format_args!("{} has no method {}", kind(other), self.str(name))),
        }
    }

    fn dict_method(&mut self, name: Span, dict: List, given: Given<'_>) -> Result<Value> {
        let mut all = Vec::new();
        match self.str(name) {
            "get" => {
                let key = given.positional.first().copied().unwrap_or(Value::None);
                let found = self.find(dict, key)?;
                let otherwise = given.get(self, 1, "default").unwrap_or(Value::None);
                return Ok(found.map_or(otherwise, |pair| self.item(dict, 2 * pair + 1)));
            }
            "items" => return self.pairs(dict),
            "keys" => (0..dict.len as usize).try_for_each(|pair| push(&mut all, self.item(dict, 2 * pair)))?,
            "values" => (0..dict.len as usize).try_for_each(|pair| push(&mut all, self.item(dict, 2 * pair + 1)))?,
            "copy" => return Ok(Value::Dict(dict)),
            other => return failed(format_args!("a dictionary has no method {other} here")),
        }
        self.list(&all)
    }

    /// Keys and values, a pair each.
    pub fn pairs(&mut self, dict: List) -> Result<Value> {
        let mut all = Vec::new();
        for pair in 0..dict.len as usize {
            let both = [self.item(dict, 2 * pair), self.item(dict, 2 * pair + 1)];
            let both = self.tuple(&both)?;
            push(&mut all, both)?;
        }
        self.list(&all)
    }

    fn text_method(&mut self, name: Span, span: Span, given: Given<'_>) -> Result<Value> {
        self.budget.work(span.len as usize / 16)?;
        let text = self.str(span);
        // Parts of a text are places in it; nothing is copied.
        let part = |part: &str| {
            let from = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
            Value::Str(self.part(span, part, if part.is_empty() { 0 } else { from }))
        };
        let first = given.positional.first().copied();
        let word = given.text(self, 0, "sep");
        let prefix = |of: &dyn Fn(&str) -> bool| match first {
            Some(Value::Str(one)) => Ok(Value::Bool(of(self.str(one)))),
            Some(Value::List(list)) => {
                let any =
                    self.items(list, false).iter().any(|item| matches!(item, Value::Str(one) if of(self.str(*one))));
                Ok(Value::Bool(any))
            }
            _ => failed("a text is missing"),
        };
        let all_chars = |of: fn(char) -> bool| Ok(Value::Bool(!text.is_empty() && text.chars().all(of)));
        match self.str(name) {
            "strip" | "lstrip" | "rstrip" => {
                let chars = given.text(self, 0, "chars")?.map(|chars| self.str(chars));
                let goes = |c: char| chars.map_or(c.is_whitespace(), |chars| chars.contains(c));
                Ok(part(match self.str(name) {
                    "strip" => text.trim_matches(goes),
                    "lstrip" => text.trim_start_matches(goes),
                    _ => text.trim_end_matches(goes),
                }))
            }
            "startswith" => prefix(&|one| text.starts_with(one)),
            "endswith" => prefix(&|one| text.ends_with(one)),
            "removeprefix" | "removesuffix" => {
                let Some(word) = word?.map(|word| self.str(word)) else { return failed("a text is missing") };
                let rest =
                    if self.str(name) == "removeprefix" { text.strip_prefix(word) } else { text.strip_suffix(word) };
                Ok(part(rest.unwrap_or(text)))
            }
            "isdigit" | "isnumeric" | "isdecimal" => all_chars(char::is_numeric),
            "isalpha" => all_chars(char::is_alphabetic),
            "isalnum" => all_chars(char::is_alphanumeric),
            "isspace" => all_chars(char::is_whitespace),
            "isupper" => Ok(Value::Bool(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase))),
            "islower" => Ok(Value::Bool(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase))),
            "find" | "rfind" | "index" | "count" => {
                let Some(word) = word?.map(|word| self.str(word)) else { return failed("a text is missing") };
                let at = match self.str(name) {
                    "count" if word.is_empty() => return Ok(Value::Int(text.chars().count() as i64 + 1)),
                    "count" => return Ok(Value::Int(text.matches(word).count() as i64)),
                    "rfind" => text.rfind(word),
                    _ => text.find(word),
                };
                match at {
                    Some(at) => Ok(Value::Int(text[..at].chars().count() as i64)),
                    None if self.str(name) == "index" => failed("the text has no such part"),
                    None => Ok(Value::Int(-1)),
                }
            }
            "split" | "rsplit" => {
                let most = given.int(self, 1, "maxsplit")?.and_then(|most| usize::try_from(most).ok());
                let most = most.unwrap_or(usize::MAX - 1);
                let mut all = Vec::new();
                let right = self.str(name) == "rsplit";
                match word?.map(|word| self.str(word)) {
                    Some("") => return failed("an empty separator"),
                    Some(word) if right => text.rsplitn(most + 1, word).try_for_each(|p| push(&mut all, part(p)))?,
                    Some(word) => text.splitn(most + 1, word).try_for_each(|p| push(&mut all, part(p)))?,
                    None => {
                        let mut rest = if right { text.trim_end() } else { text.trim_start() };
                        while !rest.is_empty() {
                            let cut =
                                if right { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
                            let Some(cut) = cut.filter(|_| all.len() < most) else {
                                push(&mut all, part(rest))?;
                                break;
                            };
                            if right {
                                let word = &rest[cut..];
                                push(&mut all, part(word.trim_start()))?;
                                rest = rest[..cut].trim_end();
                            } else {
                                push(&mut all, part(&rest[..cut]))?;
                                rest = rest[cut..].trim_start();
                            }
                        }
                    }
                }
                if right {
                    all.reverse();
                }
                self.budget.bytes(all.len() * size_of::<Value>())?;
                self.list(&all)
            }
            "splitlines" => {
                let mut all = Vec::new();
                let keep = given.positional.first().is_some_and(|value| self.truth(*value));
                for line in text.split_inclusive('\n') {
                    let bare = line.strip_suffix('\n').unwrap_or(line);
                    let bare = bare.strip_suffix('\r').unwrap_or(bare);
                    push(&mut all, part(if keep { line } else { bare }))?;
                }
                self.list(&all)
            }
            "partition" | "rpartition" => {
                let Some(word) = word?.map(|word| self.str(word)).filter(|word| !word.is_empty()) else {
                    return failed("an empty separator");
                };
                let right = self.str(name) == "rpartition";
                let at = if right { text.rfind(word) } else { text.find(word) };
                let parts = match (at, right) {
                    (Some(at), _) => [&text[..at], &text[at..at + word.len()], &text[at + word.len()..]],
                    (None, false) => [text, "", ""],
                    (None, true) => ["", "", text],
                };
                let parts = parts.map(part);
                self.tuple(&parts)
            }
            "replace" => {
                let most = given.int(self, 2, "count")?;
                let (Some(old), Some(new)) = (word?, given.text(self, 1, "new")?) else {
                    return failed("a text is missing");
                };
                self.replaced(span, old, new, most)
            }
            "join" => self.joined(first.unwrap_or(Value::None), span, None),
            "format" => self.braces(span, given),
            "upper" | "lower" | "capitalize" | "title" | "swapcase" | "casefold" => self.cased(span, name),
            "zfill" => {
                let width = given.width(self, 0, "width")?.unwrap_or(0);
                let sign = usize::from(text.starts_with(['-', '+']));
                let mut out = self.writer();
                self.copy_part(&mut out, span, 0..sign)?;
                out.repeat('0', width.saturating_sub(text.chars().count()))?;
                self.copy_part(&mut out, span, sign..text.len())?;
                self.finish(out)
            }
            "center" | "ljust" | "rjust" => {
                let width = given.width(self, 0, "width")?.unwrap_or(0);
                let filler = given.text(self, 1, "fillchar")?;
                let fill = filler.and_then(|fill| self.str(fill).chars().next()).unwrap_or(' ');
                let lacking = width.saturating_sub(text.chars().count());
                let before = match self.str(name) {
                    "ljust" => 0,
                    "rjust" => lacking,
                    // As CPython rounds.
                    _ => lacking / 2 + (lacking & width & 1),
                };
                let mut out = self.writer();
                out.repeat(fill, before)?;
                self.copy(&mut out, span)?;
                out.repeat(fill, lacking - before)?;
                if filler.is_some_and(|fill| self.marked(fill)) {
                    out.mark(0)?;
                }
                self.finish(out)
            }
            other => failed(format_args!("a text has no method {other} here")),
        }
    }

    pub fn replaced(&mut self, span: Span, old: Span, new: Span, most: Option<i64>) -> Result<Value> {
        let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        self.budget.work(span.len as usize / 8)?;
        let (text, old) = (self.str(span), self.str(old));
        let mut out = self.writer();
        let mut from = 0;
        for (at, found) in text.match_indices(old).take(most) {
            self.copy_part(&mut out, span, from..at)?;
            self.copy(&mut out, new)?;
            from = at + found.len();
        }
        self.copy_part(&mut out, span, from..text.len())?;
        self.finish(out)
    }

    /// The items of a list with a text between them, or an attribute of each.
    pub fn joined(&mut self, list: Value, between: Span, attribute: Option<Value>) -> Result<Value> {
        let list = self.iterate(list)?;
        let mut out = self.writer();
        for index in 0..list.len as usize {
            self.budget.work(1 + out.text.len() / 1024)?;
            if index > 0 {
                self.copy(&mut out, between)?;
            }
            let mut item = self.item(list, index);
            if let Some(attribute) = attribute {
                item = self.path(item, attribute)?;
            }
            self.print(&mut out, item)?;
        }
        self.finish(out)
    }

    pub fn cased(&mut self, span: Span, how: Span) -> Result<Value> {
        self.budget.work(span.len as usize / 4)?;
        let how = self.str(how);
        let mut out = self.writer();
        let mut inside = false;
        self.map_chars(&mut out, span, |out, c| {
            let upper = match how {
                "upper" => true,
                "lower" | "casefold" => false,
                "swapcase" => c.is_lowercase(),
                _ => !inside,
            };
            inside = if how == "capitalize" { true } else { c.is_alphabetic() };
            match upper {
                true => c.to_uppercase().try_for_each(|c| out.put_char(c)),
                false => c.to_lowercase().try_for_each(|c| out.put_char(c)),
            }
        })?;
        self.finish(out)
    }

    /// An attribute, or `a.b.0`.
    pub fn path(&mut self, mut value: Value, path: Value) -> Result<Value> {
        let Value::Str(path) = path else { return self.item_of(value, path) };
        let mut from = 0;
        for _ in 0..=path.len {
            let rest = &self.str(path)[from..];
            let (name, more) = rest.split_once('.').map_or((rest, false), |(name, _)| (name, true));
            let (len, index) = (name.len(), name.parse::<i64>());
            let name = self.part(path, name, from);
            value = match index {
                Ok(index) => self.item_of(value, Value::Int(index))?,
                Err(_) => self.item_of(value, Value::Str(name))?,
            };
            if !more {
                break;
            }
            from += len + 1;
        }
        Ok(value)
    }

    /// An item by its place from either end.
    pub fn at(&self, list: List, index: i64) -> Option<Value> {
        position(index, list.len as usize).map(|at| self.item(list, at))
    }
}
