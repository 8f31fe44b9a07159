//! `rasp eval tasks`: accuracy on tasks.
//!
//! A continuation is scored as in lm-evaluation-harness: trailing white space of the context moves to the continuation,
//! context and context + continuation are tokenized separately, and the tokens of the second beyond the length of the
//! first are the continuation's. `acc` chooses the highest summed log-likelihood, `acc_norm` the highest divided by the
//! continuation's length in characters without its leading space. A sequence longer than the model's context loses its
//! beginning.

use super::Protocol;
use super::rouge::rouge_l;
use super::task_file::{self, Item};
use crate::progress::Reporter;
use rasp::session::{KvType, Scorer};
use rasp::text::EncodeOptions;
use rasp::{Error, Model, Result, Session, SessionOptions, Status};
use rasp_packer::Progress;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Tokens of a summary at most.
const SUMMARY_TOKENS: usize = 60;

/// Sequences are cut to this many tokens, or to the model's context if that is less.
const LONGEST: usize = 2048;

#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: PathBuf,
    /// Task files, JSON lines
    #[arg(long = "task", value_name = "FILE", required = true, num_args = 1..)]
    tasks: Vec<PathBuf>,
    /// Items of each task at most
    #[arg(long, value_name = "N", value_parser = crate::parse_count)]
    limit: Option<usize>,
    /// Sparsity of sparse tokens
    #[arg(long, default_value_t = 0.0, value_parser = crate::parse_sparsity)]
    sparsity: f32,
    /// Which tokens are sparse
    #[arg(long, default_value = "strict")]
    protocol: Protocol,
    /// Threads (default: all)
    #[arg(long, value_parser = crate::parse_count)]
    threads: Option<usize>,
    /// Print one JSON list
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let model = crate::load(&args.model)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    // All files are read before the first is scored: a typo in the last should not cost an hour.
    let tasks = args.tasks.iter().map(|path| task_file::read(path, limit)).collect::<Result<Vec<_>>>()?;
    let mut evaluator = Evaluator::new(model, args)?;
    let mut progress = Reporter::new();
    let mut rows = Vec::new();
    for (path, items) in args.tasks.iter().zip(&tasks) {
        let name = task_file::name(path);
        progress.begin(&name, items.len() as u64);
        let mut outcomes = Vec::with_capacity(items.len());
        for (line, item) in items {
            outcomes.push(evaluator.item(item).map_err(|e| e.context(task_file::place(path, *line)))?);
            progress.advance(1);
        }
        progress.end();
        rows.push(row(&name, &outcomes));
    }
    match args.json {
        true => crate::put_json(&Value::Array(rows)),
        false => rows.iter().try_for_each(|row| crate::put(&as_text(row))),
    }
}

/// What came of one item.
struct Outcome {
    /// 1 or 0 for a choice or a greedy match, ROUGE-L for a summary.
    acc: f64,
    /// The same with likelihoods divided by length, where that means anything.
    acc_norm: Option<f64>,
    /// Log-likelihood and tokens of the right continuation, where its perplexity is asked for.
    likelihood: Option<(f64, usize)>,
}

fn row(name: &str, outcomes: &[Outcome]) -> Value {
    let n = outcomes.len() as f64;
    let mean = |f: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(f).sum::<f64>() / n;
    let acc = mean(&|o| o.acc);
    // The standard error of a mean; for outcomes of 0 and 1 it is √(p(1−p)/(n−1)).
    let spread = outcomes.iter().map(|o| (o.acc - acc).powi(2)).sum::<f64>();
    let stderr = if outcomes.len() > 1 { (spread / (n - 1.0) / n).sqrt() } else { 0.0 };
    let norm = outcomes.iter().all(|o| o.acc_norm.is_some()).then(|| mean(&|o| o.acc_norm.unwrap_or(0.0)));
    let mut row = json!({"task": name, "n": outcomes.len(), "acc": acc, "acc_norm": norm, "stderr": stderr});
    let likelihoods: Vec<_> = outcomes.iter().filter_map(|o| o.likelihood).collect();
    if !likelihoods.is_empty() {
        let sum: f64 = likelihoods.iter().map(|l| l.0).sum();
        // A target word is one unit, however many tokens it has, as LAMBADA's perplexity is reported.
        row["ppl"] = json!((-sum / likelihoods.len() as f64).exp());
    }
    row
}

fn as_text(row: &Value) -> String {
    let number = |key: &str| row[key].as_f64().map_or("-".into(), |x| format!("{x:.4}"));
    let ppl = if row["ppl"].is_null() { String::new() } else { format!("  ppl {}", number("ppl")) };
    format!(
        "{:<20} n {:<5} acc {} ± {}  acc_norm {}{ppl}\n",
        row["task"].as_str().unwrap_or_default(),
        row["n"],
        number("acc"),
        number("stderr"),
        number("acc_norm")
    )
}

struct Evaluator {
    model: Arc<Model>,
    scorer: Scorer,
    /// Writes summaries; opened for the first of them.
    session: Option<Session>,
    threads: usize,
    sparsity: f32,
    protocol: Protocol,
    context: usize,
}

