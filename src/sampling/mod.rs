//! From logits to a token: penalties, stages that leave tokens out, a draw.

mod bias;
mod bytes;
mod callback;
mod log_probs;
mod logits_processor;
mod penalties;
mod random;
mod settings;
mod truncate;

pub use bias::MAX_LOGIT_BIASES;
pub(crate) use bytes::MORE;
pub use callback::{LogitsCallback, LogitsFunction, SAMPLE};
pub use log_probs::LogProb;
pub(crate) use log_probs::log_probs;
pub(crate) use logits_processor::{LogitsProcessor, Processed};
pub(crate) use random::Random;
pub use settings::{STAGES, SamplerOrder, SamplerStage, Sampling};

use crate::arena::{Cutter, List, MemoryUse};
use crate::{Error, Result, Status};
use truncate::Candidates;

/// A chooser of tokens: settings, what goes on from token to token, and scratch for one vocabulary.
pub(crate) struct Sampler {
    settings: Sampling,
    state: SamplerState,
    /// Candidates: logit, later weight, and id. Room for the whole vocabulary.
    candidates: List<(f32, u32)>,
}

/// What goes on from token to token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SamplerState {
    pub(crate) random: Random,
    /// The most bits that a token may surprise by, for Mirostat.
    pub(crate) surprise: f32,
}

impl SamplerState {
    fn new(settings: &Sampling) -> SamplerState {
        // As the paper begins.
        SamplerState { random: Random::new(settings.seed), surprise: 2.0 * settings.mirostat_tau }
    }
}

impl Sampler {
    pub(crate) fn cut(cutter: &mut Cutter, vocab: usize) -> Sampler {
        let candidates = cutter.part(MemoryUse::Sampling).list(vocab);
        let settings = Sampling::default();
        Sampler { settings, state: SamplerState::new(&settings), candidates }
    }

    /// Takes new settings and starts anew with them.
    pub(crate) fn set(&mut self, settings: Sampling) -> Result<()> {
        settings.validate()?;
        self.settings = settings;
        self.restart();
        Ok(())
    }

    /// Settings, and how far they have come.
    pub(crate) fn state(&self) -> (Sampling, SamplerState) {
        (self.settings, self.state)
    }

    /// Goes on as the sampler that had this state. Fails, and changes nothing, if none can have had it.
    pub(crate) fn set_state(&mut self, (settings, state): (Sampling, SamplerState)) -> Result<()> {
        settings.validate()?;
        if !state.surprise.is_finite() {
            return Err(Error::new(Status::InvalidArgument, "the surprise that Mirostat allows is no number"));
        }
        (self.settings, self.state) = (settings, state);
        Ok(())
    }

    /// Starts the random numbers anew, and what follows the tokens.
    pub(crate) fn restart(&mut self) {
        self.state = SamplerState::new(&self.settings);
    }

    /// How many of the largest logits decide, whatever came before; `None` if all do. Others may be -∞ for
    /// [`sample`](Sampler::sample), and the token is the same.
    pub(crate) fn deciding(&self) -> Option<usize> {
        let settings = &self.settings;
        if settings.penalizes() {
            return None;
        }
        if settings.temperature == 0.0 {
            return Some(1);
        }
        match settings.order.stages().into_iter().find(|&stage| settings.cuts(stage)) {
            Some(SamplerStage::TopK) => Some(settings.top_k as usize),
            _ => None,
        }
    }

    /// Whether [`penalize`](Sampler::penalize) does anything.
    pub(crate) fn penalizes(&self) -> bool {
        self.settings.penalizes()
    }

    /// Changes the logits of tokens of `history`. `breaks` says at which tokens repetitions end.
    ///
    /// Fails only where a penalty takes a logit out of the range of f32.
    pub(crate) fn penalize(&mut self, logits: &mut [f32], history: &[u32], breaks: impl Fn(u32) -> bool) -> Result<()> {
        penalties::apply(&self.settings, logits, history, breaks, &mut self.candidates)
    }

    /// Chooses a token. `logits` are finite or -∞, which forbids a token, but not all; they stay as they are.
    pub(crate) fn sample(&mut self, logits: &[f32]) -> u32 {
        let settings = self.settings;
        if settings.temperature == 0.0 {
            return argmax(logits);
        }
        let SamplerState { random, surprise: bound } = &mut self.state;
        let mut candidates = Candidates::new(&mut self.candidates, logits);
        for stage in settings.order.stages() {
            candidates.apply(stage, &settings, || random.unit());
        }
        if settings.mirostat_tau != 0.0 {
            candidates.keep_unsurprising(*bound);
        }
        let (list, sum) = candidates.weights();
        let (mut target, mut chosen) = (random.unit() * sum, None);
        for &(weight, id) in list.iter() {
            // Rounding can leave a last crumb: then it is the last that can come.
            if weight > 0.0 {
                chosen = Some((weight, id));
                target -= f64::from(weight);
                if target < 0.0 {
                    break;
                }
            }
        }
        let Some((weight, id)) = chosen else { return argmax(logits) };
        if settings.mirostat_tau != 0.0 {
            let surprise = -(f64::from(weight) / sum).log2() as f32;
            *bound -= settings.mirostat_eta * (surprise - settings.mirostat_tau);
        }
        id
    }
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
    use crate::arena::{Arena, MemorySource};

