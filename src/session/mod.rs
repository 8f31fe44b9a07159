//! A session: one text in the making over a shared model. All mutable state lives here.

mod answer;
mod attention;
mod embed;
mod engine;
#[cfg(test)]
mod forged;
mod fork;
mod head;
mod kv_cache;
mod linear;
mod open;
mod score;
mod shared;
mod shift;
mod state;
mod steer;

pub use crate::arena::MemoryPlan;
pub use answer::Ended;
pub use embed::Pooling;
pub use engine::{Observer, Traffic};
pub use kv_cache::KvType;
pub use rasp_kernels::MatRef;
pub use score::{Scored, Scorer};

use crate::arena::{Arena, Buf, List};
use crate::model::Model;
use crate::sampling::{Sampler, Sampling, Steering};
use crate::text::TextStream;
use crate::{Error, Result, Status};
use engine::{Engine, Mode, Unobserved};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a session is opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionOptions {
    /// Tokens the session has room for; 0 means the model's own limit, but at most 4096.
    pub context: usize,
    /// Threads that work during a call, the caller's included. 1 (the default) starts none.
    pub threads: usize,
    /// Prompt tokens that pass through the model together; 0 means 128. More costs memory, fewer costs speed.
    pub batch: usize,
    /// Element type of the cached keys and values.
    pub kv_type: KvType,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions { context: 0, threads: 1, batch: 0, kv_type: KvType::F16 }
    }
}

/// One text in the making: the tokens so far, their cache, and how the next one is chosen.
pub struct Session {
    engine: Engine,
    sampler: Sampler,
    steering: Steering,
    text: TextStream,
    /// The tokens so far. The last one may not have passed through the model yet: see `pending`.
    tokens: List<u32>,
    /// The sparsity at which each of them passed: `[context]`
    sparsities: Buf<f32>,
    /// As it was opened.
    options: SessionOptions,
    sparsity: f32,
    /// True if the last of `tokens` was sampled and passes through the model at the next call.
    pending: bool,
    /// What there is of the last token that passed.
    ready: Ready,
    /// What all of it lies in; last, so that it goes last.
    arena: Arena,
}

#[derive(Clone, Copy, PartialEq)]
enum Ready {
    Nothing,
    /// Its keys and values alone: it has to pass again, as it passed first, before there are logits.
    Cached,
    /// What the head takes; the logits are computed if they are asked for.
    Hidden,
    Logits,
}

/// What a session has done and what it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Tokens in the context, one sampled but not yet passed through the model included.
    pub tokens: usize,
    /// Tokens there is room for.
    pub context: usize,
    /// Bytes of memory it takes: those that [`Session::plan`] tells before.
    pub memory: usize,
    /// Tokens that passed singly since the session was opened or its statistics were cleared, and the bytes of linear
    /// weights they read.
    pub traffic: Traffic,
    /// Those bytes as a share of what as many dense tokens would have read; 1 if there were none.
    pub kept: f64,
    /// Bytes of the head that were read since then, prompts' last tokens included.
    pub head_bytes: u64,
}

