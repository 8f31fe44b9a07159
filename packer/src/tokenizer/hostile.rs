//! A `tokenizer.json` looked at before Hugging Face's `tokenizers` reads it, which trusts what it reads.

use super::bad;
use rasp::Result;
use rasp::text::MAX_TOKEN_BYTES;
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Mutex;

/// Ids at most: `tokenizers` makes room for all below the largest.
const MAX_ID: u64 = 1 << 24;

/// Fails on what is no JSON, on ids that no vocabulary has, and on added tokens longer than any: the automaton that
/// `tokenizers` makes of them takes time by the square of their length.
fn check(json: &[u8]) -> Result<()> {
    let value: Value = serde_json::from_slice(json).map_err(|e| bad(format_args!("tokenizer.json: {e}")))?;
    let added = value.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    let texts = added.clone().filter_map(|token| token.get("content").and_then(Value::as_str));
    if let Some(text) = texts.into_iter().find(|text| text.len() > MAX_TOKEN_BYTES) {
        let start: String = text.chars().take(16).collect();
        return Err(bad(format_args!(
            "the added token that begins with {start:?} has {} bytes; {MAX_TOKEN_BYTES} are the most",
            text.len()
        )));
    }
    let vocabulary = value.pointer("/model/vocab").and_then(Value::as_object).into_iter().flatten();
    let ids = added.map(|token| (token.get("content"), token.get("id")));
    let large = |id: &Value| id.as_u64().is_none_or(|id| id >= MAX_ID);
    if let Some((name, id)) = ids.into_iter().find_map(|(name, id)| Some((name, id.filter(|id| large(id))?))) {
        let name = name.and_then(Value::as_str).unwrap_or_default();
        return Err(bad(format_args!("added token {name:?} has the id {id}; ids are whole numbers below {MAX_ID}")));
    }
    match vocabulary.into_iter().find(|(_, id)| large(id)) {
        Some((name, id)) => {
            Err(bad(format_args!("token {name:?} has the id {id}; ids are whole numbers below {MAX_ID}")))
        }
        None => Ok(()),
    }
}

/// What `tokenizers` makes of it. Where it panics, that is an error and nothing is printed.
pub(super) fn read(json: &[u8]) -> Result<tokenizers::Tokenizer> {
    check(json)?;
    // One at a time: the hook is the process's.
    static HOOK: Mutex<()> = Mutex::new(());
    let turn = HOOK.lock();
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(|| tokenizers::Tokenizer::from_bytes(json)));
    set_hook(hook);
    drop(turn);
    match outcome {
        Ok(outcome) => outcome.map_err(|e| bad(e.to_string())),
        Err(_) => Err(bad("tokenizer.json: the library `tokenizers` cannot read it, and failed without saying why")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tokenizers_panics_at_is_refused() {
        let file = |added: &str, vocab: &str, more: &str| {
            format!(
                r#"{{"version":"1.0","added_tokens":[{added}],"model":{{"type":"BPE","vocab":{{{vocab}}},"merges":[]}}{more}}}"#
            )
        };
        let token = |id: &str| {
            format!(
                r#"{{"id":{id},"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}}"#
            )
        };
        assert!(read(file("", r#""a":0"#, "").as_bytes()).is_ok());
        let long = |bytes: usize| file(&token("1").replace("<s>", &"a".repeat(bytes)), r#""a":0"#, "");
        assert!(read(long(1024).as_bytes()).is_ok());
        assert!(
            read(long(100_000).as_bytes()).err().unwrap().message().contains("has 100000 bytes; 1024 are the most")
        );
        for (json, words) in [
            (file("", r#""a":2147483648"#, ""), "2147483648"),
            (file("", r#""a":-1"#, ""), "-1"),
            (file("", r#""a":0.5"#, ""), "0.5"),
            (file(&token("2147483648"), r#""a":0"#, ""), "<s>"),
            (file("", r#""a":0"#, r#","decoder":{"type":NaN}"#), "tokenizer.json"),
            ("[".repeat(100_000), "tokenizer.json"),
            ("{}".into(), ""),
        ] {
            let error = read(json.as_bytes()).err().unwrap();
            assert!(error.message().contains(words), "{error}");
        }
    }
}
