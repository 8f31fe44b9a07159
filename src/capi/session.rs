//! Sessions: opening, settings, what they hold and what they have done.

use super::handle::{HANDLE, rasp_session, with_session};
use super::*;
use crate::arena::MemorySource;
use crate::session::{KvType, Session, SessionOptions};
use crate::{HostJobs, OwnThreads};
use std::ptr::NonNull;
use std::time::Duration;

/// Keys and values are cached as IEEE half-precision floats.
pub const RASP_KV_F16: u32 = 0;
/// Keys and values are cached as 32-bit floats.
pub const RASP_KV_F32: u32 = 1;
/// Keys and values in 8 bits, a scale for each head and position.
pub const RASP_KV_I8: u32 = 2;

/// A host's job system: calls job(data, part) for every part from 0 to parts - 1, each once, in any order, one after
/// the other or side by side, on any threads, and returns when all have returned. What comes out does not depend on it,
/// to the bit. It is called from the thread that uses the session, a hundred times and more for a token; it must not
/// unwind, and must not use the session.
///
/// A part that is run twice or not at all makes the call that is under way return INVALID_STATE; data must not be used
/// once the session is closed.
pub type rasp_run_callback = Option<
    unsafe extern "C" fn(context: *mut c_void, job: extern "C" fn(*mut c_void, u32), data: *mut c_void, parts: u32),
>;

/// How a session is opened. Initialise with rasp_session_options_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_session_options {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// Tokens there is room for; 0: the model's own limit, but at most 4096.
    pub context: u32,
    /// Threads that work during a call, the caller's included; 1 (the default) starts none.
    pub threads: u32,
    /// Prompt tokens that pass through the model together; 0: 128. More costs memory, fewer costs speed.
    pub batch: u32,
    /// RASP_KV_F16, RASP_KV_F32 or RASP_KV_I8.
    pub kv_type: u32,
    /// 0 (the default): every layer holds keys and values of all tokens. 1: layers that attend to a window (Gemma 3,
    /// Mistral) hold those of their window alone, and of batch tokens more: less memory where the context is longer
    /// (ask rasp_session_plan), and the same tokens and logits. What needs keys and values that are gone then returns
    /// OUT_OF_RANGE and changes nothing: a rasp_session_rewind by more than about batch tokens, a rasp_session_shift
    /// that keeps tokens which windows still reach, and whatever goes on after a prompt of more than batch tokens was
    /// cancelled or failed (rewind to 0 and prefill anew). Forks must be opened alike, and states restored into a
    /// session opened alike. Models without such layers are not affected. (Called reserved in headers before this was.)
    pub windows_alone: u32,
    /// Memory of the host's that the session is to live in, aligned as rasp_session_plan says (whatever malloc gives
    /// is). It is the session's until that is closed; what it held does not matter. NULL: the session allocates its
    /// own.
    pub memory: *mut c_void,
    /// Bytes at memory: at least the size that rasp_session_plan says.
    pub memory_size: usize,
    /// The host's job system, which runs the parts that work is cut into, as many as threads; then the session starts
    /// no threads of its own. NULL: none.
    pub run: rasp_run_callback,
    /// What run is called with.
    pub run_context: *mut c_void,
    /// Processors that threads of the session's own are pinned to, one bit each: the first thread to the lowest, and so
    /// on, round again if there are more threads. 0 (the default): none. The calling thread stays where it is. Linux
    /// and Android; UNSUPPORTED elsewhere.
    pub cpus: u64,
    /// Nanoseconds that threads of the session's own watch for the next call before they sleep, at most a second. 0
    /// (the default): they sleep at once, and waking them takes some tens of microseconds.
    pub spin_ns: u64,
    /// Room for so many drafts in a pass, at most RASP_DRAFTS_MAX; 0 (the default): none. Drafts are guesses at the
    /// next tokens. They pass along with the token in hand, at little more than its price, and while they are right a
    /// step only samples: the same tokens and logits, to the bit, sooner. They are looked up in the context, which pays
    /// where an answer quotes, edits or repeats, and where a constraint leaves no choice they are what must come;
    /// rasp_session_set_drafts says otherwise. Each takes the memory of its logits, 4 bytes a token of the vocabulary
    /// (ask rasp_session_plan), and some hundred bytes that opening allocates besides.
    pub drafts: u32,
    /// Room for LoRA adapters, see rasp_session_set_adapters: the sum of the ranks (rasp_adapter_info.rank) of those
    /// that are set at a time; 0 (the default): none. It takes 12 bytes a rank and token of the batch, which
    /// rasp_session_plan counts, and some hundred bytes that opening allocates besides. (Called reserved in headers
    /// before this was.)
    pub adapter_rank: u32,
}

