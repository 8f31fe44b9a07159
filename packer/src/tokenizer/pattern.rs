//! Split patterns: a regular expression, with the look-ahead that tokenizers' patterns are fond of, as alternatives.
//!
//! Look-ahead is not part of `regex-syntax`; what patterns in use need of it is `\s+(?!\S)`, at the end of an
//! alternative and of one character. So the alternatives are taken apart first, and each is parsed without its tail.

use rasp::{Error, Result, Status};
use regex_syntax::ast::{Ast, parse::Parser as AstParser};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition};

/// What a pattern may match, the preferred alternative first.
pub(super) struct Pattern(pub Vec<Alternative>);

/// One alternative.
pub(super) struct Alternative {
    pub body: Hir,
    pub ahead: Option<Ahead>,
}

/// What must come after an alternative.
pub(super) struct Ahead {
    pub class: ClassUnicode,
    /// `(?!…)`: the next character is not of the class, or there is none. Else `(?=…)`.
    pub negated: bool,
}

impl Pattern {
    /// Parses a pattern as `tokenizers` understands it.
    pub fn parse(pattern: &str) -> Result<Pattern> {
        let refuse = |why: String| Error::new(Status::Unsupported, format!("split pattern {pattern:?}: {why}"));
        let parts = if has_look_around(pattern) { alternatives(pattern) } else { vec![pattern] };
        let mut all = Vec::new();
        for part in parts {
            let (body, ahead) = split_ahead(part);
            // A flag that is set to the end of the pattern reaches over alternatives.
            if parts_share_flags(part) && body.len() < pattern.len() {
                return Err(refuse("a flag set for all alternatives beside look-ahead".into()));
            }
            let body = parse(body).map_err(refuse)?;
            let ahead = match ahead {
                None => None,
                Some((inner, negated)) => {
                    Some(Ahead { class: one_char(&parse(inner).map_err(refuse)?).map_err(refuse)?, negated })
                }
            };
            all.push(Alternative { body, ahead });
        }
        Ok(Pattern(all))
    }

    /// Characters that `is_it` accepts: each alone, or all that stand together.
    pub fn chars(is_it: impl Fn(char) -> bool, together: bool) -> Pattern {
        let ranges = ('\0'..=char::MAX).filter(|&c| is_it(c)).map(|c| ClassUnicodeRange::new(c, c));
        let one = Hir::class(Class::Unicode(ClassUnicode::new(ranges)));
        let body = match together {
            false => one,
            true => Hir::repetition(Repetition { min: 1, max: None, greedy: true, sub: Box::new(one) }),
        };
        Pattern(vec![Alternative { body, ahead: None }])
    }
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
    let ast = AstParser::new().parse(pattern).map_err(|e| format!("{} ({:?})", e.kind(), e.span().start.offset))?;
    if possessive(&ast) {
        return Err("a possessive repetition".into());
    }
    let mut translator = regex_syntax::hir::translate::Translator::new();
    translator.translate(pattern, &ast).map_err(|e| e.kind().to_string())
}

/// `x++` repeats a repetition to `regex-syntax`; the engines that tokenizers use never give back what it took.
fn possessive(ast: &Ast) -> bool {
    match ast {
        Ast::Repetition(r) => matches!(*r.ast, Ast::Repetition(_)) || possessive(&r.ast),
        Ast::Group(g) => possessive(&g.ast),
        Ast::Alternation(a) => a.asts.iter().any(possessive),
        Ast::Concat(c) => c.asts.iter().any(possessive),
        _ => false,
    }
}

/// The class that a look-ahead for one character asks for.
fn one_char(hir: &Hir) -> Result<ClassUnicode, String> {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => Ok(class.clone()),
        HirKind::Class(Class::Bytes(class)) => class.to_unicode_class().ok_or("a look-ahead for bytes".into()),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).unwrap_or_default();
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Ok(ClassUnicode::new([ClassUnicodeRange::new(c, c)])),
                _ => Err("a look-ahead for more than one character".into()),
            }
        }
        _ => Err("a look-ahead for more than one character".into()),
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
        assert_eq!(pattern.0.len(), 3);
        assert!(pattern.0[1].ahead.as_ref().is_some_and(|a| a.negated));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for pattern in [
            r"(?<=a)b",
            r"(?<!a)b",
            r"(?!a)b",
            r"a(?!bc)",
            r"(?:a(?!b))+",
            r"(?i)a|b(?!c)",
            r"a++",
            r"a?+b",
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
