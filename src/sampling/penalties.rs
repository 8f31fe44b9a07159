//! Penalties: what a token's logit loses for having come before.

use super::Sampling;
use crate::arena::List;
use crate::{Error, Result, Status};

/// A repetition is not measured further: its penalty is beyond all logits by then, whatever the base.
const LONGEST: usize = 512;

/// Changes the logits of tokens that came before, as the settings say. `counts` has room for the vocabulary; `breaks`
/// says at which tokens repetitions end.
///
/// Fails only where a penalty takes a logit out of the range of f32.
pub(super) fn apply(
    settings: &Sampling,
    logits: &mut [f32],
    history: &[u32],
    breaks: impl Fn(u32) -> bool,
    counts: &mut List<(f32, u32)>,
) -> Result<()> {
    let latest = |window: u32| &history[history.len().saturating_sub(window as usize)..];
    let Sampling { repetition_penalty, presence_penalty, frequency_penalty, .. } = *settings;
    if repetition_penalty != 1.0 || presence_penalty != 0.0 || frequency_penalty != 0.0 {
        collect(counts, logits.len(), latest(settings.repetition_window).iter().map(|&id| (id, 1.0)), |a, b| a + b);
        for (logit, &(count, _)) in logits.iter_mut().zip(counts.iter()).filter(|(_, count)| count.0 > 0.0) {
            *logit = if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty };
            *logit -= presence_penalty + count * frequency_penalty;
        }
    }
    if settings.dry_multiplier != 0.0 {
        let (base, least) = (f64::from(settings.dry_base), settings.dry_allowed_length as usize);
        let repeats = repeats(latest(settings.dry_window), breaks).filter(|&(_, length)| length >= least.max(1));
        collect(counts, logits.len(), repeats.map(|(id, length)| (id, length as f32)), f32::max);
        for (logit, &(length, _)) in logits.iter_mut().zip(counts.iter()).filter(|(_, length)| length.0 > 0.0) {
            let more = f64::from(length) - least as f64;
            // Beyond all logits, and still a number.
            let penalty = (f64::from(settings.dry_multiplier) * base.powf(more)).min(1e30);
            *logit -= penalty as f32;
        }
    }
    let odd = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
    match logits.iter().any(odd) || logits.iter().all(|logit| *logit == f32::NEG_INFINITY) {
        true => Err(Error::new(
            Status::NonFinite,
            "no token to sample: a repetition penalty took logits out of the range of f32",
        )),
        false => Ok(()),
    }
}

/// For each of so many tokens what all its values come to; 0 without one. Other ids are passed over.
fn collect(
    counts: &mut List<(f32, u32)>,
    vocab: usize,
    values: impl Iterator<Item = (u32, f32)>,
    add: impl Fn(f32, f32) -> f32,
) {
    counts.clear();
    counts.extend((0..vocab as u32).map(|id| (0.0, id)));
    for (id, value) in values {
        if let Some((count, _)) = counts.get_mut(id as usize) {
            *count = add(*count, value);
        }
    }
}

/// The tokens that stood behind an earlier copy of the history's last tokens, and how long the copy is.
fn repeats(history: &[u32], breaks: impl Fn(u32) -> bool) -> impl Iterator<Item = (u32, usize)> {
    let end = || history.iter().rev();
    let longest = end().take(LONGEST).take_while(|token| !breaks(**token)).count();
    (1..history.len()).filter_map(move |next| {
        let same = history[..next].iter().rev().zip(end()).take(longest).take_while(|(a, b)| a == b).count();
        (same > 0).then_some((history[next], same))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, MemorySource, MemoryUse};

    fn penalized(settings: Sampling, logits: &[f32], history: &[u32]) -> Result<Vec<f32>> {
        let cut = Arena::cut(MemorySource::Own, 0, |cutter| cutter.part(MemoryUse::Sampling).list(logits.len()));
        let (_arena, mut counts) = cut.unwrap();
        let mut logits = logits.to_vec();
        apply(&settings, &mut logits, history, |id| id == 9, &mut counts).map(|()| logits)
    }

    #[test]
    fn recent_tokens_pay_once_and_for_each_time() {
        let base = Sampling { repetition_window: 4, ..Sampling::default() };
        let logits = [2.0, -2.0, 0.5, 1.0];
        let history = [2, 0, 1, 1, 7];
        let of = |settings| penalized(settings, &logits, &history).unwrap();
        assert_eq!(of(Sampling { repetition_penalty: 2.0, ..base }), [1.0, -4.0, 0.5, 1.0]);
        assert_eq!(of(Sampling { presence_penalty: 0.5, ..base }), [1.5, -2.5, 0.5, 1.0]);
        assert_eq!(of(Sampling { frequency_penalty: 0.5, ..base }), [1.5, -3.0, 0.5, 1.0]);
        assert_eq!(of(Sampling { frequency_penalty: -0.25, presence_penalty: 1.0, ..base }), [1.25, -2.5, 0.5, 1.0]);
        assert_eq!(of(Sampling { presence_penalty: 1.0, repetition_window: 1, ..base }), logits, "no such token");
    }

    #[test]
    fn longer_repetitions_pay_more_and_breaks_end_them() {
        let dry = Sampling { dry_multiplier: 1.0, dry_base: 2.0, dry_allowed_length: 2, ..Sampling::default() };
        let logits = [0.0; 10];
        let of = |settings, history: &[u32]| penalized(settings, &logits, history).unwrap();
        // 1 2 3 | 4 came, and 1 2 3 again: a repetition of three would become one of four.
        let mut wanted = [0.0; 10];
        wanted[4] = -2.0;
        assert_eq!(of(dry, &[1, 2, 3, 4, 5, 1, 2, 3]), wanted);
        // One token alone costs nothing; of two copies the longer counts, and a break ends both.
        assert_eq!(of(dry, &[3, 4, 5, 3]), logits);
        assert_eq!(of(dry, &[2, 3, 4, 1, 2, 3, 4, 5, 1, 2, 3]), wanted);
        wanted[4] = -1.0;
        assert_eq!(of(dry, &[9, 2, 3, 4, 5, 9, 2, 3]), wanted);
        assert_eq!(of(dry, &[2, 9, 4, 5, 2, 9]), logits);
        assert_eq!(of(Sampling { dry_window: 5, ..dry }, &[1, 2, 3, 4, 5, 1, 2, 3]), logits);
        // Nothing but repetition: beyond all logits, but a number.
        let same = of(dry, &[7; 2000]);
        assert!(same[7] == -1e30 && same.iter().filter(|&&logit| logit == 0.0).count() == 9, "{same:?}");
    }

    #[test]
    fn a_penalty_beyond_f32_is_an_error() {
        let settings = Sampling { repetition_penalty: 0.01, ..Sampling::default() };
        assert_eq!(penalized(settings, &[f32::MAX, 1.0], &[0]).unwrap_err().status(), Status::NonFinite);
        let settings = Sampling { repetition_penalty: 100.0, ..Sampling::default() };
        assert_eq!(penalized(settings, &[f32::MIN], &[0]).unwrap_err().status(), Status::NonFinite);
    }
}
