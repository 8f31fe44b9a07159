//! Look-aheads beyond one character, as an automaton that reads the text from its end.
//!
//! A look-ahead for `X` holds at a place if some match of `X` begins there. Read backward, that is a match of `X`'s
//! mirror image that ends there, begun at any place after it; so a set of states tells it for every place in one pass.
//! What a place's own characters say (`(?!\d)`, `\b`) is known when the character before it has been read, which is
//! therefore when the automaton decides.

use super::nfa::{Nfa, Node, NodeId, Test, refuse};
use super::pattern::{Alternative, LookAhead, What};
use rasp::Result;
use rasp::text::AHEAD_SHIFT;
use std::collections::HashMap;

/// The NFA of all look-aheads of a pattern.
pub(super) struct Backward {
    nfa: Nfa,
    /// Where mirror images begin: at every place of the text.
    starts: Vec<NodeId>,
}

const MAX_STATES: usize = 1 << AHEAD_SHIFT;

/// The look-aheads' NFA, whose sets become `nfa`'s too; `None` if there are none.
pub(super) fn build(aheads: &[&[Alternative]], nfa: &mut Nfa) -> Result<Option<Backward>> {
    if aheads.is_empty() {
        return Ok(None);
    }
    let mut backward = Nfa::backward(nfa);
    let mut starts = Vec::new();
    for (n, alternatives) in aheads.iter().enumerate() {
        let end = backward.add(Node::Match(n))?;
        for Alternative { body, ahead } in alternatives.iter() {
            let body = backward.compile(body, end)?;
            starts.push(match ahead {
                None => body,
                Some(LookAhead { what: What::Class(class), negated }) => {
                    let test = Test::Next(backward.class(class));
                    backward.add(Node::If { test, negated: *negated, then: body })?
                }
                Some(_) => return Err(refuse("a look-ahead for more than one character inside of another")),
            });
        }
    }
    nfa.sets.clone_from(&backward.sets);
    Ok(Some(Backward { nfa: backward, starts }))
}

/// A state: what may go on from a place, and the sets of the character after it (none at the end of the text).
type AheadState = (Vec<NodeId>, Option<Vec<bool>>);

impl Backward {
    /// `[states, classes + 1]` for classes that are in these sets.
    pub fn determinize(&self, members: &[Vec<bool>]) -> Result<Vec<u16>> {
        // Of the character after a place only what some test asks for tells states apart.
        let mut asked = vec![false; self.nfa.sets.len()];
        for node in &self.nfa.nodes {
            if let Node::If { test: Test::Next(set) | Test::Boundary(set), .. } = node {
                asked[*set] = true;
            }
        }
        let seen_of = |sets: &[bool]| sets.iter().zip(&asked).map(|(&inside, &asked)| inside && asked).collect();
        let mut states: Vec<AheadState> = vec![(Vec::new(), None)];
        let mut known: HashMap<AheadState, usize> = states.iter().cloned().zip(0..).collect();
        let mut table = Vec::new();
        let mut at = 0;
        while at < states.len() {
            for before in members.iter().map(|m| Some(m.as_slice())).chain([None]) {
                let (to, holds) = self.step(&states[at], before);
                let fresh = states.len();
                let number = *known.entry((to, before.map(seen_of))).or_insert_with_key(|state| {
                    states.push(state.clone());
                    fresh
                });
                if states.len() > MAX_STATES {
                    return Err(refuse("a look-ahead needs too many states"));
                }
                table.push(number as u16 | holds << AHEAD_SHIFT);
            }
            at += 1;
        }
        Ok(table)
    }

    /// What goes on from the place before the character `before`, and which look-aheads hold at this place.
    fn step(&self, (active, after): &AheadState, before: Option<&[bool]>) -> (Vec<NodeId>, u16) {
        let mut seen = vec![false; self.nfa.nodes.len()];
        let mut stack: Vec<NodeId> = active.iter().chain(&self.starts).copied().collect();
        let (mut to, mut holds) = (Vec::new(), 0);
        let inside = |sets: Option<&[bool]>, set: usize| sets.is_some_and(|sets| sets[set]);
        while let Some(id) = stack.pop() {
            if std::mem::replace(&mut seen[id], true) {
                continue;
            }
            match &self.nfa.nodes[id] {
                Node::Match(n) => holds |= 1 << n,
                Node::Split(ways) => stack.extend(ways),
                Node::If { test, negated, then } => {
                    let after = after.as_deref();
                    let is = match *test {
                        Test::Next(set) => inside(after, set),
                        Test::Boundary(set) => inside(after, set) != inside(before, set),
                        Test::Ahead(_) => false,
                    };
                    if is != *negated {
                        stack.push(*then);
                    }
                }
                Node::Char(set, then) => {
                    if inside(before, *set) {
                        to.push(*then);
                    }
                }
            }
        }
        to.sort_unstable();
        to.dedup();
        (to, holds)
    }
}
