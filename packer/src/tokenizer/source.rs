//! A `tokenizer.json` in two readings: its rules, which are few, before its vocabulary, which may be 30 MB.

use super::{bad, hostile, unsupported};
use rasp::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

/// All but the vocabulary. Unknown fields are read by `tokenizers`, later.
#[derive(Deserialize)]
pub(super) struct StatedRules {
    #[serde(default)]
    version: Value,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    pub model: ModelRules,
}

/// The model without its vocabulary.
#[derive(Deserialize)]
pub(super) struct ModelRules {
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f64>,
    pub unk_token: Option<String>,
    pub unk_id: Option<u32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    pub byte_fallback: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub ignore_merges: bool,
}

/// `null` says as much as nothing.
fn or_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ModelRules {
    pub fn is_unigram(&self) -> bool {
        self.kind.as_deref() == Some("Unigram")
    }

    /// A Unigram model always takes unknown characters together.
    pub fn fuse_unknown(&self) -> bool {
        self.is_unigram() || self.fuse_unk.unwrap_or(false)
    }

    /// Refuses what rasp does not do as `tokenizers` does.
    fn check(&self) -> Result<()> {
        match self.kind.as_deref() {
            Some("BPE" | "Unigram") => {}
            Some(other) => return Err(unsupported(format!("model {other:?}; known are BPE and Unigram"))),
            // Older files do not say; `tokenizers` tries one after the other.
            None => return Err(unsupported("a model without its type; save the tokenizer with a newer version")),
        }
        for (key, value) in [
            ("continuing_subword_prefix", &self.continuing_subword_prefix),
            ("end_of_word_suffix", &self.end_of_word_suffix),
        ] {
            if let Some(value) = value.as_deref().filter(|s| !s.is_empty()) {
                return Err(unsupported(format!("{key} {value:?}")));
            }
        }
        if let Some(dropout) = self.dropout.filter(|d| *d != 0.0) {
            return Err(unsupported(format!("dropout {dropout}")));
        }
        if self.is_unigram() && self.unk_id.is_none() {
            return Err(unsupported("a Unigram model without `unk_id`"));
        }
        Ok(())
    }
}

impl StatedRules {
    pub fn read(json: &[u8]) -> Result<StatedRules> {
        let rules: StatedRules = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
        rules.model.check()?;
        Ok(rules)
    }

    /// The rules as `tokenizers` writes them: every default spelled out, every older spelling the newest one.
    pub fn canonical(&self) -> Result<Value> {
        let bare = json!({"version": self.version, "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": self.normalizer, "pre_tokenizer": self.pre_tokenizer, "post_processor": self.post_processor,
            "decoder": self.decoder, "model": {"type": "BPE", "vocab": {}, "merges": []}});
        let bytes = serde_json::to_vec(&bare).map_err(|e| bad(e.to_string()))?;
        let read = hostile::read(&bytes)?;
        let canonical = read.to_string(false).map_err(|e| bad(e.to_string()))?;
        serde_json::from_str(&canonical).map_err(|e| bad(e.to_string()))
    }
}

/// A vocabulary.
pub(super) enum Vocab {
    Bpe {
        vocab: HashMap<String, u32>,
        merges: Vec<Merge>,
    },
    /// Tokens with their scores, by id.
    Unigram(Vec<(String, f64)>),
}

/// A merge: two tokens, or, in older files, both with a space between.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Pair(String, String),
    Line(String),
}

impl Merge {
    pub fn halves(&self) -> Result<(&str, &str)> {
        match self {
            Merge::Pair(left, right) => Ok((left, right)),
            Merge::Line(line) => match line.split_once(' ').filter(|(_, right)| !right.contains(' ')) {
                Some(halves) => Ok(halves),
                None => Err(bad(format!("merge {line:?}"))),
            },
        }
    }
}

impl Vocab {
    pub fn read(json: &[u8], unigram: bool) -> Result<Vocab> {
        #[derive(Deserialize)]
        struct TokenizerJson<M> {
            model: M,
        }
        #[derive(Deserialize)]
        struct BpeJson {
            vocab: HashMap<String, u32>,
            #[serde(default)]
            merges: Vec<Merge>,
        }
        #[derive(Deserialize)]
        struct UnigramJson {
            vocab: Vec<(String, f64)>,
        }
        let wrong = |e: serde_json::Error| bad(format!("the model's vocabulary: {e}"));
        if unigram {
            let file: TokenizerJson<UnigramJson> = serde_json::from_slice(json).map_err(wrong)?;
            return Ok(Vocab::Unigram(file.model.vocab));
        }
        let TokenizerJson { model: BpeJson { vocab, merges } } = serde_json::from_slice(json).map_err(wrong)?;
        Ok(Vocab::Bpe { vocab, merges })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Vocab::Bpe { vocab, .. } => vocab.len(),
            Vocab::Unigram(scored) => scored.len(),
        }
    }

    /// Ids by text.
    pub fn ids(&self) -> HashMap<&str, u32> {
        match self {
            Vocab::Bpe { vocab, .. } => vocab.iter().map(|(text, id)| (text.as_str(), *id)).collect(),
            Vocab::Unigram(scored) => scored.iter().zip(0..).map(|((text, _), id)| (text.as_str(), id)).collect(),
        }
    }
}
