//! A pool of threads that splits one job into equal parts and waits for all of them.
//!
//! A decoded token forks well over a hundred times, so a fork must cost about a microsecond: during a [`Region`] (one
//! prefill, one step) the workers watch a counter. Outside of it they are asleep in the kernel and cost nothing. The
//! thread that calls is part 0, so a thread pool of one has no threads. Or the host's job system runs the parts.

use crate::arena::Buf;
use crate::float_env::FloatEnv;
use crate::jobs::{Claims, ErasedJob, HostJobs, Round};
use crate::kept::Kept;
use crate::quiet::quietly;
use crate::thread::{self, Run, Thread};
use crate::waiting::Waiting;
use crate::{Error, Result, Status};
use std::cell::UnsafeCell;
use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Threads of a session at most: more than any machine this library is for; a guard against a garbage option.
pub const MAX_THREADS: usize = 256;

struct PoolState {
    /// The job of the current round; written only while no worker is in a round.
    job: UnsafeCell<Option<ErasedJob>>,
    /// Counts rounds; a change starts one.
    round: AtomicU32,
    /// Workers that have not started yet, later those that have not finished the current round.
    busy: AtomicUsize,
    /// True during a parallel region: workers watch instead of sleeping.
    awake: AtomicBool,
    stop: AtomicBool,
    panicked: AtomicBool,
    /// A thread could not be pinned.
    unpinned: AtomicBool,
    waiting: Waiting,
    /// Rung for workers: a region or a round begins, or a region ends.
    alarm: Condvar,
    /// Rung for the leader: the last worker has finished.
    finished: Condvar,
}

impl PoolState {
    /// A worker has started, or finished its part.
    fn finish(&self) {
        if self.busy.fetch_sub(1, Ordering::Release) == 1 {
            self.waiting.wake(&self.finished);
        }
    }
}

// SAFETY: `job` is written by the leader only while `busy` is 0 (no worker reads it), and read by workers only after
// they have seen the new `round` with Acquire, which the leader stored with Release after writing `job`.
unsafe impl Sync for PoolState {}
// SAFETY: the raw pointer in `job` refers to a `Sync` closure and is dereferenced only while `run` keeps it alive.
unsafe impl Send for PoolState {}

/// How threads of our own behave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnThreads {
    /// The processors that they are pinned to, one bit each: the first thread of our own to the lowest, and so on,
    /// round again if there are more threads. 0: none. The calling thread stays where it is.
    pub cpus: u64,
    /// How long they watch for the next call before they sleep. Waking a thread takes some tens of microseconds.
    pub spin: Duration,
}

impl OwnThreads {
    /// The processor of part `part`, which is at least 1.
    fn cpu_of(self, part: usize) -> Option<usize> {
        let cpus = || (0..u64::BITS as usize).filter(|cpu| self.cpus >> cpu & 1 == 1);
        cpus().nth((part - 1) % cpus().count().max(1))
    }
}

/// Pins this thread to a processor; false if that cannot be.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn pin(cpu: usize) -> bool {
    // SAFETY: a set of bits, of which none is a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is below 64, and the set has 1024.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is read only, for as many bytes as it has; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0 }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn pin(_: usize) -> bool {
    false
}

/// What a worker is started with.
struct Post {
    shared: *const PoolState,
    part: usize,
    own: OwnThreads,
}

// SAFETY: the pointer leads to what is `Sync`, and is followed by the worker alone, while the thread pool keeps it.
unsafe impl Send for Post {}
// SAFETY: as above.
unsafe impl Sync for Post {}

/// A fixed number of parts, run side by side by threads of its own or by the host's job system.
pub(crate) struct ThreadPool {
    /// One, where there are threads; they point to it.
    shared: Kept<PoolState>,
    /// What the workers were started with, one each; they point to it.
    posts: Kept<Post>,
    workers: Vec<Thread>,
    host: Option<Round>,
    /// The process that its threads are of.
    process: u32,
}

/// What there may be no memory for.
const THREADS: &str = "the threads of a session";

impl ThreadPool {
    /// A thread pool of `threads` parts: the caller and `threads - 1` threads of its own.
    pub(crate) fn new(threads: usize) -> Result<ThreadPool> {
        ThreadPool::of_own(threads, OwnThreads::default())
    }

