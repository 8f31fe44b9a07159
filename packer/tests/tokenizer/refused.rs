//! What rasp cannot do exactly as `tokenizers` does is refused by name; and which tokens begin and end.

use super::support::{byte_level, merge, open, source, trained, vocab_size};
use rasp::Status;
use rasp_packer::import::TokenizerSource;
use rasp_packer::tokenizer::compile;
use serde_json::{Value, json};
use tokenizers::AddedToken;

fn gpt2() -> Value {
    let specials = ["<s>", "</s>", "<|im_end|>"].map(|name| AddedToken::from(name, true));
    trained(
        json!({"pre_tokenizer": byte_level(false, true), "decoder": byte_level(true, true)}),
        &specials,
        300,
        &json!({}),
    )
}

#[test]
fn rules_that_are_not_known() {
    let refuse = |change: Value, names: &str| {
        let mut json = gpt2();
        let size = vocab_size(&json);
        merge(&mut json, &change);
        let error = compile(&source(&json), size).unwrap_err();
        assert_eq!(error.status(), Status::Unsupported, "{error}");
        assert!(error.message().contains(names), "{error}");
    };
    refuse(json!({"normalizer": {"type": "Lowercase"}}), "Lowercase");
    refuse(json!({"normalizer": {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"}}), "Regex");
    refuse(json!({"pre_tokenizer": {"type": "Whitespace"}}), "Whitespace");
    refuse(json!({"pre_tokenizer": null}), "ByteLevel");
    refuse(json!({"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}}), "WordPiece");
    refuse(json!({"decoder": null}), "decoder");
    let split = |regex: &str, behavior: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": false});
        json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level(false, false)]}})
    };
    refuse(split("a(?=bc)", "Isolated"), "a(?=bc)");
    refuse(split("(?<=a)b", "Isolated"), "(?<=a)b");
    refuse(split("a", "MergedWithNext"), "MergedWithNext");
    let sep = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}});
    refuse(json!({"post_processor": sep}), "TemplateProcessing");
    let word = json!([{"id": 0, "content": "<s>", "special": true, "single_word": true, "lstrip": false, "rstrip": false, "normalized": false}]);
    refuse(json!({"added_tokens": word}), "single_word");
    refuse(json!({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]]}}), "Unigram");
    refuse(json!({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "</w>"}}), "</w>");
    let long = "a".repeat(2000);
    refuse(json!({"model": {"type": "BPE", "vocab": {(long): 0}, "merges": []}}), "2000 bytes");
}

#[test]
fn json_that_is_none() {
    let of = |text: &str| TokenizerSource::HuggingFace {
        tokenizer_json: text.into(),
        tokenizer_config: None,
        generation_config: None,
        config: json!({}),
    };
    for text in ["", "{}", "[1]", "{\"version\": \"9.0\"}"] {
        assert_eq!(compile(&of(text), 10).unwrap_err().status(), Status::BadFile, "{text}");
    }
    let json = gpt2();
    assert_eq!(compile(&source(&json), vocab_size(&json) - 1).unwrap_err().status(), Status::BadFile);
}

#[test]
fn beginnings_and_ends() {
    let json = gpt2();
    let ends = |tokenizer_config: Option<Value>, generation_config: Option<Value>, config: Value| {
        let source = TokenizerSource::HuggingFace {
            tokenizer_json: serde_json::to_vec(&json).unwrap(),
            tokenizer_config,
            generation_config,
            config,
        };
        let t = open(&compile(&source, vocab_size(&json)).unwrap()).unwrap();
        (t.bos(), t.eos(), t.end_tokens().to_vec())
    };
    let well_known = vec![1, 2];
    assert_eq!(ends(None, None, json!({})), (None, None, well_known.clone()));
    assert_eq!(ends(None, None, json!({"bos_token_id": 0, "eos_token_id": [5, 1]})), (Some(0), Some(5), vec![5, 1, 2]));
    let named = json!({"bos_token": null, "eos_token": {"content": "<|im_end|>", "lstrip": false}});
    assert_eq!(
        ends(Some(named), Some(json!({"eos_token_id": [7, 2]})), json!({"bos_token_id": 0, "eos_token_id": 9})),
        (None, Some(2), vec![2, 7, 9, 1])
    );
    let named = json!({"bos_token": "<s>", "eos_token": "no such token"});
    assert_eq!(ends(Some(named), Some(json!({"eos_token_id": 4})), json!({})).1, Some(4));
}
