//! Adapters as llama.cpp has them: a GGUF file of `general.type` adapter.

use std::path::Path;

use rasp::Result;

use super::{AdapterTensors, Naming, Scale};
use crate::import::gguf::{GgufAdapter, adapter};

pub(super) fn open(path: &Path) -> Result<AdapterTensors> {
    let GgufAdapter { name, alpha, weights } = adapter(path)?;
    // 0 is none, as llama.cpp has it.
    let alpha = alpha.filter(|alpha| *alpha != 0.0);
    Ok(AdapterTensors { name, weights, naming: Naming::Gguf, scale: Scale::Gguf(alpha) })
}