    /// A thread pool without threads of its own.
    fn alone(host: Option<Round>) -> ThreadPool {
        let (shared, posts) = (Kept::none(), Kept::none());
        ThreadPool { shared, posts, workers: Vec::new(), host, process: std::process::id() }
    }

    /// The same, its threads as `own` says.
    pub(crate) fn of_own(threads: usize, own: OwnThreads) -> Result<ThreadPool> {
        ThreadPool::check(threads)?;
        let mut pool = ThreadPool::alone(None);
        if threads == 1 {
            return Ok(pool);
        }
        pool.shared = Kept::new(1, THREADS, |_| PoolState {
            job: UnsafeCell::new(None),
            round: AtomicU32::new(0),
            busy: AtomicUsize::new(threads - 1),
            awake: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            unpinned: AtomicBool::new(false),
            waiting: Waiting::default(),
            alarm: Condvar::new(),
            finished: Condvar::new(),
        })?;
        let shared: *const PoolState = &pool.shared[0];
        pool.posts = Kept::new(threads - 1, THREADS, |index| Post { shared, part: index + 1, own })?;
        pool.workers.try_reserve_exact(threads - 1).map_err(|_| Error::out_of_memory(THREADS))?;
        for post in pool.posts.iter() {
            // SAFETY: the posts and what they point to are kept, and are not written, until the thread pool is dropped,
            // which joins the threads first. Dropping the half-built thread pool ends those that it has.
            let worker = unsafe { Thread::start(post, post.part)? };
            pool.workers.push(worker);
        }
        // A thread may allocate while it starts; that must be over when the session is open.
        let shared = &pool.shared[0];
        shared.waiting.wait(&shared.finished, || shared.busy.load(Ordering::Acquire) == 0);
        if shared.unpinned.load(Ordering::Relaxed) {
            let message = format_args!("threads cannot be pinned to all of the processors {:#x}", own.cpus);
            let status = if cfg!(any(target_os = "linux", target_os = "android")) {
                Status::InvalidArgument
            } else {
                Status::Unsupported
            };
            return Err(Error::new(status, message));
        }
        Ok(pool)
    }

    /// A thread pool of `parts` parts that the host runs; it has no threads of its own. `claims` are one.
    pub(crate) fn of_host(jobs: HostJobs, parts: usize, claims: Buf<Claims>) -> Result<ThreadPool> {
        ThreadPool::check(parts)?;
        Ok(ThreadPool::alone(Some(Round::new(jobs, parts, claims))))
    }

    /// Fails on a number of threads that no thread pool has.
    pub(crate) fn check(threads: usize) -> Result<()> {
        if (1..=MAX_THREADS).contains(&threads) {
            return Ok(());
        }
        let message = format_args!("{threads} threads; a session takes 1 to {MAX_THREADS}");
        Err(Error::new(Status::InvalidArgument, message))
    }

    /// How many parts a job is split into.
    pub(crate) fn parts(&self) -> usize {
        self.host.as_ref().map_or(self.workers.len() + 1, Round::parts)
    }

    /// The process that its threads are in, if it has any.
    pub(crate) fn process(&self) -> Option<u32> {
        (!self.workers.is_empty()).then_some(self.process)
    }

    /// Fails in a process that was forked off the one that the threads are in: it has none of them.
    pub(crate) fn check_process(process: Option<u32>) -> Result<()> {
        if process.is_none_or(|process| process == std::process::id()) {
            return Ok(());
        }
        let message = "the session's threads are in the process that opened it, and did not come along when this one was \
                       forked off: open a session here";
        Err(Error::new(Status::InvalidState, message))
    }

    /// Calls the workers to attention; they watch for jobs until the parallel region is dropped.
    pub(crate) fn region(&mut self) -> Region<'_> {
        let here = ThreadPool::check_process(self.process());
        if here.is_err() {
            return Region(self, here);
        }
        if let Some(shared) = self.shared.first() {
            shared.waiting.forget_a_little();
            let guard = shared.waiting.lock();
            shared.awake.store(true, Ordering::Release);
            drop(guard);
            shared.alarm.notify_all();
        }
        Region(self, here)
    }
}

/// A [`ThreadPool`] whose workers are awake: the time of one prefill or step. Or the error that nobody is there to
/// wake.
pub(crate) struct Region<'a>(&'a mut ThreadPool, Result<()>);

impl Drop for Region<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.shared.first() {
            shared.awake.store(false, Ordering::Release);
            shared.waiting.wake(&shared.alarm);
        }
    }
}

