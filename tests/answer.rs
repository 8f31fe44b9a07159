//! Answers as text, and texts as vectors, on the real model.

mod real_model;

use rasp::model::GroupKind;
use rasp::session::{Ended, KvType, MatRef, Observer, Pooling, Scorer, TextStep};
use rasp::text::{EncodeOptions, Message};
use rasp::{Model, Session, SessionOptions, Status};
use real_model::load;

fn encode(model: &Model, text: &str, parse_special: bool) -> Vec<u32> {
    let mut tokens = Vec::new();
    model.tokenizer().encode(text, EncodeOptions { add_special: false, parse_special }, &mut tokens).unwrap();
    tokens
}

fn chat(model: &Model, content: &str) -> Vec<u32> {
    let messages = [Message::new("user", content)];
    encode(model, &model.chat_template().unwrap().render(&messages, true).unwrap(), true)
}

/// The answer to what the session holds, each piece checked to be whole characters, and why it ended.
fn answer(session: &mut Session, show_special: bool, limit: usize) -> (String, Option<Ended>) {
    let mut text = String::new();
    for _ in 0..limit {
        let mut piece = Vec::new();
        let ended = session.step_text(show_special, |bytes| piece.extend_from_slice(bytes)).unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
        if ended.is_some() {
            return (text, ended);
        }
    }
    (text, None)
}

const QUESTION: &str = "What is the capital of Japan? Answer in one short sentence.";

fn open(context: usize) -> Session {
    Session::open(load(), &SessionOptions { context, ..Default::default() }).unwrap()
}

#[test]
fn an_answer_is_the_text_of_its_tokens_and_ends_where_it_should() {
    let model = load();
    let prompt = chat(&model, QUESTION);
    let mut session = open(256);
    session.prefill(&prompt).unwrap();
    while !model.tokenizer().is_end(session.step().unwrap()) {}
    let tokens = session.tokens()[prompt.len()..].to_vec();
    let full = String::from_utf8(model.tokenizer().decode(&tokens, true).unwrap()).unwrap();
    assert!(full.len() > 20, "{full}");
    let mut ask = |stops: &[&str], show_special| {
        session.reset();
        session.set_stops(stops.iter().copied()).unwrap();
        session.prefill(&prompt).unwrap();
        answer(&mut session, show_special, 300)
    };
    assert_eq!(ask(&[], false), (full.clone(), Some(Ended::Token)));
    assert_eq!(ask(&[], true), (format!("{full}<|im_end|>"), Some(Ended::Token)));
    // A stop string of every length that ends at every place where the text has it first.
    let chars: Vec<usize> = full.char_indices().map(|(at, _)| at).collect();
    for (from, to) in [(3, 4), (3, 9), (7, 18), (10, 11), (0, 2)] {
        let stop = &full[chars[from]..chars[to]];
        let expected = full.split(stop).next().unwrap().to_owned();
        assert_eq!(ask(&["never said", stop], false), (expected, Some(Ended::Stop)), "{stop:?}");
    }
    // What only looked like one at the end comes with the end.
    let tail = format!("{}?", &full[chars[chars.len() - 3]..]);
    assert_eq!(ask(&[&tail], false), (full.clone(), Some(Ended::Token)));
    // A special token's name is a stop string where it is shown.
    assert_eq!(ask(&["<|im_end|>"], true), (full.clone(), Some(Ended::Stop)));
    assert_eq!(ask(&["<|im_end|>"], false), (full, Some(Ended::Token)));
    // Characters of several tokens are cut nowhere.
    session.reset();
    session.set_stops([].into_iter()).unwrap();
    session.prefill(&chat(&model, "Write one short sentence with an emoji.")).unwrap();
    let (stars, _) = answer(&mut session, false, 30);
    assert!(stars.chars().filter(|&c| c == '\u{1f31f}').count() > 5, "{stars}");
}

