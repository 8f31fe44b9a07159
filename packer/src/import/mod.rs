//! Checkpoints in: a GGUF file or a Hugging Face directory becomes one [`Checkpoint`], whatever its source.
//!
//! [`open`] looks at everything but the weights' values: the configuration, the tokenizer's parts, and that exactly
//! the expected tensors are there, in the expected shapes. What it returns hands out the weights by **role**, one at a
//! time, as `f32` or on the [grid](crate::Grid) they are stored on, so that a caller never holds more than the matrix
//! it works on.
//!
//! The way of a file: `gguf` or `hf` (bytes to an inventory of `weights`, a [`Shape`] and a [`TokenizerSource`])
//! → `roles` (the inventory against the tensors that the `family` has under its `names`) → [`Checkpoint`].

mod adapter;
mod checkpoint;
mod config;
mod dequant;
mod family;
mod gguf;
mod hf;
mod mapped;
mod names;
mod obstacle;
mod registry;
mod roles;
mod rope;
mod rows;
mod stored;
mod tokenizer;
mod weights;

use std::io::Read;
use std::path::Path;

use rasp::{Error, Result, Status};

pub use adapter::{AdapterLinear, ImportedAdapter, open_adapter};
pub use checkpoint::{Checkpoint, Dense};
pub use config::Shape;
pub(crate) use dequant::DType;
pub use tokenizer::{GgufTokenizer, TokenizerSource};

/// Whether a path leads to what [`open`] takes: a GGUF file, or a directory with a `config.json`.
pub fn is_checkpoint(path: &Path) -> bool {
    let Ok(meta) = std::fs::metadata(path) else { return false };
    if meta.is_dir() {
        return path.join("config.json").is_file();
    }
    // A pipe would be waited for.
    let mut magic = [0; 4];
    let mut read = || std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok());
    meta.is_file() && read() && magic == gguf::MAGIC
}

/// Opens a checkpoint: a `.gguf` file, or a directory in Hugging Face's layout (`config.json`, `tokenizer.json`,
/// `model.safetensors` or its shards).
///
/// Everything that can be refused without reading the weights' values is refused here.
pub fn open(path: &Path) -> Result<Checkpoint> {
    open_for(path, None)
}

/// The same for a context of so many tokens: models whose rotary frequencies hang on it get those for it.
pub fn open_for(path: &Path, context: Option<usize>) -> Result<Checkpoint> {
    let meta = std::fs::metadata(path).map_err(|e| io(path, &e))?;
    let opened = if meta.is_dir() { hf::open(path, context) } else { gguf::open(path, context) };
    opened.map_err(|e| e.context(path.display()))
}

/// A family of models that can be opened.
#[derive(Clone, Debug)]
pub struct FamilyInfo {
    /// What a packed file calls it.
    pub name: &'static str,
    /// Its classes in Hugging Face's transformers.
    pub classes: Vec<&'static str>,
    /// Its `general.architecture` in GGUF files, if those can be opened.
    pub gguf: Option<&'static str>,
}

/// All families that can be opened.
pub fn families() -> impl Iterator<Item = FamilyInfo> {
    registry::families().map(|family| FamilyInfo {
        name: family.name,
        classes: family.hf.iter().map(|class| class.class).collect(),
        gguf: family.gguf.as_ref().map(|gguf| gguf.architecture),
    })
}

/// A trait that rasp does not compute, for which models are refused by name.
#[derive(Clone, Debug)]
pub struct ObstacleInfo {
    /// What the models need.
    pub what: &'static str,
    /// Their classes in Hugging Face's transformers or their own code.
    pub classes: &'static [&'static str],
    /// Their `general.architecture` in GGUF files.
    pub gguf: &'static [&'static str],
}

/// All traits that refusals name.
pub fn obstacles() -> impl Iterator<Item = ObstacleInfo> {
    obstacle::OBSTACLES.iter().map(|o| ObstacleInfo { what: o.what, classes: o.classes, gguf: o.gguf })
}

/// The file is not what it should be.
fn bad(message: impl Into<rasp::error::Message>) -> Error {
    Error::new(Status::BadFile, message)
}

/// The file is well-formed, but nothing rasp knows.
fn unsupported(message: impl Into<rasp::error::Message>) -> Error {
    Error::new(Status::Unsupported, message)
}

/// The operating system refused.
fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Status::Io, format!("{}: {error}", path.display()))
}
