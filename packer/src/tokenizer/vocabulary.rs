//! The tables of tokens and merges.

use super::rules::{Rules, unmark};
use super::source::{ModelRules, Vocab};
use super::{bad, index, u32_bytes, unsupported};
use rasp::Result;
use rasp::format::{Dtype, TensorSpec};
use rasp::text::{Alphabet, MAX_TOKEN_BYTES, NONE, hash_bytes, hash_pair, kind, tensor};
use std::collections::{BTreeMap, HashMap, HashSet};
use tokenizers::{AddedToken, Model, Tokenizer};

pub(super) struct Tables {
    pub tensors: Vec<(TensorSpec, Vec<u8>)>,
    pub unknown: Option<u32>,
}

/// What a vocabulary is compiled by.
pub(super) struct VocabularyParts<'a> {
    /// Hugging Face's own reading of it.
    pub oracle: &'a Tokenizer,
    pub model: &'a ModelRules,
    pub vocab: &'a Vocab,
    pub rules: &'a Rules,
    /// By id; none has an id beyond the rows.
    pub added: &'a BTreeMap<u32, AddedToken>,
    /// Rows of the embedding.
    pub rows: usize,
}

/// A row of the vocabulary.
#[derive(Clone)]
struct VocabularyRow {
    bytes: Vec<u8>,
    kind: u8,
    /// What the vocabulary calls it, where that can be looked up.
    in_index: bool,
}

/// GPT-2's alphabet: the printable bytes as they are, the others from U+0100 on, in order.
pub(super) fn byte_chars() -> [char; 256] {
    let mut others = 0x100..;
    std::array::from_fn(|b| match b {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => char::from(b as u8),
        _ => others.next().and_then(char::from_u32).unwrap_or('\0'),
    })
}

/// The byte that `<0x0A>` names.
fn named_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let byte = u8::from_str_radix(digits, 16).ok()?;
    (format!("<0x{byte:02X}>") == text).then_some(byte)
}

pub(super) fn compile(parts: &VocabularyParts) -> Result<Tables> {
    let VocabularyParts { oracle, model, rules, added, rows, .. } = *parts;
    let vocab: HashMap<&str, u32> = parts.vocab.ids();
    if vocab.len() < parts.vocab.len() {
        return Err(bad("two tokens of the vocabulary have the same text"));
    }
    let mut tokens = vec![VocabularyRow { bytes: Vec::new(), kind: kind::UNUSED, in_index: false }; rows];
    let mut taken: HashSet<u32> = HashSet::new();
    for (text, &id) in &vocab {
        let Some(token) = tokens.get_mut(id as usize) else {
            return Err(bad(format!("token {text:?} has the id {id}, but the model has only {rows} rows")));
        };
        if !taken.insert(id) {
            return Err(bad(format!("two tokens have the id {id}")));
        }
        *token = model_token(text, rules);
    }
    for (&id, entry) in added {
        let token = &mut tokens[id as usize];
        let bytes = added_bytes(&entry.content, rules);
        // Where the vocabulary proper has it under another spelling, it is not found by these bytes there.
        let in_model = taken.contains(&id) && token.bytes == bytes;
        token.kind = if entry.special { kind::CONTROL } else { kind::ADDED } | if in_model { kind::MODEL } else { 0 };
        token.bytes = bytes;
        token.in_index = !token.bytes.is_empty();
    }
    if let Some(id) = tokens.iter().position(|t| t.bytes.len() > MAX_TOKEN_BYTES) {
        return Err(unsupported(format!(
            "token {id} of {} bytes; the longest is {MAX_TOKEN_BYTES}",
            tokens[id].bytes.len()
        )));
    }
    // A piece that is a token whole, which the merges (or their being ignored) give as that token.
    for (text, &id) in vocab.iter().filter(|_| !model.is_unigram()) {
        let token = &mut tokens[id as usize];
        if token.kind & kind::MODEL != 0 {
            let pieces = oracle.get_model().tokenize(text).map_err(|e| bad(e.to_string()))?;
            if pieces.len() == 1 && pieces[0].id == id {
                token.kind |= kind::WHOLE;
            }
        }
    }

    let mut byte_ids = vec![NONE; 256];
    for (byte, char) in byte_chars().into_iter().enumerate() {
        let name = match rules.alphabet {
            Alphabet::Bytes => char.to_string(),
            Alphabet::Chars if model.byte_fallback => format!("<0x{byte:02X}>"),
            Alphabet::Chars => continue,
        };
        byte_ids[byte] = vocab.get(name.as_str()).copied().unwrap_or(NONE);
    }
    let unknown = match model.unk_token.as_deref() {
        _ if model.is_unigram() => model.unk_id,
        // Bytes that the alphabet lacks are dropped if there is no such token.
        None => None,
        Some(_) if rules.alphabet == Alphabet::Bytes && !byte_ids.contains(&NONE) => None,
        Some(text) if rules.alphabet == Alphabet::Bytes => {
            return Err(unsupported(format!("unk_token {text:?} for bytes that have no token")));
        }
        Some(text) => Some(*vocab.get(text).ok_or_else(|| bad(format!("unk_token {text:?} is no token")))?),
    };
    let mut tensors = tensors(&tokens, &byte_ids, &merges(parts.vocab, &vocab)?)?;
    if let Vocab::Unigram(scored) = parts.vocab {
        // What has no score is no number.
        let mut halves = [f64::NAN].repeat(rows);
        halves.iter_mut().zip(scored).for_each(|(half, (_, score))| *half = *score);
        let halves: Vec<u32> =
            halves.into_iter().map(f64::to_bits).flat_map(|b| [b as u32, (b >> 32) as u32]).collect();
        tensors.push((TensorSpec::new(tensor::SCORES, Dtype::U32, &[rows, 2]), u32_bytes(&halves)));
    }
    Ok(Tables { tensors, unknown })
}

