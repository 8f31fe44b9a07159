//! The thread pool at work within a budget, and what is remembered of work that was interrupted.
//!
//! A pass is a list of stages, a stage a few forks, a fork a list of pieces for each part; a piece is one unit of work.
//! How many stages, forks and pieces are done is all that is remembered. Whoever resumes walks the same lists again
//! from the stage on, and what is done is passed over. So the code that computes is written once, as if nothing ever
//! stopped it, and the order of every sum is that of the lists, wherever they are cut.

use super::shared::SharedSlice;
use crate::Result;
use crate::pool::Region;
use crate::session::budget::{Budget, Cancelled, Flow};
use std::sync::atomic::{AtomicBool, Ordering};

/// `u32`s from one part's count to the next one's: a cache line each.
const APART: usize = 16;

/// Elements that the counts of `parts` parts take.
pub(super) fn counts_len(parts: usize) -> usize {
    parts * APART
}

/// Forks of the stage in hand that are done.
#[derive(Default)]
pub(crate) struct ForksDone {
    forks: u32,
}

/// The thread pool, for as long as one call lasts.
pub(crate) struct Work<'a> {
    region: Region<'a>,
    budget: &'a Budget,
    cancel: &'a dyn Cancelled,
    place: &'a mut ForksDone,
    /// Pieces done of the fork in hand, a part: see [`counts_len`].
    counts: &'a mut [u32],
    /// Forks of the stage that this call has come by.
    fork: u32,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        region: Region<'a>,
        budget: &'a Budget,
        cancel: &'a dyn Cancelled,
        place: &'a mut ForksDone,
        counts: &'a mut [u32],
    ) -> Work<'a> {
        Work { region, budget, cancel, place, counts, fork: 0 }
    }

    /// How many parts a job is split into.
    pub(super) fn parts(&self) -> usize {
        self.region.parts()
    }

    /// The stage in hand is done.
    pub(super) fn next_stage(&mut self) {
        self.place.forks = 0;
        self.fork = 0;
    }

    /// A fork of one piece a part, so small that it goes with the unit before it.
    pub(super) fn small(&mut self, job: &(dyn Fn(usize) + Sync)) -> Result<()> {
        self.fork += 1;
        if self.fork > self.place.forks {
            self.region.run(job)?;
            self.place.forks += 1;
        }
        Ok(())
    }

    /// A fork whose parts do their pieces in order, as far as the budget goes.
    pub(super) fn large(&mut self, job: &(dyn Fn(usize, &mut Pieces<'_>) + Sync)) -> Flow {
        self.fork += 1;
        if self.fork <= self.place.forks {
            return Ok(());
        }
        let counts = SharedSlice::new(&mut *self.counts);
        let stopped = AtomicBool::new(false);
        let (budget, cancel) = (self.budget, self.cancel);
        self.region.run(&|part| {
            // SAFETY: each part has a count of its own.
            let done = unsafe { counts.slice(part * APART..part * APART + 1) };
            let mut pieces = Pieces { done: &mut done[0], at: 0, budget, cancel, stopped: false };
            job(part, &mut pieces);
            if pieces.stopped {
                stopped.store(true, Ordering::Relaxed);
            }
        })?;
        if stopped.into_inner() {
            return Err(budget.halt(cancel));
        }
        self.counts.fill(0);
        self.place.forks += 1;
        Ok(())
    }
}

/// The pieces of one part, counted.
pub(super) struct Pieces<'a> {
    done: &'a mut u32,
    /// Pieces come by so far, in the lists of this job.
    at: u32,
    budget: &'a Budget,
    cancel: &'a dyn Cancelled,
    stopped: bool,
}

