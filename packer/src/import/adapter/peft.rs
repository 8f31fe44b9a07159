//! Adapters as PEFT saves them: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::Path;

use rasp::Result;

use super::{AdapterTensors, Naming, Scale};
use crate::import::hf::json::{self, Object};
use crate::import::hf::{folder_name, shards};
use crate::import::{bad, unsupported};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What PEFT puts before the base's names.
const PREFIX: &str = "base_model.model.";

/// `alpha / rank`, or `alpha / √rank` (rsLoRA, arXiv:2312.03732), with alphas of their own for some modules.
pub(super) struct LoraScale {
    alpha: f64,
    by_root: bool,
    /// By the ends of modules' names.
    own: Vec<(String, f64)>,
}

impl LoraScale {
    pub(super) fn of(&self, module: &str, rank: usize) -> Result<f64> {
        let is = |end: &str| module == end || module.strip_suffix(end).is_some_and(|before| before.ends_with('.'));
        let alpha = self.own.iter().find(|(end, _)| is(end)).map_or(self.alpha, |(_, alpha)| *alpha);
        Ok(alpha / if self.by_root { (rank as f64).sqrt() } else { rank as f64 })
    }
}

pub(super) fn open(dir: &Path) -> Result<AdapterTensors> {
    let config = json::read(&dir.join(CONFIG))?.ok_or_else(|| {
        let is_model = dir.join("config.json").is_file();
        let hint = if is_model { "; this is a model's folder: give it as --base" } else { "" };
        bad(format!("{CONFIG}: there is no such file{hint}"))
    })?;
    let config = Object::new(CONFIG, &config)?;
    let scale = scale(&config)?;
    if !dir.join(WEIGHTS).exists() && dir.join("adapter_model.bin").exists() {
        return Err(unsupported(format!(
            "adapter_model.bin is PyTorch's, which can run code when it is read; save the adapter with \
             safe_serialization=True, which writes {WEIGHTS}"
        )));
    }
    let mut weights = shards::single(dir, WEIGHTS)?;
    weights.rename(&[(PREFIX, "")]);
    Ok(AdapterTensors { name: folder_name(dir), weights, naming: Naming::HuggingFace, scale: Scale::Peft(scale) })
}

/// Refuses what is more than LoRA; else its scale.
fn scale(config: &Object) -> Result<LoraScale> {
    let kind = config.str("peft_type")?.unwrap_or("LORA");
    if kind != "LORA" {
        return Err(unsupported(format!(
            "{CONFIG}: `peft_type` is {kind}; rasp takes LORA, merge others into the model"
        )));
    }
    for (key, what) in [("use_dora", "DoRA"), ("lora_bias", "a bias of the factors"), ("use_qalora", "QA-LoRA")] {
        if config.bool(key)? == Some(true) {
            return Err(unsupported(format!("{CONFIG}: `{key}`: {what}; merge it into the model and pack that")));
        }
    }
    if let Some(bias) = config.str("bias")?.filter(|bias| *bias != "none") {
        return Err(unsupported(format!("{CONFIG}: `bias` is {bias}; merge it into the model and pack that")));
    }
    let own = match config.object("alpha_pattern")? {
        None => Vec::new(),
        Some(pattern) => {
            pattern.keys().map(|key| Ok((plain(key)?, pattern.need_float(key)?))).collect::<Result<_>>()?
        }
    };
    // Without it PEFT takes 8.
    let alpha = config.float("lora_alpha")?.unwrap_or(8.0);
    if !alpha.is_finite() {
        return Err(bad(format!("{CONFIG}: `lora_alpha` is {alpha}")));
    }
    Ok(LoraScale { alpha, by_root: config.bool("use_rslora")? == Some(true), own })
}

/// A key of a pattern that is a name, or the end of one. PEFT takes it for a regular expression.
fn plain(key: &str) -> Result<String> {
    let key = key.strip_prefix('^').unwrap_or(key);
    match key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        true => Ok(key.to_string()),
        false => Err(unsupported(format!("{CONFIG}: `alpha_pattern` has {key:?}; rasp knows names, not expressions"))),
    }
}
