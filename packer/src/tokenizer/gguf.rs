//! A GGUF file's tokenizer as the `tokenizer.json` it was made from would have said it.

use super::rules::MARK;
use super::{bad, charsmap, pre, unsupported};
use crate::import::GgufTokenizer;
use rasp::Result;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::HashMap;

/// `tokenizer.ggml.token_type`.
mod kind {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

fn type_of(gguf: &GgufTokenizer, id: usize) -> i32 {
    let named = [gguf.bos, gguf.eos, gguf.eot, gguf.eom, gguf.unk, gguf.pad];
    match gguf.token_types.get(id) {
        Some(&kind) => kind,
        None if named.contains(&Some(id as u32)) => kind::CONTROL,
        None => kind::NORMAL,
    }
}

/// The tokens' texts as `tokenizer.json` has them: SentencePiece writes marks for spaces, and converters put runs of
/// them that are user-defined (Gemma's) as spaces into the file.
fn texts(gguf: &GgufTokenizer) -> Vec<Cow<'_, str>> {
    let spaces = |id: usize, text: &str| {
        gguf.model == "llama" && type_of(gguf, id) == kind::USER_DEFINED && text.bytes().all(|b| b == b' ')
    };
    let all = gguf.tokens.iter().enumerate();
    all.map(|(id, text)| match spaces(id, text) {
        // A Unigram's vocabulary is a list without gaps; no text has a space where tokens are looked for.
        _ if gguf.model == "t5" && type_of(gguf, id) == kind::UNUSED => Cow::Owned(format!("unused {id}")),
        true => Cow::Owned(text.replace(' ', MARK.encode_utf8(&mut [0; 4]))),
        false => Cow::Borrowed(text.as_str()),
    })
    .collect()
}

/// How SentencePiece's tokens become text.
fn decoders(strip: bool) -> Value {
    let mark = MARK.to_string();
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": mark}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if strip {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    steps.into()
}

