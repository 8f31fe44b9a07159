//! Scoring a given text: how likely the model finds each of its tokens, dense or sparse.
//!
//! A window of tokens passes in batches, with each sparse token's dropped inputs zeroed. By the fixed order of sums
//! (`docs/design.md`) the bits are those of decoding the window token by token.

mod compare;

pub use compare::{Compared, Passed, divergence};

use super::engine::{Engine, Observer, Traffic, Unobserved};
use super::kv_cache::Extent;
use super::pass::buffers::EngineMemory;
use super::pass::{Mode, non_finite};
use super::{KvType, SessionOptions};
use crate::arena::{Arena, MemorySource};
use crate::model::{Adapter, Group, Model, WHOLE};
use crate::pool::ThreadPool;
use crate::sampling::argmax;
use crate::{Error, Result, Status};
use std::sync::Arc;

/// Rows of logits computed together.
const LOGIT_ROWS: usize = 16;

/// One token of a scored window, predicted from those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Natural logarithm of its probability.
    pub log_prob: f64,
    /// True if greedy decoding would have chosen it.
    pub greedy: bool,
}

/// A sequence of which only the end is to be scored, see [`Scorer::score_ends`].
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// All its tokens.
    pub tokens: &'a [u32],
    /// Index of the first token that passes sparsely; the model's [`dense_prefix`](crate::format::Recipe::dense_prefix)
    /// passes densely in any case.
    pub sparse_from: usize,
    /// Index of the first token to be scored, at least 1.
    pub scored_from: usize,
}

impl Window<'_> {
    /// Tokens at the beginning of `next` whose keys and values are those that this window has left behind: the same
    /// tokens, each passed as densely as it would be again. The last token of a window never passes, and whoever
    /// predicts the first scored token has to.
    fn shared_with(&self, next: &Window<'_>) -> usize {
        let passed = self.tokens.len().saturating_sub(1);
        let same = self.tokens[..passed].iter().zip(next.tokens).take_while(|(a, b)| a == b).count();
        let alike = match self.sparse_from == next.sparse_from {
            true => same,
            false => same.min(self.sparse_from).min(next.sparse_from),
        };
        alike.min(next.scored_from.saturating_sub(1))
    }
}

/// Passes windows of tokens through a model for evaluation and calibration. It samples nothing and remembers nothing
/// from one call to the next.
pub struct Scorer {
    engine: Engine,
    context: usize,
    /// Inputs with dropped channels zeroed: `[batch, widest input]`
    masked: Vec<f32>,
    /// The same in whole numbers, if the weights are
    masked_whole: Vec<i16>,
    /// `[LOGIT_ROWS, vocab]`
    logits: Vec<f32>,
    /// What the engine lies in; last, so that it goes last.
    _arena: Arena,
}

impl Scorer {
    /// A scorer for windows of at most `options.context` tokens.
    pub fn open(model: Arc<Model>, options: &SessionOptions) -> Result<Scorer> {
        let limit = model.config().context_length;
        if options.context == 0 || options.context > limit {
            return Err(Error::new(
                Status::OutOfRange,
                format_args!("windows of {} tokens; this model takes 1 to {limit}", options.context),
            ));
        }
        let batch = if options.batch == 0 { 256 } else { options.batch }.min(options.context);
        let widest = model.groups().map(Group::input).max().unwrap_or(0);
        let masked = vec![0.0; batch * widest];
        let whole = model.weight_type().quant().is_some();
        let masked_whole = vec![0; if whole { masked.len() } else { 0 }];
        let logits = vec![0.0; LOGIT_ROWS * model.config().vocab_size];
        let context = options.context;
        let pool = ThreadPool::new(options.threads)?;
        // A window may begin anew anywhere.
        let extent = Extent { context, batch, windows_alone: false };
        let options = SessionOptions { drafts: 0, ..*options };
        let (arena, mut memory) =
            Arena::cut(MemorySource::Own, 0, |cutter| EngineMemory::cut(cutter, &model, extent, &options))?;
        memory.own.adapters.reserve()?;
        let engine = Engine::new(model, pool, batch, memory);
        Ok(Scorer { engine, context, masked, masked_whole, logits, _arena: arena })
    }

    /// A scorer with f32 keys and values, for windows of `context` tokens.
    pub fn exact(model: Arc<Model>, context: usize, threads: usize) -> Result<Scorer> {
        let options = SessionOptions { context, threads, kv_type: KvType::F32, ..SessionOptions::default() };
        Scorer::open(model, &options)
    }

