//! A template cut into text and the tokens of its tags, as Jinja2's lexer does it with the blocks trimmed and their
//! lines stripped, which is how `transformers` sets it up.

use super::code::Span;
use super::{Fault, Why, fault};

/// A token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token {
    /// Text that is written as it is.
    Data(Span),
    /// `{{`
    VariableBegin,
    /// `}}`
    VariableEnd,
    /// `{%`
    BlockBegin,
    /// `%}`
    BlockEnd,
    Name(Span),
    /// Between the quotes, escapes not yet read.
    Str(Span),
    Int(i64),
    Float(f64),
    /// `==` or `(`, say.
    Operator(&'static str),
    End,
}

const OPERATORS: [&str; 26] = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ",", ":", "|", "(", ")", "[",
    "]", "{", "}", ";",
];

/// Where in the template the lexer is.
#[derive(Clone, Copy, PartialEq)]
enum LexerMode {
    Text,
    Variable,
    Block,
}

#[derive(Clone, Copy)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    mode: LexerMode,
    /// Whether `at` is the beginning of a line.
    line_start: bool,
    /// White space after the tag that ended last is not written.
    strip: bool,
    /// A tag whose beginning was seen with the text before it.
    waiting: Option<(Token, usize)>,
    /// Brackets open in the tag, innermost last: a `}` of theirs ends no tag.
    open: u32,
}

