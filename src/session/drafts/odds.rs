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
/// Of the model's own.
const OWN_BELIEVED: f32 = 0.9;
/// What a draft counts for after the next of its kind, and after a step without a draft of the model's own.
const KEPT: f32 = 0.95;
const KEPT_UNTRIED: f32 = 0.97;
/// What a byte takes in a sparser pass, beside one of a denser.
const SPARSER: f32 = 1.05;
/// What a pass does besides reading weights, in bytes that it could read meanwhile.
const BESIDES: u64 = 60_000_000;

/// What a draft comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A match of so many tokens, the drafts in front of this one among them.
    Match(usize),
    /// A constraint, which allows no other token.
    Forced,
    /// The model itself, sparser.
    Own,
}

/// How many drafts pay, and how many tokens they make of the time of one pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DraftChoice {
    pub(super) count: usize,
    pub(super) rate: f32,
}

impl DraftChoice {
    pub(super) const NONE: DraftChoice = DraftChoice { count: 0, rate: 1.0 };
}

/// How often drafts from matches have been right, by the length of the match, and the model's own. Every step that had
/// one counts, whether it passed or not.
#[derive(Clone, Debug)]
pub(super) struct Odds {
    matches: [Seen; LENGTHS.len()],
    own: Seen,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    drafts: f32,
    right: f32,
}

impl Odds {
    pub(super) fn new() -> Odds {
        let believed = |share| Seen { drafts: AS_IF, right: AS_IF * share };
        Odds { matches: BELIEVED.map(believed), own: believed(OWN_BELIEVED) }
    }

    fn kind(length: usize) -> usize {
        LENGTHS.iter().position(|&longest| length <= longest).unwrap_or(LENGTHS.len() - 1)
    }

    /// A draft was right, or not.
    pub(super) fn note(&mut self, source: Source, right: bool) {
        let seen = match source {
            Source::Match(length) => &mut self.matches[Odds::kind(length)],
            Source::Own => &mut self.own,
            Source::Forced => return,
        };
        seen.drafts = KEPT * seen.drafts + 1.0;
        seen.right = KEPT * seen.right + if right { 1.0 } else { 0.0 };
    }

    /// A step went by without a draft of the model's own, of which nothing is learned: what was believed at first is
    /// believed again, by and by, or they would never be tried anew.
    pub(super) fn forget_own(&mut self) {
        self.own.drafts += (1.0 - KEPT_UNTRIED) * (AS_IF - self.own.drafts);
        self.own.right += (1.0 - KEPT_UNTRIED) * (AS_IF * OWN_BELIEVED - self.own.right);
    }

    /// How likely a draft is right.
    fn of(&self, source: Source) -> f32 {
        match source {
            Source::Match(length) => {
                let Seen { drafts, right } = self.matches[Odds::kind(length)];
                right / drafts
            }
            Source::Own => self.own.right / self.own.drafts,
            Source::Forced => 1.0,
        }
    }

