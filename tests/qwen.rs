//! A larger model of another family, Qwen2 with its biases and its tokenizer, against the independent reference.
//!
//! `make test-qwen` fetches and packs it (1.1 GB and 3.6 GB) and runs these; `make test` does not.

use rasp::session::{KvType, Scorer};
use rasp::text::EncodeOptions;
use rasp::{LoadOptions, Model, Session, SessionOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn model() -> Arc<Model> {
    let path = std::env::var_os("RASP_TEST_QWEN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/models/qwen2.5-coder-1.5b.rasp"),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is not there: run `make test-qwen`", path.display());
    Model::load(&path, &LoadOptions::default()).unwrap()
}

fn goldens() -> Value {
    serde_json::from_str(include_str!("goldens/qwen2.5-coder-1.5b.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|n| n as u32).collect()
}

#[test]
#[ignore = "needs the model of `make test-qwen`"]
fn the_tokenizer_is_the_references() {
    let (model, goldens) = (model(), goldens());
    for (text, expected) in [("prompt", "prompt_ids"), ("text", "text_ids")] {
        let mut found = Vec::new();
        model.tokenizer().encode(goldens[text].as_str().unwrap(), EncodeOptions::default(), &mut found).unwrap();
        assert_eq!(found, ids(&goldens[expected]), "{text}");
    }
}

#[test]
#[ignore = "needs the model of `make test-qwen`"]
fn logits_and_the_greedy_continuation_are_the_references() {
    let (model, goldens) = (model(), goldens());
    let options = SessionOptions { context: 64, threads: 2, ..Default::default() };
    let mut session = Session::open(model, &options).unwrap();
    session.prefill(&ids(&goldens["prompt_ids"])).unwrap();
    let logits = session.logits().unwrap();
    for (id, expected) in ids(&goldens["top_ids"]).into_iter().zip(numbers(&goldens["top_logits"])) {
        // The cache holds f16.
        let difference = (f64::from(logits[id as usize]) - expected).abs();
        assert!(difference < 3e-2, "logit of {id}: {} for {expected}", logits[id as usize]);
    }
    for expected in ids(&goldens["greedy_ids"]) {
        assert_eq!(session.step().unwrap(), expected);
    }
}

#[test]
#[ignore = "needs the model of `make test-qwen`"]
fn log_probabilities_are_the_references() {
    let goldens = goldens();
    let mut scorer = Scorer::exact(model(), 64, 2).unwrap();
    let scores = scorer.score(&ids(&goldens["text_ids"]), usize::MAX).unwrap();
    for (i, (score, expected)) in scores.iter().zip(numbers(&goldens["text_logprobs"])).enumerate() {
        assert!((score.log_prob - expected).abs() < 1e-3, "token {i}: {} for {expected}", score.log_prob);
    }
    assert_eq!(scores.len(), 63);
}

/// A sparse token alone and in a batch: the same bits, on one thread and on two.
#[test]
#[ignore = "needs the model of `make test-qwen`"]
fn one_by_one_and_in_batches_the_bits_are_the_same() {
    let (model, text) = (model(), ids(&goldens()["text_ids"]));
    let mut scorer = Scorer::exact(model.clone(), 64, 2).unwrap();
    scorer.set_sparsity(0.5).unwrap();
    let scores = scorer.score(&text[..9], 0).unwrap();
    for threads in [1, 2] {
        let options = SessionOptions { context: 64, threads, kv_type: KvType::F32, ..Default::default() };
        let mut session = Session::open(model.clone(), &options).unwrap();
        session.set_sparsity(0.5).unwrap();
        for (i, score) in scores.iter().enumerate() {
            session.decode(text[i]).unwrap();
            let logits = session.logits().unwrap();
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|&l| f64::from((l - largest).exp())).sum();
            let single = f64::from(logits[text[i + 1] as usize] - largest) - sum.ln();
            assert_eq!(single.to_bits(), score.log_prob.to_bits(), "token {i}, {threads} threads");
        }
        let traffic = session.stats().traffic;
        let kept = traffic.linear_bytes as f64 / (traffic.tokens * model.linear_bytes()) as f64;
        assert!((0.35..0.65).contains(&kept), "kept {kept}");
    }
}
