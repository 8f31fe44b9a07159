//! The host's job system in the place of threads of our own.
//!
//! A host may do anything with the parts of a job: run them in any order, one after the other, on any threads. If it
//! runs one twice, leaves one out or runs one when the job is over, nothing may break: the parts hold disjoint pieces
//! of the session's memory, so each is claimed once before it runs, and what nobody claimed is an error.

use crate::arena::{Buf, Zeroable};
use crate::float_env::FloatEnv;
use crate::pool::MAX_THREADS;
use crate::quiet::quietly;
use crate::{Error, Result, Status};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Runs `job(data, part)` for every part below `parts`, and returns when all have returned.
pub type RunJob =
    unsafe extern "C" fn(context: *mut c_void, job: extern "C" fn(*mut c_void, u32), data: *mut c_void, parts: u32);

/// A host's job system.
#[derive(Clone, Copy, Debug)]
pub struct HostJobs {
    run: RunJob,
    context: *mut c_void,
}

// SAFETY: `new` makes its caller promise that the two may be used from any thread that uses the session.
unsafe impl Send for HostJobs {}
// SAFETY: as above.
unsafe impl Sync for HostJobs {}

impl HostJobs {
    /// # Safety
    /// `run` may be called with `context` from any thread that uses a session opened with this, for as long as that
    /// lives. It calls `job` only while the session lives, and does not unwind.
    pub unsafe fn new(run: RunJob, context: *mut c_void) -> HostJobs {
        HostJobs { run, context }
    }
}

impl PartialEq for HostJobs {
    fn eq(&self, other: &HostJobs) -> bool {
        std::ptr::fn_addr_eq(self.run, other.run) && self.context == other.context
    }
}

/// A job borrowed from the thread that waits for all of its parts, its lifetime erased.
pub(crate) type ErasedJob = *const (dyn Fn(usize) + Sync);

const WORDS: usize = MAX_THREADS / 64;

/// The job under way, and which of its parts may be claimed. Between jobs none may. The host has a pointer to it for as
/// long as the session lives, wherever that is moved: it lies in the session's memory, and nothing has it to itself.
pub(crate) struct Claims {
    /// Written before the first part is open.
    job: UnsafeCell<MaybeUninit<ErasedJob>>,
    /// A bit for each part that nobody has claimed.
    open: [AtomicU64; WORDS],
    /// Parts that have returned.
    done: AtomicU32,
    /// A part was run again, or there is no such part.
    again: AtomicBool,
    panicked: AtomicBool,
}

// SAFETY: zeros are numbers, false, and nothing yet; there is no destructor, and nothing aligns to more than 8.
unsafe impl Zeroable for Claims {}
// SAFETY: `job` is written only while no part is open, so that nobody reads it, and read only by who has claimed a
// part; the claim's Acquire follows the Release that opened the parts.
unsafe impl Sync for Claims {}
// SAFETY: the pointer in `job` refers to a `Sync` closure and is dereferenced only while `run` keeps that alive.
unsafe impl Send for Claims {}

/// The host's job system at work on the parts of one session.
pub(crate) struct Round {
    jobs: HostJobs,
    parts: u32,
    /// One.
    claims: Buf<Claims>,
}

impl Round {
    /// `parts` is at most [`MAX_THREADS`]; `claims` are one.
    pub(crate) fn new(jobs: HostJobs, parts: usize, claims: Buf<Claims>) -> Round {
        Round { jobs, parts: parts as u32, claims }
    }

    pub(crate) fn parts(&self) -> usize {
        self.parts as usize
    }

