//! A session's states: what may follow what, what an error leaves behind, and that a seed repeats.

mod real_model;

use rasp::session::KvType;
use rasp::{Sampling, Session, SessionOptions, Status};
use real_model::{load, load_whole};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PROMPT: [u32; 5] = [504, 3575, 282, 4649, 314];

fn open(context: usize) -> Session {
    Session::open(load(), &SessionOptions { context, ..Default::default() }).unwrap()
}

#[test]
fn nothing_can_be_sampled_before_a_prompt() {
    let mut session = open(16);
    assert_eq!(session.step().unwrap_err().status(), Status::InvalidState);
    assert_eq!(session.logits().unwrap_err().status(), Status::InvalidState);
    assert_eq!(session.prefill(&[]).unwrap_err().status(), Status::InvalidArgument);
    session.prefill(&PROMPT).unwrap();
    assert_eq!(session.logits().unwrap().len(), 49152);
    session.reset();
    assert_eq!(session.step().unwrap_err().status(), Status::InvalidState);
    assert!(session.tokens().is_empty());
}

#[test]
fn a_full_context_is_an_error_that_changes_nothing() {
    let mut session = open(8);
    let error = session.prefill(&[1; 9]).unwrap_err();
    assert_eq!(error.status(), Status::ContextFull);
    assert!(error.message().contains("9 tokens") && error.message().contains("8 more of 8"), "{error}");
    session.prefill(&PROMPT).unwrap();
    for _ in 0..3 {
        session.step().unwrap();
    }
    let before = session.tokens().to_vec();
    for _ in 0..2 {
        assert_eq!(session.step().unwrap_err().status(), Status::ContextFull);
        assert_eq!(session.prefill(&[1]).unwrap_err().status(), Status::ContextFull);
        assert_eq!(session.tokens(), before);
    }
    assert!(session.logits().is_ok());
    // The last token, which has not passed, can be replaced; then it has.
    session.decode(1).unwrap();
    assert_eq!(session.decode(1).unwrap_err().status(), Status::ContextFull);
    assert_eq!((session.tokens().len(), session.tokens()[7]), (8, 1));
}

#[test]
fn options_and_ids_out_of_range_are_named() {
    let model = load();
    let refused = |options: SessionOptions| Session::open(model.clone(), &options).err().unwrap();
    let error = refused(SessionOptions { context: 8193, ..Default::default() });
    assert_eq!(error.status(), Status::OutOfRange);
    assert!(error.message().contains("8193") && error.message().contains("8192"), "{error}");
    assert_eq!(refused(SessionOptions { threads: 0, ..Default::default() }).status(), Status::InvalidArgument);

    let mut session = open(16);
    let error = session.prefill(&[1, 2, 49152]).unwrap_err();
    assert_eq!(error.status(), Status::OutOfRange);
    assert!(error.message().contains("token 2") && error.message().contains("49152"), "{error}");
    assert!(session.tokens().is_empty());
    for sparsity in [-0.1, 0.71, f32::NAN] {
        assert_eq!(session.set_sparsity(sparsity).unwrap_err().status(), Status::OutOfRange, "{sparsity}");
    }
}

#[test]
fn a_prompt_in_pieces_is_the_same_prompt() {
    let mut whole = open(64);
    whole.prefill(&PROMPT).unwrap();
    let mut pieces = open(64);
    pieces.prefill(&PROMPT[..2]).unwrap();
    pieces.prefill(&PROMPT[2..3]).unwrap();
    pieces.decode(PROMPT[3]).unwrap();
    // A sampled token that has not passed yet is replaced.
    pieces.step().unwrap();
    pieces.decode(PROMPT[4]).unwrap();
    assert_eq!(whole.tokens(), pieces.tokens());
    assert_eq!(whole.logits().unwrap(), pieces.logits().unwrap());
    // And one that has been sampled passes with the prompt that follows it.
    let token = whole.step().unwrap();
    whole.prefill(&[30, 198]).unwrap();
    pieces.prefill(&[token, 30, 198]).unwrap();
    assert_eq!(whole.logits().unwrap(), pieces.logits().unwrap());
}

#[test]
fn cancelling_stops_the_next_call_and_leaves_the_session_whole() {
    let mut session = open(64);
    session.prefill(&PROMPT).unwrap();
    let logits = session.logits().unwrap().to_vec();
    let flag = Arc::new(AtomicBool::new(false));
    session.set_cancel_flag(flag.clone());
    flag.store(true, Ordering::Relaxed);
    assert_eq!(session.prefill(&[1, 2, 3]).unwrap_err().status(), Status::Cancelled);
    assert_eq!(session.tokens(), PROMPT);
    assert_eq!(session.logits().unwrap(), logits);
    let expected = {
        let mut other = open(64);
        other.prefill(&PROMPT).unwrap();
        [other.step().unwrap(), other.step().unwrap()]
    };
    assert_eq!(session.step().unwrap(), expected[0]);
    flag.store(true, Ordering::Relaxed);
    assert_eq!(session.step().unwrap_err().status(), Status::Cancelled);
    assert_eq!(session.step().unwrap(), expected[1]);
}

