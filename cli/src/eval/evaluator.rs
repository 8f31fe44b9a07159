//! Items of tasks in, what came of them out.
//!
//! A continuation is scored as in lm-evaluation-harness: trailing white space of the context moves to the continuation,
//! context and context + continuation are tokenized separately, and the tokens of the second beyond the length of the
//! first are the continuation's. `acc` chooses the highest summed log-likelihood, `acc_norm` the highest divided by the
//! continuation's length in characters without its leading space. A sequence longer than the model's context loses its
//! beginning.

use super::rouge::rouge_l;
use super::task_file::Item;
use super::{Protocol, Setting};
use rasp::session::{Scorer, Window};
use rasp::text::EncodeOptions;
use rasp::{Error, Model, Result, Status};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Tokens of a summary at most.
const SUMMARY_TOKENS: usize = 60;

/// Sequences are cut to this many tokens, or to the model's context if that is less.
const LONGEST: usize = 2048;

/// What came of one item. Its numbers have at most nine digits after the point, so that JSON carries them exactly and a
/// table is the same whether its items were scored now or before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// 1 or 0 for a choice or a greedy match, ROUGE-L for a summary.
    pub acc: f64,
    /// The same with likelihoods divided by length, where that means anything.
    pub acc_norm: Option<f64>,
    /// Log-likelihood of the right continuation, where its perplexity is asked for.
    pub log_prob: Option<f64>,
    /// Tokens that passed sparsely. What choices have in common passes once.
    pub sparse_tokens: u64,
    /// Bytes of linear weights that these read.
    pub sparse_bytes: u64,
}

/// A continuation ready to be scored.
struct Continuation {
    tokens: Vec<u32>,
    /// Tokens of the context.
    prompt: usize,
}

/// Passes items through one model.
pub struct Evaluator {
    model: Arc<Model>,
    scorer: Scorer,
    setting: Setting,
    context: usize,
}

impl Evaluator {
    /// It begins dense.
    pub fn new(model: Arc<Model>, threads: usize) -> Result<Evaluator> {
        let context = model.config().context_length.min(LONGEST);
        let mut scorer = Scorer::exact(model.clone(), context, threads)?;
        scorer.set_sparsity(0.0)?;
        let setting = Setting { sparsity: 0.0, protocol: Protocol::Strict };
        Ok(Evaluator { model, scorer, setting, context })
    }

    /// Fails for a sparsity that the file does not reach.
    pub fn set(&mut self, setting: Setting) -> Result<()> {
        self.scorer.set_sparsity(setting.sparsity)?;
        self.setting = setting;
        Ok(())
    }

    pub fn item(&mut self, item: &Item) -> Result<Outcome> {
        let (acc, acc_norm, log_prob) = match item {
            Item::Choice { pairs, gold } => {
                let sums: Vec<f64> = self.likelihoods(pairs)?.into_iter().map(|(sum, _)| sum).collect();
                let length = |text: &str| text.strip_prefix(' ').unwrap_or(text).chars().count().max(1) as f64;
                let norms: Vec<f64> = sums.iter().zip(pairs).map(|(sum, (_, text))| sum / length(text)).collect();
                let right = |values: &[f64]| f64::from(u8::from(best(values) == *gold));
                (right(&sums), Some(right(&norms)), None)
            }
            Item::Greedy { context, continuation } => {
                let pair = (context.clone(), continuation.clone());
                let (sum, greedy) = self.likelihoods(&[pair])?[0];
                (f64::from(u8::from(greedy)), None, Some(rounded(sum)))
            }
            Item::Summary { prompt, summary } => (rounded(rouge_l(&self.summarize(prompt)?, summary)), None, None),
        };
        let traffic = self.scorer.take_traffic();
        Ok(Outcome { acc, acc_norm, log_prob, sparse_tokens: traffic.tokens, sparse_bytes: traffic.linear_bytes })
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        let options = EncodeOptions { add_special: false, parse_special: false };
        self.model.tokenizer().encode(text, options, &mut tokens)?;
        Ok(tokens)
    }

    /// Each continuation's log-likelihood after its context, and whether greedy decoding yields it.
    fn likelihoods(&mut self, pairs: &[(String, String)]) -> Result<Vec<(f64, bool)>> {
        let tails = pairs.iter().map(|(context, end)| self.tail(context, end)).collect::<Result<Vec<_>>>()?;
        let windows = tails.iter().map(|Continuation { tokens, prompt }| Window {
            tokens,
            sparse_from: self.setting.sparse_from(tokens.len(), *prompt),
            scored_from: *prompt,
        });
        let scores = self.scorer.score_ends(&windows.collect::<Vec<_>>())?;
        let sum = |scores: &Vec<rasp::session::Scored>| {
            (scores.iter().map(|s| s.log_prob).sum(), scores.iter().all(|s| s.greedy))
        };
        Ok(scores.iter().map(sum).collect())
    }

    fn tail(&self, context: &str, continuation: &str) -> Result<Continuation> {
        let mut tokens = self.tokens(&format!("{context}{continuation}"))?;
        let prompt = self.tokens(context.trim_end())?.len();
        let from = tokens.len().saturating_sub(self.context);
        tokens.drain(..from);
        let prompt = prompt.saturating_sub(from);
        if prompt == 0 || prompt >= tokens.len() {
            let message = format!("the continuation {continuation:?} has no tokens of its own, or its context none");
            return Err(Error::new(Status::BadFile, message));
        }
        Ok(Continuation { tokens, prompt })
    }

    /// A greedy summary: the first line the model writes after the prompt that is not blank.
    fn summarize(&mut self, prompt: &str) -> Result<String> {
        let tokens = self.tokens(prompt)?;
        let room = self.context.saturating_sub(SUMMARY_TOKENS);
        if room == 0 {
            let message = format!("a context of {} tokens has no room for a prompt and a summary", self.context);
            return Err(Error::new(Status::InvalidArgument, message));
        }
        let tokens = &tokens[tokens.len().saturating_sub(room)..];
        let dense = self.setting.sparse_from(tokens.len(), tokens.len());
        let tokenizer = self.model.tokenizer();
        let (mut bytes, mut left) = (Vec::new(), SUMMARY_TOKENS);
        self.scorer.continue_greedily(tokens, dense, |token| {
            if tokenizer.is_end(token) {
                return false;
            }
            bytes.extend_from_slice(tokenizer.token_bytes(token).unwrap_or_default());
            left -= 1;
            left > 0 && !bytes.trim_ascii_start().contains(&b'\n')
        })?;
        let text = String::from_utf8_lossy(&bytes).trim().to_string();
        Ok(text.lines().next().unwrap_or_default().to_string())
    }
}

/// To nine digits after the point.
fn rounded(x: f64) -> f64 {
    (x * 1e9).round() / 1e9
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
    fn json_carries_outcomes_to_the_bit() {
        for x in [-12.345_678_901_234, 1.0 / 3.0, -1e5 / 7.0, 0.0, 1.0] {
            let x = rounded(x);
            let outcome =
                Outcome { acc: x, acc_norm: Some(x), log_prob: None, sparse_tokens: 1, sparse_bytes: u64::MAX };
            let text = serde_json::to_string(&outcome).unwrap();
            assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome, "{text}");
        }
    }
}
