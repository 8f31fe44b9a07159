//! Logit biases and the host's callback, on the real model.

mod real_model;

use rasp::sampling::{LogitsCallback, SAMPLE};
use rasp::{Sampling, Session, SessionOptions, Status};
use real_model::load;
use std::ffi::c_void;

const PROMPT: [u32; 5] = [504, 3575, 282, 4649, 314];
const PARIS: u32 = 7042;

fn open() -> Session {
    let mut session = Session::open(load(), &SessionOptions { context: 64, ..Default::default() }).unwrap();
    session.prefill(&PROMPT).unwrap();
    session
}

fn tokens(session: &mut Session, count: usize) -> Vec<u32> {
    (0..count).map(|_| session.step().unwrap()).collect()
}

/// The host's side of a callback: what it saw, and what it is to do.
struct Host {
    calls: Vec<Vec<u32>>,
    act: fn(&mut [f32]) -> i32,
}

unsafe extern "C" fn callback(host: *mut c_void, logits: *mut f32, vocab: usize, tokens: *const u32, n: usize) -> i32 {
    // SAFETY: the tests hand a `Host` to the callback, and the library whole slices.
    let (host, logits, tokens) = unsafe {
        (
            &mut *host.cast::<Host>(),
            std::slice::from_raw_parts_mut(logits, vocab),
            std::slice::from_raw_parts(tokens, n),
        )
    };
    host.calls.push(tokens.to_vec());
    (host.act)(logits)
}

fn listen(session: &mut Session, host: &mut Host) {
    let context = (host as *mut Host).cast();
    // SAFETY: the function is for a `Host`, and every test's outlives its session's last step.
    unsafe { session.set_logits_callback(Some(LogitsCallback { function: callback, context })) }.unwrap();
}

#[test]
fn a_bias_forbids_and_forces_and_is_cleared() {
    let mut session = open();
    let plain = tokens(&mut session, 8);
    assert_eq!(plain[0], PARIS);
    let mut again = |biases: &[(u32, f32)]| {
        session.reset();
        session.set_logit_bias(biases).unwrap();
        session.prefill(&PROMPT).unwrap();
        tokens(&mut session, 8)
    };
    assert!(!again(&[(PARIS, f32::NEG_INFINITY)]).contains(&PARIS));
    assert_eq!(again(&[(2, 1000.0)]), [2; 8]);
    // Greedy by the screen and greedy by whole logits are the same.
    assert_eq!(again(&[(99, -1.0)]), plain);
    assert_eq!(again(&[]), plain);
    // The model's own logits stay as they are.
    session.reset();
    session.prefill(&PROMPT).unwrap();
    let before = session.logits().unwrap().to_vec();
    session.set_logit_bias(&[(PARIS, -5.0)]).unwrap();
    session.step().unwrap();
    assert_eq!(session.logits().unwrap(), before);
    let error = session.set_logit_bias(&[(49152, 0.0)]).unwrap_err();
    assert!(error.status() == Status::OutOfRange && error.message().contains("49152"), "{error}");
}

#[test]
fn a_callback_sees_what_is_sampled_from_and_may_choose() {
    let mut session = open();
    let plain = tokens(&mut session, 4);
    let mut host = Host { calls: Vec::new(), act: |_| SAMPLE };
    session.reset();
    session.prefill(&PROMPT).unwrap();
    listen(&mut session, &mut host);
    assert_eq!(tokens(&mut session, 4), plain);
    assert_eq!(host.calls[0], PROMPT);
    assert_eq!(host.calls[3], [&PROMPT[..], &plain[..3]].concat());
    // It has the last word.
    host.act = |_| 30;
    assert_eq!(session.step().unwrap(), 30);
    // It sees biases, and temperature comes after it.
    session.set_logit_bias(&[(5, f32::NEG_INFINITY)]).unwrap();
    session.set_sampling(Sampling { temperature: 1.0, ..Default::default() }).unwrap();
    host.act = |logits| {
        assert_eq!(logits[5], f32::NEG_INFINITY);
        logits.fill(f32::NEG_INFINITY);
        logits[77] = 0.0;
        SAMPLE
    };
    assert_eq!(session.step().unwrap(), 77);
}

#[test]
fn what_a_callback_may_not_leave_is_an_error_that_changes_nothing() {
    let mut session = open();
    let mut host = Host { calls: Vec::new(), act: |_| SAMPLE };
    listen(&mut session, &mut host);
    session.step().unwrap();
    let before = session.tokens().to_vec();
    type Act = fn(&mut [f32]) -> i32;
    let bad: [(Act, Status, &str); 6] = [
        (|l| (l[9] = f32::NAN, SAMPLE).1, Status::NonFinite, "token 9"),
        (|l| (l[9] = f32::INFINITY, SAMPLE).1, Status::NonFinite, "inf"),
        (|l| (l.fill(f32::NEG_INFINITY), SAMPLE).1, Status::InvalidArgument, "every token is forbidden"),
        (|_| 49152, Status::OutOfRange, "49152"),
        (|_| -2, Status::OutOfRange, "-2"),
        (|_| i32::MIN, Status::OutOfRange, "-2147483648"),
    ];
    for (act, status, word) in bad {
        host.act = act;
        let error = session.step().unwrap_err();
        assert!(error.status() == status && error.message().contains(word), "{error}");
        assert_eq!(session.tokens(), before);
    }
    host.act = |_| SAMPLE;
    let next = session.step().unwrap();
    let mut plain = open();
    assert_eq!(tokens(&mut plain, 2), [before[PROMPT.len()], next]);
}
