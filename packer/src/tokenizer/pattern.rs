//! Split patterns: a regular expression, with the look-ahead that tokenizers' patterns are fond of, as alternatives.
//!
//! Look-ahead is not part of `regex-syntax`; what patterns in use need of it stands at the end of an alternative:
//! `\s+(?!\S)`, of one character, or `\d{1,3}(?=(?:\d{3})*\b)`, of any length. So the alternatives are taken apart
//! first, and each is parsed without its tail. Possessive repetitions (`\s++`) are no part of it either; they become
//! groups with a name that `automaton` knows.

use rasp::{Error, Result, Status};
use regex_syntax::ast::{Ast, RepetitionKind, parse::Parser as AstParser};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition};

/// What a pattern may match.
pub(super) struct Pattern {
    /// The preferred one first.
    pub alternatives: Vec<Alternative>,
    /// What the text is made of.
    pub text: PatternText,
}

/// How a text looks to `tokenizers` where it looks otherwise to rasp.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternText {
    /// It does not.
    Plain,
    /// It has marks for spaces, where rasp has spaces for marks.
    Marks,
    /// It is spelled in GPT-2's alphabet, a character a byte; rasp has the bytes.
    Bytes,
}

/// One alternative.
pub(super) struct Alternative {
    pub body: Hir,
    pub ahead: Option<LookAhead>,
}

/// What must come after an alternative.
pub(super) struct LookAhead {
    pub what: What,
    /// `(?!…)`: it must not come. Else `(?=…)`.
    pub negated: bool,
}

/// What a look-ahead looks for.
pub(super) enum What {
    /// One character. At the end of the text there is none.
    Class(ClassUnicode),
    /// Any of these alternatives, whose own look-aheads are for one character.
    Any(Vec<Alternative>),
}

/// How names of groups begin that are possessive repetitions.
pub(super) const POSSESSIVE: &str = "rasp_possessive_";

impl Pattern {
    /// Parses a pattern as `tokenizers` understands it.
    pub fn parse(pattern: &str) -> Result<Pattern> {
        let refuse = |why: String| Error::new(Status::Unsupported, format!("split pattern {pattern:?}: {why}"));
        Ok(Pattern { alternatives: parse_all(pattern, true).map_err(refuse)?, text: PatternText::Plain })
    }

    /// A pattern of nothing but a look-ahead matches places, not characters. Cutting there is the same as finding the
    /// shortest pieces that end at such a place, the rest being the last piece. True if it was one.
    pub fn cut_before(mut self, wanted: bool) -> (Pattern, bool) {
        let empty = |a: &Alternative| matches!(a.body.kind(), HirKind::Empty) && a.ahead.is_some();
        if !(wanted && matches!(self.alternatives.as_slice(), [only] if empty(only))) {
            return (self, false);
        }
        let any = |greedy| {
            let all = Class::Unicode(ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]));
            Hir::repetition(Repetition { min: 1, max: None, greedy, sub: Box::new(Hir::class(all)) })
        };
        self.alternatives[0].body = any(false);
        self.alternatives.push(Alternative { body: any(true), ahead: None });
        (self, true)
    }

    /// Characters that `is_it` accepts: each alone, or all that stand together.
    pub fn chars(is_it: impl Fn(char) -> bool, together: bool) -> Pattern {
        let ranges = ('\0'..=char::MAX).filter(|&c| is_it(c)).map(|c| ClassUnicodeRange::new(c, c));
        let one = Hir::class(Class::Unicode(ClassUnicode::new(ranges)));
        let body = match together {
            false => one,
            true => Hir::repetition(Repetition { min: 1, max: None, greedy: true, sub: Box::new(one) }),
        };
        Pattern { alternatives: vec![Alternative { body, ahead: None }], text: PatternText::Plain }
    }
}

