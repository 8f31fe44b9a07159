//! A session: one text in the making over a shared model. All mutable state lives here.

mod adapters;
mod answer;
mod batch;
mod budget;
mod choose;
mod drafts;
mod embed;
mod engine;
#[cfg(test)]
mod forged;
mod fork;
mod job;
mod kv_cache;
mod open;
mod pace;
mod pass;
mod prompt;
mod score;
mod shift;
mod state;
mod step;

pub use crate::arena::MemoryPlan;
pub use crate::pool::MAX_THREADS;
pub use adapters::MAX_ADAPTERS;
pub use answer::{Ended, TextStep};
pub use budget::Clock;
pub use drafts::{DraftOptions, DraftStats, MAX_DRAFTS};
pub use embed::Pooling;
pub use engine::{Observer, Traffic};
pub use kv_cache::KvType;
pub use rasp_kernels::MatRef;
pub use score::{Compared, Passed, Scored, Scorer, Window, divergence};

use crate::arena::{Arena, Buf, List};
use crate::jobs::HostJobs;
use crate::model::Model;
use crate::pool::OwnThreads;
use crate::sampling::{LogitsProcessor, Sampler, Sampling};
use crate::text::TextStream;
use crate::{Error, Result, Status};
use budget::Time;
use drafts::Drafts;
use engine::Engine;
use job::Job;
use pace::Pace;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
    /// Layers that attend to a window (Gemma 3, Mistral) hold its keys and values alone, and those of a batch: less
    /// memory where the context is longer, and the same bits. What asks for others is refused by name: a
    /// [`rewind`](Session::rewind) by more than about a batch, a [`shift`](Session::shift) that keeps tokens which
    /// windows still reach, and whatever goes on after a prompt of more than a batch has been cancelled. Without such
    /// layers it changes nothing.
    pub windows_alone: bool,
    /// Room for so many drafts in a pass, guesses at the next tokens that make a step a matter of sampling where they
    /// are right: at most [`MAX_DRAFTS`]; 0 (the default) is none. Each takes the memory of its logits. They are looked
    /// up in the context unless [`set_drafts`](Session::set_drafts) says otherwise.
    pub drafts: usize,
    /// Room for LoRA adapters: the sum of the largest ranks of those that are set at a time; 0 (the default) is none.
    /// It costs 12 bytes a rank and token of the batch.
    pub adapter_rank: usize,
    /// Runs the parts that work is cut into, as many as `threads`; then the session starts no threads of its own.
    pub jobs: Option<HostJobs>,
    /// How threads of the session's own behave, if it has any.
    pub own: OwnThreads,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            context: 0,
            threads: 1,
            batch: 0,
            kv_type: KvType::F16,
            windows_alone: false,
            drafts: 0,
            adapter_rank: 0,
            jobs: None,
            own: OwnThreads::default(),
        }
    }
}

