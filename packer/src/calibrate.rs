//! The text that a model is calibrated on: a user's, or one the model writes itself.

use crate::progress::Progress;
use rasp::format::Config;
use rasp::model::Model;
use rasp::session::{Scorer, Session, SessionOptions};
use rasp::text::{EncodeOptions, Tokenizer};
use rasp::{Error, Result, Sampling, Status};
use std::sync::Arc;

/// Calibration text is cut into windows of this many tokens, each passed alone (METHOD, "Figures measured here").
const WINDOW: usize = 512;

/// Tokens of a window, no more than the model takes.
pub(crate) fn window_len(config: &Config) -> usize {
    WINDOW.min(config.context_length)
}

/// A scorer for these windows, with f32 keys and values.
pub(crate) fn scorer(model: &Arc<Model>, windows: &[&[u32]], threads: usize) -> Result<Scorer> {
    Scorer::exact(model.clone(), windows.iter().map(|w| w.len()).max().unwrap_or(1), threads)
}

/// Windows of calibration text held back for measuring quality. Four of them said 2.7% of SmolLM2 at 30% where
/// sixteen of other text said 1.3 (`docs/lab/2026-12-01-quality-noise-of-tuning.md`).
pub(crate) const HELD_BACK: usize = 8;

/// A text in windows, each for one purpose.
pub(crate) struct Windows<'a> {
    /// What scores and thresholds are measured on
    pub(crate) calibration: Vec<&'a [u32]>,
    /// What quality is measured on
    pub(crate) held_back: Vec<&'a [u32]>,
    /// What else there is
    pub(crate) more: Vec<&'a [u32]>,
}

impl<'a> Windows<'a> {
    /// Cuts tokens into windows of `window`: calibration gets the first `limit` tokens or so. A text that has no more
    /// than a few windows beyond those gives a fifth of all to quality, one of a few windows none.
    pub(crate) fn new(tokens: &'a [u32], window: usize, limit: usize) -> Windows<'a> {
        let mut calibration: Vec<&[u32]> = tokens.chunks(window).collect();
        let wanted = limit.div_ceil(window);
        let beyond = calibration.len().saturating_sub(wanted);
        let held_back = if beyond >= HELD_BACK { beyond } else { beyond.max(calibration.len() / 5) };
        let mut held_back = calibration.split_off(calibration.len() - held_back);
        let more = if beyond > HELD_BACK { held_back.split_off(HELD_BACK) } else { Vec::new() };
        Windows { calibration, held_back, more }
    }
}

/// So many of the windows of a text, spread over all of it, the first few of them as well: neighbours are of one
/// article (`docs/lab/2026-11-30-quality-spread-windows.md`).
fn spread(tokens: &[u32], window: usize, wanted: usize) -> Vec<u32> {
    let there = tokens.len() / window;
    let count = wanted.min(there).max(1);
    // Steps of a golden ratio of all come near no place that was there before, until each has been.
    let common = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (count as f64 * 0.618) as usize;
    let step = (golden.max(1)..=count).find(|&step| common(step, count) == 1).unwrap_or(1);
    // Products of two counts of windows may be beyond a usize of 32 bits.
    let nth = |n: usize| (n as u64 * step as u64 % count as u64 * there as u64 / count as u64) as usize;
    (0..count).flat_map(|n| tokens[nth(n) * window..].iter().take(window)).copied().collect()
}

/// About `limit` tokens of a text, in whole windows of `window` where there is one: `from_everywhere` in it, or its
/// first.
pub(crate) fn text_tokens(
    tokenizer: &Tokenizer,
    window: usize,
    text: &str,
    limit: usize,
    from_everywhere: bool,
) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    let options = EncodeOptions { add_special: false, parse_special: false };
    tokenizer.encode(text, options, &mut tokens)?;
    if tokens.is_empty() {
        return Err(Error::new(Status::InvalidArgument, "the calibration text is empty"));
    }
    if let (Some(bos), 2..) = (tokenizer.leading_bos(), window) {
        // Each window passes alone, as a text of its own does.
        tokens = tokens.chunks(window - 1).flat_map(|text| [bos].into_iter().chain(text.iter().copied())).collect();
    }
    if from_everywhere && limit >= window && tokens.len() > window {
        return Ok(spread(&tokens, window, limit / window));
    }
    tokens.truncate(limit);
    if tokens.len() > window {
        tokens.truncate(tokens.len() / window * window);
    }
    Ok(tokens)
}

/// Openings of the texts that a model writes for its own calibration: prose, dialogue, fact, code, list.
const OPENINGS: [&str; 8] = [
    "The ",
    "Once upon a time",
    "In a study published last year, researchers",
    "Question: ",
    "def main():\n",
    "Dear Sir or Madam,\n",
    "== History ==\n",
    "1. ",
];

