//! A Thompson NFA over sets of characters, of what `regex-syntax` has parsed.

use super::pattern::{POSSESSIVE, PatternText, one_char};
use super::rules::MARK;
use super::vocabulary::byte_chars;
use rasp::{Error, Result, Status};
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Look};

pub(super) type NodeId = usize;
pub(super) type Ranges = Vec<(u32, u32)>;

pub(super) enum Node {
    /// A character of the set, then on.
    Char(usize, NodeId),
    /// Whichever way, the first preferred.
    Split(Vec<NodeId>),
    /// On, if the test holds (or does not).
    If { test: Test, negated: bool, then: NodeId },
    /// The end of what is looked for, of which there may be several.
    Match(usize),
}

/// What is true or not at a place in a text.
#[derive(Clone, Copy)]
pub(super) enum Test {
    /// The character that comes next, in the text's order, is of this set; at the end there is none.
    Next(usize),
    /// This look-ahead beyond one character holds.
    Ahead(usize),
    /// Of the characters before and after, exactly one is of this set.
    Boundary(usize),
}

/// Far more than any pattern in use needs; a counted repetition can ask for any number.
const MAX_NODES: usize = 20_000;

/// The node that is there from the beginning: [`Node::Match`] of what is looked for first.
pub(super) const MATCH: NodeId = 0;

pub(super) fn refuse(what: &str) -> Error {
    Error::new(Status::Unsupported, format!("split pattern: {what}"))
}

pub(super) struct Nfa {
    pub nodes: Vec<Node>,
    pub sets: Vec<Ranges>,
    /// Sets are of the characters of such a text.
    text: PatternText,
    /// The text is read from its end.
    backward: bool,
}

impl Nfa {
    pub fn new(text: PatternText) -> Nfa {
        Nfa { nodes: vec![Node::Match(0)], sets: Vec::new(), text, backward: false }
    }

    /// One that reads backward and shares the sets of `with`, which it takes.
    pub fn backward(with: &mut Nfa) -> Nfa {
        let sets = std::mem::take(&mut with.sets);
        Nfa { nodes: Vec::new(), sets, text: with.text, backward: true }
    }

    pub fn add(&mut self, node: Node) -> Result<NodeId> {
        if self.nodes.len() >= MAX_NODES {
            return Err(refuse("too large"));
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn set(&mut self, mut ranges: Ranges) -> usize {
        if self.text == PatternText::Bytes {
            let within = |c: char| ranges.iter().any(|&(from, to)| (from..=to).contains(&(c as u32)));
            let bytes = byte_chars().map(within);
            ranges = (0..256).filter(|&byte| bytes[byte as usize]).map(|byte| (byte, byte)).collect();
        }
        if self.text == PatternText::Marks {
            // What is a mark there is a space here, and no space is there.
            let mark = MARK as u32;
            let space = ranges.iter().any(|&(from, to)| from <= mark && mark <= to);
            let without = |(from, to): (u32, u32)| [(from, to.min(0x1F)), (from.max(0x21), to)];
            ranges = ranges.into_iter().flat_map(without).filter(|(from, to)| from <= to).collect();
            ranges.extend(space.then_some((0x20, 0x20)));
            ranges.sort_unstable();
        }
        self.sets.iter().position(|s| *s == ranges).unwrap_or_else(|| {
            self.sets.push(ranges);
            self.sets.len() - 1
        })
    }

    pub fn class(&mut self, class: &ClassUnicode) -> usize {
        self.set(class.ranges().iter().map(|r| (r.start() as u32, r.end() as u32)).collect())
    }

    /// The characters of words.
    fn word(&mut self) -> Result<usize> {
        let word = regex_syntax::parse(r"\w").map_err(|e| refuse(&e.to_string()))?;
        let class = one_char(&word).ok_or_else(|| refuse("no word characters"))?;
        Ok(self.class(&class))
    }

    /// Nodes that match `hir` and go on at `then`; gives the first.
    pub fn compile(&mut self, hir: &Hir, then: NodeId) -> Result<NodeId> {
        match hir.kind() {
            HirKind::Empty => Ok(then),
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).map_err(|_| refuse("a literal that is not UTF-8"))?;
                let backward = self.backward;
                let char = |then, c| {
                    let set = self.set(vec![(c as u32, c as u32)]);
                    self.add(Node::Char(set, then))
                };
                match backward {
                    false => text.chars().rev().try_fold(then, char),
                    true => text.chars().try_fold(then, char),
                }
            }
            HirKind::Class(class) => {
                let set = match class {
                    Class::Unicode(class) => self.class(class),
                    Class::Bytes(class) => {
                        let class = class.to_unicode_class().ok_or_else(|| refuse("a class of bytes"))?;
                        self.class(&class)
                    }
                };
                self.add(Node::Char(set, then))
            }
            HirKind::Look(look @ (Look::WordUnicode | Look::WordUnicodeNegate)) if self.backward => {
                let test = Test::Boundary(self.word()?);
                self.add(Node::If { test, negated: *look == Look::WordUnicodeNegate, then })
            }
            HirKind::Look(look) => Err(refuse(&format!("an anchor ({look:?})"))),
            HirKind::Capture(capture) if capture.name.as_ref().is_some_and(|name| name.starts_with(POSSESSIVE)) => {
                self.possessive(&capture.sub, then)
            }
            HirKind::Capture(capture) => self.compile(&capture.sub, then),
            HirKind::Concat(parts) => match self.backward {
                false => parts.iter().rev().try_fold(then, |then, part| self.compile(part, then)),
                true => parts.iter().try_fold(then, |then, part| self.compile(part, then)),
            },
            HirKind::Alternation(parts) => {
                let ways = parts.iter().map(|part| self.compile(part, then)).collect::<Result<_>>()?;
                self.add(Node::Split(ways))
            }
            HirKind::Repetition(repetition) => {
                let order = |on, out| if repetition.greedy { vec![on, out] } else { vec![out, on] };
                let mut start = then;
                match repetition.max {
                    None => {
                        start = self.add(Node::Split(Vec::new()))?;
                        let on = self.compile(&repetition.sub, start)?;
                        self.nodes[start] = Node::Split(order(on, then));
                    }
                    Some(max) => {
                        for _ in repetition.min..max {
                            let on = self.compile(&repetition.sub, start)?;
                            start = self.add(Node::Split(order(on, then)))?;
                        }
                    }
                }
                (0..repetition.min).try_fold(start, |start, _| self.compile(&repetition.sub, start))
            }
        }
    }

    /// A repetition that never gives back what it took. Of a single character: it ends where no such character follows.
    fn possessive(&mut self, hir: &Hir, then: NodeId) -> Result<NodeId> {
        let HirKind::Repetition(repetition) = hir.kind() else { return Err(refuse("a possessive repetition")) };
        let class = one_char(&repetition.sub).filter(|_| !self.backward);
        let set = self.class(&class.ok_or_else(|| refuse("a possessive repetition of more than one character"))?);
        let out = self.add(Node::If { test: Test::Next(set), negated: true, then })?;
        match (repetition.min, repetition.max) {
            (0, Some(1)) => {
                let on = self.add(Node::Char(set, then))?;
                self.add(Node::Split(vec![on, out]))
            }
            (min @ (0 | 1), None) => {
                let start = self.add(Node::Split(Vec::new()))?;
                let on = self.add(Node::Char(set, start))?;
                self.nodes[start] = Node::Split(vec![on, out]);
                Ok(if min == 0 { start } else { on })
            }
            _ => Err(refuse("a possessive repetition of a number")),
        }
    }
}
