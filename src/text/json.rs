//! The words of JSON (RFC 8259) that all who read it here have in common: numbers, and the escapes of texts.

/// Why what follows a backslash is no escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoEscape {
    /// JSON has none of this kind, or the text ends.
    Unknown,
    /// Four hexadecimal digits are missing.
    Digits,
    /// The first half of a pair of surrogates, without the second.
    HighSurrogate,
    /// The second half, without the first.
    LowSurrogate,
}

/// The character that the escape stands for that a text begins with, and the escape's length.
pub(super) fn read_escape(text: &str) -> Result<(char, usize), NoEscape> {
    let bytes = text.as_bytes();
    let unit = |from: usize| {
        let digits = bytes.get(from..from + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |n, byte| Some(n << 4 | char::from(*byte).to_digit(16)?))
    };
    Ok(match bytes.get(1) {
        Some(b'n') => ('\n', 2),
        Some(b't') => ('\t', 2),
        Some(b'r') => ('\r', 2),
        Some(b'b') => ('\x08', 2),
        Some(b'f') => ('\x0c', 2),
        Some(&c @ (b'"' | b'\\' | b'/')) => (char::from(c), 2),
        Some(b'u') => match (unit(0).ok_or(NoEscape::Digits)?, unit(6)) {
            (first @ 0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                (char::from_u32(code).ok_or(NoEscape::HighSurrogate)?, 12)
            }
            (0xd800..0xdc00, _) => return Err(NoEscape::HighSurrogate),
            (code, _) => (char::from_u32(code).ok_or(NoEscape::LowSurrogate)?, 6),
        },
        _ => return Err(NoEscape::Unknown),
    })
}

/// Whether a text is a number.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(unsigned);
    let mut right = whole > 0 && (whole == 1 || !unsigned.starts_with('0'));
    let mut tail = &unsigned[whole..];
    if let Some(fraction) = tail.strip_prefix('.') {
        right &= digits(fraction) > 0;
        tail = &fraction[digits(fraction)..];
    }
    if let Some(exponent) = tail.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        right &= digits(exponent) > 0;
        tail = &exponent[digits(exponent)..];
    }
    right && tail.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_json() {
        for (text, c, length) in [
            (r"\n.", '\n', 2),
            (r#"\"."#, '"', 2),
            (r"\\u", '\\', 2),
            (r"\/", '/', 2),
            (r"\u00e9.", 'é', 6),
            (r"\ud83d\ude00.", '😀', 12),
        ] {
            assert_eq!(read_escape(text), Ok((c, length)), "{text}");
        }
        for (text, why) in [
            (r"\", NoEscape::Unknown),
            (r"\x41", NoEscape::Unknown),
            (r"\é", NoEscape::Unknown),
            (r"\u12", NoEscape::Digits),
            (r"\u12é", NoEscape::Digits),
            (r"\ud83d", NoEscape::HighSurrogate),
            (r"\ud83d\u0041", NoEscape::HighSurrogate),
            (r"\ude00\ud83d", NoEscape::LowSurrogate),
        ] {
            assert_eq!(read_escape(text), Err(why), "{text}");
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for text in ["0", "-0", "10", "2.5", "-0.001", "1e30", "1E+30", "1.5e-3"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", "-", "01", "+1", ".5", "1.", "1e", "1e+", "1-2", "1.5.2", "0x1", "inf", "1é"] {
            assert!(!is_number(text), "{text}");
        }
    }
}
