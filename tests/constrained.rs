//! Constrained output on the real model.
#![cfg(feature = "constrained")]

mod real_model;
#[path = "support/tiny.rs"]
mod tiny;

use rasp::constraint::{Constraint, ConstraintKind};
use rasp::text::{EncodeOptions, Message};
use rasp::{LoadOptions, Model, Sampling, Session, SessionOptions, Status};
use real_model::load;
use serde_json::{Value, json};
use std::sync::Arc;

fn compile(model: &Model, kind: ConstraintKind, source: &str) -> Arc<Constraint> {
    Arc::new(Constraint::new(model, kind, source).unwrap())
}

fn chat(model: &Model, content: &str) -> Vec<u32> {
    let text = model.chat_template().unwrap().render(&[Message::new("user", content)], true).unwrap();
    let mut tokens = Vec::new();
    model.tokenizer().encode(&text, EncodeOptions { add_special: false, parse_special: true }, &mut tokens).unwrap();
    tokens
}

/// Steps to the end of the answer, which has to come.
fn answer(session: &mut Session) -> String {
    let mut text = Vec::new();
    while session.step_text(false, |bytes| text.extend_from_slice(bytes)).unwrap().is_none() {}
    String::from_utf8(text).unwrap()
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "action": { "enum": ["move", "turn", "stop"] },
            "metres": { "type": "number", "minimum": 0, "maximum": 10 },
            "say": { "type": "string", "maxLength": 20 },
        },
        "required": ["action", "metres", "say"],
        "additionalProperties": false,
    })
}

fn obeys(text: &str) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return false };
    fields.len() == 3
        && fields["action"].as_str().is_some_and(|action| ["move", "turn", "stop"].contains(&action))
        && fields["metres"].as_f64().is_some_and(|metres| (0.0..=10.0).contains(&metres))
        && fields["say"].as_str().is_some_and(|say| say.chars().count() <= 20)
}

#[test]
fn every_answer_obeys_the_schema_greedy_or_drawn_on_every_thread() {
    let model = load();
    let constraint = compile(&model, ConstraintKind::JsonSchema, &schema().to_string());
    let prompt = chat(&model, "Drive two metres forward, please.");
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (model, constraint, prompt) = (model.clone(), constraint.clone(), &prompt);
            scope.spawn(move || {
                let mut session = Session::open(model, &SessionOptions { context: 256, ..Default::default() }).unwrap();
                session.set_constraint(Some(constraint)).unwrap();
                let mut answers = Vec::new();
                for seed in 0..4 {
                    let temperature = if thread == 0 && seed == 0 { 0.0 } else { 1.5 };
                    let seed = seed + 10 * thread;
                    session.set_sampling(Sampling { temperature, seed, ..Default::default() }).unwrap();
                    session.reset();
                    session.prefill(prompt).unwrap();
                    let text = answer(&mut session);
                    assert!(obeys(&text), "{text}");
                    answers.push(text);
                }
                assert!(answers.windows(2).any(|pair| pair[0] != pair[1]), "{answers:?}");
            });
        }
    });
}

#[test]
fn what_is_done_by_hand_is_followed() {
    let model = load();
    let constraint = compile(&model, ConstraintKind::Regex, "(abc|abd|xyz)-[0-9]{1,3}!");
    let mut session = Session::open(model.clone(), &SessionOptions { context: 64, ..Default::default() }).unwrap();
    session.prefill(&[504, 3575]).unwrap();
    session.set_constraint(Some(constraint)).unwrap();
    let id = |text: &str| model.tokenizer().id_of(text.as_bytes()).unwrap();
    // The host begins, the model goes on.
    for letter in ["x", "y", "z"] {
        session.decode(id(letter)).unwrap();
    }
    let text = answer(&mut session);
    assert!(text.starts_with('-') && text.ends_with('!'), "{text}");
    // After the end it ends again.
    let end = session.step().unwrap();
    assert!(model.tokenizer().is_end(end));
    // A sampled token that the host replaces is not part of it.
    session.reset();
    session.prefill(&[504, 3575]).unwrap();
    session.step().unwrap();
    session.decode(id("a")).unwrap();
    assert!(answer(&mut session).starts_with('b'));
    // Nor does it allow what does not fit; taking that back helps.
    session.reset();
    session.prefill(&[504, 3575]).unwrap();
    session.decode(id("q")).unwrap();
    let error = session.step().unwrap_err();
    assert!(error.status() == Status::InvalidState && error.message().contains("token 1"), "{error}");
    // Each prompt begins a new answer; and without a constraint there is none.
    session.prefill(&[504]).unwrap();
    let text = answer(&mut session);
    assert!(text.starts_with("ab") || text.starts_with("xyz-"), "{text}");
    session.set_constraint(None).unwrap();
    session.prefill(&[504, 3575, 282, 4649, 314]).unwrap();
    assert_eq!(session.step().unwrap(), 7042);
}

