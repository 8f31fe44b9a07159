//! Scoring a given text: how likely the model finds each of its tokens, dense or sparse.
//!
//! A window of tokens passes in batches, with each sparse token's dropped inputs zeroed. By the fixed order of sums
//! (`docs/design.md`) the bits are those of decoding the window token by token.

use super::engine::{Engine, EngineMemory, Mode, Observer, Traffic, Unobserved};
use super::head::non_finite;
use super::{KvType, SessionOptions};
use crate::arena::{Arena, Memory};
use crate::model::{Group, Layer, Model};
use crate::sampling::argmax;
use crate::team::Team;
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

/// Passes windows of tokens through a model for evaluation and calibration. It samples nothing and remembers nothing
/// from one window to the next.
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
                format!("windows of {} tokens; this model takes 1 to {limit}", options.context),
            ));
        }
        let batch = if options.batch == 0 { 256 } else { options.batch }.min(options.context);
        let widest = model.layers().iter().flat_map(Layer::groups).map(Group::input).max().unwrap_or(0);
        let masked = vec![0.0; batch * widest];
        let whole = model.weight_type().quant().is_some();
        let masked_whole = vec![0; if whole { masked.len() } else { 0 }];
        let logits = vec![0.0; LOGIT_ROWS * model.config().vocab_size];
        let SessionOptions { context, threads, kv_type, .. } = *options;
        let team = Team::new(threads)?;
        let (arena, memory) =
            Arena::cut(Memory::Own, 0, |cutter| EngineMemory::cut(cutter, &model, context, batch, threads, kv_type))?;
        let engine = Engine::new(model, team, batch, memory);
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
            // A threshold below every score: nothing is dropped.
            self.engine.buf.thresholds.fill(-1.0);
            return Ok(());
        }
        model.thresholds(sparsity, &mut self.engine.buf.thresholds)
    }

    /// Sets the threshold of every linear directly, in the order of [`Linear::index`](crate::model::Linear::index).
    pub fn set_thresholds(&mut self, thresholds: &[f32]) -> Result<()> {
        let own = &mut self.engine.buf.thresholds;
        if thresholds.len() != own.len() {
            let message = format!("{} thresholds for {} linears", thresholds.len(), own.len());
            return Err(Error::new(Status::InvalidArgument, message));
        }
        own.copy_from_slice(thresholds);
        Ok(())
    }

    /// Scores the tokens of one window after its first. Tokens pass densely before index `sparse_from`, sparsely from
    /// it on.
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

    /// Hands the logits `[vocab]` after each token of one window to `each`, with the token's index.
    pub fn logits(
        &mut self,
        tokens: &[u32],
        sparse_from: usize,
        mut each: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let vocab = self.engine.model.config().vocab_size;
        self.pass(tokens, sparse_from, &mut Unobserved, |engine, logits, first, count| {
            for start in (0..count).step_by(LOGIT_ROWS) {
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
        self.pass(tokens, sparse_from, observer, |_, _, _, _| Ok(()))
    }

    /// The bytes of linear weights that sparse tokens would have read one by one, since the last call of this.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.engine.traffic)
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.engine.model
    }

    fn pass(
        &mut self,
        tokens: &[u32],
        sparse_from: usize,
        observer: &mut dyn Observer,
        mut batch_done: impl FnMut(&mut Engine, &mut [f32], usize, usize) -> Result<()>,
    ) -> Result<()> {
        let vocab = self.engine.model.config().vocab_size;
        if tokens.len() > self.context {
            let message = format!("a window of {} tokens; the scorer takes {}", tokens.len(), self.context);
            return Err(Error::new(Status::ContextFull, message));
        }
        if let Some(at) = tokens.iter().position(|&t| t as usize >= vocab) {
            let message = format!("token {at} has id {}; the vocabulary has {vocab}", tokens[at]);
            return Err(Error::new(Status::OutOfRange, message));
        }
        let mut first = 0;
        for chunk in tokens.chunks(self.engine.batch()) {
            let (masked, masked_whole) = (&mut *self.masked, &mut *self.masked_whole);
            let mode = Mode::Window { sparse_from: sparse_from.saturating_sub(first), masked, masked_whole };
            self.engine.forward(chunk, first, mode, observer)?;
            batch_done(&mut self.engine, &mut self.logits, first, chunk.len())?;
            first += chunk.len();
        }
        Ok(())
    }
}

/// The log-softmax of `logits` at `token`, summed in f64.
fn scored(logits: &[f32], token: u32) -> Result<Scored> {
    let best = argmax(logits);
    let largest = logits[best as usize];
    let sum: f64 = logits.iter().map(|&l| f64::from((l - largest).exp())).sum();
    let log_prob = f64::from(logits[token as usize] - largest) - sum.ln();
    match log_prob.is_finite() {
        true => Ok(Scored { log_prob, greedy: best == token }),
        false => Err(non_finite()),
    }
}
