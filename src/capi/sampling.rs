//! How the next token is chosen.

use super::*;
use crate::sampling::Sampling;

/// How the next token is chosen. Initialise with rasp_sampling_init: greedy. Applied in this order: repetition penalty,
/// top_k, temperature, top_p, min_p, and a draw.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_sampling {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// Divides the logits, 0 to 100; 0 is greedy: the largest logit, the lowest id on a tie.
    pub temperature: f32,
    /// Only the top_k largest logits stay; 0: all.
    pub top_k: u32,
    /// Only the fewest tokens whose probabilities sum to at least top_p stay, above 0 to 1; 1: all.
    pub top_p: f32,
    /// Only tokens at least min_p times as likely as the likeliest stay, 0 to 1; 0: all.
    pub min_p: f32,
    /// Logits of recent tokens are divided by this if positive, multiplied if negative, 0.01 to 100; 1: none.
    pub repetition_penalty: f32,
    /// How many of the latest tokens are recent.
    pub repetition_window: u32,
    /// Always 0.
    pub reserved: u32,
    /// Where the random numbers start: the same seed, model and prompt give the same tokens.
    pub seed: u64,
}

// SAFETY: eight 32-bit numbers and a u64 at a multiple of 8: no padding.
unsafe impl Versioned for rasp_sampling {
    const NAME: &'static str = "rasp_sampling";
    const FIRST: usize = 40;
    fn initial() -> Self {
        let s = Sampling::default();
        rasp_sampling {
            struct_size: size_of::<Self>() as u32,
            temperature: s.temperature,
            top_k: s.top_k,
            top_p: s.top_p,
            min_p: s.min_p,
            repetition_penalty: s.repetition_penalty,
            repetition_window: s.repetition_window,
            reserved: 0,
            seed: s.seed,
        }
    }
}
const _: () = assert!(size_of::<rasp_sampling>() == 40);

/// Sets sampling to its defaults: greedy. NULL is allowed and does nothing.
///
/// # Safety
/// sampling is NULL or points to a rasp_sampling.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_sampling_init(sampling: *mut rasp_sampling) {
    if !sampling.is_null() {
        // SAFETY: by the caller's promise.
        unsafe { sampling.write(rasp_sampling::initial()) }
    }
}

/// Sets how tokens are chosen from now on, and starts the random numbers of its seed. NULL: greedy. Does not allocate.
/// Errors: INVALID_ARGUMENT (naming the field), INVALID_STATE.
///
/// # Safety
/// session is NULL or open; sampling is NULL or initialised; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_sampling(
    session: *mut rasp_session,
    sampling: *const rasp_sampling,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let s = options(sampling)?;
            if s.reserved != 0 {
                return Err(Error::new(Status::InvalidArgument, "rasp_sampling.reserved is not 0"));
            }
            let settings = Sampling {
                temperature: s.temperature,
                top_k: s.top_k,
                top_p: s.top_p,
                min_p: s.min_p,
                repetition_penalty: s.repetition_penalty,
                repetition_window: s.repetition_window,
                seed: s.seed,
            };
            with_session(session, |session| session.set_sampling(settings))?;
            Ok(Status::Ok)
        })
    }
}