// SAFETY: six u32s, then pointers and a size of their width, four in all, then two u64s and two u32s: no padding. What
// is not zero in `run` is a function, by the promise of whoever passes the struct.
unsafe impl Versioned for rasp_session_options {
    const NAME: &'static str = "rasp_session_options";
    const FIRST: usize = 24 + 2 * size_of::<usize>();
    fn initial() -> Self {
        rasp_session_options {
            struct_size: size_of::<Self>() as u32,
            context: 0,
            threads: 1,
            batch: 0,
            kv_type: RASP_KV_F16,
            windows_alone: 0,
            memory: std::ptr::null_mut(),
            memory_size: 0,
            run: None,
            run_context: std::ptr::null_mut(),
            cpus: 0,
            spin_ns: 0,
            drafts: 0,
            adapter_rank: 0,
        }
    }
}
const _: () = assert!(size_of::<rasp_session_options>() == 48 + 4 * size_of::<usize>());

/// A second: what watches longer had better sleep.
const LONGEST_SPIN: u64 = 1_000_000_000;

impl rasp_session_options {
    /// What they ask for, and where.
    pub(super) fn read(&self) -> Result<(SessionOptions, MemorySource)> {
        if self.windows_alone > 1 {
            let message = format_args!("rasp_session_options.windows_alone is {}, not 0 or 1", self.windows_alone);
            return Err(Error::new(Status::InvalidArgument, message));
        }
        if self.spin_ns > LONGEST_SPIN {
            let message = format_args!("spin_ns is {}; at most {LONGEST_SPIN}", self.spin_ns);
            return Err(Error::new(Status::InvalidArgument, message));
        }
        let kv_type = match self.kv_type {
            RASP_KV_F16 => KvType::F16,
            RASP_KV_F32 => KvType::F32,
            RASP_KV_I8 => KvType::I8,
            other => return Err(Error::new(Status::InvalidArgument, format_args!("kv_type is {other}"))),
        };
        let memory = match NonNull::new(self.memory.cast::<u8>()) {
            Some(start) => MemorySource::Host(start, self.memory_size),
            None if self.memory_size == 0 => MemorySource::Own,
            None => return Err(null("memory")),
        };
        let options = SessionOptions {
            context: self.context as usize,
            threads: self.threads as usize,
            batch: self.batch as usize,
            kv_type,
            windows_alone: self.windows_alone == 1,
            drafts: self.drafts as usize,
            adapter_rank: self.adapter_rank as usize,
            own: OwnThreads { cpus: self.cpus, spin: Duration::from_nanos(self.spin_ns) },
            // SAFETY: what the header asks of a rasp_run_callback.
            jobs: self.run.map(|run| unsafe { HostJobs::new(run, self.run_context) }),
        };
        Ok((options, memory))
    }
}

/// What a session has done and what it takes. Initialise with rasp_stats_init, fill with rasp_session_get_stats.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_stats {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// Tokens in the context, one that was sampled last included.
    pub tokens: u32,
    /// Tokens there is room for.
    pub context: u32,
    /// Sparsity of decoded tokens.
    pub sparsity: f32,
    /// Bytes of memory the session takes, its own or the host's: the size that rasp_session_plan says.
    pub memory: u64,
    /// Tokens that were decoded (not prefilled) since the session was opened or its statistics were cleared.
    pub decoded_tokens: u64,
    /// Bytes of linear weights these have read.
    pub linear_bytes_read: u64,
    /// Those bytes as a share of what as many dense tokens would have read; 1 if there were none.
    pub kept: f64,
    /// Bytes of the head that were read since then: for the last token of each prompt all of it, for a token decoded
    /// greedily a third to somewhat more than half.
    pub head_bytes_read: u64,
    /// Units of work done since then, see rasp_prefill_within.
    pub units: u64,
    /// Tokens since then that took longer than the deadline, see rasp_session_set_deadline.
    pub late_tokens: u64,
    /// Drafts that have passed since then, see rasp_session_options.drafts.
    pub drafted_tokens: u64,
    /// Those that were right: tokens among decoded_tokens that took no pass of their own.
    pub accepted_tokens: u64,
    /// Bytes of keys and values that the session reads in memory which it shares with forks, see rasp_session_fork;
    /// they are not among those of memory. 0 if it shares none.
    pub shared_bytes: u64,
}

