//! The pre-tokenizer's splits: regular expressions that the packer has compiled into automata over character classes.
//!
//! Every pattern in use ends in something like `\s+(?!\S)|\s+`, which looks one character ahead. The automaton
//! therefore decides **before** it reads a character whether a match ends there: the transition on a character's class
//! (or on the end of the text, the last column) carries [`MATCHED`] if a match ends before that character, and the
//! state to go on from, where a later end would be preferred to this one. State 0 goes on nowhere; state 1 is where a
//! match begins. This is leftmost-first matching, as a backtracking engine does it.
//!
//! A look-ahead of more than one character, such as `(?=(\d{3})+(?!\d))`, is decided beforehand: a second automaton,
//! `ahead`, reads the text from its end, where it is in state 0. The transition on the class of the character before a
//! place (on the last column at the start of the text) carries, from bit [`AHEAD_SHIFT`] on, which look-aheads hold at
//! that place. Those bits choose among the `2^k` sets of columns that a row of `next` then has.

use super::layout::{AHEAD_SHIFT, CLASS_BLOCK, MATCHED, MAX_AHEADS, tensor};
use super::tables::{bad, vector};
use crate::format::{Dtype, File, View};
use crate::{Error, Result, Status};

/// Blocks of all code points.
const BLOCKS: usize = (char::MAX as usize + 1) / CLASS_BLOCK;
const START: u16 = 1;
/// The bits of a backward transition that are the next state.
const AHEAD_STATE: u16 = (1 << AHEAD_SHIFT) - 1;

pub(super) struct Automaton {
    blocks: View<u16>,
    classes: View<u8>,
    next: View<u16>,
    /// The classes and the end of the text.
    columns: usize,
    /// Sets of columns in a row of `next`: one for each setting of the look-aheads.
    sets: usize,
    /// `[states, columns]`, where there are look-aheads.
    ahead: Option<View<u16>>,
}

/// One part of a split text: from where the last one ended to byte `end`.
pub(super) struct SplitEnd {
    pub end: usize,
    pub matched: bool,
}

/// What an automaton reads, by code points and the bytes where they begin.
pub(super) trait Text {
    fn size(&self) -> usize;
    /// The code points from byte `from` on, their places counted from there.
    fn points(&self, from: usize) -> impl DoubleEndedIterator<Item = (usize, u32)>;
}

impl Text for str {
    fn size(&self) -> usize {
        self.len()
    }

    fn points(&self, from: usize) -> impl DoubleEndedIterator<Item = (usize, u32)> {
        self[from..].char_indices().map(|(at, c)| (at, c as u32))
    }
}

/// Each byte as if it were a code point.
impl Text for [u8] {
    fn size(&self) -> usize {
        self.len()
    }

    fn points(&self, from: usize) -> impl DoubleEndedIterator<Item = (usize, u32)> {
        self[from..].iter().map(|&byte| u32::from(byte)).enumerate()
    }
}

impl Automaton {
    pub fn open(file: &File, n: usize) -> Result<Automaton> {
        let blocks = file.view::<u16>(&tensor::split(n, "blocks"), Dtype::U16, &[BLOCKS])?;
        let classes = vector::<u8>(file, &tensor::split(n, "classes"), Dtype::U8)?;
        let (next, states, width) = matrix(file, &tensor::split(n, "next"))?;
        let ahead = match file.contains(&tensor::split(n, "ahead")) {
            true => Some(matrix(file, &tensor::split(n, "ahead"))?),
            false => None,
        };
        let columns = ahead.as_ref().map_or(width, |(.., columns)| *columns);
        let aheads = if ahead.is_none() { 0..=0 } else { 1..=MAX_AHEADS };
        let sets = aheads.map(|k| 1 << k).find(|sets| columns.checked_mul(*sets) == Some(width));
        let Some(sets) = sets.filter(|_| states >= 2 && columns >= 2) else {
            return Err(bad(format!("split {n}: {states} states of {width} columns, look-aheads of {columns}")));
        };
        if blocks.iter().any(|&block| (usize::from(block) + 1) * CLASS_BLOCK > classes.len()) {
            return Err(bad(format!("split {n}: a block lies outside the classes")));
        }
        if classes.iter().any(|&class| usize::from(class) >= columns - 1) {
            return Err(bad(format!("split {n}: a class has no column")));
        }
        if next.iter().any(|&to| usize::from(to & !MATCHED) >= states) {
            return Err(bad(format!("split {n}: a transition leads to no state")));
        }
        if let Some((ahead, states, _)) = &ahead
            && ahead
                .iter()
                .any(|&to| usize::from(to & AHEAD_STATE) >= *states || usize::from(to >> AHEAD_SHIFT) >= sets)
        {
            return Err(bad(format!("split {n}: a backward transition leads to no state")));
        }
        Ok(Automaton { blocks, classes, next, columns, sets, ahead: ahead.map(|(view, ..)| view) })
    }

