//! LoRA adapters in: PEFT's folders and llama.cpp's GGUF files, brought to what the engine's linears are.
//!
//! A factor of the outputs is treated as the rows of a checkpoint's own matrix are: taken apart where that is fused,
//! put in the order of the engine's heads, multiplied by what is folded into the weights. So a base is asked for, of
//! which the configuration is enough.

mod base;
mod gguf;
mod peft;

use std::collections::BTreeSet;
use std::path::Path;

use rasp::Result;
use rasp::format::Config;
use rasp::model::{LinearKind, MAX_ADAPTER_RANK};

use self::base::Base;
use super::names::Names;
use super::rows::{LinearRows, source_shape};
use super::weights::Weights;
use super::{bad, io, unsupported};

/// An adapter as it was found, for one base model.
pub struct ImportedAdapter {
    /// What it is called.
    pub name: String,
    /// The base model's shape.
    pub config: Config,
    /// What it adds, layer by layer.
    pub linears: Vec<AdapterLinear>,
}

/// What an adapter adds to a linear: `A·(B·x)`, its own scale multiplied in.
pub struct AdapterLinear {
    /// The linear's layer.
    pub layer: usize,
    /// Which of the layer's linears.
    pub kind: LinearKind,
    /// Rows of both factors.
    pub rank: usize,
    /// `[rank, inputs]`, PEFT's lora_A
    pub b: Vec<f32>,
    /// `[rank, outputs]`, the transpose of PEFT's lora_B
    pub a: Vec<f32>,
}

/// An adapter's tensors under the names of one source.
struct AdapterTensors {
    name: String,
    weights: Weights,
    /// What the base's tensors are called there.
    naming: Naming,
    scale: Scale,
}

/// How an adapter's tensors are called: by the base's name of a module, and an ending.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    HuggingFace,
    Gguf,
}

impl Naming {
    /// The factors' endings: the one that takes the input, and the one that gives the outputs.
    fn endings(self) -> [&'static str; 2] {
        match self {
            Naming::HuggingFace => [".lora_A.weight", ".lora_B.weight"],
            Naming::Gguf => [".weight.lora_a", ".weight.lora_b"],
        }
    }
}

/// What a product of the factors is multiplied by.
enum Scale {
    /// `alpha / rank`; without an alpha, 1.
    Gguf(Option<f64>),
    Peft(peft::LoraScale),
}

impl Scale {
    fn of(&self, module: &str, rank: usize) -> Result<f64> {
        match self {
            Scale::Gguf(alpha) => Ok(alpha.map_or(1.0, |alpha| alpha / rank as f64)),
            Scale::Peft(scale) => scale.of(module, rank),
        }
    }
}

/// Opens an adapter: PEFT's folder (`adapter_config.json`, `adapter_model.safetensors`), or a GGUF file of llama.cpp's.
/// `base` is the checkpoint that it was trained on or another of its shape: a folder with a `config.json`, or a GGUF
/// file.
pub fn open_adapter(path: &Path, base: &Path) -> Result<ImportedAdapter> {
    let meta = std::fs::metadata(path).map_err(|e| io(path, &e))?;
    let found = if meta.is_dir() { peft::open(path) } else { gguf::open(path) };
    let found = found.map_err(|e| e.context(path.display()))?;
    let base = Base::open(base).map_err(|e| e.context(base.display()))?;
    found.read(&base).map_err(|e| e.context(path.display()))
}