impl Region<'_> {
    /// How many parts a job is split into.
    pub(crate) fn parts(&self) -> usize {
        self.0.parts()
    }

    /// Runs `job(part)` for every part, side by side, and returns when all have returned. A panic in any part is
    /// passed on once all parts have ended.
    /// Fails if the host's job system does not run every part just once, and where the threads are another process's.
    pub(crate) fn run(&mut self, job: &(dyn Fn(usize) + Sync)) -> Result<()> {
        self.1.clone()?;
        if let Some(host) = &mut self.0.host {
            return host.run(job);
        }
        let Some(shared) = self.0.shared.first() else {
            job(0);
            return Ok(());
        };
        // SAFETY: only the lifetime is erased. The pointer is used by workers during this round alone, and
        // `WorkersGuard` below keeps this call from returning or unwinding before the round has ended.
        let erased: ErasedJob = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), ErasedJob>(job) };
        // SAFETY: no round is under way (`run` takes `&mut self` and each one waits for its end), so no worker reads.
        unsafe { *shared.job.get() = Some(erased) };
        shared.busy.store(self.0.workers.len(), Ordering::Relaxed);
        shared.round.fetch_add(1, Ordering::Release);
        shared.waiting.wake(&shared.alarm);

        /// Waits for the workers, also when part 0 unwinds.
        struct WorkersGuard<'a>(&'a PoolState);
        impl Drop for WorkersGuard<'_> {
            fn drop(&mut self) {
                self.0.waiting.wait(&self.0.finished, || self.0.busy.load(Ordering::Acquire) == 0);
            }
        }
        let finish = WorkersGuard(shared);
        job(0);
        drop(finish);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("a worker thread panicked"));
        }
        Ok(())
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        if ThreadPool::check_process(self.process()).is_err() {
            // There is nobody to wait for, and whom a lock was left to is not known.
            return;
        }
        if let Some(shared) = self.shared.first() {
            let guard = shared.waiting.lock();
            shared.stop.store(true, Ordering::Release);
            drop(guard);
            shared.alarm.notify_all();
        }
        for worker in self.workers.drain(..) {
            worker.join();
        }
    }
}

impl Run for Post {
    fn run(&self) {
        let Post { shared, part, own } = *self;
        // SAFETY: a thread pool keeps what its posts point to until the threads have been joined.
        let shared = unsafe { &*shared };
        // It lasts as long as the thread does: the host's own, which a new thread takes over, is not wanted here.
        let _standard = FloatEnv::standard();
        thread::name(part);
        if let Some(cpu) = own.cpu_of(part)
            && !pin(cpu)
        {
            shared.unpinned.store(true, Ordering::Relaxed);
        }
        work(shared, part, own.spin);
    }
}