// SAFETY: four 32-bit numbers, then 64-bit numbers: no padding.
unsafe impl Versioned for rasp_stats {
    const NAME: &'static str = "rasp_stats";
    const FIRST: usize = 48;
    fn initial() -> Self {
        rasp_stats {
            struct_size: size_of::<Self>() as u32,
            tokens: 0,
            context: 0,
            sparsity: 0.0,
            memory: 0,
            decoded_tokens: 0,
            linear_bytes_read: 0,
            kept: 1.0,
            head_bytes_read: 0,
            units: 0,
            late_tokens: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            shared_bytes: 0,
        }
    }
}
const _: () = assert!(size_of::<rasp_stats>() == 96);

/// Sets options to their defaults, but for what came after spin_ns. NULL is allowed and does nothing.
///
/// Programs that were compiled with a header in which spin_ns was the last field call this; those that are compiled
/// with this one call rasp_session_options_init_2, by a macro of this name.
///
/// # Safety
/// options is NULL or points to a rasp_session_options, or to as much of one as ends with spin_ns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_options_init(options: *mut rasp_session_options) {
    // SAFETY: by the caller's promise there is room for as much.
    unsafe { init(options, std::mem::offset_of!(rasp_session_options, drafts)) }
}

/// Sets options to their defaults; written rasp_session_options_init. NULL is allowed and does nothing.
///
/// # Safety
/// options is NULL or points to a rasp_session_options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_options_init_2(options: *mut rasp_session_options) {
    // SAFETY: by the caller's promise.
    unsafe { init(options, size_of::<rasp_session_options>()) }
}

/// Prepares stats for rasp_session_get_stats, but for what came after late_tokens. NULL is allowed and does nothing.
///
/// Programs that were compiled with a header in which late_tokens was the last field call this; those that are compiled
/// with this one call rasp_stats_init_3, by a macro of this name.
///
/// # Safety
/// stats is NULL or points to a rasp_stats, or to as much of one as ends with late_tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_stats_init(stats: *mut rasp_stats) {
    // SAFETY: by the caller's promise there is room for as much.
    unsafe { init(stats, std::mem::offset_of!(rasp_stats, drafted_tokens)) }
}

/// As rasp_stats_init, of programs that were compiled with a header in which accepted_tokens was the last field.
///
/// # Safety
/// stats is NULL or points to a rasp_stats, or to as much of one as ends with accepted_tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_stats_init_2(stats: *mut rasp_stats) {
    // SAFETY: by the caller's promise there is room for as much.
    unsafe { init(stats, std::mem::offset_of!(rasp_stats, shared_bytes)) }
}

/// Prepares stats for rasp_session_get_stats; written rasp_stats_init. NULL is allowed and does nothing.
///
/// # Safety
/// stats is NULL or points to a rasp_stats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_stats_init_3(stats: *mut rasp_stats) {
    // SAFETY: by the caller's promise.
    unsafe { init(stats, size_of::<rasp_stats>()) }
}

/// Opens a session over a model. options may be NULL for the defaults. The session keeps the model alive.
///
/// Allocates once, as much as rasp_session_plan says, or nothing if options.memory is given; and starts the threads
/// that were asked for, which take memory of their own. Later calls allocate nothing.
///
/// Threads do not come along when a process forks: in the child, calls on a session that has some return INVALID_STATE.
/// Whatever the caller's floating-point environment is (rounding, flushing to zero, traps), calls compute in the
/// default one, and give the caller's back when they return.
///
/// On success *session is the new session, to be closed with rasp_session_close; on an error it is NULL. Errors:
/// INVALID_ARGUMENT, OUT_OF_RANGE, OUT_OF_MEMORY, BUFFER_TOO_SMALL (options.memory_size; the message says what is
/// needed).
///
/// # Safety
/// model is NULL or alive; options is NULL or initialised, and options.memory NULL or valid for reads and writes of
/// memory_size bytes, which nobody else uses until the session is closed; session and error are NULL or valid for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_open(
    model: *const rasp_model,
    options: *const rasp_session_options,
    session: *mut *mut rasp_session,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let place = Out::new(session, "session")?;
            place.set(std::ptr::null_mut());
            let model = super::model::model(model)?;
            let (options, memory) = super::options(options)?.read()?;
            place.set(rasp_session::born(Session::open_behind(HANDLE, model.clone(), &options, memory)?));
            Ok(Status::Ok)
        })
    }
}