/// The alternatives of a pattern; inside of a look-ahead, where others may only be for one character, `long` is false.
fn parse_all(pattern: &str, long: bool) -> Result<Vec<Alternative>, String> {
    let parts = if has_look_around(pattern) { alternatives(pattern) } else { vec![pattern] };
    let mut all = Vec::new();
    for part in parts {
        let (body, ahead) = split_ahead(part);
        // A flag that is set to the end of the pattern reaches over alternatives.
        if parts_share_flags(part) && body.len() < pattern.len() {
            return Err("a flag set for all alternatives beside look-ahead".into());
        }
        let ahead = match ahead {
            None => None,
            Some((inner, negated)) => {
                let one = match has_look_around(inner) {
                    true => None,
                    false => one_char(&parse(inner)?),
                };
                let what = match one {
                    Some(class) => What::Class(class),
                    None if long => What::Any(parse_all(inner, false)?),
                    None => return Err("a look-ahead for more than one character inside of another".into()),
                };
                Some(LookAhead { what, negated })
            }
        };
        all.push(Alternative { body: parse(body)?, ahead });
    }
    Ok(all)
}

/// Splits an alternative from the look-ahead that ends it: what is inside of it, and whether it is negated.
fn split_ahead(part: &str) -> (&str, Option<(&str, bool)>) {
    let open = Scan::new(part).filter(|&(_, depth, token)| token == "(" && depth == 1).last();
    let Some((at, _, _)) = open else { return (part, None) };
    let tail = &part[at..];
    let closes_at_end = Scan::new(part).any(|(i, depth, token)| token == ")" && depth == 0 && i + 1 == part.len());
    for (opening, negated) in [("(?!", true), ("(?=", false)] {
        if closes_at_end && tail.starts_with(opening) {
            return (&part[..at], Some((&tail[opening.len()..tail.len() - 1], negated)));
        }
    }
    (part, None)
}

/// The alternatives at the top of a pattern.
fn alternatives(pattern: &str) -> Vec<&str> {
    let mut start = 0;
    let mut all = Vec::new();
    for (at, depth, token) in Scan::new(pattern) {
        if token == "|" && depth == 0 {
            all.push(&pattern[start..at]);
            start = at + 1;
        }
    }
    all.push(&pattern[start..]);
    all
}

fn has_look_around(pattern: &str) -> bool {
    Scan::new(pattern).any(|(at, _, token)| {
        token == "(" && ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|look| pattern[at..].starts_with(look))
    })
}

/// True for a part with `(?i)` or the like at its top.
fn parts_share_flags(part: &str) -> bool {
    Scan::new(part).any(|(at, depth, token)| {
        let flags = part[at..].strip_prefix("(?").and_then(|rest| rest.split_once(')')).map(|(flags, _)| flags);
        token == "("
            && depth == 1
            && flags.is_some_and(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
    })
}

/// Walks the structure of a pattern: the positions of `(`, `)` and `|` outside of classes and escapes, with the depth
/// of groups after them.
struct Scan<'p> {
    pattern: &'p str,
    at: usize,
    depth: usize,
}

impl<'p> Scan<'p> {
    fn new(pattern: &'p str) -> Self {
        Scan { pattern, at: 0, depth: 0 }
    }

