//! The tables of tokens and merges.

use super::rules::{Rules, unmark};
use super::{bad, index, u32_bytes, unsupported};
use rasp::Result;
use rasp::format::{Dtype, TensorSpec};
use rasp::text::{AddedToken, Alphabet, MAX_TOKEN_BYTES, NONE, hash_bytes, hash_pair, kind, tensor};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use tokenizers::{Model, NormalizedString, Normalizer, Tokenizer};

pub(super) struct Tables {
    pub tensors: Vec<(TensorSpec, Vec<u8>)>,
    pub added: Vec<AddedToken>,
    pub unknown: Option<u32>,
    pub fuse_unknown: bool,
    pub byte_fallback: bool,
}

/// A row of the vocabulary.
#[derive(Clone)]
struct Token {
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

pub(super) fn compile(oracle: &Tokenizer, json: &Value, rules: &Rules, vocab_size: usize) -> Result<Tables> {
    let model = &json["model"];
    if model["type"] != "BPE" {
        return Err(unsupported(format!("model {}; known is BPE", model["type"])));
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[key].as_str().is_some_and(|s| !s.is_empty()) {
            return Err(unsupported(format!("{key} {}", model[key])));
        }
    }
    if model["dropout"].as_f64().is_some_and(|d| d != 0.0) {
        return Err(unsupported(format!("dropout {}", model["dropout"])));
    }
    let flag = |key: &str| model[key].as_bool().unwrap_or(false);
    let (byte_fallback, ignore_merges) = (flag("byte_fallback"), flag("ignore_merges"));
    if byte_fallback && (ignore_merges || rules.alphabet == Alphabet::Bytes) {
        return Err(unsupported("byte_fallback together with ignore_merges or a ByteLevel decoder"));
    }
    let vocab: HashMap<&str, u32> = model["vocab"]
        .as_object()
        .ok_or_else(|| bad("the model has no vocabulary"))?
        .iter()
        .filter_map(|(text, id)| Some((text.as_str(), u32::try_from(id.as_u64()?).ok()?)))
        .collect();

    let added = read_added(oracle, json, rules)?;
    let mut tokens = vec![Token { bytes: Vec::new(), kind: kind::UNUSED, in_index: false }; vocab_size];
    let mut taken: HashSet<u32> = HashSet::new();
    let row = |id: u32| match (id as usize) < vocab_size {
        true => Ok(id as usize),
        false => Err(bad(format!("token {id}, but the model has only {vocab_size} rows"))),
    };
    for (text, &id) in &vocab {
        let row = row(id)?;
        if !taken.insert(id) {
            return Err(bad(format!("two tokens have the id {id}")));
        }
        tokens[row] = model_token(text, rules);
    }
    for entry in json["added_tokens"].as_array().into_iter().flatten() {
        let (id, text) = added_entry(entry)?;
        let row = row(id)?;
        let special = entry["special"].as_bool().unwrap_or(false);
        let token = &mut tokens[row];
        // Where the vocabulary proper has it under another spelling, it is not found by these bytes there.
        let in_model = taken.contains(&id) && token.bytes == text.as_bytes();
        token.kind = if special { kind::CONTROL } else { kind::ADDED } | if in_model { kind::MODEL } else { 0 };
        token.bytes = text.as_bytes().to_vec();
        token.in_index = true;
    }
    if let Some(id) = tokens.iter().position(|t| t.bytes.len() > MAX_TOKEN_BYTES) {
        return Err(unsupported(format!(
            "token {id} of {} bytes; the longest is {MAX_TOKEN_BYTES}",
            tokens[id].bytes.len()
        )));
    }
    // A piece that is a token whole, which the merges (or their being ignored) give as that token.
    for (text, &id) in &vocab {
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
            Alphabet::Chars if byte_fallback => format!("<0x{byte:02X}>"),
            Alphabet::Chars => continue,
        };
        byte_ids[byte] = vocab.get(name.as_str()).copied().unwrap_or(NONE);
    }
    let unknown = match model["unk_token"].as_str() {
        // Bytes that the alphabet lacks are dropped if there is no such token.
        None => None,
        Some(_) if rules.alphabet == Alphabet::Bytes && !byte_ids.contains(&NONE) => None,
        Some(text) if rules.alphabet == Alphabet::Bytes => {
            return Err(unsupported(format!("unk_token {text:?} for bytes that have no token")));
        }
        Some(text) => Some(*vocab.get(text).ok_or_else(|| bad(format!("unk_token {text:?} is no token")))?),
    };
    Ok(Tables {
        tensors: tensors(&tokens, &byte_ids, &read_merges(model, &vocab)?)?,
        added,
        unknown,
        fuse_unknown: flag("fuse_unk"),
        byte_fallback,
    })
}

