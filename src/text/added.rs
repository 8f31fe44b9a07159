//! Added tokens, recognised in a text before all else: leftmost, and of several the longest.

use super::layout::AddedToken;
use super::split::Automaton;
use std::ops::Range;
use std::sync::Arc;

/// One part of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Segment<'t> {
    Text(&'t str),
    Token(u32),
}

/// Where in a text special tokens are recognised.
#[derive(Clone, Copy)]
pub(super) struct Special<'i> {
    /// Whether they are at all.
    pub parse: bool,
    /// Stretches in which they are not, ascending, that do not touch.
    pub inert: &'i [Range<u32>],
    /// Where the text begins, among the places of those stretches.
    pub from: usize,
}

impl Special<'_> {
    pub fn anywhere(parse: bool) -> Special<'static> {
        Special { parse, inert: &[], from: 0 }
    }

    /// Whether a place is inert, and where that changes.
    pub fn stretch(self, at: usize) -> (bool, usize) {
        let at = self.from + at;
        let next = self.inert.partition_point(|stretch| stretch.end as usize <= at);
        match self.inert.get(next) {
            Some(stretch) if stretch.start as usize <= at => (true, stretch.end as usize - self.from),
            Some(stretch) => (false, stretch.start as usize - self.from),
            None => (false, usize::MAX),
        }
    }
}

/// A match: the token, whether it is one here, and where its text ends.
type AddedMatch<'a> = (&'a AddedToken, bool, usize);

/// How far a text was searched for special tokens that begin outside of inert stretches: there is none in `from..to`,
/// and one at `to` if it was found.
#[derive(Default)]
struct Searched {
    from: usize,
    to: usize,
    found: bool,
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

    /// True if one of them is special.
    pub fn has_special(&self) -> bool {
        self.tokens.iter().any(|token| token.special)
    }

    /// Hands over the parts of `text` in order; none is empty text.
    ///
    /// No inert text changes which special tokens there are outside of it: a match that reaches into it is none, and
    /// what would hide one of them is not matched.
    pub fn split<'t, E>(
        &self,
        text: &'t str,
        special: Special<'_>,
        mut part: impl FnMut(Segment<'t>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done = 0;
        let mut at = 0;
        // White space after the last token that takes it: a run of such tokens would else look through it each.
        let mut white = 0..0;
        let mut search = Searched::default();
        while let Some(skip) = text.as_bytes()[at..].iter().position(|&b| self.starts[usize::from(b)]) {
            at += skip;
            let Some((token, counts, end)) = self.found(text.as_bytes(), at, special, &mut search) else {
                at += 1;
                continue;
            };
            // Where special tokens are not wanted, their text still hides what begins inside of it.
            let start = at;
            at = end;
            if !counts || token.single_word && self.touches_word(text, start, end) {
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

    /// The token at a place: the longest, but for what inert text has no say in.
    fn found(&self, text: &[u8], at: usize, special: Special<'_>, search: &mut Searched) -> Option<AddedMatch<'_>> {
        let token = self.longest(&text[at..])?;
        let end = at + token.pattern.len();
        if !special.parse || special.inert.is_empty() {
            return Some((token, special.parse || !token.special, end));
        }
        let (inert, edge) = special.stretch(at);
        if end <= edge {
            return Some((token, !(inert && token.special), end));
        }
        if !token.special && !self.hides(text, at..end, special, search) {
            return Some((token, true, end));
        }
        let token = self.longest(&text[at..edge])?;
        Some((token, !(inert && token.special), at + token.pattern.len()))
    }

    /// True if a special token outside of inert text begins in a stretch.
    fn hides(&self, text: &[u8], stretch: Range<usize>, special: Special<'_>, search: &mut Searched) -> bool {
        if !(search.from..=search.to).contains(&stretch.start) {
            *search = Searched { from: stretch.start, to: stretch.start, found: false };
        }
        while !search.found && search.to < stretch.end {
            let (inert, edge) = special.stretch(search.to);
            let token = if inert { None } else { self.longest(&text[search.to..edge.min(text.len())]) };
            search.found = token.is_some_and(|token| token.special);
            search.to += usize::from(!search.found);
        }
        search.found && search.to < stretch.end
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
        parts_of(added, text, Special::anywhere(parse_special))
    }

    fn parts_of(added: &Added, text: &str, special: Special<'_>) -> String {
        let mut all = String::new();
        added
            .split(text, special, |part| {
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

    /// Inert text is what stands between `«` and `»`, which are left out.
    fn parts_with_inert(added: &Added, marked: &str) -> String {
        let (mut text, mut inert) = (String::new(), Vec::new());
        for (index, piece) in marked.split(['«', '»']).enumerate() {
            let from = text.len() as u32;
            text.push_str(piece);
            if index % 2 == 1 && !piece.is_empty() {
                inert.push(from..text.len() as u32);
            }
        }
        parts_of(added, &text, Special { parse: true, inert: &inert, from: 0 })
    }

    #[test]
    fn inert_text_holds_no_special_token_and_hides_none() {
        let list = [("<s>", true), ("<s><s>", true), ("  ", false), ("-<", false), ("b<s>c", false), ("<s>d", false)];
        let list = list.iter().enumerate().map(|(id, (pattern, special))| token(id as u32, pattern, *special));
        let added = Added::new(list.collect(), None);
        for (text, expected) in [
            ("<s>a«<s>»b<s>", "0[a<s>b]0"),
            // Begun or ended by inert text.
            ("<«s>»", "[<s>]"),
            ("«<s»>", "[<s>]"),
            ("<«s»>", "[<s>]"),
            // The longer one reaches into inert text; the template's own stays.
            ("<s>«<s>»<s>", "0[<s>]0"),
            ("«<s>»<s>", "[<s>]0"),
            // Ordinary tokens go across, unless they would hide one.
            ("a «  »b", "[a]2[ b]"),
            (" « »x", "2[x]"),
            ("«-»<s>", "[-]0"),
            ("«b»<s>c", "[b]0[c]"),
            ("<s>«d»", "0[d]"),
            ("«b<s>c»", "4"),
            ("-<", "3"),
            // Alone, or with nothing inert, as ever.
            ("<s>d<s><s>", "51"),
        ] {
            assert_eq!(parts_with_inert(&added, text), expected, "{text}");
        }
    }
}
