//! Packing tiny checkpoints: what comes out computes what went in, and what must not come out is refused.

#[path = "import/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
mod tiny;

use rasp::format::{Bytes, File, ScoreKind};
use rasp::model::{Affine, LinearKind, NormId, Role, WeightType};
use rasp::session::Scorer;
use rasp::{Error, LoadOptions, Model, Status};
use rasp_packer::import::{self, Checkpoint};
use rasp_packer::{PackOptions, RecipeRequest};
use serde_json::json;
use std::fs;
use std::path::Path;
use support::*;
use tiny::{checkpoint, output, packed};

const TOKENS: [u32; 10] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 11];

/// Log-probabilities of `TOKENS[1..]` from a packed model.
fn log_probs(path: &Path) -> Vec<f64> {
    let model = Model::load(path, &LoadOptions { verify: true, ..Default::default() }).unwrap();
    let mut scorer = Scorer::exact(model, 16, 1).unwrap();
    scorer.score(&TOKENS, usize::MAX).unwrap().iter().map(|s| s.log_prob).collect()
}

/// The same by the shortest f64 code that follows the papers, from the checkpoint as imported.
fn naive(c: &Checkpoint) -> Vec<f64> {
    let config = c.config();
    let (h, dim, heads) = (config.hidden_size, config.head_dim, config.num_heads);
    let wide = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<f64>>();
    let norm = |x: &[f64], which| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / h as f64;
        let weight = wide(c.vector(which).unwrap().unwrap());
        x.iter().zip(weight).map(|(x, w)| x / (mean + f64::from(config.rms_norm_eps)).sqrt() * w).collect::<Vec<_>>()
    };
    let linear = |x: &[f64], layer, kind| {
        let w = c.linear(layer, kind).unwrap();
        let bias = c.bias(layer, kind).unwrap().unwrap_or_else(|| vec![0.0; w.out]);
        let rows = w.data.chunks_exact(w.inp).zip(bias);
        rows.map(|(row, b)| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(b))
            .collect::<Vec<_>>()
    };
    let rotate = |x: &mut [f64], position: usize| {
        for head in x.chunks_exact_mut(dim) {
            for i in 0..dim / 2 {
                let (sin, cos) = (position as f64 * f64::from(c.shape.ropes[0][i])).sin_cos();
                let (a, b) = (head[i], head[i + dim / 2]);
                (head[i], head[i + dim / 2]) = (a * cos - b * sin, b * cos + a * sin);
            }
        }
    };
    let embedding = wide(c.embedding_rows(0..config.vocab_size).unwrap());
    let head = c.lm_head_rows(0..config.vocab_size).unwrap().map_or_else(|| embedding.clone(), wide);
    let mut keys = vec![Vec::new(); config.num_layers];
    let mut values = vec![Vec::new(); config.num_layers];
    let mut result = Vec::new();
    for (position, pair) in TOKENS.windows(2).enumerate() {
        let mut x = embedding[pair[0] as usize * h..][..h].to_vec();
        for layer in 0..config.num_layers {
            let n = norm(&x, Role::Norm(layer, NormId::Attn, Affine::Gain));
            let mut q = linear(&n, layer, LinearKind::Q);
            let mut k = linear(&n, layer, LinearKind::K);
            rotate(&mut q, position);
            rotate(&mut k, position);
            keys[layer].push(k);
            values[layer].push(linear(&n, layer, LinearKind::V));
            let mut attention = Vec::new();
            for (i, q) in q.chunks_exact(dim).enumerate() {
                let kv = i / (heads / config.num_kv_heads) * dim;
                let dot = |k: &Vec<f64>| k[kv..kv + dim].iter().zip(q).map(|(k, q)| k * q).sum::<f64>();
                let e: Vec<f64> = keys[layer].iter().map(|k| (dot(k) / (dim as f64).sqrt()).exp()).collect();
                let sum: f64 = e.iter().sum();
                attention.extend(
                    (0..dim).map(|d| e.iter().zip(&values[layer]).map(|(e, v)| e / sum * v[kv + d]).sum::<f64>()),
                );
            }
            x.iter_mut().zip(linear(&attention, layer, LinearKind::O)).for_each(|(x, o)| *x += o);
            let n = norm(&x, Role::Norm(layer, NormId::Mlp, Affine::Gain));
            let gate = linear(&n, layer, LinearKind::Gate);
            let up = linear(&n, layer, LinearKind::Up);
            let act: Vec<f64> = gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            x.iter_mut().zip(linear(&act, layer, LinearKind::Down)).for_each(|(x, d)| *x += d);
        }
        let n = norm(&x, Role::FinalNorm(Affine::Gain));
        let logits: Vec<f64> = head.chunks_exact(h).map(|row| row.iter().zip(&n).map(|(w, x)| w * x).sum()).collect();
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        result.push(logits[pair[1] as usize] - sum.ln());
    }
    result
}

