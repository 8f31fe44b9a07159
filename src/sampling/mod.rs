//! From logits to a token.
//!
//! The order is the usual one (llama.cpp, Hugging Face): repetition penalty, top-k, temperature, top-p, min-p, draw.

mod bias;
mod callback;
mod logits_processor;
mod random;

pub use bias::MAX_LOGIT_BIASES;
pub use callback::{LogitsCallback, LogitsFunction, SAMPLE};
pub(crate) use logits_processor::{LogitsProcessor, Processed};

use crate::arena::{Cutter, List, Part};
use crate::{Error, Result, Status};
use random::Random;

/// How the next token is chosen. The default is greedy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 means greedy: the largest logit, the lowest id on a tie.
    pub temperature: f32,
    /// Only the `top_k` largest logits stay; 0 means all. With up to 64, and no repetition penalty, a token reads only
    /// a part of the head, as a greedy one does.
    pub top_k: u32,
    /// Only the fewest tokens whose probabilities sum to at least `top_p` stay; 1 means all (arXiv:1904.09751).
    pub top_p: f32,
    /// Only tokens at least `min_p` times as likely as the likeliest stay; 0 means all (arXiv:2407.01082).
    pub min_p: f32,
    /// Logits of recent tokens are divided by this if positive, multiplied if negative; 1 means none
    /// (arXiv:1909.05858, section 4.1).
    pub repetition_penalty: f32,
    /// How many of the latest tokens count as recent.
    pub repetition_window: u32,
    /// Start of the random numbers: the same seed, model and prompt give the same tokens.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Fails on a number outside its range, naming it.
    pub fn validate(&self) -> Result<()> {
        let check = |name: &str, value: f32, allowed: std::ops::RangeInclusive<f32>| {
            // A NaN is in no range.
            if allowed.contains(&value) {
                return Ok(());
            }
            let (least, most) = (allowed.start(), allowed.end());
            Err(Error::new(Status::InvalidArgument, format_args!("{name} is {value}, outside {least} to {most}")))
        };
        check("temperature", self.temperature, 0.0..=100.0)?;
        check("top_p", self.top_p, f32::MIN_POSITIVE..=1.0)?;
        check("min_p", self.min_p, 0.0..=1.0)?;
        check("repetition_penalty", self.repetition_penalty, 0.01..=100.0)
    }
}

/// A chooser of tokens: settings, random state and scratch for one vocabulary.
pub(crate) struct Sampler {
    settings: Sampling,
    random: Random,
    /// Candidates: logit, later probability, and id. Room for the whole vocabulary.
    candidates: List<(f32, u32)>,
}

impl Sampler {
    pub(crate) fn cut(cutter: &mut Cutter, vocab: usize) -> Sampler {
        let candidates = cutter.part(Part::Sampling).list(vocab);
        let settings = Sampling::default();
        Sampler { settings, random: Random::new(settings.seed), candidates }
    }

    /// Takes new settings and starts their random numbers anew.
    pub(crate) fn set(&mut self, settings: Sampling) -> Result<()> {
        settings.validate()?;
        self.settings = settings;
        self.random = Random::new(settings.seed);
        Ok(())
    }

    /// Settings, and where the random numbers stand.
    pub(crate) fn state(&self) -> (Sampling, [u64; 4]) {
        (self.settings, self.random.state())
    }

    /// Goes on as the sampler that had this state. Fails, and changes nothing, if none can have had it.
    pub(crate) fn set_state(&mut self, (settings, random): (Sampling, [u64; 4])) -> Result<()> {
        settings.validate()?;
        let none = || Error::new(Status::InvalidArgument, "the random numbers stand nowhere");
        (self.settings, self.random) = (settings, Random::from_state(random).ok_or_else(none)?);
        Ok(())
    }

    /// Starts the random numbers anew.
    pub(crate) fn restart(&mut self) {
        self.random = Random::new(self.settings.seed);
    }

    /// How many of the largest logits decide, whatever came before; `None` if all do. Others may be -∞ for
    /// [`sample`](Sampler::sample), and the token is the same.
    pub(crate) fn deciding(&self) -> Option<usize> {
        match self.settings {
            Sampling { repetition_penalty, .. } if repetition_penalty != 1.0 => None,
            Sampling { temperature: 0.0, .. } => Some(1),
            Sampling { top_k, .. } => (top_k != 0).then_some(top_k as usize),
        }
    }

