//! How long a call may compute, and how it stops.

use crate::{Error, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where time comes from. Sessions read it between units of work only; results depend on it in one way alone, a
/// [deadline](super::Session::set_deadline).
pub trait Clock: Send + Sync {
    /// Nanoseconds since whenever, never fewer than before. Called from any thread of the session.
    fn now(&self) -> u64;
}

/// The clock of a session.
#[derive(Clone)]
pub(crate) enum Time {
    /// The system's monotonic one, from some moment on.
    System(Instant),
    Given(Arc<dyn Clock>),
}

impl Time {
    pub(crate) fn system() -> Time {
        Time::System(Instant::now())
    }

    pub(crate) fn now(&self) -> u64 {
        match self {
            // 584 years fit.
            Time::System(start) => start.elapsed().as_nanos() as u64,
            Time::Given(clock) => clock.now(),
        }
    }
}

/// What stops a call: the flag of a session, or those of all sessions that share it.
pub(crate) trait Cancelled: Sync {
    /// Whether to stop.
    fn cancelled(&self) -> bool;
}

impl Cancelled for AtomicBool {
    fn cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

/// Why a pass stands still.
pub(crate) enum Halt {
    /// The budget is spent; the next call goes on.
    Pending,
    /// It cannot go on.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Failed(error)
    }
}

/// The result of work that a budget can interrupt.
pub(crate) type Flow<T = ()> = Result<T, Halt>;

/// The units of work that one call may still begin. Shared by the threads of a session.
pub(crate) struct Budget {
    /// A clock, and the reading from which on no unit begins.
    until: Option<(Time, u64)>,
    /// The first unit needs no time, so that every call gets somewhere.
    begun: AtomicBool,
    spent: AtomicBool,
    units: AtomicU64,
}

impl Budget {
    /// As many as there are.
    pub(crate) fn unlimited() -> Budget {
        Budget { until: None, begun: AtomicBool::new(false), spent: AtomicBool::new(false), units: AtomicU64::new(0) }
    }

    /// One, and then those that begin before `time` has passed.
    pub(crate) fn within(clock: &Time, time: Duration) -> Budget {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let until = clock.now().saturating_add(time);
        Budget { until: Some((clock.clone(), until)), ..Budget::unlimited() }
    }

    /// Whether another unit may begin now. Once it says no it does not change its mind.
    pub(crate) fn another(&self, cancel: &dyn Cancelled) -> bool {
        if cancel.cancelled() {
            return false;
        }
        if let Some((clock, until)) = &self.until {
            if self.spent.load(Ordering::Relaxed) {
                return false;
            }
            if self.begun.swap(true, Ordering::Relaxed) && clock.now() >= *until {
                self.spent.store(true, Ordering::Relaxed);
                return false;
            }
        }
        self.units.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The same, with the reason if not.
    pub(crate) fn unit(&self, cancel: &dyn Cancelled) -> Flow {
        if self.another(cancel) { Ok(()) } else { Err(self.halt(cancel)) }
    }

    /// Why no unit may begin.
    pub(crate) fn halt(&self, cancel: &dyn Cancelled) -> Halt {
        match cancel.cancelled() {
            true => Halt::Failed(Error::new(Status::Cancelled, "cancelled by the host")),
            false => Halt::Pending,
        }
    }

    /// Units that have begun.
    pub(crate) fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A clock that goes on by one at every reading.
    pub(crate) struct Ticks(pub(crate) AtomicU64);

    impl Clock for Ticks {
        fn now(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed)
        }
    }

    #[test]
    fn no_unit_begins_after_the_time_but_the_first() {
        let clock = Time::Given(Arc::new(Ticks(AtomicU64::new(100))));
        let never = AtomicBool::new(false);
        for (time, units) in [(0, 1), (1, 1), (2, 2), (7, 7)] {
            let budget = Budget::within(&clock, Duration::from_nanos(time));
            let begun = (0..20).filter(|_| budget.another(&never)).count();
            assert_eq!((begun, budget.units()), (units, units as u64), "{time}");
        }
        let budget = Budget::within(&clock, Duration::MAX);
        assert!((0..1000).all(|_| budget.another(&never)));
    }

    #[test]
    fn what_is_cancelled_begins_nothing() {
        let cancel = AtomicBool::new(true);
        let budget = Budget::unlimited();
        assert!(!budget.another(&cancel));
        cancel.store(false, Ordering::Relaxed);
        assert!(budget.another(&cancel));
        assert_eq!(budget.units(), 1);
    }
}
