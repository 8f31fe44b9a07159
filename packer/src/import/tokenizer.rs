//! A checkpoint's tokenizer as its source has it, still to be understood.

use serde_json::Value;

/// The parts of a tokenizer, by source.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenizerSource {
    /// Files of a Hugging Face directory.
    HuggingFace {
        /// The bytes of `tokenizer.json`.
        tokenizer_json: Vec<u8>,
        /// `tokenizer_config.json`, where there is one.
        tokenizer_config: Option<Value>,
        /// `generation_config.json`, where there is one.
        generation_config: Option<Value>,
        /// `config.json`.
        config: Value,
    },
    /// Metadata of a GGUF file.
    Gguf(GgufTokenizer),
}

/// The `tokenizer.ggml.*` metadata of a GGUF file. Special ids are below `tokens.len()`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufTokenizer {
    /// The kind: `gpt2` is byte-level BPE, `llama` is SentencePiece's BPE, `t5` its Unigram.
    pub model: String,
    /// Which pre-tokenizer splits text, such as `llama-bpe` or `qwen2`.
    pub pre: Option<String>,
    /// Each token's text, by id; never empty.
    pub tokens: Vec<String>,
    /// Each token's kind (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte); as long as `tokens`, or
    /// empty.
    pub token_types: Vec<i32>,
    /// Each token's score; as long as `tokens`, or empty.
    pub scores: Vec<f32>,
    /// BPE merges, best first: two pieces with a space between.
    pub merges: Vec<String>,
    /// Beginning of text.
    pub bos: Option<u32>,
    /// End of text.
    pub eos: Option<u32>,
    /// End of turn.
    pub eot: Option<u32>,
    /// End of message.
    pub eom: Option<u32>,
    /// Unknown.
    pub unk: Option<u32>,
    /// Padding.
    pub pad: Option<u32>,
    /// Whether text is preceded by `bos`.
    pub add_bos: Option<bool>,
    /// Whether text is followed by `eos`.
    pub add_eos: Option<bool>,
    /// Whether text is preceded by a space.
    pub add_space_prefix: Option<bool>,
    /// Whether white space at the ends, and all but one of a run, is dropped.
    pub remove_extra_whitespaces: Option<bool>,
    /// SentencePiece's compiled normalizer (`precompiled_charsmap`); empty where there is none.
    pub charsmap: Vec<u8>,
}