impl Pieces<'_> {
    /// Does what is not done of a list of pieces, each a unit of work. A job may have several lists; once the budget
    /// has stopped one, nothing of the others is done.
    pub(super) fn each<T>(&mut self, list: impl Iterator<Item = T>, mut work: impl FnMut(T)) {
        for piece in list {
            if self.stopped {
                return;
            }
            self.at += 1;
            if self.at <= *self.done {
                continue;
            }
            if !self.budget.another(self.cancel) {
                self.stopped = true;
                return;
            }
            work(piece);
            *self.done = self.at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;
    use crate::pool::ThreadPool;
    use crate::session::budget::tests::Ticks;
    use crate::session::budget::{Halt, Time};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicU64};
    use std::time::Duration;

    /// Without a budget: each part may have asked before the cancel came, and begins no more than that one piece.
    #[test]
    fn a_cancel_lets_each_part_begin_one_piece_at_most() {
        let budget = Budget::unlimited();
        for (parts, canceller) in [(1, 0), (2, 0), (3, 2)] {
            let mut pool = ThreadPool::new(parts).unwrap();
            for at in [0, 1, 70] {
                let cancel = AtomicBool::new(false);
                let (mut place, mut counts) = (ForksDone::default(), vec![0; counts_len(parts)]);
                let late: Vec<_> = (0..parts).map(|_| AtomicU32::new(0)).collect();
                let units = budget.units();
                let done = AtomicU32::new(0);
                let mut work = Work::new(pool.region(), &budget, &cancel, &mut place, &mut counts);
                let outcome = work.large(&|part, pieces| {
                    pieces.each(0..100_000, |n| {
                        late[part].fetch_add(u32::from(cancel.load(Ordering::Relaxed)), Ordering::Relaxed);
                        done.fetch_add(1, Ordering::Relaxed);
                        if part == canceller && n == at {
                            cancel.store(true, Ordering::Relaxed);
                        }
                    });
                });
                drop(work);
                assert!(matches!(outcome, Err(Halt::Failed(error)) if error.status() == Status::Cancelled));
                assert!(late.iter().all(|late| late.load(Ordering::Relaxed) <= 1), "{late:?}");
                assert_eq!(late[canceller].load(Ordering::Relaxed), 0);
                assert_eq!(budget.units() - units, u64::from(done.into_inner()));
            }
        }
    }

    /// Three forks of which one is small, cut in every way: every piece is done once, in order, by its part.
    #[test]
    fn interrupted_work_is_done_once_and_in_order() {
        let clock = Time::Given(Arc::new(Ticks(AtomicU64::new(0))));
        let cancel = AtomicBool::new(false);
        for parts in [1, 2, 3] {
            for time in [0, 1, 2, 5, 1000] {
                let mut pool = ThreadPool::new(parts).unwrap();
                let (mut place, mut counts) = (ForksDone::default(), vec![0; counts_len(parts)]);
                let small = AtomicU32::new(0);
                let seen: Vec<_> = (0..parts).map(|_| AtomicU32::new(0)).collect();
                let mut calls = 0;
                loop {
                    calls += 1;
                    let budget = Budget::within(&clock, Duration::from_nanos(time));
                    let mut work = Work::new(pool.region(), &budget, &cancel, &mut place, &mut counts);
                    let expect = |part: usize, n: u32| {
                        assert_eq!(seen[part].fetch_add(1, Ordering::Relaxed), n, "part {part}");
                    };
                    let pass = |work: &mut Work<'_>| -> Flow {
                        work.large(&|part, pieces| {
                            pieces.each(0..5, |n| expect(part, n));
                            pieces.each(5..6 + part as u32, |n| expect(part, n));
                        })?;
                        work.small(&|_| {
                            small.fetch_add(1, Ordering::Relaxed);
                        })?;
                        work.large(&|part, pieces| pieces.each(0..3, |n| expect(part, 6 + part as u32 + n)))
                    };
                    let outcome = pass(&mut work);
                    assert!(budget.units() > 0);
                    match outcome {
                        Ok(()) => break,
                        Err(Halt::Pending) => {}
                        Err(Halt::Failed(error)) => panic!("{error}"),
                    }
                }
                assert_eq!(small.into_inner() as usize, parts);
                let pieces: u32 = (0..parts as u32).map(|part| 9 + part).sum();
                assert!(seen.iter().enumerate().all(|(part, n)| n.load(Ordering::Relaxed) == 9 + part as u32));
                if time == 0 {
                    assert_eq!(calls, pieces, "a unit a call");
                }
                if time == 1000 {
                    assert_eq!(calls, 1);
                }
            }
        }
    }
}
