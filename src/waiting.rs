//! How the threads of a pool wait for each other: a matter of microseconds, unless one of them has lost its core.
//!
//! A thread that waits watches, and then yields its core to whoever has use for it. On a machine with other work that
//! is a bad bargain: the core comes back after milliseconds, and a token waits well over a hundred times. Whoever
//! sleeps is woken at once. So threads sleep in place of yielding as long as the machine is found to be crowded
//! (`docs/lab/2026-11-29-busy-machine.md`).

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a waiting thread looks before it starts to yield its core. At about 40 ns a look this covers the few
/// microseconds between two forks of one step; a thread that waits longer has been descheduled or has unequal work.
/// (Miri runs one thread at a time.)
const LOOKS_BEFORE_YIELD: u32 = if cfg!(miri) { 20 } else { 2_000 };

/// How often it looks on a crowded machine before it sleeps.
const LOOKS_BEFORE_SLEEP: u32 = if cfg!(miri) { 5 } else { 500 };

/// A yield that lasts so long gave the core to other work: the machine is crowded.
const LONG_YIELD: Duration = Duration::from_micros(100);

/// For so many regions of the pool, after which it is found out anew.
const CROWDED_REGIONS: u32 = 64;

#[derive(Default)]
pub(crate) struct Waiting {
    /// Regions to come in which the machine is taken to be crowded.
    crowded: AtomicU32,
    /// Threads that sleep, or are about to.
    asleep: AtomicU32,
    sleepers: Mutex<()>,
}

impl Waiting {
    /// Held by whoever looks whether to sleep, and by whoever changes what sleepers look at outside of regions.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until `done`, of which `alarm` tells.
    pub(crate) fn sleep(&self, alarm: &Condvar, done: impl Fn() -> bool) {
        let mut guard = self.lock();
        while !done() {
            guard = alarm.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until `done`. What makes it true is followed by [`wake`](Waiting::wake) with the same `alarm`.
    pub(crate) fn wait(&self, alarm: &Condvar, done: impl Fn() -> bool) {
        let mut looks = 0;
        while !done() {
            looks += 1;
            let crowded = self.crowded.load(Ordering::Relaxed) > 0;
            if looks < if crowded { LOOKS_BEFORE_SLEEP } else { LOOKS_BEFORE_YIELD } {
                std::hint::spin_loop();
            } else if crowded {
                self.asleep.fetch_add(1, Ordering::Relaxed);
                // Either `wake` sees that somebody sleeps, or what was stored before it is seen here.
                fence(Ordering::SeqCst);
                self.sleep(alarm, &done);
                self.asleep.fetch_sub(1, Ordering::Relaxed);
            } else {
                let start = Instant::now();
                std::thread::yield_now();
                if start.elapsed() > LONG_YIELD {
                    self.crowded.store(CROWDED_REGIONS, Ordering::Relaxed);
                }
            }
        }
    }

    /// Wakes those that wait for what has just been stored, if they sleep.
    pub(crate) fn wake(&self, alarm: &Condvar) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) > 0 {
            // Whoever looked before the store is asleep once the lock is free.
            drop(self.lock());
            alarm.notify_all();
        }
    }

    /// A region begins. Called by one thread at a time.
    pub(crate) fn forget_a_little(&self) {
        let crowded = self.crowded.load(Ordering::Relaxed);
        self.crowded.store(crowded.saturating_sub(1), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn take_for_crowded(&self) {
        self.crowded.store(u32::MAX, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_crowded_machine_a_thread_sleeps_and_is_woken() {
        let (waiting, alarm, value) = (Waiting::default(), Condvar::new(), AtomicU32::new(0));
        waiting.take_for_crowded();
        std::thread::scope(|scope| {
            let until = |wanted| waiting.wait(&alarm, || value.load(Ordering::Acquire) >= wanted);
            let others = [1, 1, 2].map(|wanted| scope.spawn(move || until(wanted)));
            for (stored, sleeping) in [(0, 3), (1, 1), (2, 0)] {
                value.store(stored, Ordering::Release);
                waiting.wake(&alarm);
                let there = || waiting.asleep.load(Ordering::Relaxed) == sleeping;
                let pause = || std::thread::sleep(Duration::from_millis(1));
                assert!(
                    (0..10_000).any(|_| there() || {
                        pause();
                        false
                    }),
                    "{sleeping} are to sleep at {stored}"
                );
            }
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }

    #[test]
    fn crowds_are_forgotten() {
        let waiting = Waiting::default();
        waiting.crowded.store(2, Ordering::Relaxed);
        let left = [(); 4].map(|()| {
            waiting.forget_a_little();
            waiting.crowded.load(Ordering::Relaxed)
        });
        assert_eq!(left, [1, 0, 0, 0]);
    }
}