    #[inline]
    fn class(&self, point: u32) -> usize {
        let (blocks, classes): (&[u16], &[u8]) = (&self.blocks, &self.classes);
        let c = point as usize;
        usize::from(classes[usize::from(blocks[c / CLASS_BLOCK]) * CLASS_BLOCK + c % CLASS_BLOCK])
    }

    /// Where the columns of a state begin, for a setting of the look-aheads.
    #[inline]
    fn row(&self, state: u16, set: u8) -> usize {
        (usize::from(state) * self.sets + usize::from(set)) * self.columns
    }

    /// True if a match is this character alone, where nothing comes after it.
    pub fn matches(&self, c: char) -> bool {
        let state = self.next[self.row(START, 0) + self.class(c as u32)] & !MATCHED;
        self.next[self.row(state, 0) + self.columns - 1] & MATCHED != 0
    }

    /// Cuts `text` into matches and what lies between them, and hands each part to `part`.
    pub fn split<T: Text + ?Sized>(&self, text: &T, mut part: impl FnMut(SplitEnd) -> Result<()>) -> Result<()> {
        // A sound automaton reads a text a few times over. One made to read all the rest from every position would
        // not return for a long text.
        let mut budget = text.size().saturating_mul(64).saturating_add(4096);
        let holds = self.look_ahead(text)?;
        let mut matched_to = 0;
        let mut at = 0;
        while at < text.size() {
            match self.match_at(text, at, &holds, &mut budget)? {
                Some(len) => {
                    if matched_to < at {
                        part(SplitEnd { end: at, matched: false })?;
                    }
                    at += len;
                    matched_to = at;
                    part(SplitEnd { end: at, matched: true })?;
                }
                None => at = text.points(at).nth(1).map_or(text.size(), |(next, _)| at + next),
            }
        }
        if matched_to < at { part(SplitEnd { end: at, matched: false }) } else { Ok(()) }
    }

    /// Which look-aheads hold at each place between characters, by its byte; empty if there are none.
    fn look_ahead<T: Text + ?Sized>(&self, text: &T) -> Result<Vec<u8>> {
        let Some(ahead) = &self.ahead else { return Ok(Vec::new()) };
        let ahead: &[u16] = ahead;
        let mut holds = Vec::new();
        let full =
            |_| Error::new(Status::OutOfMemory, format_args!("no memory to split {} bytes of text", text.size()));
        holds.try_reserve_exact(text.size() + 1).map_err(full)?;
        holds.resize(text.size() + 1, 0);
        let (mut state, mut at) = (0, text.size());
        let mut step = |before: usize, at: usize| {
            let to = ahead[state * self.columns + before];
            holds[at] = (to >> AHEAD_SHIFT) as u8;
            state = usize::from(to & AHEAD_STATE);
        };
        for (start, c) in text.points(0).rev() {
            step(self.class(c), at);
            at = start;
        }
        step(self.columns - 1, 0);
        Ok(holds)
    }

    /// The length of the match that starts at a place, if there is one that is not empty.
    #[inline]
    fn match_at<T: Text + ?Sized>(
        &self,
        text: &T,
        from: usize,
        holds: &[u8],
        budget: &mut usize,
    ) -> Result<Option<usize>> {
        let next: &[u16] = &self.next;
        let set = |at: usize| holds.get(from + at).copied().unwrap_or(0);
        let mut state = START;
        let mut found = None;
        for (at, point) in text.points(from) {
            let to = next[self.row(state, set(at)) + self.class(point)];
            if to & MATCHED != 0 && at > 0 {
                found = Some(at);
            }
            state = to & !MATCHED;
            if state == 0 {
                *budget = budget.saturating_sub(at);
                return self.within(*budget, found);
            }
        }
        let len = text.size() - from;
        *budget = budget.saturating_sub(len);
        if next[self.row(state, set(len)) + self.columns - 1] & MATCHED != 0 {
            found = Some(len);
        }
        self.within(*budget, found)
    }

    fn within(&self, budget: usize, found: Option<usize>) -> Result<Option<usize>> {
        if budget == 0 { Err(bad("the split automaton takes more than linear time")) } else { Ok(found) }
    }
}

/// A tensor of two dimensions, with its rows and columns.
fn matrix(file: &File, name: &str) -> Result<(View<u16>, usize, usize)> {
    let (_, shape) = file.describe(name)?;
    let &[rows, columns] = shape else {
        return Err(bad(format!("tensor {name} has shape {shape:?}, expected two dimensions")));
    };
    if rows == 0 {
        return Err(bad(format!("tensor {name} has shape {shape:?}")));
    }
    Ok((file.view::<u16>(name, Dtype::U16, shape)?, rows, columns))
}