pub(super) fn to_json(gguf: &GgufTokenizer) -> Result<Value> {
    let mut vocab = Map::new();
    let mut added = Vec::new();
    let texts = texts(gguf);
    for (id, text) in texts.iter().enumerate() {
        let kind = type_of(gguf, id);
        if kind == kind::UNUSED && gguf.model != "t5" {
            continue;
        }
        if vocab.insert(text.to_string(), id.into()).is_some() {
            return Err(bad(format!("two tokens are {text:?}")));
        }
        if [kind::UNKNOWN, kind::CONTROL, kind::USER_DEFINED].contains(&kind) {
            added.push(json!({
                "id": id, "content": text, "special": kind != kind::USER_DEFINED,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
    }
    let marked_by_name = gguf.model == "gpt2" && gguf.pre.as_deref().is_some_and(pre::is_marked);
    let is_marked = gguf.model == pre::GEMMA4 || marked_by_name;
    let rules = match gguf.model.as_str() {
        "gpt2" | pre::GEMMA4 if is_marked => marked(gguf)?,
        "gpt2" => byte_level(gguf)?,
        "llama" => sentence_piece(gguf, &texts)?,
        "t5" => unigram(gguf)?,
        other => {
            let why = pre::refusal(other).unwrap_or(
                "known are gpt2, gemma4, llama and t5; pack the model from its Hugging Face directory if that has a \
                tokenizer.json of BPE or Unigram",
            );
            return Err(unsupported(format!("tokenizer.ggml.model {other:?}: {why}")));
        }
    };
    let token = |id: Option<u32>| id.and_then(|id| Some((id, gguf.tokens.get(id as usize)?)));
    let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut specials = Map::new();
    let mut special = |(id, text): (u32, &String)| {
        specials.insert(text.clone(), json!({"id": text, "ids": [id], "tokens": [text]}));
        json!({"SpecialToken": {"id": text, "type_id": 0}})
    };
    // Early files of Gemma 4 say that there is none, which was a fault of their converter's.
    if gguf.add_bos.unwrap_or(rules.add_bos) | (is_marked && rules.add_bos)
        && let Some(bos) = token(gguf.bos)
    {
        single.insert(0, special(bos));
    }
    if gguf.add_eos.unwrap_or(gguf.model == "t5")
        && let Some(eos) = token(gguf.eos)
    {
        single.push(special(eos));
    }
    let mut model = json!({"type": "BPE", "ignore_merges": rules.ignore_merges, "byte_fallback": rules.byte_fallback});
    if gguf.model == "t5" {
        let scored = texts.iter().zip(&gguf.scores).map(|(text, score)| json!([text, score]));
        model = json!({"type": "Unigram", "unk_id": gguf.unk, "byte_fallback": rules.byte_fallback});
        model["vocab"] = scored.collect();
    } else {
        model["merges"] = rules.merges;
        model["vocab"] = Value::Object(vocab);
    }
    if gguf.model == "llama" || is_marked {
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

/// What differs between the kinds of model.
struct GgufRules {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    merges: Value,
    ignore_merges: bool,
    byte_fallback: bool,
    add_bos: bool,
}

fn byte_level(gguf: &GgufTokenizer) -> Result<GgufRules> {
    let Some(name) = gguf.pre.as_deref() else {
        let what = "there is no `tokenizer.ggml.pre`, which says how text is split; convert the model again";
        return Err(unsupported(what));
    };
    let pre = pre::by_name(name).ok_or_else(|| {
        if let Some(why) = pre::refusal(name) {
            return unsupported(format!("tokenizer.ggml.pre {name:?}: {why}"));
        }
        let known: Vec<&str> = pre::names().collect();
        unsupported(format!(
            "tokenizer.ggml.pre {name:?}: rasp does not know how that splits text; pack the model from its Hugging \
            Face directory, whose tokenizer.json says it (names known are {})",
            known.join(", ")
        ))
    })?;
    let prefix = gguf.add_space_prefix.unwrap_or(false);
    Ok(GgufRules {
        normalizer: if pre.nfc { json!({"type": "NFC"}) } else { Value::Null },
        pre_tokenizer: pre.to_json(prefix),
        decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        merges: merges(gguf)?,
        ignore_merges: pre.ignore_merges,
        byte_fallback: false,
        add_bos: pre.add_bos,
    })
}

/// The merges of the file.
fn merges(gguf: &GgufTokenizer) -> Result<Value> {
    let pairs = gguf.merges.iter().map(|merge| {
        // A piece may itself begin with a space in careless files; neither half is ever empty.
        let halves = merge.split_once(' ').filter(|(l, r)| !l.is_empty() && !r.is_empty() && !r.contains(' '));
        let (left, right) = halves.ok_or_else(|| bad(format!("merge {merge:?}")))?;
        Ok(json!([left, right]))
    });
    Ok(Value::Array(pairs.collect::<Result<_>>()?))
}

/// BPE of marks for spaces, with the merges of the file and bytes for what has no token.
fn marked(gguf: &GgufTokenizer) -> Result<GgufRules> {
    if gguf.add_space_prefix == Some(true) {
        return Err(unsupported(
            "tokenizer.ggml.add_space_prefix of true, though this BPE writes marks for the text's own spaces alone; \
            pack the model from its Hugging Face directory",
        ));
    }
    let marks = json!({"type": "Replace", "pattern": {"String": " "}, "content": MARK.to_string()});
    Ok(GgufRules {
        normalizer: json!({"type": "Sequence", "normalizers": [marks]}),
        pre_tokenizer: Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders(false)}),
        merges: merges(gguf)?,
        ignore_merges: false,
        byte_fallback: true,
        add_bos: gguf.pre.as_deref() != Some("sarvam-moe"),
    })
}

fn sentence_piece(gguf: &GgufTokenizer, texts: &[Cow<str>]) -> Result<GgufRules> {
    if gguf.scores.is_empty() {
        return Err(bad("a SentencePiece vocabulary without scores"));
    }
    let prefix = gguf.add_space_prefix.unwrap_or(true);
    let mark = MARK.to_string();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let mut normalizers = vec![replace(" ", &mark)];
    if prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": mark}));
    }
    Ok(GgufRules {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders(prefix)}),
        merges: merges_of_scores(gguf, texts),
        ignore_merges: false,
        byte_fallback: true,
        add_bos: true,
    })
}

/// SentencePiece joins the pair whose product scores best. As Hugging Face's converter does, each way to make a token
/// of two becomes a merge; the better the token's score the earlier, and of its ways the one with the longer left.
fn merges_of_scores(gguf: &GgufTokenizer, texts: &[Cow<str>]) -> Value {
    // SentencePiece has its user-defined pieces before all others, and their scores in a file mean nothing. Of those
    // only runs of spaces can come about by merging: the others are recognised in the text before.
    let score = |id: usize| match type_of(gguf, id) {
        kind::NORMAL => Some(gguf.scores[id]),
        kind::USER_DEFINED if texts[id].chars().all(|c| c == MARK) => Some(0.0),
        _ => None,
    };
    let ids: HashMap<&str, usize> =
        (0..texts.len()).filter(|&id| score(id).is_some()).map(|id| (&*texts[id], id)).collect();
    let mut merges: Vec<(f32, usize, usize, [&str; 2])> = Vec::new();
    for (id, score) in (0..texts.len()).filter_map(|id| Some((id, score(id)?))) {
        let token = &*texts[id];
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
        merges.extend(ways.into_iter().map(|(_, _, [l, r])| (score, chars(l), chars(r), [l, r])));
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)));
    merges.into_iter().map(|(.., pair)| json!(pair)).collect()
}

