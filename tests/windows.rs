//! Sessions that hold the keys and values of windows alone: the bits of sessions that hold all, in less memory, and by
//! name what they cannot do.

#[path = "support/tiny.rs"]
mod tiny;

use rasp::model::{Attention, Block};
use rasp::session::KvType;
use rasp::{LoadOptions, Model, Sampling, Session, SessionOptions, Status};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WINDOW: usize = 40;
const BATCH: usize = 24;

/// Two layers: the first sees a window, the second all tokens or, with `both`, a window of another size.
fn model(name: &str, both: bool) -> Arc<Model> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("windows-{name}.rasp"));
    let rope = |table| Attention { rope: Some(table), ..Attention::default() };
    let local = Attention { window: Some(WINDOW), ..rope(1) };
    let second = Attention { window: both.then_some(7), ..rope(0) };
    let block = Block { attention: vec![local, second], layers: vec![0, 1], ..Block::default() };
    tiny::Tiny::of(block).write(&path);
    Model::load(&path, &LoadOptions::default()).unwrap()
}

fn options(windows_alone: bool) -> SessionOptions {
    SessionOptions { context: 400, batch: BATCH, windows_alone, ..Default::default() }
}

fn open(model: &Arc<Model>, options: &SessionOptions) -> Session {
    let mut session = Session::open(model.clone(), options).unwrap();
    session.set_sparsity(0.4).unwrap();
    session.set_sampling(Sampling { temperature: 1.0, top_k: 50, seed: 5, ..Default::default() }).unwrap();
    session
}

fn text(count: usize) -> Vec<u32> {
    (0..count).map(|i| (i * 31 % 250) as u32).collect()
}

#[track_caller]
fn assert_same(a: &mut Session, b: &mut Session, steps: usize) {
    assert_eq!(a.tokens(), b.tokens());
    for _ in 0..steps {
        assert_eq!(a.step().unwrap(), b.step().unwrap());
        assert_eq!(a.logits().unwrap(), b.logits().unwrap());
    }
}

fn steps(session: &mut Session, count: usize) -> Vec<u32> {
    (0..count).map(|_| session.step().unwrap()).collect()
}

fn state(session: &Session) -> Vec<u8> {
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    bytes
}

/// Positions that a layer of this window has room for: the most blocks of 32 that a window and a batch can touch.
fn room(window: usize) -> usize {
    ((window + BATCH + 30) / 32 + 1) * 32
}

#[test]
fn the_plan_is_smaller_by_what_is_not_held_and_is_what_the_session_takes() {
    for kv_type in KvType::ALL {
        let model = model("plan", true);
        let [all, alone] = [false, true].map(|alone| SessionOptions { kv_type, ..options(alone) });
        let [plan, small] = [&all, &alone].map(|options| Session::plan(&model, options).unwrap());
        let row = 2
            * 2
            * match kv_type {
                KvType::F16 => 2 * 16,
                KvType::F32 => 4 * 16,
                KvType::I8 => 16 + 4,
            };
        let (most, rooms) = (2 * 400usize.next_multiple_of(32), room(WINDOW) + room(7));
        assert_eq!(plan.kv_cache - small.kv_cache, (most - rooms) * row, "{}", kv_type.name());
        assert_eq!(small.size, small.kv_cache + small.activations + small.sampling + small.bookkeeping);
        let session = Session::open(model.clone(), &alone).unwrap();
        assert_eq!(session.stats().memory, small.size);
        // In memory of the host's that holds no numbers.
        let mut memory = vec![u64::MAX; small.size.div_ceil(8)];
        let start = NonNull::from(&mut memory[..]).cast();
        // SAFETY: as much as the plan says, and the vector is not touched until the session is gone.
        let mut lodger = unsafe { Session::open_in(start, small.size, model.clone(), &alone) }.unwrap();
        let mut own = open(&model, &all);
        lodger.set_sparsity(0.4).unwrap();
        lodger.set_sampling(Sampling { temperature: 1.0, top_k: 50, seed: 5, ..Default::default() }).unwrap();
        own.prefill(&text(150)).unwrap();
        lodger.prefill(&text(150)).unwrap();
        lodger.shift(4, 37).unwrap();
        own.shift(4, 37).unwrap();
        assert_same(&mut own, &mut lodger, 30);
    }
}

/// Over many windows, whatever passes together, on any number of threads.
#[test]
fn the_bits_are_those_of_a_session_that_holds_all() {
    for both in [false, true] {
        let model = model(&format!("bits-{both}"), both);
        for kv_type in KvType::ALL {
            for (batch, threads) in [(1, 1), (BATCH, 2), (100, 3)] {
                let with = |alone| SessionOptions { kv_type, batch, threads, ..options(alone) };
                let [mut all, mut alone] = [with(false), with(true)].map(|options| open(&model, &options));
                for session in [&mut all, &mut alone] {
                    session.prefill(&text(130)).unwrap();
                }
                assert_same(&mut all, &mut alone, 45);
                for session in [&mut all, &mut alone] {
                    session.prefill(&text(77)).unwrap();
                }
                assert_same(&mut all, &mut alone, 60);
                // Another text in the same session.
                for session in [&mut all, &mut alone] {
                    session.reset();
                    session.prefill(&text(33)).unwrap();
                }
                assert_same(&mut all, &mut alone, 20);
            }
        }
    }
}

