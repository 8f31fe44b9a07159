//! Bytes in, whole characters out.

/// Puts characters together from the bytes of tokens, which may end inside of one.
///
/// What it gives equals [`String::from_utf8_lossy`] of all bytes together, wherever they were cut: bytes that can
/// still become a character wait for the next push, and invalid ones become U+FFFD as soon as it is certain that they
/// are. It holds at most three bytes and never allocates.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    /// The start of a character.
    pending: [u8; 4],
    len: usize,
}

const REPLACEMENT: &str = "\u{FFFD}";

impl Utf8Stream {
    /// A stream that waits for nothing.
    pub fn new() -> Utf8Stream {
        Utf8Stream::default()
    }

    /// Hands all characters that `bytes` complete to `sink`, in one or more pieces, none of them empty: together at
    /// most [`max_output`](Utf8Stream::max_output) bytes.
    pub fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(&str)) {
        let mut rest = bytes;
        while self.len > 0 {
            let Some((&byte, tail)) = rest.split_first() else { return };
            // Three bytes wait at most: a fourth completes the character or shows that there is none.
            self.pending[self.len.min(3)] = byte;
            match std::str::from_utf8(&self.pending[..self.len + 1]) {
                Ok(char) => {
                    sink(char);
                    self.len = 0;
                    rest = tail;
                }
                Err(error) if error.error_len().is_none() => {
                    self.len += 1;
                    rest = tail;
                }
                // What waited was the start of a character until this byte, which may start one itself.
                Err(_) => {
                    sink(REPLACEMENT);
                    self.len = 0;
                }
            }
        }
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    return if text.is_empty() {
                    } else {
                        sink(text)
                    };
                }
                Err(error) => error,
            };
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            if let Ok(text) = std::str::from_utf8(valid)
                && !text.is_empty()
            {
                sink(text);
            }
            match error.error_len() {
                Some(len) => {
                    sink(REPLACEMENT);
                    rest = &invalid[len..];
                }
                None => {
                    self.len = invalid.len().min(3);
                    self.pending[..self.len].copy_from_slice(&invalid[..self.len]);
                    return;
                }
            }
        }
    }

    /// Ends the text: an unfinished character becomes U+FFFD. The stream is as new.
    pub fn finish(&mut self, mut sink: impl FnMut(&str)) {
        if self.len > 0 {
            sink(REPLACEMENT);
            self.len = 0;
        }
    }

    /// Bytes that wait for the rest of their character; at most three.
    pub fn pending(&self) -> &[u8] {
        &self.pending[..self.len]
    }

    /// The most bytes that a push of `len` bytes gives: each may become a U+FFFD, which has three.
    pub const fn max_output(len: usize) -> usize {
        (len + 1) * REPLACEMENT.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes `pieces`; every piece that comes out is whole, and within the stated bound.
    fn run(pieces: &[&[u8]]) -> String {
        let mut stream = Utf8Stream::new();
        let mut all = String::new();
        for piece in pieces {
            let before = all.len();
            stream.push(piece, |text| {
                assert!(!text.is_empty());
                all.push_str(text);
            });
            assert!(all.len() - before <= Utf8Stream::max_output(piece.len()));
            assert!(stream.pending().len() <= 3);
        }
        stream.finish(|text| all.push_str(text));
        assert!(stream.pending().is_empty());
        all
    }

    #[test]
    fn every_cut_of_every_string_gives_the_same_text() {
        let cases: [&[u8]; 12] = [
            "aé€😀z".as_bytes(),
            "👩‍👩‍👧".as_bytes(),
            b"\xF0\x9F\x98",
            b"\xF0\x9F\x98x",
            b"\xF0\x9F\xF0\x9F\x98\x80",
            b"\x80\xBF\xFF\xC0\xAF",
            b"\xE2\x82\xE2\x82\xAC",
            b"\xED\xA0\x80ok",
            b"\xF4\x90\x80\x80",
            b"\xC3\xC3\xC3\xA9",
            b"\xF1\xF1\x80\xF1\x80\x80a",
            b"",
        ];
        for bytes in cases {
            let expected = String::from_utf8_lossy(bytes);
            for a in 0..=bytes.len() {
                for b in a..=bytes.len() {
                    assert_eq!(run(&[&bytes[..a], &bytes[a..b], &bytes[b..]]), expected, "{bytes:x?} at {a}, {b}");
                }
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(run(&single), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn all_short_byte_strings() {
        // One byte of each kind that UTF-8 tells apart.
        const KINDS: [u8; 14] = [0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2, 0xE0, 0xE1, 0xED, 0xF0, 0xF1, 0xF4];
        for n in 0..14usize.pow(4) {
            let bytes: Vec<u8> = (0..4).map(|i| KINDS[n / 14usize.pow(i) % 14]).collect();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(run(&single), String::from_utf8_lossy(&bytes), "{bytes:x?}");
        }
    }

    #[test]
    fn a_character_comes_as_soon_as_it_is_whole() {
        let mut stream = Utf8Stream::new();
        let mut seen = Vec::new();
        for piece in [&b"a\xE2"[..], b"\x82", b"\xACb", b"\xC3", b"!"] {
            let mut text = String::new();
            stream.push(piece, |t| text.push_str(t));
            seen.push(text);
        }
        assert_eq!(seen, ["a", "", "€b", "", "\u{FFFD}!"]);
    }
}
