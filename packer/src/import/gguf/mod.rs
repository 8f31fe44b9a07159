//! GGUF files, versions 2 and 3, little-endian.
//!
//! The layout: magic, version, two counts, the metadata pairs, the tensors' entries, then, aligned, the tensors' data.

mod config;
mod cursor;
mod rope;
mod tensors;
mod tokenizer;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

use rasp::model::Role;
use rasp::{Error, Result, Status};

use self::config::Beside;
use self::cursor::Cursor;
use self::value::Metadata;
use super::checkpoint::{Checkpoint, Parts};
use super::config::Shape;
use super::family::{Family, Parallel};
use super::mapped::Mapped;
use super::names::{self, Names};
use super::tokenizer::TokenizerSource;
use super::weights::{Entry, Weights};
use super::{bad, unsupported};

const DEFAULT_ALIGNMENT: usize = 32;

/// What stands before the tensors' data.
struct Header<'a> {
    meta: Metadata<'a>,
    tensors: usize,
    /// At the tensors' entries.
    cursor: Cursor<'a>,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Header<'a>> {
        let mut c = Cursor::new(bytes);
        check_magic(bytes)?;
        c.take(4, "magic")?;
        check_version(c.u32("version")?)?;
        // Both counts come first, but each is bounded by what is left after the other.
        let tensors = c.count(tensors::LEAST_TENSOR, tensors::MAX_TENSORS, "number of tensors")?;
        let pair_count = c.count(value::LEAST_PAIR, value::MAX_PAIRS, "number of metadata pairs")?;
        let meta = Metadata::read(&mut c, pair_count)?;
        if tensors > c.left() / tensors::LEAST_TENSOR {
            return Err(bad(format!(
                "{tensors} tensors cannot be listed in the {} bytes after the metadata; \
                 the file may be truncated",
                c.left()
            )));
        }
        Ok(Header { meta, tensors, cursor: c })
    }

    fn entries(&mut self, file_len: usize) -> Result<BTreeMap<String, Entry>> {
        tensors::read(&mut self.cursor, self.tensors, alignment(&self.meta)?, file_len)
    }

    /// Whether it is of an adapter and not of a model.
    fn is_adapter(&self) -> Result<bool> {
        Ok(self.meta.str("general.type")? == Some("adapter"))
    }
}

/// An adapter's file.
pub(super) struct GgufAdapter {
    pub(super) name: String,
    pub(super) alpha: Option<f64>,
    pub(super) weights: Weights,
}

/// Opens an adapter's file.
pub(super) fn adapter(path: &Path) -> Result<GgufAdapter> {
    let file = Mapped::open(path)?;
    let mut header = Header::read(file.bytes())?;
    if !header.is_adapter()? {
        return Err(bad("a GGUF file, but no adapter: its `general.type` does not say so; is it the base?"));
    }
    if let Some(kind) = header.meta.str("adapter.type")?.filter(|kind| *kind != "lora") {
        return Err(unsupported(format!("key `adapter.type` is {kind}; rasp takes lora")));
    }
    let entries = header.entries(file.bytes().len())?;
    let stem = || path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = header.meta.str("general.name")?.map_or_else(stem, str::to_string);
    let alpha = header.meta.float("adapter.lora.alpha")?;
    Ok(GgufAdapter { name, alpha, weights: Weights::new(vec![file], entries) })
}

/// What a model's file says of it.
pub(super) fn shape(path: &Path) -> Result<(&'static Family, &'static Names, Shape)> {
    let parts = parts(path, None)?.0;
    Ok((parts.family, parts.names, parts.shape))
}

pub(super) fn open(path: &Path, context: Option<usize>) -> Result<Checkpoint> {
    let (parts, listed) = parts(path, context)?;
    Checkpoint::new(parts, &listed)
}

