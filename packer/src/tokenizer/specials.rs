//! Which tokens begin a text, and which end a generation.

use crate::import::TokenizerSource;
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