fn assert_close(found: &[f64], expected: &[f64], allowed: f64, what: &str) {
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(found.len() == expected.len() && worst < allowed, "{what}: differs by {worst}");
}

#[test]
fn what_comes_out_computes_what_went_in() {
    for (class, tied) in [("LlamaForCausalLM", true), ("LlamaForCausalLM", false), ("Qwen2ForCausalLM", true)] {
        let hf = checkpoint(class, tied);
        let expected = naive(&import::open(hf.path()).unwrap());
        for weight_type in [WeightType::BF16, WeightType::F16] {
            packed(&hf, |o| o.weight_type = Some(weight_type)).unwrap();
            // The weights are exact in either type.
            assert_close(&log_probs(&output(&hf)), &expected, 2e-5, class);
        }
    }
}

#[test]
fn a_low_rank_and_its_residual_are_the_whole() {
    let hf = checkpoint("Qwen2ForCausalLM", true);
    let expected = naive(&import::open(hf.path()).unwrap());
    for score in [ScoreKind::WeightNorm, ScoreKind::ResidualNorm, ScoreKind::Magnitude] {
        let recipe = RecipeRequest { score: Some(score), ..Default::default() };
        let summary = packed(&hf, |o| (o.rho, o.recipe) = (0.6, recipe)).unwrap();
        let file = File::open(Bytes::map(&output(&hf)).unwrap()).unwrap();
        assert!(file.contains("layers.0.gate.low_rank.a") && file.contains("layers.1.down.low_rank.b"));
        assert_eq!(file.contains("layers.0.q.score"), score != ScoreKind::Magnitude);
        // Dense, only the rounding of A, B and R to bf16 remains.
        assert_close(&log_probs(&output(&hf)), &expected, 2e-2, "low rank");
        assert!((summary.levels[1].kept - 0.5).abs() < 0.04, "{summary:?}");
    }
}

#[test]
fn the_same_input_gives_the_same_file_also_with_the_models_own_text() {
    let hf = checkpoint("LlamaForCausalLM", false);
    let make = || {
        packed(&hf, |o| o.calibration = None).unwrap();
        fs::read(output(&hf)).unwrap()
    };
    assert!(make() == make());
}

#[test]
fn a_dense_file_needs_no_text_and_refuses_sparsity() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let summary = packed(&hf, |o| (o.sparsity, o.calibration) = (Some(vec![]), None)).unwrap();
    assert_eq!((summary.levels.len(), summary.calibration_tokens), (0, 0));
    let model = Model::load(&output(&hf), &LoadOptions::default()).unwrap();
    assert_eq!(model.max_sparsity(), 0.0);
    let error = Scorer::exact(model, 16, 1).unwrap().set_sparsity(0.3).unwrap_err();
    assert!(error.status() == Status::OutOfRange && error.message().contains("dense"), "{error}");
}

fn files(hf: &HfDir) -> usize {
    fs::read_dir(hf.path()).unwrap().count()
}

