//! Stop strings: found in a text that comes in pieces, before any of it is shown.

use crate::{Error, Result, Status};

/// The most stop strings there can be at once.
pub const MAX_STOPS: usize = 16;

/// The most bytes they can have together.
pub const MAX_STOP_BYTES: usize = 1024;

/// Finds the first stop string to be completed in a text, and holds back what can still become part of one.
///
/// Each string is followed by the automaton of Knuth, Morris and Pratt: its state is the length of the longest prefix
/// of the string that the text ends with. So what is held back, the longest of these prefixes, need not be stored: it
/// stands in the string itself. Nothing here allocates, and what comes out does not depend on how the text was cut.
#[derive(Clone)]
pub(crate) struct Stops {
    /// The strings, one after the other.
    bytes: [u8; MAX_STOP_BYTES],
    /// For each byte: the length of the longest prefix of its string, but not all of it, that ends with that byte.
    border: [u16; MAX_STOP_BYTES],
    /// Where each string ends.
    ends: [u16; MAX_STOPS],
    /// How much of each string the text ends with.
    matched: [u16; MAX_STOPS],
    count: usize,
}

impl Stops {
    pub(crate) fn new() -> Stops {
        Stops {
            bytes: [0; MAX_STOP_BYTES],
            border: [0; MAX_STOP_BYTES],
            ends: [0; MAX_STOPS],
            matched: [0; MAX_STOPS],
            count: 0,
        }
    }

    /// Replaces the strings; nothing is held back then. On an error the old ones stay.
    pub(crate) fn set<'a>(&mut self, stops: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<()> {
        if stops.len() > MAX_STOPS {
            let message = format_args!("{} stop strings; a session takes {MAX_STOPS}", stops.len());
            return Err(Error::new(Status::OutOfRange, message));
        }
        if let Some(index) = stops.clone().position(str::is_empty) {
            return Err(Error::new(Status::InvalidArgument, format_args!("stop string {index} is empty")));
        }
        let total = stops.clone().fold(0usize, |sum, stop| sum.saturating_add(stop.len()));
        if total > MAX_STOP_BYTES {
            let message = format_args!("stop strings of {total} bytes; a session takes {MAX_STOP_BYTES}");
            return Err(Error::new(Status::OutOfRange, message));
        }
        self.count = 0;
        self.matched = [0; MAX_STOPS];
        let mut end = 0;
        for stop in stops {
            let span = end..end + stop.len();
            end = span.end;
            self.bytes[span.clone()].copy_from_slice(stop.as_bytes());
            self.ends[self.count] = end as u16;
            let (string, border) = (&self.bytes[span.clone()], &mut self.border[span]);
            border[0] = 0;
            for i in 1..string.len() {
                border[i] = advance(string, border, border[i - 1], string[i]);
            }
            self.count += 1;
        }
        Ok(())
    }

    fn span(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start.into()..self.ends[index].into()
    }

    /// What is held back.
    fn held(&self) -> &[u8] {
        let longest = (0..self.count).max_by_key(|&index| self.matched[index]);
        longest.map_or(&[], |index| &self.bytes[self.span(index)][..self.matched[index].into()])
    }

    /// Takes a piece of text. Hands the bytes that can no longer become part of a stop string to `sink`, in pieces:
    /// together whole characters, if the text is. True as soon as a stop string is complete: neither it nor what
    /// follows is shown, and nothing is held back.
    pub(crate) fn push(&mut self, text: &str, mut sink: impl FnMut(&[u8])) -> bool {
        if self.count == 0 {
            sink(text.as_bytes());
            return false;
        }
        for byte in text.bytes() {
            let mut matched = self.matched;
            let mut complete = 0;
            for (index, state) in matched[..self.count].iter_mut().enumerate() {
                let span = self.span(index);
                let string = &self.bytes[span.clone()];
                *state = advance(string, &self.border[span], *state, byte);
                if usize::from(*state) == string.len() {
                    complete = complete.max(string.len());
                }
            }
            let longest = matched.iter().copied().max().unwrap_or(0);
            // Of what was held back and this byte, so many at the end stay hidden.
            let hidden = if complete > 0 { complete } else { longest.into() };
            let held = self.held();
            let shown = held.len() + 1 - hidden;
            if shown > 0 {
                sink(&held[..shown.min(held.len())]);
            }
            if shown > held.len() {
                sink(&[byte]);
            }
            self.matched = matched;
            if complete > 0 {
                self.matched = [0; MAX_STOPS];
                return true;
            }
        }
        false
    }

    /// Ends the text: hands out what is held back.
    pub(crate) fn finish(&mut self, sink: impl FnOnce(&[u8])) {
        sink(self.held());
        self.matched = [0; MAX_STOPS];
    }
}

