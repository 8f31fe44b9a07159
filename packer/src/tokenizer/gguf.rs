//! A GGUF file's tokenizer as the `tokenizer.json` it was made from would have said it.

use super::rules::MARK;
use super::{bad, unsupported};
use crate::import::GgufTokenizer;
use rasp::Result;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub(super) const LLAMA3_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(super) const QWEN2_PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A pre-tokenizer by its name in `tokenizer.ggml.pre`.
struct Pre {
    names: &'static [&'static str],
    split: Split,
    nfc: bool,
    ignore_merges: bool,
    /// Whether text is preceded by `bos` where the file does not say.
    add_bos: bool,
}

enum Split {
    /// GPT-2's pattern.
    Gpt2,
    /// Each digit alone, then GPT-2's pattern.
    DigitsGpt2,
    /// A pattern of its own.
    Pattern(&'static str),
}

const PRES: [Pre; 4] = [
    Pre { names: &["gpt-2", "phi-2"], split: Split::Gpt2, nfc: false, ignore_merges: false, add_bos: false },
    Pre {
        names: &["smollm", "starcoder", "refact"],
        split: Split::DigitsGpt2,
        nfc: false,
        ignore_merges: false,
        add_bos: false,
    },
    Pre {
        names: &["llama-bpe", "llama3", "llama-v3"],
        split: Split::Pattern(LLAMA3_PATTERN),
        nfc: false,
        ignore_merges: true,
        add_bos: true,
    },
    Pre {
        names: &["qwen2", "deepseek-r1-qwen"],
        split: Split::Pattern(QWEN2_PATTERN),
        nfc: true,
        ignore_merges: false,
        add_bos: false,
    },
];

/// `tokenizer.ggml.token_type`.
mod kind {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
}

fn type_of(gguf: &GgufTokenizer, id: usize) -> i32 {
    let named = [gguf.bos, gguf.eos, gguf.eot, gguf.eom, gguf.unk, gguf.pad];
    match gguf.token_types.get(id) {
        Some(&kind) => kind,
        None if named.contains(&Some(id as u32)) => kind::CONTROL,
        None => kind::NORMAL,
    }
}

pub(super) fn to_json(gguf: &GgufTokenizer) -> Result<Value> {
    let mut vocab = Map::new();
    let mut added = Vec::new();
    for (id, text) in gguf.tokens.iter().enumerate() {
        let kind = type_of(gguf, id);
        if kind == kind::UNUSED {
            continue;
        }
        if vocab.insert(text.clone(), id.into()).is_some() {
            return Err(bad(format!("two tokens are {text:?}")));
        }
        if [kind::UNKNOWN, kind::CONTROL, kind::USER_DEFINED].contains(&kind) {
            added.push(json!({
                "id": id, "content": text, "special": kind != kind::USER_DEFINED,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
    }
    let rules = match gguf.model.as_str() {
        "gpt2" => byte_level(gguf)?,
        "llama" => sentence_piece(gguf)?,
        other => return Err(unsupported(format!("tokenizer.ggml.model {other:?}; known are gpt2, llama"))),
    };
    let token = |id: Option<u32>| id.and_then(|id| Some((id, gguf.tokens.get(id as usize)?)));
    let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut specials = Map::new();
    let mut special = |(id, text): (u32, &String)| {
        specials.insert(text.clone(), json!({"id": text, "ids": [id], "tokens": [text]}));
        json!({"SpecialToken": {"id": text, "type_id": 0}})
    };
    if gguf.add_bos.unwrap_or(rules.add_bos)
        && let Some(bos) = token(gguf.bos)
    {
        single.insert(0, special(bos));
    }
    if gguf.add_eos.unwrap_or(false)
        && let Some(eos) = token(gguf.eos)
    {
        single.push(special(eos));
    }
    let mut model = json!({"type": "BPE", "ignore_merges": rules.ignore_merges, "byte_fallback": rules.byte_fallback});
    model["merges"] = rules.merges;
    model["vocab"] = Value::Object(vocab);
    if rules.byte_fallback {
        model["unk_token"] = token(gguf.unk).map_or(Value::Null, |(_, text)| text.as_str().into());
        model["fuse_unk"] = true.into();
    }
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": rules.normalizer,
        "pre_tokenizer": rules.pre_tokenizer,
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": [
            {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
        ], "special_tokens": specials},
        "decoder": rules.decoder,
        "model": model,
    }))
}

/// What differs between the two kinds of model.
struct Rules {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    merges: Value,
    ignore_merges: bool,
    byte_fallback: bool,
    add_bos: bool,
}

fn byte_level(gguf: &GgufTokenizer) -> Result<Rules> {
    let name = gguf.pre.as_deref().unwrap_or("default");
    let pre = PRES.iter().find(|pre| pre.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = PRES.iter().flat_map(|pre| pre.names).copied().collect();
        unsupported(format!("tokenizer.ggml.pre {name:?}; known are {}", known.join(", ")))
    })?;
    let prefix = gguf.add_space_prefix.unwrap_or(false);
    let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": use_regex});
    let sequence = |first: Value, second: Value| json!({"type": "Sequence", "pretokenizers": [first, second]});
    let pre_tokenizer = match pre.split {
        Split::Gpt2 => byte_level(true),
        Split::DigitsGpt2 => sequence(json!({"type": "Digits", "individual_digits": true}), byte_level(true)),
        Split::Pattern(regex) => sequence(
            json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false}),
            byte_level(false),
        ),
    };
    let mut merges = Vec::new();
    for merge in &gguf.merges {
        // A piece may itself begin with a space in careless files; neither half is ever empty.
        let halves = merge.split_once(' ').filter(|(l, r)| !l.is_empty() && !r.is_empty() && !r.contains(' '));
        let (left, right) = halves.ok_or_else(|| bad(format!("merge {merge:?}")))?;
        merges.push(json!([left, right]));
    }
    Ok(Rules {
        normalizer: if pre.nfc { json!({"type": "NFC"}) } else { Value::Null },
        pre_tokenizer,
        decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        merges: merges.into(),
        ignore_merges: pre.ignore_merges,
        byte_fallback: false,
        add_bos: pre.add_bos,
    })
}