    /// Has the host run `job` for every part. Fails if it did not run each just once; then what the job was to compute
    /// is not there, but nobody is computing it any more.
    pub(crate) fn run(&mut self, job: &(dyn Fn(usize) + Sync)) -> Result<()> {
        // Never exclusively: the host may be looking at it, however late.
        let (claims, parts) = (&self.claims[0], self.parts);
        // SAFETY: only the lifetime is erased. Who claims a part uses the pointer until it counts itself done; below,
        // no part is left to claim and all that were claimed are done before this returns.
        let erased: ErasedJob = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), ErasedJob>(job) };
        // SAFETY: no part is open and all that were claimed are done, so nobody reads; and nobody else is here, for
        // `self` is borrowed exclusively.
        unsafe { *claims.job.get() = MaybeUninit::new(erased) };
        claims.done.store(0, Ordering::Relaxed);
        claims.again.store(false, Ordering::Relaxed);
        for (word, open) in claims.open.iter().enumerate() {
            let count = (parts as usize).saturating_sub(64 * word).min(64);
            let bits = if count == 64 { u64::MAX } else { !(u64::MAX << count) };
            open.store(bits, Ordering::Release);
        }
        let data: *const Claims = claims;
        // SAFETY: the promise of `HostJobs::new`. The host gets a pointer that stays good while the session lives,
        // which is as long as it may call `job`.
        unsafe { (self.jobs.run)(self.jobs.context, part_of_host, data.cast_mut().cast(), parts) };

        // What is left is claimed here, so that nobody can begin it any more, and what was begun is waited for.
        let left: u32 = claims.open.iter().map(|open| open.swap(0, Ordering::AcqRel).count_ones()).sum();
        while claims.done.load(Ordering::Acquire) < parts - left {
            std::thread::yield_now();
        }
        if claims.panicked.swap(false, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("a part of a job panicked"));
        }
        let again = claims.again.load(Ordering::Relaxed);
        if left == 0 && !again {
            return Ok(());
        }
        Err(match left {
            0 => Error::new(Status::InvalidState, "the host's run callback ran a part twice, or one that there is not"),
            left => Error::new(
                Status::InvalidState,
                format_args!("the host's run callback returned with {left} of {parts} parts not run"),
            ),
        })
    }
}

impl Claims {
    fn part(&self, part: u32) {
        let bit = 1u64 << (part % 64);
        let word = self.open.get(part as usize / 64);
        if word.is_none_or(|word| word.fetch_and(!bit, Ordering::AcqRel) & bit == 0) {
            self.again.store(true, Ordering::Relaxed);
            return;
        }
        // SAFETY: this part was open, so `run` has written the job and waits for it.
        let job = unsafe { &*(*self.job.get()).assume_init() };
        if quietly(|| job(part as usize)).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        self.done.fetch_add(1, Ordering::Release);
    }
}