#[test]
fn rewinding_forking_and_shifting_keep_to_the_constraint() {
    let model = load();
    let constraint = compile(&model, ConstraintKind::Regex, "one, (two, three, four, five!|2, 3, 4, 5, 6, 7, 8!)");
    let mut session = Session::open(model.clone(), &SessionOptions { context: 64, ..Default::default() }).unwrap();
    session.set_constraint(Some(constraint)).unwrap();
    session.prefill(&[504, 3575, 282, 4649, 314]).unwrap();
    let whole = answer(&mut session);
    let length = session.tokens().len();
    assert!(whole == "one, two, three, four, five!" || whole == "one, 2, 3, 4, 5, 6, 7, 8!", "{whole}");
    let text = |session: &Session, from: usize| {
        String::from_utf8(model.tokenizer().decode(&session.tokens()[from..], true).unwrap()).unwrap()
    };
    // Back into the answer, and to its start.
    for keep in [length - 3, 8, 5] {
        session.rewind(keep).unwrap();
        answer(&mut session);
        assert_eq!(text(&session, 5), whole);
    }
    session.rewind(8).unwrap();
    session.step().unwrap();
    let mut child = session.fork(None).unwrap();
    for session in [&mut child, &mut session] {
        answer(session);
        assert_eq!(text(session, 5), whole);
    }
    // The prompt goes, then the beginning of the answer: the rest comes as if nothing had happened.
    for (keep, discard) in [(1, 3), (2, 5), (0, 7)] {
        session.reset();
        session.prefill(&[504, 3575, 282, 4649, 314]).unwrap();
        for _ in 0..5 {
            session.step().unwrap();
        }
        let start = text(&session, 5);
        session.shift(keep, discard).unwrap();
        let at = session.tokens().len();
        answer(&mut session);
        let all = format!("{start}{}", text(&session, at));
        assert!(all == "one, two, three, four, five!" || all == "one, 2, 3, 4, 5, 6, 7, 8!", "{all}");
    }
    // What is gone cannot be taken back.
    session.rewind(session.tokens().len() - 3).unwrap();
    let error = session.step().unwrap_err();
    assert!(error.status() == Status::InvalidState && error.message().contains("shifted"), "{error}");
}

#[test]
fn special_tokens_are_never_text() {
    let model = load();
    let constraint = compile(&model, ConstraintKind::Regex, "[<|a-z_>]{30}");
    let mut session = Session::open(model.clone(), &SessionOptions { context: 64, ..Default::default() }).unwrap();
    session.set_constraint(Some(constraint)).unwrap();
    session.set_sampling(Sampling { temperature: 2.0, ..Default::default() }).unwrap();
    session.prefill(&[504]).unwrap();
    let text = answer(&mut session);
    assert_eq!(text.len(), 30, "{text}");
    let (last, others) = session.tokens()[1..].split_last().unwrap();
    assert!(model.tokenizer().is_end(*last));
    assert!(others.iter().all(|&token| !model.tokenizer().is_special(token)));
}

#[test]
fn bad_sources_and_other_models_are_refused() {
    let model = load();
    for (kind, source, word) in [
        (ConstraintKind::JsonSchema, "{\"type\":", "EOF"),
        (ConstraintKind::JsonSchema, "{\"type\":\"colour\"}", "colour"),
        (ConstraintKind::Regex, "a{2", ""),
        (ConstraintKind::Regex, "(?=a)", ""),
        (ConstraintKind::Grammar, "start: thing", "thing"),
    ] {
        let error = Constraint::new(&model, kind, source).err().unwrap();
        assert!(error.status() == Status::InvalidArgument && error.message().contains(word), "{error}");
    }
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("constrained_tiny.rasp");
    tiny::Tiny::new().write(&path);
    let tiny = Model::load(&path, &LoadOptions::default()).unwrap();
    let constraint = compile(&tiny, ConstraintKind::Regex, "[ab]{4}");
    let mut session = Session::open(model, &SessionOptions { context: 8, ..Default::default() }).unwrap();
    let error = session.set_constraint(Some(constraint.clone())).unwrap_err();
    assert!(error.status() == Status::InvalidArgument && error.message().contains("another model"), "{error}");
    // A vocabulary of single bytes.
    let mut session = Session::open(tiny, &SessionOptions { context: 8, ..Default::default() }).unwrap();
    session.set_constraint(Some(constraint)).unwrap();
    session.prefill(&[65]).unwrap();
    let text = answer(&mut session);
    assert!(text.len() == 4 && text.bytes().all(|b| b == b'a' || b == b'b'), "{text}");
}

