//! The handle of a session, and how a call comes by what is behind it.

use super::turn::Turn;
use super::*;
use crate::pool::ThreadPool;
use crate::session::Session;
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::AtomicBool;

/// One text in the making. It belongs to one thread at a time: a call that meets another one under way on the same
/// session returns INVALID_STATE. rasp_cancel alone may come from any thread at any time.
pub struct rasp_session {
    turn: Turn,
    /// Of the session, beside it: so that `rasp_cancel` need not touch what another call has to itself.
    pub(super) cancel: NonNull<AtomicBool>,
    /// The process that its threads are in, if it has some of its own.
    process: Option<u32>,
    session: UnsafeCell<Session>,
}

/// Bytes at the front of a session's memory, where its handle lies.
pub(super) const HANDLE: usize = size_of::<rasp_session>();
const _: () = assert!(align_of::<rasp_session>() <= 64);

impl rasp_session {
    /// Puts a session that was opened behind [`HANDLE`] bytes there.
    pub(super) fn born(session: Session) -> *mut rasp_session {
        let place = session.front().cast::<rasp_session>().as_ptr();
        let (turn, cancel, process) = (Turn::new(live::HandleKind::Session), session.cancel_flag(), session.process());
        // SAFETY: the front is HANDLE bytes, aligned to 64, and nobody's but the caller's.
        unsafe { place.write(rasp_session { turn, cancel, process, session: UnsafeCell::new(session) }) };
        live::born(live::HandleKind::Session, place);
        place
    }
}

/// The session behind a handle.
///
/// # Safety
/// `session` is null or came from `rasp_session_open` and has not been closed.
pub(super) unsafe fn session<'a>(session: *const rasp_session) -> Result<&'a rasp_session> {
    // SAFETY: by the caller's promise.
    unsafe { live::behind(live::HandleKind::Session, session) }
}

/// Runs `f` with the session, unless another call is using it.
///
/// # Safety
/// As for [`session`].
pub(super) unsafe fn with_session<R>(
    handle: *const rasp_session,
    f: impl FnOnce(&mut Session) -> Result<R>,
) -> Result<R> {
    // SAFETY: by the caller's promise.
    let handle = unsafe { session(handle)? };
    ThreadPool::check_process(handle.process)?;
    // SAFETY: it is this call's turn, so no other one has the session.
    handle.turn.take(|| f(unsafe { &mut *handle.session.get() }))
}

/// Ends a session for good.
///
/// # Safety
/// As for [`session`], and it is not used afterwards.
pub(super) unsafe fn close(handle: *mut rasp_session) -> Result<()> {
    // SAFETY: by the caller's promise.
    let living = unsafe { session(handle) }?;
    ThreadPool::check_process(living.process)?;
    living.turn.last()?;
    live::gone(live::HandleKind::Session, handle);
    // SAFETY: `born` wrote it there, and it is not used afterwards by the caller's promise. It is moved out first, for the
    // memory it lies in goes with it.
    drop(unsafe { handle.read() });
    Ok(())
}

/// Runs `f` with several sessions of one model, of which there is at least one, unless one of them is there twice or
/// another call is using it.
///
/// # Safety
/// As for [`session`], of each.
pub(super) unsafe fn with_sessions<R>(
    handles: &[*mut rasp_session],
    f: impl FnOnce(&mut dyn Iterator<Item = &mut Session>) -> Result<R>,
) -> Result<R> {
    let mut turns = Turns { handles, taken: 0, broken: false };
    for (n, &handle) in handles.iter().enumerate() {
        let here = |error: Error| error.context(format_args!("session {n}"));
        // SAFETY: by the caller's promise.
        let session = unsafe { session(handle) }.map_err(here)?;
        ThreadPool::check_process(session.process).map_err(here)?;
        session.turn.begin().map_err(|error| match handles[..n].iter().position(|&other| other == handle) {
            Some(first) => {
                Error::new(Status::InvalidArgument, format_args!("session {n} is session {first} once more"))
            }
            None => here(error),
        })?;
        turns.taken = n + 1;
        // SAFETY: alive, as has been checked; it is this call's turn, and nothing else is borrowed of these sessions yet.
        let (leader, session) = unsafe { (&*(*handles[0]).session.get(), &*session.session.get()) };
        leader.check_fellow(n, session)?;
    }
    // SAFETY: it is this call's turn on all of them, so no other has one, and none is there twice, for it would have been
    // refused its second turn: each is borrowed once.
    let mut sessions = handles.iter().map(|&handle| unsafe { &mut *(*handle).session.get() });
    turns.broken = true;
    let outcome = f(&mut sessions);
    turns.broken = false;
    outcome
}

/// The turns that a call has taken, which end with it.
struct Turns<'a> {
    handles: &'a [*mut rasp_session],
    taken: usize,
    /// Whether a panic has, as far as is known, left the sessions half changed.
    broken: bool,
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        for &handle in &self.handles[..self.taken] {
            // SAFETY: alive, as was checked when its turn was taken.
            unsafe { (*handle).turn.end(self.broken) };
        }
    }
}
