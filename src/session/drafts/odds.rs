//! How many drafts pay: from how often they were right so far and what a further token in a pass costs. Nothing of it
//! hangs on a clock, so the same calls make the same passes everywhere.

use super::lookup::LONGEST;
use crate::model::Model;
use crate::session::pass::MASKED;

/// Matches are counted by their lengths up to these.
const LENGTHS: [usize; 5] = [2, 3, 5, 9, LONGEST];
/// What is believed of each before anything is known, as if it had been seen in so many drafts.
const BELIEVED: [f32; LENGTHS.len()] = [0.25, 0.45, 0.65, 0.85, 0.9];
const AS_IF: f32 = 4.0;
/// What a draft counts for after the next of its kind.
const KEPT: f32 = 0.95;

/// What a draft comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A match of so many tokens, the drafts in front of this one among them.
    Match(usize),
    /// A constraint, which allows no other token.
    Forced,
}

/// How often drafts from matches have been right, by the length of the match. Every step that had one counts, whether
/// it passed or not.
#[derive(Clone, Debug)]
pub(super) struct Odds([Seen; LENGTHS.len()]);

#[derive(Clone, Copy, Debug)]
struct Seen {
    drafts: f32,
    right: f32,
}

impl Odds {
    pub(super) fn new() -> Odds {
        Odds(BELIEVED.map(|share| Seen { drafts: AS_IF, right: AS_IF * share }))
    }

    fn kind(length: usize) -> usize {
        LENGTHS.iter().position(|&longest| length <= longest).unwrap_or(LENGTHS.len() - 1)
    }

    /// A draft was right, or not.
    pub(super) fn note(&mut self, source: Source, right: bool) {
        let Source::Match(length) = source else { return };
        let Seen { drafts, right: rights } = &mut self.0[Odds::kind(length)];
        *drafts = KEPT * *drafts + 1.0;
        *rights = KEPT * *rights + if right { 1.0 } else { 0.0 };
    }

    /// How likely a draft is right.
    fn of(&self, source: Source) -> f32 {
        match source {
            Source::Match(length) => {
                let Seen { drafts, right } = self.0[Odds::kind(length)];
                right / drafts
            }
            Source::Forced => 1.0,
        }
    }

    /// Of drafts that come from these, the number that makes the most tokens of a pass's time.
    pub(super) fn choose(&self, sources: &[Source], price: Price) -> usize {
        let (mut best, mut best_rate) = (0, 1.0);
        let (mut tokens, mut likely) = (1.0, 1.0);
        for (count, &source) in (1..).zip(sources) {
            likely *= self.of(source);
            tokens += likely;
            let rate = tokens / price.of(count);
            if rate > best_rate {
                (best, best_rate) = (count, rate);
            }
        }
        best
    }
}

/// What a pass with drafts costs, in passes without: measured, see `docs/lab/2026-11-29-drafts.md`.
#[derive(Clone, Copy)]
pub(super) struct Price {
    /// A further token that is multiplied by itself, or together with the others.
    apart: f32,
    together: f32,
    /// Drafts from which on they are multiplied together, and what that costs besides: rows are read that every token
    /// drops.
    from: usize,
    whole: f32,
}

impl Price {
    pub(super) fn new(model: &Model, sparsity: f32) -> Price {
        let (dense, quantized) = (sparsity == 0.0, model.weight_type().quant().is_some());
        match (dense, quantized) {
            (true, _) => Price { apart: 0.3, together: 0.3, from: 0, whole: 1.0 },
            (false, false) => Price { apart: 0.4, together: 0.4, from: 0, whole: 1.0 },
            (false, true) => Price { apart: 0.6, together: 0.3, from: MASKED - 1, whole: 1.0 + 0.6 * sparsity },
        }
    }

    fn of(self, drafts: usize) -> f32 {
        match drafts >= self.from {
            true => self.whole * (1.0 + self.together * drafts as f32),
            false => 1.0 + self.apart * drafts as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_DRAFTS;
    use super::*;

    /// A match of this length, and what it grows to.
    fn from(length: usize, most: usize) -> Vec<Source> {
        (length..length + most).map(Source::Match).collect()
    }

    fn each(price: f32) -> Price {
        Price { apart: price, together: price, from: 0, whole: 1.0 }
    }

    #[test]
    fn drafts_that_are_right_are_made_and_others_are_not() {
        let mut odds = Odds::new();
        assert_eq!(odds.choose(&from(2, 8), each(0.4)), 0, "a short match is not believed at once");
        (0..40).for_each(|_| odds.note(Source::Match(2), true));
        (0..40).for_each(|_| odds.note(Source::Match(3), true));
        (0..40).for_each(|_| odds.note(Source::Match(20), true));
        assert!(odds.choose(&from(20, MAX_DRAFTS), each(0.25)) == MAX_DRAFTS, "as many as allowed");
        assert!(odds.choose(&from(2, 8), each(0.25)) > 0);
        (0..40).for_each(|_| odds.note(Source::Match(20), false));
        assert_eq!(odds.choose(&from(20, 8), each(0.25)), 0);
        assert!(odds.choose(&from(2, 8), each(0.25)) > 0, "each length by itself");
        (0..10).for_each(|_| odds.note(Source::Match(20), true));
        assert!(odds.choose(&from(20, 8), each(0.25)) > 0, "and it is learned again");
    }

    #[test]
    fn a_few_sparse_tokens_may_cost_more_than_many() {
        let price = Price { apart: 0.6, together: 0.3, from: 5, whole: 1.24 };
        let mut odds = Odds::new();
        (0..40).for_each(|_| odds.note(Source::Match(20), true));
        assert_eq!((odds.choose(&from(20, 7), price), odds.choose(&from(20, 3), price)), (7, 3));
        (0..8).for_each(|_| odds.note(Source::Match(20), false));
        assert!(odds.choose(&from(20, 7), price) < 5);
    }

    #[test]
    fn no_draft_is_made_that_costs_what_it_gives() {
        let odds = Odds::new();
        assert_eq!(odds.choose(&from(LONGEST, 8), each(1.0)), 0);
        assert_eq!(odds.choose(&from(LONGEST, 0), each(0.1)), 0);
        assert_eq!(odds.choose(&from(LONGEST, 4), each(0.0)), 4);
    }

    #[test]
    fn what_must_come_is_believed() {
        let odds = Odds::new();
        let forced = [Source::Forced; 3];
        assert_eq!(odds.choose(&forced, each(0.9)), 3);
        let behind = [Source::Forced, Source::Forced, Source::Match(2), Source::Match(3)];
        assert_eq!(odds.choose(&behind, each(0.6)), 2, "a short match behind it is not");
    }
}
