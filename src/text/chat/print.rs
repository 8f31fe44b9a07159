//! Values as text: as Python's `str` and `repr` write them, and as JSON.

use super::code::Span;
use super::memory::{ItemList, Memory, Value, failed, push};
use super::operators::kind;
use super::writer::TextWriter;
use crate::Result;

/// What stands before an item of JSON on a line of its own, for each level.
pub(super) enum Indent {
    Blanks(usize),
    Text(Span),
}

/// How JSON is written.
pub(super) struct JsonStyle {
    /// Other characters than those of ASCII are escaped.
    pub ascii: bool,
    /// None: on one line.
    pub indent: Option<Indent>,
    /// Between items, and between a key and its value.
    pub separators: [Span; 2],
    /// Keys are in their order.
    pub sorted: bool,
}

/// A real number as Python writes it.
pub(super) fn float(out: &mut TextWriter, x: f64) -> Result<()> {
    if !x.is_finite() {
        return out.put(if x.is_nan() {
            "nan"
        } else if x > 0.0 {
            "inf"
        } else {
            "-inf"
        });
    }
    let mut scientific = TextWriter::new(64);
    scientific.format(format_args!("{x:e}"))?;
    let (mantissa, exponent) = scientific.text.split_once('e').unwrap_or((&scientific.text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return if x.fract() == 0.0 { out.format(format_args!("{x:.1}")) } else { out.format(format_args!("{x}")) };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    out.format(format_args!("{mantissa}e{sign}{:02}", exponent.abs()))
}

impl Memory<'_> {
    /// As `str` writes it; nothing of what is undefined.
    pub fn print(&mut self, out: &mut TextWriter, value: Value) -> Result<()> {
        match value {
            Value::Undefined(_) => Ok(()),
            Value::Str(text) => {
                self.budget.work(text.len as usize / 32)?;
                self.copy(out, text)
            }
            _ => self.repr(out, value),
        }
    }

    /// As `repr` writes it.
    pub fn repr(&mut self, out: &mut TextWriter, value: Value) -> Result<()> {
        self.budget.work(1)?;
        match value {
            Value::Undefined(_) => out.put("Undefined"),
            Value::None => out.put("None"),
            Value::Bool(truth) => out.put(if truth { "True" } else { "False" }),
            Value::Int(n) => out.format(format_args!("{n}")),
            Value::Float(x) => float(out, x),
            Value::Str(text) => {
                self.budget.work(text.len as usize / 8)?;
                self.quoted(out, text)
            }
            Value::List(list) => {
                let (open, close) = if list.tuple { ("(", ")") } else { ("[", "]") };
                out.put(open)?;
                for index in 0..list.len as usize {
                    if index > 0 {
                        out.put(", ")?;
                    }
                    self.repr(out, self.item(list, index))?;
                }
                if list.tuple && list.len == 1 {
                    out.put(",")?;
                }
                out.put(close)
            }
            Value::Dict(dict) => {
                out.put("{")?;
                for pair in 0..dict.len as usize {
                    if pair > 0 {
                        out.put(", ")?;
                    }
                    self.repr(out, self.item(dict, 2 * pair))?;
                    out.put(": ")?;
                    self.repr(out, self.item(dict, 2 * pair + 1))?;
                }
                out.put("}")
            }
            Value::Namespace(_) => out.put("<Namespace>"),
            Value::Joiner(_) => out.put("<Joiner>"),
            Value::Cycler(_) => out.put("<Cycler>"),
            Value::Macro(_) | Value::Caller(_) => out.put("<Macro>"),
            Value::Function(name) => out.format(format_args!("<function {}>", self.str(name))),
            Value::Loop(_) => out.put("<LoopContext>"),
        }
    }

    /// A text between quotes, as Python's `repr` writes it.
    fn quoted(&self, out: &mut TextWriter, span: Span) -> Result<()> {
        let text = self.str(span);
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        out.put_char(quote)?;
        self.map_chars(out, span, |out, c| match c {
            '\n' => out.put("\\n"),
            '\r' => out.put("\\r"),
            '\t' => out.put("\\t"),
            '\\' => out.put("\\\\"),
            c if c == quote => out.format(format_args!("\\{c}")),
            c if c < ' ' || c == '\x7f' => out.format(format_args!("\\x{:02x}", u32::from(c))),
            c => out.put_char(c),
        })?;
        out.put_char(quote)
    }

    /// As JSON.
    pub fn json(&mut self, out: &mut TextWriter, value: Value, style: &JsonStyle, level: usize) -> Result<()> {
        self.budget.work(1)?;
        match value {
            Value::None => out.put("null"),
            Value::Bool(truth) => out.put(if truth { "true" } else { "false" }),
            Value::Int(n) => out.format(format_args!("{n}")),
            Value::Float(x) if x.is_nan() => out.put("NaN"),
            Value::Float(x) if x.is_infinite() => out.put(if x > 0.0 { "Infinity" } else { "-Infinity" }),
            Value::Float(x) => float(out, x),
            Value::Str(text) => {
                self.budget.work(text.len as usize / 8)?;
                self.json_text(out, text, style)
            }
            Value::List(list) => self.json_items(out, list, None, style, level),
            Value::Dict(dict) => {
                let mut order = Vec::new();
                for pair in 0..dict.len {
                    push(&mut order, pair)?;
                }
                if style.sorted {
                    self.by_key(dict, &mut order)?;
                }
                self.json_items(out, dict, Some(&order), style, level)
            }
            Value::Undefined(name) => self.undefined(name),
            _ => failed(format_args!("{} cannot be written as JSON", kind(value))),
        }
    }

    /// The pairs of a dictionary in the order of their keys, which are texts.
    fn by_key(&mut self, dict: ItemList, order: &mut [u32]) -> Result<()> {
        self.budget.work(order.len())?;
        let key = |pair: u32| match self.item(dict, 2 * pair as usize) {
            Value::Str(key) => Some(key),
            _ => None,
        };
        if order.len() > 1 && order.iter().any(|&pair| key(pair).is_none()) {
            return failed("keys are sorted that are no texts");
        }
        order.sort_unstable_by_key(|&pair| key(pair).map(|key| self.str(key)));
        Ok(())
    }

    /// Items, or pairs in an order.
    fn json_items(
        &mut self,
        out: &mut TextWriter,
        list: ItemList,
        pairs: Option<&[u32]>,
        style: &JsonStyle,
        level: usize,
    ) -> Result<()> {
        let (open, close) = if pairs.is_some() { ("{", "}") } else { ("[", "]") };
        out.put(open)?;
        for index in 0..list.len as usize {
            if index > 0 {
                self.copy(out, style.separators[0])?;
            }
            self.json_line(out, style, level + 1)?;
            let at = match pairs {
                Some(order) => {
                    let at = 2 * order[index] as usize;
                    match self.item(list, at) {
                        Value::Str(key) => self.json_text(out, key, style)?,
                        key => {
                            out.put("\"")?;
                            self.json(out, key, style, 0)?;
                            out.put("\"")?;
                        }
                    }
                    self.copy(out, style.separators[1])?;
                    at + 1
                }
                None => index,
            };
            self.json(out, self.item(list, at), style, level + 1)?;
        }
        if list.len > 0 {
            self.json_line(out, style, level)?;
        }
        out.put(close)
    }

    fn json_line(&self, out: &mut TextWriter, style: &JsonStyle, level: usize) -> Result<()> {
        match style.indent {
            None => Ok(()),
            Some(Indent::Blanks(blanks)) => {
                out.put_char('\n')?;
                out.repeat(' ', blanks * level)
            }
            Some(Indent::Text(text)) => {
                out.put_char('\n')?;
                (0..level).try_for_each(|_| self.copy(out, text))
            }
        }
    }

    fn json_text(&self, out: &mut TextWriter, text: Span, style: &JsonStyle) -> Result<()> {
        out.put("\"")?;
        self.map_chars(out, text, |out, c| match c {
            '"' => out.put("\\\""),
            '\\' => out.put("\\\\"),
            '\n' => out.put("\\n"),
            '\r' => out.put("\\r"),
            '\t' => out.put("\\t"),
            '\x08' => out.put("\\b"),
            '\x0c' => out.put("\\f"),
            c if c < ' ' || style.ascii && !(' '..='~').contains(&c) => {
                c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| out.format(format_args!("\\u{unit:04x}")))
            }
            c => out.put_char(c),
        })?;
        out.put("\"")
    }
}
