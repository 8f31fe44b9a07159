//! Values put into a text: Python's `%` and `str.format`, with widths that are bounded.

use super::code::Span;
use super::memory::{Memory, Value, failed};
use super::methods::{Given, WIDTH};
use super::operators::{float, kind, number};
use super::writer::Writer;
use crate::Result;

/// How a value is to be written.
#[derive(Clone, Copy, Default)]
struct Spec {
    fill: Option<char>,
    /// `<`, `>`, `^` or `=`.
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    grouped: bool,
    width: usize,
    precision: Option<usize>,
    kind: Option<char>,
}

/// A number at the beginning of a text, and the rest.
fn digits(text: &str) -> Result<(Option<usize>, &str)> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    if len == 0 {
        return Ok((None, text));
    }
    match text[..len].parse::<usize>() {
        Ok(n) if n <= WIDTH => Ok((Some(n), &text[len..])),
        _ => failed(format_args!("a width of {:.20}; {WIDTH} is the most", &text[..len])),
    }
}

impl Spec {
    /// From `>8.3f`, say.
    fn read(mut text: &str) -> Result<Spec> {
        let mut spec = Spec::default();
        let mut chars = text.chars();
        let (first, second) = (chars.next(), chars.next());
        let is_align = |c: Option<char>| c.filter(|c| "<>^=".contains(*c));
        if let (Some(fill), Some(align)) = (first, is_align(second)) {
            (spec.fill, spec.align) = (Some(fill), Some(align));
            text = &text[fill.len_utf8() + 1..];
        } else if let Some(align) = is_align(first) {
            spec.align = Some(align);
            text = &text[1..];
        }
        if let Some(sign) = text.chars().next().filter(|c| "+- ".contains(*c)) {
            spec.sign = Some(sign);
            text = &text[1..];
        }
        if let Some(rest) = text.strip_prefix('#') {
            (spec.alternate, text) = (true, rest);
        }
        if text.starts_with('0') && spec.align.is_none() {
            (spec.fill, spec.align) = (Some('0'), Some('='));
        }
        let (width, mut text) = digits(text)?;
        spec.width = width.unwrap_or(0);
        if let Some(rest) = text.strip_prefix([',', '_']) {
            (spec.grouped, text) = (true, rest);
        }
        if let Some(rest) = text.strip_prefix('.') {
            let (precision, rest) = digits(rest)?;
            (spec.precision, text) = (Some(precision.unwrap_or(0)), rest);
        }
        let mut chars = text.chars();
        spec.kind = chars.next();
        if chars.next().is_some() {
            return failed(format_args!("a format ends with {text:?}"));
        }
        Ok(spec)
    }

    /// Writes a sign and what follows it, padded.
    fn pad(self, out: &mut Writer, sign: &str, body: &Writer, right: bool) -> Result<()> {
        let len = sign.chars().count() + body.text.chars().count();
        let lacking = self.width.saturating_sub(len);
        let fill = self.fill.unwrap_or(' ');
        let (before, between) = match self.align {
            Some('<') => (0, 0),
            Some('^') => (lacking / 2, 0),
            Some('=') => (0, lacking),
            Some(_) => (lacking, 0),
            None if right => (lacking, 0),
            None => (0, 0),
        };
        out.repeat(fill, before)?;
        out.put(sign)?;
        out.repeat(fill, between)?;
        out.put_all(body)?;
        out.repeat(fill, lacking - before - between)
    }
}

