//! JSON of the host's, read straight into the values of a render: bounded in depth and size, and whatever is wrong with
//! it is told with its place. Its texts are inert.

use super::memory::{DEPTH, Memory, Value, out_of_memory, push};
use crate::error::Message;
use crate::text::json::{NoEscape, is_number, read_escape};
use crate::{Error, Result, Status};

/// Numbers have at most so many characters.
const DIGITS: usize = 400;

struct Reader<'m, 'p, 't> {
    memory: &'m mut Memory<'p>,
    text: &'t str,
    at: usize,
}

impl Memory<'_> {
    /// The names and values of a JSON object, one after the other; of equal names the last counts.
    pub fn object(&mut self, text: &str) -> Result<Vec<Value>> {
        let mut reader = Reader { memory: self, text, at: 0 };
        if reader.peek() != Some(b'{') {
            return reader.fail("a JSON object is expected");
        }
        let pairs = reader.pairs(1)?;
        match reader.peek() {
            None => Ok(pairs),
            Some(_) => reader.fail("something follows the JSON object"),
        }
    }
}

impl Reader<'_, '_, '_> {
    fn fail<T>(&self, why: impl Into<Message>) -> Result<T> {
        Err(Error::new(Status::InvalidArgument, why).context(format_args!("byte {}", self.at)))
    }

    fn rest(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.at += self.rest().iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        self.rest().first().copied()
    }

    fn take(&mut self, wanted: u8, why: &'static str) -> Result<()> {
        match self.peek() {
            Some(byte) if byte == wanted => {
                self.at += 1;
                Ok(())
            }
            _ => self.fail(why),
        }
    }

    /// Whether another item follows: a comma, or the bracket that ends them.
    fn more(&mut self, end: u8, why: &'static str) -> Result<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fail(why),
        }
    }

    fn value(&mut self, depth: u8) -> Result<Value> {
        self.memory.budget.work(1)?;
        if depth >= DEPTH {
            return self.fail(format_args!("lists and objects inside of each other, more than {DEPTH} deep"));
        }
        match self.peek() {
            Some(b'{') => {
                let pairs = self.pairs(depth + 1)?;
                self.memory.known_dict(&pairs)
            }
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                if self.peek() == Some(b']') {
                    self.at += 1;
                    return self.memory.list(&items);
                }
                loop {
                    let item = self.value(depth + 1)?;
                    push(&mut items, item)?;
                    if !self.more(b']', "`,` or `]` is missing")? {
                        return self.memory.list(&items);
                    }
                }
            }
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => {
                for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::None)]
                {
                    if self.rest().starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                self.fail("no JSON value")
            }
            None => self.fail("the JSON ends too early"),
        }
    }

    /// What an object holds, the bracket being next.
    fn pairs(&mut self, depth: u8) -> Result<Vec<Value>> {
        self.at += 1;
        let mut pairs = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(pairs);
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail("a name in quotes is missing");
            }
            let name = self.string()?;
            self.take(b':', "`:` is missing")?;
            let value = self.value(depth)?;
            push(&mut pairs, name)?;
            push(&mut pairs, value)?;
            if !self.more(b'}', "`,` or `}` is missing")? {
                break;
            }
        }
        self.memory.without_repeats(&mut pairs)?;
        Ok(pairs)
    }

    fn number(&mut self) -> Result<Value> {
        let rest = self.rest();
        let len = rest.iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count();
        if len > DIGITS {
            return self.fail(format_args!("a number of {len} characters; {DIGITS} are the most"));
        }
        // All of them are ASCII.
        let number = std::str::from_utf8(&rest[..len]).unwrap_or_default();
        if !is_number(number) {
            return self.fail("no JSON number");
        }
        let value = match number.contains(['.', 'e', 'E']) {
            false => number.parse().ok().map(Value::Int),
            true => number.parse().ok().map(Value::Float),
        };
        let Some(value) = value else { return self.fail("a whole number beyond 64 bits") };
        self.at += len;
        Ok(value)
    }

    /// A text, the quote being next.
    fn string(&mut self) -> Result<Value> {
        self.at += 1;
        let rest = &self.text[self.at..];
        let plain = rest.bytes().take_while(|byte| *byte >= b' ' && !b"\"\\".contains(byte)).count();
        if rest.as_bytes().get(plain) == Some(&b'"') {
            self.at += plain + 1;
            return self.memory.inert(&rest[..plain]);
        }
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().take_while(|byte| *byte >= b' ' && !b"\"\\".contains(byte)).count();
            // Four bytes more for what an escape stands for.
            text.try_reserve(plain + 4).map_err(|_| out_of_memory())?;
            text.push_str(&rest[..plain]);
            self.at += plain;
            match self.rest().first() {
                Some(b'"') => {
                    self.at += 1;
                    return self.memory.inert(&text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return self.fail("a control character in a text"),
                None => return self.fail("a text without an end"),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        match read_escape(&self.text[self.at..]) {
            Ok((c, len)) => {
                self.at += len;
                Ok(c)
            }
            Err(NoEscape::Digits) => self.fail("four hexadecimal digits are missing"),
            Err(NoEscape::HighSurrogate | NoEscape::LowSurrogate) => self.fail("half of a pair of surrogates"),
            Err(NoEscape::Unknown) => self.fail("an escape that JSON does not have"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::RenderBudget;
    use super::super::print::JsonStyle;
    use super::*;

    fn read(text: &str) -> Result<String> {
        let mut memory = Memory::new("", RenderBudget { bytes: 1 << 20, work: 100_000 });
        let pairs = memory.object(text)?;
        let dict = memory.known_dict(&pairs)?;
        let [Value::Str(item), Value::Str(key)] = [memory.text(", ")?, memory.text(": ")?] else { panic!() };
        let style = JsonStyle { ascii: false, indent: None, separators: [item, key], sorted: false };
        let mut out = memory.writer();
        memory.json(&mut out, dict, &style, 0)?;
        Ok(out.text)
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for text in [
            "{}",
            r#"{"a": [1, -2, 2.5, 1e+30, -0.001, true, false, null, [], {}], "é": {"n": {"d": ["x"]}}}"#,
            r#"{"q": "\"\\\n\t\r\b\f€😀"}"#,
        ] {
            assert_eq!(read(text).unwrap(), text);
        }
        let escaped = r#" { "\u00e9\/\ud83d\ude00" : "a\u0041" , "k":1,"k" :[ 2 ] } "#;
        assert_eq!(read(escaped).unwrap(), r#"{"é/😀": "aA", "k": [2]}"#);
        let many: Vec<String> = (0..2_000).map(|n| format!("\"k{}\": {n}", n % 1_500)).collect();
        let many = read(&format!("{{{}}}", many.join(", "))).unwrap();
        assert!(many.starts_with("{\"k0\": 1500, \"k1\": 1501,") && many.ends_with(", \"k1499\": 1499}"), "{many}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for (text, place, words) in [
            ("", 0, "object"),
            ("[1]", 0, "object"),
            ("{} x", 3, "follows"),
            ("{\"a\" 1}", 5, "`:`"),
            ("{\"a\": 1 \"b\"}", 8, "`,`"),
            ("{\"a\": [1 2]}", 9, "`]`"),
            ("{\"a\": 1,}", 8, "name"),
            ("{a: 1}", 1, "name"),
            ("{\"a\": nul}", 6, "value"),
            ("{\"a\": [,]}", 7, "value"),
            ("{\"a\": ", 6, "early"),
            ("{\"a\": \"b", 8, "without an end"),
            ("{\"a\": \"b\n\"}", 8, "control"),
            ("{\"a\": \"\\x\"}", 7, "escape"),
            ("{\"a\": \"\\u12\"}", 7, "hexadecimal"),
            ("{\"a\": \"\\ud800x\"}", 7, "surrogates"),
            ("{\"a\": \"\\udc00\"}", 7, "surrogates"),
            ("{\"a\": 01}", 6, "number"),
            ("{\"a\": -}", 6, "number"),
            ("{\"a\": 1.}", 6, "number"),
            ("{\"a\": 1e}", 6, "number"),
            ("{\"a\": .5}", 6, "value"),
            ("{\"a\": 9223372036854775808}", 6, "64 bits"),
            (deep.as_str(), 29, "deep"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.status(), Status::InvalidArgument, "{text:.40}");
            assert!(error.message().starts_with(&format!("byte {place}: ")), "{text:.40}: {error}");
            assert!(error.message().contains(words), "{text:.40}: {error}");
        }
    }
}
