//! Weights in whole numbers, on the real model: its 4-bit GGUF packed as it is, against the independent reference's
//! pass over the same weights; and the engine against itself.

mod real_model;

use rasp::format::Bytes;
use rasp::session::{KvType, Scorer};
use rasp::{LoadOptions, Model, Session, SessionOptions, Status};
use rasp_kernels::Kernels;
use real_model::{ids, load_whole as load, log_prob, numbers, whole_path as path};
use serde_json::Value;
use std::sync::Arc;

const TYPES: [&str; 2] = ["q4", "q8"];

/// Written by `tests/reference/make_dense_goldens.py` from the GGUF's own weights.
fn goldens() -> Value {
    serde_json::from_str(include_str!("goldens/smollm2-q4.json")).unwrap()
}

fn session(model: &Arc<Model>, threads: usize, kv_type: KvType) -> Session {
    Session::open(model.clone(), &SessionOptions { context: 128, threads, kv_type, ..Default::default() }).unwrap()
}

/// 4 bits lose nothing of a 4-bit file: what differs is that inputs are rounded to 8 bits, those of groups with an
/// outlier to 15. A token in a few is off by more than a twentieth of a nat, and on average they are off by nothing.
#[test]
fn a_four_bit_file_computes_what_its_source_says() {
    let (model, goldens) = (load("q4"), goldens());
    let text = ids(&goldens["text_ids"]);
    let mut scorer = Scorer::exact(model.clone(), 64, 2).unwrap();
    let scores = scorer.score(&text, usize::MAX).unwrap();
    let expected = numbers(&goldens["text_logprobs"]);
    let off: Vec<f64> = scores.iter().zip(expected).map(|(score, expected)| score.log_prob - expected).collect();
    for (i, off) in off.iter().enumerate() {
        assert!(off.abs() < 0.2, "token {i} is off by {off}");
    }
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    let size = (off.iter().map(|off| off * off).sum::<f64>() / off.len() as f64).sqrt();
    assert!(mean.abs() < 0.01 && size < 0.05, "off by {mean} on average, {size} root mean square");
    let mut session = session(&model, 1, KvType::F32);
    session.prefill(&ids(&goldens["prompt_ids"])).unwrap();
    let logits = session.logits().unwrap();
    for (id, expected) in ids(&goldens["top_ids"]).into_iter().zip(numbers(&goldens["top_logits"])) {
        let difference = (f64::from(logits[id as usize]) - expected).abs();
        assert!(difference < 0.2, "logit of {id}: {} for {expected}", logits[id as usize]);
    }
    for expected in ids(&goldens["greedy_ids"]) {
        assert_eq!(session.step().unwrap(), expected);
    }
}

/// 8 bits round every weight; the text hardly notices.
#[test]
fn an_eight_bit_file_is_near() {
    let goldens = goldens();
    let text = ids(&goldens["text_ids"]);
    let scores = Scorer::exact(load("q8"), 64, 2).unwrap().score(&text, usize::MAX).unwrap();
    let mean = scores.iter().map(|s| s.log_prob).sum::<f64>() / scores.len() as f64;
    let expected = numbers(&goldens["text_logprobs"]);
    let expected = expected.iter().sum::<f64>() / expected.len() as f64;
    assert!((mean - expected).abs() < 0.02, "mean log-probability {mean}, of the source {expected}");
}

#[test]
fn one_by_one_in_batches_and_on_any_threads_the_bits_are_the_same() {
    let text = &ids(&goldens()["text_ids"])[..24];
    for (kind, sparsity) in [("q4", 0.0), ("q4", 0.5), ("q8", 0.62)] {
        let model = load(kind);
        let mut scorer = Scorer::exact(model.clone(), 64, 2).unwrap();
        scorer.set_sparsity(sparsity).unwrap();
        let scores = scorer.score(text, 0).unwrap();
        let traffic = scorer.take_traffic();
        for threads in [1, 2, 3] {
            let mut session = session(&model, threads, KvType::F32);
            session.set_sparsity(sparsity).unwrap();
            for (i, &token) in text.iter().enumerate() {
                session.decode(token).unwrap();
                let Some(score) = scores.get(i) else { break };
                let single = log_prob(session.logits().unwrap(), text[i + 1]);
                assert_eq!(
                    single.to_bits(),
                    score.log_prob.to_bits(),
                    "{kind} {sparsity}, token {i}, {threads} threads"
                );
            }
            assert_eq!(session.stats().traffic, traffic, "{kind} {sparsity}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let text = &ids(&goldens()["text_ids"])[..12];
    for kind in TYPES {
        for kv_type in [KvType::F16, KvType::I8] {
            let mut logits: Option<Vec<u32>> = None;
            for isa in Kernels::available() {
                let options = LoadOptions { isa: Some(isa), ..Default::default() };
                let model = Model::load(&path(kind), &options).unwrap();
                let mut session = session(&model, 2, kv_type);
                session.prefill(&text[..10]).unwrap();
                session.set_sparsity(0.5).unwrap();
                text[10..].iter().for_each(|&token| session.decode(token).unwrap());
                let bits: Vec<u32> = session.logits().unwrap().iter().map(|l| l.to_bits()).collect();
                match &logits {
                    None => logits = Some(bits),
                    Some(scalar) => assert!(*scalar == bits, "{kind}: {} differs from scalar", isa.name()),
                }
            }
        }
    }
}

/// Keys and values in 8 bits: a quarter of the memory of f32, and the same words.
#[test]
fn an_eight_bit_cache_is_small_and_near() {
    let (model, goldens) = (load("q4"), goldens());
    let run = |kv_type| {
        let mut session = session(&model, 2, kv_type);
        session.prefill(&ids(&goldens["prompt_ids"])).unwrap();
        let logits = session.logits().unwrap().to_vec();
        let tokens: Vec<u32> = (0..8).map(|_| session.step().unwrap()).collect();
        (logits, tokens, session.stats().memory)
    };
    let (exact, tokens, memory) = run(KvType::F32);
    let (logits, same, less) = run(KvType::I8);
    assert_eq!(tokens, same);
    let difference = exact.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference > 0.0 && difference < 0.5, "logits differ by {difference}");
    // Keys and values of 128 positions: 30 layers of 192 each.
    let saved = 2 * 30 * 192 * 128 * 3 - 2 * 30 * 3 * 128 * 4;
    assert!((memory - less).abs_diff(saved) < 1000, "{memory} and {less} bytes");
}

#[test]
fn a_scale_that_is_no_number_is_refused_by_name() {
    let bytes = std::fs::read(path("q4")).unwrap();
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    for name in ["layers.3.down.scale", "layers.29.qkv.min", "embed_tokens.scale"] {
        for value in [0x7e00u16, 0x7c00, 0xfc00] {
            let mut damaged = bytes.clone();
            let at = 8 + header_len + header[name]["data_offsets"][0].as_u64().unwrap() as usize + 2 * 77;
            damaged[at..at + 2].copy_from_slice(&value.to_le_bytes());
            let error = Model::from_bytes(Bytes::copy(&damaged).unwrap(), &LoadOptions::default()).err().unwrap();
            assert_eq!(error.status(), Status::NonFinite);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