impl Memory<'_> {
    fn formatted(&mut self, out: &mut Writer, value: Value, spec: Spec) -> Result<()> {
        let mut body = self.writer();
        let kind_of = spec.kind.unwrap_or(match number(value) {
            Some(_) if matches!(value, Value::Bool(_)) => 's',
            Some(Value::Int(_)) => 'd',
            Some(_) => 'g',
            None => 's',
        });
        match kind_of {
            's' | 'r' => {
                if kind_of == 'r' {
                    self.repr(&mut body, value)?
                } else {
                    self.print(&mut body, value)?
                }
                let text = &body.text;
                let end =
                    spec.precision.and_then(|most| text.char_indices().nth(most)).map_or(text.len(), |(at, _)| at);
                body.truncate(end);
                return spec.pad(out, "", &body, false);
            }
            'c' => {
                let Value::Int(code) = value else { return failed("a character is a number") };
                let Some(c) = u32::try_from(code).ok().and_then(char::from_u32) else {
                    return failed("a number that is no character");
                };
                // A number may come from the host, and then the character does.
                body.put_char(c)?;
                body.mark(0)?;
                return spec.pad(out, "", &body, false);
            }
            _ => {}
        }
        let Some(value) = number(value) else {
            return failed(format_args!("{} cannot be written as a number", kind(value)));
        };
        let negative = match value {
            Value::Int(n) => n < 0,
            value => float(value).is_some_and(|x| x.is_sign_negative()),
        };
        let sign = match spec.sign {
            _ if negative => "-",
            Some('+') => "+",
            Some(' ') => " ",
            _ => "",
        };
        let whole = match value {
            Value::Int(n) => n.unsigned_abs(),
            value => float(value).map_or(0, |x| x.abs() as u64),
        };
        let x = float(value).unwrap_or(0.0).abs();
        let precision = spec.precision.unwrap_or(6);
        match kind_of {
            'd' | 'i' | 'u' => body.format(format_args!("{whole}"))?,
            'x' if spec.alternate => body.format(format_args!("{whole:#x}"))?,
            'x' => body.format(format_args!("{whole:x}"))?,
            'X' => body.format(format_args!("{whole:X}"))?,
            'o' => body.format(format_args!("{whole:o}"))?,
            'b' => body.format(format_args!("{whole:b}"))?,
            'f' | 'F' => body.format(format_args!("{x:.precision$}"))?,
            '%' => {
                let x = 100.0 * x;
                body.format(format_args!("{x:.precision$}%"))?;
            }
            'e' | 'E' => exponential(&mut body, x, precision)?,
            'g' | 'G' if spec.precision.is_none() && spec.kind.is_none() => super::print::float(&mut body, x)?,
            'g' | 'G' => general(&mut body, x, precision.max(1))?,
            other => return failed(format_args!("a number cannot be written as {other:?}")),
        }
        if spec.grouped {
            let mut grouped = self.writer();
            let text = &body.text;
            let end = text.find('.').unwrap_or(text.len());
            for (at, c) in text[..end].char_indices() {
                if at > 0 && (end - at).is_multiple_of(3) {
                    grouped.put(",")?;
                }
                grouped.put_char(c)?;
            }
            grouped.put(&text[end..])?;
            body = grouped;
        }
        spec.pad(out, sign, &body, true)
    }

    /// `format % values`.
    pub fn percent(&mut self, format: Span, values: Value) -> Result<Value> {
        let mut out = self.writer();
        let mut next = 0;
        let mut from = 0;
        while let Some(at) = self.str(format)[from..].find('%').map(|at| from + at) {
            self.budget.work(1)?;
            self.copy_part(&mut out, format, from..at)?;
            let whole = self.str(format);
            let mut rest = &whole[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.put("%")?;
                from = whole.len() - after.len();
                continue;
            }
            let mut named = None;
            if let Some(name) = rest.strip_prefix('(') {
                let Some((name, after)) = name.split_once(')') else { return failed("a name without its bracket") };
                let Value::Dict(dict) = values else { return failed("names are for the values of a dictionary") };
                let Some(value) = self.get(dict, name) else { return failed(format_args!("there is no value {name}")) };
                (named, rest) = (Some(value), after);
            }
            let mut spec = Spec::default();
            while let Some(flag) = rest.chars().next().filter(|c| "#0- +".contains(*c)) {
                match flag {
                    '0' if spec.align.is_none() => (spec.fill, spec.align) = (Some('0'), Some('=')),
                    '-' => (spec.fill, spec.align) = (None, Some('<')),
                    '#' => spec.alternate = true,
                    '+' | ' ' => spec.sign = Some(flag),
                    _ => {}
                }
                rest = &rest[1..];
            }
            let (width, mut after) = digits(rest)?;
            spec.width = width.unwrap_or(0);
            if let Some(tail) = after.strip_prefix('.') {
                let (precision, tail) = digits(tail)?;
                (spec.precision, after) = (Some(precision.unwrap_or(0)), tail);
            }
            let Some(kind) = after.chars().next() else { return failed("a format that is not finished") };
            spec.kind = Some(kind);
            // `%` puts everything to the right unless told otherwise.
            spec.align = spec.align.or(Some('>'));
            from = whole.len() - after.len() + kind.len_utf8();
            let value = match (named, values) {
                (Some(value), _) => value,
                (None, Value::List(list)) if list.tuple => {
                    next += 1;
                    match self.at(list, next - 1) {
                        Some(value) => value,
                        None => return failed("a format with too few values"),
                    }
                }
                (None, value) => {
                    next += 1;
                    if next > 1 {
                        return failed("a format with too few values");
                    }
                    value
                }
            };
            self.formatted(&mut out, value, spec)?;
        }
        self.copy_part(&mut out, format, from..format.len as usize)?;
        if self.marked(format) {
            out.mark(0)?;
        }
        self.finish(out)
    }

    /// `format.format(values)`.
    pub fn braces(&mut self, format: Span, given: Given<'_>) -> Result<Value> {
        let mut out = self.writer();
        let (mut next, mut from) = (0, 0);
        while let Some(at) = self.str(format)[from..].find(['{', '}']).map(|at| from + at) {
            self.budget.work(1)?;
            let whole = self.str(format);
            self.copy_part(&mut out, format, from..at)?;
            let rest = &whole[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                out.put(&rest[..1])?;
                from = at + 2;
                continue;
            }
            let Some((field, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
                return failed("a brace on its own");
            };
            from = at + field.len() + 2;
            let (name, how) = field.split_once(':').unwrap_or((field, ""));
            let (name, conversion) = name.split_once('!').unwrap_or((name, ""));
            let mut spec = Spec::read(how)?;
            if conversion == "r" {
                spec.kind = Some('r');
            }
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (first, path) = name.split_at(end);
            let value = match first.parse::<usize>() {
                Ok(index) => given.positional.get(index).copied(),
                Err(_) if first.is_empty() => {
                    next += 1;
                    given.positional.get(next - 1).copied()
                }
                Err(_) => given.get(self, usize::MAX, first),
            };
            let Some(mut value) = value else { return failed(format_args!("a format without a value for {first:?}")) };
            if let Some(attribute) = path.strip_prefix('.') {
                let attribute = self.text_of(format, attribute)?;
                value = self.path(value, Value::Str(attribute))?;
            } else if !path.is_empty() {
                return failed("items in a format");
            }
            self.formatted(&mut out, value, spec)?;
        }
        self.copy_part(&mut out, format, from..format.len as usize)?;
        if self.marked(format) {
            out.mark(0)?;
        }
        self.finish(out)
    }

    /// The place of a part of a text.
    fn text_of(&self, whole: Span, part: &str) -> Result<Span> {
        let from = part.as_ptr().addr().wrapping_sub(self.str(whole).as_ptr().addr());
        if from > whole.len as usize {
            return failed("a part of another text");
        }
        Ok(self.part(whole, part, from))
    }
}