/// What a session is in: its saved state, which has its tokens, keys, values and random numbers.
fn state(session: &Session) -> Vec<u8> {
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_must_come_takes_no_passes_of_its_own_and_changes_nothing() {
    let model = load();
    let people = json!({
        "type": "array", "minItems": 3, "maxItems": 3,
        "items": {
            "type": "object",
            "properties": { "first_name": { "type": "string", "maxLength": 12 }, "age": { "type": "integer" } },
            "required": ["first_name", "age"],
            "additionalProperties": false,
        },
    });
    let grammar = "start: \"The answer is \" /[0-9]{1,3}/ \" metres, and no more.\" <|im_end|>";
    let (mut accepted, mut drafted) = (0, 0);
    for (n, (kind, source)) in [
        (ConstraintKind::JsonSchema, schema().to_string()),
        (ConstraintKind::JsonSchema, people.to_string()),
        (
            ConstraintKind::Regex,
            "(yes|no), (because|although) [a-z ]{3,20}\\. That is all there is to say\\.".to_owned(),
        ),
        (ConstraintKind::Grammar, grammar.to_owned()),
    ]
    .into_iter()
    .cycle()
    .take(8)
    .enumerate()
    {
        let constraint = compile(&model, kind, &source);
        let prompt = chat(&model, "Who is there, and how far away?");
        let [mut plain, mut drafting] = [0, 7].map(|drafts| {
            let options = SessionOptions { context: 256, drafts, ..Default::default() };
            let mut session = Session::open(model.clone(), &options).unwrap();
            session.set_sparsity([0.0, 0.4][n % 2]).unwrap();
            let temperature = if n < 4 { 0.0 } else { 1.2 };
            session.set_sampling(Sampling { temperature, seed: n as u64, ..Default::default() }).unwrap();
            session.set_constraint(Some(constraint.clone())).unwrap();
            session.prefill(&prompt).unwrap();
            session
        });
        for step in 0..90 {
            let token = plain.step().unwrap();
            assert_eq!(drafting.step().unwrap(), token, "{source}, step {step}");
            if step == 12 {
                [&mut plain, &mut drafting].into_iter().for_each(|session| session.rewind(prompt.len() + 4).unwrap());
            }
            if step == 20 {
                drafting = drafting.fork(None).unwrap();
            }
            assert!(state(&plain) == state(&drafting), "{source}, step {step}");
            if model.tokenizer().is_end(token) {
                break;
            }
        }
        let stats = drafting.stats().drafts;
        (accepted, drafted) = (accepted + stats.accepted, drafted + stats.drafted);
    }
    assert!(accepted > 60 && accepted * 10 > drafted * 7, "{accepted} of {drafted}");
}

#[test]
fn a_constraint_reads_of_the_head_what_can_win_alone() {
    let model = load();
    for (kind, source) in [
        (ConstraintKind::JsonSchema, schema().to_string()),
        (ConstraintKind::Regex, "[a-z ]{30}".to_owned()),
        (ConstraintKind::Regex, "(?s:.{40})".to_owned()),
    ] {
        let constraint = compile(&model, kind, &source);
        let prompt = chat(&model, "What do you see?");
        for (temperature, top_k) in [(0.0, 0), (1.3, 40), (0.8, 64)] {
            let open = || {
                let options = SessionOptions { context: 256, ..Default::default() };
                let mut session = Session::open(model.clone(), &options).unwrap();
                session.set_sampling(Sampling { temperature, top_k, seed: 3, ..Default::default() }).unwrap();
                session.set_constraint(Some(constraint.clone())).unwrap();
                session
            };
            let [mut few, mut all] = [open(), open()];
            // A bias may take any token to the top: all logits are computed.
            all.set_logit_bias(&[(0, 0.0)]).unwrap();
            [&mut few, &mut all].into_iter().for_each(|session| session.prefill(&prompt).unwrap());
            for step in 0..30 {
                let token = all.step().unwrap();
                assert_eq!(few.step().unwrap(), token, "{source}, {temperature}, {top_k}, step {step}");
                if step % 13 == 5 {
                    let bits = |session: &mut Session| {
                        session.logits().unwrap().iter().fold(0u32, |sum, x| sum.rotate_left(1) ^ x.to_bits())
                    };
                    assert_eq!(bits(&mut few), bits(&mut all), "the model's own, all of them");
                }
                if model.tokenizer().is_end(token) {
                    break;
                }
            }
            let [few, all] = [few, all].map(|session| session.stats().head_bytes);
            assert!(3 * few < 2 * all, "{few} of {all} bytes");
        }
    }
}

/// The host's panic hook stays the very one it was, through making a constraint, steps, and what is refused.
#[test]
fn the_hosts_panic_hook_stays() {
    type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync>;
    let place = |hook: &Hook| std::ptr::from_ref(&**hook).cast::<()>().addr();
    let before = std::panic::take_hook();
    let own: Hook = Box::new(move |info| before(info));
    let address = place(&own);
    std::panic::set_hook(own);
    let model = load();
    let constraint = compile(&model, ConstraintKind::JsonSchema, &schema().to_string());
    assert!(Constraint::new(&model, ConstraintKind::Grammar, "start: missing").is_err());
    let mut session = Session::open(model, &SessionOptions { context: 16, ..Default::default() }).unwrap();
    session.set_constraint(Some(constraint)).unwrap();
    session.prefill(&[504]).unwrap();
    session.step().unwrap();
    assert_eq!(place(&std::panic::take_hook()), address);
}
