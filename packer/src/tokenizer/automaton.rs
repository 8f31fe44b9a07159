//! Compiles a split pattern into the automaton that `rasp::text` runs.
//!
//! A Thompson NFA over character classes, determinized with the order of preference kept: a state is the ordered list
//! of what may go on, and whatever is less preferred than a match is dropped. Because a transition is chosen when its
//! character is known, a look-ahead of one character is decided in the same step. Longer ones are what `ahead` is for;
//! to this automaton they are a part of the symbol that it reads.

use super::ahead;
use super::nfa::{MATCH, Nfa, Node, Ranges, Test, refuse};
use super::pattern::{LookAhead, Pattern, What};
use rasp::Result;
use rasp::text::{CLASS_BLOCK, MATCHED, MAX_AHEADS};
use std::collections::HashMap;

/// The tables of one split, see `rasp::text`.
#[derive(Debug, PartialEq)]
pub(super) struct AutomatonTables {
    pub blocks: Vec<u16>,
    pub classes: Vec<u8>,
    /// `[states, columns]`.
    pub next: Vec<u16>,
    pub columns: usize,
    /// `[states, columns of one set]`, where there are look-aheads beyond one character.
    pub ahead: Option<Vec<u16>>,
    /// Columns of one set.
    pub width: usize,
}

impl AutomatonTables {
    /// True if no text has a match.
    pub fn matches_nothing(&self) -> bool {
        self.next.iter().all(|to| to & MATCHED == 0)
    }
}

const MAX_STATES: usize = 8_000;

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

/// What is read at a place: the class of the character there by its sets, or the end of the text; and which of the
/// look-aheads hold there.
struct Symbol<'a> {
    sets: Option<&'a [bool]>,
    holds: usize,
}

/// What a state becomes.
struct Transition {
    to: Vec<usize>,
    matched: bool,
}

/// Follows a state over one symbol.
fn step(nfa: &Nfa, state: &[usize], symbol: &Symbol) -> Transition {
    let in_set = |set: usize| symbol.sets.is_some_and(|sets| sets[set]);
    let mut seen = vec![false; nfa.nodes.len()];
    let mut to = Vec::new();
    let mut stack: Vec<usize> = state.iter().rev().copied().collect();
    while let Some(id) = stack.pop() {
        if std::mem::replace(&mut seen[id], true) {
            continue;
        }
        match &nfa.nodes[id] {
            // All that is still on the stack is less preferred than this match.
            Node::Match(_) => return Transition { to, matched: true },
            Node::Split(ways) => stack.extend(ways.iter().rev()),
            Node::If { test, negated, then } => {
                let holds = match test {
                    Test::Next(set) => in_set(*set),
                    Test::Ahead(n) => symbol.holds >> n & 1 == 1,
                    // Only the backward automaton knows what came before; its nodes are not these.
                    Test::Boundary(_) => false,
                };
                if holds != *negated {
                    stack.push(*then);
                }
            }
            Node::Char(set, then) => {
                if in_set(*set) && !to.contains(then) {
                    to.push(*then);
                }
            }
        }
    }
    Transition { to, matched: false }
}

/// Compiles a pattern.
pub(super) fn compile(pattern: &Pattern) -> Result<AutomatonTables> {
    let mut nfa = Nfa::new(pattern.text);
    let mut aheads = Vec::new();
    let mut ways = Vec::new();
    for alternative in &pattern.alternatives {
        let end = match &alternative.ahead {
            None => MATCH,
            Some(LookAhead { what, negated }) => {
                let test = match what {
                    What::Class(class) => Test::Next(nfa.class(class)),
                    What::Any(alternatives) => {
                        aheads.push(alternatives.as_slice());
                        Test::Ahead(aheads.len() - 1)
                    }
                };
                nfa.add(Node::If { test, negated: *negated, then: MATCH })?
            }
        };
        ways.push(nfa.compile(&alternative.body, end)?);
    }
    if aheads.len() > MAX_AHEADS {
        return Err(refuse("more than three look-aheads beyond one character"));
    }
    let start = nfa.add(Node::Split(ways))?;
    let backward = ahead::build(&aheads, &mut nfa)?;
    let Classes { blocks, classes, members } = classify(&nfa.sets)?;
    let ahead = backward.map(|backward| backward.determinize(&members)).transpose()?;

    let width = members.len() + 1;
    let symbols: Vec<Symbol> = (0..1 << aheads.len())
        .flat_map(|holds| {
            members.iter().map(|m| Some(m.as_slice())).chain([None]).map(move |sets| Symbol { sets, holds })
        })
        .collect();
    // State 0 goes on nowhere, state 1 is the start.
    let mut states: Vec<Vec<usize>> = vec![Vec::new(), vec![start]];
    let mut known: HashMap<Vec<usize>, usize> = states.iter().cloned().zip(0..).collect();
    let mut next = Vec::new();
    let mut at = 0;
    while at < states.len() {
        for symbol in &symbols {
            let Transition { to, matched } = step(&nfa, &states[at], symbol);
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
    Ok(AutomatonTables { blocks, classes, next, columns: symbols.len(), ahead, width })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasp::Status;

    #[test]
    fn the_patterns_in_use_stay_small() {
        use super::super::{GPT2_PATTERN, pre};
        for pattern in [GPT2_PATTERN, pre::LLAMA3, pre::QWEN2, pre::O200K, pre::RIGHT_TO_LEFT] {
            let automaton = compile(&Pattern::parse(pattern).unwrap()).unwrap();
            let states = automaton.next.len() / automaton.columns;
            assert!(states < 80 && automaton.columns < 60, "{states} states of {} columns", automaton.columns);
            assert!(automaton.classes.len() < 80_000, "{} bytes of classes", automaton.classes.len());
        }
    }

    #[test]
    fn what_no_automaton_can_be_is_refused() {
        for pattern in ["a*", "", "a|", "^a", r"a\b", "(?:a{1000}){1000}", "(?:[ab]*a[ab]{14})"] {
            let error = Pattern::parse(pattern).and_then(|p| compile(&p)).unwrap_err();
            assert_eq!(error.status(), Status::Unsupported, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_spaces_finds_none_where_there_are_marks() {
        let mut pattern = Pattern::parse(" +").unwrap();
        assert!(!compile(&pattern).unwrap().matches_nothing());
        pattern.text = super::super::pattern::PatternText::Marks;
        assert!(compile(&pattern).unwrap().matches_nothing());
    }
}
