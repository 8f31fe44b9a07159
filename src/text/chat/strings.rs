//! Methods of texts, as Python has them.

use super::code::Span;
use super::memory::{Memory, Value, failed, push};
use super::methods::Given;
use super::operators::kind;
use crate::Result;

/// What Python takes for white space.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// A line of a text: its bytes, and where the next begins.
pub(super) struct Line {
    pub start: usize,
    pub end: usize,
    pub next: usize,
    /// Whether a line end follows it.
    pub ended: bool,
}

/// The lines of a text, at all that Python takes for a line end. A line end at the end begins no other.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..).filter(|rest| !rest.is_empty())?;
        let is_end = |c: char| {
            let separates = "\u{85}\u{2028}\u{2029}".contains(c);
            separates || ('\n'..='\r').contains(&c) || ('\x1c'..='\x1e').contains(&c)
        };
        let start = from;
        let found = rest.find(is_end);
        let end = start + found.unwrap_or(rest.len());
        let ending = match &text[end..] {
            tail if tail.starts_with("\r\n") => 2,
            tail => tail.chars().next().map_or(0, char::len_utf8),
        };
        from = end + ending;
        Some(Line { start, end, next: from, ended: found.is_some() })
    })
}

/// The zeros of Unicode's decimal digits; nine more follow each.
const ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620,
    0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0,
    0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60,
    0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

fn is_decimal(c: char) -> bool {
    let c = u32::from(c);
    ZEROS[..ZEROS.partition_point(|zero| *zero <= c)].last().is_some_and(|zero| c - zero < 10)
}

