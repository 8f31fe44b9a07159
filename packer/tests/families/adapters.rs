//! LoRA adapters: a base with one of a family's linears' is the model into which it was merged, whatever the family
//! fuses, reorders or folds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rasp::Status;
use rasp::model::{Adapter, WeightType};
use rasp_packer::pack_adapter;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use super::case::{Case, Tensor};
use super::packed::{Packed, SPARSITY, folder};
use super::pending::PENDING_GGUF;
use super::support::{GgufFile, types};
use super::{PACKED, gguf, lse, weights};

const RANK: usize = 3;
const ALPHA: f64 = 4.5;

/// The factors of one of a checkpoint's matrices, as PEFT has them.
struct Factors {
    module: String,
    /// lora_A: `[RANK, inputs]`
    a: Vec<f32>,
    /// lora_B: `[outputs, RANK]`
    b: Vec<f32>,
    /// Whether the matrix is stored `[inputs, outputs]`.
    transposed: bool,
}

impl Factors {
    /// Of a linear's matrix; no factors of anything else.
    fn of(case: &Case, tensor: &Tensor) -> Option<Factors> {
        let Tensor(name, shape, ..) = tensor;
        let in_layer = name.split('.').any(|part| part.parse::<usize>().is_ok());
        let &[rows, cols] = shape.as_slice() else { return None };
        if !in_layer || name.contains("norm") || name.contains("vision") {
            return None;
        }
        let transposed = case.config["model_type"] == "gpt2";
        let (outputs, inputs) = if transposed { (cols, rows) } else { (rows, cols) };
        let module = name.strip_suffix(".weight")?.to_string();
        // Of f16, so that nothing is rounded on the way; `b` small, as training leaves it.
        let factor = |which: &str, count, scale| {
            weights::rounded(weights::values(&format!("{name}.{which}"), count, scale, 0.0), Dtype::F16)
        };
        let (a, b) = (factor("lora_A", RANK * inputs, 0.5), factor("lora_B", outputs * RANK, 0.05));
        Some(Factors { module, a, b, transposed })
    }

    /// What they add to the weight at a place of the matrix.
    fn product(&self, at: usize, cols: usize) -> f32 {
        let (row, col) = (at / cols, at % cols);
        let (output, input) = if self.transposed { (col, row) } else { (row, col) };
        let inputs = self.a.len() / RANK;
        let sum: f64 =
            (0..RANK).map(|k| f64::from(self.b[output * RANK + k]) * f64::from(self.a[k * inputs + input])).sum();
        (sum * ALPHA / RANK as f64) as f32
    }

