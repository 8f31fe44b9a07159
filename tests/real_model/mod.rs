//! The packed SmolLM2-135M-Instruct that `make model` leaves, and the reference's figures for it.

use rasp::{LoadOptions, Model};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `RASP_TEST_MODEL`, or where `make model` puts it.
pub fn path() -> PathBuf {
    let path =
        std::env::var_os("RASP_TEST_MODEL").map_or_else(|| root().join("target/models/smollm2.rasp"), PathBuf::from);
    assert!(path.exists(), "{} is not there: run `make model` first", path.display());
    path
}

/// The model, loaded as a user would.
#[allow(dead_code)]
pub fn load() -> Arc<Model> {
    Model::load(&path(), &LoadOptions::default()).unwrap()
}

/// The same model with METHOD's scores and uniform thresholds, beside it: what the reference computes.
#[allow(dead_code)]
pub fn load_uniform() -> Arc<Model> {
    let path = path().with_file_name("smollm2-uniform.rasp");
    assert!(path.exists(), "{} is not there: run `make models` first", path.display());
    Model::load(&path, &LoadOptions::default()).unwrap()
}

/// The same model in whole numbers, `q4` or `q8`, beside it.
#[allow(dead_code)]
pub fn load_whole(kind: &str) -> Arc<Model> {
    Model::load(&whole_path(kind), &LoadOptions::default()).unwrap()
}

/// Where that lies.
#[allow(dead_code)]
pub fn whole_path(kind: &str) -> PathBuf {
    let path = path().with_file_name(format!("smollm2-{kind}.rasp"));
    assert!(path.exists(), "{} is not there: run `make models` first", path.display());
    path
}

/// `tests/goldens/smollm2.json`, written by `tests/reference/make_goldens.py`.
#[allow(dead_code)]
pub fn goldens() -> Value {
    let text = std::fs::read_to_string(root().join("tests/goldens/smollm2.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A list of numbers in the goldens.
#[allow(dead_code)]
pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
}

/// A list of token ids in the goldens.
#[allow(dead_code)]
pub fn ids(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|n| n as u32).collect()
}

/// A tensor of `tests/goldens/smollm2.safetensors`, flat.
#[allow(dead_code)]
pub fn tensor(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(root().join("tests/goldens/smollm2.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap();
    data.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The log-softmax at `token` as `Scorer` computes it.
#[allow(dead_code)]
pub fn log_prob(logits: &[f32], token: u32) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&l| f64::from((l - largest).exp())).sum();
    f64::from(logits[token as usize] - largest) - sum.ln()
}
