//! The engine against the independent reference (`tests/reference/`), and against itself: other threads, batches and
//! instruction sets must not change a bit.

mod real_model;

use rasp::model::GroupKind;
use rasp::session::{KvType, MatRef, Observer, Scored, Scorer};
use rasp::{LoadOptions, Model, Session, SessionOptions};
use rasp_kernels::Kernels;
use real_model::{goldens, ids, load, load_uniform, log_prob, numbers, tensor};
use std::sync::Arc;

/// The reference computes in f64, we in f32, and NumPy's own f32 pass differs from it by `float32_error`. Sums in
/// another order may differ a few times as much.
const SLACK: f64 = 6.0;

fn largest_difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

#[derive(Default)]
struct Watch {
    first: Vec<f32>,
    last: Vec<f32>,
    attention: Vec<f32>,
    activation: Vec<f32>,
}

impl Observer for Watch {
    fn group_input(&mut self, layer: usize, group: GroupKind, x: MatRef<'_>) {
        let last = x.row(x.rows() - 1);
        match (layer, group) {
            (0, GroupKind::O) => self.attention = last.to_vec(),
            (0, GroupKind::Down) => self.activation = last.to_vec(),
            _ => {}
        }
    }

    fn hidden(&mut self, _: usize, x: MatRef<'_>) {
        self.first.extend(x.row(0));
        self.last.extend(x.row(x.rows() - 1));
    }
}

#[test]
fn every_layer_agrees_with_the_reference() {
    let goldens = goldens();
    let mut watch = Watch::default();
    let mut scorer = Scorer::exact(load(), 64, 2).unwrap();
    scorer.observe(&ids(&goldens["prompt_ids"]), usize::MAX, &mut watch).unwrap();
    for (name, found) in [
        ("hidden.first", &watch.first),
        ("hidden.last", &watch.last),
        ("layers.0.attention.last", &watch.attention),
        ("layers.0.activation.last", &watch.activation),
    ] {
        let difference = largest_difference(found, &tensor(name));
        let allowed = goldens["float32_error"][name].as_f64().unwrap() * SLACK;
        assert!(difference <= allowed, "{name} differs by {difference}, allowed {allowed}");
    }
}

fn session(model: &Arc<Model>, threads: usize, kv_type: KvType) -> Session {
    Session::open(model.clone(), &SessionOptions { context: 256, threads, kv_type, ..Default::default() }).unwrap()
}

#[test]
fn the_greedy_continuation_is_the_references() {
    let goldens = goldens();
    let model = load();
    let expected = ids(&goldens["greedy_ids"]);
    for kv_type in [KvType::F32, KvType::F16] {
        let mut session = session(&model, 1, kv_type);
        session.prefill(&ids(&goldens["prompt_ids"])).unwrap();
        let logits = session.logits().unwrap();
        for (id, expected) in ids(&goldens["top_ids"]).into_iter().zip(numbers(&goldens["top_logits"])) {
            let difference = (f64::from(logits[id as usize]) - expected).abs();
            // f16 keys and values: 11 bits of mantissa.
            assert!(difference < if kv_type == KvType::F32 { 2e-4 } else { 2e-2 }, "{id}: {difference}");
        }
        let found: Vec<u32> = expected.iter().map(|_| session.step().unwrap()).collect();
        assert_eq!(found, expected);
    }
    let text = model.tokenizer().decode(&expected, false).unwrap();
    assert!(String::from_utf8(text).unwrap().starts_with(" Paris."));
}

fn thresholds(sparsity: f64) -> Vec<f32> {
    let goldens = goldens();
    let level = numbers(&goldens["sparsity"]).iter().position(|&s| s == sparsity).unwrap();
    let model = load_uniform();
    let linears = model.layers().iter().enumerate().flat_map(|(n, layer)| {
        let kinds = layer.groups().iter().flat_map(|g| g.linears()).map(|l| l.kind());
        kinds.map(move |kind| format!("layers.{n}.{}", kind.name())).collect::<Vec<_>>()
    });
    linears.map(|name| numbers(&goldens["thresholds"][name])[level] as f32).collect()
}

