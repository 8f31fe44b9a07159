//! Values put into a text: Python's `%` and `str.format`, with widths that are bounded.

use super::code::Span;
use super::memory::{Memory, Value, failed};
use super::methods::{Given, WIDTH};
use super::operators::{float, kind, number};
use super::writer::TextWriter;
use crate::Result;

/// How a value is to be written.
#[derive(Clone, Copy, Default)]
struct Spec {
    fill: Option<char>,
    /// `<`, `>`, `^` or `=`.
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    grouped: Option<char>,
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
        if let Some(grouped) = text.chars().next().filter(|c| matches!(c, ',' | '_')) {
            (spec.grouped, text) = (Some(grouped), &text[1..]);
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
    fn pad(self, out: &mut TextWriter, sign: &str, body: &TextWriter, right: bool) -> Result<()> {
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
    fn formatted(&mut self, out: &mut TextWriter, value: Value, spec: Spec) -> Result<()> {
        let mut body = self.writer();
        let kind_of = spec.kind.unwrap_or(match number(value) {
            Some(_) if matches!(value, Value::Bool(_)) => 's',
            Some(Value::Int(_)) => 'd',
            Some(_) => 'g',
            None => 's',
        });
        match kind_of {
            's' | 'r' | 'a' => {
                match kind_of {
                    's' => self.print(&mut body, value)?,
                    'r' => self.repr(&mut body, value)?,
                    _ => self.ascii_repr(&mut body, value)?,
                }
                let text = &body.text;
                let end =
                    spec.precision.and_then(|most| text.char_indices().nth(most)).map_or(text.len(), |(at, _)| at);
                body.truncate(end);
                return spec.pad(out, "", &body, false);
            }
            'c' if matches!(value, Value::Str(_)) => {
                self.print(&mut body, value)?;
                if body.text.chars().count() != 1 {
                    return failed("a character is one");
                }
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
            'x' | 'X' | 'o' | 'b' if matches!(value, Value::Float(_)) => {
                return failed(format_args!("a real number cannot be written as {kind_of:?}"));
            }
            'x' if spec.alternate => body.format(format_args!("{whole:#x}"))?,
            'o' if spec.alternate => body.format(format_args!("{whole:#o}"))?,
            'b' if spec.alternate => body.format(format_args!("{whole:#b}"))?,
            'n' => body.format(format_args!("{whole}"))?,
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
        if matches!(kind_of, 'E' | 'G') {
            body.text.make_ascii_uppercase();
        }
        if let Some(mark) = spec.grouped {
            let mut grouped = self.writer();
            let text = &body.text;
            let end = text.find('.').unwrap_or(text.len());
            for (at, c) in text[..end].char_indices() {
                if at > 0 && (end - at).is_multiple_of(3) {
                    grouped.put_char(mark)?;
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
        let mut next = 0i64;
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
            let mut number = |rest: &'_ str| -> Result<(Option<usize>, usize)> {
                if !rest.starts_with('*') {
                    let (number, after) = digits(rest)?;
                    return Ok((number, rest.len() - after.len()));
                }
                let given = match values {
                    Value::List(list) if list.tuple => self.at(list, next),
                    _ => None,
                };
                next += 1;
                match given {
                    Some(Value::Int(n)) if (0..=WIDTH as i64).contains(&n) => Ok((Some(n as usize), 1)),
                    _ => failed("a width that is no number, or too large"),
                }
            };
            let (width, taken) = number(rest)?;
            spec.width = width.unwrap_or(0);
            let mut after = &rest[taken..];
            if let Some(tail) = after.strip_prefix('.') {
                let (precision, taken) = number(tail)?;
                (spec.precision, after) = (Some(precision.unwrap_or(0)), &tail[taken..]);
            }
            after = after.strip_prefix(['h', 'l', 'L']).unwrap_or(after);
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
        let all = match values {
            Value::List(list) if list.tuple => next >= list.len as i64,
            Value::List(_) | Value::Dict(_) => true,
            _ => next > 0,
        };
        if !all {
            return failed("a format with too many values");
        }
        if self.marked(format) {
            out.mark(0)?;
        }
        self.finish(out)
    }

    /// `format.format(values)`.
    pub fn braces(&mut self, format: Span, given: Given<'_>) -> Result<Value> {
        let mut out = self.writer();
        let mut from = 0;
        let mut next = Numbering::default();
        while let Some(at) = self.str(format)[from..].find(['{', '}']).map(|at| from + at) {
            self.budget.work(1)?;
            self.copy_part(&mut out, format, from..at)?;
            let rest = &self.str(format)[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                self.copy_part(&mut out, format, at..at + 1)?;
                from = at + 2;
                continue;
            }
            // A field ends with its brace, not with that of one in its format.
            let mut open = 0;
            let end = rest.char_indices().find(|(_, c)| {
                open += i32::from(*c == '{') - i32::from(*c == '}');
                open <= 0
            });
            let Some((end, '}')) = end.filter(|(end, _)| *end > 0) else { return failed("a brace on its own") };
            from = at + end + 1;
            let field = Span { start: format.start + at as u32 + 1, len: end as u32 - 1 };
            let (name, how) = match self.str(field).split_once(':') {
                Some((name, how)) => (self.part(field, name, 0), self.part(field, how, name.len() + 1)),
                None => (field, Span { start: field.start, len: 0 }),
            };
            let (name, conversion) = match self.str(name).split_once('!') {
                Some((bare, conversion)) => {
                    (self.part(name, bare, 0), Some(self.part(name, conversion, bare.len() + 1)))
                }
                None => (name, None),
            };
            let value = self.field(name, given, &mut next)?;
            let mut how = self.str(how);
            let mut filled = String::new();
            if how.contains('{') {
                filled = self.filled(
                    Span { start: field.start + field.len - how.len() as u32, len: how.len() as u32 },
                    given,
                    &mut next,
                )?;
                how = &filled;
            }
            let mut spec = Spec::read(how)?;
            let plain = how.is_empty();
            let kind_of = conversion.map(|conversion| self.str(conversion).chars().next());
            match (kind_of, value) {
                (Some(Some(c @ ('r' | 's' | 'a'))), _) => spec.kind = Some(c),
                (Some(_), _) => return failed("a conversion that there is not"),
                (None, Value::Bool(_)) if !plain => spec.kind = spec.kind.or(Some('d')),
                (None, Value::Str(_)) => {
                    if let Some(other) = spec.kind.filter(|kind| *kind != 's') {
                        return failed(format_args!("a text cannot be written as {other:?}"));
                    }
                }
                (None, Value::Int(_) | Value::Float(_)) => {
                    let whole = matches!(value, Value::Int(_));
                    let fits = |c: char| c != 's' && (whole || !"dcxXob".contains(c));
                    if let Some(other) = spec.kind.filter(|kind| !fits(*kind)) {
                        return failed(format_args!("a number cannot be written as {other:?}"));
                    }
                }
                (None, other) if !plain => return failed(format_args!("{} takes no format", kind(other))),
                _ => {}
            }
            drop(filled);
            self.formatted(&mut out, value, spec)?;
        }
        self.copy_part(&mut out, format, from..format.len as usize)?;
        if self.marked(format) {
            out.mark(0)?;
        }
        self.finish(out)
    }

    /// The format of a field with the values of the fields in it.
    fn filled(&mut self, how: Span, given: Given<'_>, next: &mut Numbering) -> Result<String> {
        let mut text = self.writer();
        let mut from = 0;
        while let Some(at) = self.str(how)[from..].find('{').map(|at| from + at) {
            text.put(&self.str(how)[from..at])?;
            let Some(len) = self.str(how)[at..].find('}') else { return failed("a brace on its own") };
            let name = Span { start: how.start + at as u32 + 1, len: len as u32 - 1 };
            let value = self.field(name, given, next)?;
            self.print(&mut text, value)?;
            from = at + len + 1;
        }
        text.put(&self.str(how)[from..])?;
        Ok(text.text)
    }

    /// The value of a field: `name`, `0`, or nothing for the next one, and the way to a part of it.
    fn field(&mut self, name: Span, given: Given<'_>, next: &mut Numbering) -> Result<Value> {
        let whole = self.str(name);
        let end = whole.find(['.', '[']).unwrap_or(whole.len());
        let first = &whole[..end];
        let value = match first.parse::<usize>() {
            Ok(index) => next.own(true).then(|| given.positional.get(index).copied()),
            Err(_) if first.is_empty() => next.own(false).then(|| given.positional.get(next.count - 1).copied()),
            Err(_) => Some(given.get(self, usize::MAX, first)),
        };
        let Some(value) = value else { return failed("a format whose fields have numbers, and others that do not") };
        let Some(mut value) = value else { return failed(format_args!("a format without a value for {first:?}")) };
        let mut at = end;
        while at < name.len as usize {
            self.budget.work(1)?;
            let rest = &self.str(name)[at..];
            let (item, key, taken) = match (rest.strip_prefix('['), rest.strip_prefix('.')) {
                (Some(tail), _) => {
                    let Some(len) = tail.find(']') else { return failed("a bracket without its end") };
                    (true, &tail[..len], len + 2)
                }
                (None, Some(tail)) => {
                    let len = tail.find(['.', '[']).unwrap_or(tail.len());
                    (false, &tail[..len], len + 1)
                }
                (None, None) => return failed("a field whose bracket is followed by neither a point nor another"),
            };
            if key.is_empty() || key.starts_with('_') {
                return failed("a field without a name, or with one that is not for templates");
            }
            let number = key.parse().ok().filter(|_| item);
            let key = self.part(name, key, at + 1);
            value = match number {
                Some(index) => self.item_of(value, Value::Int(index))?,
                None if item => self.item_of(value, Value::Str(key))?,
                None => self.attribute_of(value, key)?,
            };
            if let Value::Undefined(name) = value {
                return self.undefined(name);
            }
            at += taken;
        }
        Ok(value)
    }

    /// As `repr`, with escapes for all that is not ASCII.
    fn ascii_repr(&mut self, out: &mut TextWriter, value: Value) -> Result<()> {
        let mut plain = self.writer();
        self.repr(&mut plain, value)?;
        let Value::Str(plain) = self.finish(plain)? else { return failed("no text") };
        self.map_chars(out, plain, |out, c| match u32::from(c) {
            0..0x80 => out.put_char(c),
            code @ 0x80..0x100 => out.format(format_args!("\\x{code:02x}")),
            code @ 0x100..0x1_0000 => out.format(format_args!("\\u{code:04x}")),
            code => out.format(format_args!("\\U{code:08x}")),
        })
    }
}

/// How the fields of a format are numbered: all by themselves, or none.
#[derive(Default)]
struct Numbering {
    count: usize,
    by_number: bool,
}

impl Numbering {
    /// Takes a field with a number or without one; false if there was one of the other kind.
    fn own(&mut self, by_number: bool) -> bool {
        self.count += usize::from(!by_number);
        self.by_number |= by_number;
        !(self.by_number && self.count > 0)
    }
}

/// With an exponent of at least two digits.
fn exponential(out: &mut TextWriter, x: f64, precision: usize) -> Result<()> {
    let mut text = TextWriter::new(2 * WIDTH);
    text.format(format_args!("{x:.precision$e}"))?;
    let (mantissa, exponent) = text.text.split_once('e').unwrap_or((&text.text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    out.format(format_args!("{mantissa}e{sign}{:02}", exponent.abs()))
}

/// So many digits that matter, without zeros at the end.
fn general(out: &mut TextWriter, x: f64, precision: usize) -> Result<()> {
    let mut text = TextWriter::new(2 * WIDTH);
    let digits = precision - 1;
    text.format(format_args!("{x:.digits$e}"))?;
    let exponent: i32 = text.text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let mut plain = TextWriter::new(2 * WIDTH);
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
