//! The host's own say in the choice of a token.

use std::ffi::c_void;

/// What a [`LogitsCallback`] returns to have the token sampled from the logits as it left them.
pub const SAMPLE: i32 = -1;

/// Looks at the logits before a token is sampled: `(context, logits, vocab, tokens, count)`. It may change the `vocab`
/// logits, and returns [`SAMPLE`] or the id of the token that it chose itself. The `count` tokens are those so far.
pub type LogitsFunction = unsafe extern "C" fn(*mut c_void, *mut f32, usize, *const u32, usize) -> i32;

/// A function of the host's and what it is called with.
#[derive(Clone, Copy, Debug)]
pub struct LogitsCallback {
    /// Called once a sampled token, on the thread that asked for the token.
    pub function: LogitsFunction,
    /// Handed to the function; nothing else is done with it.
    pub context: *mut c_void,
}

// SAFETY: the context is never looked at, only handed to the function; whoever sets a callback promises
// (`Session::set_logits_callback`) that the function can be called on every thread that uses the session.
unsafe impl Send for LogitsCallback {}
// SAFETY: as above; and a shared callback cannot be called, since calling takes the sampler to oneself.
unsafe impl Sync for LogitsCallback {}

impl LogitsCallback {
    /// What the function said.
    pub(crate) fn call(&self, logits: &mut [f32], tokens: &[u32]) -> i32 {
        // SAFETY: both slices are whole and live during the call; the rest is the promise of who set the callback.
        unsafe { (self.function)(self.context, logits.as_mut_ptr(), logits.len(), tokens.as_ptr(), tokens.len()) }
    }
}