    /// Sets the sparsity of sparse tokens, as [`Session::set_sparsity`](super::Session::set_sparsity) does.
    pub fn set_sparsity(&mut self, sparsity: f32) -> Result<()> {
        let model = self.engine.model.clone();
        if sparsity == 0.0 {
            self.engine.own.thresholds.fill(WHOLE);
            return Ok(());
        }
        model.thresholds(sparsity, &mut self.engine.own.thresholds)
    }

    /// Sets the adapters that tokens pass with, as [`Session::set_adapters`](super::Session::set_adapters) does.
    pub fn set_adapters(&mut self, adapters: impl IntoIterator<Item = (Arc<Adapter>, f32)>) -> Result<()> {
        self.engine.own.adapters.set(&self.engine.model, adapters)
    }

    /// Sets the threshold of every linear directly, in the order of [`Linear::index`](crate::model::Linear::index).
    pub fn set_thresholds(&mut self, thresholds: &[f32]) -> Result<()> {
        let own = &mut self.engine.own.thresholds;
        if thresholds.len() != own.len() {
            let message = format_args!("{} thresholds for {} linears", thresholds.len(), own.len());
            return Err(Error::new(Status::InvalidArgument, message));
        }
        own.copy_from_slice(thresholds);
        Ok(())
    }

    /// Scores the tokens of one window after its first. Tokens pass densely before index `sparse_from`, sparsely from
    /// it on (but for the model's dense prefix).
    ///
    /// Returns `tokens.len() - 1` scores.
    pub fn score(&mut self, tokens: &[u32], sparse_from: usize) -> Result<Vec<Scored>> {
        let mut scores = Vec::with_capacity(tokens.len().saturating_sub(1));
        self.logits(tokens, sparse_from, |position, logits| {
            if let Some(&next) = tokens.get(position + 1) {
                scores.push(scored(logits, next)?);
            }
            Ok(())
        })?;
        Ok(scores)
    }

    /// Scores the ends of several windows: one list a window, of its tokens from `scored_from` on. What a window has in
    /// common with the beginning of the one before passes only once, so windows that differ in their ends alone, as the
    /// choices of one question do, cost little more than one. The bits are those of [`score`](Scorer::score).
    ///
    /// Fails for a `scored_from` of 0 or beyond the window.
    pub fn score_ends(&mut self, windows: &[Window<'_>]) -> Result<Vec<Vec<Scored>>> {
        let mut before: Option<&Window<'_>> = None;
        let mut all = Vec::with_capacity(windows.len());
        for window in windows {
            let Window { tokens, sparse_from, scored_from } = *window;
            self.check(tokens)?;
            if !(1..tokens.len()).contains(&scored_from) {
                let message =
                    format_args!("a window of {} tokens cannot be scored from token {scored_from}", tokens.len());
                return Err(Error::new(Status::InvalidArgument, message));
            }
            let start = before.map_or(0, |before| before.shared_with(window));
            let mut scores = Vec::with_capacity(tokens.len() - scored_from);
            let passing = &tokens[..tokens.len() - 1];
            self.logits_from(passing, start, sparse_from, scored_from - 1, |position, logits| {
                scores.push(scored(logits, tokens[position + 1])?);
                Ok(())
            })?;
            all.push(scores);
            before = Some(window);
        }
        Ok(all)
    }

    /// Continues a text greedily: `next` gets the token that the model finds likeliest, and as long as it returns true
    /// the one after it. The text passes as in [`score`](Scorer::score), many tokens at a time, those appended sparsely
    /// and one by one; the tokens are those of a [`Session`](super::Session) that decodes all of it token by token.
    ///
    /// Fails where there is no text, or no room for a token that was asked for.
    pub fn continue_greedily(
        &mut self,
        tokens: &[u32],
        sparse_from: usize,
        mut next: impl FnMut(u32) -> bool,
    ) -> Result<()> {
        self.check(tokens)?;
        if tokens.is_empty() {
            return Err(Error::new(Status::InvalidArgument, "a text of no tokens to continue"));
        }
        let mut last = 0;
        self.pass(tokens, 0, sparse_from, &mut Unobserved, |_, _, _, count| {
            last = count - 1;
            Ok(())
        })?;
        let dense = self.engine.model.recipe().dense_prefix;
        for position in tokens.len().. {
            let token = self.engine.greedy(last)?;
            if !next(token) {
                break;
            }
            if position == self.context {
                let message = format_args!("no room for another token; the scorer takes {}", self.context);
                return Err(Error::new(Status::ContextFull, message));
            }
            let sparse_from = dense.saturating_sub(position);
            self.engine.forward(&[token], position, sparse_from, Mode::Decode, &mut Unobserved)?;
            last = 0;
        }
        Ok(())
    }

    /// Hands the logits `[vocab]` after each token of one window to `each`, with the token's index.
    pub fn logits(
        &mut self,
        tokens: &[u32],
        sparse_from: usize,
        each: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.check(tokens)?;
        self.logits_from(tokens, 0, sparse_from, 0, each)
    }

    /// Passes `tokens`, which were checked, from index `start` on, those before it being in the cache; the logits after
    /// those from index `wanted` on go to `each`.
    fn logits_from(
        &mut self,
        tokens: &[u32],
        start: usize,
        sparse_from: usize,
        wanted: usize,
        mut each: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let vocab = self.engine.model.config().vocab_size;
        self.pass(tokens, start, sparse_from, &mut Unobserved, |engine, logits, first, count| {
            for start in (wanted.saturating_sub(first).min(count)..count).step_by(LOGIT_ROWS) {
                let rows = start..count.min(start + LOGIT_ROWS);
                let logits = &mut logits[..rows.len() * vocab];
                engine.head_many(rows.clone(), logits)?;
                for (row, logits) in rows.zip(logits.chunks_exact(vocab)) {
                    each(first + row, logits)?;
                }
            }
            Ok(())
        })
    }

    /// Passes one window for the observer's sake.
    pub fn observe(&mut self, tokens: &[u32], sparse_from: usize, observer: &mut dyn Observer) -> Result<()> {
        self.check(tokens)?;
        self.pass(tokens, 0, sparse_from, observer, |_, _, _, _| Ok(()))
    }

    /// The bytes of linear weights that sparse tokens would have read one by one, since the last call of this.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.engine.traffic)
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.engine.model
    }

