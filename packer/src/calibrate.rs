//! The text that a model is calibrated on: a user's, or one the model writes itself.

use crate::progress::Progress;
use rasp::model::Model;
use rasp::session::{Session, SessionOptions};
use rasp::text::EncodeOptions;
use rasp::{Error, Result, Sampling, Status};
use std::sync::Arc;

/// Calibration text is cut into windows of this many tokens, each passed alone (METHOD, "Figures measured here").
pub(crate) const WINDOW: usize = 512;

/// Cuts tokens into windows: those to calibrate on, the first `limit` tokens or so, and what is held back for measuring.
/// A text of less than that gives a fifth of its windows to measuring, one of a single window none.
pub(crate) fn windows(tokens: &[u32], limit: usize) -> (Vec<&[u32]>, Vec<&[u32]>) {
    let mut windows: Vec<&[u32]> = tokens.chunks(WINDOW).collect();
    let wanted = limit.div_ceil(WINDOW);
    let held_back = windows.len().saturating_sub(wanted).max(windows.len() / 5);
    let held_back = windows.split_off(windows.len() - held_back);
    (windows, held_back)
}

/// The first `limit` tokens of a text, in whole windows where there is one.
pub(crate) fn text_tokens(model: &Model, text: &str, limit: usize) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    let options = EncodeOptions { add_special: false, parse_special: false };
    model.tokenizer().encode(text, options, &mut tokens)?;
    if tokens.is_empty() {
        return Err(Error::new(Status::InvalidArgument, "the calibration text is empty"));
    }
    tokens.truncate(limit);
    if tokens.len() > WINDOW {
        tokens.truncate(tokens.len() / WINDOW * WINDOW);
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

/// About `limit` tokens written by the model itself, at temperature 1 from a fixed seed: calibration for want of a text.
pub(crate) fn own_tokens(
    model: &Arc<Model>,
    limit: usize,
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<u32>> {
    let window = WINDOW.min(model.config().context_length).min(limit);
    let options = SessionOptions { context: window, threads, ..SessionOptions::default() };
    let mut session = Session::open(model.clone(), &options)?;
    let mut tokens = Vec::new();
    progress.begin("writing calibration text", limit as u64);
    for (round, opening) in OPENINGS.iter().cycle().take(limit.div_ceil(window)).enumerate() {
        session.reset();
        session.set_sampling(Sampling { temperature: 1.0, top_p: 0.95, seed: round as u64, ..Sampling::default() })?;
        let mut prompt = Vec::new();
        let options = EncodeOptions { add_special: true, parse_special: false };
        model.tokenizer().encode(opening, options, &mut prompt)?;
        prompt.truncate(window);
        session.prefill(&prompt)?;
        progress.advance(prompt.len() as u64);
        while session.tokens().len() < window {
            session.step()?;
            progress.advance(1);
        }
        tokens.extend_from_slice(session.tokens());
    }
    progress.end();
    Ok(tokens)
}
