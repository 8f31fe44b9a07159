//! Compiles a split pattern into the automaton that `rasp::text` runs.
//!
//! A Thompson NFA over character classes, determinized with the order of preference kept: a state is the ordered list
//! of what may go on, and whatever is less preferred than a match is dropped. Because a transition is chosen when its
//! character is known, a look-ahead of one character is decided in the same step.

use super::pattern::{Ahead, Pattern};
use rasp::text::{CLASS_BLOCK, MATCHED};
use rasp::{Error, Result, Status};
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};
use std::collections::HashMap;

/// The tables of one split, see `rasp::text`.
#[derive(Debug, PartialEq)]
pub(super) struct Automaton {
    pub blocks: Vec<u16>,
    pub classes: Vec<u8>,
    /// `[states, columns]`.
    pub next: Vec<u16>,
    pub columns: usize,
}

type NodeId = usize;
type Ranges = Vec<(u32, u32)>;

enum Node {
    /// A character of the set, then on.
    Char(usize, NodeId),
    /// Whichever way, the first preferred.
    Split(Vec<NodeId>),
    /// On, if the next character is (or is not) of the set.
    Ahead {
        set: usize,
        negated: bool,
        then: NodeId,
    },
    Match,
}

/// Far more than any pattern in use needs; a counted repetition can ask for any number.
const MAX_NODES: usize = 20_000;
const MAX_STATES: usize = 8_000;

const MATCH: NodeId = 0;

#[derive(Default)]
struct Nfa {
    nodes: Vec<Node>,
    sets: Vec<Ranges>,
}

fn refuse(what: &str) -> Error {
    Error::new(Status::Unsupported, format!("split pattern: {what}"))
}

