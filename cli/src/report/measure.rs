//! What a report measures: texts, perplexity and speed, at every setting.

use super::data::{QualitySource, Report, Speed, TaskScore};
use crate::answer::{generate, plain_tokens};
use crate::bench::{self, Samples, Spread};
use crate::eval::evaluator::Evaluator;
use crate::eval::journal::Journal;
use crate::eval::measure::measure;
use crate::eval::table::Cell;
use crate::eval::tasks::{self, Task};
use crate::eval::{Protocol, Setting, ppl};
use crate::progress::Reporter;
use rasp::session::Scorer;
use rasp::text::EncodeOptions;
use rasp::{Error, Model, Result, Session, SessionOptions, Status};
use rasp_packer::Progress;
use std::path::Path;
use std::sync::Arc;

/// Tokens of a window, if the model takes as many.
const WINDOW: usize = 512;
/// Prompt tokens before the decoded ones whose speed is taken.
const SPEED_PROMPT: usize = 32;
/// Rounds that count; one before them brings the file into memory.
const ROUNDS: usize = 3;

/// The greedy continuation of `prompt` at every setting.
pub fn texts(model: &Arc<Model>, report: &mut Report, prompt: &str, count: usize) -> Result<()> {
    let tokens = plain_tokens(model, prompt)?;
    let limit = model.config().context_length;
    if tokens.is_empty() || tokens.len() >= limit {
        let message = format!("--prompt has {} tokens; this model takes 1 to {}", tokens.len(), limit - 1);
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let context = tokens.len().saturating_add(count).min(limit);
    let options = SessionOptions { context, threads: report.threads, ..Default::default() };
    let mut session = Session::open(model.clone(), &options)?;
    let mut progress = Reporter::new();
    progress.begin("writing texts", report.settings.len() as u64);
    for setting in &mut report.settings {
        session.reset();
        session.set_sparsity(setting.sparsity as f32)?;
        session.prefill(&tokens)?;
        let (text, stop) = generate(&mut session, count, |_| Ok(()))?;
        (setting.text, setting.stop) = (text, stop.name());
        progress.advance(1);
    }
    progress.end();
    report.prompt = prompt.to_string();
    Ok(())
}

/// The perplexity of a text at every setting, all tokens sparse, and what they read.
pub fn quality(model: &Arc<Model>, report: &mut Report, path: &Path, windows: usize) -> Result<()> {
    let ctx = model.config().context_length.min(WINDOW);
    let mut tokens = Vec::new();
    let options = EncodeOptions { add_special: false, parse_special: false };
    model.tokenizer().encode(&crate::read_text(path)?, options, &mut tokens)?;
    let bos = model.tokenizer().leading_bos();
    let whole = || ppl::windows(&tokens, ctx, bos);
    let count = whole().len().min(windows);
    if count == 0 {
        let message = format!("{} has {} tokens, a window takes {ctx}", path.display(), tokens.len());
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let mut scorer = Scorer::exact(model.clone(), ctx, report.threads)?;
    let mut progress = Reporter::new();
    progress.begin("scoring windows", (count * report.settings.len()) as u64);
    let settings = strict(report);
    let measured = measure(&mut scorer, whole().take(count), &settings, 1, &mut progress)?;
    for (setting, measured) in report.settings.iter_mut().zip(measured) {
        (setting.perplexity, setting.kept) = (Some(measured.nll.exp()), Some(measured.kept));
        setting.sparse = measured.sparse;
    }
    progress.end();
    let text = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    report.quality = Some(QualitySource { text, windows: count, ctx });
    Ok(())
}

/// The report's settings, every token sparse.
fn strict(report: &Report) -> Vec<Setting> {
    let strict = |sparsity| Setting { sparsity, protocol: Protocol::Strict };
    report.settings.iter().map(|setting| strict(setting.sparsity as f32)).collect()
}

/// What tasks come to at every setting, all tokens sparse, and by how much that is above dense.
pub fn tasks(model: &Arc<Model>, report: &mut Report, tasks: &[Task]) -> Result<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    let mut evaluator = Evaluator::new(model.clone(), report.threads)?;
    let (mut progress, mut journal) = (Reporter::new(), Journal::default());
    // The first setting is dense.
    let mut dense: Option<Vec<Cell>> = None;
    for (n, setting) in strict(report).into_iter().enumerate() {
        evaluator.set(setting)?;
        let what = format!("{} ", report.settings[n].name());
        let cells = tasks::cells(tasks, &what, "", setting, &mut evaluator, &mut journal, &mut progress)?;
        let scores = cells.iter().enumerate().map(|(n, cell)| {
            let (metric, score) = cell.score();
            let above_dense = dense.as_ref().map(|dense| cell.above(&dense[n]));
            TaskScore { task: cell.task.clone(), n: cell.outcomes.len(), metric, score, above_dense }
        });
        report.settings[n].tasks = scores.collect();
        dense.get_or_insert(cells);
    }
    Ok(())
}

/// Decode speed at every setting, as `rasp bench` measures it: all of them once a round.
pub fn speed(model: &Arc<Model>, report: &mut Report, count: usize) -> Result<()> {
    let limit = model.config().context_length;
    // One token of room is for the sample of the prompt's logits.
    let prompt = SPEED_PROMPT.min(limit / 2).max(1);
    let count = count.min(limit.saturating_sub(prompt + 1)).max(1);
    let options = SessionOptions { context: prompt + count + 1, threads: report.threads, ..Default::default() };
    let mut session = Session::open(model.clone(), &options)?;
    let prompt = bench::prompt(model, prompt)?;
    let mut samples: Vec<Samples> = report.settings.iter().map(|s| Samples::new(s.sparsity as f32)).collect();
    let mut progress = Reporter::new();
    progress.begin("measuring speed", ((ROUNDS + 1) * samples.len()) as u64);
    for round in 0..=ROUNDS {
        for samples in &mut samples {
            bench::measure(&mut session, &prompt, count, samples, round > 0)?;
            progress.advance(1);
        }
    }
    progress.end();
    for (setting, samples) in report.settings.iter_mut().zip(&samples) {
        let Spread { median, min, max } = Spread::of(&samples.decode);
        setting.speed = Some(Speed {
            tok_s: median,
            tok_s_min: min,
            tok_s_max: max,
            kept: samples.kept,
            bytes_per_token: samples.bytes_per_token,
        });
    }
    Ok(())
}
