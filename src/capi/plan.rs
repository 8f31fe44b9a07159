//! What a session will take, told before it is opened.

use super::handle::HANDLE;
use super::*;
use crate::session::Session;

/// The memory of a session, to the byte. Initialise with rasp_memory_plan_init, fill with rasp_session_plan. The four
/// parts sum to size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_memory_plan {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// What the address of the session's memory must be a multiple of: never more than malloc's is.
    pub alignment: u32,
    /// Tokens there will be room for: options.context, or what its 0 stands for.
    pub context: u32,
    /// Prompt tokens that will pass together at most: options.batch, or what its 0 stands for.
    pub batch: u32,
    /// Bytes of everything.
    pub size: u64,
    /// Bytes of cached keys and values; they grow with the context.
    pub kv_cache: u64,
    /// Bytes of what passes between the layers; they grow with batch and threads.
    pub activations: u64,
    /// Bytes of logits and of candidates; they are the vocabulary's.
    pub sampling: u64,
    /// Bytes of all else: the handle, tokens, thresholds, flags, and what alignment takes.
    pub bookkeeping: u64,
}

// SAFETY: four u32s, then five u64s: no padding.
unsafe impl Versioned for rasp_memory_plan {
    const NAME: &'static str = "rasp_memory_plan";
    const FIRST: usize = 56;
    fn initial() -> Self {
        rasp_memory_plan {
            struct_size: size_of::<Self>() as u32,
            alignment: 0,
            context: 0,
            batch: 0,
            size: 0,
            kv_cache: 0,
            activations: 0,
            sampling: 0,
            bookkeeping: 0,
        }
    }
}
const _: () = assert!(size_of::<rasp_memory_plan>() == 56);

/// Prepares a plan for rasp_session_plan. NULL is allowed and does nothing.
///
/// # Safety
/// plan is NULL or points to a rasp_memory_plan.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_memory_plan_init(plan: *mut rasp_memory_plan) {
    // SAFETY: by the caller's promise.
    unsafe { init(plan, size_of::<rasp_memory_plan>()) }
}

/// Tells to the byte what a session opened with these options will take, in memory of its own or of the host's
/// (options.memory is not looked at). options may be NULL for the defaults.
///
/// With threads above 1 the session's own threads come on top: their stacks, which the system's default sizes, and a few
/// hundred bytes of bookkeeping for each. With one thread there is nothing else.
///
/// Does not allocate. Safe from any thread. Errors: those of rasp_session_open, but for memory.
///
/// # Safety
/// model is NULL or alive; options is NULL or initialised; plan is NULL or initialised; error is NULL or valid for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_plan(
    model: *const rasp_model,
    options: *const rasp_session_options,
    plan: *mut rasp_memory_plan,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let model = super::model::model(model)?;
            let mut given = super::options(options)?;
            (given.memory, given.memory_size) = (std::ptr::null_mut(), 0);
            let (options, _) = given.read()?;
            let whole = options.complete(model)?;
            let memory = Session::plan_behind(HANDLE, model, &options)?;
            let filled = rasp_memory_plan {
                alignment: memory.alignment as u32,
                // At most the model's context, below 2^24.
                context: whole.context as u32,
                batch: whole.batch as u32,
                size: memory.size as u64,
                kv_cache: memory.kv_cache as u64,
                activations: memory.activations as u64,
                sampling: memory.sampling as u64,
                bookkeeping: memory.bookkeeping as u64,
                ..rasp_memory_plan::initial()
            };
            fill(plan, &filled)
        })
    }
}
