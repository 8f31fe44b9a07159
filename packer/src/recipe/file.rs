//! The file of a recipe: safetensors, with a tensor of packed [scores](super::scores) for each linear and the rest as
//! JSON in the metadata (`docs/recipes.md`).

use super::scores::Packed;
use super::{CalibrationText, ModelIdentity, TunedLinear, TunedRecipe};
use crate::litter;
use rasp::format::{Allocation, Config, Dtype, read_header};
use rasp::model::{Activation, ModelSizes};
use rasp::{Error, Result, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What `__metadata__["format"]` is.
const FORMAT: &str = "rasp-recipe";
/// The version this packer writes and reads.
const VERSION: &str = "1";
/// Keys of `__metadata__`.
const FORMAT_KEY: &str = "format";
const VERSION_KEY: &str = "rasp-recipe.version";
const RECIPE_KEY: &str = "rasp-recipe";

/// Bytes of a recipe at most. That of a model of 400 billion weights would have 30 million.
const MAX_BYTES: usize = 64 << 20;

/// Sparsity levels at most: far more than anybody has asked for.
const MAX_LEVELS: usize = 99;

/// The recipe as JSON, but for its scores.
#[derive(Serialize, Deserialize)]
struct Stated {
    model: ModelIdentity,
    /// `fisher`, the only one there is.
    score: String,
    allocation: Allocation,
    dense_prefix: usize,
    sparsity: Vec<f32>,
    #[serde(default)]
    ppl_increase: Vec<f32>,
    #[serde(default)]
    quality: Option<StatedQuality>,
    #[serde(default)]
    calibration: Option<CalibrationText>,
    /// Of each layer whose `up` is by outputs, the share that is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    active: Vec<f32>,
    /// By name.
    linears: BTreeMap<String, StatedLinear>,
}

#[derive(Serialize, Deserialize)]
struct StatedQuality {
    /// The increase of perplexity that was allowed: 0.02 is 2%.
    most: f64,
    /// The sparsest setting that had it.
    sparsity: f32,
}

#[derive(Serialize, Deserialize)]
struct StatedLinear {
    thresholds: Vec<f32>,
    channels: Vec<f32>,
    /// The largest score, and the bits of a packed one.
    top: f32,
    bits: u32,
}

impl TunedRecipe {
    /// The bytes of its file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let (mut linears, mut tensors, mut data) = (BTreeMap::new(), Map::new(), Vec::new());
        for linear in &self.linears {
            let Packed { top, bits, bytes } = Packed::of(&linear.scores);
            let (thresholds, channels) = (linear.thresholds.clone(), linear.channels.clone());
            linears.insert(linear.name.clone(), StatedLinear { thresholds, channels, top, bits });
            let offsets = [data.len(), data.len() + bytes.len()];
            let tensor = json!({"dtype": Dtype::U8, "shape": [bytes.len()], "data_offsets": offsets});
            tensors.insert(format!("{}.score", linear.name), tensor);
            data.extend(bytes);
        }
        let stated = Stated {
            model: self.model.clone(),
            score: "fisher".into(),
            allocation: self.allocation,
            dense_prefix: self.dense_prefix,
            sparsity: self.levels.clone(),
            ppl_increase: self.ppl_increase.clone(),
            quality: self.quality.map(|(most, sparsity)| StatedQuality { most, sparsity }),
            calibration: self.text.clone(),
            active: self.active.clone(),
            linears,
        };
        let internal = |e: serde_json::Error| Error::new(Status::Internal, format!("a recipe as JSON: {e}"));
        let stated = serde_json::to_string(&stated).map_err(internal)?;
        let metadata = json!({FORMAT_KEY: FORMAT, VERSION_KEY: VERSION, RECIPE_KEY: stated});
        tensors.insert("__metadata__".into(), metadata);
        let mut header = serde_json::to_vec(&tensors).map_err(internal)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(data);
        Ok(bytes)
    }

    /// The recipe in these bytes, checked.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<TunedRecipe> {
        let bad = |message: String| Error::new(Status::BadFile, message);
        if bytes.len() > MAX_BYTES {
            return Err(bad(format!("it has {} bytes; a recipe has {MAX_BYTES} at most", bytes.len())));
        }
        let (start, header) = read_header(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let text = |key: &str| metadata.get(key).map(String::as_str);
        match (text(FORMAT_KEY), text(VERSION_KEY)) {
            (Some(FORMAT), Some(VERSION)) => {}
            (Some(FORMAT), version) => {
                let version = version.unwrap_or("that it does not say");
                let message = format!("a recipe of version {version}; this packer reads {VERSION}");
                return Err(Error::new(Status::UnsupportedVersion, message));
            }
            _ => return Err(bad("not a recipe: `rasp pack --save-recipe` writes them".into())),
        }
        let stated = text(RECIPE_KEY).ok_or_else(|| bad(format!("metadata {RECIPE_KEY} is missing")))?;
        let stated: Stated = serde_json::from_str(stated).map_err(|e| bad(format!("metadata {RECIPE_KEY}: {e}")))?;
        if stated.score != "fisher" {
            return Err(bad(format!("scores {:?}, expected \"fisher\"", stated.score)));
        }
        if stated.sparsity.len() > MAX_LEVELS {
            return Err(bad(format!("{} sparsity levels, {MAX_LEVELS} are the most", stated.sparsity.len())));
        }
        let config = stated.model.config();
        config.validate()?;
        // As many as the file has, before anything is counted by what it says of itself.
        let count = config.num_layers * config.linears().len();
        if stated.linears.len() != count {
            return Err(bad(format!("{} linears, the model has {count}", stated.linears.len())));
        }
        let mut linears = Vec::with_capacity(count);
        for layer in 0..config.num_layers {
            for &kind in config.linears() {
                let name = kind.name_in(layer);
                let own = stated.linears.get(&name).ok_or_else(|| bad(format!("{name} is missing")))?;
                let tensor = header.info(&format!("{name}.score"));
                let tensor = tensor.ok_or_else(|| bad(format!("tensor {name}.score is missing")))?;
                let inputs = config.linear_shape(kind).inputs;
                let packed = match tensor.dtype {
                    Dtype::U8 => &bytes[start + tensor.data_offsets.0..start + tensor.data_offsets.1],
                    other => return Err(bad(format!("tensor {name}.score is {other:?}, expected U8"))),
                };
                let scores = Packed::scores(own.top, own.bits, packed, inputs).map_err(|e| e.context(&name))?;
                let (thresholds, channels) = (own.thresholds.clone(), own.channels.clone());
                linears.push(TunedLinear { name, scores, thresholds, channels });
            }
        }
        let recipe = TunedRecipe {
            model: stated.model,
            allocation: stated.allocation,
            dense_prefix: stated.dense_prefix,
            levels: stated.sparsity,
            ppl_increase: stated.ppl_increase,
            quality: stated.quality.map(|quality| (quality.most, quality.sparsity)),
            text: stated.calibration,
            active: stated.active,
            linears,
        };
        recipe.validate()?;
        Ok(recipe)
    }

    /// Writes its file; one that is there is replaced whole, or stays.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let failed =
            |e: std::io::Error| Error::new(Status::Io, format!("cannot write the recipe {}: {e}", path.display()));
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let _naming = litter::naming();
        let written = fs::write(&temporary, self.to_bytes()?).and_then(|()| fs::rename(&temporary, path));
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            failed(e)
        })
    }
}

impl ModelIdentity {
    /// A configuration of its shape, for what hangs on that alone.
    pub(super) fn config(&self) -> Config {
        let ModelSizes { hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, head_dim, gated } =
            self.sizes;
        let mut config = Config {
            name: self.name.clone(),
            hidden_size,
            intermediate_size,
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim,
            ..Config::example()
        };
        (config.block.gated, config.block.up_by_outputs) = (gated, self.up_by_outputs);
        if self.up_by_outputs {
            // Whichever it is, its gate has zeros.
            config.block.activation = Activation::Relu;
        }
        config
    }
}
