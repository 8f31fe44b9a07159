//! Compiles a checkpoint's tokenizer into the tables that `rasp::text` uses in place.
//!
//! The way of a tokenizer: `gguf` (metadata to what `tokenizer.json` would say) → Hugging Face's `tokenizers` reads it
//! (and is the judge of every test) → `source` (the rules before the vocabulary) → `rules` (its parts to settings and
//! split patterns) → `pattern`, `nfa`, `automaton`, `ahead` → `vocabulary` (tokens, merges, `index`), `added` →
//! `specials` (which tokens begin and end). What rasp cannot do exactly as `tokenizers` does is refused here, by name;
//! rules are read first, so that their refusal takes no time.

mod added;
mod ahead;
mod automaton;
mod charsmap;
mod gguf;
mod hostile;
mod index;
mod nfa;
mod nfc;
mod pattern;
pub(crate) mod pre;
mod rules;
mod source;
mod specials;
mod vocabulary;

use crate::import::TokenizerSource;
use crate::litter;
use rasp::format::{Bytes, Dtype, File, TensorSpec, key};
use rasp::text::{Alphabet, Rewrite, Settings, Tokenizer, tensor};
use rasp::{Error, Result, Status};
use source::Vocab;
use specials::Specials;
use std::path::Path;

/// GPT-2's split pattern, which `ByteLevel` has built in.
pub(crate) const GPT2_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// A tokenizer, ready to be written.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The tables and their bytes.
    pub tensors: Vec<(TensorSpec, Vec<u8>)>,
    /// The value of the metadata key `rasp.tokenizer`.
    pub settings_json: String,
    /// Added tokens that have no row in the embedding and were left out, with their ids.
    pub left_out: Vec<String>,
}

impl Compiled {
    /// The tokenizer, in a file of its own that is written to `path`.
    pub(crate) fn open_at(&self, path: &Path) -> Result<Tokenizer> {
        let specs = self.tensors.iter().map(|(spec, _)| spec.clone()).collect();
        let mut writer = litter::create(path, &[(key::TOKENIZER, self.settings_json.clone())], specs, 0)?;
        self.tensors.iter().try_for_each(|(spec, bytes)| writer.tensor(&spec.name, bytes))?;
        litter::finish(writer)?;
        Tokenizer::open(&File::open(Bytes::map(path)?)?)
    }
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
    let read = source::StatedRules::read(&json)?;
    let mut rules = rules::read(&read.canonical()?)?;
    let model = &read.model;
    if model.byte_fallback && (model.ignore_merges || rules.alphabet == Alphabet::Bytes) {
        return Err(unsupported("byte_fallback together with ignore_merges or a ByteLevel decoder"));
    }
    if model.is_unigram() && rules.alphabet == Alphabet::Bytes {
        return Err(unsupported("a Unigram model with a ByteLevel decoder"));
    }

    let oracle = hostile::read(&json)?;
    let vocab = Vocab::read(&json, model.is_unigram())?;
    let (tokens, left_out) = added::find(&oracle, vocab_size);
    let parts = vocabulary::VocabularyParts {
        oracle: &oracle,
        model,
        vocab: &vocab,
        rules: &rules,
        added: &tokens,
        rows: vocab_size,
    };
    let tables = vocabulary::compile(&parts)?;
    let added = added::patterns(&oracle, &tokens, &rules)?;
    let specials = Specials::find(source, |text| oracle.token_to_id(text), &added);
    specials::wrap(source, &specials, &mut rules)?;
    specials::check(&specials, &rules, tables.unknown, vocab_size, |id| oracle.id_to_token(id))?;
    let word = match added.iter().any(|token| token.single_word) {
        true => Some(rules.word_table()?),
        false => None,
    };
    let settings = Settings {
        alphabet: rules.alphabet,
        normalizer: rules.normalizer,
        stages: rules.stages,
        unknown: tables.unknown,
        fuse_unknown: model.fuse_unknown(),
        byte_fallback: model.byte_fallback,
        added,
        prefix: rules.prefix,
        suffix: rules.suffix,
        bos: specials.bos,
        eos: specials.eos,
        end: specials.end,
        strip_space: rules.strip_space,
        unigram: model.is_unigram(),
        word,
    };
    let mut tensors = tables.tensors;
    for (n, table) in rules.automata.into_iter().enumerate() {
        let states = table.next.len() / table.columns;
        let mut add = |part: &str, dtype, shape: &[usize], bytes| {
            tensors.push((TensorSpec::new(tensor::split(n, part), dtype, shape), bytes));
        };
        add("blocks", Dtype::U16, &[table.blocks.len()], u16_bytes(&table.blocks));
        add("classes", Dtype::U8, &[table.classes.len()], table.classes);
        add("next", Dtype::U16, &[states, table.columns], u16_bytes(&table.next));
        if let Some(ahead) = table.ahead {
            add("ahead", Dtype::U16, &[ahead.len() / table.width, table.width], u16_bytes(&ahead));
        }
    }
    if settings.normalizer.contains(&Rewrite::Nfc) || settings.normalizer.contains(&Rewrite::Nfkc) {
        tensors.extend(nfc::tensors());
    }
    if settings.normalizer.contains(&Rewrite::Nfkc) {
        tensors.extend(nfc::compatible_tensors());
    }
    if let Some(map) = &rules.charsmap {
        tensors.extend(charsmap::tensors(map));
    }
    let settings_json = serde_json::to_string(&settings).map_err(|e| Error::new(Status::Internal, e.to_string()))?;
    Ok(Compiled { tensors, settings_json, left_out })
}

fn u16_bytes(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn u32_bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