/// What the host calls.
extern "C" fn part_of_host(data: *mut c_void, part: u32) {
    // The host's threads may be set to another.
    let _standard = FloatEnv::standard();
    // SAFETY: the host passes the pointer that `run` gave it, while the session lives whose memory it leads to.
    unsafe { &*data.cast::<Claims>() }.part(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, MemorySource};
    use std::sync::atomic::{AtomicPtr, AtomicUsize};

    type RunPart = extern "C" fn(*mut c_void, u32);

    unsafe extern "C" fn backwards(_: *mut c_void, job: RunPart, data: *mut c_void, parts: u32) {
        (0..parts).rev().for_each(|part| job(data, part));
    }

    unsafe extern "C" fn threads(_: *mut c_void, job: RunPart, data: *mut c_void, parts: u32) {
        let data = &AtomicPtr::new(data);
        std::thread::scope(|scope| {
            for part in 0..parts {
                scope.spawn(move || job(data.load(Ordering::Relaxed), part));
            }
        });
    }

    unsafe extern "C" fn forgets_one(_: *mut c_void, job: RunPart, data: *mut c_void, parts: u32) {
        (1..parts).for_each(|part| job(data, part));
    }

    unsafe extern "C" fn repeats_one(_: *mut c_void, job: RunPart, data: *mut c_void, parts: u32) {
        (0..parts).for_each(|part| job(data, part));
        job(data, 0);
    }

    unsafe extern "C" fn makes_one_up(_: *mut c_void, job: RunPart, data: *mut c_void, parts: u32) {
        (0..=parts).for_each(|part| job(data, part));
        job(data, u32::MAX);
    }

    /// A round, and what its claims lie in.
    fn round(run: RunJob, parts: usize) -> (Arena, Round) {
        // SAFETY: these callbacks use no context, and keep nothing that they use when the arena is gone.
        let jobs = unsafe { HostJobs::new(run, std::ptr::null_mut()) };
        let (arena, claims) = Arena::cut(MemorySource::Own, 0, |cutter| cutter.take(1)).unwrap();
        (arena, Round::new(jobs, parts, claims))
    }

    #[test]
    fn every_part_runs_once_in_any_order() {
        for run in [backwards as RunJob, threads] {
            // Threads take Miri a second each.
            for parts in [1, 2, 7, 64, 65, MAX_THREADS].into_iter().take(if cfg!(miri) { 3 } else { 6 }) {
                let (_arena, mut round) = round(run, parts);
                let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                for n in 1..4 {
                    round.run(&|part| _ = counts[part].fetch_add(1, Ordering::Relaxed)).unwrap();
                    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == n));
                }
            }
        }
    }

    #[test]
    fn what_a_host_gets_wrong_is_an_error_and_no_more() {
        for (run, words, ran) in [
            (forgets_one as RunJob, "with 1 of 3 parts not run", 2),
            (repeats_one, "ran a part twice", 3),
            (makes_one_up, "ran a part twice, or one that there is not", 3),
        ] {
            let (_arena, mut round) = round(run, 3);
            let count = AtomicUsize::new(0);
            let error = round.run(&|_| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap_err();
            assert!(error.status() == Status::InvalidState && error.message().contains(words), "{error}");
            assert_eq!(count.load(Ordering::Relaxed), ran);
        }
    }

    /// Keeps what it is given where `context` says, for whoever is late.
    unsafe extern "C" fn leaks(context: *mut c_void, job: RunPart, data: *mut c_void, parts: u32) {
        // SAFETY: the test's own, see there.
        unsafe { &*context.cast::<AtomicPtr<c_void>>() }.store(data, Ordering::Release);
        (0..parts).for_each(|part| job(data, part));
    }

    #[test]
    fn a_late_call_does_nothing_while_jobs_run_and_the_session_moves() {
        let leaked = AtomicPtr::<c_void>::new(std::ptr::null_mut());
        // SAFETY: the context outlives the round, and what is kept of it is used while the arena lives.
        let jobs = unsafe { HostJobs::new(leaks, (&raw const leaked).cast_mut().cast()) };
        let (_arena, claims) = Arena::cut(MemorySource::Own, 0, |cutter| cutter.take(1)).unwrap();
        let mut places = [Some(Round::new(jobs, 2, claims)), None];
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let data = leaked.load(Ordering::Acquire);
                    if !data.is_null() {
                        part_of_host(data, 1);
                    }
                    std::thread::yield_now();
                }
            });
            for n in 0..20 {
                let mut round = places[n % 2].take().unwrap();
                let count = AtomicUsize::new(0);
                // An error if a late call fell into it; each part ran once all the same.
                let _ = round.run(&|_| _ = count.fetch_add(1, Ordering::Relaxed));
                assert_eq!(count.into_inner(), 2);
                places[(n + 1) % 2] = Some(round);
            }
            stop.store(true, Ordering::Relaxed);
        });
        let data = leaked.into_inner();
        part_of_host(data, 1);
        assert!(places[0].take().unwrap().run(&|_| ()).is_ok());
    }

    #[test]
    fn a_panic_is_passed_on_once_all_have_returned() {
        let (_arena, mut round) = round(backwards, 3);
        let caught = quietly(|| {
            round.run(&|part| {
                if part == 1 {
                    std::panic::resume_unwind(Box::new("on purpose"))
                }
            })
        });
        assert!(caught.is_err());
        assert!(round.run(&|_| ()).is_ok());
    }
}
