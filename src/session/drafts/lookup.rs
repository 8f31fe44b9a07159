//! Drafts that are looked up: what stood after the longest earlier match of a text's last tokens (prompt look-up
//! decoding; the index is that of LZ77 compressors, chains of places with one hash).

use crate::arena::{Buf, Cutter, List, MemoryUse};

/// Tokens that a match has at least: they are hashed.
pub(super) const LEAST: usize = 2;
/// A match is not measured further: longer ones are no likelier to go on.
pub(super) const LONGEST: usize = 32;
/// Places that are looked at, the latest first.
const PLACES: usize = 64;

/// A text by its pairs of tokens.
pub(super) struct Lookup {
    text: List<u32>,
    /// The place before with the same hash, a place each; 0: none. A place is that of a pair's second token.
    before: Buf<u32>,
    /// The last place with a hash: `[power of two]`
    last: Buf<u32>,
}

/// Where a text went on from a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// Of the token after it.
    pub(super) next: usize,
    /// Tokens that are the same before that, [`LONGEST`] at most.
    pub(super) length: usize,
}

impl Lookup {
    /// For a text of up to so many tokens: 12 to 16 bytes for each.
    pub(super) fn cut(cutter: &mut Cutter, capacity: usize) -> Lookup {
        let hashes = if capacity == 0 { 0 } else { capacity.next_power_of_two() };
        Lookup {
            text: cutter.part(MemoryUse::Bookkeeping).list(capacity),
            before: cutter.take(capacity),
            last: cutter.take(hashes),
        }
    }

    /// Tokens there is room for.
    pub(super) fn room(&self) -> usize {
        self.text.capacity()
    }

    /// The text is now this one: what it has in common with the one before stays as it is.
    pub(super) fn set(&mut self, text: &[u32]) {
        let same = self.text.iter().zip(text).take_while(|(a, b)| a == b).count();
        // In the order in which they came, so what each has put aside comes back.
        for place in (same.max(1)..self.text.len()).rev() {
            let hash = self.hash(self.text[place - 1], self.text[place]);
            self.last[hash] = self.before[place];
        }
        self.text.truncate(same);
        for &token in &text[same..] {
            let place = self.text.len();
            self.text.push(token);
            if place > 0 {
                let hash = self.hash(self.text[place - 1], token);
                self.before[place] = self.last[hash];
                // A context is at most 2^24 tokens, and a text that a host gives is no longer than u32 counts.
                self.last[hash] = place as u32;
            }
        }
    }

    /// The longest match of the end of `tail`, the latest of the longest, that is not the end of the text itself.
    pub(super) fn find(&self, tail: &[u32]) -> Option<Match> {
        let [.., a, b] = *tail else { return None };
        if self.text.is_empty() {
            return None;
        }
        let mut best: Option<Match> = None;
        let mut place = self.last[self.hash(a, b)] as usize;
        for _ in 0..PLACES {
            if place == 0 {
                break;
            }
            let next = place + 1;
            if next < self.text.len() {
                let pairs = self.text[..next].iter().rev().zip(tail.iter().rev());
                let length = pairs.take(LONGEST).take_while(|(a, b)| a == b).count();
                if length >= LEAST && best.is_none_or(|best| length > best.length) {
                    best = Some(Match { next, length });
                    if length == LONGEST {
                        break;
                    }
                }
            }
            place = self.before[place] as usize;
        }
        best
    }

    /// What comes `n` tokens into the text from a place on; beyond the end of the text, what came from that place,
    /// again and again, as an overlapping copy of LZ77 has it.
    pub(super) fn after(&self, found: Match, n: usize) -> u32 {
        let period = self.text.len() - found.next;
        self.text[found.next + n % period]
    }

    /// Of a pair (Knuth's multiplicative hashing).
    fn hash(&self, a: u32, b: u32) -> usize {
        let mixed = (a.wrapping_mul(0x9e37_79b1) ^ b).wrapping_mul(0x85eb_ca6b);
        (mixed >> 8) as usize & (self.last.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, MemorySource};

    fn lookup(capacity: usize) -> (Arena, Lookup) {
        Arena::cut(MemorySource::Own, 0, |cutter| Lookup::cut(cutter, capacity)).unwrap()
    }

    /// The same by looking at every place.
    fn plain(text: &[u32], tail: &[u32]) -> Option<usize> {
        let length = |next: usize| {
            text[..next].iter().rev().zip(tail.iter().rev()).take(LONGEST).take_while(|(a, b)| a == b).count()
        };
        (1..text.len()).map(length).max().filter(|&length| length >= LEAST)
    }

    #[test]
    fn the_longest_and_latest_match_is_found() {
        let (_arena, mut lookup) = lookup(64);
        let text = [1, 2, 3, 4, 9, 2, 3, 5, 7, 2, 3, 6, 1, 2, 3];
        lookup.set(&text);
        assert_eq!(lookup.find(&text), Some(Match { next: 3, length: 3 }), "1 2 3, not the later 2 3");
        assert_eq!(lookup.find(&[8, 2, 3]), Some(Match { next: 11, length: 2 }), "of the alike the latest");
        assert_eq!(lookup.find(&[3, 8]), None);
        assert_eq!(lookup.find(&[3]), None);
        let found = lookup.find(&text).unwrap();
        let after: Vec<u32> = (0..14).map(|n| lookup.after(found, n)).collect();
        assert_eq!(after, [4, 9, 2, 3, 5, 7, 2, 3, 6, 1, 2, 3, 4, 9]);
    }

    #[test]
    fn a_text_that_repeats_itself_goes_on_repeating() {
        let (_arena, mut lookup) = lookup(16);
        let text = [5, 6, 7, 5, 6, 7, 5, 6];
        lookup.set(&text);
        let found = lookup.find(&text).unwrap();
        assert_eq!((0..6).map(|n| lookup.after(found, n)).collect::<Vec<_>>(), [7, 5, 6, 7, 5, 6]);
    }

    /// Rewinds, other continuations and whole new texts: the index is what it would be if it were made anew.
    #[test]
    fn a_changed_text_is_indexed_as_a_new_one() {
        let (_a, mut kept) = lookup(200);
        let mut random = 1u32;
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        let mut text: Vec<u32> = Vec::new();
        let mut found = 0;
        for _ in 0..400 {
            text.truncate(text.len() - (next(12) as usize).min(text.len()));
            let more = next(20) as usize;
            (0..more.min(200 - text.len())).for_each(|_| text.push(next(5)));
            kept.set(&text);
            let (_b, mut new) = lookup(200);
            new.set(&text);
            assert_eq!((&kept.before[..text.len()], &*kept.last), (&new.before[..text.len()], &*new.last));
            let best = kept.find(&text);
            assert!(best.is_none_or(|best| plain(&text, &text).unwrap() >= best.length));
            found += usize::from(best.is_some());
            if text.len() < PLACES {
                assert_eq!(best.map(|best| best.length), plain(&text, &text));
            }
        }
        assert!(found > 300);
    }
}