    /// Chooses the token after `history`. `logits` are finite or -∞, which forbids a token, but not all; they stay as
    /// they are.
    ///
    /// Fails only where a penalty takes a logit out of the range of f32.
    pub(crate) fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32> {
        let Sampling { temperature, top_k, top_p, min_p, repetition_penalty, repetition_window, .. } = self.settings;
        let recent = &history[history.len().saturating_sub(repetition_window as usize)..];
        if temperature == 0.0 && (repetition_penalty == 1.0 || recent.is_empty()) {
            return Ok(argmax(logits));
        }
        let candidates = &mut self.candidates;
        candidates.clear();
        let all = logits.iter().zip(0..).map(|(&logit, id)| (logit, id));
        if repetition_penalty == 1.0 {
            candidates.extend(all.filter(|c| c.0 > f32::NEG_INFINITY));
        } else {
            candidates.extend(all);
            for (i, &id) in recent.iter().enumerate() {
                // Once a token, however often it came.
                if recent[..i].contains(&id) {
                    continue;
                }
                if let Some((logit, _)) = candidates.get_mut(id as usize) {
                    *logit = if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty };
                }
            }
        }
        if temperature == 0.0 {
            return candidates.iter().min_by(|a, b| order(a, b)).map(|best| best.1).ok_or_else(no_candidate);
        }
        let k = match top_k as usize {
            0 => candidates.len(),
            k => k.min(candidates.len()),
        };
        if k < candidates.len() {
            candidates.select_nth_unstable_by(k, order);
            candidates.truncate(k);
        }
        let Some(largest) = candidates.iter().map(|c| c.0).reduce(f32::max) else { return Err(no_candidate()) };
        if top_k != 0 {
            candidates.sort_unstable_by(order);
        }
        let mut sum = 0.0f64;
        for (weight, _) in candidates.iter_mut() {
            *weight = ((*weight - largest) / temperature).exp();
            sum += f64::from(*weight);
        }
        if top_p < 1.0 {
            let enough = sum * f64::from(top_p);
            let kept = nucleus(candidates, enough);
            candidates.truncate(kept);
        }
        // The likeliest token's weight is 1; a forbidden one's is 0.
        candidates.retain(|c| c.0 > 0.0 && c.0 >= min_p);
        let sum: f64 = candidates.iter().map(|c| f64::from(c.0)).sum();
        // 53 random bits: a number in [0, 1).
        let mut target = (self.random.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64) * sum;
        for &(weight, id) in candidates.iter() {
            target -= f64::from(weight);
            if target < 0.0 {
                return Ok(id);
            }
        }
        // Rounding can leave a last crumb.
        candidates.last().map(|c| c.1).ok_or_else(no_candidate)
    }
}

