//! Adapters as llama.cpp has them: a GGUF file of `general.type` adapter.

use std::path::Path;

use rasp::Result;

use super::{Found, Naming, Scale};
use crate::import::gguf::{Adapter, adapter};

pub(super) fn open(path: &Path) -> Result<Found> {
    let Adapter { name, alpha, weights } = adapter(path)?;
    // 0 is none, as llama.cpp has it.
    let alpha = alpha.filter(|alpha| *alpha != 0.0);
    Ok(Found { name, weights, naming: Naming::Gguf, scale: Scale::Gguf(alpha) })
}
