//! Scoring the ends of windows: sharing their beginnings changes no bit, only the work.

#[path = "support/tiny.rs"]
mod tiny;

use rasp::model::LoadOptions;
use rasp::session::{KvType, Scored, Scorer, Window};
use rasp::{Model, Session, SessionOptions, Status};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn scorer() -> Scorer {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("score.rasp");
        tiny::Tiny::new().write(&path);
        path
    });
    Scorer::exact(Model::load(path, &LoadOptions::default()).unwrap(), 64, 2).unwrap()
}

/// Four choices after one question, one of them equal to another, one shorter than the common beginning.
const TEXTS: [&[u8]; 5] =
    [b"Owls sit on a fence", b"Owls sit on a wall, all of them", b"Owls sit on a wall", b"Owls sit on a wall", b"Owls"];

fn alone(scorer: &mut Scorer, window: &Window<'_>) -> Vec<Scored> {
    scorer.score(window.tokens, window.sparse_from).unwrap().split_off(window.scored_from - 1)
}

#[test]
fn shared_beginnings_give_the_bits_of_windows_alone() {
    let mut scorer = scorer();
    let texts = TEXTS.map(|text| text.iter().map(|&b| u32::from(b)).collect::<Vec<_>>());
    for sparsity in [0.0, 0.5] {
        scorer.set_sparsity(sparsity).unwrap();
        // Where sparse tokens begin, for each text: nowhere apart, at a share of the length, at one place.
        for sparse_from in [|_| 0, |len| len * 9 / 10, |_| 3, |_| usize::MAX] {
            for scored_from in [1, 3] {
                let windows = texts.each_ref().map(|tokens| Window {
                    tokens,
                    sparse_from: sparse_from(tokens.len()),
                    scored_from,
                });
                let expected = windows.each_ref().map(|window| alone(&mut scorer, window));
                assert_eq!(scorer.score_ends(&windows).unwrap(), expected, "{sparsity} {scored_from}");
            }
        }
    }
}

#[test]
fn a_common_beginning_passes_once() {
    let mut scorer = scorer();
    scorer.set_sparsity(0.5).unwrap();
    let texts = [b"Owls sit on a fence", b"Owls sit on a wall."].map(|text| text.map(u32::from));
    let windows = texts.each_ref().map(|tokens| Window { tokens, sparse_from: 0, scored_from: 14 });
    scorer.score_ends(&windows).unwrap();
    // 18 of the first; of the second what follows "Owls sit on a ", but for its last token.
    assert_eq!(scorer.take_traffic().tokens, 18 + 5);
    scorer.score_ends(&windows[1..]).unwrap();
    assert_eq!(scorer.take_traffic().tokens, 18, "nothing is remembered");
}

#[test]
fn windows_that_cannot_be_scored_are_refused() {
    let mut scorer = scorer();
    let mut refused = |tokens: &[u32], scored_from| {
        scorer.score_ends(&[Window { tokens, sparse_from: 0, scored_from }]).unwrap_err().status()
    };
    for (tokens, scored_from) in [(&[1, 2][..], 0), (&[1, 2], 2), (&[1], 1), (&[], 1)] {
        assert_eq!(refused(tokens, scored_from), Status::InvalidArgument, "{tokens:?} {scored_from}");
    }
    assert_eq!(refused(&[1; 65], 1), Status::ContextFull);
    // The last token never passes; its id is checked all the same.
    assert_eq!(refused(&[1, 5000], 1), Status::OutOfRange);
}

/// Logits after each token of a window.
fn all_logits(scorer: &mut Scorer, tokens: &[u32], sparse_from: usize) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    let keep = |_, logits: &[f32]| {
        all.push(logits.to_vec());
        Ok(())
    };
    scorer.logits(tokens, sparse_from, keep).unwrap();
    all
}