/// Closes a session, ends its threads and frees its memory; memory of the host's is the host's again. NULL is allowed
/// and does nothing. RASP_OK, unless another thread is inside a call on the session: then INVALID_STATE, and the
/// session stays open (best effort: see to it that no call can begin). A session that is closed is not used afterwards;
/// see rasp_free for what is checked of that. Does not allocate.
///
/// # Safety
/// session is NULL or open; it is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_close(session: *mut rasp_session) -> rasp_status {
    // SAFETY: null is allowed for the error; the rest below.
    unsafe {
        guard(std::ptr::null_mut(), || {
            if !session.is_null() {
                handle::close(session)?;
            }
            Ok(Status::Ok)
        })
    }
}

/// Forgets all tokens. Settings stay; random numbers start anew. Does not allocate. Errors: INVALID_STATE,
/// INVALID_ARGUMENT.
///
/// # Safety
/// session is NULL or open; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_reset(session: *mut rasp_session, error: *mut rasp_error) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_session(session, |session| {
                session.reset();
                Ok(Status::Ok)
            })
        })
    }
}

/// Sets how sparse decoded tokens are from now on: 0 is dense, up to the model's max_sparsity. A session starts with
/// the model's default_sparsity. Where weights are whole numbers, linears whose rows are too short to gain by leaving
/// some out are read whole; rasp_stats counts what is read. Does not allocate. Errors:
/// OUT_OF_RANGE (naming the range), INVALID_STATE, INVALID_ARGUMENT.
///
/// # Safety
/// session is NULL or open; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_sparsity(
    session: *mut rasp_session,
    sparsity: f32,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_session(session, |session| session.set_sparsity(sparsity))?;
            Ok(Status::Ok)
        })
    }
}

/// The logits after the last token that passed through the model: *logits points to *count finite numbers, one a token
/// of the vocabulary, valid until the next call on this session. After a greedy rasp_step, which finds its token
/// without them, this call computes them. Does not allocate. Errors: INVALID_STATE (no prompt yet), INVALID_ARGUMENT,
/// NON_FINITE.
///
/// # Safety
/// session is NULL or open; logits, count and error are NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_logits(
    session: *mut rasp_session,
    logits: *mut *const f32,
    count: *mut usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let (logits, count) = (Out::new(logits, "logits")?, Out::new(count, "count")?);
            logits.set(std::ptr::null());
            count.set(0);
            with_session(session, |session| {
                let found = session.logits()?;
                logits.set(found.as_ptr());
                count.set(found.len());
                Ok(Status::Ok)
            })
        })
    }
}

/// Tells what a session has done and what it takes. Does not allocate. Errors: INVALID_ARGUMENT, INVALID_STATE.
///
/// # Safety
/// session is NULL or open; stats is NULL or initialised; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_get_stats(
    session: *mut rasp_session,
    stats: *mut rasp_stats,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let (now, sparsity) = with_session(session, |session| Ok((session.stats(), session.sparsity())))?;
            let filled = rasp_stats {
                // A context is at most the model's, below 2^24.
                tokens: now.tokens as u32,
                context: now.context as u32,
                sparsity,
                memory: now.memory as u64,
                decoded_tokens: now.traffic.tokens,
                linear_bytes_read: now.traffic.linear_bytes,
                kept: now.kept,
                head_bytes_read: now.head_bytes,
                units: now.units,
                late_tokens: now.late_tokens,
                drafted_tokens: now.drafts.drafted,
                accepted_tokens: now.drafts.accepted,
                shared_bytes: now.shared as u64,
                ..rasp_stats::initial()
            };
            fill(stats, &filled)
        })
    }
}

/// Starts the count of decoded tokens and bytes read anew. Does not allocate. Errors: INVALID_ARGUMENT, INVALID_STATE.
///
/// # Safety
/// session is NULL or open; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_clear_stats(session: *mut rasp_session, error: *mut rasp_error) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            with_session(session, |session| {
                session.clear_stats();
                Ok(Status::Ok)
            })
        })
    }
}
