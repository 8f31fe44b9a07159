//! METHOD's table: perplexity and traffic of SmolLM2-135M-Instruct under the strict protocol, packed by this packer
//! from the calibration text the table names.
//!
//! The text is not part of the repository. `RASP_DATA` names its folder, `../shared/data` beside the checkout serves as
//! well; without either there is nothing to compare and the test says so.

use rasp::format::Allocation;
use rasp::model::WeightType;
use rasp::session::Scorer;
use rasp::text::EncodeOptions;
use rasp::{LoadOptions, Model};
use rasp_packer::{PackOptions, RecipeRequest, Silent, pack};
use std::path::{Path, PathBuf};

const WINDOW: usize = 512;
const WINDOWS: usize = 16;

fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("RASP_DATA").map_or(beside, PathBuf::from);
    folder.join("wikitext2_test_a.txt").exists().then_some(folder)
}

fn checkpoint() -> PathBuf {
    let path = std::env::var_os("RASP_TEST_GGUF").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models/SmolLM2-135M-Instruct.Q4_1.gguf"),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is not there: run `make model` first", path.display());
    path
}

/// Packs with `rho` and compares each `(sparsity, perplexity, share kept)`.
fn compare(rho: f32, recipe: &str, rows: &[(f32, f64, f64)]) {
    let Some(data) = data() else {
        eprintln!("not run: neither RASP_DATA nor ../shared/data holds WikiText-2");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.rasp");
    let levels: Vec<f32> = rows.iter().map(|row| row.0).filter(|&s| s > 0.0).collect();
    let options = PackOptions {
        weight_type: Some(WeightType::BF16),
        calibration: Some(data.join("wikitext2_valid.txt")),
        calibration_tokens: 8 * WINDOW,
        sparsity: Some(levels),
        rho,
        allocation: Allocation::Uniform,
        tune: 0,
        recipe: RecipeRequest::parse(recipe).unwrap(),
        // One thread: the tests of this file run side by side.
        ..PackOptions::new(checkpoint(), &output)
    };
    pack(&options, &mut Silent).unwrap();
    let model = Model::load(&output, &LoadOptions { verify: true, ..Default::default() }).unwrap();
    let text = std::fs::read_to_string(data.join("wikitext2_test_a.txt")).unwrap();
    let mut tokens = Vec::new();
    model.tokenizer().encode(&text, EncodeOptions { add_special: false, parse_special: false }, &mut tokens).unwrap();
    let mut scorer = Scorer::exact(model.clone(), WINDOW, 1).unwrap();
    for &(sparsity, perplexity, kept) in rows {
        scorer.set_sparsity(sparsity).unwrap();
        let from = if sparsity == 0.0 { WINDOW } else { 0 };
        let windows = tokens.chunks_exact(WINDOW).take(WINDOWS);
        let scores: Vec<_> = windows.flat_map(|window| scorer.score(window, from).unwrap()).collect();
        assert_eq!(scores.len(), WINDOWS * (WINDOW - 1));
        let found = (-scores.iter().map(|s| s.log_prob).sum::<f64>() / scores.len() as f64).exp();
        let traffic = scorer.take_traffic();
        let found_kept = match traffic.tokens {
            0 => 1.0,
            n => traffic.linear_bytes as f64 / (n * model.linear_bytes()) as f64,
        };
        println!("rho {rho} sparsity {sparsity}: perplexity {found:.3}, kept {found_kept:.4}");
        assert!((found / perplexity - 1.0).abs() < 0.02, "sparsity {sparsity}: {found}, METHOD has {perplexity}");
        assert!((found_kept - kept).abs() < 0.005, "sparsity {sparsity}: kept {found_kept}, METHOD has {kept}");
    }
}

#[test]
fn input_sparsity_alone() {
    compare(1.0, "{}", &[(0.0, 29.595, 1.0), (0.3, 30.592, 0.689), (0.5, 49.08, 0.470)]);
}

#[test]
fn plain_magnitude() {
    compare(1.0, r#"{"score": "magnitude"}"#, &[(0.5, 48.90, 0.469)]);
}

#[test]
fn with_a_low_rank() {
    compare(0.8, "{}", &[(0.5, 71.91, 0.459)]);
}
