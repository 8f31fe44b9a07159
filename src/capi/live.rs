//! Which handles are alive, in builds that check it: debug builds, and any with the feature `handle-checks`.
//!
//! A handle that was freed cannot be asked whether it was: its memory may be anybody's by now, and a magic word in it
//! would have to be read after the free. So the living are kept in a list beside them, and a call on a handle that is
//! not in it is an error that touches nothing. Best effort all the same: a handle freed by another thread in the middle
//! of a call, or whose address a new handle has taken, is not noticed.
//!
//! The list is the one thing in the process that outlives a call. Without the checks it does not exist, and a handle is
//! checked for null only.

use crate::Result;

/// The types of handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HandleKind {
    /// `rasp_model`
    Model,
    /// `rasp_session`
    Session,
    /// `rasp_constraint`
    Constraint,
    /// `rasp_adapter`
    Adapter,
    /// `rasp_reply`
    Reply,
}

impl HandleKind {
    /// What an error calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            HandleKind::Model => "model",
            HandleKind::Session => "session",
            HandleKind::Constraint => "constraint",
            HandleKind::Adapter => "adapter",
            HandleKind::Reply => "reply",
        }
    }
}

#[cfg(any(test, debug_assertions, feature = "handle-checks"))]
mod list {
    use super::HandleKind;
    use crate::{Error, Result, Status};
    use std::collections::BTreeSet;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    static LIVE: Mutex<BTreeSet<(HandleKind, usize)>> = Mutex::new(BTreeSet::new());

    fn live() -> MutexGuard<'static, BTreeSet<(HandleKind, usize)>> {
        // A set is whole whoever panicked while holding it.
        LIVE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in super::super) fn born<T>(kind: HandleKind, handle: *const T) {
        live().insert((kind, handle.addr()));
    }

    pub(in super::super) fn gone<T>(kind: HandleKind, handle: *const T) {
        live().remove(&(kind, handle.addr()));
    }

    pub(super) fn is_live(kind: HandleKind, address: usize) -> Result<()> {
        if live().contains(&(kind, address)) {
            return Ok(());
        }
        let maker = match kind {
            HandleKind::Model => "rasp_load",
            HandleKind::Session => "rasp_session_open",
            HandleKind::Constraint => "rasp_constraint_new",
            HandleKind::Adapter => "rasp_adapter_load",
            HandleKind::Reply => "rasp_reply_new",
        };
        let what = kind.name();
        Err(Error::new(
            Status::InvalidArgument,
            format_args!("{what} is no live handle: it was given back already, or never came from {maker}"),
        ))
    }
}

#[cfg(not(any(test, debug_assertions, feature = "handle-checks")))]
mod list {
    use super::HandleKind;
    use crate::Result;

    pub(in super::super) fn born<T>(_: HandleKind, _: *const T) {}

    pub(in super::super) fn gone<T>(_: HandleKind, _: *const T) {}

    pub(super) fn is_live(_: HandleKind, _: usize) -> Result<()> {
        Ok(())
    }
}

pub(super) use list::{born, gone};

/// What is behind a handle. Only shared references to it are ever made.
///
/// # Safety
/// `handle` is null, or came from the library as one of this kind and has not been given back.
pub(super) unsafe fn behind<'a, T>(kind: HandleKind, handle: *const T) -> Result<&'a T> {
    if handle.is_null() {
        return Err(super::null(kind.name()));
    }
    check(kind, handle)?;
    // SAFETY: not null, alive by the caller's promise.
    Ok(unsafe { &*handle })
}

/// Fails if the handle, which is not null, is known to be dead.
pub(super) fn check<T>(kind: HandleKind, handle: *const T) -> Result<()> {
    list::is_live(kind, handle.addr())
}
