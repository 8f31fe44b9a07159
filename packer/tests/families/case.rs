//! The cases of `tests/families/data`: what they say, and the checkpoints that follow from it.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::Value;

use super::{tokenizer, weights};

/// A case as `tests/families/make.py` writes it.
#[derive(Clone, Deserialize)]
pub struct Case {
    #[serde(skip)]
    pub name: String,
    /// Of `config.json`.
    pub config: Value,
    /// The element type to be packed.
    pub weight_type: String,
    /// How far a log-probability may be from that of transformers.
    pub tolerance: f32,
    /// The context to pack for, where the rotary frequencies depend on it.
    pub context: Option<usize>,
    pub tokens: Vec<u32>,
    /// The vocabulary ids whose log-probabilities are kept.
    pub ids: Vec<usize>,
    /// Keys of `config` that say what their class takes where they are absent; `text_config/KEY` where nested.
    pub defaulted: Vec<String>,
    /// Of the checkpoint: `bf16`, `f16` or `f32`.
    pub dtype: String,
    pub tensors: Vec<Tensor>,
}

/// Name, shape, scale and offset of [`weights::values`].
#[derive(Clone, Deserialize)]
pub struct Tensor(pub String, pub Vec<usize>, pub f64, pub f64);

impl Tensor {
    fn exact(&self) -> Vec<f32> {
        let Tensor(name, shape, scale, offset) = self;
        weights::values(name, shape.iter().product(), *scale, *offset)
    }
}

/// What transformers says behind each token.
pub struct Golden {
    /// Of the kept ids: `[tokens, ids]`
    pub log_probs: Vec<f32>,
    /// The likeliest id.
    pub top: Vec<u32>,
    /// Its log-probability.
    pub top_log_prob: Vec<f32>,
    /// By how much that leads the second.
    pub margin: Vec<f32>,
    /// `ln Σ exp` of the logits.
    pub lse: Vec<f32>,
}

impl Golden {
    /// The same without the first `rows` tokens.
    pub fn behind(mut self, rows: usize) -> Golden {
        let ids = self.log_probs.len() / self.top.len();
        self.log_probs.drain(..rows * ids);
        self.top.drain(..rows);
        for row in [&mut self.top_log_prob, &mut self.margin, &mut self.lse] {
            row.drain(..rows);
        }
        self
    }
}

/// Where cases and goldens lie.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/families/data")
}

/// Every case there is, in the order of their names.
pub fn all() -> Vec<Case> {
    let entries = fs::read_dir(data()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    files.iter().map(|path| Case::read(path)).collect()
}

impl Case {
    fn read(path: &Path) -> Case {
        let text = fs::read_to_string(path).unwrap();
        let case: Case = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Case { name: path.file_stem().unwrap().to_str().unwrap().to_string(), ..case }
    }

    pub fn golden(&self) -> Golden {
        let bytes = fs::read(data().join(format!("{}.safetensors", self.name))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let words = |name: &str, count: usize| -> Vec<[u8; 4]> {
            let words: Vec<_> =
                file.tensor(name).unwrap().data().chunks_exact(4).map(|b| b.try_into().unwrap()).collect();
            assert_eq!(words.len(), count, "{name} of {}", self.name);
            words
        };
        let floats = |name: &str, count| words(name, count).into_iter().map(f32::from_le_bytes).collect();
        let rows = self.tokens.len();
        Golden {
            log_probs: floats("log_probs", rows * self.ids.len()),
            top: words("top", rows).into_iter().map(u32::from_le_bytes).collect(),
            top_log_prob: floats("top_log_prob", rows),
            margin: floats("margin", rows),
            lse: floats("lse", rows),
        }
    }

    fn dtype(&self) -> Dtype {
        match self.dtype.as_str() {
            "bf16" => Dtype::BF16,
            "f16" => Dtype::F16,
            "f32" => Dtype::F32,
            other => panic!("{}: no type {other}", self.name),
        }
    }

    /// Writes the checkpoint: `config.json`, `model.safetensors`, `tokenizer.json`.
    pub fn write(&self, folder: &Path) {
        self.write_with(folder, self.dtype(), Tensor::exact);
    }

    /// The same with other values, in a type of their own.
    pub fn write_with(&self, folder: &Path, dtype: Dtype, values: impl Fn(&Tensor) -> Vec<f32>) {
        fs::create_dir_all(folder).unwrap();
        let mut config = self.clone();
        assert_eq!(config.text()["vocab_size"], tokenizer::VOCAB, "{}", self.name);
        let bytes: Vec<Vec<u8>> = self.tensors.iter().map(|t| weights::encode(&values(t), dtype)).collect();
        let views = self
            .tensors
            .iter()
            .zip(&bytes)
            .map(|(t, bytes)| (t.0.as_str(), TensorView::new(dtype, t.1.clone(), bytes).unwrap()));
        fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        fs::write(folder.join("tokenizer.json"), tokenizer::json().to_string()).unwrap();
        self.write_config(folder);
    }

    /// A tensor's values as the checkpoint holds them.
    pub fn values(&self, tensor: &Tensor) -> Vec<f32> {
        weights::rounded(tensor.exact(), self.dtype())
    }

    /// Writes `config.json` alone.
    pub fn write_config(&self, folder: &Path) {
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
    }

    /// The same without a key of its configuration, `text_config/KEY` for a nested one.
    pub fn without(mut self, key: &str) -> Case {
        let (level, key) = match key.split_once('/') {
            Some((outer, key)) => (&mut self.config[outer], key),
            None => (&mut self.config, key),
        };
        level.as_object_mut().unwrap().remove(key).unwrap_or_else(|| panic!("no {key}"));
        self
    }

    /// The configuration of the text model.
    pub fn text(&mut self) -> &mut Value {
        match self.config.get("text_config").is_some() {
            true => &mut self.config["text_config"],
            false => &mut self.config,
        }
    }

    /// The model's first layer alone, once for each kind of layer that its configuration lists.
    pub fn single_layers(&self) -> Vec<Case> {
        let mut one = self.clone();
        let numbered = |t: &Tensor| t.0.split('.').find_map(|part| part.parse::<usize>().ok());
        one.tensors.retain(|t| numbered(t).unwrap_or(0) == 0 || t.0.contains("vision"));
        let text = one.text();
        let count = if text.get("n_layer").is_some() { "n_layer" } else { "num_hidden_layers" };
        let layers = text[count].as_u64().unwrap() as usize;
        text[count] = 1.into();
        let lists = ["layer_types", "no_rope_layers"];
        let mut kinds = Vec::new();
        for layer in 0..layers {
            let kind: Vec<_> = lists.iter().map(|list| text.get(list).and_then(|l| l.get(layer).cloned())).collect();
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let with = |kind: Vec<Option<Value>>| {
            let mut one = one.clone();
            for (list, entry) in lists.iter().zip(kind) {
                if let Some(entry) = entry {
                    one.text()[list] = Value::Array(vec![entry]);
                }
            }
            one
        };
        kinds.into_iter().map(with).collect()
    }
}
