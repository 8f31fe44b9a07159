//! Values as models write them, in JSON, in Python or in Gemma's words, turned into JSON as they come.
//!
//! The machine stops anywhere and goes on where it stopped, takes no stack, and looks at no byte twice but at those of
//! a word or a number that the end of a piece cut.

use super::json::{Made, push, quote};
use super::looked;
use crate::text::json::{NoEscape, is_number, read_escape};

/// Lists and objects inside of each other at most: a bit each.
const DEPTH: u32 = 64;
/// Bytes of a number, a word or a bare key at most.
const WORD: usize = 400;

/// What a value is written in. `true` and `True`, `null` and `None` are the same in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Json,
    /// Texts in `'` or `"`.
    Python,
    /// Bare keys, and texts between two `<escape>` or two `<|"|>`.
    Gemma,
}

/// The marks around Gemma's texts.
pub(super) const ESCAPES: [&str; 2] = ["<escape>", "<|\"|>"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quote {
    /// Ends with this byte; a backslash begins an escape.
    Byte(u8),
    /// Ends with this mark, and has no escapes.
    Mark(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LiteralState {
    Value,
    /// A list has just begun.
    ValueOrEnd,
    Key,
    /// An object has just begun.
    KeyOrEnd,
    Colon,
    After,
    Text {
        quote: Quote,
        key: bool,
    },
}

/// How far a reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParseStatus {
    /// As far as there is text.
    More,
    Done,
    /// This is none.
    Wrong,
}

/// A value, as far as it has been read.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    dialect: Dialect,
    /// A bit for each bracket that is open, the innermost lowest: whether it is an object's.
    objects: u64,
    depth: u32,
    /// Whether the outermost is the arguments of a call in parentheses, with `=` after bare names.
    arguments: bool,
    state: LiteralState,
}

/// Where a text has more, what it begins with.
enum Begins {
    Yes,
    No,
    /// It is too short to tell.
    Perhaps,
}

fn begins(text: &[u8], with: &[u8], ended: bool) -> Begins {
    if text.starts_with(with) {
        Begins::Yes
    } else if !ended && with.starts_with(text) {
        Begins::Perhaps
    } else {
        Begins::No
    }
}

impl Literal {
    pub(super) fn new(dialect: Dialect) -> Literal {
        Literal { dialect, objects: 0, depth: 0, arguments: false, state: LiteralState::Value }
    }

    /// The arguments of a call, whose opening parenthesis has been read.
    pub(super) fn arguments(out: &mut String) -> Made<Literal> {
        push(out, "{")?;
        Ok(Literal { dialect: Dialect::Python, objects: 1, depth: 1, arguments: true, state: LiteralState::KeyOrEnd })
    }

    /// A list, whose opening bracket has been read.
    pub(super) fn list(dialect: Dialect, out: &mut String) -> Made<Literal> {
        push(out, "[")?;
        Ok(Literal { dialect, objects: 0, depth: 1, arguments: false, state: LiteralState::ValueOrEnd })
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn has_bare_keys(&self) -> bool {
        self.dialect == Dialect::Gemma || self.is_outermost()
    }

    /// Whether what is open is the parentheses of a call.
    fn is_outermost(&self) -> bool {
        self.arguments && self.depth == 1
    }

    /// Reads on from `at`, to where it moves, and appends what it reads to `out` as JSON. `ended`: no more text comes.
    pub(super) fn run(&mut self, text: &str, at: &mut usize, out: &mut String, ended: bool) -> Made<ParseStatus> {
        let bytes = text.as_bytes();
        loop {
            looked(1);
            if let LiteralState::Text { quote, key } = self.state {
                match self.text(text, at, out, quote, ended)? {
                    ParseStatus::Done => self.state = if key { LiteralState::Colon } else { LiteralState::After },
                    step => return Ok(step),
                }
                if self.depth == 0 {
                    return Ok(ParseStatus::Done);
                }
            }
            while bytes.get(*at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
                *at += 1;
            }
            let Some(&byte) = bytes.get(*at) else { return Ok(ParseStatus::More) };
            let step = match self.state {
                LiteralState::Value | LiteralState::ValueOrEnd => self.value(text, at, out, byte, ended)?,
                LiteralState::Key | LiteralState::KeyOrEnd => self.key(text, at, out, byte, ended)?,
                LiteralState::Colon => {
                    let sign = if self.is_outermost() { b'=' } else { b':' };
                    *at += 1;
                    self.state = LiteralState::Value;
                    push(out, ":")?;
                    if byte == sign { ParseStatus::Done } else { ParseStatus::Wrong }
                }
                LiteralState::After | LiteralState::Text { .. } => match byte {
                    b',' => {
                        *at += 1;
                        push(out, ",")?;
                        self.state = if self.in_object() { LiteralState::Key } else { LiteralState::Value };
                        ParseStatus::Done
                    }
                    _ => self.close(at, out, byte)?,
                },
            };
            if step != ParseStatus::Done {
                return Ok(step);
            }
            if self.depth == 0 && !matches!(self.state, LiteralState::Text { .. }) {
                return Ok(ParseStatus::Done);
            }
        }
    }

    fn open(&mut self, at: &mut usize, out: &mut String, object: bool) -> Made<ParseStatus> {
        if self.depth == DEPTH {
            return Ok(ParseStatus::Wrong);
        }
        *at += 1;
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(object);
        self.state = if object { LiteralState::KeyOrEnd } else { LiteralState::ValueOrEnd };
        push(out, if object { "{" } else { "[" })?;
        Ok(ParseStatus::Done)
    }

    fn close(&mut self, at: &mut usize, out: &mut String, byte: u8) -> Made<ParseStatus> {
        let (wanted, written) = match (self.in_object(), self.is_outermost()) {
            (true, true) => (b')', "}"),
            (true, false) => (b'}', "}"),
            (false, _) => (b']', "]"),
        };
        if byte != wanted {
            return Ok(ParseStatus::Wrong);
        }
        *at += 1;
        self.depth -= 1;
        self.objects >>= 1;
        self.state = LiteralState::After;
        push(out, written)?;
        Ok(ParseStatus::Done)
    }

    /// The quote that begins here, if one does.
    fn quote(&self, rest: &[u8], ended: bool) -> Result<Option<(Quote, usize)>, ParseStatus> {
        match (self.dialect, rest.first()) {
            (Dialect::Json | Dialect::Python, Some(&byte @ b'"')) => Ok(Some((Quote::Byte(byte), 1))),
            (Dialect::Python, Some(&byte @ b'\'')) => Ok(Some((Quote::Byte(byte), 1))),
            (Dialect::Gemma, Some(b'<')) => {
                let mut more = false;
                for mark in ESCAPES {
                    match begins(rest, mark.as_bytes(), ended) {
                        Begins::Yes => return Ok(Some((Quote::Mark(mark), mark.len()))),
                        Begins::Perhaps => more = true,
                        Begins::No => {}
                    }
                }
                if more { Err(ParseStatus::More) } else { Ok(None) }
            }
            _ => Ok(None),
        }
    }

    fn value(&mut self, text: &str, at: &mut usize, out: &mut String, byte: u8, ended: bool) -> Made<ParseStatus> {
        match byte {
            b'{' => return self.open(at, out, true),
            b'[' => return self.open(at, out, false),
            b']' if self.state == LiteralState::ValueOrEnd => return self.close(at, out, byte),
            _ => {}
        }
        match self.quote(&text.as_bytes()[*at..], ended) {
            Err(step) => return Ok(step),
            Ok(Some((quote, length))) => {
                *at += length;
                self.state = LiteralState::Text { quote, key: false };
                push(out, "\"")?;
                return Ok(ParseStatus::Done);
            }
            Ok(None) => {}
        }
        let rest = &text[*at..];
        let length =
            rest.bytes().take(WORD + 1).take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).count();
        looked(length);
        if length == 0 || length > WORD {
            return Ok(ParseStatus::Wrong);
        }
        if length == rest.len() && !ended {
            return Ok(ParseStatus::More);
        }
        let written = match &rest[..length] {
            "true" | "True" => "true",
            "false" | "False" => "false",
            "null" | "None" => "null",
            number if is_number(number) => number,
            _ => return Ok(ParseStatus::Wrong),
        };
        push(out, written)?;
        *at += length;
        self.state = LiteralState::After;
        Ok(ParseStatus::Done)
    }

    fn key(&mut self, text: &str, at: &mut usize, out: &mut String, byte: u8, ended: bool) -> Made<ParseStatus> {
        if self.state == LiteralState::KeyOrEnd && (byte == b'}' || byte == b')') {
            return self.close(at, out, byte);
        }
        if !self.is_outermost() {
            match self.quote(&text.as_bytes()[*at..], ended) {
                Err(step) => return Ok(step),
                Ok(Some((quote, length))) => {
                    *at += length;
                    self.state = LiteralState::Text { quote, key: true };
                    push(out, "\"")?;
                    return Ok(ParseStatus::Done);
                }
                Ok(None) => {}
            }
        }
        if !self.has_bare_keys() {
            return Ok(ParseStatus::Wrong);
        }
        let rest = &text[*at..];
        let is_end = |b: &u8| b":={}[](),<\"' \t\r\n".contains(b);
        let length = rest.bytes().take(WORD + 1).take_while(|b| !is_end(b)).count();
        looked(length);
        if length == 0 || length > WORD {
            return Ok(ParseStatus::Wrong);
        }
        if length == rest.len() {
            return Ok(ParseStatus::More);
        }
        quote(out, &rest[..length])?;
        *at += length;
        self.state = LiteralState::Colon;
        Ok(ParseStatus::Done)
    }

    /// The inside of a text, up to its end.
    fn text(&self, text: &str, at: &mut usize, out: &mut String, quote: Quote, ended: bool) -> Made<ParseStatus> {
        loop {
            let rest = &text[*at..];
            let ends = |byte: u8| match quote {
                Quote::Byte(end) => byte == end || byte == b'\\',
                Quote::Mark(mark) => byte == mark.as_bytes()[0],
            };
            let plain = rest.bytes().position(ends).unwrap_or(rest.len());
            looked(plain + 1);
            super::json::escape(out, &rest[..plain])?;
            *at += plain;
            let rest = &rest[plain..];
            let Some(&byte) = rest.as_bytes().first() else { return Ok(ParseStatus::More) };
            let closes = match quote {
                Quote::Mark(mark) => begins(rest.as_bytes(), mark.as_bytes(), ended),
                Quote::Byte(end) if byte == end => self.closes(rest.as_bytes(), ended),
                Quote::Byte(_) => Begins::No,
            };
            match (closes, quote) {
                (Begins::Perhaps, _) => return Ok(ParseStatus::More),
                (Begins::Yes, Quote::Mark(mark)) => {
                    *at += mark.len();
                    push(out, "\"")?;
                    return Ok(ParseStatus::Done);
                }
                (Begins::Yes, _) => {
                    *at += 1;
                    push(out, "\"")?;
                    return Ok(ParseStatus::Done);
                }
                (Begins::No, Quote::Byte(_)) if byte == b'\\' => match unescaped(rest, self.dialect, ended) {
                    Err(step) => return Ok(step),
                    Ok((c, length)) => {
                        super::json::escape(out, c.encode_utf8(&mut [0; 4]))?;
                        *at += length;
                    }
                },
                // A mark's first byte, or a quote within a text.
                (Begins::No, _) => {
                    super::json::escape(out, &rest[..1])?;
                    *at += 1;
                }
            }
        }
    }

    /// Whether a quote ends its text. Python's does where something follows that can: templates print texts between
    /// quotes whatever is in them.
    fn closes(&self, rest: &[u8], ended: bool) -> Begins {
        match rest.get(1) {
            _ if self.dialect != Dialect::Python || self.depth == 0 => Begins::Yes,
            Some(next) if b",)]}:=\r\n".contains(next) => Begins::Yes,
            Some(_) => Begins::No,
            None if ended => Begins::Yes,
            None => Begins::Perhaps,
        }
    }
}

/// The character that an escape stands for, and the escape's length.
fn unescaped(rest: &str, dialect: Dialect, ended: bool) -> Result<(char, usize), ParseStatus> {
    let python = dialect == Dialect::Python;
    match (read_escape(rest), rest.as_bytes().get(1)) {
        (Ok(found), _) => Ok(found),
        (Err(_), None) if !ended => Err(ParseStatus::More),
        (Err(NoEscape::Digits), _) if rest.len() < 6 && !ended => Err(ParseStatus::More),
        // The other half of the pair may come.
        (Err(NoEscape::HighSurrogate), _) if rest.len() < 12 && !ended => Err(ParseStatus::More),
        (Err(NoEscape::Unknown), Some(b'\'')) if python => Ok(('\'', 2)),
        // Others stand for themselves there.
        (Err(NoEscape::Unknown), Some(_)) if python => Ok(('\\', 1)),
        _ => Err(ParseStatus::Wrong),
    }
}

/// Appends all of a text, which is one value, as JSON; `false`, and nothing, if it is none.
pub(super) fn whole(dialect: Dialect, text: &str, out: &mut String) -> Made<bool> {
    let (before, mut at) = (out.len(), 0);
    let step = Literal::new(dialect).run(text, &mut at, out, true)?;
    if step == ParseStatus::Done && text[at..].trim_start().is_empty() {
        return Ok(true);
    }
    out.truncate(before);
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a text, however it is cut.
    fn read(dialect: Dialect, text: &str) -> Option<String> {
        let cut = |size: usize| {
            let (mut literal, mut at, mut out) = (Literal::new(dialect), 0, String::new());
            for end in (size..text.len()).step_by(size).filter(|&end| text.is_char_boundary(end)) {
                match literal.run(&text[..end], &mut at, &mut out, false).unwrap() {
                    ParseStatus::More => {}
                    ParseStatus::Done => return Some((out, at)),
                    ParseStatus::Wrong => return None,
                }
            }
            let step = literal.run(text, &mut at, &mut out, true).unwrap();
            (step == ParseStatus::Done).then_some((out, at))
        };
        let found = [1, 2, 3, 7, text.len().max(1)].map(cut);
        assert!(found.iter().all(|one| *one == found[0]), "{text}: {found:?}");
        found[0].clone().map(|(out, _)| out)
    }

    #[test]
    fn values_of_three_dialects_become_json() {
        for (dialect, text, expected) in [
            (Dialect::Json, r#" {"a" : [1, -2.5e3 , true,null], "b":{}} x"#, r#"{"a":[1,-2.5e3,true,null],"b":{}}"#),
            (Dialect::Json, r#""\u00e9\ud83d\ude00\/\n""#, "\"é😀/\\n\""),
            (Dialect::Json, "\"a\nb\u{1}\"", r#""a\nb\u0001""#),
            (Dialect::Json, "[]", "[]"),
            (Dialect::Python, r#"{'k': True, "l": [None, 'it's', "\'\d"]}"#, r#"{"k":true,"l":[null,"it's","'\\d"]}"#),
            (Dialect::Gemma, "{a:<escape>x \"}<escape>,b:[1,None],c:{}}", r#"{"a":"x \"}","b":[1,null],"c":{}}"#),
            (Dialect::Gemma, "{<|\"|>é<|\"|>:<|\"|>a<|b<|\"|>}", r#"{"é":"a<|b"}"#),
        ] {
            assert_eq!(read(dialect, text).as_deref(), Some(expected), "{text}");
        }
        let deep = "[".repeat(65) + &"]".repeat(65);
        for wrong in ["{a:1}", "{'a':1}", "[1,]", "{\"a\"}", "\"\\x\"", "\"\\ud800x\"", "01", "[1", "{]", "nul", &deep]
        {
            assert_eq!(read(Dialect::Json, wrong), None, "{wrong}");
        }
        assert!(read(Dialect::Json, &deep[1..129]).is_some());
    }

    #[test]
    fn arguments_in_parentheses() {
        let (mut out, mut at) = (String::new(), 0);
        let mut literal = Literal::arguments(&mut out).unwrap();
        let text = "a=1, b='x, \"y\"', c={'d': (1)})";
        assert_eq!(literal.run(text, &mut at, &mut out, true).unwrap(), ParseStatus::Wrong);
        let (mut out, mut at) = (String::new(), 0);
        let mut literal = Literal::arguments(&mut out).unwrap();
        let text = "a=1, b='x, \"y\"', c={'d': [1]}) rest";
        assert_eq!(literal.run(text, &mut at, &mut out, false).unwrap(), ParseStatus::Done);
        assert_eq!((out.as_str(), &text[at..]), (r#"{"a":1,"b":"x, \"y\"","c":{"d":[1]}}"#, " rest"));
    }
}