impl Nfa {
    fn add(&mut self, node: Node) -> Result<NodeId> {
        if self.nodes.len() >= MAX_NODES {
            return Err(refuse("too large"));
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn set(&mut self, ranges: Ranges) -> usize {
        self.sets.iter().position(|s| *s == ranges).unwrap_or_else(|| {
            self.sets.push(ranges);
            self.sets.len() - 1
        })
    }

    fn class(&mut self, class: &ClassUnicode) -> usize {
        self.set(class.ranges().iter().map(|r| (r.start() as u32, r.end() as u32)).collect())
    }

    /// Nodes that match `hir` and go on at `then`; gives the first.
    fn compile(&mut self, hir: &Hir, then: NodeId) -> Result<NodeId> {
        match hir.kind() {
            HirKind::Empty => Ok(then),
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).map_err(|_| refuse("a literal that is not UTF-8"))?;
                text.chars().rev().try_fold(then, |then, c| {
                    let set = self.set(vec![(c as u32, c as u32)]);
                    self.add(Node::Char(set, then))
                })
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
            HirKind::Look(look) => Err(refuse(&format!("an anchor ({look:?})"))),
            HirKind::Capture(capture) => self.compile(&capture.sub, then),
            HirKind::Concat(parts) => parts.iter().rev().try_fold(then, |then, part| self.compile(part, then)),
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
}

/// Classes: code points that no set tells apart.
struct Classes {
    blocks: Vec<u16>,
    classes: Vec<u8>,
    /// For each class, which sets it is in.
    members: Vec<Vec<bool>>,
}

fn classify(sets: &[Ranges]) -> Result<Classes> {
    let limit = char::MAX as u32 + 1;
    let mut bounds: Vec<u32> = sets.iter().flatten().flat_map(|&(from, to)| [from, to + 1]).chain([0, limit]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let mut members: Vec<Vec<bool>> = Vec::new();
    let mut of = vec![0u8; limit as usize];
    for span in bounds.windows(2) {
        let inside = |set: &Ranges| {
            let after = set.partition_point(|&(from, _)| from <= span[0]);
            after > 0 && span[0] <= set[after - 1].1
        };
        let member: Vec<bool> = sets.iter().map(inside).collect();
        let class = members.iter().position(|m| *m == member).unwrap_or_else(|| {
            members.push(member);
            members.len() - 1
        });
        let class = u8::try_from(class).map_err(|_| refuse("tells too many kinds of characters apart"))?;
        of[span[0] as usize..span[1] as usize].fill(class);
    }
    let mut classes = Vec::new();
    let mut known = HashMap::new();
    let mut blocks = Vec::new();
    for block in of.chunks(CLASS_BLOCK) {
        let next = known.len() as u16;
        blocks.push(*known.entry(block).or_insert_with(|| {
            classes.extend_from_slice(block);
            next
        }));
    }
    Ok(Classes { blocks, classes, members })
}

/// What a state becomes.
struct Step {
    to: Vec<NodeId>,
    matched: bool,
}

/// Follows a state over one symbol: a class by its sets, or the end of the text.
fn step(nfa: &Nfa, state: &[NodeId], symbol: Option<&[bool]>) -> Step {
    let mut seen = vec![false; nfa.nodes.len()];
    let mut to = Vec::new();
    let mut stack: Vec<NodeId> = state.iter().rev().copied().collect();
    while let Some(id) = stack.pop() {
        if std::mem::replace(&mut seen[id], true) {
            continue;
        }
        match &nfa.nodes[id] {
            // All that is still on the stack is less preferred than this match.
            Node::Match => return Step { to, matched: true },
            Node::Split(ways) => stack.extend(ways.iter().rev()),
            Node::Ahead { set, negated, then } => {
                if symbol.is_some_and(|sets| sets[*set]) != *negated {
                    stack.push(*then);
                }
            }
            Node::Char(set, then) => {
                if symbol.is_some_and(|sets| sets[*set]) && !to.contains(then) {
                    to.push(*then);
                }
            }
        }
    }
    Step { to, matched: false }
}

/// Compiles a pattern.
pub(super) fn compile(pattern: &Pattern) -> Result<Automaton> {
    let mut nfa = Nfa { nodes: vec![Node::Match], sets: Vec::new() };
    let mut ways = Vec::new();
    for alternative in &pattern.0 {
        let end = match &alternative.ahead {
            None => MATCH,
            Some(Ahead { class, negated }) => {
                let set = nfa.class(class);
                nfa.add(Node::Ahead { set, negated: *negated, then: MATCH })?
            }
        };
        ways.push(nfa.compile(&alternative.body, end)?);
    }
    let start = nfa.add(Node::Split(ways))?;
    let Classes { blocks, classes, members } = classify(&nfa.sets)?;

    let symbols: Vec<Option<&[bool]>> = members.iter().map(|m| Some(m.as_slice())).chain([None]).collect();
    // State 0 goes on nowhere, state 1 is the start.
    let mut states: Vec<Vec<NodeId>> = vec![Vec::new(), vec![start]];
    let mut known: HashMap<Vec<NodeId>, usize> = states.iter().cloned().zip(0..).collect();
    let mut next = Vec::new();
    let mut at = 0;
    while at < states.len() {
        for symbol in &symbols {
            let Step { to, matched } = step(&nfa, &states[at], *symbol);
            if at == 1 && matched {
                return Err(refuse("matches the empty text"));
            }
            let fresh = states.len();
            let number = *known.entry(to).or_insert_with_key(|to| {
                states.push(to.clone());
                fresh
            });
            if states.len() > MAX_STATES {
                return Err(refuse("needs too many states"));
            }
            next.push(number as u16 | if matched { MATCHED } else { 0 });
        }
        at += 1;
    }
    Ok(Automaton { blocks, classes, next, columns: symbols.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_in_use_stay_small() {
        for pattern in
            [super::super::GPT2_PATTERN, super::super::gguf::LLAMA3_PATTERN, super::super::gguf::QWEN2_PATTERN]
        {
            let automaton = compile(&Pattern::parse(pattern).unwrap()).unwrap();
            let states = automaton.next.len() / automaton.columns;
            assert!(states < 64 && automaton.columns < 40, "{states} states of {} columns", automaton.columns);
            assert!(automaton.classes.len() < 40_000, "{} bytes of classes", automaton.classes.len());
        }
    }

    #[test]
    fn what_no_automaton_can_be_is_refused() {
        for pattern in ["a*", "", "a|", "^a", r"a\b", "(?:a{1000}){1000}", "(?:[ab]*a[ab]{14})"] {
            let error = Pattern::parse(pattern).and_then(|p| compile(&p)).unwrap_err();
            assert_eq!(error.status(), Status::Unsupported, "{pattern}");
        }
    }
}
