//! Drafts change nothing but how many passes a text takes: every session ends each step in the very state, and with the
//! very logits, of one that makes none.

mod real_model;
#[path = "support/tiny.rs"]
mod tiny;

use rasp::model::{Attention, Block};
use rasp::session::{DraftOptions, KvType, MAX_DRAFTS};
use rasp::{LoadOptions, Model, Sampling, Session, SessionOptions, Status};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn tiny_model(name: &str) -> Arc<Model> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    tiny::Tiny::new().write(&path);
    Model::load(&path, &LoadOptions::default()).unwrap()
}

/// What a session is in: its saved state, which has its tokens, keys, values and random numbers, and what it has read.
fn state(session: &Session) -> (Vec<u8>, [u64; 3]) {
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    let stats = session.stats();
    (bytes, [stats.traffic.tokens, stats.traffic.linear_bytes, stats.head_bytes])
}

/// The same session without drafts and with, from a prompt that says a thing twice.
fn pair(model: &Arc<Model>, n: usize) -> [Session; 2] {
    [0, [7, 1, 4][n % 3]].map(|drafts| {
        let options = SessionOptions {
            context: 240,
            threads: [2, 1, 3][n % 3],
            batch: [64, 32, 128, 9][n % 4],
            kv_type: KvType::ALL[n % 3],
            drafts,
            ..Default::default()
        };
        let mut session = Session::open(model.clone(), &options).unwrap();
        session.set_sparsity([0.0, 0.3, 0.5, 0.45][n % 4]).unwrap();
        let temperature = [0.0, 0.0, 0.4, 0.9][n / 2 % 4];
        let top_k = [0, 5, 40][n % 3];
        session.set_sampling(Sampling { temperature, top_k, seed: n as u64, ..Default::default() }).unwrap();
        if n % 5 == 4 {
            session.set_logit_bias(&[(7, 3.0), (11, -5.0)]).unwrap();
        }
        let vocab = model.config().vocab_size;
        let prompt: Vec<u32> = (0..40).map(|i| ((504 + 37 * (i % 20) + 11 * n) % vocab) as u32).collect();
        session.prefill(&prompt).unwrap();
        session
    })
}

/// What a host may do between steps, by number: the same to both.
fn meddle(session: &mut Session, what: usize) {
    let tokens = session.tokens().len();
    match what {
        0 => session.rewind(tokens - 1).unwrap(),
        1 => session.rewind(tokens - 5).unwrap(),
        2 => session.set_sparsity(0.25).unwrap(),
        3 => session.set_sampling(Sampling { temperature: 0.7, seed: 5, ..Default::default() }).unwrap(),
        4 => session.set_sampling(Sampling::default()).unwrap(),
        5 => session.decode(3).unwrap(),
        6 => session.prefill(&[5, 6, 7]).unwrap(),
        7 => session.shift(2, 9).unwrap(),
        8 => drop(session.logits().unwrap().to_vec()),
        9 => {
            // Cancelled: as it was.
            let flag = Arc::new(AtomicBool::new(true));
            session.set_cancel_flag(flag.clone());
            assert_eq!(session.step().unwrap_err().status(), Status::Cancelled);
            assert!(!flag.load(Ordering::Relaxed));
        }
        10 => {
            let (bytes, _) = state(session);
            session.restore(&bytes).unwrap();
        }
        11 => {
            session.set_logit_bias(&[(9, f32::NEG_INFINITY)]).unwrap();
            session.set_logit_bias(&[]).unwrap();
        }
        _ => {}
    }
}

#[test]
fn every_step_leaves_the_state_of_a_session_without_drafts() {
    let model = tiny_model("drafts-steps.rasp");
    let (mut drafted, mut accepted) = (0, 0);
    for n in 0..36 {
        let [mut plain, mut drafting] = pair(&model, n);
        for step in 0..150 {
            let expected = plain.step().unwrap();
            let token = match step % 3 {
                // Unit by unit.
                0 if n % 2 == 0 => loop {
                    if let Some(token) = drafting.step_within(Duration::ZERO).unwrap() {
                        break token;
                    }
                },
                _ => drafting.step().unwrap(),
            };
            assert_eq!(token, expected, "session {n}, step {step}");
            if step % 7 == 6 {
                let what = (step / 7 + n) % 15;
                [&mut plain, &mut drafting].into_iter().for_each(|session| meddle(session, what));
            }
            assert!(state(&plain) == state(&drafting), "session {n}, step {step}");
            if step % 11 == 10 {
                let bits =
                    |session: &mut Session| session.logits().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&mut plain), bits(&mut drafting), "session {n}, step {step}");
            }
        }
        let stats = drafting.stats().drafts;
        assert!(stats.accepted <= stats.drafted);
        drafted += stats.drafted;
        accepted += stats.accepted;
        assert_eq!(plain.stats().drafts, Default::default());
    }
    assert!(accepted > 100 && drafted > accepted, "{accepted} of {drafted}: right ones and wrong ones");
}