/// With an exponent of at least two digits.
fn exponential(out: &mut Writer, x: f64, precision: usize) -> Result<()> {
    let mut text = Writer::new(2 * WIDTH);
    text.format(format_args!("{x:.precision$e}"))?;
    let (mantissa, exponent) = text.text.split_once('e').unwrap_or((&text.text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    out.format(format_args!("{mantissa}e{sign}{:02}", exponent.abs()))
}

/// So many digits that matter, without zeros at the end.
fn general(out: &mut Writer, x: f64, precision: usize) -> Result<()> {
    let mut text = Writer::new(2 * WIDTH);
    let digits = precision - 1;
    text.format(format_args!("{x:.digits$e}"))?;
    let exponent: i32 = text.text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let mut plain = Writer::new(2 * WIDTH);
    let fixed = (-4..precision as i32).contains(&exponent);
    if fixed {
        let digits = (precision as i32 - 1 - exponent).max(0) as usize;
        plain.format(format_args!("{x:.digits$}"))?;
    } else {
        exponential(&mut plain, x, digits)?;
    }
    let (mantissa, rest) = match plain.text.find('e') {
        Some(at) if !fixed => plain.text.split_at(at),
        _ => (plain.text.as_str(), ""),
    };
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    out.put(mantissa)?;
    out.put(rest)
}