/// How much of `string` a text ends with after `byte`, if it ended with `matched` bytes of it before. `border` need be
/// there for these only.
fn advance(string: &[u8], border: &[u16], mut matched: u16, byte: u8) -> u16 {
    loop {
        let at = usize::from(matched);
        if string.get(at) == Some(&byte) {
            return matched + 1;
        }
        if at == 0 {
            return 0;
        }
        matched = border[at - 1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of `text` in pieces of at most `cut` characters, and whether it was stopped.
    fn shown(stops: &[&str], text: &str, cut: usize) -> (String, bool) {
        let mut found = Stops::new();
        found.set(stops.iter().copied()).unwrap();
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::new();
        for piece in chars.chunks(cut) {
            let piece: String = piece.iter().collect();
            let mut bytes = Vec::new();
            let stopped = found.push(&piece, |b| bytes.extend_from_slice(b));
            // Whole characters, piece by piece, and nothing that may have to be taken back.
            out.push_str(std::str::from_utf8(&bytes).unwrap());
            if stopped {
                assert!(found.held().is_empty());
                return (out, true);
            }
            assert!(stops.iter().all(|stop| !out.contains(stop)));
        }
        let mut bytes = Vec::new();
        found.finish(|b| bytes.extend_from_slice(b));
        (out + std::str::from_utf8(&bytes).unwrap(), false)
    }

    /// The same without automata: of all places where a stop string ends the first, of these strings the longest.
    fn expected(stops: &[&str], text: &str) -> (String, bool) {
        for end in 1..=text.len() {
            let head = &text.as_bytes()[..end];
            if let Some(stop) = stops.iter().filter(|s| head.ends_with(s.as_bytes())).max_by_key(|s| s.len()) {
                return (text[..end - stop.len()].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    #[test]
    fn every_text_of_few_letters_stops_where_a_search_says() {
        let lists: [&[&str]; 8] = [
            &[],
            &["aab"],
            &["aa", "aaa"],
            &["abab", "ba"],
            &["aba", "b\u{e9}", "\u{e9}\u{e9}a"],
            &["abaab\u{e9}", "aab"],
            &["\u{e9}"],
            &["bbbbb", "abbba", "a\u{e9}b"],
        ];
        let letters = ['a', 'b', '\u{e9}'];
        for stops in lists {
            for number in 0..3usize.pow(7) {
                let text: String = (0..7).map(|i| letters[number / 3usize.pow(i) % 3]).collect();
                let expected = expected(stops, &text);
                for cut in [1, 3, 7] {
                    assert_eq!(shown(stops, &text, cut), expected, "{stops:?} {text} by {cut}");
                }
            }
        }
    }

    #[test]
    fn what_can_become_a_stop_string_waits() {
        let mut stops = Stops::new();
        stops.set(["\n\nUser:", "END"].into_iter()).unwrap();
        let mut seen = String::new();
        for (piece, after) in [("Hi\n", "Hi"), ("\n", "Hi"), ("\n", "Hi\n"), ("Use", "Hi\n"), ("d E", "Hi\n\n\nUsed ")]
        {
            assert!(!stops.push(piece, |b| seen.push_str(std::str::from_utf8(b).unwrap())));
            assert_eq!(seen, after);
        }
        assert!(stops.push("ND of it", |b| seen.push_str(std::str::from_utf8(b).unwrap())));
        assert_eq!(seen, "Hi\n\n\nUsed ");
    }

    #[test]
    fn too_many_too_long_and_empty_strings_are_refused_and_the_old_ones_stay() {
        let mut stops = Stops::new();
        stops.set(["x"].into_iter()).unwrap();
        let long = "y".repeat(MAX_STOP_BYTES / 2 + 1);
        let refused = |stops: &mut Stops, list: &[&str], word: &str| {
            let error = stops.set(list.iter().copied()).unwrap_err();
            assert!(error.message().contains(word), "{error}");
        };
        refused(&mut stops, &["a"; MAX_STOPS + 1], "17");
        refused(&mut stops, &["a", ""], "stop string 1 is empty");
        refused(&mut stops, &[&long, &long], "1026 bytes");
        assert!(stops.push("x", |_| ()));
        stops.set([&long[..MAX_STOP_BYTES / 2]; 2].into_iter()).unwrap();
    }
}
