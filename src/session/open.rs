//! Opening a session, and what it will take told before.

use super::budget::Time;
use super::drafts::{Drafts, MAX_DRAFTS};
use super::engine::Engine;
use super::kv_cache::Extent;
use super::pace::Pace;
use super::pass::buffers::EngineMemory;
use super::{Ready, Session, SessionOptions};
use crate::arena::{Arena, Buf, Cutter, List, MemoryPlan, MemorySource, MemoryUse};
use crate::jobs::Claims;
use crate::log::LogLevel;
use crate::model::Model;
use crate::pool::ThreadPool;
use crate::sampling::{LogitsProcessor, Sampler};
use crate::text::TextStream;
use crate::{Error, Result, Status};
use std::ptr::NonNull;
use std::sync::Arc;

const DEFAULT_CONTEXT: usize = 4096;
const DEFAULT_BATCH: usize = 128;

/// The memory of a [`Session`].
struct SessionMemory {
    engine: EngineMemory,
    sampler: Sampler,
    logits_processor: LogitsProcessor,
    tokens: List<u32>,
    sparsities: Buf<f32>,
    drafts: Drafts,
    /// One, if the host's job system runs the parts.
    claims: Buf<Claims>,
}

impl SessionMemory {
    /// `options` are whole: see [`SessionOptions::complete`].
    fn cut(cutter: &mut Cutter, model: &Model, options: &SessionOptions) -> SessionMemory {
        let &SessionOptions { context, batch, windows_alone, drafts, .. } = options;
        let extent = Extent { context, batch, windows_alone };
        SessionMemory {
            engine: EngineMemory::cut(cutter, model, extent, options),
            sampler: Sampler::cut(cutter, model.config().vocab_size),
            logits_processor: LogitsProcessor::cut(cutter),
            tokens: cutter.part(MemoryUse::Bookkeeping).list(context),
            sparsities: cutter.take(context),
            drafts: Drafts::cut(cutter, context, drafts),
            claims: cutter.part(MemoryUse::Bookkeeping).take(usize::from(options.jobs.is_some())),
        }
    }
}

impl SessionOptions {
    /// The same with its zeros replaced by what they stand for.
    pub fn complete(&self, model: &Model) -> Result<SessionOptions> {
        let limit = model.config().context_length;
        let context = match self.context {
            0 => limit.min(DEFAULT_CONTEXT),
            n if n <= limit => n,
            n => {
                let message = format_args!("a context of {n} tokens; this model was trained for {limit}");
                return Err(Error::new(Status::OutOfRange, message));
            }
        };
        if self.drafts > MAX_DRAFTS {
            let message = format_args!("{} drafts in a pass; at most {MAX_DRAFTS}", self.drafts);
            return Err(Error::new(Status::OutOfRange, message));
        }
        ThreadPool::check(self.threads)?;
        let batch = if self.batch == 0 { DEFAULT_BATCH } else { self.batch }.min(context);
        Ok(SessionOptions { context, batch, ..*self })
    }
}

impl Session {
    /// The memory that a session with these options will take, to the byte. With more than one thread of its own (the
    /// host's job system has none) their stacks, and a few hundred bytes for each, come on top.
    pub fn plan(model: &Model, options: &SessionOptions) -> Result<MemoryPlan> {
        Session::plan_behind(0, model, options)
    }

    /// Opens a session in memory of its own. Opening is all that allocates.
    pub fn open(model: Arc<Model>, options: &SessionOptions) -> Result<Session> {
        Session::open_behind(0, model, options, MemorySource::Own)
    }

    /// Opens a session in `size` bytes of the host's at `memory`, as many as [`plan`](Session::plan) says and aligned
    /// to as much. With one thread it allocates nothing at all.
    ///
    /// # Safety
    /// The memory is initialised, valid for reads and writes, and used by nobody else until the session is dropped.
    pub unsafe fn open_in(
        memory: NonNull<u8>,
        size: usize,
        model: Arc<Model>,
        options: &SessionOptions,
    ) -> Result<Session> {
        Session::open_behind(0, model, options, MemorySource::Host(memory, size))
    }

    /// [`plan`](Session::plan) for [`open_behind`](Session::open_behind).
    pub(crate) fn plan_behind(front: usize, model: &Model, options: &SessionOptions) -> Result<MemoryPlan> {
        let options = options.complete(model)?;
        Arena::plan(front, |cutter| SessionMemory::cut(cutter, model, &options))
    }

    /// Opens a session that leaves the first `front` bytes of its memory to the caller: see [`front`](Session::front).
    pub(crate) fn open_behind(
        front: usize,
        model: Arc<Model>,
        options: &SessionOptions,
        memory: MemorySource,
    ) -> Result<Session> {
        let options = options.complete(&model)?;
        let (arena, memory) = Arena::cut(memory, front, |cutter| SessionMemory::cut(cutter, &model, &options))?;
        let SessionMemory { mut engine, sampler, logits_processor, tokens, sparsities, drafts, claims } = memory;
        engine.own.adapters.reserve()?;
        model.tell(
            LogLevel::Debug,
            format_args!(
                "a session of {} tokens in {} bytes of {} memory: batch {}, threads {}, cache {}",
                options.context,
                arena.memory().size,
                if arena.is_own() { "its own" } else { "the host's" },
                options.batch,
                options.threads,
                options.kv_type.name(),
            ),
        );
        let sparsity = model.default_sparsity();
        let pool = match options.jobs {
            Some(jobs) => ThreadPool::of_host(jobs, options.threads, claims)?,
            None => ThreadPool::of_own(options.threads, options.own)?,
        };
        let engine = Engine::new(model, pool, options.batch, engine);
        let mut session = Session {
            engine,
            sampler,
            logits_processor,
            text: TextStream::new(),
            tokens,
            sparsities,
            options,
            sparsity: 0.0,
            pending: false,
            ready: Ready::Nothing,
            loaded: 0.0,
            job: None,
            units: 0,
            pace: Pace::default(),
            drafts,
            clock: Time::system(),
            arena,
        };
        session.set_sparsity(sparsity)?;
        Ok(session)
    }

    /// The bytes that were left to the caller, aligned to 64. They go with the session.
    pub(crate) fn front(&self) -> NonNull<u8> {
        self.arena.front()
    }
}
