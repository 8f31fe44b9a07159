//! SmolLM2's tokenizer, on all the project's text.

use super::support::{Pair, tricky};
use rasp_packer::import::{Checkpoint, open};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `RASP_TEST_GGUF`, or where `make model` puts it.
pub fn model() -> Checkpoint {
    let path = std::env::var_os("RASP_TEST_GGUF").map(PathBuf::from);
    let path = path.unwrap_or_else(|| root().join("target/models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    assert!(path.exists(), "{} is not there: run `make model` first", path.display());
    open(&path).unwrap()
}

fn smollm2() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| {
        let model = model();
        Pair::new(&model.tokenizer, model.config().vocab_size)
    })
}

#[test]
fn known_ids() {
    let pair = smollm2();
    assert_eq!(pair.encode("The capital of France is", true, false), [504, 3575, 282, 4649, 314]);
    assert_eq!(pair.ours.vocab_size(), 49152);
    assert_eq!(pair.ours.bos(), Some(1));
    assert_eq!(pair.ours.eos(), Some(2));
    assert_eq!(pair.ours.end_tokens(), [2, 0]);
    assert!(pair.ours.is_end(2) && pair.ours.is_special(2) && !pair.ours.is_special(504));
    assert_eq!(pair.ours.id_of(b" capital"), Some(3575));
    assert_eq!(pair.ours.id_of(b"<|im_end|>"), Some(2));
    assert_eq!(pair.ours.token_bytes(2), Some(&b"<|im_end|>"[..]));
    assert_eq!(pair.ours.token_bytes(49152), None);
    assert_eq!(pair.ours.decode(&[1, 504, 2, 3575], true).unwrap(), b"The capital");
    let error = pair.ours.decode(&[1, 70000], true).unwrap_err();
    assert_eq!(error.status(), rasp::Status::OutOfRange);
    assert!(error.message().contains("70000") && error.message().contains("index 1"), "{error}");
}

/// All strings inside of a JSON value.
fn strings(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(values) => values.iter().for_each(|v| strings(v, each)),
        Value::Object(map) => map.values().for_each(|v| strings(v, each)),
        _ => {}
    }
}

#[test]
fn all_data_equals_hugging_face_and_round_trips() {
    let pair = smollm2();
    let data = std::env::var_os("RASP_DATA").map(PathBuf::from).unwrap_or_else(|| root().join("../shared/data"));
    let Ok(entries) = std::fs::read_dir(&data) else {
        eprintln!("skipped: no text at {} (set RASP_DATA)", data.display());
        return;
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut bytes = 0;
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut check = |text: &str| {
            bytes += text.len();
            pair.check(text);
            pair.round_trip(text);
        };
        match path.extension().and_then(|e| e.to_str()) {
            Some("txt") => check(&text),
            Some("jsonl") => {
                for line in text.lines().filter(|l| !l.trim().is_empty()) {
                    strings(&serde_json::from_str(line).unwrap(), &mut check);
                }
            }
            _ => {}
        }
    }
    assert!(bytes > 1_000_000, "only {bytes} bytes of text in {}", data.display());
}

#[test]
fn tricky_text() {
    let pair = smollm2();
    tricky().iter().for_each(|text| pair.check(text));
}

#[test]
fn random_text() {
    let pair = smollm2();
    pair.fuzz(1, 20_000);
}

/// A piece of a megabyte: what is quadratic does not end.
#[test]
fn a_megabyte_of_one_character() {
    let pair = smollm2();
    for piece in ["a", " ", "\n", "1", "!", "é", "日", "😀", "ab", "a "] {
        let text = piece.repeat((1 << 20) / piece.len());
        let ids = pair.encode(&text, false, true);
        assert!(pair.ours.decode(&ids, false).unwrap() == text.as_bytes(), "{piece:?}");
    }
    for piece in ["a", " ", "\n", "!", "日"] {
        pair.check(&piece.repeat((1 << 16) / piece.len()));
    }
}