impl AdapterTensors {
    fn read(mut self, base: &Base) -> Result<ImportedAdapter> {
        let shape = base.shape(self.naming);
        base.prefixes(self.naming).for_each(|prefixes| self.weights.rename(prefixes));
        let names = base.names(self.naming, |names| self.modules(names, &shape.config).count())?;
        let [b_end, a_end] = self.naming.endings();
        let (mut linears, mut seen) = (Vec::new(), BTreeSet::new());
        for (layer, kind, module) in self.modules(names, &shape.config).collect::<Vec<_>>() {
            let (b_name, a_name) = (format!("{module}{b_end}"), format!("{module}{a_end}"));
            let [outputs, inputs] = source_shape(shape, names, kind);
            let rank = match (self.dims(&b_name)?, self.dims(&a_name)?) {
                ([rank, i], [o, r]) if i == inputs && o == outputs && r == rank => rank,
                (b, a) => {
                    return Err(bad(format!(
                        "tensors `{b_name}` and `{a_name}`: {b:?} and {a:?} are no factors of {outputs} by {inputs}; is \
                         the base of another shape?"
                    )));
                }
            };
            if rank > MAX_ADAPTER_RANK {
                return Err(unsupported(format!("tensor `{b_name}`: a rank of {rank}; rasp takes {MAX_ADAPTER_RANK}")));
            }
            let scale = self.scale.of(&module, rank)? * f64::from(shape.fold.linear_scale(kind));
            let rows = LinearRows::of(shape, names, kind);
            let outputs = rows.gathered(self.weights.read_rows(&a_name, rows.span.clone())?, rank);
            let b = self.weights.read(&b_name)?;
            let width = outputs.len() / rank;
            let a = (0..rank)
                .flat_map(|k| (0..width).map(move |row| (k, row)))
                .map(|(k, row)| (f64::from(outputs[row * rank + k]) * scale) as f32)
                .collect();
            linears.push(AdapterLinear { layer, kind, rank, b, a });
            seen.extend([b_name, a_name]);
        }
        let others: Vec<&str> = self.weights.names().filter(|name| !seen.contains(*name)).collect();
        match others.first() {
            None => Ok(ImportedAdapter { name: self.name, config: shape.config.clone(), linears }),
            Some(first) => Err(unsupported(format!(
                "tensor `{first}` ({} such in all) {}",
                others.len(),
                why(first, &shape.config.architecture)
            ))),
        }
    }

    /// The linears that it has factors of, and the modules that these are, as its source calls them.
    fn modules<'a>(&'a self, names: &Names, config: &Config) -> impl Iterator<Item = (usize, LinearKind, String)> + 'a {
        let layers = (0..config.num_layers).flat_map(|layer| config.linears().iter().map(move |&kind| (layer, kind)));
        let named = layers.map(|(layer, kind)| {
            let tensor = names.weight(layer, kind);
            (layer, kind, tensor.strip_suffix(".weight").unwrap_or(&tensor).to_string())
        });
        let named: Vec<_> = named.collect();
        let has = |module: &str| {
            self.naming.endings().iter().any(|end| self.weights.get(&format!("{module}{end}")).is_some())
        };
        named.into_iter().filter(move |(.., module)| has(module))
    }

    fn dims(&self, name: &str) -> Result<[usize; 2]> {
        let entry =
            self.weights.get(name).ok_or_else(|| bad(format!("tensor `{name}` is missing beside its fellow")))?;
        let dims = entry.shape();
        dims.try_into().map_err(|_| bad(format!("tensor `{name}`: its shape is {dims:?}, expected a matrix")))
    }
}

/// Why a tensor is none that rasp takes.
fn why(name: &str, architecture: &str) -> String {
    let of = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if of(&["magnitude"]) {
        return "is of DoRA, which scales the base's own weights anew; merge it into the model and pack that".into();
    }
    if of(&["lora_embedding", "embed_tokens", "token_embd", "lm_head", "output.weight", "wte", "word_embeddings"]) {
        return "changes the embedding or the head, which rasp's adapters do not; merge it into the model".into();
    }
    if of(&[".bias"]) {
        return "changes a bias, which rasp's adapters do not; merge it into the model".into();
    }
    if !of(&["lora_"]) {
        return "is no LoRA factor: the adapter brings weights of its own (modules_to_save); merge it into the model"
            .into();
    }
    format!("is of no linear of a {architecture} model as rasp knows it; is the base another?")
}