fn refused(hf: &HfDir, change: impl FnOnce(&mut PackOptions), status: Status, words: &[&str]) -> Error {
    let before = files(hf);
    let error = packed(hf, change).unwrap_err();
    assert_eq!(error.status(), status, "{error}");
    for word in words {
        assert!(error.message().contains(word), "{error} lacks {word}");
    }
    assert_eq!(files(hf), before, "something was left behind");
    error
}

#[test]
fn numbers_of_threads_that_no_machine_has_are_refused() {
    let hf = checkpoint("LlamaForCausalLM", true);
    for threads in [0, 100_000] {
        refused(&hf, |o| o.threads = threads, Status::InvalidArgument, &[&format!("{threads} threads")]);
    }
}

#[test]
fn what_must_not_come_out_is_refused_and_leaves_nothing_behind() {
    let mut hf = checkpoint("LlamaForCausalLM", true);
    refused(&hf, |o| o.sparsity = Some(vec![0.5, 0.3]), Status::InvalidArgument, &["ascend"]);
    refused(&hf, |o| o.rho = 2.0, Status::InvalidArgument, &["rho"]);
    refused(&hf, |o| o.calibration = Some("gone.txt".into()), Status::Io, &["gone.txt"]);
    let empty = hf.file("empty.txt", "");
    refused(&hf, |o| o.calibration = Some(empty.clone()), Status::InvalidArgument, &["empty.txt", "is empty"]);
    refused(&hf, |o| o.output = "/nowhere/out.rasp".into(), Status::Io, &["/nowhere/out.rasp"]);
    fs::remove_file(empty).unwrap();

    // f16 ends at 65504.
    let name = "model.layers.1.mlp.up_proj.weight";
    let mut numbers = vec![0.25; INNER * HIDDEN];
    numbers[HIDDEN + 3] = 1e6;
    hf.add(name, &[INNER, HIDDEN], &numbers);
    hf.write();
    refused(&hf, |o| o.weight_type = Some(WeightType::F16), Status::OutOfRange, &["layers.1.up", "f16"]);
    numbers[HIDDEN + 3] = f32::NAN;
    hf.add(name, &[INNER, HIDDEN], &numbers);
    hf.write();
    refused(&hf, |_| {}, Status::NonFinite, &[name, "[1, 3]"]);
}

#[test]
fn a_weight_damaged_later_is_found_by_verify_and_by_the_logits() {
    let hf = checkpoint("LlamaForCausalLM", true);
    packed(&hf, |_| {}).unwrap();
    let mut bytes = fs::read(output(&hf)).unwrap();
    let file = File::open(Bytes::copy(&bytes).unwrap()).unwrap();
    let start = file.raw("layers.1.down").unwrap().as_ptr().addr() - file.bytes().as_ptr().addr();
    drop(file);
    // NaN in row 2, column 5 of [64, 32].
    let at = start + 2 * (2 * HIDDEN + 5);
    bytes[at..at + 2].copy_from_slice(&0x7fc0u16.to_le_bytes());
    let load = |bytes: &[u8], verify| {
        Model::from_bytes(Bytes::copy(bytes).unwrap(), &LoadOptions { verify, ..Default::default() })
    };
    let error = load(&bytes, true).err().unwrap();
    assert!(error.status() == Status::BadFile && error.message().contains("layers.1.down"), "{error}");
    // A file that was packed before there were checksums.
    let key = bytes.windows(10).position(|name| name == b"rasp.xxh64").unwrap();
    bytes[key] = b'w';
    let load = |verify| load(&bytes, verify);
    let error = load(true).err().unwrap();
    assert_eq!(error.status(), Status::NonFinite);
    assert!(error.message().contains("layers.1.down, row 2, column 5"), "{error}");
    let mut session = rasp::Session::open(load(false).unwrap(), &Default::default()).unwrap();
    assert_eq!(session.prefill(&TOKENS).unwrap_err().status(), Status::NonFinite);
    assert!(session.tokens().is_empty());
}