    fn check(&self, tokens: &[u32]) -> Result<()> {
        let vocab = self.engine.model.config().vocab_size;
        if tokens.len() > self.context {
            let message = format_args!("a window of {} tokens; the scorer takes {}", tokens.len(), self.context);
            return Err(Error::new(Status::ContextFull, message));
        }
        if let Some(at) = tokens.iter().position(|&t| t as usize >= vocab) {
            let message = format_args!("token {at} has id {}; the vocabulary has {vocab}", tokens[at]);
            return Err(Error::new(Status::OutOfRange, message));
        }
        Ok(())
    }

    /// Passes `tokens`, which were checked, from index `start` on; those before it are in the cache.
    fn pass(
        &mut self,
        tokens: &[u32],
        start: usize,
        sparse_from: usize,
        observer: &mut dyn Observer,
        mut batch_done: impl FnMut(&mut Engine, &mut [f32], usize, usize) -> Result<()>,
    ) -> Result<()> {
        let mut first = start;
        let dense = self.engine.model.recipe().dense_prefix;
        for chunk in tokens[start..].chunks(self.engine.batch()) {
            let (masked, masked_whole) = (&mut *self.masked, &mut *self.masked_whole);
            let sparse = sparse_from.max(dense).saturating_sub(first);
            self.engine.forward(chunk, first, sparse, Mode::Window { masked, masked_whole }, observer)?;
            // What was asked to be sparse and may not be counts too.
            let asked = sparse_from.saturating_sub(first);
            self.engine.count_dense(sparse.min(chunk.len()).saturating_sub(asked));
            batch_done(&mut self.engine, &mut self.logits, first, chunk.len())?;
            first += chunk.len();
        }
        Ok(())
    }
}

/// The log-softmax of `logits` at `token`.
fn scored(logits: &[f32], token: u32) -> Result<Scored> {
    let best = argmax(logits);
    let largest = logits[best as usize];
    Scored::of(logits, token, best, logits.iter().map(|&l| f64::from((l - largest).exp())).sum())
}

impl Scored {
    /// `best` is the largest logit's index, and `sum` that of the exponentials of all less the largest, in f64.
    fn of(logits: &[f32], token: u32, best: u32, sum: f64) -> Result<Scored> {
        let log_prob = f64::from(logits[token as usize] - logits[best as usize]) - sum.ln();
        match log_prob.is_finite() {
            true => Ok(Scored { log_prob, greedy: best == token }),
            false => Err(non_finite()),
        }
    }
}