    const LOGITS: [f32; 6] = [1.0, 3.0, 2.0, 3.0, -1.0, 0.0];

    /// A sampler and its memory.
    fn sampler(settings: Sampling) -> (Arena, Sampler) {
        let cut = Arena::cut(MemorySource::Own, 0, |cutter| Sampler::cut(cutter, LOGITS.len()));
        let (arena, mut sampler) = cut.unwrap();
        sampler.set(settings).unwrap();
        (arena, sampler)
    }

    fn sample(settings: Sampling, history: &[u32]) -> u32 {
        let (_arena, mut sampler) = sampler(settings);
        let mut logits = LOGITS;
        sampler.penalize(&mut logits, history, |_| false).unwrap();
        sampler.sample(&logits)
    }

    /// How often each token comes in 20 000 draws.
    fn frequencies(settings: Sampling) -> [f64; 6] {
        let (_arena, mut sampler) = sampler(settings);
        let mut counts = [0.0; 6];
        for _ in 0..20_000 {
            counts[sampler.sample(&LOGITS) as usize] += 1.0 / 20_000.0;
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
    fn forbidden_tokens_never_come() {
        const NO: f32 = f32::NEG_INFINITY;
        let logits = [NO, 1.0, NO, 1.0, NO, NO];
        let base = Sampling { temperature: 1.0, ..Sampling::default() };
        for settings in [
            base,
            Sampling { top_k: 4, ..base },
            Sampling { top_p: 0.999, ..base },
            Sampling { min_p: 0.1, ..base },
            Sampling { typical_p: 0.9, ..base },
            Sampling { top_n_sigma: 1.0, ..base },
            Sampling { mirostat_tau: 5.0, ..base },
            Sampling { repetition_penalty: 1.5, ..base },
            Sampling { temperature: 0.0, repetition_penalty: 1.5, ..base },
        ] {
            let (_arena, mut sampler) = sampler(settings);
            for _ in 0..200 {
                let mut logits = logits;
                sampler.penalize(&mut logits, &[0, 2, 5], |_| false).unwrap();
                let token = sampler.sample(&logits);
                assert!(token == 1 || token == 3, "{token} with {settings:?}");
            }
        }
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let settings = Sampling { temperature: 1.5, seed: 7, ..Sampling::default() };
        let draw = |settings| {
            let (_arena, mut sampler) = sampler(settings);
            (0..50).map(|_| sampler.sample(&LOGITS)).collect::<Vec<_>>()
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
    fn the_surprise_follows_what_is_wanted() {
        // Of a flat distribution over 64 tokens, 6 bits each, 3 bits leave 8.
        let flat = [0.0; 64];
        let cut = Arena::cut(MemorySource::Own, 0, |cutter| Sampler::cut(cutter, flat.len()));
        let (_arena, mut sampler) = cut.unwrap();
        let settings = Sampling { temperature: 1.0, mirostat_tau: 3.0, mirostat_eta: 0.5, ..Sampling::default() };
        sampler.set(settings).unwrap();
        assert_eq!(sampler.state.surprise, 6.0);
        let zipf: Vec<f32> = (1..=64).map(|rank| -(rank as f32).ln()).collect();
        let weights: Vec<f64> = (1..=64).map(|rank| 1.0 / f64::from(rank)).collect();
        let mut total = 0.0;
        for n in 0..4000 {
            let before = sampler.state.surprise;
            let token = sampler.sample(&zipf);
            let all: f64 = weights.iter().sum();
            let least = all * f64::from(-before).exp2();
            let kept: f64 = weights.iter().filter(|&&weight| weight >= least * 0.999999 || weight == 1.0).sum();
            let surprise = (kept / weights[token as usize]).log2();
            assert!((f64::from(before - sampler.state.surprise) - 0.5 * (surprise - 3.0)).abs() < 1e-4, "step {n}");
            total += surprise;
        }
        assert!((total / 4000.0 - 3.0).abs() < 0.05, "{}", total / 4000.0);
        sampler.restart();
        assert_eq!(sampler.state.surprise, 6.0);
    }

    #[test]
    fn few_logits_decide_where_top_k_cuts_first() {
        let base = Sampling { temperature: 1.0, top_k: 40, ..Sampling::default() };
        let deciding = |settings| sampler(settings).1.deciding();
        assert_eq!(deciding(base), Some(40));
        assert_eq!(
            deciding(Sampling { top_p: 0.9, typical_p: 0.9, min_p: 0.1, xtc_probability: 0.5, ..base }),
            Some(40)
        );
        assert_eq!(deciding(Sampling { temperature: 0.0, top_p: 0.9, ..base }), Some(1));
        let late = SamplerOrder::new(&[SamplerStage::TopP]).unwrap();
        assert_eq!(deciding(Sampling { order: late, ..base }), Some(40));
        assert_eq!(deciding(Sampling { order: late, top_p: 0.9, ..base }), None);
        for settings in [
            Sampling { top_k: 0, ..base },
            Sampling { top_n_sigma: 1.0, ..base },
            Sampling { presence_penalty: 0.5, ..base },
            Sampling { dry_multiplier: 0.8, temperature: 0.0, ..base },
        ] {
            assert_eq!(deciding(settings), None, "{settings:?}");
        }
    }
}
