//! Sessions that step together: each ends in the very state that a step of its own would have left.

mod real_model;
#[path = "support/tiny.rs"]
mod tiny;

use rasp::session::{Clock, KvType};
use rasp::{LoadOptions, Model, Result, Sampling, Session, SessionOptions, Status};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn tiny_model(name: &str) -> Arc<Model> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    tiny::Tiny::new().write(&path);
    Model::load(&path, &LoadOptions::default()).unwrap()
}

fn quantized(kind: &str) -> Arc<Model> {
    let path = real_model::path().with_file_name(format!("smollm2-{kind}.rasp"));
    Model::load(&path, &LoadOptions::default()).unwrap()
}

/// One of several sessions that differ in all that sessions can differ in: caches, threads, contexts, batches,
/// positions, sparsity, sampling, biases.
fn open(model: &Arc<Model>, n: usize) -> Session {
    let options = SessionOptions {
        context: [96, 40, 128][n % 3],
        threads: [2, 1, 3, 1][n % 4],
        batch: [64, 3, 16, 1][n % 4],
        kv_type: KvType::ALL[n % 3],
        ..Default::default()
    };
    let mut session = Session::open(model.clone(), &options).unwrap();
    // Ten that are sparse, each in its way, and ten that are not.
    session.set_sparsity(if n % 20 < 10 { [0.5, 0.3, 0.45][n % 3] } else { 0.0 }).unwrap();
    let temperature = if n % 3 == 1 { 0.8 } else { 0.0 };
    session.set_sampling(Sampling { temperature, top_k: 40, seed: n as u64, ..Default::default() }).unwrap();
    if n % 4 == 3 {
        session.set_logit_bias(&[(7, 3.0), (11, -5.0)]).unwrap();
    }
    let vocab = model.config().vocab_size;
    let prompt: Vec<u32> = (0..3 + 5 * (n % 6)).map(|i| ((504 + 37 * i + 11 * n) % vocab) as u32).collect();
    session.prefill(&prompt).unwrap();
    session
}

fn step(sessions: &mut [Session]) -> Vec<Result<u32>> {
    let mut outcomes: Vec<Option<Result<u32>>> = sessions.iter().map(|_| None).collect();
    let mut all: Vec<&mut Session> = sessions.iter_mut().collect();
    Session::step_batch(&mut all, |n, outcome| assert!(outcomes[n].replace(outcome).is_none(), "told twice of {n}"))
        .unwrap();
    outcomes.into_iter().map(|outcome| outcome.expect("told of every session")).collect()
}

fn state(session: &mut Session) -> (Vec<u8>, Vec<u32>, [u64; 3]) {
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    let stats = session.stats();
    let counted = [stats.traffic.tokens, stats.traffic.linear_bytes, stats.head_bytes];
    (bytes, session.logits().unwrap().iter().map(|x| x.to_bits()).collect(), counted)
}

/// Steps twins together and apart.
fn same_as_apart(model: &Arc<Model>, count: usize, steps: usize, leader: usize) {
    let make = || (0..count).map(|n| open(model, n + leader)).collect::<Vec<_>>();
    let (mut together, mut apart) = (make(), make());
    for n in 0..steps {
        let found: Vec<u32> = step(&mut together).into_iter().map(Result::unwrap).collect();
        let expected: Vec<u32> = apart.iter_mut().map(|session| session.step().unwrap()).collect();
        assert_eq!(found, expected, "step {n} of {count} sessions");
    }
    for (n, (a, b)) in together.iter_mut().zip(&mut apart).enumerate() {
        assert!(state(a) == state(b), "session {n} of {count}");
    }
}

#[test]
fn a_step_together_leaves_what_steps_apart_leave() {
    // Leaders of 64, 16, 3 and 1 tokens in a pass: sixteen sessions together, four, and one by one.
    for (count, leader) in [(1, 0), (2, 0), (3, 8), (5, 0), (20, 0), (13, 8), (12, 12), (6, 2), (3, 1), (3, 3)] {
        same_as_apart(&tiny_model("batch_tiny.rasp"), count, 12, leader);
    }
}

#[test]
fn the_same_on_the_real_model_in_every_weight_format() {
    for model in [real_model::load(), quantized("q4"), quantized("q8")] {
        same_as_apart(&model, 10, 2, 0);
    }
    same_as_apart(&real_model::load(), 10, 2, 8);
}

#[test]
fn what_is_not_a_pass_is_done_before_or_refused_for_itself_alone() {
    let model = tiny_model("batch_mixed.rasp");
    let make = || {
        let mut sessions: Vec<Session> = (0..7).map(|n| open(&model, n)).collect();
        // All but one have a token to pass.
        sessions.iter_mut().skip(1).for_each(|session| _ = session.step().unwrap());
        // One has none yet, one is in the middle of a prompt, one in the middle of a step, one is full.
        sessions[2].reset();
        sessions[3].prefill_begin(&[1, 2, 3, 4]).unwrap();
        assert_eq!(sessions[4].step_within(std::time::Duration::ZERO).unwrap(), None);
        while sessions[5].step().is_ok() {}
        // And one has nothing left of its last token but keys and values.
        let tokens = sessions[6].tokens().len() - 2;
        sessions[6].rewind(tokens).unwrap();
        sessions
    };
    let (mut together, mut apart) = (make(), make());
    for round in 0..3 {
        let found: Vec<_> = step(&mut together).into_iter().map(|o| o.map_err(|e| e.status())).collect();
        let expected: Vec<_> = apart.iter_mut().map(|session| session.step().map_err(|e| e.status())).collect();
        assert_eq!(found, expected, "round {round}");
        assert_eq!((&found[2], &found[5]), (&Err(Status::InvalidState), &Err(Status::ContextFull)));
    }
    for n in [0, 1, 3, 4, 5, 6] {
        assert!(state(&mut together[n]) == state(&mut apart[n]), "session {n}");
    }
}

