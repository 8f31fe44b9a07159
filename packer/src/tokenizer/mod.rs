//! Compiles a checkpoint's tokenizer into the tables that `rasp::text` uses in place.
//!
//! The way of a tokenizer: `gguf` (metadata to what `tokenizer.json` would say) → Hugging Face's `tokenizers` reads it
//! (and is the judge of every test) → `rules` (its parts to settings and split patterns) → `pattern`, `automaton` →
//! `vocabulary` (tokens, merges, `index`) → `specials` (which tokens begin and end). What rasp cannot do exactly as
//! `tokenizers` does is refused here, by name.

mod automaton;
mod gguf;
mod hostile;
mod index;
mod nfc;
mod pattern;
mod rules;
mod specials;
mod vocabulary;

use crate::import::TokenizerSource;
use rasp::format::{Dtype, TensorSpec};
use rasp::text::{Rewrite, Settings, tensor};
use rasp::{Error, Result, Status};
use serde_json::Value;
use specials::Specials;

/// GPT-2's split pattern, which `ByteLevel` has built in.
const GPT2_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// A tokenizer, ready to be written.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The tables and their bytes.
    pub tensors: Vec<(TensorSpec, Vec<u8>)>,
    /// The value of the metadata key `rasp.tokenizer`.
    pub settings_json: String,
}

fn unsupported(what: impl Into<rasp::error::Message>) -> Error {
    Error::new(Status::Unsupported, what)
}

fn bad(what: impl Into<rasp::error::Message>) -> Error {
    Error::new(Status::BadFile, what)
}

/// Compiles a tokenizer for a model whose embedding has `vocab_size` rows; rows without a token become unused ids.
pub fn compile(source: &TokenizerSource, vocab_size: usize) -> Result<Compiled> {
    compile_source(source, vocab_size).map_err(|e| e.context("tokenizer"))
}

/// The `tokenizer.json` that a source comes down to: what Hugging Face's `tokenizers` reads for it.
pub fn tokenizer_json(source: &TokenizerSource) -> Result<Vec<u8>> {
    match source {
        TokenizerSource::HuggingFace { tokenizer_json, .. } => Ok(tokenizer_json.clone()),
        TokenizerSource::Gguf(gguf) => serde_json::to_vec(&gguf::to_json(gguf)?).map_err(|e| bad(e.to_string())),
    }
}

fn compile_source(source: &TokenizerSource, vocab_size: usize) -> Result<Compiled> {
    let json = tokenizer_json(source)?;
    let oracle = hostile::read(&json)?;
    // Written out again, every default is spelled out and every older spelling is the newest one.
    let canonical = oracle.to_string(false).map_err(|e| bad(e.to_string()))?;
    let canonical: Value = serde_json::from_str(&canonical).map_err(|e| bad(e.to_string()))?;

    let rules = rules::read(&canonical)?;
    let tables = vocabulary::compile(&oracle, &canonical, &rules, vocab_size)?;
    let specials = Specials::find(source, |text| oracle.token_to_id(text), &tables.added);
    let settings = Settings {
        alphabet: rules.alphabet,
        normalizer: rules.normalizer,
        stages: rules.stages,
        unknown: tables.unknown,
        fuse_unknown: tables.fuse_unknown,
        byte_fallback: tables.byte_fallback,
        added: tables.added,
        prefix: rules.prefix,
        suffix: rules.suffix,
        bos: specials.bos,
        eos: specials.eos,
        end: specials.end,
        strip_space: rules.strip_space,
    };
    let mut tensors = tables.tensors;
    for (n, pattern) in rules.patterns.iter().enumerate() {
        let table = automaton::compile(pattern)?;
        let states = table.next.len() / table.columns;
        let mut add = |part: &str, dtype, shape: &[usize], bytes| {
            tensors.push((TensorSpec::new(tensor::split(n, part), dtype, shape), bytes));
        };
        add("blocks", Dtype::U16, &[table.blocks.len()], u16_bytes(&table.blocks));
        add("classes", Dtype::U8, &[table.classes.len()], table.classes);
        add("next", Dtype::U16, &[states, table.columns], u16_bytes(&table.next));
    }
    if settings.normalizer.contains(&Rewrite::Nfc) {
        tensors.extend(nfc::tensors());
    }
    let settings_json = serde_json::to_string(&settings).map_err(|e| Error::new(Status::Internal, e.to_string()))?;
    Ok(Compiled { tensors, settings_json })
}

fn u16_bytes(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn u32_bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