#[test]
fn tokens_of_a_batch_become_the_text_of_a_step() {
    let model = load();
    let prompts =
        [chat(&model, QUESTION), chat(&model, "What is the capital of France? Answer in one short sentence.")];
    let stops = [&[][..], &["France", "is Paris"][..]];
    let options = SessionOptions { context: 256, ..Default::default() };
    let mut sessions = [(); 2].map(|()| Session::open(model.clone(), &options).unwrap());
    let begin = |sessions: &mut [Session; 2]| {
        for ((session, prompt), stops) in sessions.iter_mut().zip(&prompts).zip(stops) {
            session.reset();
            session.set_stops(stops.iter().copied()).unwrap();
            session.prefill(prompt).unwrap();
        }
    };
    begin(&mut sessions);
    let alone = sessions.each_mut().map(|session| answer(session, false, 60));
    assert_eq!((alone[0].1, alone[1].1), (Some(Ended::Token), Some(Ended::Stop)), "{alone:?}");
    begin(&mut sessions);
    let mut found = [(String::new(), None), (String::new(), None)];
    while found.iter().any(|(_, ended)| ended.is_none()) {
        let mut tokens = [None; 2];
        let [first, second] = &mut sessions;
        Session::step_batch(&mut [first, second], |n, token| tokens[n] = Some(token.unwrap())).unwrap();
        for ((session, token), (text, ended)) in sessions.iter_mut().zip(tokens).zip(&mut found) {
            if ended.is_none() {
                let sink = |bytes: &[u8]| text.push_str(std::str::from_utf8(bytes).unwrap());
                *ended = session.push_text(token.unwrap(), false, sink);
            }
        }
    }
    assert_eq!(found, alone);
}

#[test]
fn a_full_context_ends_an_answer_and_gives_what_was_held_back() {
    let model = load();
    let prompt = chat(&model, QUESTION);
    let mut session = open(prompt.len() + 5);
    session.prefill(&prompt).unwrap();
    let (plain, ended) = answer(&mut session, false, 100);
    assert_eq!(ended, Some(Ended::Context));
    assert_eq!(session.tokens().len(), prompt.len() + 5);
    assert_eq!(session.step().unwrap_err().status(), Status::ContextFull);
    // Held back: the whole of it, as the start of a stop string.
    session.reset();
    session.set_stops([format!("{plain}and more").as_str()].into_iter()).unwrap();
    session.prefill(&prompt).unwrap();
    for _ in 0..5 {
        assert_eq!(session.step_text(false, |bytes| assert!(bytes.is_empty())).unwrap(), None);
    }
    let mut late = Vec::new();
    assert_eq!(session.step_text(false, |bytes| late.extend_from_slice(bytes)).unwrap(), Some(Ended::Context));
    assert_eq!(String::from_utf8(late).unwrap(), plain);
    // And for a host that ends it itself, once; a new prompt forgets it.
    for (forget, expected) in [(false, plain.as_str()), (true, "")] {
        session.reset();
        session.prefill(&prompt).unwrap();
        for _ in 0..5 {
            session.step_text(false, |_| ()).unwrap();
        }
        if forget {
            session.reset();
        }
        let mut late = Vec::new();
        session.finish_text(|bytes| late.extend_from_slice(bytes));
        assert_eq!(String::from_utf8(late).unwrap(), expected);
        session.finish_text(|bytes| assert!(bytes.is_empty()));
    }
    let error = open(16).step_text(false, |_| ()).unwrap_err();
    assert_eq!(error.status(), Status::InvalidState);
}

/// The residual stream after the last block, of every token.
struct LastBlock {
    layer: usize,
    rows: Vec<Vec<f64>>,
}

impl Observer for LastBlock {
    fn group_input(&mut self, _: usize, _: GroupKind, _: MatRef<'_>) {}

    fn hidden(&mut self, layer: usize, x: MatRef<'_>) {
        if layer == self.layer {
            self.rows.extend((0..x.rows()).map(|row| x.row(row).iter().map(|&x| f64::from(x)).collect()));
        }
    }
}

/// Embeddings by another path: the scorer's hidden states, normed and pooled here in f64.
fn expected(model: &std::sync::Arc<Model>, tokens: &[u32], pooling: Pooling) -> Vec<f64> {
    let mut watch = LastBlock { layer: model.config().num_layers - 1, rows: Vec::new() };
    Scorer::exact(model.clone(), tokens.len(), 1).unwrap().observe(tokens, tokens.len(), &mut watch).unwrap();
    let normed = watch.rows.iter().map(|row| {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + f64::from(model.config().rms_norm_eps)).sqrt();
        row.iter().zip(model.final_norm().gain()).map(|(x, w)| x * scale * f64::from(*w)).collect::<Vec<f64>>()
    });
    let normed: Vec<Vec<f64>> = normed.collect();
    match pooling {
        Pooling::Last => normed.last().unwrap().clone(),
        Pooling::Mean => {
            let column = |i| normed.iter().map(|row: &Vec<f64>| row[i]).sum::<f64>() / normed.len() as f64;
            (0..normed[0].len()).map(column).collect()
        }
    }
}

