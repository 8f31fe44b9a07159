//! Which tokens begin a text, and which end a generation.

use super::rules::Rules;
use super::{bad, unsupported};
use crate::import::TokenizerSource;
use rasp::Result;
use rasp::text::AddedToken;
use serde_json::Value;

/// Tokens that end a text or a turn in the families rasp knows, wherever they are special tokens.
const WELL_KNOWN_ENDS: [&str; 5] = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>", "<end_of_turn>"];

#[derive(Debug, PartialEq)]
pub(super) struct Specials {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub end: Vec<u32>,
}

/// The text of a token in `tokenizer_config.json`: a string, or an object with its `content`.
fn content<'v>(config: &'v Value, key: &str) -> Option<&'v str> {
    let token = config.get(key)?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// The ids under a key: a number or a list of them.
fn ids(config: Option<&Value>, key: &str) -> Vec<u32> {
    let Some(value) = config.and_then(|c| c.get(key)) else { return Vec::new() };
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
}

impl Specials {
    pub fn find(source: &TokenizerSource, id_of: impl Fn(&str) -> Option<u32>, added: &[AddedToken]) -> Specials {
        let mut end = Vec::new();
        let (bos, eos) = match source {
            TokenizerSource::HuggingFace { tokenizer_config, generation_config, config, .. } => {
                let generation = generation_config.as_ref();
                let from_ids = |key: &str| {
                    let found = [generation, Some(config)].map(|c| ids(c, key));
                    found.into_iter().flatten().collect::<Vec<u32>>()
                };
                let named = |key: &str| tokenizer_config.as_ref().and_then(|c| content(c, key)).and_then(&id_of);
                // A tokenizer_config that names no token says that there is none (Qwen 2 has no `bos`).
                let bos = match tokenizer_config {
                    Some(_) => named("bos_token"),
                    None => from_ids("bos_token_id").first().copied(),
                };
                let eos = named("eos_token").or_else(|| from_ids("eos_token_id").first().copied());
                end.extend(eos);
                end.extend(from_ids("eos_token_id"));
                (bos, eos)
            }
            TokenizerSource::Gguf(gguf) => {
                end.extend([gguf.eos, gguf.eot, gguf.eom].into_iter().flatten());
                (gguf.bos, gguf.eos)
            }
        };
        let well_known = |token: &&AddedToken| token.special && WELL_KNOWN_ENDS.contains(&token.pattern.as_str());
        end.extend(added.iter().filter(well_known).map(|token| token.id));
        let mut seen = std::collections::HashSet::new();
        end.retain(|id| seen.insert(*id));
        Specials { bos, eos, end }
    }
}

/// transformers' tokenizers that write the post-processor themselves: whatever `tokenizer.json` says, a text is put
/// between `bos` and `eos` as `add_bos_token` and `add_eos_token` of `tokenizer_config.json` say. With each, what they
/// do where the file is silent; `eos` then never follows.
const WRAPPERS: [(&str, bool); 5] = [
    ("LlamaTokenizer", true),
    ("CodeLlamaTokenizer", true),
    ("GemmaTokenizer", true),
    ("CohereTokenizer", true),
    ("GPTNeoXTokenizer", false),
];

/// Puts the tokens before and after a text that `tokenizer_config.json` asks for.
pub(super) fn wrap(source: &TokenizerSource, specials: &Specials, rules: &mut Rules) -> Result<()> {
    let TokenizerSource::HuggingFace { tokenizer_config: Some(config), .. } = source else { return Ok(()) };
    let flag = |key: &str| match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(bad(format!("tokenizer_config.json: `{key}` is {other}, expected true or false"))),
    };
    let (add_bos, add_eos) = (flag("add_bos_token")?, flag("add_eos_token")?);
    let class = config.get("tokenizer_class").and_then(Value::as_str).map(|name| name.trim_end_matches("Fast"));
    let default_bos = match class {
        Some(class) => match WRAPPERS.iter().find(|(name, _)| *name == class) {
            Some((_, bos)) => *bos,
            // Other classes take the post-processor as it is, and so these keys are without effect.
            None => return Ok(()),
        },
        None if add_bos.is_none() && add_eos.is_none() => return Ok(()),
        None => !rules.prefix.is_empty(),
    };
    let token = |add: bool, id: Option<u32>, key: &str| match (add, id) {
        (false, _) => Ok(Vec::new()),
        (true, Some(id)) => Ok(vec![id]),
        (true, None) => Err(unsupported(format!(
            "tokenizer_config.json: `add_{key}` is set for {}, but `{key}` names no token",
            class.unwrap_or("the tokenizer")
        ))),
    };
    rules.prefix = token(add_bos.unwrap_or(default_bos), specials.bos, "bos_token")?;
    rules.suffix = token(add_eos.unwrap_or(false), specials.eos, "eos_token")?;
    Ok(())
}

/// Refuses tokens that texts need and that have no row.
pub(super) fn check(
    specials: &Specials,
    rules: &Rules,
    unknown: Option<u32>,
    rows: usize,
    name: impl Fn(u32) -> Option<String>,
) -> Result<()> {
    let one = |what: &'static str, id: Option<u32>| id.map(|id| (what, id));
    let listed = [("put before texts", &rules.prefix), ("put after texts", &rules.suffix), ("an end", &specials.end)];
    let needed = [one("the beginning of texts", specials.bos), one("the end of texts", specials.eos)];
    let needed = needed.into_iter().chain([one("what stands for unknown characters", unknown)]).flatten();
    let listed = listed.into_iter().flat_map(|(what, ids)| ids.iter().map(move |&id| (what, id)));
    match needed.chain(listed).find(|&(_, id)| id as usize >= rows) {
        None => Ok(()),
        Some((what, id)) => Err(bad(format!(
            "token {id} ({:?}) is {what}, but the model's embedding has only {rows} rows",
            name(id).unwrap_or_default()
        ))),
    }
}