    /// Of drafts that come from these, the number that makes the most tokens of a pass's time.
    pub(super) fn choose(&self, sources: &[Source], price: Price) -> DraftChoice {
        let mut best = DraftChoice::NONE;
        let (mut tokens, mut likely) = (1.0, 1.0);
        for (count, &source) in (1..).zip(sources) {
            likely *= self.of(source);
            tokens += likely;
            let rate = tokens / price.of(count);
            if rate > best.rate {
                best = DraftChoice { count, rate };
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
    /// What it takes to make a draft.
    draft: f32,
}

impl Price {
    pub(super) fn new(model: &Model, sparsity: f32) -> Price {
        let bits = model.weight_type().bits_per_weight();
        let each = |further| Price { apart: further, together: further, from: 0, whole: 1.0, draft: 0.0 };
        match (sparsity == 0.0, model.weight_type().quant()) {
            // The fewer bits, the more of a pass is arithmetic, which each token has to itself.
            (true, Some(_)) if bits < 8.0 => each(0.3),
            (true, Some(_)) => each(0.15),
            (true, None) => each(0.2),
            (false, None) => each(0.4),
            (false, Some(_)) => {
                Price { apart: 0.6, together: 0.3, from: MASKED - 1, whole: 1.0 + 0.6 * sparsity, draft: 0.0 }
            }
        }
    }

    /// The same where each draft takes a pass at `level` first, which is taken to cost so much of what it does.
    pub(super) fn drafted_at(self, model: &Model, sparsity: f32, level: f32, cost: f32) -> Price {
        let (linears, head) = (model.linear_bytes(), model.greedy_head_bytes());
        let bytes = |sparsity: f32| linears as f32 * (1.0 - sparsity) + (head + BESIDES) as f32;
        Price { draft: cost * SPARSER * bytes(level) / bytes(sparsity), ..self }
    }

    fn of(self, drafts: usize) -> f32 {
        let made = self.draft * drafts as f32;
        made + match drafts >= self.from {
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
        Price { apart: price, together: price, from: 0, whole: 1.0, draft: 0.0 }
    }

    fn count(odds: &Odds, sources: &[Source], price: Price) -> usize {
        odds.choose(sources, price).count
    }

    #[test]
    fn drafts_that_are_right_are_made_and_others_are_not() {
        let mut odds = Odds::new();
        assert_eq!(count(&odds, &from(2, 8), each(0.4)), 0, "a short match is not believed at once");
        (0..40).for_each(|_| odds.note(Source::Match(2), true));
        (0..40).for_each(|_| odds.note(Source::Match(3), true));
        (0..40).for_each(|_| odds.note(Source::Match(20), true));
        assert!(count(&odds, &from(20, MAX_DRAFTS), each(0.25)) == MAX_DRAFTS, "as many as allowed");
        assert!(count(&odds, &from(2, 8), each(0.25)) > 0);
        (0..40).for_each(|_| odds.note(Source::Match(20), false));
        assert_eq!(count(&odds, &from(20, 8), each(0.25)), 0);
        assert!(count(&odds, &from(2, 8), each(0.25)) > 0, "each length by itself");
        (0..10).for_each(|_| odds.note(Source::Match(20), true));
        assert!(count(&odds, &from(20, 8), each(0.25)) > 0, "and it is learned again");
    }

    #[test]
    fn a_few_sparse_tokens_may_cost_more_than_many() {
        let price = Price { apart: 0.6, together: 0.3, from: 5, whole: 1.24, draft: 0.0 };
        let mut odds = Odds::new();
        (0..40).for_each(|_| odds.note(Source::Match(20), true));
        assert_eq!((count(&odds, &from(20, 7), price), count(&odds, &from(20, 3), price)), (7, 3));
        (0..8).for_each(|_| odds.note(Source::Match(20), false));
        assert!(count(&odds, &from(20, 7), price) < 5);
    }

    #[test]
    fn no_draft_is_made_that_costs_what_it_gives() {
        let odds = Odds::new();
        assert_eq!(count(&odds, &from(LONGEST, 8), each(1.0)), 0);
        assert_eq!(count(&odds, &from(LONGEST, 0), each(0.1)), 0);
        assert_eq!(count(&odds, &from(LONGEST, 4), each(0.0)), 4);
    }

    #[test]
    fn drafts_of_the_models_own_pay_for_the_passes_that_make_them() {
        let price = |draft| Price { draft, ..each(0.1) };
        let (mut odds, own) = (Odds::new(), [Source::Own; MAX_DRAFTS]);
        assert!(count(&odds, &own, price(0.5)) > 1);
        assert_eq!(count(&odds, &own, price(0.9)), 0, "as dear as what they save");
        (0..20).for_each(|_| odds.note(Source::Own, false));
        assert_eq!(count(&odds, &own, price(0.5)), 0);
        (0..150).for_each(|_| odds.forget_own());
        assert!(count(&odds, &own, price(0.5)) > 1, "tried again in the end");
    }

    #[test]
    fn what_must_come_is_believed() {
        let odds = Odds::new();
        let forced = [Source::Forced; 3];
        assert_eq!(count(&odds, &forced, each(0.9)), 3);
        let behind = [Source::Forced, Source::Forced, Source::Match(2), Source::Match(3)];
        assert_eq!(count(&odds, &behind, each(0.6)), 2, "a short match behind it is not");
    }
}
