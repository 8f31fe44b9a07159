//! Truncation: the stages that leave tokens out before one is drawn.

use super::{SamplerStage, Sampling};
use crate::arena::List;
use std::cmp::Ordering;

/// The tokens that can still come.
pub(super) struct Candidates<'a> {
    /// Each with its logit, or once they were asked for its weight, and its id.
    list: &'a mut List<(f32, u32)>,
    /// Of all tokens.
    logits: &'a [f32],
    /// Divides the logits so far.
    temperature: f32,
    weighed: bool,
    /// The logit whose weight is 1, once weighed.
    largest: f32,
}

impl<'a> Candidates<'a> {
    /// All that are not forbidden; one at least is not.
    pub(super) fn new(list: &'a mut List<(f32, u32)>, logits: &'a [f32]) -> Candidates<'a> {
        list.clear();
        list.extend(logits.iter().zip(0..).map(|(&logit, id)| (logit, id)).filter(|c| c.0 > f32::NEG_INFINITY));
        Candidates { list, logits, temperature: 1.0, weighed: false, largest: 0.0 }
    }

    /// Applies a stage. `random` gives a number from 0 to below 1.
    pub(super) fn apply(&mut self, stage: SamplerStage, settings: &Sampling, random: impl FnOnce() -> f64) {
        match stage {
            SamplerStage::Temperature => self.heat(settings.temperature),
            _ if !settings.cuts(stage) => {}
            SamplerStage::TopNSigma => self.keep_near(settings.top_n_sigma),
            SamplerStage::TopK => self.keep_largest(settings.top_k as usize),
            SamplerStage::Typical => self.keep_typical(settings.typical_p),
            SamplerStage::TopP => self.keep_nucleus(settings.top_p),
            SamplerStage::MinP => {
                let least = settings.min_p * self.largest_weight();
                self.list.retain(|c| c.0 >= least);
            }
            SamplerStage::Xtc => {
                if random() < f64::from(settings.xtc_probability) {
                    self.exclude_top(settings.xtc_threshold);
                }
            }
        }
    }

    /// Weights in proportion to the probabilities, and their sum.
    pub(super) fn weights(&mut self) -> (&mut List<(f32, u32)>, f64) {
        self.weigh();
        let sum = self.list.iter().map(|c| f64::from(c.0)).sum();
        (self.list, sum)
    }

    /// From logits to weights, of which the largest is 1.
    fn weigh(&mut self) {
        if self.weighed {
            return;
        }
        self.largest = self.list.iter().fold(f32::NEG_INFINITY, |largest, c| largest.max(c.0));
        let (largest, temperature) = (self.largest, self.temperature);
        self.list.iter_mut().for_each(|(weight, _)| *weight = ((*weight - largest) / temperature).exp());
        self.weighed = true;
    }

    fn largest_weight(&mut self) -> f32 {
        self.weigh();
        self.list.iter().fold(0.0, |largest, c| largest.max(c.0))
    }

    fn heat(&mut self, temperature: f32) {
        self.unweigh();
        self.temperature = temperature;
    }

    /// From weights back to logits.
    fn unweigh(&mut self) {
        if std::mem::take(&mut self.weighed) {
            self.list.iter_mut().for_each(|(value, id)| *value = self.logits[*id as usize]);
        }
    }

    /// Top-nσ (arXiv:2411.07641, algorithm 1): logits of at least the largest less `n` standard deviations.
    fn keep_near(&mut self, n: f32) {
        let logit = |c: &(f32, u32)| f64::from(self.logits[c.1 as usize]);
        let count = self.list.len() as f64;
        let mean = self.list.iter().map(logit).sum::<f64>() / count;
        let variance = self.list.iter().map(|c| (logit(c) - mean).powi(2)).sum::<f64>() / count;
        let largest = self.list.iter().map(logit).fold(f64::NEG_INFINITY, f64::max);
        let least = largest - f64::from(n) * variance.sqrt();
        let logits = self.logits;
        self.list.retain(|c| f64::from(logits[c.1 as usize]) >= least);
    }

    fn keep_largest(&mut self, k: usize) {
        if k < self.list.len() {
            self.list.select_nth_unstable_by(k, order);
            self.list.truncate(k);
        }
        self.list.sort_unstable_by(order);
    }

    fn keep_nucleus(&mut self, p: f32) {
        let (list, sum) = self.weights();
        let kept = fewest(list, sum * f64::from(p), |c| c.0);
        list.truncate(kept);
    }

    /// Locally typical sampling (arXiv:2202.00666, section 3): those whose surprise `-ln p` is nearest to the entropy
    /// first, until their probabilities sum to `p`.
    fn keep_typical(&mut self, p: f32) {
        let (list, sum) = self.weights();
        let surprise = |weight: f32| if weight > 0.0 { -(f64::from(weight) / sum).ln() } else { 0.0 };
        let entropy: f64 = list.iter().map(|c| f64::from(c.0) / sum * surprise(c.0)).sum();
        // The weight of a token whose surprise is the entropy: how far others are from it is how far the quotient of
        // the weights is from 1. The nearest are the largest of what is put in the weights' place.
        let typical = (sum * (-entropy).exp()) as f32;
        list.iter_mut().for_each(|(weight, _)| *weight = -(*weight / typical).max(typical / *weight));
        let (logits, largest, temperature) = (self.logits, self.largest, self.temperature);
        let weight = |c: &(f32, u32)| ((logits[c.1 as usize] - largest) / temperature).exp();
        let kept = fewest(self.list, sum * f64::from(p), weight);
        self.list.truncate(kept);
        self.unweigh();
    }

    /// Exclude top choices: of all with so large a probability the least likely alone stays.
    fn exclude_top(&mut self, threshold: f32) {
        let (list, sum) = self.weights();
        let least = sum * f64::from(threshold);
        let is_top = |c: &(f32, u32)| f64::from(c.0) >= least;
        if let Some(&(_, last)) = list.iter().filter(|c| is_top(c)).max_by(|a, b| order(a, b)) {
            list.retain(|c| !is_top(c) || c.1 == last);
        }
    }

    /// Mirostat 2 (arXiv:2007.14966; the bound is the authors' `μ`): those alone that surprise by no more bits than
    /// this, the likeliest in any case.
    pub(super) fn keep_unsurprising(&mut self, bound: f32) {
        let largest = self.largest_weight();
        let (list, sum) = self.weights();
        let least = sum * f64::from(-bound).exp2();
        list.retain(|c| f64::from(c.0) >= least || c.0 == largest);
    }
}

