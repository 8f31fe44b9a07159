//! Catching panics without a word on the host's stderr.
//!
//! A panic is a defect of ours; it becomes [`Status::Internal`](crate::Status::Internal) at the C border. Rust's
//! default hook would print it all the same.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::OnceLock;

thread_local! {
    /// How many [`quietly`]s this thread is in. A plain number: nothing to destroy when the thread ends.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `f`; a panic is returned, and is silent once [`silence`] has been called.
pub(crate) fn quietly<R>(f: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    DEPTH.set(DEPTH.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    DEPTH.set(DEPTH.get() - 1);
    outcome
}

/// Makes panics inside [`quietly`] silent, on every thread. Others keep the hook they had. In the shared library this
/// hook is the library's own; a Rust host that does not use the C border is left alone.
pub(crate) fn silence() {
    type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;
    // In a place of its own, so that the new hook captures nothing: boxing it then takes no memory, which would be lost
    // when the shared library is unloaded. (Nor does the default hook.)
    static BEFORE: OnceLock<Hook> = OnceLock::new();
    BEFORE.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(|info| {
            if DEPTH.get() == 0
                && let Some(before) = BEFORE.get()
            {
                before(info);
            }
        }));
        before
    });
}

/// What a panic said.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without a message",
    }
}
