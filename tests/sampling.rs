//! Samplers at work in a session of the real model.

mod real_model;

use rasp::sampling::{SamplerOrder, SamplerStage};
use rasp::{Sampling, Session, SessionOptions, Status};
use real_model::load;

fn open(settings: Sampling) -> Session {
    let mut session = Session::open(load(), &SessionOptions { context: 300, ..Default::default() }).unwrap();
    session.set_sampling(settings).unwrap();
    session
}

fn text(session: &Session) -> String {
    let mut bytes = Vec::new();
    let tokenizer = session.model().tokenizer();
    session.tokens().iter().for_each(|&token| bytes.extend_from_slice(tokenizer.token_bytes(token).unwrap()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn prefill(session: &mut Session, text: &str) {
    let mut tokens = Vec::new();
    session.model().tokenizer().encode(text, Default::default(), &mut tokens).unwrap();
    session.prefill(&tokens).unwrap();
}

/// Everything that changes from token to token, at once.
fn all() -> Sampling {
    Sampling {
        temperature: 1.1,
        seed: 9,
        presence_penalty: 0.2,
        frequency_penalty: 0.3,
        typical_p: 0.95,
        xtc_probability: 0.4,
        dry_multiplier: 0.8,
        mirostat_tau: 4.0,
        order: SamplerOrder::new(&[SamplerStage::Typical, SamplerStage::Xtc]).unwrap(),
        ..Sampling::default()
    }
}

#[test]
fn a_restored_session_draws_what_the_saved_one_would_have() {
    let mut session = open(all());
    prefill(&mut session, "The old lighthouse stood");
    (0..25).for_each(|_| assert!(session.step().is_ok()));
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    let expected: Vec<u32> = (0..25).map(|_| session.step().unwrap()).collect();
    let mut other = open(Sampling::default());
    let plain = other.state_size();
    other.restore(&bytes).unwrap();
    assert_eq!((0..25).map(|_| other.step().unwrap()).collect::<Vec<u32>>(), expected);
    // Settings that older libraries know take the bytes they know.
    other.reset();
    other.set_sampling(Sampling { temperature: 0.5, top_k: 3, ..Sampling::default() }).unwrap();
    assert_eq!(other.state_size(), plain);
    // One that says it has more settings than it has bytes for is refused.
    other.restore(&bytes).unwrap();
    let end = bytes.len() - 8 - 1;
    bytes[end] = 1;
    assert_eq!(other.restore(&bytes).unwrap_err().status(), Status::BadState);
}

#[test]
fn a_loop_ends_under_penalties() {
    let words = "one two three four five six seven eight. one two three four five six seven eight. one two three";
    let next = |settings| {
        let mut session = open(settings);
        prefill(&mut session, words);
        session.step().unwrap();
        text(&session)[words.len()..].to_string()
    };
    assert_eq!(next(Sampling::default()), " four", "greedy goes on with the loop");
    assert_ne!(next(Sampling { dry_multiplier: 5.0, ..Sampling::default() }), " four");
    assert_ne!(next(Sampling { frequency_penalty: 20.0, ..Sampling::default() }), " four");
    assert_ne!(next(Sampling { presence_penalty: 50.0, ..Sampling::default() }), " four");
    // Below the length that is allowed nothing is taken.
    let long = Sampling { dry_multiplier: 5.0, dry_allowed_length: 40, ..Sampling::default() };
    assert_eq!(next(long), " four");
}

#[test]
fn line_ends_and_quotation_marks_end_repetitions() {
    let next = |words: &str| {
        let mut session = open(Sampling { dry_multiplier: 100.0, ..Sampling::default() });
        prefill(&mut session, words);
        session.step().unwrap();
        text(&session)[words.len()..].to_string()
    };
    let list = "name: \"red\"\nname: \"blue\"\nname";
    assert_eq!(next(list), ":", "a key comes again as often as it must");
}
