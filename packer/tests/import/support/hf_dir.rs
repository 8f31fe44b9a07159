//! A writer of Hugging Face directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use rasp::model::LinearKind;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const PARTS: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// The tiny model; change what should differ, then [`HfDir::write`].
pub struct HfDir {
    dir: TempDir,
    pub config: Value,
    pub tensors: BTreeMap<String, Tensor>,
    pub dtype: Dtype,
}

impl HfDir {
    /// `class` is the one entry of `architectures`.
    pub fn tiny(class: &str, dtype: Dtype, tied: bool) -> Self {
        let config = json!({
            "architectures": [class],
            "vocab_size": VOCAB,
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS,
            "max_position_embeddings": CONTEXT,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "rope_scaling": null,
            "tie_word_embeddings": tied,
        });
        let mut hf = Self { dir: tempfile::tempdir().unwrap(), config, tensors: BTreeMap::new(), dtype };
        hf.add("model.embed_tokens.weight", &[VOCAB, HIDDEN], &values("embed", VOCAB * HIDDEN));
        if !tied {
            hf.add("lm_head.weight", &[VOCAB, HIDDEN], &values("lm_head", VOCAB * HIDDEN));
        }
        hf.add("model.norm.weight", &[HIDDEN], &values("final_norm", HIDDEN));
        for layer in 0..LAYERS {
            let at = |part: &str| format!("model.layers.{layer}.{part}");
            let norm = |part: &str| values(&format!("{layer}.{part}"), HIDDEN);
            hf.add(&at("input_layernorm.weight"), &[HIDDEN], &norm("attn_norm"));
            hf.add(&at("post_attention_layernorm.weight"), &[HIDDEN], &norm("mlp_norm"));
            for (linear, part) in LinearKind::ALL.into_iter().zip(PARTS) {
                let (out, inp) = shape(linear);
                hf.add(&at(&format!("{part}.weight")), &[out, inp], &linear_values(layer, linear));
                if class == "Qwen2ForCausalLM" && matches!(linear, LinearKind::Q | LinearKind::K | LinearKind::V) {
                    hf.add(&at(&format!("{part}.bias")), &[out], &bias_values(layer, linear));
                }
            }
        }
        hf.file("tokenizer.json", "{}");
        hf
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub fn add(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let data = match self.dtype {
            Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
            other => panic!("no encoder for {other:?}"),
        };
        let tensor = Tensor { dtype: self.dtype, shape: shape.to_vec(), data };
        self.tensors.insert(name.into(), tensor);
    }

    /// Writes config and weights, in one file.
    pub fn write(&self) -> &Path {
        self.file("config.json", self.config.to_string());
        self.shard("model.safetensors", |_| true);
        self.path()
    }

    /// Writes config and weights, in two shards (the second layer in the second) under an index. Returns the index's
    /// map.
    pub fn write_shards(&self) -> BTreeMap<String, String> {
        const NAMES: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let second = |name: &str| name.contains("layers.1.");
        self.file("config.json", self.config.to_string());
        self.shard(NAMES[0], |n| !second(n));
        self.shard(NAMES[1], second);
        let map: BTreeMap<String, String> =
            self.tensors.keys().map(|n| (n.clone(), NAMES[usize::from(second(n))].into())).collect();
        self.index(&map);
        map
    }

    pub fn index(&self, map: &BTreeMap<String, String>) {
        let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
        self.file("model.safetensors.index.json", index.to_string());
    }

    fn shard(&self, file: &str, pick: impl Fn(&str) -> bool) {
        let views = self
            .tensors
            .iter()
            .filter(|(name, _)| pick(name))
            .map(|(name, t)| (name.as_str(), TensorView::new(t.dtype, t.shape.clone(), &t.data).unwrap()));
        self.file(file, safetensors::serialize(views, None).unwrap());
    }
}