#[test]
fn predictions_are_compared_by_what_two_sets_of_logits_say() {
    let mut scorer = scorer();
    let texts = TEXTS.concat();
    let tokens: Vec<u32> = texts.iter().take(60).map(|&b| u32::from(b)).collect();
    // The definition, in f64 from end to end.
    let log_softmax = |logits: &[f32]| {
        let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        logits.iter().map(|&l| f64::from(l) - sum.ln()).collect::<Vec<f64>>()
    };
    let best = |of: &[f64]| (0..of.len()).rev().max_by(|&a, &b| of[a].total_cmp(&of[b])).unwrap();
    let dense_logits = all_logits(&mut scorer, &tokens, tokens.len());
    let reference = scorer.reference(&tokens, tokens.len()).unwrap();
    let dense = scorer.score(&tokens, tokens.len()).unwrap();
    scorer.set_sparsity(0.5).unwrap();
    for sparse_from in [0, 19, 40, 59, usize::MAX] {
        let logits = all_logits(&mut scorer, &tokens, sparse_from);
        let scores = scorer.score(&tokens, sparse_from).unwrap();
        scorer.take_traffic();
        let compared = scorer.compare(&tokens, sparse_from, &reference).unwrap();
        assert_eq!(scorer.take_traffic().tokens, tokens.len().saturating_sub(sparse_from) as u64);
        assert_eq!(compared.iter().map(|c| c.scored).collect::<Vec<_>>(), scores, "sparse from {sparse_from}");
        assert_eq!(compared.iter().map(|c| c.reference).collect::<Vec<_>>(), dense, "sparse from {sparse_from}");
        let mut same = 0;
        for (position, found) in compared.iter().enumerate() {
            let (p, q) = (log_softmax(&dense_logits[position]), log_softmax(&logits[position]));
            let divergence: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
            let place = format!("{position} of sparse from {sparse_from}");
            assert!((found.divergence - divergence).abs() < 1e-6, "{place}: {} for {divergence}", found.divergence);
            assert_eq!(found.same_greedy, best(&p) == best(&q), "{place}");
            // What passed densely is the dense model's to the bit.
            assert!(position >= sparse_from || found.divergence == 0.0 && found.scored == found.reference, "{place}");
            assert!(position < sparse_from || found.divergence > 1e-6, "{place}");
            same += usize::from(found.same_greedy);
        }
        assert!(if sparse_from == 0 { same < compared.len() } else { same > 0 }, "{same} of sparse from {sparse_from}");
    }
    let error = scorer.compare(&tokens[1..], 0, &reference).map(|_| ()).unwrap_err();
    assert_eq!(error.status(), Status::InvalidArgument);
    assert_eq!(scorer.compare(&[1; 65], 0, &reference).unwrap_err().status(), Status::ContextFull);
}

#[test]
fn a_text_is_continued_as_a_session_continues_it() {
    let mut scorer = scorer();
    let model = scorer.model().clone();
    let options = SessionOptions { context: 64, threads: 1, kv_type: KvType::F32, ..Default::default() };
    let mut session = Session::open(model, &options).unwrap();
    let text = b"Owls sit on a fence".map(u32::from);
    for sparsity in [0.0, 0.5] {
        for sparse_from in [0, 7, text.len()] {
            scorer.set_sparsity(sparsity).unwrap();
            session.set_sparsity(sparsity).unwrap();
            session.reset();
            session.clear_stats();
            if sparse_from > 0 {
                session.prefill(&text[..sparse_from]).unwrap();
            }
            text[sparse_from..].iter().for_each(|&token| session.decode(token).unwrap());
            let expected: Vec<u32> = (0..20).map(|_| session.step().unwrap()).collect();
            let mut found = Vec::new();
            let next = |token| {
                found.push(token);
                found.len() < 20
            };
            scorer.continue_greedily(&text, sparse_from, next).unwrap();
            assert_eq!(found, expected, "{sparsity}, sparse from {sparse_from}");
            assert_eq!(scorer.take_traffic(), session.stats().traffic, "{sparsity}, sparse from {sparse_from}");
        }
    }
    assert_eq!(scorer.continue_greedily(&[], 0, |_| true).unwrap_err().status(), Status::InvalidArgument);
    // 19 tokens leave room for 45 more; of the one behind them it can still be said what it would be.
    let mut tokens = 0;
    let endless = |_| {
        tokens += 1;
        true
    };
    assert_eq!(scorer.continue_greedily(&text, 0, endless).unwrap_err().status(), Status::ContextFull);
    assert_eq!(tokens, 64 - text.len() + 1);
}

#[test]
fn a_dense_prefix_passes_densely_in_windows_and_one_by_one() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dense_prefix.rasp");
    let mut tiny = tiny::Tiny::new();
    tiny.recipe.dense_prefix = 3;
    tiny.write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    let tokens: Vec<u32> = b"Owls sit on a fence".iter().map(|&b| u32::from(b)).collect();
    let mut scorer = Scorer::exact(model.clone(), 64, 2).unwrap();
    scorer.set_sparsity(0.5).unwrap();
    let sparse = scorer.score(&tokens, 0).unwrap();
    let traffic = scorer.take_traffic();
    assert_eq!(traffic.tokens, tokens.len() as u64);
    // The same as if they had not been asked to be sparse, but for what is counted.
    assert_eq!(scorer.score(&tokens, 3).unwrap(), sparse);
    let later = scorer.take_traffic();
    assert_eq!(later.tokens, tokens.len() as u64 - 3);
    let dense = scorer.score(&tokens, usize::MAX).unwrap();
    assert!(dense[..3] == sparse[..3] && dense[3..] != sparse[3..]);

    let options = SessionOptions { kv_type: KvType::F32, ..SessionOptions::default() };
    let mut session = Session::open(model, &options).unwrap();
    session.set_sparsity(0.5).unwrap();
    for (i, score) in sparse.iter().enumerate() {
        session.decode(tokens[i]).unwrap();
        let logits = session.logits().unwrap();
        let largest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f64 = logits.iter().map(|&l| f64::from((l - largest).exp())).sum();
        let log_prob = f64::from(logits[tokens[i + 1] as usize] - largest) - sum.ln();
        assert_eq!(log_prob.to_bits(), score.log_prob.to_bits(), "token {i}");
    }
    session.decode(tokens[sparse.len()]).unwrap();
    assert_eq!(session.stats().traffic, traffic);
}