fn sentence_piece(gguf: &GgufTokenizer) -> Result<Rules> {
    if gguf.scores.is_empty() {
        return Err(bad("a SentencePiece vocabulary without scores"));
    }
    let prefix = gguf.add_space_prefix.unwrap_or(true);
    let mark = MARK.to_string();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let mut normalizers = vec![replace(" ", &mark)];
    let mut decoders = vec![replace(&mark, " "), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    if prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": mark}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(Rules {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        merges: merges_of_scores(gguf),
        ignore_merges: false,
        byte_fallback: true,
        add_bos: true,
    })
}

/// SentencePiece joins the pair whose product scores best. As Hugging Face's converter does, each way to make a token
/// of two becomes a merge; the better the token's score the earlier, and of its ways the one with the longer left.
fn merges_of_scores(gguf: &GgufTokenizer) -> Value {
    let normal = |id: &usize| type_of(gguf, *id) == kind::NORMAL;
    let ids: HashMap<&str, usize> =
        (0..gguf.tokens.len()).filter(normal).map(|id| (gguf.tokens[id].as_str(), id)).collect();
    let mut merges: Vec<(f32, usize, usize, [&str; 2])> = Vec::new();
    for id in (0..gguf.tokens.len()).filter(normal) {
        let token = gguf.tokens[id].as_str();
        let mut ways: Vec<(usize, usize, [&str; 2])> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (left, right) = token.split_at(at);
                Some((*ids.get(left)?, *ids.get(right)?, [left, right]))
            })
            .collect();
        ways.sort_by_key(|&(left, right, _)| (left, right));
        let chars = |s: &str| s.chars().count();
        merges.extend(ways.into_iter().map(|(_, _, [l, r])| (gguf.scores[id], chars(l), chars(r), [l, r])));
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)));
    merges.into_iter().map(|(.., pair)| json!(pair)).collect()
}
