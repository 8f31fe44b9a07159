//! One call at a time on a session or a reply.

use super::live::HandleKind;
use crate::{Error, Result, Status};
use std::sync::atomic::{AtomicU8, Ordering};

/// Whose turn it is to use a handle.
pub(super) struct Turn {
    state: AtomicU8,
    kind: HandleKind,
}

const FREE: u8 = 0;
const BUSY: u8 = 1;
const BROKEN: u8 = 2;

impl Turn {
    pub(super) fn new(kind: HandleKind) -> Turn {
        Turn { state: AtomicU8::new(FREE), kind }
    }

    /// Runs `f` if nothing else is running, and nothing that ran has panicked: a panic may have left a handle half
    /// changed, which is memory-safe but computes nobody knows what.
    pub(super) fn take<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        self.begin()?;
        /// Ends the turn, also when `f` panics.
        struct TurnGuard<'a>(&'a Turn, bool);
        impl Drop for TurnGuard<'_> {
            fn drop(&mut self) {
                self.0.end(self.1);
            }
        }
        let mut end = TurnGuard(self, true);
        let outcome = f();
        end.1 = false;
        outcome
    }

    /// Takes a turn for good. A handle whose call panicked can be closed as well.
    pub(super) fn last(&self) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            BROKEN => Ok(()),
            _ => self.begin(),
        }
    }

    /// Takes a turn, which somebody has to [`end`](Turn::end).
    pub(super) fn begin(&self) -> Result<()> {
        let what = self.kind.name();
        match self.state.compare_exchange(FREE, BUSY, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(BROKEN) => {
                let end = if self.kind == HandleKind::Session { "close it" } else { "free it" };
                let message = format_args!("an earlier call on the {what} failed with an internal error: {end}");
                Err(Error::new(Status::InvalidState, message))
            }
            Err(_) => Err(Error::new(Status::InvalidState, format_args!("the {what} is in use by another thread"))),
        }
    }

    /// Ends a turn; if it is `broken`, there are no others.
    pub(super) fn end(&self, broken: bool) {
        self.state.store(if broken { BROKEN } else { FREE }, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiet::{quietly, silence};

    #[test]
    fn a_turn_is_taken_once_and_given_back() {
        let turn = Turn::new(HandleKind::Session);
        let inner = turn.take(|| turn.take(|| Ok(1)).map(|_| ())).unwrap_err();
        assert!(inner.status() == Status::InvalidState && inner.message().contains("another thread"), "{inner}");
        assert_eq!(turn.take(|| Ok(2)).unwrap(), 2);
        assert!(turn.take(|| Err::<(), _>(Error::new(Status::Io, "on purpose"))).is_err());
        assert_eq!(turn.take(|| turn.last().map_err(|_| ()).map_or(Ok(3), |()| Ok(4))).unwrap(), 3);
        assert!(turn.last().is_ok());
        assert!(turn.take(|| Ok(5)).is_err());
    }

    #[test]
    fn after_a_panic_there_is_no_turn() {
        let turn = Turn::new(HandleKind::Session);
        silence();
        assert!(quietly(|| turn.take::<()>(|| panic!("on purpose"))).is_err());
        let error = turn.take(|| Ok(1)).unwrap_err();
        assert!(error.status() == Status::InvalidState && error.message().contains("close it"), "{error}");
        assert!(turn.last().is_ok());
    }
}