/// Windows that are written side by side: the weights are read once for all, and each is what it would be alone.
const TOGETHER: usize = 8;

/// About `limit` tokens written by the model itself, at temperature 1 from a fixed seed: calibration for want of a
/// text.
pub(crate) fn own_tokens(
    model: &Arc<Model>,
    limit: usize,
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<u32>> {
    let window = window_len(model.config()).min(limit);
    let mut prompts = Vec::new();
    for opening in OPENINGS {
        let mut prompt = Vec::new();
        let options = EncodeOptions { add_special: true, parse_special: false };
        model.tokenizer().encode(opening, options, &mut prompt)?;
        prompt.truncate(window);
        // A small vocabulary may know nothing of it.
        if !prompt.is_empty() {
            prompts.push(prompt);
        }
    }
    if prompts.is_empty() {
        let message =
            "the tokenizer knows none of the openings that a model begins its own text with: give it a --calib text";
        return Err(Error::new(Status::Unsupported, message));
    }
    let rounds: Vec<_> = prompts.iter().cycle().take(limit.div_ceil(window)).zip(0u64..).collect();
    let options = SessionOptions { context: window, threads, ..SessionOptions::default() };
    // The first one's threads compute for all.
    let session =
        |n| Session::open(model.clone(), &SessionOptions { threads: if n == 0 { threads } else { 1 }, ..options });
    let mut sessions = (0..rounds.len().min(TOGETHER)).map(session).collect::<Result<Vec<_>>>()?;
    let mut tokens = Vec::new();
    progress.begin("writing calibration text", limit as u64);
    for rounds in rounds.chunks(TOGETHER) {
        let sessions = &mut sessions[..rounds.len()];
        for (session, (prompt, seed)) in sessions.iter_mut().zip(rounds) {
            session.reset();
            session.set_sampling(Sampling { temperature: 1.0, top_p: 0.95, seed: *seed, ..Sampling::default() })?;
            session.prefill(prompt)?;
            progress.advance(prompt.len() as u64);
        }
        loop {
            let mut writing: Vec<_> = sessions.iter_mut().filter(|s| s.tokens().len() < window).collect();
            if writing.is_empty() {
                break;
            }
            let mut failed = None;
            Session::step_batch(&mut writing, |_, token| failed = failed.take().or(token.err()))?;
            failed.map_or(Ok(()), Err)?;
            progress.advance(writing.len() as u64);
        }
        sessions.iter().for_each(|session| tokens.extend_from_slice(session.tokens()));
    }
    progress.end();
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_spread_over_a_text() {
        let tokens: Vec<u32> = (0..1007).collect();
        for wanted in 1..=101 {
            let chosen = spread(&tokens, 10, wanted);
            let starts: Vec<u32> = chosen.chunks(10).map(|window| window[0] / 10).collect();
            assert!(chosen.chunks(10).all(|window| window.len() == 10 && window[9] == window[0] + 9));
            let mut sorted = starts.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), wanted.min(100), "each once");
            // Whatever was asked for lies everywhere, and so do the first eight of it.
            let furthest = |starts: &[u32]| {
                let mut places = [starts, &[0, 100]].concat();
                places.sort();
                places.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
            };
            assert!(furthest(&starts) as usize <= 100usize.div_ceil(starts.len()), "{starts:?}");
            if wanted > 16 {
                assert!(furthest(&starts[..8]) <= 30, "{starts:?}");
            }
        }
        assert_eq!(spread(&tokens[..25], 10, 9), [&tokens[..20]].concat());
    }

    #[test]
    fn what_lies_beyond_the_limit_is_held_back() {
        let count = |tokens: usize, limit: usize| {
            let tokens: Vec<u32> = (0..tokens as u32).collect();
            let windows = Windows::new(&tokens, 10, limit);
            let Windows { calibration, held_back, more } = &windows;
            assert!(calibration.iter().chain(held_back).chain(more).copied().flatten().eq(&tokens));
            (calibration.len(), held_back.len(), more.len())
        };
        assert_eq!(count(60, 40), (4, 2, 0));
        assert_eq!(count(120, 40), (4, 8, 0));
        assert_eq!(count(135, 40), (4, 8, 2));
        assert_eq!(count(440, 360), (36, 8, 0));
        // Too short for both: a fifth.
        assert_eq!(count(50, 100), (4, 1, 0));
        assert_eq!(count(300, 300), (24, 6, 0));
        assert_eq!(count(40, 100), (4, 0, 0));
        assert_eq!(count(7, 100), (1, 0, 0));
    }
}