#[test]
fn several_pass_together_and_in_pieces_of_time() {
    let model = model("together", true);
    let mut alone: Vec<Session> = (0..3).map(|_| open(&model, &options(true))).collect();
    let mut all: Vec<Session> = (0..3).map(|_| open(&model, &options(false))).collect();
    for (n, session) in alone.iter_mut().chain(&mut all).enumerate() {
        session.prefill_begin(&text(50 + 41 * (n % 3))).unwrap();
        while !session.prefill_within(Duration::ZERO).unwrap() {}
    }
    for _ in 0..90 {
        for sessions in [&mut alone, &mut all] {
            let mut sessions: Vec<&mut Session> = sessions.iter_mut().collect();
            Session::step_batch(&mut sessions, |_, token| assert!(token.is_ok())).unwrap();
        }
    }
    for (a, b) in alone.iter_mut().zip(&mut all) {
        assert_same(a, b, 5);
    }
}

/// As far back as places were not taken by later tokens a session can be rewound; beyond, only to its beginning.
#[test]
fn a_rewind_within_what_is_held_is_exact_and_one_past_it_is_refused() {
    let model = model("rewind", true);
    let [mut all, mut alone] = [false, true].map(|windows_alone| open(&model, &options(windows_alone)));
    let mut refused = 0;
    for back in [1, 5, BATCH, 30, 60, 140] {
        for session in [&mut all, &mut alone] {
            session.reset();
            session.prefill(&text(150)).unwrap();
            steps(session, 20);
        }
        let before = (state(&alone), alone.tokens().to_vec());
        match alone.rewind(170 - back) {
            Ok(()) => {
                all.rewind(170 - back).unwrap();
                assert_same(&mut all, &mut alone, 50);
            }
            Err(error) => {
                refused += 1;
                assert!(back > BATCH, "{back}");
                assert!(error.status() == Status::OutOfRange && error.message().contains("windows"), "{error}");
                // Nothing is lost.
                assert_eq!((state(&alone), alone.tokens().to_vec()), before);
                assert_same(&mut all, &mut alone, 10);
            }
        }
    }
    assert!(refused >= 2);
    alone.rewind(0).unwrap();
    alone.prefill(&text(60)).unwrap();
    all.reset();
    all.prefill(&text(60)).unwrap();
    assert_eq!(all.logits().unwrap(), alone.logits().unwrap());
}

#[test]
fn states_and_forks_go_on_with_any_batch_and_context() {
    for both in [false, true] {
        let model = model(&format!("state-{both}"), both);
        for kv_type in KvType::ALL {
            for length in [20, 45, 64, 71, 131, 200] {
                let with = |alone| SessionOptions { kv_type, ..options(alone) };
                let [mut all, mut alone] = [with(false), with(true)].map(|options| open(&model, &options));
                for session in [&mut all, &mut alone] {
                    session.prefill(&text(length)).unwrap();
                    steps(session, 5);
                    // Of the last token keys and values are left: it passes again.
                    session.rewind(length + 3).unwrap();
                }
                let saved = state(&alone);
                assert!(length < 2 * WINDOW || saved.len() < state(&all).len());
                let other = SessionOptions { batch: 70, context: 300, ..with(true) };
                let mut restored = Session::open(model.clone(), &other).unwrap();
                restored.prefill(&text(290)).unwrap();
                restored.restore(&saved).unwrap();
                assert_eq!(state(&restored), saved);
                let mut forked = alone.fork(Some(&SessionOptions { batch: 1, ..with(true) })).unwrap();
                let tokens = steps(&mut all, 40);
                for session in [&mut restored, &mut forked, &mut alone] {
                    assert_eq!(steps(session, 40), tokens);
                    assert_eq!(session.logits().unwrap(), all.logits().unwrap());
                }
                // Neither goes on with what the other has.
                for (to, from) in [(&mut all, &mut restored), (&mut alone, &mut forked)] {
                    assert_eq!(to.tokens(), from.tokens());
                }
                let error = all.restore(&saved).unwrap_err();
                assert!(error.status() == Status::BadState && error.message().contains("windows alone"), "{error}");
                let error = alone.restore(&state(&all)).unwrap_err();
                assert!(error.status() == Status::BadState && error.message().contains("windows alone"), "{error}");
                let error = all.fork(Some(&with(true))).err().unwrap();
                assert!(error.status() == Status::InvalidArgument && error.message().contains("windows"), "{error}");
                // Of what was restored the past is not there.
                restored.restore(&saved).unwrap();
                if length > 2 * WINDOW {
                    assert_eq!(restored.rewind(length - 10).unwrap_err().status(), Status::OutOfRange);
                }
            }
        }
    }
}