#[test]
fn a_greedy_step_takes_the_largest_logit_though_it_reads_less_of_the_head() {
    // A row of the head has 1,152 bytes in 16 bits and 612 in 8, one of its screen 352.
    let files = [(load(), 0.35), (load_whole("q8"), 0.63), (load_whole("q4"), 0.63)];
    for ((model, share), (sparsity, threads)) in
        files.iter().flat_map(|file| [(0.0, 1), (0.5, 2), (0.7, 1)].map(|setting| (file, setting)))
    {
        let options = SessionOptions { context: 160, threads, ..Default::default() };
        let [mut greedy, mut whole] = [(); 2].map(|_| Session::open(model.clone(), &options).unwrap());
        for session in [&mut greedy, &mut whole] {
            session.set_sparsity(sparsity).unwrap();
            session.prefill(&PROMPT).unwrap();
        }
        let before = greedy.stats().head_bytes;
        let count = 140;
        for n in 0..count {
            let logits = whole.logits().unwrap();
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let expected = logits.iter().position(|&logit| logit == largest).unwrap() as u32;
            assert_eq!(greedy.step().unwrap(), expected, "step {n}, {sparsity}");
            whole.decode(expected).unwrap();
        }
        // One step had the prompt's logits; the others read the screen and a few rows.
        let read = (greedy.stats().head_bytes - before) as f64 / (count - 1) as f64;
        assert!(read > model.greedy_head_bytes() as f64);
        assert!(read < share * model.head_bytes() as f64, "{read} bytes a token, {sparsity}");
        // The logits are there for who asks, those of the token that passed last.
        greedy.decode(greedy.tokens()[PROMPT.len() + count - 1]).unwrap();
        assert_eq!(greedy.logits().unwrap(), whole.logits().unwrap());
    }
}

#[test]
fn a_draw_from_the_top_k_is_the_same_though_it_reads_less_of_the_head() {
    for (model, top_k, threads) in
        [(load(), 5, 1), (load(), 40, 2), (load_whole("q8"), 64, 1), (load_whole("q4"), 40, 1), (load(), 65, 1)]
    {
        let options = SessionOptions { context: 128, threads, ..Default::default() };
        let [mut drawn, mut whole] = [(); 2].map(|_| {
            let mut session = Session::open(model.clone(), &options).unwrap();
            let sampling =
                Sampling { temperature: 1.2, top_k, top_p: 0.95, min_p: 0.02, seed: 7, ..Default::default() };
            session.set_sampling(sampling).unwrap();
            session.set_sparsity(0.5).unwrap();
            session.prefill(&PROMPT).unwrap();
            session
        });
        let before = drawn.stats().head_bytes;
        let count = 100;
        for n in 0..count {
            // From all logits, which `decode` has computed.
            let expected = whole.step().unwrap();
            assert_eq!(drawn.step().unwrap(), expected, "step {n}, top {top_k}");
            whole.decode(expected).unwrap();
        }
        let read = (drawn.stats().head_bytes - before) as f64 / f64::from(count - 1) / model.head_bytes() as f64;
        assert!(if top_k > 64 { read == 1.0 } else { read < 0.8 }, "{read} of the head a token, top {top_k}");
    }
}

#[test]
fn logits_after_a_greedy_step_outlive_a_cancelled_call() {
    let mut session = open(64);
    let mut other = open(64);
    for session in [&mut session, &mut other] {
        session.prefill(&PROMPT).unwrap();
    }
    let first = session.step().unwrap();
    session.step().unwrap();
    other.decode(first).unwrap();
    let flag = Arc::new(AtomicBool::new(true));
    session.set_cancel_flag(flag);
    assert_eq!(session.prefill(&[1, 2, 3]).unwrap_err().status(), Status::Cancelled);
    assert_eq!(session.logits().unwrap(), other.logits().unwrap());
    // And a sampler that is no longer greedy finds all it needs.
    session.set_sampling(Sampling { temperature: 0.5, top_k: 1, ..Default::default() }).unwrap();
    other.set_sampling(Sampling { temperature: 0.5, top_k: 1, ..Default::default() }).unwrap();
    let (token, _) = (other.step().unwrap(), session.decode(session.tokens()[PROMPT.len() + 1]).unwrap());
    assert_eq!(session.tokens().last(), Some(&token));
}

#[test]
fn a_seed_repeats_after_a_reset_on_any_threads() {
    let sampling = Sampling { temperature: 0.9, top_k: 40, seed: 3, ..Default::default() };
    let mut texts = Vec::new();
    for threads in [1, 2] {
        let options = SessionOptions { context: 64, threads, kv_type: KvType::F16, ..Default::default() };
        let mut session = Session::open(load(), &options).unwrap();
        session.set_sampling(sampling).unwrap();
        session.set_sparsity(0.4).unwrap();
        for _ in 0..2 {
            session.reset();
            session.prefill(&PROMPT).unwrap();
            texts.push((0..20).map(|_| session.step().unwrap()).collect::<Vec<_>>());
        }
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn sparsity_can_change_between_tokens_and_the_traffic_shows_it() {
    let mut session = open(128);
    session.prefill(&PROMPT).unwrap();
    let mut kept = |sparsity: f32| {
        session.set_sparsity(sparsity).unwrap();
        session.clear_stats();
        for _ in 0..10 {
            session.step().unwrap();
        }
        session.stats().kept
    };
    assert_eq!(kept(0.0), 1.0);
    let (sparse, between, sparser) = (kept(0.3), kept(0.4), kept(0.5));
    assert!((0.6..0.8).contains(&sparse) && (0.35..0.6).contains(&sparser), "{sparse} {sparser}");
    assert!(sparser < between && between < sparse, "{sparse} {between} {sparser}");
    // Half the way to the first level.
    let little = kept(0.15);
    assert!((sparse..1.0).contains(&little), "{little}");
}