/// Largest first, the lower id first on a tie, so that the outcome does not depend on how things are sorted.
pub(super) fn order(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Puts the largest candidates first, in order, until their weights sum to `enough`: how many that takes.
fn fewest(candidates: &mut [(f32, u32)], enough: f64, weight: impl Fn(&(f32, u32)) -> f32) -> usize {
    // A few are usually enough of a vocabulary: so many are sorted, then as many again.
    const FEW: usize = 128;
    let (mut sum, mut sorted) = (0.0, 0);
    while sorted < candidates.len() {
        let end = candidates.len().min((2 * sorted).max(FEW));
        if end < candidates.len() {
            candidates[sorted..].select_nth_unstable_by(end - sorted, order);
        }
        candidates[sorted..end].sort_unstable_by(order);
        for candidate in &candidates[sorted..end] {
            sum += f64::from(weight(candidate));
            sorted += 1;
            if sum >= enough {
                return sorted;
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, MemorySource, MemoryUse};

    /// Logits of these probabilities, at a temperature of 1.
    fn logits(probabilities: &[f64]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln() as f32).collect()
    }

    /// The ids that stages leave, lowest first.
    fn left(logits: &[f32], settings: Sampling, stages: &[SamplerStage]) -> Vec<u32> {
        let cut = Arena::cut(MemorySource::Own, 0, |cutter| cutter.part(MemoryUse::Sampling).list(logits.len()));
        let (_arena, mut list) = cut.unwrap();
        let mut candidates = Candidates::new(&mut list, logits);
        stages.iter().for_each(|&stage| candidates.apply(stage, &settings, || 0.25));
        let mut ids: Vec<u32> = candidates.list.iter().map(|c| c.1).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_nucleus_is_what_sorting_everything_would_find() {
        // Ties and zeros among them.
        let weights: Vec<(f32, u32)> = (0..5000u32).map(|id| ((id * 7919 % 613) as f32 / 613.0, id)).collect();
        let sum: f64 = weights.iter().map(|w| f64::from(w.0)).sum();
        let mut sorted = weights.clone();
        sorted.sort_by(order);
        for share in [0.0, 1e-9, 0.003, 0.05, 0.1, 0.5, 0.9, 0.999999, 1.0, 2.0] {
            let mut so_far = 0.0;
            let wanted = sorted.iter().position(|w| {
                so_far += f64::from(w.0);
                so_far >= share * sum
            });
            let mut candidates = weights.clone();
            let kept = fewest(&mut candidates, share * sum, |c| c.0);
            assert_eq!(kept, wanted.map_or(5000, |last| last + 1), "{share}");
            assert_eq!(candidates[..kept], sorted[..kept], "{share}");
        }
        assert_eq!(fewest(&mut [], 1.0, |c| c.0), 0);
    }

    #[test]
    fn each_stage_leaves_what_its_paper_says() {
        let base = Sampling { temperature: 1.0, ..Sampling::default() };
        let five = logits(&[0.4, 0.3, 0.2, 0.06, 0.04]);
        let of = |settings, stage| left(&five, settings, &[stage]);
        assert_eq!(of(Sampling { top_k: 2, ..base }, SamplerStage::TopK), [0, 1]);
        assert_eq!(of(Sampling { top_p: 0.75, ..base }, SamplerStage::TopP), [0, 1, 2]);
        assert_eq!(of(Sampling { min_p: 0.4, ..base }, SamplerStage::MinP), [0, 1, 2]);
        // The entropy is 1.346 nats, a probability of 0.26: nearest to it are 0.3 (a quotient of 1.15), 0.2 (1.30) and
        // 0.4 (1.54).
        assert_eq!(of(Sampling { typical_p: 0.25, ..base }, SamplerStage::Typical), [1]);
        assert_eq!(of(Sampling { typical_p: 0.45, ..base }, SamplerStage::Typical), [1, 2]);
        assert_eq!(of(Sampling { typical_p: 0.55, ..base }, SamplerStage::Typical), [0, 1, 2]);
        // Excluded with a probability above the drawn 0.25, and of those with a tenth or more.
        let xtc = Sampling { xtc_probability: 0.3, ..base };
        assert_eq!(of(xtc, SamplerStage::Xtc), [2, 3, 4]);
        assert_eq!(of(Sampling { xtc_probability: 0.2, ..base }, SamplerStage::Xtc), [0, 1, 2, 3, 4]);
        assert_eq!(
            of(Sampling { xtc_threshold: 0.35, ..xtc }, SamplerStage::Xtc),
            [0, 1, 2, 3, 4],
            "one alone is no choice"
        );
        // Logits 0, 1, 2, 3 have a standard deviation of 1.118.
        let near =
            |top_n_sigma| left(&[0.0, 1.0, 2.0, 3.0], Sampling { top_n_sigma, ..base }, &[SamplerStage::TopNSigma]);
        assert_eq!((near(0.5), near(1.0), near(2.0)), (vec![3], vec![2, 3], vec![1, 2, 3]));
        // Off, none does anything.
        assert_eq!(left(&five, base, &SamplerStage::ALL), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_order_decides() {
        let five = logits(&[0.4, 0.3, 0.2, 0.06, 0.04]);
        let settings = Sampling { temperature: 0.5, top_p: 0.75, top_k: 3, ..Sampling::default() };
        // Squares sum to 0.2952: the largest two have 0.85 of it after the temperature, 0.7 before.
        assert_eq!(left(&five, settings, &[SamplerStage::Temperature, SamplerStage::TopP]), [0, 1]);
        assert_eq!(left(&five, settings, &[SamplerStage::TopP, SamplerStage::Temperature]), [0, 1, 2]);
        // Of the largest three the largest two have 0.78.
        assert_eq!(left(&five, settings, &[SamplerStage::TopK, SamplerStage::TopP, SamplerStage::Temperature]), [0, 1]);
        // Weights after a temperature that comes last are those of the logits at it.
        let cut = Arena::cut(MemorySource::Own, 0, |cutter| cutter.part(MemoryUse::Sampling).list(5));
        let (_arena, mut list) = cut.unwrap();
        let mut candidates = Candidates::new(&mut list, &five);
        [SamplerStage::TopP, SamplerStage::Temperature]
            .iter()
            .for_each(|&stage| candidates.apply(stage, &settings, || 0.0));
        let (list, sum) = candidates.weights();
        for &(weight, id) in list.iter() {
            let wanted = [0.16, 0.09, 0.04][id as usize] / 0.29;
            assert!((f64::from(weight) / sum - wanted).abs() < 1e-6, "{id}: {weight}");
        }
    }

    #[test]
    fn what_surprises_too_much_is_left_out() {
        let four = logits(&[0.5, 0.25, 0.125, 0.125]);
        let kept = |bound| {
            let cut = Arena::cut(MemorySource::Own, 0, |cutter| cutter.part(MemoryUse::Sampling).list(4));
            let (_arena, mut list) = cut.unwrap();
            let mut candidates = Candidates::new(&mut list, &four);
            candidates.keep_unsurprising(bound);
            candidates.list.len()
        };
        assert_eq!([-1.0, 0.5, 1.01, 2.01, 3.01].map(kept), [1, 1, 1, 2, 4]);
    }
}