    fn skip_class(&mut self) {
        let bytes = self.pattern.as_bytes();
        let mut depth = 0;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\\' => self.at += 1,
                b'[' => {
                    depth += 1;
                    if bytes.get(self.at + 1) == Some(&b'^') {
                        self.at += 1;
                    }
                    // A bracket that opens with its end means the character.
                    if bytes.get(self.at + 1) == Some(&b']') {
                        self.at += 1;
                    }
                }
                b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

impl<'p> Iterator for Scan<'p> {
    type Item = (usize, usize, &'p str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            match self.pattern.as_bytes().get(at)? {
                b'\\' => self.at += 2,
                b'[' => self.skip_class(),
                b @ (b'(' | b')' | b'|') => {
                    self.at += 1;
                    match b {
                        b'(' => self.depth += 1,
                        b')' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    return Some((at, self.depth, &self.pattern[at..at + 1]));
                }
                _ => self.at += 1,
            }
        }
    }
}

fn parse(pattern: &str) -> Result<Hir, String> {
    let ast = |pattern: &str| {
        AstParser::new().parse(pattern).map_err(|e| format!("{} ({:?})", e.kind(), e.span().start.offset))
    };
    let (mut named, mut found) = (pattern.to_string(), Vec::new());
    possessive(&ast(pattern)?, &mut found)?;
    // From the end on, so that what comes before stays where it is.
    found.sort_unstable_by(|a, b| b.cmp(a));
    for (n, (start, end)) in found.into_iter().enumerate() {
        named.replace_range(end - 1..end, ")");
        named.insert_str(start, &format!("(?P<{POSSESSIVE}{n}>"));
    }
    let mut translator = regex_syntax::hir::translate::Translator::new();
    translator.translate(&named, &ast(&named)?).map_err(|e| e.kind().to_string())
}

/// Where possessive repetitions lie: `x++` repeats a repetition to `regex-syntax`; the engines that tokenizers use
/// never give back what it took. To some of those `x{1,3}+` is one as well and to others not, so it is refused.
fn possessive(ast: &Ast, found: &mut Vec<(usize, usize)>) -> Result<(), String> {
    match ast {
        Ast::Repetition(r) => match &*r.ast {
            Ast::Repetition(inner) => {
                let simple = !matches!(inner.op.kind, RepetitionKind::Range(_)) && inner.greedy;
                let one = matches!(&*inner.ast, Ast::ClassBracketed(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_))
                    || matches!(&*inner.ast, Ast::Literal(_) | Ast::Dot(_));
                if !(simple && one && r.greedy && r.op.kind == RepetitionKind::OneOrMore) {
                    return Err("a repetition of a repetition, possessive to some engines".into());
                }
                found.push((r.span.start.offset, r.span.end.offset));
                Ok(())
            }
            inner => possessive(inner, found),
        },
        Ast::Group(g) => possessive(&g.ast, found),
        Ast::Alternation(a) => a.asts.iter().try_for_each(|ast| possessive(ast, found)),
        Ast::Concat(c) => c.asts.iter().try_for_each(|ast| possessive(ast, found)),
        _ => Ok(()),
    }
}

/// The class of a pattern that is one character.
pub(super) fn one_char(hir: &Hir) -> Option<ClassUnicode> {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class.clone()),
        HirKind::Class(Class::Bytes(class)) => class.to_unicode_class(),
        HirKind::Literal(literal) => {
            let mut chars = std::str::from_utf8(&literal.0).ok()?.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Some(ClassUnicode::new([ClassUnicodeRange::new(c, c)])),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_and_their_look_ahead() {
        let parts = alternatives(r"a\|b|[|(]|(?i:x|y)|[^]|]|\s+(?!\S)|\s+");
        assert_eq!(parts, [r"a\|b", "[|(]", "(?i:x|y)", "[^]|]", r"\s+(?!\S)", r"\s+"]);
        assert_eq!(split_ahead(r"\s+(?!\S)"), (r"\s+", Some((r"\S", true))));
        assert_eq!(split_ahead(r"(a)(?=b)"), ("(a)", Some(("b", false))));
        assert_eq!(split_ahead(r"(?!a)b"), (r"(?!a)b", None));
        let pattern = Pattern::parse(r"'s|\s+(?!\S)|\s+").unwrap();
        assert_eq!(pattern.alternatives.len(), 3);
        assert!(pattern.alternatives[1].ahead.as_ref().is_some_and(|a| a.negated));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for pattern in [
            r"(?<=a)b",
            r"(?<!a)b",
            r"(?!a)b",
            r"a(?!b(?=cd))",
            r"(?:a(?!b))+",
            r"(?i)a|b(?!c)",
            r"a{1,3}+",
            r"(?:ab)++",
            r"a+?+b",
            r"(a)\1",
            r"(?>a)b",
            "a(",
            r"[a",
            r"a(?!b)(?!c)",
        ] {
            let error = Pattern::parse(pattern).err().unwrap();
            assert_eq!(error.status(), Status::Unsupported, "{pattern}");
            assert!(error.message().contains(&format!("{pattern:?}")), "{error}");
        }
    }
}