#[test]
fn a_shift_is_exact_or_refused() {
    let model = model("shift", true);
    for kv_type in KvType::ALL {
        for (length, keep, discard) in
            [(50, 4, 10), (90, 1, 30), (150, 4, 32), (150, 0, 61), (200, 4, 100), (300, 9, 250), (300, 12, 1)]
        {
            let with = |alone| SessionOptions { kv_type, ..options(alone) };
            let [mut all, mut alone] = [with(false), with(true)].map(|options| open(&model, &options));
            for session in [&mut all, &mut alone] {
                session.prefill(&text(length)).unwrap();
                steps(session, 3);
                if length < 200 || length - discard > WINDOW + keep {
                    session.shift(keep, discard).unwrap();
                    session.step().unwrap();
                    session.shift(keep, 3).unwrap();
                }
            }
            assert_same(&mut all, &mut alone, 50);
            // What is left can be saved, and passes again.
            let saved = state(&alone);
            let mut restored = Session::open(model.clone(), &with(true)).unwrap();
            restored.restore(&saved).unwrap();
            assert_same(&mut alone, &mut restored, 10);
        }
    }
    // Of the tokens to be kept windows would still see some, which are not held.
    let mut session = open(&model, &options(true));
    session.prefill(&text(200)).unwrap();
    let before = state(&session);
    let error = session.shift(180, 10).unwrap_err();
    assert!(error.status() == Status::OutOfRange && error.message().contains("windows alone"), "{error}");
    assert_eq!(state(&session), before);
}

/// A prompt of one batch takes no place that the tokens before it need. A longer one may, and then a session says so.
#[test]
fn after_a_cancelled_prompt_a_session_goes_on_or_says_what_is_gone() {
    let model = model("cancel", true);
    let cancel = Arc::new(AtomicBool::new(false));
    for (length, goes_on) in [(BATCH, true), (200, false)] {
        let [mut all, mut alone] = [false, true].map(|windows_alone| open(&model, &options(windows_alone)));
        for session in [&mut all, &mut alone] {
            session.set_cancel_flag(cancel.clone());
            session.prefill(&text(150)).unwrap();
            session.prefill_begin(&text(length)).unwrap();
            let mut units = 0;
            while units < length && !session.prefill_within(Duration::ZERO).unwrap() {
                units += 1;
            }
            if !session.is_pending() {
                session.rewind(150).unwrap();
                continue;
            }
            cancel.store(true, Ordering::Relaxed);
            assert_eq!(session.prefill_within(Duration::ZERO).unwrap_err().status(), Status::Cancelled);
            assert_eq!(session.tokens().len(), 150);
        }
        if goes_on {
            assert_same(&mut all, &mut alone, 60);
            continue;
        }
        // The next token comes of logits that are there; to pass it takes the window.
        let mut buffer = vec![0; alone.state_size()];
        assert_eq!(alone.save(&mut buffer).unwrap_err().status(), Status::OutOfRange);
        assert_eq!(alone.fork(None).err().unwrap().status(), Status::OutOfRange);
        assert_eq!(alone.step().unwrap(), all.step().unwrap());
        for _ in 0..2 {
            let error = alone.step().unwrap_err();
            assert!(error.status() == Status::OutOfRange && error.message().contains("prefill anew"), "{error}");
            assert_eq!(alone.tokens(), all.tokens());
        }
        let tokens = alone.tokens().to_vec();
        alone.rewind(0).unwrap();
        alone.prefill(&tokens).unwrap();
        all.rewind(0).unwrap();
        all.prefill(&tokens).unwrap();
        assert_same(&mut all, &mut alone, 20);
    }
}

/// An embedding passes in the session's own buffers, before a text that begins.
#[test]
fn a_text_embedded_first_leaves_nothing_behind() {
    let model = model("embed", true);
    let [mut all, mut alone] = [false, true].map(|windows_alone| open(&model, &options(windows_alone)));
    let of = |session: &mut Session| session.embed(&text(300), rasp::session::Pooling::Mean, true).unwrap().to_vec();
    assert_eq!(of(&mut all), of(&mut alone));
    for session in [&mut all, &mut alone] {
        session.prefill(&text(100)).unwrap();
    }
    assert_same(&mut all, &mut alone, 30);
}

/// Where no layer attends to a window there is nothing to be saved, and nothing is refused.
#[test]
fn a_model_without_windows_is_not_affected() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("windows-none.rasp");
    tiny::Tiny::new().write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    let [mut all, mut alone] = [false, true].map(|windows_alone| open(&model, &options(windows_alone)));
    for session in [&mut all, &mut alone] {
        session.prefill(&text(200)).unwrap();
    }
    let plan = |alone| Session::plan(&model, &options(alone)).unwrap();
    assert_eq!(plan(true).kv_cache, plan(false).kv_cache);
    alone.rewind(20).unwrap();
    all.rewind(20).unwrap();
    assert_same(&mut all, &mut alone, 10);
    alone.restore(&state(&all)).unwrap();
}