/// A token of the vocabulary proper, as it looks in a text.
fn model_token(text: &str, rules: &Rules) -> Token {
    let (bytes, kind, in_index) = match rules.alphabet {
        Alphabet::Bytes => {
            let chars = byte_chars();
            let byte = |c| chars.iter().position(|&b| b == c).map(|b| b as u8);
            match text.chars().map(byte).collect::<Option<Vec<u8>>>() {
                Some(bytes) => (bytes, kind::NORMAL | kind::MODEL, true),
                // No bytes are spelled so; it can only be decoded, as it stands.
                None => (text.as_bytes().to_vec(), kind::NORMAL, false),
            }
        }
        Alphabet::Chars => match named_byte(text).filter(|_| rules.byte_tokens) {
            Some(byte) => (vec![byte], kind::BYTE, false),
            // A space is written as a mark before the vocabulary is looked into: a literal one is never found.
            None if text.contains(' ') => (text.as_bytes().to_vec(), kind::NORMAL, false),
            None => (unmark(text).into_bytes(), kind::NORMAL | kind::MODEL, true),
        },
    };
    Token { bytes, kind, in_index: in_index && !text.is_empty() }
}

fn added_entry(entry: &Value) -> Result<(u32, &str)> {
    let id = entry["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.zip(entry["content"].as_str()).ok_or_else(|| bad(format!("added token {entry}")))
}

fn read_added(oracle: &Tokenizer, json: &Value, rules: &Rules) -> Result<Vec<AddedToken>> {
    let mut added = Vec::new();
    for entry in json["added_tokens"].as_array().into_iter().flatten() {
        let (id, text) = added_entry(entry)?;
        let flag = |key: &str| entry[key].as_bool().unwrap_or(false);
        if flag("single_word") {
            return Err(unsupported(format!("added token {text:?} with single_word")));
        }
        let mut pattern = text.to_string();
        if flag("normalized") {
            if let Some(normalizer) = oracle.get_normalizer() {
                let mut normalized = NormalizedString::from(text);
                normalizer.normalize(&mut normalized).map_err(|e| bad(e.to_string()))?;
                pattern = normalized.get().to_string();
            }
            if rules.alphabet == Alphabet::Chars {
                // Without a normalizer, marks and spaces are still two things when it is looked for.
                if json["normalizer"].is_null() && text.contains([' ', super::rules::MARK]) {
                    return Err(unsupported(format!("added token {text:?}, normalized, before a Metaspace")));
                }
                pattern = unmark(&pattern);
            }
        }
        if !pattern.is_empty() {
            added.push(AddedToken {
                id,
                pattern,
                special: flag("special"),
                lstrip: flag("lstrip"),
                rstrip: flag("rstrip"),
                normalized: flag("normalized"),
            });
        }
    }
    // Of two with the same pattern, `tokenizers` finds the special one.
    added.sort_by_key(|token| !token.special);
    Ok(added)
}

/// Left, right and product, best first.
fn read_merges(model: &Value, vocab: &HashMap<&str, u32>) -> Result<Vec<[u32; 3]>> {
    let mut merges = Vec::new();
    for merge in model["merges"].as_array().into_iter().flatten() {
        let (Some(left), Some(right)) = (merge[0].as_str(), merge[1].as_str()) else {
            return Err(bad(format!("merge {merge}")));
        };
        let id = |text: &str| vocab.get(text).copied().ok_or_else(|| bad(format!("merge {merge}: no token {text:?}")));
        merges.push([id(left)?, id(right)?, id(&format!("{left}{right}"))?]);
    }
    // A pair that stands twice has the rank of its last place, as in a map that is filled in order.
    let mut seen = HashSet::new();
    merges.reverse();
    merges.retain(|&[left, right, _]| seen.insert((left, right)));
    merges.reverse();
    Ok(merges)
}

fn tensors(tokens: &[Token], byte_ids: &[u32], merges: &[[u32; 3]]) -> Result<Vec<(TensorSpec, Vec<u8>)>> {
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
