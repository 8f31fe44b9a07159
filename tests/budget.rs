//! Budgets and cancelling, in units of work: time is a number that the tests move.

mod real_model;
#[path = "support/tiny.rs"]
mod tiny;

use rasp::session::Clock;
use rasp::{HostJobs, LoadOptions, Model, Sampling, Session, SessionOptions, Status};
use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PROMPT: [u32; 5] = [504, 3575, 282, 4649, 314];

/// Goes on by one at every reading; sessions read it once before each unit of work but a call's first.
#[derive(Default)]
struct Ticks {
    now: AtomicU64,
    /// Set at the reading of this time.
    cancel: Arc<AtomicBool>,
    cancel_at: AtomicU64,
}

impl Clock for Ticks {
    fn now(&self) -> u64 {
        let now = self.now.fetch_add(1, Ordering::Relaxed);
        if now + 1 == self.cancel_at.load(Ordering::Relaxed) {
            self.cancel.store(true, Ordering::Relaxed);
        }
        now
    }
}

fn open(model: &Arc<Model>, threads: usize) -> (Session, Arc<Ticks>) {
    let options = SessionOptions { context: 256, threads, batch: 16, ..Default::default() };
    let mut session = Session::open(model.clone(), &options).unwrap();
    let ticks = Arc::new(Ticks::default());
    session.set_clock(ticks.clone());
    session.set_cancel_flag(ticks.cancel.clone());
    (session, ticks)
}

fn tiny_model(name: &str) -> Arc<Model> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    tiny::Tiny::new().write(&path);
    Model::load(&path, &LoadOptions::default()).unwrap()
}

fn bits(session: &mut Session) -> Vec<u32> {
    session.logits().unwrap().iter().map(|x| x.to_bits()).collect()
}

/// Steps with these budgets in turn until a token comes; no call may begin more units than its budget has ticks, but
/// one.
fn step(session: &mut Session, budgets: &mut impl Iterator<Item = u64>) -> u32 {
    loop {
        let (budget, before) = (budgets.next().unwrap(), session.stats().units);
        let token = session.step_within(Duration::from_nanos(budget)).unwrap();
        let units = session.stats().units - before;
        assert!(units <= budget.max(1), "{units} units for a budget of {budget}");
        if let Some(token) = token {
            return token;
        }
        assert!(session.is_pending());
        // Nothing was left out that there was time for.
        assert_eq!(units, budget.max(1));
    }
}

#[test]
fn any_way_of_cutting_gives_the_same_tokens_and_bits() {
    let prompt: Vec<u32> = (0..24).map(|i| PROMPT[i % 5] + i as u32).collect();
    for model in [real_model::load(), tiny_model("budget_tiny.rasp")] {
        let vocab = model.config().vocab_size as u32;
        let prompt: Vec<u32> = prompt.iter().map(|t| t % vocab).collect();
        for (sparsity, temperature) in [(0.0, 0.0), (0.5, 0.0), (0.5, 0.9)] {
            let prepare = |threads: usize| {
                let (mut session, _) = open(&model, threads);
                session.set_sparsity(sparsity).unwrap();
                session.set_sampling(Sampling { temperature, seed: 5, ..Default::default() }).unwrap();
                session
            };
            let mut whole = prepare(1);
            whole.prefill(&prompt).unwrap();
            let prompt_bits = bits(&mut whole);
            let expected: Vec<u32> = (0..3).map(|_| whole.step().unwrap()).collect();
            let traffic = whole.stats().traffic;
            for threads in [1, 2] {
                for budgets in [vec![1], vec![2, 0, 31], vec![7, 500]] {
                    let mut session = prepare(threads);
                    let mut budgets = budgets.into_iter().cycle();
                    session.prefill_begin(&prompt).unwrap();
                    while !session.prefill_within(Duration::from_nanos(budgets.next().unwrap())).unwrap() {}
                    assert_eq!(bits(&mut session), prompt_bits);
                    let found: Vec<u32> = (0..3).map(|_| step(&mut session, &mut budgets)).collect();
                    assert_eq!(found, expected, "{threads} threads");
                    assert_eq!(session.stats().traffic, traffic);
                    assert_eq!(bits(&mut session), bits(&mut whole));
                    // The first token comes with the rest of the prompt if nobody asks for it before.
                    session.reset();
                    session.prefill_begin(&prompt).unwrap();
                    assert_eq!(step(&mut session, &mut budgets), expected[0]);
                }
            }
        }
    }
}

