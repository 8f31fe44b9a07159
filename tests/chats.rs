//! Conversations that are a session's own: each turn is given whole, and what the session holds of it does not pass
//! again.

mod real_model;
#[path = "support/tiny.rs"]
mod tiny;

use rasp::session::Ended;
use rasp::text::{Chat, EncodeOptions, Message};
use rasp::{LoadOptions, Model, Session, SessionOptions, Status};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn open(model: &Arc<Model>, options: SessionOptions) -> Session {
    Session::open(model.clone(), &options).unwrap()
}

fn bits(session: &mut Session) -> Vec<u32> {
    session.logits().unwrap().iter().map(|x| x.to_bits()).collect()
}

/// The tokens of a conversation up to where the assistant speaks next.
fn tokens(model: &Model, messages: &[(&str, String)]) -> Vec<u32> {
    let messages: Vec<_> = messages.iter().map(|(role, content)| Message::new(role, content)).collect();
    let chat = Chat { messages: &messages, add_generation_prompt: true, ..Default::default() };
    let mut tokens = Vec::new();
    model.tokenizer().encode_chat(&model.chat_template().unwrap().format(&chat).unwrap(), &mut tokens).unwrap();
    tokens
}

/// An answer's text, to its end or so many tokens.
fn answer(session: &mut Session, most: usize) -> String {
    let mut text = Vec::new();
    for _ in 0..most {
        if let Some(end) = session.step_text(false, |piece| text.extend_from_slice(piece)).unwrap() {
            assert_eq!(end, Ended::Token);
            return String::from_utf8(text).unwrap();
        }
    }
    session.finish_text(|piece| text.extend_from_slice(piece));
    String::from_utf8(text).unwrap()
}

/// Ten turns of a chat, sparse answers: every token passes once, whether an answer ended by itself or was cut short.
#[test]
fn ten_turns_pass_each_token_once() {
    let model = real_model::load();
    for (sparsity, temperature) in [(0.0, 0.0), (0.4, 0.9)] {
        let mut session = open(&model, SessionOptions { context: 2048, ..Default::default() });
        session.set_sparsity(sparsity).unwrap();
        let sampling = rasp::Sampling { temperature, seed: 7, ..Default::default() };
        session.set_sampling(sampling).unwrap();
        let mut messages = vec![("system", "You answer in a few words.".to_string())];
        let (mut passed, mut sampled) = (0, 0);
        for turn in 0..10 {
            messages.push(("user", format!("Tell me of number {turn}, the d\u{e9}j\u{e0}-vu of caf\u{e9}s.")));
            let given = tokens(&model, &messages);
            let before = session.tokens().to_vec();
            let kept = session.prefill_whole(&given).unwrap();
            // What an answer has last, its end or the token it was cut at, is in the text too.
            assert!(turn == 0 || kept == before.len(), "turn {turn}: {kept} of {} stay", before.len());
            assert!(session.tokens().starts_with(&before));
            let decode = |ids: &[u32]| model.tokenizer().decode(ids, false).unwrap();
            assert_eq!(decode(session.tokens()), decode(&given), "turn {turn}");
            passed += session.tokens().len() - kept;
            let start = session.tokens().len();
            let said = answer(&mut session, if turn % 3 == 2 { 5 } else { 60 });
            sampled += session.tokens().len() - start;
            messages.push(("assistant", said));
        }
        assert_eq!(session.tokens().len(), passed + sampled, "sparsity {sparsity}");
    }
}

/// Where the tokens of a text are not those that were sampled, what was sampled stays.
#[test]
fn a_text_cut_otherwise_is_the_same_text() {
    let model = real_model::load();
    let encode = |text: &str| {
        let mut ids = Vec::new();
        model.tokenizer().encode(text, EncodeOptions::default(), &mut ids).unwrap();
        ids
    };
    let word = encode("international cooperation");
    let letters: Vec<u32> = "international cooperation".chars().flat_map(|c| encode(&c.to_string())).collect();
    assert!(letters.len() > word.len());
    let mut session = open(&model, SessionOptions { context: 128, ..Default::default() });
    session.prefill(&letters).unwrap();
    let expected = bits(&mut session);
    // The same text, whole: nothing passes, and the logits are there.
    assert_eq!(session.prefill_whole(&word).unwrap(), letters.len());
    assert!(!session.is_pending() && bits(&mut session) == expected);
    // More of it passes behind what stays.
    let mut longer = word.clone();
    longer.extend(encode(" of nations"));
    assert_eq!(session.prefill_whole(&longer).unwrap(), letters.len());
    let mut apart = open(&model, SessionOptions { context: 128, ..Default::default() });
    apart.prefill(&letters).unwrap();
    apart.prefill(&encode(" of nations")).unwrap();
    assert!(session.tokens() == apart.tokens() && bits(&mut session) == bits(&mut apart));
    // Another text stays as far as both have a boundary.
    let other = encode("internal");
    let kept = session.prefill_whole(&other).unwrap();
    let text = |ids: &[u32]| model.tokenizer().decode(ids, false).unwrap();
    assert_eq!(text(session.tokens()), b"internal");
    let mut apart = open(&model, SessionOptions { context: 128, ..Default::default() });
    if kept > 0 {
        apart.prefill(&letters[..kept]).unwrap();
    }
    apart.prefill(&session.tokens()[kept..]).unwrap();
    assert!(bits(&mut session) == bits(&mut apart));
    // A special token is none of the texts that spell it.
    let special = model.tokenizer().id_of(b"<|im_end|>").unwrap();
    session.reset();
    session.prefill(&encode("<|im_end|>")).unwrap();
    assert_eq!(session.prefill_whole(&[special]).unwrap(), 0);
    assert_eq!(session.tokens(), [special]);
}

#[test]
fn what_cannot_be_leaves_the_session_as_it_was() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chats-tiny.rasp");
    tiny::Tiny::new().write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    let mut session = open(&model, SessionOptions { context: 16, ..Default::default() });
    let first: Vec<u32> = (1..9).collect();
    assert_eq!(session.prefill_whole(&first).unwrap(), 0);
    for (given, status) in [
        (vec![], Status::InvalidArgument),
        (vec![1, 999], Status::OutOfRange),
        ((1..18).collect(), Status::ContextFull),
    ] {
        assert_eq!(session.prefill_whole(&given).unwrap_err().status(), status);
        assert_eq!(session.tokens(), first);
    }
    // Room is counted behind what stays.
    assert_eq!(session.prefill_whole(&(1..17).collect::<Vec<_>>()).unwrap(), 8);
    // In pieces it is the same; and begun, it is a prompt under way.
    let other: Vec<u32> = [1, 2, 3].into_iter().chain(100..110).collect();
    assert_eq!(session.prefill_whole_begin(&other).unwrap(), 3);
    assert!(session.is_pending());
    assert_eq!(session.prefill_whole(&other).unwrap_err().status(), Status::InvalidState);
    while !session.prefill_within(Duration::ZERO).unwrap() {}
    let mut anew = open(&model, SessionOptions { context: 16, ..Default::default() });
    anew.prefill(&first[..3]).unwrap();
    anew.prefill(&other[3..]).unwrap();
    assert!(session.tokens() == other && bits(&mut session) == bits(&mut anew));
}