#[test]
fn sessions_of_two_models_do_not_step_together() {
    let (mut a, mut b) = (open(&tiny_model("batch_a.rasp"), 0), open(&tiny_model("batch_b.rasp"), 1));
    let before = (a.tokens().to_vec(), b.tokens().to_vec());
    let error = Session::step_batch(&mut [&mut a, &mut b], |_, _| panic!("nothing happens")).unwrap_err();
    assert!(error.status() == Status::InvalidArgument && error.message().contains("session 1"), "{error}");
    assert_eq!((a.tokens(), b.tokens()), (&before.0[..], &before.1[..]));
    Session::step_batch(&mut [], |_, _| panic!("of nobody")).unwrap();
}

#[test]
fn a_cancel_concerns_one_session_and_all_of_them_end_the_pass() {
    let model = real_model::load();
    let make = || {
        let mut sessions: Vec<Session> = (0..3).map(|n| open(&model, 4 * n)).collect();
        sessions.iter_mut().for_each(|session| _ = session.step().unwrap());
        sessions
    };
    let (mut sessions, mut apart) = (make(), make());
    let flags: Vec<Arc<AtomicBool>> = sessions.iter().map(|_| Arc::default()).collect();
    sessions.iter_mut().zip(&flags).for_each(|(session, flag)| session.set_cancel_flag(flag.clone()));
    flags[1].store(true, Ordering::Relaxed);
    let found: Vec<_> = step(&mut sessions).into_iter().map(|o| o.map_err(|e| e.status())).collect();
    let expected = [apart[0].step().unwrap(), apart[2].step().unwrap()];
    assert_eq!(found, [Ok(expected[0]), Err(Status::Cancelled), Ok(expected[1])]);
    assert!(!flags[1].load(Ordering::Relaxed));

    // From another thread, in the middle of the pass: one, and then all.
    let (before, units) = (state(&mut sessions[1]), sessions[0].stats().units);
    for all in [false, true] {
        sessions[0].clear_stats();
        let started = Arc::new(AtomicU64::new(0));
        let canceller = {
            let (flags, started) = (flags.clone(), started.clone());
            std::thread::spawn(move || {
                while started.load(Ordering::Relaxed) == 0 {
                    std::hint::spin_loop();
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
                flags
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| all || *n == 1)
                    .for_each(|(_, f)| f.store(true, Ordering::Relaxed));
            })
        };
        started.store(1, Ordering::Relaxed);
        let found: Vec<_> = step(&mut sessions).into_iter().map(|o| o.map_err(|e| e.status())).collect();
        canceller.join().unwrap();
        if all {
            assert_eq!(found, [Err(Status::Cancelled); 3]);
            assert!(sessions[0].stats().units < units / 2, "{} units", sessions[0].stats().units);
        } else {
            let expected = [apart[0].step().unwrap(), apart[2].step().unwrap()];
            assert_eq!(found, [Ok(expected[0]), Err(Status::Cancelled), Ok(expected[1])]);
            // Its logits were computed once more, and counted.
            let (bytes, logits, counted) = state(&mut sessions[1]);
            assert!((&bytes, &logits, &counted[..2]) == (&before.0, &before.1, &before.2[..2]));
        }
    }
    // All go on as if nothing had been.
    let found: Vec<u32> = step(&mut sessions).into_iter().map(Result::unwrap).collect();
    let expected: Vec<u32> = apart.iter_mut().map(|session| session.step().unwrap()).collect();
    assert_eq!(found, expected);
}

/// Goes on by one at every reading.
#[derive(Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[test]
fn a_deadline_counts_the_whole_pass() {
    let model = tiny_model("batch_deadline.rasp");
    let mut sessions: Vec<Session> = (0..2).map(|n| open(&model, n)).collect();
    step(&mut sessions);
    sessions[1].set_clock(Arc::new(Ticks::default()));
    // Four readings: at its beginning and end, and at those of its own sampling. Three ticks are late, ten are early.
    sessions[1].set_deadline(1, 0.1, 0.5).unwrap();
    step(&mut sessions);
    assert_eq!((sessions[1].sparsity(), sessions[1].stats().late_tokens), (0.5, 1));
    sessions[1].set_deadline(10, 0.1, 0.5).unwrap();
    step(&mut sessions);
    step(&mut sessions);
    assert_eq!((sessions[1].sparsity(), sessions[1].stats().late_tokens), (0.1, 1));
    assert_eq!(sessions[0].stats().late_tokens, 0);
}
