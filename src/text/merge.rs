//! Byte-pair encoding: of all neighbours that a merge knows, join the pair of the best rank, the leftmost first, until
//! none is left.

use super::layout::{Alphabet, NONE, kind};
use super::tables::{Merges, Vocabulary};
use crate::{Error, Result, Status};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Up to this many symbols, looking through all pairs for the best one is faster than keeping them in a heap.
const SHORT: usize = 32;

/// The rank of a pair that does not merge.
const UNMERGED: u32 = NONE;

/// How pieces become tokens.
pub(super) struct Bpe<'a> {
    pub vocabulary: &'a Vocabulary,
    pub merges: &'a Merges,
    pub alphabet: Alphabet,
    pub byte_fallback: bool,
    pub unknown: Option<u32>,
    pub fuse_unknown: bool,
}

/// Memory for one text, used again by each of its pieces.
#[derive(Default)]
pub(super) struct Scratch {
    ids: Vec<u32>,
    ranks: Vec<u32>,
    links: Vec<Link>,
    /// Rank and position of pairs that may merge, best first.
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

/// The neighbours of a symbol, as positions; [`NONE`] at either end.
#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

/// Room for `more` elements, or an error where a `push` would abort.
pub(super) fn reserve<T>(vec: &mut Vec<T>, more: usize) -> Result<()> {
    vec.try_reserve(more).map_err(|_| Error::new(Status::OutOfMemory, format_args!("no memory for {more} tokens")))
}

impl Bpe<'_> {
    /// Appends the tokens of one piece.
    pub fn encode(&self, piece: &str, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<()> {
        match self.alphabet {
            Alphabet::Bytes => self.encode_bytes(piece.as_bytes(), scratch, out),
            Alphabet::Chars => self.merge(piece.as_bytes(), scratch, out, |ids| self.chars(piece, ids)),
        }
    }

    /// Appends the tokens of one piece that need not be whole characters, in the alphabet of bytes.
    pub fn encode_bytes(&self, piece: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<()> {
        self.merge(piece, scratch, out, |ids| ids.extend(piece.iter().filter_map(|&b| self.vocabulary.byte_id(b))))
    }

    /// Appends the tokens of one piece that `symbols` takes apart.
    fn merge(
        &self,
        piece: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
        symbols: impl FnOnce(&mut Vec<u32>),
    ) -> Result<()> {
        if let Some(id) = self.vocabulary.find_with(piece, kind::WHOLE) {
            reserve(out, 1)?;
            out.push(id);
            return Ok(());
        }
        scratch.ids.clear();
        reserve(&mut scratch.ids, piece.len())?;
        symbols(&mut scratch.ids);
        if scratch.ids.len() <= SHORT {
            self.merge_short(scratch)?
        } else {
            self.merge_long(scratch)?
        }
        reserve(out, scratch.ids.len())?;
        out.extend_from_slice(&scratch.ids);
        Ok(())
    }

    /// The tokens of a piece's characters; at most one a byte.
    fn chars(&self, piece: &str, ids: &mut Vec<u32>) {
        // An unknown token waits until a known character ends its run. That the tokens of bytes do not end it is how
        // Hugging Face's `tokenizers` has it.
        let mut waiting = None;
        let mut rest = piece;
        while let Some(c) = rest.chars().next() {
            let (char, tail) = rest.split_at(c.len_utf8());
            rest = tail;
            if let Some(id) = self.vocabulary.find_with(char.as_bytes(), kind::MODEL) {
                ids.extend(waiting.take());
                ids.push(id);
            } else if self.byte_fallback && char.bytes().all(|b| self.vocabulary.byte_id(b).is_some()) {
                ids.extend(char.bytes().filter_map(|b| self.vocabulary.byte_id(b)));
            } else if let Some(unknown) = self.unknown {
                if !self.fuse_unknown {
                    ids.extend(waiting);
                }
                waiting = Some(unknown);
            }
        }
        ids.extend(waiting);
    }

    fn rank(&self, left: u32, right: u32) -> u32 {
        self.merges.rank(left, right).unwrap_or(UNMERGED)
    }

    /// Merges `scratch.ids` by looking through all pairs for each merge.
    fn merge_short(&self, scratch: &mut Scratch) -> Result<()> {
        let Scratch { ids, ranks, .. } = scratch;
        ranks.clear();
        reserve(ranks, ids.len())?;
        ranks.extend(ids.windows(2).map(|pair| self.rank(pair[0], pair[1])));
        // `min_by_key` gives the first of equals: the leftmost pair.
        while let Some((at, &rank)) = ranks.iter().enumerate().min_by_key(|&(_, &rank)| rank) {
            if rank == UNMERGED {
                break;
            }
            ids[at] = self.merges.product(rank);
            ids.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.rank(ids[at - 1], ids[at]);
            }
            if at < ranks.len() {
                ranks[at] = self.rank(ids[at], ids[at + 1]);
            }
        }
        Ok(())
    }

    /// Merges `scratch.ids` in n log n: a piece may be a whole text.
    fn merge_long(&self, scratch: &mut Scratch) -> Result<()> {
        let Scratch { ids, links, heap, .. } = scratch;
        let len = ids.len() as u32;
        links.clear();
        heap.clear();
        reserve(links, ids.len())?;
        links.extend((0..len).map(|i| Link { prev: i.wrapping_sub(1), next: if i + 1 < len { i + 1 } else { NONE } }));
        let full = |_| Error::new(Status::OutOfMemory, format_args!("no memory to merge {len} symbols"));
        heap.try_reserve(ids.len()).map_err(full)?;
        for (at, pair) in ids.windows(2).enumerate() {
            if let Some(rank) = self.merges.rank(pair[0], pair[1]) {
                heap.push(Reverse((rank, at as u32)));
            }
        }
        while let Some(Reverse((rank, at))) = heap.pop() {
            // The pair may be gone by now: its left joined to what was before, or its right to what came after.
            let (left, Link { prev, next }) = (ids[at as usize], links[at as usize]);
            if left == NONE || next == NONE {
                continue;
            }
            let product = self.merges.product(rank);
            let current = self.merges.rank(left, ids[next as usize]);
            if current.is_none_or(|current| self.merges.product(current) != product) {
                continue;
            }
            ids[at as usize] = product;
            ids[next as usize] = NONE;
            let after = links[next as usize].next;
            links[at as usize].next = after;
            heap.try_reserve(2).map_err(full)?;
            if after != NONE {
                links[after as usize].prev = at;
                if let Some(rank) = self.merges.rank(product, ids[after as usize]) {
                    heap.push(Reverse((rank, at)));
                }
            }
            if prev != NONE
                && let Some(rank) = self.merges.rank(ids[prev as usize], product)
            {
                heap.push(Reverse((rank, prev)));
            }
        }
        ids.retain(|&id| id != NONE);
        Ok(())
    }
}