/// Every tensor and every metadata key is needed, and each is checked: a file without it, or with another shape, fails.
#[test]
fn damaged_files_are_refused_and_never_crash() {
    let hf = checkpoint("Qwen2ForCausalLM", false);
    packed(&hf, |o| o.rho = 0.6).unwrap();
    let bytes = fs::read(output(&hf)).unwrap();
    let open = |bytes: &[u8]| Model::from_bytes(Bytes::copy(bytes).unwrap(), &LoadOptions::default());
    assert!(open(&bytes).is_ok());
    for len in (0..bytes.len()).step_by(bytes.len() / 500 + 1) {
        assert_eq!(open(&bytes[..len]).err().unwrap().status(), Status::BadFile, "{len} bytes");
    }
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    let rebuilt = |header: &serde_json::Value| {
        let header = header.to_string();
        let mut whole = (header.len() as u64).to_le_bytes().to_vec();
        whole.extend(header.as_bytes());
        whole.extend(&bytes[8 + header_len..]);
        // The header's length changes alignment; pad it as the writer does.
        let pad = whole.len() - (bytes.len() - 8 - header_len);
        let spaces = pad.next_multiple_of(64) - pad;
        whole.splice(pad..pad, std::iter::repeat_n(b' ', spaces));
        whole[..8].copy_from_slice(&((header.len() + spaces) as u64).to_le_bytes());
        whole
    };
    assert!(open(&rebuilt(&header)).is_ok());
    for name in header.as_object().unwrap().keys().filter(|n| !n.starts_with("pad.") && *n != "__metadata__") {
        let mut renamed = header.clone();
        let entry = renamed.as_object_mut().unwrap().remove(name).unwrap();
        renamed[format!("{name}.gone")] = entry;
        let error = open(&rebuilt(&renamed)).err();
        // What a model can do without.
        let optional = name.ends_with(".bias") || name == "head_screen";
        assert!(error.is_some() || optional, "{name} was not missed");
        let mut reshaped = header.clone();
        let shape = reshaped[name]["shape"].as_array_mut().unwrap();
        shape.push(json!(1));
        assert!(open(&rebuilt(&reshaped)).is_err(), "{name} with a dimension more");
    }
    let change = |key: &str, value: &str, status: Status| {
        let mut other = header.clone();
        other["__metadata__"][key] = json!(value);
        let error = open(&rebuilt(&other)).err().unwrap();
        assert_eq!(error.status(), status, "{key} = {value}: {error}");
    };
    let config = header["__metadata__"]["rasp.config"].as_str().unwrap();
    change("format", "pt", Status::BadFile);
    change("rasp.version", "1", Status::UnsupportedVersion);
    change("rasp.config", "{", Status::BadFile);
    change("rasp.config", &config.replacen('{', "{\"block\":{\"experts\":8},", 1), Status::Unsupported);
    change("rasp.config", &config.replace("\"num_heads\":4", "\"num_heads\":3"), Status::BadFile);
    change("rasp.config", &config.replace("\"num_heads\":4", "\"num_heads\":0"), Status::BadFile);
    change("rasp.config", &config.replace("\"hidden_size\":32", "\"hidden_size\":99999999999"), Status::BadFile);
    change("rasp.recipe", "{}", Status::BadFile);
    let recipe = header["__metadata__"]["rasp.recipe"].as_str().unwrap();
    change("rasp.recipe", &recipe.replace("layers.0.q", "layers.0.z"), Status::BadFile);
    change("rasp.recipe", &recipe.replace("\"rank\":", "\"rank\":9"), Status::BadFile);

    // Any flipped byte of the header or of a small tensor: an error or a model, never a crash.
    let mut damaged = bytes.clone();
    let mut state = 12345u64;
    for _ in 0..3000 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let at = (state >> 33) as usize % (header_len + 4096).min(bytes.len());
        let old = std::mem::replace(&mut damaged[at], (state >> 20) as u8);
        if let Ok(model) = open(&damaged)
            && let Ok(mut session) =
                rasp::Session::open(model, &rasp::SessionOptions { context: 16, ..Default::default() })
        {
            let _ = session.prefill(&TOKENS);
            let _ = session.step();
        }
        damaged[at] = old;
    }
}
