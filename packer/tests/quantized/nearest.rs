//! `--dtype auto`: the weight type nearest to what a checkpoint holds.

use crate::gguf::{Gguf, blocks};
use crate::support::*;
use half::f16;
use rasp::model::WeightType;
use rasp_packer::{PackOptions, Progress, Summary, import, nearest_weight_type, pack};
use std::path::Path;

/// Hears what the packer notes.
#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, line: &str) {
        self.0.push(line.to_string());
    }
}

/// A type of blocks: its number, the values and bytes of a block, and where its f16 scales are.
struct Kind {
    name: &'static str,
    block: (u32, usize, usize, usize),
    scales: &'static [usize],
}

const fn kind(name: &'static str, number: u32, values: usize, bytes: usize, scales: &'static [usize]) -> Kind {
    Kind { name, block: (number, values, bytes, 0), scales }
}

/// A checkpoint whose matrices are random blocks of a type, with scales around 0.01.
fn checkpoint(kind: &Kind) -> Gguf {
    let mut random = Random::new();
    Gguf::with(kind.block, 256, |file| {
        let matrices: Vec<String> =
            file.tensors.iter().map(|t| t.name.clone()).filter(|n| !n.contains("norm")).collect();
        for name in matrices {
            for block in file.tensor(&name).data.chunks_exact_mut(kind.block.2) {
                for &at in kind.scales {
                    let scale = f16::from_f32(0.01 * (random.below(1000) as f32 / 1000.0 + 0.5));
                    block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
                }
                if kind.name == "MXFP4" {
                    block[0] = 118 + random.below(4) as u8;
                }
            }
        }
    })
}

fn packed(gguf: &Gguf, change: impl FnOnce(&mut PackOptions)) -> Summary {
    gguf.pack(None, change).unwrap()
}

#[test]
fn each_type_becomes_the_nearest() {
    for (kind, nearest) in [
        (kind("Q4_0", 2, 32, 18, &[0]), WeightType::Q4),
        (kind("Q4_1", 3, 32, 20, &[0, 2]), WeightType::Q4),
        (kind("Q5_0", 6, 32, 22, &[0]), WeightType::Q8),
        (kind("Q5_1", 7, 32, 24, &[0, 2]), WeightType::Q8),
        (kind("Q8_0", 8, 32, 34, &[0]), WeightType::Q8),
        (kind("Q2_K", 10, 256, 84, &[80, 82]), WeightType::Q4),
        (kind("Q3_K", 11, 256, 110, &[108]), WeightType::Q4),
        (kind("Q4_K", 12, 256, 144, &[0, 2]), WeightType::Q4),
        (kind("Q5_K", 13, 256, 176, &[0, 2]), WeightType::Q8),
        (kind("Q6_K", 14, 256, 210, &[208]), WeightType::Q8),
        (kind("IQ4_NL", 20, 32, 18, &[0]), WeightType::Q8),
        (kind("IQ4_XS", 23, 256, 136, &[0]), WeightType::Q8),
        (kind("MXFP4", 39, 32, 17, &[]), WeightType::Q8),
        (kind("TQ1_0", 34, 256, 54, &[52]), WeightType::Q4),
        (kind("TQ2_0", 35, 256, 66, &[64]), WeightType::Q4),
    ] {
        let summary = packed(&checkpoint(&kind), |_| {});
        println!("{}: {}", kind.name, summary.weight_type.name());
        assert_eq!((summary.weight_type, summary.source), (nearest, format!("{} weights", kind.name)));
    }
}

