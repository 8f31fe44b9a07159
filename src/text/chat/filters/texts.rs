//! Filters of texts.

use crate::Result;
use crate::text::chat::code::{Arguments, Span};
use crate::text::chat::memory::{Memory, Value, failed};
use crate::text::chat::methods::Given;
use crate::text::chat::operators::{float, kind};
use crate::text::chat::strings::{Line, is_space, lines};
use crate::text::chat::writer::TextWriter;

/// A character as HTML has it.
fn escaped(out: &mut TextWriter, c: char) -> Result<()> {
    match c {
        '&' => out.put("&amp;"),
        '<' => out.put("&lt;"),
        '>' => out.put("&gt;"),
        '\'' => out.put("&#39;"),
        '"' => out.put("&#34;"),
        c => out.put_char(c),
    }
}

impl Memory<'_> {
    pub(super) fn text_filter(&mut self, name: Span, span: Span, given: Given<'_>) -> Result<Value> {
        self.budget.work(span.len as usize / 16)?;
        let how = self.str(name);
        match how {
            "trim" => {
                let strip = self.text("strip")?;
                let Value::Str(strip) = strip else { return Ok(strip) };
                self.method(strip, Value::Str(span), given)
            }
            "upper" | "lower" | "capitalize" => self.cased(span, name),
            "title" => {
                // Words of its own: what follows white space, a dash or an opening bracket.
                let mut out = self.writer();
                let mut inside = false;
                self.map_chars(&mut out, span, |out, c| {
                    let parts = is_space(c) || "-({[<".contains(c);
                    let upper = !parts && !inside;
                    inside = !parts;
                    if upper {
                        c.to_uppercase().try_for_each(|c| out.put_char(c))
                    } else {
                        c.to_lowercase().try_for_each(|c| out.put_char(c))
                    }
                })?;
                self.finish(out)
            }
            "replace" => match (given.text(self, 0, "old")?, given.text(self, 1, "new")?) {
                (Some(old), Some(new)) => {
                    let most = given.int(self, 2, "count")?;
                    self.replaced(span, old, new, most)
                }
                _ => failed("what is to be replaced is missing"),
            },
            "format" => {
                if !given.named.is_empty() && !given.positional.is_empty() {
                    return failed("a format takes values, or names and values, not both");
                }
                let values = match given.named {
                    [] => self.tuple(given.positional)?,
                    named => self.dict(named)?,
                };
                self.percent(span, values)
            }
            "wordcount" => {
                let words = self.str(span).split(|c: char| !c.is_alphanumeric() && c != '_');
                Ok(Value::Int(words.filter(|word| !word.is_empty()).count() as i64))
            }
            "center" => {
                let arguments = Arguments { positional: 1, named: 0 };
                let width = [Value::Int(given.int(self, 0, "width")?.unwrap_or(80))];
                let center = self.text("center")?;
                let Value::Str(center) = center else { return Ok(center) };
                self.method(center, Value::Str(span), Given::new(&width, arguments))
            }
            "indent" => self.indented(span, given),
            "truncate" => {
                let length = given.width(self, 0, "length")?.unwrap_or(255);
                let kill = given.get(self, 1, "killwords").is_some_and(|value| self.truth(value));
                let end = given.text(self, 2, "end")?;
                let leeway = given.width(self, 3, "leeway")?.unwrap_or(5);
                let dots = self.text("...")?;
                let end = match (end, dots) {
                    (Some(end), _) | (None, Value::Str(end)) => end,
                    _ => return failed("no text"),
                };
                let text = self.str(span);
                if text.chars().count() <= length + leeway {
                    return Ok(Value::Str(span));
                }
                let most = length.saturating_sub(self.str(end).chars().count());
                let cut = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
                let mut kept = &text[..cut];
                if !kill {
                    kept = kept.rsplit_once(' ').map_or(kept, |(words, _)| words);
                }
                let mut out = self.writer();
                self.copy_part(&mut out, span, 0..kept.len())?;
                self.copy(&mut out, end)?;
                self.finish(out)
            }
            _ => {
                let mut out = self.writer();
                self.map_chars(&mut out, span, escaped)?;
                self.finish(out)
            }
        }
    }

    /// As in an address: a text, or pairs of names and values.
    pub(super) fn url_encoded(&mut self, value: Value) -> Result<Value> {
        let pairs = match value {
            Value::Dict(dict) => Some(self.pairs(dict)?),
            Value::List(_) => Some(value),
            _ => None,
        };
        let mut out = self.writer();
        let Some(pairs) = pairs else {
            self.quoted_for_url(&mut out, value, "/")?;
            return self.finish(out);
        };
        let pairs = self.iterate(pairs)?;
        for index in 0..pairs.len as usize {
            let Value::List(pair) = self.item(pairs, index) else { return failed("urlencode takes pairs") };
            if pair.len != 2 {
                return failed("urlencode takes pairs");
            }
            out.put(if index > 0 { "&" } else { "" })?;
            self.quoted_for_url(&mut out, self.item(pair, 0), "")?;
            out.put("=")?;
            self.quoted_for_url(&mut out, self.item(pair, 1), "")?;
        }
        self.finish(out)
    }

    fn quoted_for_url(&mut self, out: &mut TextWriter, value: Value, safe: &str) -> Result<()> {
        let mut text = self.writer();
        self.print(&mut text, value)?;
        let Value::Str(text) = self.finish(text)? else { return failed("no text") };
        self.map_chars(out, text, |out, c| match c {
            c if c.is_ascii_alphanumeric() || "_.-~".contains(c) || safe.contains(c) => out.put_char(c),
            ' ' if safe.is_empty() => out.put("+"),
            c => c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| out.format(format_args!("%{byte:02X}"))),
        })
    }

    pub(super) fn file_size(&mut self, value: Value, given: Given<'_>) -> Result<Value> {
        let bytes = match value {
            Value::Str(text) => self.str(text).trim().parse().ok(),
            value => float(value),
        };
        let Some(bytes) = bytes else { return failed(format_args!("{} is no size", kind(value))) };
        let binary = given.get(self, 0, "binary").is_some_and(|value| self.truth(value));
        let (base, mark) = if binary { (1024.0, "iB") } else { (1000.0, "B") };
        let mut out = self.writer();
        if bytes == 1.0 {
            out.put("1 Byte")?;
        } else if bytes < base {
            out.format(format_args!("{} Bytes", bytes as i64))?;
        } else {
            let (mut unit, mut prefix) = (base, 0);
            while bytes >= base * unit && prefix < 7 {
                (unit, prefix) = (unit * base, prefix + 1);
            }
            let letter = if binary { "KMGTPEZY" } else { "kMGTPEZY" }.as_bytes()[prefix];
            out.format(format_args!("{:.1} {}{mark}", bytes / unit, char::from(letter)))?;
        }
        self.finish(out)
    }

    /// The lines of a text with something before each, its first and those that are empty as they are asked for.
    fn indented(&mut self, span: Span, given: Given<'_>) -> Result<Value> {
        let mut out = self.writer();
        let (own, blanks) = match given.get(self, 0, "width") {
            Some(Value::Str(own)) => (Some(own), 0),
            _ => (None, given.width(self, 0, "width")?.unwrap_or(4)),
        };
        let flag = |memory: &Self, at, name| given.get(memory, at, name).is_some_and(|value| memory.truth(value));
        let (first, blank) = (flag(self, 1, "first"), flag(self, 2, "blank"));
        let text = self.str(span);
        // A line end behind the text makes another line of what follows its last.
        let open = text.is_empty() || lines(text).last().is_some_and(|line| line.ended);
        let last = Line { start: text.len(), end: text.len(), next: text.len(), ended: false };
        for (number, line) in lines(text).chain(Some(last).filter(|_| open)).enumerate() {
            if if number == 0 { first } else { blank || line.start < line.end } {
                match own {
                    Some(own) => self.copy(&mut out, own)?,
                    None => out.repeat(' ', blanks)?,
                }
            }
            self.copy_part(&mut out, span, line.start..line.end)?;
            if line.ended {
                // One for all kinds of line ends, and the host's where that was.
                let from = out.place();
                out.put("\n")?;
                if self.marked(Span { start: span.start + line.end as u32, len: (line.next - line.end) as u32 }) {
                    out.mark(from)?;
                }
            }
        }
        self.finish(out)
    }
}