    /// Both, by the endings of their names.
    fn shapes(&self) -> [(&'static str, [usize; 2], &[f32]); 2] {
        [("A", [RANK, self.a.len() / RANK], &self.a), ("B", [self.b.len() / RANK, RANK], &self.b)]
    }
}

fn all(case: &Case) -> Vec<Factors> {
    case.tensors.iter().filter_map(|tensor| Factors::of(case, tensor)).collect()
}

/// Writes PEFT's folder.
fn write_peft(folder: &Path, factors: &[Factors]) -> PathBuf {
    let folder = folder.join("adapter");
    fs::create_dir_all(&folder).unwrap();
    let config = json!({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", "target_modules": ["x"]});
    fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let mut tensors = Vec::new();
    for one in factors {
        for (which, shape, values) in one.shapes() {
            let name = format!("base_model.model.{}.lora_{which}.weight", one.module);
            tensors.push((name, shape, weights::encode(values, Dtype::F32)));
        }
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    fs::write(folder.join("adapter_model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    folder
}

/// Writes llama.cpp's file, as its converter would. `None` where a tensor of it is made of several of the checkpoint's.
fn write_gguf(folder: &Path, converted: &gguf::Converted, factors: &[Factors]) -> Option<PathBuf> {
    let mut file = GgufFile::empty();
    file.set("general.type", "adapter".into());
    file.set("adapter.type", "lora".into());
    file.set("adapter.lora.alpha", super::support::Meta::F32(ALPHA as f32));
    for (name, shape, source) in converted.tensors.iter().filter(|(name, ..)| name.starts_with("blk.")) {
        let of = |one: &&Factors| source.tensor().is_some_and(|t| t.strip_suffix(".weight") == Some(&one.module));
        let Some(one) = factors.iter().find(of) else {
            if shape.len() > 1 {
                return None;
            }
            continue;
        };
        file.add(&format!("{name}.lora_a"), &[RANK, one.a.len() / RANK], types::F32, &one.a);
        file.add(&format!("{name}.lora_b"), &[shape[0], RANK], types::F32, &source.outputs(RANK, &one.b));
    }
    let path = folder.join("adapter.gguf");
    fs::write(&path, file.bytes()).unwrap();
    Some(path)
}

/// The largest difference of two runs' log-probabilities.
fn apart(one: &[Vec<f32>], other: &[Vec<f32>]) -> f64 {
    let row = |(one, other): (&Vec<f32>, &Vec<f32>)| {
        let (a, b) = (lse(one), lse(other));
        let pair = |(&x, &y): (&f32, &f32)| (f64::from(x) - a - f64::from(y) + b).abs();
        one.iter().zip(other).map(pair).fold(0.0, f64::max)
    };
    one.iter().zip(other).map(row).fold(0.0, f64::max)
}

/// Packs an adapter, and loads it for a model.
fn load(packed: &Packed, adapter: &Path, base: &Path, output: &Path) -> rasp::Result<Arc<Adapter>> {
    pack_adapter(adapter, base, output, false)?;
    Adapter::load(&packed.model, output)
}

#[test]
fn a_base_with_an_adapter_is_the_merged_model() {
    let (mut failed, mut by_gguf) = (Vec::new(), 0);
    for (name, packed) in PACKED.iter() {
        let packed = packed.as_ref().unwrap_or_else(|e| panic!("{name} is not packed: {e}"));
        let (case, factors) = (&packed.case, all(&packed.case));
        assert!(factors.len() >= 4, "{name}");
        let here = folder("merged", case);
        case.write_with(&here, Dtype::F32, |tensor| {
            let cols = tensor.1.last().copied().unwrap_or(1);
            let mut values = case.values(tensor);
            if let Some(one) = Factors::of(case, tensor) {
                values.iter_mut().enumerate().for_each(|(at, w)| *w += one.product(at, cols));
            }
            values
        });
        let merged = Packed::written(&here, case.clone(), |options| options.weight_type = Some(WeightType::F16));
        let merged = merged.and_then(|merged| merged.logits(0.0, usize::MAX)).unwrap();
        let base = packed.logits(0.0, usize::MAX).unwrap();
        let changed = apart(&base, &merged);
        // The base as Hugging Face has it, and as GGUF does where it can be.
        let mut bases = vec![here.clone()];
        let mut adapters = vec![write_peft(&here, &factors)];
        if let Some(converted) = gguf::read(case)
            && !PENDING_GGUF.iter().any(|(pending, _)| pending == name)
        {
            bases.push(gguf::write(case, &converted, &here));
            adapters.extend(write_gguf(&here, &converted, &factors));
            by_gguf += adapters.len() - 1;
        }
        for adapter in &adapters {
            for base in &bases {
                let outcome = load(packed, adapter, base, &here.join("out.rasp-adapter")).and_then(|adapter| {
                    let sparse = packed.adapted_logits(SPARSITY, 1, Some(adapter.clone()))?;
                    Ok((packed.adapted_logits(0.0, usize::MAX, Some(adapter))?, sparse))
                });
                let what = format!("{name}: {} on {}", adapter.display(), base.display());
                match outcome {
                    // GGUF has one architecture for OLMo 2 and 3, and so has the family that reads it.
                    Err(error) if name == "olmo3" && error.message().contains("give the base as GGUF, too") => {}
                    Err(error) => failed.push(format!("  {what}: {error}")),
                    Ok((found, sparse)) => {
                        let (off, sparse) = (apart(&found, &merged), apart(&sparse, &merged));
                        println!("{name:24} {changed:.3} {off:.5} sparse {sparse:.3}");
                        // Weights of the merged model are rounded once more: to f16, where the base's may be bf16.
                        if off > f64::from(case.tolerance).max(changed / 50.0) || changed < 0.2 || !sparse.is_finite() {
                            failed.push(format!("  {what}: off by {off:.4} where it changes {changed:.3}"));
                        }
                    }
                }
            }
        }
    }
    assert!(by_gguf >= 20, "{by_gguf} by way of GGUF");
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// The first case's adapter with one thing changed: refused with that named.
#[test]
fn what_is_more_than_lora_is_refused_by_name() {
    let (_, packed) = PACKED.iter().find(|(name, _)| name.starts_with("llama")).unwrap();
    let packed = packed.as_ref().unwrap();
    let here = folder("refused_adapters", &packed.case);
    packed.case.write_config(&here);
    let output = here.join("out.rasp-adapter");
    let refused = |adapter: &Path, status: Status, words: &[&str]| {
        let error = pack_adapter(adapter, &here, &output, false).unwrap_err();
        let all = words.iter().all(|word| error.message().contains(word));
        assert!(error.status() == status && all && !output.exists(), "{error}: {words:?}");
    };
    let good = all(&packed.case);
    let config = |extra: serde_json::Value| {
        let adapter = write_peft(&here, &all(&packed.case));
        let path = adapter.join("adapter_config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        fs::write(path, config.to_string()).unwrap();
        adapter
    };
    for (extra, word) in [
        (json!({"peft_type": "IA3"}), "IA3"),
        (json!({"use_dora": true}), "DoRA"),
        (json!({"bias": "all"}), "`bias` is all"),
        (json!({"lora_bias": true}), "lora_bias"),
        (json!({"alpha_pattern": {".*q_proj": 3}}), "alpha_pattern"),
    ] {
        refused(&config(extra), Status::Unsupported, &[word]);
    }
    // Tensors that are none of LoRA's, of other modules, without their fellow, or of another shape.
    for (module, word) in [
        ("model.layers.0.self_attn.q_proj.lora_magnitude_vector", "DoRA"),
        ("lm_head", "the embedding or the head"),
        ("model.layers.9.self_attn.q_proj", "no linear of a llama model"),
    ] {
        let mut factors = all(&packed.case);
        factors.push(Factors { module: module.into(), a: vec![0.0; 6], b: vec![0.0; 6], transposed: false });
        refused(&write_peft(&here, &factors), Status::Unsupported, &[word, module]);
    }
    let mut short = all(&packed.case);
    let inputs = short[0].a.len() / RANK;
    short[0].a.truncate(inputs * RANK - RANK);
    refused(&write_peft(&here, &short), Status::BadFile, &[&short[0].module, "no factors of"]);
    let one = [Factors { module: "elsewhere".into(), a: vec![0.0; 6], b: vec![0.0; 6], transposed: false }];
    refused(&write_peft(&here, &one), Status::BadFile, &["no factors of any linear"]);
    // The base for the adapter, and the adapter for a model.
    refused(&here, Status::BadFile, &["adapter_config.json", "give it as --base"]);
    let adapter = write_peft(&here, &good);
    let error = rasp_packer::import::open(&adapter).err().unwrap();
    assert!(error.message().contains("pack-adapter"), "{error}");
    // A file of something else is left alone.
    fs::write(&output, "mine").unwrap();
    let error = pack_adapter(&adapter, &here, &output, false).unwrap_err();
    assert!(error.message().contains("--force") && fs::read(&output).unwrap() == b"mine", "{error}");
    pack_adapter(&adapter, &here, &output, true).unwrap();
    pack_adapter(&adapter, &here, &output, false).unwrap();
    // Of a model of another shape it is none.
    let (_, other) = PACKED.iter().find(|(name, _)| name.starts_with("gpt2")).unwrap();
    let error = Adapter::load(&other.as_ref().unwrap().model, &output).err().unwrap();
    assert_eq!(error.status(), Status::InvalidArgument, "{error}");
}

/// Alphas of their own for some modules, and rsLoRA's root.
#[test]
fn scales_are_those_that_peft_takes() {
    let (_, packed) = PACKED.iter().find(|(name, _)| name.starts_with("llama")).unwrap();
    let packed = packed.as_ref().unwrap();
    let here = folder("scaled_adapters", &packed.case);
    packed.case.write_config(&here);
    let norm = |extra: serde_json::Value| {
        let adapter = write_peft(&here, &all(&packed.case));
        let path = adapter.join("adapter_config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        fs::write(path, config.to_string()).unwrap();
        let found = rasp_packer::import::open_adapter(&adapter, &here).unwrap();
        let size = |n: usize| f64::from(found.linears[n].a.iter().map(|x| x.abs()).sum::<f32>());
        [size(0), size(3)]
    };
    let close = |found: [f64; 2], expected: [f64; 2]| {
        assert!(found.iter().zip(expected).all(|(f, e)| (f / e - 1.0).abs() < 1e-5), "{found:?} {expected:?}");
    };
    let [q, o] = norm(json!({}));
    close(norm(json!({"use_rslora": true})), [q * (RANK as f64).sqrt(), o * (RANK as f64).sqrt()]);
    close(norm(json!({"lora_alpha": 9.0})), [2.0 * q, 2.0 * o]);
    close(norm(json!({"alpha_pattern": {"q_proj": 9.0}})), [2.0 * q, o]);
    close(norm(json!({"alpha_pattern": {"layers.0.self_attn.o_proj": 9.0}})), [q, 2.0 * o]);
}