#[test]
fn a_fork_goes_on_with_drafts_of_its_own() {
    let model = tiny_model("drafts-fork.rasp");
    for n in 0..6 {
        let [mut plain, mut drafting] = pair(&model, n);
        (0..30).for_each(|_| assert_eq!(plain.step().unwrap(), drafting.step().unwrap()));
        let mut child = drafting.fork(None).unwrap();
        assert_eq!(child.drafts(), drafting.drafts());
        for _ in 0..30 {
            let expected = plain.step().unwrap();
            assert_eq!((drafting.step().unwrap(), child.step().unwrap()), (expected, expected));
        }
        assert!(state(&drafting).0 == state(&child).0);
    }
}

#[test]
fn sessions_that_step_together_draft_together() {
    let model = tiny_model("drafts-batch.rasp");
    let (mut plain, mut drafting): (Vec<Session>, Vec<Session>) = (0..7).map(|n| pair(&model, n).into()).unzip();
    for step in 0..90 {
        let expected: Vec<u32> = plain.iter_mut().map(|session| session.step().unwrap()).collect();
        let mut all: Vec<&mut Session> = drafting.iter_mut().collect();
        let mut tokens = vec![0; all.len()];
        Session::step_batch(&mut all, |n, outcome| tokens[n] = outcome.unwrap()).unwrap();
        assert_eq!(tokens, expected, "step {step}");
        for (plain, drafting) in plain.iter().zip(&drafting) {
            assert!(state(plain) == state(drafting), "step {step}");
        }
    }
    let accepted: u64 = drafting.iter().map(|session| session.stats().drafts.accepted).sum();
    assert!(accepted > 20, "{accepted}");
}

#[test]
fn layers_that_hold_windows_alone_draft_as_well() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drafts-windows.rasp");
    let rope = |table| Attention { rope: Some(table), ..Attention::default() };
    let attention = vec![Attention { window: Some(40), ..rope(1) }, rope(0)];
    tiny::Tiny::of(Block { attention, layers: vec![0, 1], ..Block::default() }).write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    let [mut plain, mut drafting] = [0, 7].map(|drafts| {
        let options = SessionOptions { context: 400, batch: 32, windows_alone: true, drafts, ..Default::default() };
        let mut session = Session::open(model.clone(), &options).unwrap();
        session.prefill(&(0..60).map(|i| 30 + i % 20).collect::<Vec<u32>>()).unwrap();
        session
    });
    let expected: Vec<_> = (0..300).map(|_| (plain.step().unwrap(), state(&plain))).collect();
    // What is to come, but for every eleventh token.
    let mut text: Vec<u32> = expected.iter().map(|(token, _)| *token).collect();
    text.iter_mut().skip(10).step_by(11).for_each(|token| *token = (*token + 1) % 250);
    drafting.set_drafts(DraftOptions::all(7), &text).unwrap();
    for (step, (token, expected)) in expected.iter().enumerate() {
        assert_eq!(drafting.step().unwrap(), *token, "step {step}");
        assert!(state(&drafting) == *expected, "step {step}");
    }
    let stats = drafting.stats().drafts;
    assert!(stats.accepted > 100 && stats.drafted > stats.accepted, "{stats:?}");
}

#[test]
fn the_hosts_text_is_looked_into() {
    let model = tiny_model("drafts-text.rasp");
    let options = SessionOptions { context: 200, drafts: 7, ..Default::default() };
    let mut session = Session::open(model.clone(), &options).unwrap();
    session.prefill(&[40, 41, 42]).unwrap();
    let answer: Vec<u32> = (0..100).map(|_| session.step().unwrap()).collect();
    let alone = session.stats().drafts.accepted;
    session.reset();
    session.clear_stats();
    session.set_drafts(DraftOptions::all(7), &answer).unwrap();
    session.prefill(&[40, 41, 42]).unwrap();
    assert_eq!((0..100).map(|_| session.step().unwrap()).collect::<Vec<_>>(), answer);
    let told = session.stats().drafts.accepted;
    assert!(told > alone && told >= 50, "{told} for {alone}");
    // And off again.
    session.set_drafts(DraftOptions::default(), &[]).unwrap();
    session.reset();
    session.clear_stats();
    session.prefill(&[40, 41, 42]).unwrap();
    assert_eq!((0..100).map(|_| session.step().unwrap()).collect::<Vec<_>>(), answer);
    assert_eq!(session.stats().drafts, Default::default());
}

