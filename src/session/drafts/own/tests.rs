use super::super::DraftOptions;
use crate::model::{Attention, Block};
use crate::session::{KvType, SessionOptions, Traffic};
use crate::{LoadOptions, Model, Sampling, Session, Status, tiny};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A model of random weights whose first layer attends to a window.
fn model(name: &str) -> Arc<Model> {
    let path = std::env::temp_dir().join(format!("rasp-own-{name}-{}", std::process::id()));
    let rope = |table| Attention { rope: Some(table), ..Attention::default() };
    let attention = vec![Attention { window: Some(24), ..rope(1) }, rope(0)];
    tiny::Tiny::of(Block { attention, layers: vec![0, 1], ..Block::default() }).write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    model
}

/// The same session without drafts, and one that makes its own as if they cost nothing.
fn pair(model: &Arc<Model>, n: usize) -> [Session; 2] {
    [0, [7, 1, 4][n % 3]].map(|drafts| {
        let options = SessionOptions {
            context: 200,
            threads: [1, 2, 1][n % 3],
            batch: [64, 32, 128, 9][n % 4],
            kv_type: KvType::ALL[n % 3],
            windows_alone: n % 2 == 1,
            drafts,
            ..Default::default()
        };
        let mut session = Session::open(model.clone(), &options).unwrap();
        session.drafts.cost = 0.0;
        let own = DraftOptions { own: true, lookup: n % 5 == 4, forced: true, most: drafts };
        session.set_drafts(own, &[]).unwrap();
        session.set_sparsity([0.0, 0.3, 0.0][n % 3]).unwrap();
        let temperature = [0.0, 0.0, 0.3][n / 2 % 3];
        session.set_sampling(Sampling { temperature, seed: n as u64, ..Default::default() }).unwrap();
        session.prefill(&(0..30).map(|i| (37 * i + 11 * n as u32) % 250).collect::<Vec<_>>()).unwrap();
        session
    })
}

/// What a session is in, and what its tokens have read.
fn state(session: &Session) -> (Vec<u8>, Traffic) {
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    (bytes, session.stats().traffic)
}

fn meddle(session: &mut Session, what: usize) {
    let tokens = session.tokens().len();
    match what {
        0 => session.rewind(tokens - 1).unwrap(),
        1 => session.rewind(tokens - 3).unwrap(),
        2 => session.set_sparsity(0.2).unwrap(),
        3 => session.set_sparsity(0.0).unwrap(),
        4 => session.decode(3).unwrap(),
        5 => session.prefill(&[5, 6, 7]).unwrap(),
        6 => session.shift(2, 5).unwrap(),
        7 => drop(session.logits().unwrap().to_vec()),
        8 => session.set_logit_bias(&[(9, 4.0), (11, f32::NEG_INFINITY)]).unwrap(),
        9 => session.set_logit_bias(&[]).unwrap(),
        _ => {}
    }
}

#[test]
fn every_step_leaves_the_state_of_a_session_without_drafts() {
    let model = model("steps");
    let (mut drafted, mut accepted) = (0, 0);
    for n in 0..9 {
        let [mut plain, mut drafting] = pair(&model, n);
        for step in 0..44 {
            // What was wrong is not held against the next.
            drafting.drafts.restart();
            let expected = plain.step().unwrap();
            let token = match step % 3 {
                0 => loop {
                    if let Some(token) = drafting.step_within(Duration::ZERO).unwrap() {
                        break token;
                    }
                },
                _ => drafting.step().unwrap(),
            };
            assert_eq!(token, expected, "session {n}, step {step}");
            if step % 4 == 3 {
                let what = (step / 4 + n) % 14;
                [&mut plain, &mut drafting].into_iter().for_each(|session| meddle(session, what));
            }
            assert!(state(&plain) == state(&drafting), "session {n}, step {step}");
        }
        let stats = drafting.stats().drafts;
        (drafted, accepted) = (drafted + stats.drafted, accepted + stats.accepted);
    }
    assert!(accepted > 30 && drafted > 2 * accepted, "{accepted} of {drafted}: right ones and wrong ones");
}

/// In the middle of its drafts, too: then it goes on as if nothing had been.
#[test]
fn a_step_can_be_cancelled_at_every_unit() {
    let model = model("cancel");
    for n in 0..3 {
        let [mut plain, mut drafting] = pair(&model, n);
        let flag = Arc::new(AtomicBool::new(false));
        drafting.set_cancel_flag(flag.clone());
        let mut cancelled = 0;
        for units in 1..80 {
            drafting.drafts.restart();
            let before = state(&drafting);
            let done = (0..units).find_map(|_| drafting.step_within(Duration::ZERO).unwrap());
            let token = done.unwrap_or_else(|| {
                cancelled += 1;
                flag.store(true, Ordering::Relaxed);
                assert_eq!(drafting.step().unwrap_err().status(), Status::Cancelled, "{n}: {units} units");
                assert!(state(&drafting) == before, "{n}: {units} units");
                drafting.step().unwrap()
            });
            assert_eq!(token, plain.step().unwrap(), "{n}: {units} units");
            assert!(state(&plain) == state(&drafting), "{n}: {units} units");
        }
        assert!(cancelled > 20, "{cancelled}");
    }
}
