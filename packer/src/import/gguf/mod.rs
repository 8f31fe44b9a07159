//! GGUF files, versions 2 and 3, little-endian.
//!
//! The layout: magic, version, two counts, the metadata pairs, the tensors' entries, then, aligned, the tensors' data.

mod config;
mod cursor;
mod tensors;
mod tokenizer;
mod value;

use std::path::Path;

use rasp::{Error, Result, Status};

use self::cursor::Cursor;
use self::value::Metadata;
use super::checkpoint::{Checkpoint, Parts};
use super::family;
use super::mapped::Mapped;
use super::tokenizer::TokenizerSource;
use super::weights::Weights;
use super::{bad, unsupported};

const DEFAULT_ALIGNMENT: usize = 32;

pub(super) fn open(path: &Path) -> Result<Checkpoint> {
    let file = Mapped::open(path)?;
    let bytes = file.bytes();
    let mut c = Cursor::new(bytes);
    check_magic(bytes)?;
    c.take(4, "magic")?;
    check_version(c.u32("version")?)?;
    // Both counts come first, but each is bounded by what is left after the other.
    let tensor_count = c.count(tensors::LEAST_TENSOR, tensors::MAX_TENSORS, "number of tensors")?;
    let pair_count = c.count(value::LEAST_PAIR, value::MAX_PAIRS, "number of metadata pairs")?;
    let meta = Metadata::read(&mut c, pair_count)?;
    if tensor_count > c.left() / tensors::LEAST_TENSOR {
        return Err(bad(format!(
            "{tensor_count} tensors cannot be listed in the {} bytes after the metadata; \
             the file may be truncated",
            c.left()
        )));
    }
    // The metadata first: "architecture X is unknown" says more than what is odd about its tensors.
    let family = config::family(&meta)?;
    let tokenizer = tokenizer::read(&meta)?;
    let entries = tensors::read(&mut c, tensor_count, alignment(&meta)?, bytes.len())?;

    let names = &family::GGUF;
    let tied = !entries.contains_key(names.lm_head);
    let file_name = path.file_stem().map(|n| n.to_string_lossy()).unwrap_or_default();
    let (config, scaling) = config::read(&meta, family, &file_name, tied, tokenizer.tokens.len())?;
    if tokenizer.tokens.len() > config.vocab_size {
        return Err(bad(format!(
            "the tokenizer has {} tokens, but the model's vocabulary only {}",
            tokenizer.tokens.len(),
            config.vocab_size
        )));
    }
    let chat_template = meta.str("tokenizer.chat_template")?.map(str::to_string);

    let rope_factors = family.gguf_rope_factors.filter(|name| entries.contains_key(*name));
    let weights = Weights::new(vec![file], entries);
    let factors = rope_factors.map(|name| weights.read(name)).transpose()?;
    let config = config.finish(&scaling, factors.as_deref())?;
    let parts = Parts {
        config,
        tokenizer: TokenizerSource::Gguf(tokenizer),
        chat_template,
        weights,
        family,
        names,
        interleaved: family.gguf_interleaved,
    };
    Checkpoint::new(parts, rope_factors.as_slice())
}

/// A file that is no GGUF file is often something a person may well have meant.
fn check_magic(bytes: &[u8]) -> Result<()> {
    let looks_like_safetensors = bytes.get(8) == Some(&b'{');
    let hint = match bytes {
        [b'G', b'G', b'U', b'F', ..] => return Ok(()),
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
