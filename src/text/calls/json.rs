//! JSON as the readers here write it, without white space: made piece by piece, and looked through without a stack.
//!
//! What is called from everywhere is no part of its callers: the library is to stay small.

use crate::Error;
use crate::text::json::read_escape;

/// Memory could not be had. It has no words, so that handing it up costs nothing: the border of the reader says them.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoMemory;

pub(super) type Made<T> = Result<T, NoMemory>;

impl From<NoMemory> for Error {
    fn from(_: NoMemory) -> Error {
        Error::out_of_memory("an answer")
    }
}

/// Appends to a list, if there is memory.
pub(super) fn add<T>(list: &mut Vec<T>, item: T) -> Made<()> {
    list.try_reserve(1).map_err(|_| NoMemory)?;
    list.push(item);
    Ok(())
}

/// Appends, if there is memory.
#[inline(never)]
pub(super) fn push(out: &mut String, text: &str) -> Made<()> {
    out.try_reserve(text.len()).map_err(|_| NoMemory)?;
    out.push_str(text);
    Ok(())
}

/// Appends what stands for a text between the quotes of JSON.
#[inline(never)]
pub(super) fn escape(out: &mut String, text: &str) -> Made<()> {
    let mut rest = text;
    while let Some(plain) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        push(out, &rest[..plain])?;
        match rest.as_bytes()[plain] {
            b'"' => push(out, "\\\"")?,
            b'\\' => push(out, "\\\\")?,
            b'\n' => push(out, "\\n")?,
            b'\r' => push(out, "\\r")?,
            b'\t' => push(out, "\\t")?,
            byte => {
                let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n)]);
                push(out, "\\u00")?;
                push(out, digit(byte >> 4).encode_utf8(&mut [0; 4]))?;
                push(out, digit(byte & 15).encode_utf8(&mut [0; 4]))?;
            }
        }
        rest = &rest[plain + 1..];
    }
    push(out, rest)
}

/// Appends a text as JSON.
#[inline(never)]
pub(super) fn quote(out: &mut String, text: &str) -> Made<()> {
    push(out, "\"")?;
    escape(out, text)?;
    push(out, "\"")
}

/// Where the value ends that a text begins with.
#[inline(never)]
fn end_of_value(json: &str) -> usize {
    let (mut depth, mut text, mut escaped) = (0usize, false, false);
    for (at, byte) in json.bytes().enumerate() {
        if text {
            text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            if text || depth > 0 {
                continue;
            }
            return at + 1;
        }
        match byte {
            b'"' => text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 1 => return at + 1,
            b',' | b']' | b'}' if depth == 0 => return at,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    json.len()
}

/// The items of a list; none of what is no list.
pub(super) fn items(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json.strip_prefix('[').unwrap_or("]");
    std::iter::from_fn(move || {
        rest = rest.strip_prefix(',').unwrap_or(rest);
        let (item, after) = rest.split_at(end_of_value(rest));
        rest = after;
        (!item.is_empty()).then_some(item)
    })
}

/// The names, as they stand between their quotes, and the values of an object; none of what is no object.
pub(super) fn members(json: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = json.strip_prefix('{').unwrap_or("}");
    std::iter::from_fn(move || {
        rest = rest.strip_prefix(',').unwrap_or(rest);
        let (name, after) = rest.split_at(end_of_name(rest));
        let value = after.strip_prefix(':')?;
        let (value, after) = value.split_at(end_of_value(value));
        rest = after;
        Some((inside(name)?, value))
    })
}

fn end_of_name(json: &str) -> usize {
    if json.starts_with('"') { end_of_value(json) } else { 0 }
}

/// What stands between the quotes of a text; nothing of another value.
pub(super) fn inside(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

/// What an object has under a name.
#[inline(never)]
pub(super) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    members(json).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Appends what a text means, given what stands between its quotes.
#[inline(never)]
pub(super) fn unescape(out: &mut String, inside: &str) -> Made<()> {
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        push(out, &rest[..at])?;
        let (c, length) = read_escape(&rest[at..]).unwrap_or(('\\', 1));
        push(out, c.encode_utf8(&mut [0; 4]))?;
        rest = &rest[at + length..];
    }
    push(out, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        let mut json = String::from("{");
        for (name, value) in [("a\"b", "[1,{\"x\":\"}]\"},\"\\\\\"]"), ("c", "2"), ("d", "{}"), ("e", "[]")] {
            json += if json.len() > 1 { "," } else { "" };
            quote(&mut json, name).unwrap();
            json = json + ":" + value;
        }
        json += "}";
        let all: Vec<_> = members(&json).collect();
        let list = "[1,{\"x\":\"}]\"},\"\\\\\"]";
        assert_eq!(all, [("a\\\"b", list), ("c", "2"), ("d", "{}"), ("e", "[]")]);
        assert_eq!(items(list).collect::<Vec<_>>(), ["1", "{\"x\":\"}]\"}", "\"\\\\\""]);
        assert_eq!(
            (items("[]").count(), items("{}").count(), members("{}").count(), members("[]").count()),
            (0, 0, 0, 0)
        );
        assert_eq!(member(&json, "c"), Some("2"));
        let text = "é\"\\\n\r\t\u{1}/";
        let (mut written, mut back) = (String::new(), String::new());
        quote(&mut written, text).unwrap();
        assert_eq!(written, r#""é\"\\\n\r\t\u0001/""#);
        unescape(&mut back, inside(&written).unwrap()).unwrap();
        assert_eq!(back, text);
    }
}
