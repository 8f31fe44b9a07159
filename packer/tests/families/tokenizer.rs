//! The tokenizer of every tiny checkpoint: a token a byte, some merges, some special tokens, 288 in all.

use serde_json::{Map, Value, json};

/// Two tokens that become one, from id 256 on.
const MERGES: [(&str, &str); 28] = [
    ("t", "h"),
    ("th", "e"),
    ("i", "n"),
    ("e", "r"),
    ("a", "n"),
    ("r", "e"),
    ("o", "n"),
    ("a", "t"),
    ("e", "n"),
    ("o", "r"),
    ("e", "s"),
    ("i", "s"),
    ("i", "t"),
    ("s", "t"),
    ("Ġ", "a"),
    ("Ġ", "the"),
    ("o", "u"),
    ("Ġ", "s"),
    ("Ġ", "w"),
    ("n", "d"),
    ("Ġ", "c"),
    ("in", "g"),
    ("Ġ", "b"),
    ("Ġa", "nd"),
    ("Ġ", "o"),
    ("l", "l"),
    ("Ġ", "in"),
    ("Ġ", "f"),
];
/// From id 284 on.
const SPECIAL: [&str; 4] = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"];
/// What the embedding has rows for.
pub const VOCAB: usize = 256 + MERGES.len() + SPECIAL.len();

/// The character that stands for a byte in byte-level vocabularies (GPT-2's `bytes_to_unicode`).
fn letter(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match printable(byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|b| !printable(*b)).count() as u32;
            char::from_u32(256 + before).unwrap()
        }
    }
}

/// `tokenizer.json`.
pub fn json() -> Value {
    let mut vocab: Map<String, Value> = (0..=255u8).map(|b| (letter(b).to_string(), json!(b))).collect();
    vocab.extend(MERGES.iter().enumerate().map(|(i, (a, b))| (format!("{a}{b}"), json!(256 + i))));
    let special = SPECIAL.iter().enumerate().map(|(i, content)| {
        json!({"id": 256 + MERGES.len() + i, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    });
    let added: Vec<Value> = special.collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let merges: Vec<_> = MERGES.iter().map(|(a, b)| json!([a, b])).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": merges},
    })
}

/// The same as metadata of a GGUF file: key, type, value.
pub fn gguf() -> [(&'static str, &'static str, Value); 8] {
    let merged = MERGES.iter().map(|(a, b)| format!("{a}{b}"));
    let tokens = (0..=255u8).map(|b| letter(b).to_string()).chain(merged).chain(SPECIAL.map(String::from));
    let types = (0..VOCAB).map(|id| if id < VOCAB - SPECIAL.len() { 1 } else { 3 });
    let merges = MERGES.iter().map(|(a, b)| format!("{a} {b}"));
    [
        ("tokenizer.ggml.model", "string", json!("gpt2")),
        ("tokenizer.ggml.pre", "string", json!("gpt-2")),
        ("tokenizer.ggml.tokens", "array string", tokens.collect()),
        ("tokenizer.ggml.token_type", "array int32", types.collect()),
        ("tokenizer.ggml.merges", "array string", merges.collect()),
        ("tokenizer.ggml.bos_token_id", "uint32", json!(284)),
        ("tokenizer.ggml.eos_token_id", "uint32", json!(285)),
        ("tokenizer.ggml.add_bos_token", "bool", json!(false)),
    ]
}