impl Session {
    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.engine.model
    }

    /// The tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Sets how sparse decoded tokens are from now on: 0 is dense, at most
    /// [`max_sparsity`](Model::max_sparsity).
    pub fn set_sparsity(&mut self, sparsity: f32) -> Result<()> {
        if sparsity != 0.0 {
            self.engine.model.thresholds(sparsity, &mut self.engine.buf.thresholds)?;
        }
        self.sparsity = sparsity;
        Ok(())
    }

    /// The sparsity of decoded tokens.
    pub fn sparsity(&self) -> f32 {
        self.sparsity
    }

    /// Sets how tokens are chosen from now on, and starts the random numbers of its seed.
    pub fn set_sampling(&mut self, sampling: Sampling) -> Result<()> {
        self.sampler.set(sampling)
    }

    /// From now on `flag` is what another thread sets to true to make the call in progress, or the next, return
    /// [`Status::Cancelled`]; that call sets it back. The session stays as it was before the call.
    pub fn set_cancel_flag(&mut self, flag: Arc<AtomicBool>) {
        self.engine.cancel.shared = Some(flag);
    }

    /// The flag of a session that was given none. Valid while the session lives, wherever it is moved.
    pub(crate) fn cancel_flag(&self) -> NonNull<AtomicBool> {
        NonNull::from(self.engine.cancel.own())
    }

    /// Appends prompt tokens, densely, many at a time. Afterwards the logits are those after the last one.
    ///
    /// On an error no token has been appended.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<()> {
        let Some(_) = tokens.last() else {
            return Err(Error::new(Status::InvalidArgument, "a prompt of no tokens"));
        };
        self.check(tokens)?;
        // A sampled token that has not passed yet goes first; it is only counted as passed once all have.
        let start = self.tokens.len() - usize::from(self.pending);
        let length = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let outcome = self.pass(start);
        self.settle(outcome, length)?;
        self.sparsities[start..self.tokens.len()].fill(0.0);
        self.begin_answer();
        Ok(())
    }

    fn pass(&mut self, start: usize) -> Result<()> {
        let mut position = start;
        let mut last = 0;
        for chunk in self.tokens[start..].chunks(self.engine.batch()) {
            self.engine.forward(chunk, position, Mode::Prompt, &mut Unobserved)?;
            position += chunk.len();
            last = chunk.len() - 1;
        }
        self.logits_of(last)
    }

    /// Overwrites the logits, the last thing of a pass: an error before it leaves the old ones in place.
    fn logits_of(&mut self, row: usize) -> Result<()> {
        self.ready = Ready::Nothing;
        self.engine.prepare_head(row);
        self.engine.logits()?;
        self.ready = Ready::Logits;
        Ok(())
    }

    /// The same for greedy decoding: the winner alone where that is cheaper, else the logits.
    fn winner_of(&mut self, row: usize) -> Result<Option<u32>> {
        self.ready = Ready::Nothing;
        self.engine.prepare_head(row);
        let winner = self.engine.greedy()?;
        self.ready = Ready::Hidden;
        if winner.is_none() {
            self.complete_logits()?;
        }
        Ok(winner)
    }

    /// Tokens that have passed.
    fn passed(&self) -> usize {
        self.tokens.len() - usize::from(self.pending)
    }

    /// Passes the last token that has passed once more, as it did then, if nothing but its keys and values is left of it.
    fn refresh(&mut self) -> Result<()> {
        if self.ready != Ready::Cached {
            return Ok(());
        }
        let position = self.passed() - 1;
        let sparsity = self.sparsities[position];
        let other = sparsity != 0.0 && sparsity != self.sparsity;
        if other {
            self.engine.model.thresholds(sparsity, &mut self.engine.buf.thresholds)?;
        }
        let mode = Mode::Decode { sparse: sparsity != 0.0 };
        let outcome = self.engine.forward(&self.tokens[position..=position], position, mode, &mut Unobserved);
        if other && self.sparsity != 0.0 {
            self.engine.model.thresholds(self.sparsity, &mut self.engine.buf.thresholds)?;
        }
        self.settle_cancelled(&outcome);
        outcome?;
        self.engine.prepare_head(0);
        self.ready = Ready::Hidden;
        Ok(())
    }

    /// Computes the logits if only what they are computed from is there.
    fn complete_logits(&mut self) -> Result<()> {
        self.refresh()?;
        if self.ready == Ready::Hidden {
            self.ready = Ready::Nothing;
            self.engine.logits()?;
            self.ready = Ready::Logits;
        }
        Ok(())
    }

    /// After a pass: on success everything has passed; on an error the session is as it was.
    fn settle<T>(&mut self, outcome: Result<T>, length: usize) -> Result<T> {
        match &outcome {
            Ok(_) => self.pending = false,
            Err(_) => self.tokens.truncate(length),
        }
        self.settle_cancelled(&outcome);
        outcome
    }

    /// A call that was cancelled takes the flag back.
    fn settle_cancelled<T>(&self, outcome: &Result<T>) {
        if outcome.as_ref().is_err_and(|error| error.status() == Status::Cancelled) {
            self.engine.cancel.store(false, Ordering::Relaxed);
        }
    }

    /// Samples the next token and appends it. The token before it, if it was sampled too, passes through the model
    /// first, at the session's sparsity.
    ///
    /// The first step after a prompt needs no pass: it samples from the prompt's logits.
    pub fn step(&mut self) -> Result<u32> {
        let mut winner = None;
        if self.pending {
            let last = self.tokens.len() - 1;
            winner = match self.sampler.is_greedy() && self.steering.is_idle() {
                true => self.decode_from(last, Self::winner_of)?,
                false => self.decode_from(last, |session, row| session.logits_of(row).map(|()| None))?,
            };
        }
        if self.ready == Ready::Nothing {
            return Err(Error::new(Status::InvalidState, "a step before any token: prefill a prompt first"));
        }
        self.room(1)?;
        let token = match winner {
            Some(token) => token,
            None => self.choose()?,
        };
        self.tokens.push(token);
        self.pending = true;
        Ok(token)
    }

    /// Appends a token of the host's choice, at the session's sparsity. It takes the place of a sampled token that has
    /// not passed through the model yet. Afterwards the logits are those after it.
    pub fn decode(&mut self, token: u32) -> Result<()> {
        let length = self.tokens.len() - usize::from(self.pending);
        if !self.pending {
            self.check(&[token])?;
        } else {
            self.check_ids(&[token])?;
        }
        let replaced = self.tokens.get(length).copied();
        self.tokens.truncate(length);
        self.tokens.push(token);
        let outcome = self.decode_from(length, Self::logits_of);
        if outcome.is_err() {
            self.tokens.truncate(length);
            self.tokens.extend(replaced);
        }
        outcome
    }

    /// Passes the token at `position`, then applies `head` to what came of it.
    fn decode_from<T>(&mut self, position: usize, head: impl Fn(&mut Self, usize) -> Result<T>) -> Result<T> {
        let mode = Mode::Decode { sparse: self.sparsity != 0.0 };
        let token = &self.tokens[position..position + 1];
        let outcome = self.engine.forward(token, position, mode, &mut Unobserved).and_then(|()| head(self, 0));
        let found = self.settle(outcome, self.tokens.len())?;
        self.sparsities[position] = self.sparsity;
        Ok(found)
    }

    /// The logits after the last token that passed through the model: `[vocab]`, finite. After a greedy step they may
    /// have to be computed first.
    pub fn logits(&mut self) -> Result<&[f32]> {
        self.complete_logits()?;
        match self.ready {
            Ready::Logits => Ok(&self.engine.buf.logits),
            _ => Err(Error::new(Status::InvalidState, "no logits before any token: prefill a prompt first")),
        }
    }

    /// Keeps the first `tokens` and forgets those after them; settings stay, and random numbers go on where they are.
    ///
    /// The logits are then those after the last token kept, to the bit. If they are not at hand, that token passes once
    /// more, at the next call that needs them: [`logits`](Session::logits) or [`step`](Session::step), but not
    /// [`prefill`](Session::prefill) or [`decode`](Session::decode).
    pub fn rewind(&mut self, tokens: usize) -> Result<()> {
        if tokens > self.tokens.len() {
            let message = format!("cannot keep {tokens} tokens of {}", self.tokens.len());
            return Err(Error::new(Status::OutOfRange, message));
        }
        if tokens < self.passed() {
            self.ready = if tokens == 0 { Ready::Nothing } else { Ready::Cached };
        }
        if tokens < self.tokens.len() {
            self.tokens.truncate(tokens);
            self.pending = false;
            self.text.clear();
        }
        Ok(())
    }

    /// Forgets all tokens; settings stay, random numbers start anew.
    pub fn reset(&mut self) {
        self.tokens.clear();
        (self.pending, self.ready) = (false, Ready::Nothing);
        self.sampler.restart();
        self.begin_answer();
    }

    /// What the session has done and what it takes.
    pub fn stats(&self) -> Stats {
        let traffic = self.engine.traffic;
        let dense = traffic.tokens * self.engine.model.linear_bytes();
        Stats {
            tokens: self.tokens.len(),
            context: self.tokens.capacity(),
            memory: self.arena.memory().size,
            traffic,
            head_bytes: self.engine.head_bytes,
            kept: if dense == 0 { 1.0 } else { traffic.linear_bytes as f64 / dense as f64 },
        }
    }

    /// Starts the count of [`Traffic`] anew.
    pub fn clear_stats(&mut self) {
        self.engine.traffic = Traffic::default();
        self.engine.head_bytes = 0;
    }

    /// Threads that work during a call, the caller's included.
    pub fn threads(&self) -> usize {
        self.engine.parts()
    }

    fn check(&self, tokens: &[u32]) -> Result<()> {
        self.check_ids(tokens)?;
        self.room(tokens.len())
    }

    fn check_ids(&self, tokens: &[u32]) -> Result<()> {
        let vocab = self.engine.model.config().vocab_size;
        match tokens.iter().position(|&t| t as usize >= vocab) {
            None => Ok(()),
            Some(at) => Err(Error::new(
                Status::OutOfRange,
                format!("token {at} has id {}; the vocabulary has {vocab}", tokens[at]),
            )),
        }
    }

    fn room(&self, more: usize) -> Result<()> {
        let free = self.tokens.capacity() - self.tokens.len();
        if more <= free {
            return Ok(());
        }
        Err(Error::new(
            Status::ContextFull,
            format!("{more} tokens for a context with room for {free} more of {}", self.tokens.capacity()),
        ))
    }
}