/// In floating point what counts is whether a weight overflows, wherever it is.
#[test]
fn floating_point_stays_in_range() {
    let nearest = |hf: &HfDir| nearest_weight_type(&import::open(hf.write()).unwrap()).unwrap();
    let tiny = |dtype| HfDir::tiny("LlamaForCausalLM", dtype, false);
    assert_eq!(nearest(&tiny(safetensors::Dtype::BF16)), WeightType::BF16);
    assert_eq!(nearest(&tiny(safetensors::Dtype::F16)), WeightType::F16);
    assert_eq!(nearest(&tiny(safetensors::Dtype::F32)), WeightType::F16);
    for name in ["model.layers.1.mlp.down_proj.weight", "model.embed_tokens.weight", "lm_head.weight"] {
        let mut hf = tiny(safetensors::Dtype::F32);
        let shape = hf.tensors[name].shape.clone();
        let mut values = vec![0.25; shape.iter().product()];
        *values.last_mut().unwrap() = -65520.0;
        hf.add(name, &shape, &values);
        assert_eq!(nearest(&hf), WeightType::BF16, "{name}");
    }
}

/// Weights of 8 bits with their scales, as Hugging Face's checkpoints have them.
#[test]
fn floats_of_eight_bits_become_whole_numbers() {
    let mut hf = HfDir::tiny("LlamaForCausalLM", safetensors::Dtype::F32, true);
    hf.config["num_key_value_heads"] = HEADS.into();
    hf.config["quantization_config"] = serde_json::json!({"quant_method": "fp8"});
    let linears: Vec<String> = hf.tensors.keys().filter(|name| name.contains("_proj")).cloned().collect();
    for name in linears {
        let (out, inp) = match &name {
            name if name.contains("gate") || name.contains("up") => (INNER, HIDDEN),
            name if name.contains("down") => (HIDDEN, INNER),
            _ => (HIDDEN, HIDDEN),
        };
        let tensor =
            HfTensor { dtype: safetensors::Dtype::F8_E4M3, shape: vec![out, inp], data: vec![0x31; out * inp] };
        hf.tensors.insert(name.clone(), tensor);
        hf.add(&format!("{name}_scale"), &[1], &[0.5]);
    }
    assert_eq!(nearest_weight_type(&import::open(hf.write()).unwrap()).unwrap(), WeightType::Q8);
}

/// 16 channels of keys are no whole group.
#[test]
fn what_has_no_whole_groups_is_stored_in_floating_point() {
    for block in [blocks::Q4_0, blocks::Q8_0] {
        assert_eq!(packed(&Gguf::new(block, 32), |_| {}).weight_type, WeightType::F16);
    }
    assert_eq!(packed(&Gguf::new(blocks::F32, 64), |_| {}).weight_type, WeightType::F16);
}

#[test]
fn the_choice_is_said_and_another_is_taken() {
    let gguf = Gguf::with(blocks::Q4_1, 64, |file| {
        let (name, shape) = ("blk.0.attn_v.weight", [32, 64]);
        file.remove(name);
        file.add(name, &shape, types::F32, &vec![0.5; 32 * 64]);
    });
    let mut notes = Notes::default();
    let options =
        PackOptions { sparsity: Some(vec![]), ..PackOptions::new(gguf.path("tiny.gguf"), gguf.path("out.rasp")) };
    let summary = pack(&options, &mut notes).unwrap();
    assert_eq!((summary.weight_type, summary.source.as_str()), (WeightType::Q4, "mostly Q4_1 weights"));
    assert_eq!(notes.0[0], "tiny.gguf holds mostly Q4_1 weights: packing as q4");
    let asked = gguf.pack(WeightType::Q8, |_| {}).unwrap();
    assert_eq!((asked.weight_type, asked.source), (WeightType::Q8, summary.source));
}

/// Q4_K_M has Q4_K where rows are whole blocks of 256, as in Qwen's; Gemma 3 270M's hidden size is no multiple of it.
#[test]
fn real_files() {
    for (name, expected) in [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", WeightType::Q4),
        ("qwen2.5-coder-1.5b.gguf", WeightType::Q4),
        ("gemma3-270m.gguf", WeightType::Q8),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models").join(name);
        if !path.exists() {
            assert!(!name.starts_with("SmolLM2"), "{name} is not there: run `make model` first");
            eprintln!("not run: {name} is not there");
            continue;
        }
        assert_eq!(nearest_weight_type(&import::open(&path).unwrap()).unwrap(), expected, "{name}");
    }
}