#[test]
fn a_token_is_many_units_and_zero_is_one() {
    let (mut session, _) = open(&real_model::load(), 1);
    session.prefill(&PROMPT).unwrap();
    session.step().unwrap();
    session.clear_stats();
    let mut calls = 1;
    while session.step_within(Duration::ZERO).unwrap().is_none() {
        calls += 1;
        assert_eq!(session.stats().units, calls - 1);
    }
    // 240 MB of weights in units of at most 1 MiB, of which a block of a small matrix fills a part.
    assert!((240..1500).contains(&calls), "{calls}");
    assert_eq!(session.stats().units, calls);
}

#[test]
fn a_cancel_is_answered_within_a_unit_wherever_it_comes() {
    let model = real_model::load();
    let prompt: Vec<u32> = (0..40).map(|i| 504 + i).collect();
    for threads in [1, 2] {
        let (mut whole, _) = open(&model, 1);
        whole.prefill(&PROMPT).unwrap();
        let first = whole.step().unwrap();
        let before = bits(&mut whole);
        let second = whole.step().unwrap();
        let (mut session, ticks) = open(&model, threads);
        session.prefill(&PROMPT).unwrap();
        assert_eq!(session.step().unwrap(), first);
        let tokens = session.tokens().to_vec();
        // In the first layer, within the blocks, and within the head: units of a token, and of a prompt of three
        // batches.
        let cancelled_at = |session: &mut Session, unit: u64, prompt: Option<&[u32]>| {
            let units = session.stats().units;
            // The first reading is that of the budget's beginning.
            ticks.cancel_at.store(ticks.now.load(Ordering::Relaxed) + 1 + unit, Ordering::Relaxed);
            let outcome = match prompt {
                Some(prompt) => {
                    session.prefill_begin(prompt).unwrap();
                    session.prefill_within(Duration::MAX).map(|_| ())
                }
                None => session.step_within(Duration::MAX).map(|_| ()),
            };
            let done = session.stats().units - units;
            (outcome.map_err(|e| e.status()), done)
        };
        for (unit, prompt) in [
            (1, None),
            (2, None),
            (250, None),
            (490, None),
            (1, Some(&prompt[..])),
            (700, Some(&prompt)),
            (2000, Some(&prompt)),
        ] {
            let (outcome, done) = cancelled_at(&mut session, unit, prompt);
            assert_eq!(outcome, Err(Status::Cancelled), "unit {unit} of {prompt:?}");
            // Those that had begun, one a thread at most.
            assert!(done >= unit && done <= unit + threads as u64, "{done} units, cancelled during {unit}");
            assert!(!session.is_pending());
            assert_eq!(session.tokens(), tokens);
            assert_eq!(bits(&mut session), before);
        }
        assert_eq!(session.step().unwrap(), second);
    }
}

#[test]
fn what_a_pending_session_takes() {
    let model = tiny_model("budget_states.rasp");
    let (mut session, _) = open(&model, 1);
    assert_eq!(session.prefill_within(Duration::ZERO).unwrap_err().status(), Status::InvalidState);
    session.prefill_begin(&[1, 2, 3]).unwrap();
    assert!(session.is_pending() && session.tokens().len() == 3);
    let refused = |session: &mut Session, word: &str| {
        let outcomes = [
            session.prefill(&[1]),
            session.prefill_begin(&[1]),
            session.decode(1),
            session.logits().map(|_| ()),
            session.set_sparsity(0.3),
            session.set_sampling(Sampling::default()),
        ];
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(error.status() == Status::InvalidState && error.message().contains(word), "{error}");
        }
    };
    refused(&mut session, "prompt");
    // A step finishes what is under way.
    let first = session.step().unwrap();
    assert_eq!(session.step_within(Duration::ZERO).unwrap(), None);
    refused(&mut session, "step");
    assert_eq!(session.prefill_within(Duration::ZERO).unwrap_err().status(), Status::InvalidState);
    let second = session.step().unwrap();
    // What is cancelled between two calls is taken back by the second, once.
    assert_eq!(session.step_within(Duration::ZERO).unwrap(), None);
    session.clear_stats();
    let flag = Arc::new(AtomicBool::new(true));
    session.set_cancel_flag(flag.clone());
    assert_eq!(session.step_within(Duration::MAX).unwrap_err().status(), Status::Cancelled);
    assert_eq!((session.stats().units, session.is_pending(), flag.load(Ordering::Relaxed)), (0, false, false));
    assert_eq!(session.tokens(), [1, 2, 3, first, second]);
    session.step().unwrap();
    // A reset forgets it.
    assert_eq!(session.step_within(Duration::ZERO).unwrap(), None);
    session.reset();
    assert!(!session.is_pending() && session.tokens().is_empty());
    session.prefill(&[1, 2, 3]).unwrap();
    assert_eq!([session.step().unwrap(), session.step().unwrap()], [first, second]);
}