fn span(start: usize, end: usize) -> Span {
    // A template is far shorter than 4 GiB.
    Span { start: start as u32, len: (end - start) as u32 }
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Lexer<'t> {
        // Jinja2 leaves out one line end at the end of a template.
        let text = text.strip_suffix('\n').unwrap_or(text);
        Lexer { text, at: 0, mode: LexerMode::Text, line_start: true, strip: false, waiting: None, open: 0 }
    }

    /// Where the last token ended.
    pub fn place(&self) -> u32 {
        self.at as u32
    }

    pub fn next(&mut self) -> Result<Token, Fault> {
        if let Some((token, end)) = self.waiting.take() {
            self.at = end;
            return Ok(token);
        }
        match self.mode {
            LexerMode::Text => self.data(),
            LexerMode::Variable | LexerMode::Block => self.inside(),
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Text up to the next tag; if there is none of it, the tag.
    fn data(&mut self) -> Result<Token, Fault> {
        loop {
            if std::mem::take(&mut self.strip) {
                self.at = self.text.len() - self.rest().trim_start().len();
            }
            let start = self.at;
            let found = self
                .rest()
                .match_indices('{')
                .map(|(at, _)| start + at)
                .find(|&at| matches!(self.text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')));
            let Some(tag) = found else {
                self.at = self.text.len();
                return Ok(if start == self.at { Token::End } else { Token::Data(span(start, self.at)) });
            };
            let kind = self.text.as_bytes()[tag + 1];
            let sign = self.text.as_bytes().get(tag + 2).copied();
            let before = &self.text[start..tag];
            let kept = match sign {
                Some(b'-') => before.trim_end(),
                Some(b'+') => before,
                _ if kind != b'{' => self.without_indent(before),
                _ => before,
            };
            let signed = usize::from(matches!(sign, Some(b'-' | b'+')));
            let mut inside = tag + 2 + signed;
            let data = Token::Data(span(start, start + kept.len()));
            let token = match kind {
                b'{' => {
                    // `{{+` is a plus.
                    inside = if sign == Some(b'+') { tag + 2 } else { inside };
                    self.mode = LexerMode::Variable;
                    Token::VariableBegin
                }
                b'%' => match self.raw(inside)? {
                    Some(raw) => {
                        // The text before it first; what lies inside is written as it is.
                        if kept.is_empty() {
                            return Ok(raw);
                        }
                        self.waiting = Some((raw, self.at));
                        return Ok(data);
                    }
                    None => {
                        self.mode = LexerMode::Block;
                        Token::BlockBegin
                    }
                },
                _ => {
                    let end = self.text[inside..].find("#}").map(|at| inside + at);
                    let Some(end) = end else { return fault(tag, "a comment without an end") };
                    self.at = end + 2;
                    self.after_block(end > inside && self.text.as_bytes()[end - 1] == b'-', false);
                    if kept.is_empty() {
                        continue;
                    }
                    return Ok(data);
                }
            };
            self.open = 0;
            if kept.is_empty() {
                self.at = inside;
                return Ok(token);
            }
            self.waiting = Some((token, inside));
            return Ok(data);
        }
    }

    /// Text before a block or comment, without the white space from the beginning of its line on, if it is nothing
    /// else.
    fn without_indent(&self, before: &'t str) -> &'t str {
        let line = before.rfind('\n').map(|at| at + 1);
        match line {
            Some(line) if before[line..].trim().is_empty() => &before[..line],
            None if self.line_start && before.trim().is_empty() => "",
            _ => before,
        }
    }

    /// What follows the end of a block or comment: the rest of the white space goes, or one line end.
    fn after_block(&mut self, strip: bool, keep: bool) {
        self.strip = strip;
        self.line_start = false;
        if strip {
            let white = self.rest().len() - self.rest().trim_start().len();
            self.line_start = self.text[self.at..self.at + white].ends_with('\n');
        } else if !keep && self.rest().starts_with('\n') {
            self.at += 1;
            self.line_start = true;
        }
    }

    /// The text of a `raw` block whose tag may begin at `inside`.
    fn raw(&mut self, inside: usize) -> Result<Option<Token>, Fault> {
        let tag = |from: usize, name: &str| -> Option<(bool, bool, usize)> {
            let rest = self.text[from..].trim_start().strip_prefix(name)?.trim_start();
            let (strip, keep) = (rest.starts_with('-'), rest.starts_with('+'));
            let rest = if strip || keep { &rest[1..] } else { rest };
            Some((strip, keep, self.text.len() - rest.strip_prefix("%}")?.len()))
        };
        let Some((strip, _, start)) = tag(inside, "raw") else { return Ok(None) };
        let mut from = start;
        while let Some(at) = self.text[from..].find("{%").map(|at| from + at) {
            let signs = usize::from(matches!(self.text.as_bytes().get(at + 2), Some(b'-' | b'+')));
            if let Some((strip_after, keep, end)) = tag(at + 2 + signs, "endraw") {
                let mut text = &self.text[start..at];
                let mut begin = start;
                if strip {
                    begin += text.len() - text.trim_start().len();
                }
                text = &self.text[begin.min(at)..at];
                text = match self.text.as_bytes()[at + 2] {
                    b'-' => text.trim_end(),
                    b'+' => text,
                    _ => {
                        let line = text.rfind('\n').map_or(0, |at| at + 1);
                        if text[line..].trim().is_empty() { &text[..line] } else { text }
                    }
                };
                self.at = end;
                self.after_block(strip_after, keep);
                return Ok(Some(Token::Data(span(begin.min(at), begin.min(at) + text.len()))));
            }
            from = at + 2;
        }
        fault(inside, "`raw` without `endraw`")
    }

    /// A token inside of a tag.
    fn inside(&mut self) -> Result<Token, Fault> {
        self.at = self.text.len() - self.rest().trim_start().len();
        let (start, rest) = (self.at, self.rest());
        let variable = self.mode == LexerMode::Variable;
        if self.open == 0 {
            let end = if variable { "}}" } else { "%}" };
            for (sign, strip, keep) in [("", false, false), ("-", true, false), ("+", false, true)] {
                let Some(after) = rest.strip_prefix(sign).and_then(|rest| rest.strip_prefix(end)) else { continue };
                if variable && keep {
                    continue;
                }
                self.at = self.text.len() - after.len();
                self.mode = LexerMode::Text;
                self.line_start = false;
                if variable {
                    self.strip = strip;
                    if strip {
                        self.after_block(true, false);
                    }
                    return Ok(Token::VariableEnd);
                }
                self.after_block(strip, keep);
                return Ok(Token::BlockEnd);
            }
        }
        let Some(first) = rest.chars().next() else { return fault(start, "the template ends inside of a tag") };
        if first.is_alphabetic() || first == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            self.at += len;
            return Ok(Token::Name(span(start, start + len)));
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '\'' || first == '"' {
            let mut escaped = false;
            for (at, c) in rest.char_indices().skip(1) {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    c if c == first => {
                        self.at = start + at + 1;
                        return Ok(Token::Str(span(start + 1, start + at)));
                    }
                    _ => {}
                }
            }
            return fault(start, "a string without an end");
        }
        let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) else {
            return fault(start, Why::Character(first));
        };
        match operator {
            "(" | "[" | "{" => self.open += 1,
            ")" | "]" | "}" => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        self.at += operator.len();
        Ok(Token::Operator(operator))
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let (start, rest) = (self.at, self.rest().as_bytes());
        let radix = match rest.get(1).map(u8::to_ascii_lowercase) {
            Some(b'x') if rest[0] == b'0' => 16,
            Some(b'o') if rest[0] == b'0' => 8,
            Some(b'b') if rest[0] == b'0' => 2,
            _ => 10,
        };
        let digits = |from: usize, radix: u32| {
            let is_digit = |b: &u8| char::from(*b).is_digit(radix) || *b == b'_';
            from + rest[from..].iter().take_while(|b| is_digit(b)).count()
        };
        let from = if radix == 10 { 0 } else { 2 };
        let mut end = digits(from, radix);
        let mut float = false;
        if radix == 10 {
            if rest.get(end) == Some(&b'.') && rest.get(end + 1).is_some_and(u8::is_ascii_digit) {
                (end, float) = (digits(end + 1, 10), true);
            }
            if matches!(rest.get(end), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
                if rest.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                    (end, float) = (digits(end + 1 + sign, 10), true);
                }
            }
        }
        self.at += end;
        let mut plain = [0u8; 64];
        let mut len = 0;
        for &byte in rest[from..end].iter().filter(|&&byte| byte != b'_') {
            let Some(place) = plain.get_mut(len) else { return fault(start, "a number of too many digits") };
            (*place, len) = (byte, len + 1);
        }
        let plain = std::str::from_utf8(&plain[..len]).unwrap_or_default();
        let token = match float {
            true => plain.parse().ok().map(Token::Float),
            false => i64::from_str_radix(plain, radix).ok().map(Token::Int),
        };
        token.map_or_else(|| fault(start, "a number beyond 64 bits"), Ok)
    }
}