/// A worker's life: sleep, watch, work, until the thread pool ends.
fn work(shared: &PoolState, part: usize, spin: Duration) {
    shared.finish();
    let mut seen = 0;
    loop {
        let called = || shared.stop.load(Ordering::Acquire) || shared.awake.load(Ordering::Acquire);
        if !spin.is_zero() && !called() {
            let start = Instant::now();
            while !called() && start.elapsed() < spin {
                std::hint::spin_loop();
            }
        }
        shared.waiting.sleep(&shared.alarm, called);
        shared.waiting.wait(&shared.alarm, || {
            shared.round.load(Ordering::Acquire) != seen || !shared.awake.load(Ordering::Acquire)
        });
        // A round is looked for before `stop` and `awake`: one that was started is always finished.
        let round = shared.round.load(Ordering::Acquire);
        if round != seen {
            seen = round;
            // SAFETY: `round` was read with Acquire after the leader's Release, so its write of `job` is visible, and
            // the leader waits for `busy` to reach 0 before the closure goes away.
            let job = unsafe { (*shared.job.get()).map(|job| &*job) };
            if let Some(job) = job
                && quietly(|| job(part)).is_err()
            {
                shared.panicked.store(true, Ordering::Relaxed);
            }
            shared.finish();
        } else if shared.stop.load(Ordering::Acquire) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// How often something is tried. Miri takes its time.
    const FEW: usize = if cfg!(miri) { 3 } else { 20 };
    const MANY: usize = if cfg!(miri) { 4 } else { 50 };

    #[test]
    fn every_part_runs_once_a_round_on_a_crowded_machine() {
        let mut pool = ThreadPool::new(3).unwrap();
        pool.shared[0].waiting.take_for_crowded();
        let counts: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..MANY {
            let mut region = pool.region();
            for round in 0..FEW {
                let job = |part: usize| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                    // In turn, one keeps the others waiting until they sleep.
                    if part == round {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                };
                region.run(&job).unwrap();
            }
        }
        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == FEW * MANY));
    }

    #[test]
    fn every_part_runs_once_a_round() {
        for threads in [1, 2, 3, 7] {
            let mut pool = ThreadPool::new(threads).unwrap();
            assert_eq!(pool.parts(), threads);
            let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for bracket in 0..FEW {
                let mut region = pool.region();
                for _ in 0..MANY {
                    let outcome = region.run(&|part| {
                        counts[part].fetch_add(1, Ordering::Relaxed);
                    });
                    outcome.unwrap();
                }
                drop(region);
                if bracket % 7 == 0 {
                    // Long enough for the workers to fall asleep.
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            }
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == FEW * MANY));
        }
    }

    #[test]
    fn a_panic_in_any_part_is_passed_on_and_the_team_lives() {
        let mut pool = ThreadPool::new(3).unwrap();
        for culprit in 0..3 {
            let mut region = pool.region();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                region.run(&|part| {
                    if part == culprit {
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                })
            }));
            assert!(caught.is_err(), "part {culprit}");
            let ran = AtomicUsize::new(0);
            let outcome = region.run(&|_| {
                ran.fetch_add(1, Ordering::Relaxed);
            });
            outcome.unwrap();
            assert_eq!(ran.into_inner(), 3);
        }
    }

    #[test]
    fn threads_spin_and_are_pinned_round_the_processors_named() {
        let own = OwnThreads { cpus: 0b1010_0000, spin: Duration::ZERO };
        assert_eq!([1, 2, 3].map(|part| own.cpu_of(part)), [Some(5), Some(7), Some(5)]);
        assert_eq!(OwnThreads::default().cpu_of(1), None);
        let mut pool = ThreadPool::of_own(3, OwnThreads { cpus: 0, spin: Duration::from_micros(200) }).unwrap();
        for bracket in 0..2 * FEW {
            let ran = AtomicUsize::new(0);
            let outcome = pool.region().run(&|_| _ = ran.fetch_add(1, Ordering::Relaxed));
            assert!(outcome.is_ok() && ran.into_inner() == 3);
            // Shorter and longer than they spin.
            std::thread::sleep(Duration::from_micros(if bracket % 2 == 0 { 20 } else { 1_000 }));
        }
    }

    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "Miri does not tell where a thread runs")]
    #[test]
    fn a_thread_runs_where_it_is_pinned_or_the_team_is_refused() {
        // SAFETY: a set of bits, of which none is a valid value.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: valid for writes of as many bytes as it has.
        assert_eq!(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) }, 0);
        // SAFETY: the index is below 64, and the set has 1024.
        let allowed = |cpu: usize| unsafe { libc::CPU_ISSET(cpu, &set) };
        let cpu = (0..64).find(|&cpu| allowed(cpu)).unwrap();
        let mut pool = ThreadPool::of_own(2, OwnThreads { cpus: 1 << cpu, spin: Duration::ZERO }).unwrap();
        let place = AtomicUsize::new(usize::MAX);
        let job = |part: usize| {
            if part == 1 {
                // SAFETY: it takes nothing.
                place.store(unsafe { libc::sched_getcpu() } as usize, Ordering::Relaxed);
            }
        };
        pool.region().run(&job).unwrap();
        assert_eq!(place.into_inner(), cpu);
        if let Some(missing) = (0..64).rev().find(|&cpu| !allowed(cpu)) {
            let error = ThreadPool::of_own(2, OwnThreads { cpus: 1 << missing, spin: Duration::ZERO }).err().unwrap();
            assert!(error.status() == Status::InvalidArgument && error.message().contains("pinned"), "{error}");
        }
    }

    #[test]
    fn no_threads_or_absurdly_many_are_refused() {
        assert_eq!(ThreadPool::new(0).err().unwrap().status(), Status::InvalidArgument);
        assert_eq!(ThreadPool::new(MAX_THREADS + 1).err().unwrap().status(), Status::InvalidArgument);
    }
}
