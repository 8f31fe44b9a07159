//! Thresholds from text: one pass of the dense model, watching what enters each linear.

use crate::histogram::Histogram;
use crate::plan::Plan;
use crate::progress::Progress;
use rasp::model::{GroupKind, Model};
use rasp::session::{MatRef, Observer, Scorer, Session, SessionOptions};
use rasp::text::EncodeOptions;
use rasp::{Error, Result, Sampling, Status};
use std::sync::Arc;

/// Calibration text is cut into windows of this many tokens, each passed alone (METHOD, "Figures measured here").
const WINDOW: usize = 512;

/// Counts the score `|x_j|·c_j` of every channel of every linear.
struct ScoreHistograms {
    model: Arc<Model>,
    histograms: Vec<Histogram>,
}

impl Observer for ScoreHistograms {
    fn group_input(&mut self, layer: usize, group: GroupKind, x: MatRef<'_>) {
        let layer = &self.model.layers()[layer];
        let group = layer.groups()[group as usize];
        for linear in group.linears() {
            let histogram = &mut self.histograms[linear.index()];
            for row in 0..x.rows() {
                match linear.score() {
                    Some(score) => x.row(row).iter().zip(score).for_each(|(x, c)| histogram.add(x.abs() * c)),
                    None => x.row(row).iter().for_each(|x| histogram.add(x.abs())),
                }
            }
        }
    }
}

/// The thresholds of every linear at every rung: the quantile of its scores over all tokens and channels that leaves the
/// planned share above it.
pub(crate) fn thresholds(
    model: &Arc<Model>,
    plan: &Plan,
    tokens: &[u32],
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<Vec<f32>>> {
    let window = WINDOW.min(model.config().context_length);
    let histograms = plan.linears.iter().map(|_| Histogram::new()).collect();
    let mut observer = ScoreHistograms { model: model.clone(), histograms };
    let mut scorer = Scorer::exact(model.clone(), window, threads)?;
    progress.begin("calibrating", tokens.len() as u64);
    for window in tokens.chunks(window) {
        scorer.observe(window, window.len(), &mut observer)?;
        progress.advance(window.len() as u64);
    }
    progress.end();
    let quantiles = |(plan, histogram): (&crate::plan::LinearPlan, &Histogram)| {
        plan.channels.iter().map(|share| histogram.quantile(1.0 - share)).collect()
    };
    Ok(plan.linears.iter().zip(&observer.histograms).map(quantiles).collect())
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