/// A model's parts, and the tensors that have been made use of.
fn parts(path: &Path, context: Option<usize>) -> Result<(Parts, Vec<&'static str>)> {
    let file = Mapped::open(path)?;
    let bytes = file.bytes();
    let mut header = Header::read(bytes)?;
    if header.is_adapter()? {
        return Err(bad("an adapter, not a model: `rasp pack-adapter` makes a file of it, beside that of its base"));
    }
    let meta = &header.meta;
    // The metadata first: "architecture X is unknown" says more than what is odd about its tensors.
    let (family, gguf) = config::family(meta)?;
    let tokenizer = tokenizer::read(meta)?;
    let entries = header.entries(bytes.len())?;
    let meta = &header.meta;

    let falcon = family.traits.parallel == Parallel::Falcon;
    let two_norms = falcon && entries.contains_key("blk.0.attn_norm_2.weight");
    let names = if two_norms { &names::GGUF_FALCON_TWO_NORMS } else { gguf.names };
    let tied = !entries.contains_key(&names.vector(Role::LmHead));
    let file_name = path.file_stem().map(|n| n.to_string_lossy()).unwrap_or_default();
    let factors = rope::rope_factors(family).iter().copied();
    let listed = factors.filter(|name| entries.contains_key(*name)).collect::<Vec<_>>();
    let tokens = tokenizer.tokens.len();
    let beside = Beside { file_name: &file_name, tied, two_norms, tokens, factors: &listed, context };
    let draft = config::read(meta, family, gguf, beside)?;
    let chat_template = meta.str("tokenizer.chat_template")?.map(str::to_string);
    let weights = Weights::new(vec![file], entries);
    let shape = draft.finish(&listed, |name| weights.read(name))?;
    if tokenizer.tokens.len() > shape.config.vocab_size {
        return Err(bad(format!(
            "the tokenizer has {} tokens, but the model's vocabulary only {}",
            tokenizer.tokens.len(),
            shape.config.vocab_size
        )));
    }
    let tokenizer = TokenizerSource::Gguf(tokenizer);
    Ok((Parts { shape, tokenizer, chat_template, weights, family, names }, listed))
}

/// How a GGUF file begins.
pub(super) const MAGIC: [u8; 4] = *b"GGUF";

/// A file that is no GGUF file is often something a person may well have meant.
fn check_magic(bytes: &[u8]) -> Result<()> {
    let looks_like_safetensors = bytes.get(8) == Some(&b'{');
    let hint = match bytes {
        _ if bytes.starts_with(&MAGIC) => return Ok(()),
        [b'F', b'U', b'G', b'G', ..] => return Err(unsupported("a big-endian GGUF file")),
        [b'P', b'K', 3, 4, ..] => "it looks like a PyTorch file; rasp reads GGUF and safetensors",
        [b'l' | b'f', b'm', b'g', b'g', ..] | [b't', b'j', b'g', b'g', ..] => {
            "it looks like a file of llama.cpp's before GGUF; convert it to GGUF"
        }
        _ if looks_like_safetensors => {
            "it looks like a safetensors file; give the directory it is in, with its config.json"
        }
        _ => "expected a GGUF file or a Hugging Face directory",
    };
    Err(bad(format!("not a GGUF file: {hint}")))
}

fn check_version(version: u32) -> Result<()> {
    match version {
        2 | 3 => Ok(()),
        _ if version & 0xFFFF == 0 => Err(unsupported("a big-endian GGUF file; rasp reads little-endian ones")),
        _ => Err(Error::new(Status::UnsupportedVersion, format!("GGUF version {version}; rasp reads 2 and 3"))),
    }
}

fn alignment(meta: &Metadata) -> Result<usize> {
    const KEY: &str = "general.alignment";
    match meta.size(KEY)? {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(a) if a.is_power_of_two() && a <= 1 << 31 => Ok(a),
        Some(a) => Err(bad(format!("`{KEY}` is {a}, expected a power of two"))),
    }
}
