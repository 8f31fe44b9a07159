//! The packer's own sparse pass beside the engine's, on the tiny checkpoint of every family (`tests/families`).

#[path = "../../tests/families/case.rs"]
#[allow(dead_code, reason = "the integration tests use the rest")]
mod case;
#[path = "../../tests/families/packed.rs"]
#[allow(dead_code, reason = "the integration tests use the rest")]
mod packed;
#[path = "../../tests/families/pending.rs"]
#[allow(dead_code, reason = "the integration tests use the rest")]
mod pending;
#[path = "../../tests/families/tokenizer.rs"]
#[allow(dead_code, reason = "the integration tests use the rest")]
mod tokenizer;
#[path = "../../tests/families/weights.rs"]
mod weights;

use super::{BlockPass, Masks, embedded, logits, normed};
use packed::{Packed, SPARSITY};

/// How far a log-probability may be from the engine's: what it may be from transformers' where nothing is dropped.
const TOLERANCE: f64 = 0.05;

/// The logits behind each token, by way of the packer's blocks.
fn own(packed: &Packed) -> Vec<Vec<f32>> {
    let (model, tokens) = (&packed.model, &packed.case.tokens);
    let thresholds: Vec<f32> = model.linears().map(|linear| linear.thresholds()[0]).collect();
    let masks = Masks::new(&thresholds, model.recipe().dense_prefix);
    let mut streams = embedded(model, &[tokens]);
    for layer in 0..model.layers().len() {
        BlockPass::new(model, layer).sparse(&mut streams, masks);
    }
    let mut rows = Vec::new();
    let keep = |_: usize, logits: super::Mat| {
        rows.extend((0..logits.rows()).map(|row| logits.row(row).to_vec()));
        Ok(())
    };
    logits(model, &normed(&streams[0], model.final_norm()), keep).unwrap();
    rows
}

fn log_probs(logits: &[f32]) -> Vec<f64> {
    let largest = f64::from(logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)));
    let lse = largest + logits.iter().map(|&l| (f64::from(l) - largest).exp()).sum::<f64>().ln();
    logits.iter().map(|&l| f64::from(l) - lse).collect()
}

/// The largest difference of a log-probability; not a number is the worst there is.
fn apart(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f64 {
    let pairs = found.iter().zip(expected).flat_map(|(a, b)| log_probs(a).into_iter().zip(log_probs(b)));
    let differences = pairs.map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| if d.is_nan() { f64::INFINITY } else { most.max(d) })
}

/// What the page of models calls sparse: every case that is held to transformers is held to this, too.
#[test]
fn every_familys_sparse_log_probabilities_are_the_engines() {
    let (mut failed, mut ran) = (Vec::new(), 0);
    for case in case::all() {
        if pending::PENDING.iter().any(|(name, _)| *name == case.name) {
            continue;
        }
        let name = case.name.clone();
        let packed = Packed::with("packers_own", case, |_| {}).unwrap_or_else(|e| panic!("{name}: {e}"));
        let engine = packed.logits(SPARSITY, packed.model.recipe().dense_prefix).unwrap();
        let dense = packed.logits(0.0, usize::MAX).unwrap();
        let own = own(&packed);
        assert_eq!((own.len(), own[0].len()), (engine.len(), engine[0].len()), "{name}");
        let (apart, moved) = (apart(&own, &engine), apart(&dense, &engine));
        println!("{name:24} {apart:.6}; sparsity moves it by {moved:.2}");
        if apart > TOLERANCE {
            failed.push(format!("  {name}: {apart:.4}"));
        }
        // A pass that dropped nothing would be as near to one that dropped nothing.
        assert!(moved > 3.0 * TOLERANCE, "{name}: sparsity moves log-probabilities by {moved} alone");
        ran += 1;
    }
    assert!(ran > 0, "no case was run");
    assert!(failed.is_empty(), "{} of {ran} cases:\n{}", failed.len(), failed.join("\n"));
}