/// Largest first, the lower id first on a tie, so that the outcome does not depend on how things are sorted.
fn order(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Puts the likeliest candidates first, in order, until their weights sum to `enough`: how many that takes.
fn nucleus(candidates: &mut [(f32, u32)], enough: f64) -> usize {
    // A few are usually enough of a vocabulary: so many are sorted, then as many again.
    const FEW: usize = 128;
    let (mut sum, mut sorted) = (0.0, 0);
    while sorted < candidates.len() {
        let end = candidates.len().min((2 * sorted).max(FEW));
        if end < candidates.len() {
            candidates[sorted..].select_nth_unstable_by(end - sorted, order);
        }
        candidates[sorted..end].sort_unstable_by(order);
        for &(weight, _) in &candidates[sorted..end] {
            sum += f64::from(weight);
            sorted += 1;
            if sum >= enough {
                return sorted;
            }
        }
    }
    sorted
}

fn no_candidate() -> Error {
    Error::new(Status::NonFinite, "no token to sample: a repetition penalty took logits out of the range of f32")
}

/// The id of the largest logit, the lowest on a tie. NaNs are passed over.
pub(crate) fn argmax(logits: &[f32]) -> u32 {
    // The maxima of sixteen interleaved lanes, which the compiler turns into vectors, then the place of their maximum.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = logits.chunks_exact(lanes.len());
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut largest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, logit);
        }
    }
    largest = lanes.into_iter().fold(largest, larger);
    logits.iter().position(|&logit| logit == largest).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, Memory};

    const LOGITS: [f32; 6] = [1.0, 3.0, 2.0, 3.0, -1.0, 0.0];

    /// A sampler and its memory.
    fn sampler(settings: Sampling) -> (Arena, Sampler) {
        let cut = Arena::cut(Memory::Own, 0, |cutter| Sampler::cut(cutter, LOGITS.len()));
        let (arena, mut sampler) = cut.unwrap();
        sampler.set(settings).unwrap();
        (arena, sampler)
    }

    fn sample(settings: Sampling, history: &[u32]) -> u32 {
        sampler(settings).1.sample(&LOGITS, history).unwrap()
    }

    /// How often each token comes in 20 000 draws.
    fn frequencies(settings: Sampling) -> [f64; 6] {
        let (_arena, mut sampler) = sampler(settings);
        let mut counts = [0.0; 6];
        for _ in 0..20_000 {
            counts[sampler.sample(&LOGITS, &[]).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    fn probabilities(temperature: f64, allowed: &[usize]) -> [f64; 6] {
        let mut p = [0.0; 6];
        for &i in allowed {
            p[i] = (f64::from(LOGITS[i]) / temperature).exp();
        }
        let sum: f64 = p.iter().sum();
        p.map(|x| x / sum)
    }

    fn assert_close(found: [f64; 6], expected: [f64; 6]) {
        for (f, e) in found.iter().zip(expected) {
            // Four standard deviations of 20 000 draws.
            assert!((f - e).abs() < 0.0142 && (e > 0.0 || *f == 0.0), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn greedy_takes_the_largest_and_the_lowest_id_on_a_tie() {
        assert_eq!(sample(Sampling::default(), &[]), 1);
        assert_eq!(sample(Sampling::default(), &[1, 1]), 1);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let base = Sampling { temperature: 1.0, ..Sampling::default() };
        assert_close(frequencies(base), probabilities(1.0, &[0, 1, 2, 3, 4, 5]));
        assert_close(frequencies(Sampling { temperature: 2.0, ..base }), probabilities(2.0, &[0, 1, 2, 3, 4, 5]));
        assert_close(frequencies(Sampling { top_k: 3, ..base }), probabilities(1.0, &[1, 2, 3]));
        // 1 and 3 hold 0.77 of the mass, with 2 it is 0.92.
        assert_close(frequencies(Sampling { top_p: 0.8, ..base }), probabilities(1.0, &[1, 2, 3]));
        assert_close(frequencies(Sampling { top_p: 0.5, ..base }), probabilities(1.0, &[1, 3]));
        // e^-1 = 0.37 of the likeliest is token 2, e^-2 = 0.14 is token 0.
        assert_close(frequencies(Sampling { min_p: 0.2, ..base }), probabilities(1.0, &[1, 2, 3]));
        assert_close(frequencies(Sampling { top_k: 1, ..base }), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
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
            let kept = nucleus(&mut candidates, share * sum);
            assert_eq!(kept, wanted.map_or(5000, |last| last + 1), "{share}");
            assert_eq!(candidates[..kept], sorted[..kept], "{share}");
        }
        assert_eq!(nucleus(&mut [], 1.0), 0);
    }

    #[test]
    fn forbidden_tokens_never_come() {
        const NO: f32 = f32::NEG_INFINITY;
        let logits = [NO, 1.0, NO, 1.0, NO, NO];
        let base = Sampling { temperature: 1.0, ..Sampling::default() };
        for settings in [
            base,
            Sampling { top_k: 4, ..base },
            Sampling { top_p: 0.999, ..base },
            Sampling { min_p: 0.1, ..base },
            Sampling { repetition_penalty: 1.5, ..base },
            Sampling { temperature: 0.0, repetition_penalty: 1.5, ..base },
        ] {
            let (_arena, mut sampler) = sampler(settings);
            for _ in 0..200 {
                let token = sampler.sample(&logits, &[0, 2, 5]).unwrap();
                assert!(token == 1 || token == 3, "{token} with {settings:?}");
            }
        }
        // A penalty beyond f32: an error, not some token.
        let (_arena, mut sampler) = sampler(Sampling { repetition_penalty: 0.01, ..base });
        assert_eq!(sampler.sample(&[f32::MAX, f32::MAX], &[0, 1]).unwrap_err().status(), Status::NonFinite);
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let settings = Sampling { temperature: 1.5, seed: 7, ..Sampling::default() };
        let draw = |settings| {
            let (_arena, mut sampler) = sampler(settings);
            (0..50).map(|_| sampler.sample(&LOGITS, &[]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(settings), draw(settings));
        assert_ne!(draw(settings), draw(Sampling { seed: 8, ..settings }));
    }

    #[test]
    fn the_penalty_reaches_recent_tokens_once_and_no_others() {
        let settings = Sampling { repetition_penalty: 1.4, repetition_window: 3, ..Sampling::default() };
        // 3 / 1.4 = 2.14 still beats 2; twice would not.
        assert_eq!(sample(settings, &[3, 1, 1]), 1);
        assert_eq!(sample(settings, &[1]), 3);
        assert_eq!(sample(settings, &[1, 5, 5, 5]), 1, "outside the window");
        let stronger = Sampling { repetition_penalty: 2.0, ..settings };
        assert_eq!(sample(stronger, &[1, 3]), 2);
        assert_eq!(sample(stronger, &[1, 3, 99]), 2, "an id outside the vocabulary");
    }

    #[test]
    fn numbers_outside_their_range_are_named() {
        for (settings, name) in [
            (Sampling { temperature: -1.0, ..Sampling::default() }, "temperature"),
            (Sampling { temperature: f32::NAN, ..Sampling::default() }, "temperature"),
            (Sampling { top_p: 0.0, ..Sampling::default() }, "top_p"),
            (Sampling { min_p: 1.5, ..Sampling::default() }, "min_p"),
            (Sampling { repetition_penalty: 0.0, ..Sampling::default() }, "repetition_penalty"),
        ] {
            let error = settings.validate().unwrap_err();
            assert_eq!(error.status(), Status::InvalidArgument);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