#[test]
fn log_probabilities_dense_and_sparse_agree_with_the_reference() {
    let goldens = goldens();
    let text = ids(&goldens["text_ids"]);
    let mut scorer = Scorer::exact(load_uniform(), 64, 2).unwrap();
    let compare = |scores: Vec<Scored>, name: &str, allowed: f64| {
        let found: Vec<f32> = scores.iter().map(|s| s.log_prob as f32).collect();
        let expected = tensor(name);
        let difference = largest_difference(&found, &expected);
        assert!(difference < allowed, "{name} differs by {difference}: {found:?} for {expected:?}");
    };
    compare(scorer.score(&text, usize::MAX).unwrap(), "text.logprobs", 1e-3);
    scorer.set_thresholds(&thresholds(0.5)).unwrap();
    let scores = scorer.score(&text, 0).unwrap();
    // Masks are sharp: where a score lies within rounding of its threshold a channel falls either way, and from there
    // the texts diverge. (Thresholds moved by a hundred-thousandth change single log-probabilities by 0.65.) So: to the
    // last digit before the first such channel, which is the third token, and on average after it.
    let expected = tensor("text.logprobs.sparse");
    let first: Vec<f32> = scores.iter().take(2).map(|s| s.log_prob as f32).collect();
    assert!(largest_difference(&first, &expected[..2]) < 1e-4, "{first:?} for {:?}", &expected[..2]);
    let mean = scores.iter().map(|s| s.log_prob).sum::<f64>() / scores.len() as f64;
    let expected = expected.iter().map(|&x| f64::from(x)).sum::<f64>() / expected.len() as f64;
    assert!((mean - expected).abs() < 0.25, "mean log-probability {mean}, the reference {expected}");
    let traffic = scorer.take_traffic();
    let kept = traffic.linear_bytes as f64 / (traffic.tokens * scorer.model().linear_bytes()) as f64;
    let expected = goldens["text_sparse"]["traffic_kept"].as_f64().unwrap();
    assert_eq!(traffic.tokens, 64);
    assert!((kept - expected).abs() < 3e-3, "kept {kept}, the reference {expected}");
}

#[test]
fn one_by_one_in_batches_and_on_any_threads_the_bits_are_the_same() {
    let model = load();
    let text = ids(&goldens()["text_ids"]);
    for sparsity in [0.0, 0.5, 0.62] {
        let mut scorer = Scorer::exact(model.clone(), 64, 2).unwrap();
        scorer.set_sparsity(sparsity).unwrap();
        let scores = scorer.score(&text, 0).unwrap();
        let traffic = scorer.take_traffic();
        for threads in [1, 2, 3] {
            let mut session = session(&model, threads, KvType::F32);
            session.set_sparsity(sparsity).unwrap();
            for (i, score) in scores.iter().enumerate() {
                session.decode(text[i]).unwrap();
                let single = log_prob(session.logits().unwrap(), text[i + 1]);
                assert_eq!(single.to_bits(), score.log_prob.to_bits(), "token {i}, {sparsity}, {threads} threads");
            }
            session.decode(text[scores.len()]).unwrap();
            assert_eq!(session.stats().traffic, traffic, "{sparsity}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let text = &ids(&goldens()["text_ids"])[..12];
    let mut logits: Option<Vec<u32>> = None;
    for isa in Kernels::available() {
        let options = LoadOptions { isa: Some(isa), ..Default::default() };
        let model = Model::load(&real_model::path(), &options).unwrap();
        let mut session = session(&model, 2, KvType::F16);
        session.prefill(&text[..10]).unwrap();
        session.set_sparsity(0.5).unwrap();
        text[10..].iter().for_each(|&token| session.decode(token).unwrap());
        let bits: Vec<u32> = session.logits().unwrap().iter().map(|l| l.to_bits()).collect();
        match &logits {
            None => logits = Some(bits),
            Some(scalar) => assert!(*scalar == bits, "{} differs from scalar", isa.name()),
        }
    }
}