/// One text in the making: the tokens so far, their cache, and how the next one is chosen.
pub struct Session {
    engine: Engine,
    sampler: Sampler,
    logits_processor: LogitsProcessor,
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
    /// The sparsity whose thresholds the engine has; 0 for none.
    loaded: f32,
    /// The call that is under way, if its budget has interrupted it.
    job: Option<Job>,
    /// Units of work done.
    units: u64,
    pace: Pace,
    drafts: Drafts,
    clock: Time,
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
    /// Bytes of keys and values that it reads besides in memory which it shares with forks; 0 if it shares none.
    pub shared: usize,
    /// Tokens that passed singly since the session was opened or its statistics were cleared, and the bytes of linear
    /// weights they read.
    pub traffic: Traffic,
    /// Those bytes as a share of what as many dense tokens would have read; 1 if there were none.
    pub kept: f64,
    /// Bytes of the head that were read since then, prompts' last tokens included.
    pub head_bytes: u64,
    /// Units of work done since then: what a budget counts, see [`Session::step_within`].
    pub units: u64,
    /// Tokens since then that took longer than the [deadline](Session::set_deadline).
    pub late_tokens: u64,
    /// Drafts since then.
    pub drafts: DraftStats,
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
        self.idle()?;
        self.load_thresholds(sparsity)?;
        self.sparsity = sparsity;
        Ok(())
    }

    /// Has the thresholds of this sparsity at hand; dense tokens need none.
    fn load_thresholds(&mut self, sparsity: f32) -> Result<()> {
        if sparsity != 0.0 && sparsity != self.loaded {
            self.engine.model.thresholds(sparsity, &mut self.engine.own.thresholds)?;
            self.loaded = sparsity;
        }
        Ok(())
    }

    /// The sparsity of decoded tokens.
    pub fn sparsity(&self) -> f32 {
        self.sparsity
    }

    /// Sets how tokens are chosen from now on, and starts the random numbers of its seed.
    pub fn set_sampling(&mut self, sampling: Sampling) -> Result<()> {
        self.idle()?;
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

    /// Tokens that have passed.
    fn passed(&self) -> usize {
        self.tokens.len() - usize::from(self.pending)
    }

    /// Keeps the first `tokens` and forgets those after them; settings stay, and random numbers go on where they are.
    ///
    /// The logits are then those after the last token kept, to the bit. If they are not at hand, that token passes once
    /// more, at the next call that needs them: [`logits`](Session::logits) or [`step`](Session::step), but not
    /// [`prefill`](Session::prefill) or [`decode`](Session::decode).
    pub fn rewind(&mut self, tokens: usize) -> Result<()> {
        self.idle()?;
        if tokens > self.tokens.len() {
            let message = format_args!("cannot keep {tokens} tokens of {}", self.tokens.len());
            return Err(Error::new(Status::OutOfRange, message));
        }
        self.check_rewind(tokens)?;
        if tokens < self.passed() {
            self.ready = if tokens == 0 { Ready::Nothing } else { Ready::Cached };
        }
        if tokens < self.tokens.len() {
            self.engine.ahead.forget();
            self.tokens.truncate(tokens);
            self.pending = false;
            self.text.clear();
        }
        Ok(())
    }

    /// Fails unless the last of so many tokens, which may have to pass again, finds what it attends to.
    fn check_rewind(&self, tokens: usize) -> Result<()> {
        if 0 < tokens && tokens < self.passed() { self.check_reach(tokens - 1) } else { Ok(()) }
    }

    /// Forgets all tokens; settings stay, random numbers start anew.
    pub fn reset(&mut self) {
        self.tokens.clear();
        self.job = None;
        (self.pending, self.ready) = (false, Ready::Nothing);
        self.engine.ahead.forget();
        self.drafts.restart();
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
            shared: self.engine.own.kv.shared_bytes(),
            traffic,
            head_bytes: self.engine.head_bytes,
            units: self.units,
            late_tokens: self.pace.late,
            drafts: self.drafts.stats,
            kept: if dense == 0 { 1.0 } else { traffic.linear_bytes as f64 / dense as f64 },
        }
    }

    /// Starts the count of [`Traffic`] anew.
    pub fn clear_stats(&mut self) {
        self.engine.traffic = Traffic::default();
        self.engine.head_bytes = 0;
        self.units = 0;
        self.pace.late = 0;
        self.drafts.stats = DraftStats::default();
    }

    /// Threads that work during a call, the caller's included.
    pub fn threads(&self) -> usize {
        self.engine.parts()
    }

    /// The process that the session's threads are in, if it has some of its own.
    pub(crate) fn process(&self) -> Option<u32> {
        self.engine.work.pool.process()
    }

    /// Fails unless the windows of a token that passes at this position are held.
    fn check_reach(&self, position: usize) -> Result<()> {
        if self.engine.own.kv.reaches(position) {
            return Ok(());
        }
        let message = format_args!(
            "the session holds the windows of its last tokens alone, and that of token {position} is gone: keep none and \
             prefill anew, or open the session so that it holds all keys and values"
        );
        Err(Error::new(Status::OutOfRange, message))
    }

    /// Fails unless the windows of the tokens so far are held, so that the session can be gone on with elsewhere.
    fn check_windows(&self) -> Result<()> {
        self.passed().checked_sub(1).map_or(Ok(()), |last| self.check_reach(last))
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
                format_args!("token {at} has id {}; the vocabulary has {vocab}", tokens[at]),
            )),
        }
    }

    fn room(&self, more: usize) -> Result<()> {
        self.room_behind(self.tokens.len(), more)
    }

    /// Fails unless there is room for more tokens behind the first `tokens`.
    fn room_behind(&self, tokens: usize, more: usize) -> Result<()> {
        let free = self.tokens.capacity() - tokens;
        if more <= free {
            return Ok(());
        }
        Err(Error::new(
            Status::ContextFull,
            format_args!("{more} tokens for a context with room for {free} more of {}", self.tokens.capacity()),
        ))
    }
}