/// Decimal digits and those in circles, above and below a line.
fn is_digit(c: char) -> bool {
    const OTHERS: [(u32, u32); 20] = [
        (0xb2, 0xb3),
        (0xb9, 0xb9),
        (0x1369, 0x1371),
        (0x19da, 0x19da),
        (0x2070, 0x2070),
        (0x2074, 0x2079),
        (0x2080, 0x2089),
        (0x2460, 0x2468),
        (0x2474, 0x247c),
        (0x2488, 0x2490),
        (0x24ea, 0x24ea),
        (0x24f5, 0x24fd),
        (0x24ff, 0x24ff),
        (0x2776, 0x277e),
        (0x2780, 0x2788),
        (0x278a, 0x2792),
        (0x10a40, 0x10a43),
        (0x10e60, 0x10e68),
        (0x11052, 0x1105a),
        (0x1f100, 0x1f10a),
    ];
    let code = u32::from(c);
    is_decimal(c) || OTHERS.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

/// Characters for private use, of formats, and none: they are not printed.
fn is_unseen(c: char) -> bool {
    const UNSEEN: [(char, char); 12] = [
        ('\u{ad}', '\u{ad}'),
        ('\u{600}', '\u{605}'),
        ('\u{61c}', '\u{61c}'),
        ('\u{6dd}', '\u{6dd}'),
        ('\u{200b}', '\u{200f}'),
        ('\u{202a}', '\u{202e}'),
        ('\u{2060}', '\u{2064}'),
        ('\u{2066}', '\u{206f}'),
        ('\u{e000}', '\u{f8ff}'),
        ('\u{feff}', '\u{feff}'),
        ('\u{fff9}', '\u{fffb}'),
        ('\u{e0000}', '\u{10ffff}'),
    ];
    UNSEEN.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Whether every word begins with an upper letter and goes on with lower ones.
fn is_title(text: &str) -> bool {
    let (mut cased, mut any) = (false, false);
    for c in text.chars() {
        if c.is_uppercase() && cased || c.is_lowercase() && !cased {
            return false;
        }
        cased = c.is_uppercase() || c.is_lowercase();
        any |= cased;
    }
    any
}

impl Memory<'_> {
    /// The part of a text between the second and the third argument, and where it begins.
    fn window<'t>(&self, text: &'t str, given: Given<'_>) -> Result<(&'t str, usize)> {
        let (start, stop) = (given.int(self, 1, "start")?, given.int(self, 2, "end")?);
        if start.is_none() && stop.is_none() {
            return Ok((text, 0));
        }
        let count = text.chars().count() as i64;
        let place = |at: Option<i64>, missing: i64| match at.unwrap_or(missing) {
            at if at < 0 => at.saturating_add(count).max(0),
            at => at.min(count),
        };
        let byte = |at: i64| text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte);
        let (start, stop) = (byte(place(start, 0)), byte(place(stop, count)));
        Ok((text.get(start..stop).unwrap_or_default(), start))
    }

    pub(super) fn text_method(&mut self, name: Span, span: Span, given: Given<'_>) -> Result<Value> {
        self.budget.work(span.len as usize / 16)?;
        let text = self.str(span);
        // Parts of a text are places in it; nothing is copied.
        let part = |part: &str| {
            let from = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
            Value::Str(self.part(span, part, if part.is_empty() { 0 } else { from }))
        };
        let first = given.positional.first().copied();
        let word = given.text(self, 0, "sep");
        // What `find` and its kin look at, and where it begins.
        let (window, from) = match self.str(name) {
            "startswith" | "endswith" | "find" | "rfind" | "index" | "rindex" | "count" => self.window(text, given)?,
            _ => (text, 0),
        };
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
                let goes = |c: char| chars.map_or(is_space(c), |chars| chars.contains(c));
                Ok(part(match self.str(name) {
                    "strip" => text.trim_matches(goes),
                    "lstrip" => text.trim_start_matches(goes),
                    _ => text.trim_end_matches(goes),
                }))
            }
            "startswith" => prefix(&|one| window.starts_with(one)),
            "endswith" => prefix(&|one| window.ends_with(one)),
            "removeprefix" | "removesuffix" => {
                let Some(word) = word?.map(|word| self.str(word)) else { return failed("a text is missing") };
                let rest =
                    if self.str(name) == "removeprefix" { text.strip_prefix(word) } else { text.strip_suffix(word) };
                Ok(part(rest.unwrap_or(text)))
            }
            "isdecimal" => all_chars(is_decimal),
            "isdigit" => all_chars(is_digit),
            "isnumeric" => all_chars(char::is_numeric),
            "isalpha" => all_chars(char::is_alphabetic),
            "isalnum" => all_chars(char::is_alphanumeric),
            "isspace" => all_chars(is_space),
            "isascii" => Ok(Value::Bool(text.is_ascii())),
            "isprintable" => {
                let prints = |c: char| c == ' ' || !(c.is_control() || is_space(c) || is_unseen(c));
                Ok(Value::Bool(text.chars().all(prints)))
            }
            "isidentifier" => {
                let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
                Ok(Value::Bool(starts && text.chars().all(|c| c.is_alphanumeric() || c == '_')))
            }
            "isupper" => Ok(Value::Bool(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase))),
            "islower" => Ok(Value::Bool(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase))),
            "istitle" => Ok(Value::Bool(is_title(text))),
            "find" | "rfind" | "index" | "rindex" | "count" => {
                let Some(word) = given.text(self, 0, "sub")?.map(|word| self.str(word)) else {
                    return failed("a text is missing");
                };
                let right = self.str(name).starts_with('r');
                let at = match self.str(name) {
                    "count" if word.is_empty() => return Ok(Value::Int(window.chars().count() as i64 + 1)),
                    "count" => return Ok(Value::Int(window.matches(word).count() as i64)),
                    _ if right => window.rfind(word),
                    _ => window.find(word),
                };
                match at {
                    Some(at) => Ok(Value::Int(text[..from + at].chars().count() as i64)),
                    None if self.str(name).ends_with("index") => failed("the text has no such part"),
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
                        let mut rest =
                            if right { text.trim_end_matches(is_space) } else { text.trim_start_matches(is_space) };
                        while !rest.is_empty() {
                            let cut = if right { rest.rfind(is_space) } else { rest.find(is_space) };
                            let Some(cut) = cut.filter(|_| all.len() < most) else {
                                push(&mut all, part(rest))?;
                                break;
                            };
                            if right {
                                let word = &rest[cut..];
                                push(&mut all, part(word.trim_start_matches(is_space)))?;
                                rest = rest[..cut].trim_end_matches(is_space);
                            } else {
                                push(&mut all, part(&rest[..cut]))?;
                                rest = rest[cut..].trim_start_matches(is_space);
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
                let keep = given.get(self, 0, "keepends").is_some_and(|value| self.truth(value));
                let mut all = Vec::new();
                for line in lines(text) {
                    let end = if keep { line.next } else { line.end };
                    push(&mut all, part(&text[line.start..end]))?;
                }
                self.budget.bytes(all.len() * size_of::<Value>())?;
                self.list(&all)
            }
            "expandtabs" => {
                let size = given.width(self, 0, "tabsize")?.unwrap_or(8);
                let mut out = self.writer();
                let mut column = 0;
                self.map_chars(&mut out, span, |out, c| match c {
                    '\t' => {
                        let blanks = if size == 0 { 0 } else { size - column % size };
                        column += blanks;
                        out.repeat(' ', blanks)
                    }
                    c => {
                        column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
                        out.put_char(c)
                    }
                })?;
                self.finish(out)
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
                let (Some(old), Some(new)) = (given.text(self, 0, "old")?, given.text(self, 1, "new")?) else {
                    return failed("a text is missing");
                };
                self.replaced(span, old, new, most)
            }
            "join" => {
                let list = self.iterate(first.unwrap_or(Value::None))?;
                if let Some(other) = self.items(list, false).iter().find(|item| !matches!(item, Value::Str(_))) {
                    return failed(format_args!("{} is joined, not a text", kind(*other)));
                }
                self.joined(Value::List(list), span, None)
            }
            "format" => self.braces(span, given),
            "format_map" => match first {
                Some(Value::Dict(dict)) => {
                    let mut named = Vec::new();
                    self.items(dict, true).iter().try_for_each(|value| push(&mut named, *value))?;
                    self.braces(span, Given { positional: &[], named: &named })
                }
                _ => failed("format_map takes a dictionary"),
            },
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

    /// In other letters.
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
            // Only the first of several letters is upper where one begins a word.
            let title = matches!(how, "capitalize" | "title");
            match upper {
                _ if how == "casefold" && c == 'ß' => out.put("ss"),
                true if title => {
                    let mut letters = c.to_uppercase();
                    letters.next().map_or(Ok(()), |c| out.put_char(c))?;
                    letters.flat_map(char::to_lowercase).try_for_each(|c| out.put_char(c))
                }
                true => c.to_uppercase().try_for_each(|c| out.put_char(c)),
                false => c.to_lowercase().try_for_each(|c| out.put_char(c)),
            }
        })?;
        self.finish(out)
    }
}
