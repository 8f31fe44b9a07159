//! The pre-tokenizer's splits: regular expressions that the packer has compiled into automata over character classes.
//!
//! Every pattern in use ends in something like `\s+(?!\S)|\s+`, which looks one character ahead. The automaton
//! therefore decides **before** it reads a character whether a match ends there: the transition on a character's class
//! (or on the end of the text, the last column) carries [`MATCHED`] if a match ends before that character, and the
//! state to go on from, where a later end would be preferred to this one. State 0 goes on nowhere; state 1 is where a
//! match begins. This is leftmost-first matching, as a backtracking engine does it.

use super::layout::{CLASS_BLOCK, MATCHED, tensor};
use super::tables::{bad, vector};
use crate::Result;
use crate::format::{Dtype, File, View};

/// Blocks of all code points.
const BLOCKS: usize = (char::MAX as usize + 1) / CLASS_BLOCK;
const START: u16 = 1;

pub(super) struct Automaton {
    blocks: View<u16>,
    classes: View<u8>,
    next: View<u16>,
    /// Columns of `next`: the classes and the end of the text.
    columns: usize,
}

/// One part of a split text: from where the last one ended to byte `end`.
pub(super) struct Part {
    pub end: usize,
    pub matched: bool,
}

impl Automaton {
    pub fn open(file: &File, n: usize) -> Result<Automaton> {
        let blocks = file.view::<u16>(&tensor::split(n, "blocks"), Dtype::U16, &[BLOCKS])?;
        let classes = vector::<u8>(file, &tensor::split(n, "classes"), Dtype::U8)?;
        let name = tensor::split(n, "next");
        let (_, shape) = file.describe(&name)?;
        let &[states, columns] = shape else {
            return Err(bad(format!("tensor {name} has shape {shape:?}, expected two dimensions")));
        };
        let next = file.view::<u16>(&name, Dtype::U16, &[states, columns])?;
        if states < 2 || columns < 2 {
            return Err(bad(format!("tensor {name} has shape {shape:?}")));
        }
        if blocks.iter().any(|&block| (usize::from(block) + 1) * CLASS_BLOCK > classes.len()) {
            return Err(bad(format!("split {n}: a block lies outside the classes")));
        }
        if classes.iter().any(|&class| usize::from(class) >= columns - 1) {
            return Err(bad(format!("split {n}: a class has no column")));
        }
        if next.iter().any(|&to| usize::from(to & !MATCHED) >= states) {
            return Err(bad(format!("split {n}: a transition leads to no state")));
        }
        Ok(Automaton { blocks, classes, next, columns })
    }

    /// Cuts `text` into matches and what lies between them, and hands each part to `part`.
    pub fn split(&self, text: &str, mut part: impl FnMut(Part) -> Result<()>) -> Result<()> {
        // A sound automaton reads a text a few times over. One made to read all the rest from every position would
        // not return for a long text.
        let mut budget = 64 * text.len() + 4096;
        let mut matched_to = 0;
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            match self.match_at(&text[at..], &mut budget)? {
                Some(len) => {
                    if matched_to < at {
                        part(Part { end: at, matched: false })?;
                    }
                    at += len;
                    matched_to = at;
                    part(Part { end: at, matched: true })?;
                }
                None => at += c.len_utf8(),
            }
        }
        if matched_to < at { part(Part { end: at, matched: false }) } else { Ok(()) }
    }

    /// The length of the match that starts `text`, if there is one that is not empty.
    #[inline]
    fn match_at(&self, text: &str, budget: &mut usize) -> Result<Option<usize>> {
        let (blocks, classes, next): (&[u16], &[u8], &[u16]) = (&self.blocks, &self.classes, &self.next);
        let mut state = START;
        let mut found = None;
        for (at, c) in text.char_indices() {
            let c = c as usize;
            let class = classes[usize::from(blocks[c / CLASS_BLOCK]) * CLASS_BLOCK + c % CLASS_BLOCK];
            let to = next[usize::from(state) * self.columns + usize::from(class)];
            if to & MATCHED != 0 && at > 0 {
                found = Some(at);
            }
            state = to & !MATCHED;
            if state == 0 {
                *budget = budget.saturating_sub(at);
                return self.within(*budget, found);
            }
        }
        *budget = budget.saturating_sub(text.len());
        if next[usize::from(state) * self.columns + self.columns - 1] & MATCHED != 0 {
            found = Some(text.len());
        }
        self.within(*budget, found)
    }

    fn within(&self, budget: usize, found: Option<usize>) -> Result<Option<usize>> {
        if budget == 0 { Err(bad("the split automaton takes more than linear time")) } else { Ok(found) }
    }
}