/// Tokens with scores, of which the best sum wins.
fn unigram(gguf: &GgufTokenizer) -> Result<GgufRules> {
    if gguf.scores.is_empty() {
        return Err(bad("a Unigram vocabulary without scores"));
    }
    let (mut normalizer, mut is_unmarking) = (Value::Null, false);
    if !gguf.charsmap.is_empty() {
        let map = base64::encode(&gguf.charsmap);
        // Here, as `tokenizers` does not say what is wrong with one.
        is_unmarking = charsmap::is_unmarking(&charsmap::read(&map)?);
        normalizer = json!({"type": "Precompiled", "precompiled_charsmap": map});
    }
    let scheme = if gguf.add_space_prefix.unwrap_or(true) { "always" } else { "never" };
    let metaspace = json!({"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": true});
    let mut pre_tokenizer = metaspace.clone();
    if gguf.remove_extra_whitespaces == Some(true) {
        const KEY: &str = "tokenizer.ggml.remove_extra_whitespaces";
        let advice = "pack the model from its Hugging Face directory";
        // rasp has spaces for marks, and would take those of the text for extra spaces.
        if !is_unmarking {
            let why = "where no precompiled_charsmap makes spaces of a text's own marks (U+2581)";
            return Err(unsupported(format!("{KEY} {why}; {advice}")));
        }
        if scheme == "never" {
            return Err(unsupported(format!("{KEY} without tokenizer.ggml.add_space_prefix; {advice}")));
        }
        // Words without the spaces between them, each with one before it, are the text with single spaces.
        let words = json!({"type": "Split", "pattern": {"Regex": " +"}, "behavior": "Removed", "invert": false});
        pre_tokenizer = json!({"type": "Sequence", "pretokenizers": [words, pre_tokenizer]});
    }
    let byte_fallback = gguf.token_types.contains(&kind::BYTE);
    let decoder = match byte_fallback {
        false => metaspace.clone(),
        true => json!({"type": "Sequence", "decoders": decoders(scheme == "always")}),
    };
    Ok(GgufRules {
        normalizer,
        pre_tokenizer,
        decoder,
        merges: Value::Null,
        ignore_merges: false,
        byte_fallback,
        add_bos: false,
    })
}
