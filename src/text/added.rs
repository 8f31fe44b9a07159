//! Added tokens, recognised in a text before all else: leftmost, and of several the longest.

use super::layout::AddedToken;
use super::split::Automaton;
use std::sync::Arc;

/// One part of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Segment<'t> {
    Text(&'t str),
    Token(u32),
}

/// Added tokens that are looked for together.
pub(super) struct Added {
    /// By pattern, so that those with a common prefix lie together, the prefix itself first.
    tokens: Vec<AddedToken>,
    /// Whether any pattern starts with this byte.
    starts: [bool; 256],
    /// Its matches are the characters of words; there if a token asks for it.
    word: Option<Arc<Automaton>>,
}

impl Added {
    pub fn new(mut tokens: Vec<AddedToken>, word: Option<Arc<Automaton>>) -> Added {
        tokens.sort_by(|a, b| a.pattern.cmp(&b.pattern));
        let mut starts = [false; 256];
        for token in &tokens {
            if let Some(&first) = token.pattern.as_bytes().first() {
                starts[usize::from(first)] = true;
            }
        }
        Added { tokens, starts, word }
    }

    /// Hands over the parts of `text` in order; none is empty text.
    pub fn split<'t, E>(
        &self,
        text: &'t str,
        parse_special: bool,
        mut part: impl FnMut(Segment<'t>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done = 0;
        let mut at = 0;
        // White space after the last token that takes it: a run of such tokens would else look through it each.
        let mut white = 0..0;
        while let Some(skip) = text.as_bytes()[at..].iter().position(|&b| self.starts[usize::from(b)]) {
            at += skip;
            let Some(token) = self.longest(&text.as_bytes()[at..]) else {
                at += 1;
                continue;
            };
            // Where special tokens are not wanted, their text still hides what begins inside of it.
            let (start, end) = (at, at + token.pattern.len());
            at = end;
            if token.special && !parse_special || token.single_word && self.touches_word(text, start, end) {
                continue;
            }
            // Patterns are whole characters, and so `start` and `end` lie between characters.
            let start = match token.lstrip {
                true if start > done => done + text[done..start].trim_end().len(),
                _ => start.max(done),
            };
            if token.rstrip && !(white.start..=white.end).contains(&end) {
                white = end..text.len() - text[end..].trim_start().len();
            }
            let end = if token.rstrip { white.end } else { end };
            if done < start {
                part(Segment::Text(&text[done..start]))?;
            }
            part(Segment::Token(token.id))?;
            done = end;
        }
        if done < text.len() { part(Segment::Text(&text[done..])) } else { Ok(()) }
    }

    /// True if a character of a word comes right before `start` or right after `end`.
    fn touches_word(&self, text: &str, start: usize, end: usize) -> bool {
        let is_word = |c: char| self.word.as_ref().is_some_and(|word| word.matches(c));
        text[..start].chars().next_back().is_some_and(is_word) || text[end..].chars().next().is_some_and(is_word)
    }

    /// The longest pattern that starts `text`.
    fn longest(&self, text: &[u8]) -> Option<&AddedToken> {
        let mut range = self.tokens.as_slice();
        let mut found = None;
        for (depth, &byte) in text.iter().enumerate() {
            let at = |token: &AddedToken| token.pattern.as_bytes().get(depth).copied();
            let from = range.partition_point(|token| at(token) < Some(byte));
            let to = range.partition_point(|token| at(token) <= Some(byte));
            range = &range[from..to];
            match range.first() {
                None => break,
                Some(token) if token.pattern.len() == depth + 1 => found = Some(token),
                Some(_) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, pattern: &str, special: bool) -> AddedToken {
        let (lstrip, rstrip, normalized, single_word) = (false, false, false, false);
        AddedToken { id, pattern: pattern.into(), special, lstrip, rstrip, normalized, single_word }
    }

    fn parts(added: &Added, text: &str, parse_special: bool) -> String {
        let mut all = String::new();
        added
            .split(text, parse_special, |part| {
                all += &match part {
                    Segment::Text(text) => format!("[{text}]"),
                    Segment::Token(id) => format!("{id}"),
                };
                Ok::<(), ()>(())
            })
            .unwrap();
        all
    }

    #[test]
    fn the_longest_of_the_leftmost() {
        let added = Added::new(vec![token(1, "<a", false), token(2, "<a>>", true), token(3, ">b", false)], None);
        assert_eq!(parts(&added, "x<a>>b<a>b", true), "[x]2[b]13");
        assert_eq!(parts(&added, "x<a>>b<a>b", false), "[x<a>>b]13");
        assert_eq!(parts(&added, "<é", true), "[<é]");
        assert_eq!(parts(&added, "", true), "");
    }

    #[test]
    fn white_space_is_stripped_once() {
        let mut strip = token(1, "<s>", true);
        (strip.lstrip, strip.rstrip) = (true, true);
        let added = Added::new(vec![strip, token(2, " ", false)], None);
        assert_eq!(parts(&added, "a\u{a0}\n<s>\t<s>\u{2003}b", true), "[a]11[b]");
        assert_eq!(parts(&Added::new(vec![], None), "a", true), "[a]");
    }
}
