//! The bytes of `tokenizer.json`, or, where a directory has only what transformers' slower tokenizers keep
//! (`vocab.json`, `merges.txt`), what transformers would make of that.

use std::collections::BTreeMap;
use std::path::Path;

use rasp::{Error, Result, Status};
use serde_json::{Map, Value, json};

use super::json::{self, content};
use crate::import::{bad, unsupported};
use crate::tokenizer::pre;

const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";

pub(super) fn read(dir: &Path, config: Option<&Value>) -> Result<Vec<u8>> {
    if let Some(json) = json::bytes(&dir.join("tokenizer.json"))? {
        return Ok(json);
    }
    if dir.join(VOCAB).exists() && dir.join(MERGES).exists() {
        let json = of_vocabulary(dir, config)?;
        return serde_json::to_vec(&json).map_err(|e| bad(e.to_string()));
    }
    match dir.join("tokenizer.model").exists() {
        true => Err(unsupported(
            "tokenizer.json is missing and there is only tokenizer.model; \
             save the tokenizer with transformers' fast tokenizer first",
        )),
        false => Err(Error::new(Status::Io, "tokenizer.json: there is no such file")),
    }
}

/// What a class of transformers' makes of a vocabulary and its merges.
struct Class {
    name: &'static str,
    nfc: bool,
    /// What it splits with; `None` for what `ByteLevel` has built in.
    split: Option<&'static str>,
    /// Special tokens that it has without being told.
    specials: &'static [&'static str],
}

const END: &[&str] = &["<|endoftext|>"];

const CLASSES: [Class; 3] = [
    Class { name: "GPT2Tokenizer", nfc: false, split: None, specials: END },
    Class { name: "CodeGenTokenizer", nfc: false, split: None, specials: END },
    Class { name: "Qwen2Tokenizer", nfc: true, split: Some(pre::QWEN2), specials: END },
];

/// Keys of `tokenizer_config.json` and `special_tokens_map.json` that name special tokens.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

fn of_vocabulary(dir: &Path, config: Option<&Value>) -> Result<Value> {
    let name = config.and_then(|c| c.get("tokenizer_class")).and_then(Value::as_str);
    let Some(name) = name.map(|name| name.trim_end_matches("Fast")) else {
        return Err(unsupported(format!(
            "tokenizer.json is missing, and no `tokenizer_class` in tokenizer_config.json says what to make of {VOCAB}"
        )));
    };
    let class = CLASSES.iter().find(|class| class.name == name).ok_or_else(|| {
        let known: Vec<_> = CLASSES.iter().map(|class| class.name).collect();
        unsupported(format!(
            "tokenizer.json is missing, and what a {name} makes of {VOCAB} rasp does not know (it knows {}); \
             save the tokenizer with transformers' fast tokenizer first",
            known.join(", ")
        ))
    })?;
    let vocab = match json::read(&dir.join(VOCAB))? {
        Some(Value::Object(vocab)) => vocab,
        _ => return Err(bad(format!("{VOCAB}: not a JSON object"))),
    };
    let merges = merges(&dir.join(MERGES))?;
    let added = added(dir, config, class, &vocab)?;
    let flag = |key: &str| config.and_then(|c| c.get(key)).and_then(Value::as_bool).unwrap_or(false);
    let byte_level = |use_regex: bool| {
        json!({"type": "ByteLevel", "add_prefix_space": flag("add_prefix_space"), "trim_offsets": true,
            "use_regex": use_regex})
    };
    let split = class
        .split
        .map(|regex| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false}));
    let steps: Vec<Value> = split.into_iter().chain([byte_level(class.split.is_none())]).collect();
    // Of these classes only GPT-2's takes notice of the key.
    let bos = config.and_then(|c| content(c.get("bos_token")?)).unwrap_or(class.specials[0]);
    let bos = (class.name == "GPT2Tokenizer" && flag("add_bos_token")).then_some(bos);
    let post_processor = bos.and_then(|bos| Some((bos, vocab.get(bos)?))).map(|(bos, id)| {
        json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {(bos): {"id": bos, "ids": [id], "tokens": [bos]}}})
    });
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": if class.nfc { json!({"type": "NFC"}) } else { Value::Null },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }))
}

/// Pairs, best first; the first line of the file may say its version.
fn merges(path: &Path) -> Result<Vec<[String; 2]>> {
    let text = json::text(path)?.ok_or_else(|| Error::new(Status::Io, format!("{MERGES}: there is no such file")))?;
    let lines = text.split('\n').map(|line| line.trim_end_matches('\r')).enumerate();
    let lines = lines.filter(|(n, line)| !(line.is_empty() || *n == 0 && line.starts_with("#version")));
    lines
        .map(|(n, line)| {
            match line.split_once(' ').filter(|(l, r)| !l.is_empty() && !r.is_empty() && !r.contains(' ')) {
                Some((left, right)) => Ok([left.to_string(), right.to_string()]),
                None => Err(bad(format!("{MERGES}, line {}: {line:?} is no pair of tokens", n + 1))),
            }
        })
        .collect()
}

/// Added tokens: those of `tokenizer_config.json` with their flags, of `added_tokens.json` by name, and special ones
/// that the vocabulary proper has.
fn added(dir: &Path, config: Option<&Value>, class: &Class, vocab: &Map<String, Value>) -> Result<Vec<Value>> {
    let map = json::read(&dir.join("special_tokens_map.json"))?;
    let mut specials: Vec<&str> = class.specials.to_vec();
    for source in [config, map.as_ref()].into_iter().flatten() {
        specials.extend(NAMES.iter().filter_map(|key| content(source.get(key)?)));
        let more = source.get("additional_special_tokens").and_then(Value::as_array);
        specials.extend(more.into_iter().flatten().filter_map(content));
    }
    let token = |id: u64, text: &str| {
        let special = specials.contains(&text);
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": !special, "special": special})
    };
    let mut all = BTreeMap::new();
    for text in &specials {
        if let Some(id) = vocab.get(*text).and_then(Value::as_u64) {
            all.insert(id, token(id, text));
        }
    }
    if let Some(Value::Object(named)) = json::read(&dir.join("added_tokens.json"))? {
        for (text, id) in &named {
            let id = id.as_u64().ok_or_else(|| bad(format!("added_tokens.json: the id of {text:?} is {id}")))?;
            all.insert(id, token(id, text));
        }
    }
    let flagged = config.and_then(|c| c.get("added_tokens_decoder")).and_then(Value::as_object);
    for (id, entry) in flagged.into_iter().flatten() {
        let wrong = || bad(format!("tokenizer_config.json: added token {id} is {entry}"));
        let (number, text) = (id.parse::<u64>().map_err(|_| wrong())?, entry["content"].as_str().ok_or_else(wrong)?);
        let mut flagged = token(number, text);
        for key in ["single_word", "lstrip", "rstrip", "normalized", "special"] {
            if let Some(flag) = entry.get(key).and_then(Value::as_bool) {
                flagged[key] = flag.into();
            }
        }
        all.insert(number, flagged);
    }
    Ok(all.into_values().collect())
}