#[test]
fn what_there_is_no_room_for_is_refused() {
    let model = tiny_model("drafts-refused.rasp");
    let open = |drafts| Session::open(model.clone(), &SessionOptions { drafts, ..Default::default() });
    let error = open(MAX_DRAFTS + 1).err().unwrap();
    assert!(error.status() == Status::OutOfRange && error.message().contains("8 drafts in a pass; at most 7"));
    let mut session = open(3).unwrap();
    let error = session.set_drafts(DraftOptions::all(4), &[]).unwrap_err();
    assert!(error.message().contains("4 drafts in a pass; the session was opened for 3"), "{error}");
    let error = session.set_drafts(DraftOptions::all(3), &[1, 1 << 30]).unwrap_err();
    assert!(error.message().contains("token 1 has id 1073741824"), "{error}");
    assert_eq!(session.drafts(), DraftOptions::all(3), "as it was opened");
    let plan = |drafts| Session::plan(&model, &SessionOptions { drafts, ..Default::default() }).unwrap().size;
    assert!(plan(3) >= plan(0) + 3 * 4 * model.config().vocab_size, "the plan has their logits");
}

#[test]
fn copying_takes_a_pass_for_several_tokens() {
    let model = Model::load(&real_model::path().with_file_name("smollm2-q4.rasp"), &LoadOptions::default()).unwrap();
    let tokenizer = model.tokenizer();
    let list = "mount, river, candle, orange, window, silver, paper, garden, bottle, thunder, castle, feather";
    let text =
        format!("The list: {list}.\n{}The same list again:", format!("The same list again: {list}.\n").repeat(3));
    let mut prompt = Vec::new();
    tokenizer.encode(&text, Default::default(), &mut prompt).unwrap();
    let [plain, drafting] = [0, 7].map(|drafts| {
        let options = SessionOptions { context: 400, drafts, ..Default::default() };
        let mut session = Session::open(model.clone(), &options).unwrap();
        session.set_sparsity(0.3).unwrap();
        session.prefill(&prompt).unwrap();
        let tokens: Vec<u32> = (0..40).map(|_| session.step().unwrap()).collect();
        (tokens, session.stats())
    });
    assert_eq!(plain.0, drafting.0);
    assert_eq!(plain.1.traffic, drafting.1.traffic);
    let accepted = drafting.1.drafts.accepted;
    assert!(accepted >= 20, "{accepted} of 40 took no pass");
}

/// Ten thousand tokens of each format, in a few minutes: `cargo test --release --test drafts -- --ignored`.
#[test]
#[ignore = "takes minutes; wants the models of `make models`"]
fn ten_thousand_tokens_are_the_same_with_every_sampler_and_sparsity() {
    let base = Sampling { temperature: 0.8, seed: 11, ..Sampling::default() };
    let samplings = [
        Sampling::default(),
        Sampling { top_k: 40, ..base },
        Sampling { top_p: 0.9, ..base },
        Sampling { min_p: 0.05, ..base },
        Sampling { typical_p: 0.9, ..base },
        Sampling { top_n_sigma: 1.5, xtc_probability: 0.3, ..base },
        Sampling { mirostat_tau: 3.0, ..base },
        Sampling { repetition_penalty: 1.1, frequency_penalty: 0.1, dry_multiplier: 0.5, ..base },
    ];
    let texts = [include_str!("drafts/edit.txt"), include_str!("drafts/json.txt"), include_str!("drafts/quote.txt")];
    for name in ["smollm2-q4.rasp", "smollm2-q8.rasp", "smollm2.rasp"] {
        let model = Model::load(&real_model::path().with_file_name(name), &LoadOptions::default()).unwrap();
        let (mut tokens, mut accepted) = (0, 0);
        for (n, &sampling) in samplings.iter().enumerate() {
            for (text, sparsity) in texts.iter().zip([0.0, 0.3, 0.5]) {
                let mut prompt = Vec::new();
                model.tokenizer().encode(text, Default::default(), &mut prompt).unwrap();
                let [mut plain, mut drafting] = [0, 7].map(|drafts| {
                    let context = prompt.len() + 430;
                    let options = SessionOptions { context, threads: 1 + n % 2, drafts, ..Default::default() };
                    let mut session = Session::open(model.clone(), &options).unwrap();
                    session.set_sampling(sampling).unwrap();
                    session.set_sparsity(sparsity).unwrap();
                    session.prefill(&prompt).unwrap();
                    session
                });
                for step in 0..425 {
                    let expected = plain.step().unwrap();
                    assert_eq!(drafting.step().unwrap(), expected, "{name}, {sampling:?}, {sparsity}, step {step}");
                    tokens += 1;
                }
                assert!(state(&plain) == state(&drafting), "{name}, {sampling:?}, {sparsity}");
                accepted += drafting.stats().drafts.accepted;
            }
        }
        println!("{name}: {tokens} tokens, {accepted} of them without a pass");
        assert!(tokens >= 10_000 && accepted > 1_000);
    }
}
