//! Every model family held to Hugging Face transformers, on tiny checkpoints with the real configurations' traits.
//!
//! `tests/families/make.py` makes the cases and their goldens; `tests/families/README.md` lists what each exercises.

mod adapters;
mod case;
mod gguf;
mod packed;
mod page;
mod pending;
mod quantized;
mod refusals;
mod sessions;
mod spellings;
#[path = "../import/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
mod tokenizer;
mod up_rows;
mod weights;

use std::sync::LazyLock;

use case::{Case, Golden};
use packed::{Packed, SPARSITY};
use pending::PENDING;
use rasp::format::Allocation;
use rasp::{Session, SessionOptions};

/// Why a case does not run yet.
fn pending(case: &Case) -> Option<&'static str> {
    PENDING.iter().find(|(name, _)| *name == case.name).map(|(_, word)| *word)
}

/// What must run, packed; or why it was not.
static PACKED: LazyLock<Vec<(String, rasp::Result<Packed>)>> = LazyLock::new(|| {
    let cases = case::all().into_iter().filter(|case| pending(case).is_none());
    cases.map(|case| (case.name.clone(), Packed::with("packed", case, |_| {}))).collect()
});

/// Runs `check` on every case that must run, and fails with the names of all that fail it.
fn each(check: impl Fn(&Packed) -> Result<(), String>) {
    let mut failed = Vec::new();
    for (name, packed) in PACKED.iter() {
        let outcome = match packed {
            Ok(packed) => check(packed),
            Err(error) => Err(format!("is not packed: {error}")),
        };
        failed.extend(outcome.err().map(|why| format!("  {name}: {why}")));
    }
    assert!(!PACKED.is_empty(), "no case was run");
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), PACKED.len(), failed.join("\n"));
}

/// `ln Σ exp`, in f64.
fn lse(logits: &[f32]) -> f64 {
    let largest = f64::from(logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)));
    largest + logits.iter().map(|&l| (f64::from(l) - largest).exp()).sum::<f64>().ln()
}

fn argmax(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap()
}

/// Fails where logits are not those of transformers; gives the largest difference of a log-probability.
fn compare(case: &Case, golden: &Golden, rows: &[Vec<f32>]) -> Result<f64, String> {
    let mut worst = (0.0, 0, 0);
    for (position, logits) in rows.iter().enumerate() {
        let total = lse(logits);
        let kept = &golden.log_probs[position * case.ids.len()..][..case.ids.len()];
        let top = golden.top[position] as usize;
        let pairs = case.ids.iter().copied().zip(kept).chain([(top, &golden.top_log_prob[position])]);
        for (id, &expected) in pairs {
            let difference = (f64::from(logits[id]) - total - f64::from(expected)).abs();
            // Not a number is the worst there is.
            if difference.is_nan() || difference > worst.0 {
                worst = (if difference.is_nan() { f64::INFINITY } else { difference }, position, id);
            }
        }
        let likeliest = argmax(logits);
        if likeliest != top && golden.margin[position] > case.tolerance {
            return Err(format!("behind token {position} {likeliest} is likeliest, for transformers {top}"));
        }
        let apart = (total - f64::from(golden.lse[position])).abs();
        if apart > 2.0 * f64::from(case.tolerance) {
            return Err(format!("behind token {position} the logits are {apart} from those of transformers"));
        }
    }
    let (difference, position, id) = worst;
    match difference <= f64::from(case.tolerance) {
        true => Ok(difference),
        false => Err(format!("behind token {position} the log-probability of {id} is off by {difference:.4}")),
    }
}

#[test]
fn log_probabilities_are_those_of_transformers() {
    each(|packed| {
        let rows = packed.logits(0.0, usize::MAX).map_err(|e| e.to_string())?;
        let difference = compare(&packed.case, &packed.case.golden(), &rows)?;
        println!("{:24} {difference:.5}", packed.case.name);
        Ok(())
    });
}

#[test]
fn a_session_opened_as_any_is_close_to_transformers_too() {
    each(|packed| {
        let options = SessionOptions { context: packed.context(), ..Default::default() };
        let mut session = Session::open(packed.model.clone(), &options).map_err(|e| e.to_string())?;
        // Prompts of two batches, then token by token.
        let (prompt, rest) = packed.case.tokens.split_at(20);
        session.prefill(prompt).unwrap();
        let mut rows = vec![session.logits().unwrap().to_vec()];
        for &token in rest {
            session.decode(token).unwrap();
            rows.push(session.logits().unwrap().to_vec());
        }
        // Keys and values of 16 bits round more than weights that arrive as they were.
        let case = Case { tolerance: 0.05, ..packed.case.clone() };
        compare(&case, &packed.case.golden().behind(prompt.len() - 1), &rows).map(|_| ())
    });
}

/// The packer's own pass, forward and backward, knows every family that the engine knows.
#[test]
fn scores_from_gradients_change_no_dense_bit() {
    each(|packed| {
        let tuned = Packed::with("gradients", packed.case.clone(), |options| {
            (options.allocation, options.tune) = (Allocation::Global, 1);
        });
        let tuned = tuned.map_err(|e| e.to_string())?;
        let logits = |packed: &Packed, sparsity| packed.logits(sparsity, 1).map_err(|e| e.to_string());
        if logits(&tuned, 0.0)? != logits(packed, 0.0)? {
            return Err("the dense model is another".into());
        }
        match logits(&tuned, SPARSITY)? == logits(packed, SPARSITY)? {
            true => Err("the scores are those of the weights' norms".into()),
            false => Ok(()),
        }
    });
}