impl Evaluator {
    fn new(model: Arc<Model>, args: &Args) -> Result<Evaluator> {
        let context = model.config().context_length.min(LONGEST);
        let threads = args.threads.unwrap_or_else(crate::all_threads);
        let mut scorer = Scorer::exact(model.clone(), context, threads)?;
        scorer.set_sparsity(args.sparsity)?;
        let (sparsity, protocol) = (args.sparsity, args.protocol);
        Ok(Evaluator { model, scorer, session: None, threads, sparsity, protocol, context })
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        let options = EncodeOptions { add_special: false, parse_special: false };
        self.model.tokenizer().encode(text, options, &mut tokens)?;
        Ok(tokens)
    }

    fn item(&mut self, item: &Item) -> Result<Outcome> {
        match item {
            Item::Choice { pairs, gold } => {
                let mut sums = Vec::with_capacity(pairs.len());
                for (context, continuation) in pairs {
                    sums.push(self.likelihood(context, continuation)?.0);
                }
                let length = |text: &str| text.strip_prefix(' ').unwrap_or(text).chars().count().max(1) as f64;
                let norms: Vec<f64> = sums.iter().zip(pairs).map(|(sum, (_, text))| sum / length(text)).collect();
                let right = |values: &[f64]| f64::from(u8::from(best(values) == *gold));
                Ok(Outcome { acc: right(&sums), acc_norm: Some(right(&norms)), likelihood: None })
            }
            Item::Greedy { context, continuation } => {
                let (sum, greedy, tokens) = self.likelihood(context, continuation)?;
                let acc = f64::from(u8::from(greedy));
                Ok(Outcome { acc, acc_norm: None, likelihood: Some((sum, tokens)) })
            }
            Item::Summary { prompt, summary } => {
                let text = self.summarize(prompt)?;
                Ok(Outcome { acc: rouge_l(&text, summary), acc_norm: None, likelihood: None })
            }
        }
    }

    /// The continuation's log-likelihood, whether greedy decoding yields it, and its tokens.
    fn likelihood(&mut self, context: &str, continuation: &str) -> Result<(f64, bool, usize)> {
        let trimmed = context.trim_end();
        let whole = self.tokens(&format!("{context}{continuation}"))?;
        let prompt = self.tokens(trimmed)?.len();
        let from = whole.len().saturating_sub(self.context);
        let (tokens, prompt) = (&whole[from..], prompt.saturating_sub(from));
        if prompt == 0 || prompt >= tokens.len() {
            let message = format!("the continuation {continuation:?} has no tokens of its own, or its context none");
            return Err(Error::new(Status::BadFile, message));
        }
        let sparse_from = match self.sparsity {
            0.0 => tokens.len(),
            _ => self.protocol.sparse_from(tokens.len(), prompt),
        };
        // Score i is of token i + 1.
        let scores = self.scorer.score(tokens, sparse_from)?;
        let scores = &scores[prompt - 1..];
        let sum = scores.iter().map(|s| s.log_prob).sum();
        Ok((sum, scores.iter().all(|s| s.greedy), scores.len()))
    }

    /// A greedy summary: the first line the model writes after the prompt that is not blank. The prompt's sparse tokens
    /// pass one by one, as generated ones do.
    fn summarize(&mut self, prompt: &str) -> Result<String> {
        let tokens = self.tokens(prompt)?;
        let room = self.context.saturating_sub(SUMMARY_TOKENS);
        let tokens = &tokens[tokens.len().saturating_sub(room)..];
        if tokens.is_empty() {
            let message = match room {
                0 => format!("a context of {} tokens has no room for a prompt and a summary", self.context),
                _ => "the prompt is empty".into(),
            };
            return Err(Error::new(Status::InvalidArgument, message));
        }
        let session = match &mut self.session {
            Some(session) => session,
            unopened => {
                let (context, threads) = (self.context, self.threads);
                let options = SessionOptions { context, threads, kv_type: KvType::F32, ..Default::default() };
                unopened.insert(Session::open(self.model.clone(), &options)?)
            }
        };
        session.reset();
        session.set_sparsity(self.sparsity)?;
        let dense = match self.sparsity {
            0.0 => tokens.len(),
            _ => self.protocol.sparse_from(tokens.len(), tokens.len()),
        };
        if dense > 0 {
            session.prefill(&tokens[..dense])?;
        }
        tokens[dense..].iter().try_for_each(|&token| session.decode(token))?;
        let mut bytes = Vec::new();
        for _ in 0..SUMMARY_TOKENS {
            let token = session.step()?;
            if self.model.tokenizer().is_end(token) {
                break;
            }
            bytes.extend_from_slice(self.model.tokenizer().token_bytes(token).unwrap_or_default());
            if bytes.trim_ascii_start().contains(&b'\n') {
                break;
            }
        }
        let text = String::from_utf8_lossy(&bytes).trim().to_string();
        Ok(text.lines().next().unwrap_or_default().to_string())
    }
}

/// The index of the largest, the first on a tie.
fn best(values: &[f64]) -> usize {
    (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_chosen() {
        assert_eq!(best(&[-3.0, -1.0, -1.0, -2.0]), 1);
        assert_eq!(best(&[-1.0]), 0);
    }

    #[test]
    fn the_standard_error_is_the_binomial_one() {
        let outcome = |acc| Outcome { acc, acc_norm: Some(acc), likelihood: None };
        let outcomes: Vec<_> = [1.0, 1.0, 1.0, 0.0].map(outcome).into();
        let row = row("t", &outcomes);
        assert_eq!(row["acc"], 0.75);
        assert!((row["stderr"].as_f64().unwrap() - (0.75f64 * 0.25 / 3.0).sqrt()).abs() < 1e-12);
        let keys: Vec<_> = row.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys.len(), 5);
    }
}
