//! `rasp eval ppl` with a token for the beginning of a text before each window, and without.

use super::support::*;
use super::{file, text};
use rasp::session::Scorer;
use rasp::{LoadOptions, Model};
use serde_json::{Value, json};
use std::path::Path;

/// What the windows of the text are, cut by hand, and their negative log-likelihood a prediction from position `from`
/// on.
fn nll_by_hand(model: &Path, first: Option<u32>, from: usize) -> f64 {
    let model = Model::load(model, &LoadOptions::default()).unwrap();
    // A byte is a token.
    let text: Vec<u32> = text().bytes().map(u32::from).collect();
    let mut scorer = Scorer::exact(model, 64, 1).unwrap();
    let mut losses = Vec::new();
    for part in text.chunks_exact(64 - first.iter().len()) {
        let window: Vec<u32> = first.iter().chain(part).copied().collect();
        losses.extend(scorer.score(&window, usize::MAX).unwrap().split_off(from - 1).iter().map(|s| -s.log_prob));
    }
    losses.iter().sum::<f64>() / losses.len() as f64
}

#[test]
fn a_texts_beginning_stands_before_each_window_where_the_tokenizer_puts_one() {
    const START: Option<u32> = Some(256);
    let (_adding, adding) = model_with_start(true);
    let (_naming, naming) = model_with_start(false);
    let (_text, path) = file("text.txt", &text());
    let eval = |model: &Path, args: &[&str]| {
        let text = ["--json", "--ctx", "64", "--text", path.to_str().unwrap()];
        json_of(&rasp().args(["eval", "ppl"]).arg(model).args(text).args(args).output().unwrap())
    };
    let near = |result: &Value, nll: f64| {
        let found = result["nll"].as_f64().unwrap();
        assert!((found - nll).abs() < 1e-6, "{result}, by hand {nll}");
    };
    for (model, args, first, from) in [
        (&adding, &[][..], START, 1),
        (&adding, &["--bos"], START, 1),
        (&adding, &["--no-bos"], None, 1),
        (&adding, &["--from", "20"], START, 20),
        (&naming, &[], None, 1),
        (&naming, &["--bos"], START, 1),
        // The last one said counts.
        (&naming, &["--bos", "--no-bos"], None, 1),
        (&naming, &["--no-bos", "--bos"], START, 1),
    ] {
        let result = eval(model, args);
        assert_eq!((&result["bos"], &result["from"]), (&json!(first.is_some()), &json!(from)), "{args:?}");
        // 640 tokens, 10 windows of 64 or of 63 behind the first, which is none of the predictions.
        assert_eq!((&result["windows"], &result["tokens"]), (&json!(10), &json!(10 * (64 - from))), "{args:?}");
        near(&result, nll_by_hand(model, first, from));
    }
    assert_ne!(eval(&adding, &[])["nll"], eval(&adding, &["--no-bos"])["nll"]);
    let words = |args: &[&str]| {
        let text = ["--ctx", "64", "--text", path.to_str().unwrap()];
        let output = rasp().args(["eval", "ppl"]).arg(&adding).args(text).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(words(&[]).contains("the beginning of a text before each"));
    assert!(!words(&["--no-bos"]).contains("the beginning of a text"));
}