#[test]
fn an_answer_in_pieces_of_time_is_the_same_answer() {
    let model = load();
    let prompt = chat(&model, QUESTION);
    let ask = |context: usize, budgets: &[u64]| {
        let mut session = open(context);
        session.set_stops([" never said"].into_iter()).unwrap();
        session.prefill_begin(&prompt).unwrap();
        let (mut text, mut calls) = (Vec::new(), 0);
        for &ns in budgets.iter().cycle() {
            calls += 1;
            let before = text.len();
            let time = std::time::Duration::from_nanos(ns);
            match session.step_text_within(time, false, |bytes| text.extend_from_slice(bytes)).unwrap() {
                TextStep::Pending => assert!(session.is_pending() && text.len() == before),
                TextStep::GoesOn => assert!(!session.is_pending()),
                TextStep::Ended(why) => return (String::from_utf8(text).unwrap(), Some(why), calls),
            }
        }
        unreachable!("an answer ends")
    };
    for (room, why) in [(64, Ended::Token), (4, Ended::Context), (0, Ended::Context)] {
        let mut whole = open(prompt.len() + room);
        whole.set_stops([" never said"].into_iter()).unwrap();
        whole.prefill(&prompt).unwrap();
        let (text, ended) = answer(&mut whole, false, 100);
        assert_eq!(ended, Some(why));
        for budgets in [&[0][..], &[0, 3_000_000, 100_000], &[u64::MAX]] {
            let (found, ended, calls) = ask(prompt.len() + room, budgets);
            assert_eq!((&found, ended), (&text, Some(why)), "{room} {budgets:?}");
            // A call without time does one unit of work; what one with some does depends on the machine.
            let least = match budgets {
                [0] => 100,
                [0, ..] => 1,
                _ => 0,
            };
            assert!(calls > least, "{calls}");
        }
    }
}

#[test]
fn embeddings_are_the_pooled_hidden_states_whatever_the_batch_and_threads() {
    let model = load();
    let text = "The lighthouse keeper climbed the stairs, as he did every evening, and lit the lamp. ".repeat(3);
    let tokens = encode(&model, &text, false);
    for pooling in [Pooling::Mean, Pooling::Last] {
        let expected = expected(&model, &tokens, pooling);
        let mut first: Option<Vec<f32>> = None;
        for (batch, threads) in [(0, 1), (7, 1), (7, 2)] {
            let options = SessionOptions { context: 128, batch, threads, kv_type: KvType::F32, ..Default::default() };
            let mut session = Session::open(model.clone(), &options).unwrap();
            let found = session.embed(&tokens, pooling, false).unwrap().to_vec();
            let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
            for (f, e) in found.iter().zip(&expected) {
                assert!((f64::from(*f) - e).abs() < 1e-5 * largest, "{f} {e} {pooling:?}");
            }
            assert_eq!(first.get_or_insert_with(|| found.clone()), &found, "batch {batch}, {threads} threads");
            let unit = session.embed(&tokens, pooling, true).unwrap();
            let length: f64 = unit.iter().map(|&x| f64::from(x).powi(2)).sum();
            assert!((length - 1.0).abs() < 1e-6, "{length}");
            assert!(session.tokens().is_empty());
        }
    }
}

#[test]
fn similar_sentences_lie_closer_than_unrelated_ones() {
    let model = load();
    let mut session = open(64);
    let mut embed = |text: &str| session.embed(&encode(&model, text, false), Pooling::Mean, true).unwrap().to_vec();
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let pairs = [
        ("The cat sleeps on the sofa.", "A kitten is napping on the couch."),
        ("The stock market fell sharply on Monday.", "Share prices dropped steeply at the start of the week."),
        ("She plays the violin in an orchestra.", "He is a cellist with a symphony."),
    ];
    let vectors = pairs.map(|(a, b)| (embed(a), embed(b)));
    for (i, (a, b)) in vectors.iter().enumerate() {
        for (j, (other, _)) in vectors.iter().enumerate().filter(|(j, _)| *j != i) {
            assert!(cosine(a, b) > cosine(a, other), "{:?} {:?}", pairs[i], pairs[j]);
        }
    }
}

#[test]
fn an_embedding_needs_an_empty_session_and_a_text() {
    let mut session = open(16);
    assert_eq!(session.embed(&[], Pooling::Mean, true).unwrap_err().status(), Status::InvalidArgument);
    assert_eq!(session.embed(&[1; 17], Pooling::Mean, true).unwrap_err().status(), Status::ContextFull);
    assert_eq!(session.embed(&[49152], Pooling::Mean, true).unwrap_err().status(), Status::OutOfRange);
    session.embed(&[1, 2], Pooling::Last, false).unwrap();
    assert_eq!(session.step().unwrap_err().status(), Status::InvalidState);
    session.prefill(&[504, 3575, 282, 4649, 314]).unwrap();
    let error = session.embed(&[1], Pooling::Mean, true).unwrap_err();
    assert!(error.status() == Status::InvalidState && error.message().contains("5 tokens"), "{error}");
    assert_eq!(session.step().unwrap(), 7042);
}