/// An added token's bytes, as the decoder makes text of its name.
fn added_bytes(text: &str, rules: &Rules) -> Vec<u8> {
    match rules.alphabet {
        Alphabet::Bytes => spelled_bytes(text).unwrap_or_else(|| text.as_bytes().to_vec()),
        Alphabet::Chars => match named_byte(text).filter(|_| rules.byte_tokens) {
            Some(byte) => vec![byte],
            None => unmark(text).into_bytes(),
        },
    }
}

/// The bytes that a text spells in GPT-2's alphabet.
fn spelled_bytes(text: &str) -> Option<Vec<u8>> {
    let chars = byte_chars();
    text.chars().map(|c| chars.iter().position(|&b| b == c).map(|b| b as u8)).collect()
}

/// A token of the vocabulary proper, as it looks in a text.
fn model_token(text: &str, rules: &Rules) -> VocabularyRow {
    let (bytes, kind, in_index) = match rules.alphabet {
        Alphabet::Bytes => match spelled_bytes(text) {
            Some(bytes) => (bytes, kind::NORMAL | kind::MODEL, true),
            // No bytes are spelled so; it can only be decoded, as it stands.
            None => (text.as_bytes().to_vec(), kind::NORMAL, false),
        },
        Alphabet::Chars => match named_byte(text).filter(|_| rules.byte_tokens) {
            Some(byte) => (vec![byte], kind::BYTE, false),
            // A space is written as a mark before the vocabulary is looked into: a literal one is never found.
            None if text.contains(' ') => (text.as_bytes().to_vec(), kind::NORMAL, false),
            None => (unmark(text).into_bytes(), kind::NORMAL | kind::MODEL, true),
        },
    };
    VocabularyRow { bytes, kind, in_index: in_index && !text.is_empty() }
}

/// Left, right and product, best first.
fn merges(model: &Vocab, vocab: &HashMap<&str, u32>) -> Result<Vec<[u32; 3]>> {
    let Vocab::Bpe { merges: all, .. } = model else { return Ok(Vec::new()) };
    let mut merges = Vec::with_capacity(all.len());
    for merge in all {
        let (left, right) = merge.halves()?;
        let id = |text: &str| {
            vocab.get(text).copied().ok_or_else(|| bad(format!("merge of {left:?} and {right:?}: no token {text:?}")))
        };
        merges.push([id(left)?, id(right)?, id(&format!("{left}{right}"))?]);
    }
    // A pair that stands twice has the rank of its last place, as in a map that is filled in order.
    let mut seen = HashSet::new();
    merges.reverse();
    merges.retain(|&[left, right, _]| seen.insert((left, right)));
    merges.reverse();
    Ok(merges)
}

fn tensors(tokens: &[VocabularyRow], byte_ids: &[u32], merges: &[[u32; 3]]) -> Result<Vec<(TensorSpec, Vec<u8>)>> {
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.bytes.iter().copied()).collect();
    let mut offsets = vec![0u32];
    for token in tokens {
        offsets.push(offsets[offsets.len() - 1] + token.bytes.len() as u32);
    }
    let kinds: Vec<u8> = tokens.iter().map(|t| t.kind).collect();

    // Tokens of the vocabulary proper come before added ones that look the same.
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    for proper in [true, false] {
        for (id, token) in tokens.iter().enumerate() {
            let is_proper = token.kind & kind::MODEL != 0;
            if token.in_index && is_proper == proper && seen.insert(&token.bytes) {
                entries.push((hash_bytes(&token.bytes), id as u32));
            }
        }
    }
    let index = index::build(&entries)?;
    let by_pair: Vec<(u32, u32)> = merges.iter().zip(0..).map(|(m, row)| (hash_pair(m[0], m[1]), row)).collect();
    let merge_index = index::build(&by_pair)?;

    let u32s =
        |name: &str, shape: &[usize], values: &[u32]| (TensorSpec::new(name, Dtype::U32, shape), u32_bytes(values));
    let u8s = |name: &str, values: Vec<u8>| (TensorSpec::new(name, Dtype::U8, &[values.len()]), values);
    Ok(vec![
        u8s(tensor::BYTES, bytes),
        u32s(tensor::OFFSETS, &[offsets.len()], &offsets),
        u8s(tensor::KIND, kinds),
        u32s(tensor::INDEX, &[index.len()], &index),
        u32s(tensor::BYTE_IDS, &[256], byte_ids),
        u32s(tensor::MERGES, &[merges.len(), 3], merges.as_flattened()),
        u32s(tensor::MERGE_INDEX, &[merge_index.len()], &merge_index),
    ])
}