/// Time is what the units of work take: the clock moves by so much at each reading, and a step is read at its beginning
/// and its end and between its units.
#[test]
fn a_deadline_is_kept_by_the_sparsity_and_the_tokens_repeat() {
    let model = real_model::load();
    let texts = [(); 2].map(|()| {
        let (mut session, _) = open(&model, 1);
        session.prefill(&PROMPT).unwrap();
        session.step().unwrap();
        assert_eq!(session.set_deadline(1, 0.0, 0.71).unwrap_err().status(), Status::OutOfRange);
        // A whole token is two readings: early whatever it does, so the second one is dense.
        session.set_deadline(10, 0.1, 0.6).unwrap();
        session.step().unwrap();
        assert_eq!(session.sparsity(), 0.6, "nothing is known yet");
        session.step().unwrap();
        assert_eq!((session.sparsity(), session.stats().late_tokens), (0.1, 0));
        // Cut into units it is as many readings as it has units, hundreds, however sparse: all late.
        for _ in 0..14 {
            while session.step_within(Duration::MAX).unwrap().is_none() {}
        }
        assert_eq!((session.sparsity(), session.stats().late_tokens), (0.6, 14));
        session.clear_stats();
        session.set_deadline(0, 0.0, 0.0).unwrap();
        session.step().unwrap();
        assert_eq!((session.sparsity(), session.stats().late_tokens), (0.6, 0));
        session.tokens().to_vec()
    });
    assert_eq!(texts[0], texts[1]);
}

/// A host's job system that runs the parts in order, and cancels before one of them.
#[derive(Default)]
struct Host {
    forks: AtomicU64,
    cancel: Arc<AtomicBool>,
    /// Cancels in this fork, counted from 1, before this part.
    cancel_at: AtomicU64,
    before: AtomicU64,
}

unsafe extern "C" fn run_in_order(
    context: *mut c_void,
    job: extern "C" fn(*mut c_void, u32),
    data: *mut c_void,
    parts: u32,
) {
    // SAFETY: the context is a host that outlives the session.
    let host = unsafe { &*context.cast::<Host>() };
    let fork = host.forks.fetch_add(1, Ordering::Relaxed) + 1;
    for part in 0..parts {
        if fork == host.cancel_at.load(Ordering::Relaxed) && u64::from(part) == host.before.load(Ordering::Relaxed) {
            host.cancel.store(true, Ordering::Relaxed);
        }
        job(data, part);
    }
}

/// No budget, no clock: what has begun when the cancel comes is counted by cancelling later and later.
#[test]
fn a_cancel_without_a_budget_begins_no_unit_and_no_fork_any_more() {
    let host = Host::default();
    // SAFETY: the function takes the host, which lives until the session has gone, and does not unwind.
    let jobs = unsafe { HostJobs::new(run_in_order, (&raw const host).cast_mut().cast()) };
    let options = SessionOptions { context: 64, threads: 2, jobs: Some(jobs), ..Default::default() };
    let mut session = Session::open(real_model::load(), &options).unwrap();
    session.set_cancel_flag(host.cancel.clone());
    let prepare = |session: &mut Session| {
        session.reset();
        session.prefill(&PROMPT).unwrap();
        session.step().unwrap();
        session.clear_stats();
        host.forks.store(0, Ordering::Relaxed);
    };
    prepare(&mut session);
    let token = session.step().unwrap();
    let (forks, units) = (host.forks.load(Ordering::Relaxed), session.stats().units);
    let mut last = 0;
    for fork in (1..=forks).step_by(7).chain([forks]) {
        for part in 0..2 {
            prepare(&mut session);
            host.before.store(part, Ordering::Relaxed);
            host.cancel_at.store(fork, Ordering::Relaxed);
            let outcome = session.step();
            host.cancel_at.store(0, Ordering::Relaxed);
            // The last fork may be a small one, which goes with the unit before it.
            let begun = session.stats().units;
            if let Err(error) = outcome {
                assert_eq!(error.status(), Status::Cancelled);
                assert!(begun < units && !session.is_pending());
            }
            // A fork of no units may end the one in hand; the next one begins nothing.
            let more = host.forks.load(Ordering::Relaxed) - fork;
            assert!(more <= 1, "{more} forks after the cancel in fork {fork}");
            // Before the first part nothing of the fork has begun; before the second the first part's.
            assert!(begun >= last, "{begun} units, cancelled in fork {fork}; {last} before");
            if fork == 1 && part == 0 {
                assert_eq!(begun, 0);
            }
            last = begun;
        }
    }
    host.cancel.store(false, Ordering::Relaxed);
    prepare(&mut session);
    assert_eq!(session.step().unwrap(), token);
}
