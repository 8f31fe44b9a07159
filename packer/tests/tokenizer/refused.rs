//! What rasp cannot do exactly as `tokenizers` does is refused by name; and which tokens begin and end.

use super::support::{byte_level, merge, open, source, trained, vocab_size};
use rasp::Status;
use rasp::text::EncodeOptions;
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
    refuse(json!({"normalizer": {"type": "StripAccents"}}), "StripAccents");
    refuse(json!({"normalizer": {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"}}), "Regex");
    refuse(json!({"pre_tokenizer": {"type": "UnicodeScripts"}}), "UnicodeScripts");
    refuse(json!({"pre_tokenizer": null}), "ByteLevel");
    refuse(json!({"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}}), "WordPiece");
    refuse(json!({"decoder": null}), "decoder");
    let split = |regex: &str, behavior: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": false});
        json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level(false, false)]}})
    };
    refuse(split("a(?=b(?=cd))", "Isolated"), "a(?=b(?=cd))");
    refuse(split("a{1,3}+", "Isolated"), "a{1,3}+");
    refuse(split("(?:ab)++", "Isolated"), "(?:ab)++");
    refuse(split("(?<=a)b", "Isolated"), "(?<=a)b");
    let sep = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}});
    refuse(json!({"post_processor": sep}), "TemplateProcessing");
    refuse(json!({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]]}}), "Unigram");
    refuse(json!({"model": {"type": "WordPiece", "unk_token": "a", "vocab": {"a": 0}}}), "WordPiece");
    refuse(json!({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "</w>"}}), "</w>");
    let long = "a".repeat(2000);
    refuse(json!({"model": {"type": "BPE", "vocab": {(long): 0}, "merges": []}}), "2000 bytes");
}

/// Rules come first, so that nobody waits for a vocabulary to be read to hear that they are not known.
#[test]
fn rules_are_read_before_the_vocabulary() {
    let mut json = gpt2();
    json["normalizer"] = json!({"type": "StripAccents"});
    json["model"]["vocab"] = json!("no vocabulary at all");
    let error = compile(&source(&json), 300).unwrap_err();
    assert!(error.message().contains("StripAccents"), "{error}");
    json["normalizer"] = Value::Null;
    let error = compile(&source(&json), 300).unwrap_err();
    assert_eq!(error.status(), Status::BadFile, "{error}");
}

/// Gemma 3 names a token for images that its embedding has no row for.
#[test]
fn added_tokens_without_a_row_are_left_out_and_others_refused() {
    let mut json = gpt2();
    let size = vocab_size(&json);
    let token = json!({"id": size, "content": "<image>", "special": true, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false});
    json["added_tokens"].as_array_mut().unwrap().push(token);
    let compiled = compile(&source(&json), size).unwrap();
    assert_eq!(compiled.left_out, [format!("\"<image>\" ({size})")]);
    let ours = open(&compiled).unwrap();
    assert_eq!(ours.vocab_size(), size);
    let mut ids = Vec::new();
    ours.encode("<image>", EncodeOptions { add_special: false, parse_special: true }, &mut ids).unwrap();
    assert!(ids.len() > 1 && ids.iter().all(|&id| (id as usize) < size), "{ids:?}");
    assert!(compile(&source(&json), size + 1).unwrap().left_out.is_empty());

    // What texts need cannot be left out.
    let config = |key: &str| TokenizerSource::HuggingFace {
        tokenizer_json: serde_json::to_vec(&json).unwrap(),
        tokenizer_config: Some(json!({(key): "<image>"})),
        generation_config: None,
        config: json!({}),
    };
    for key in ["bos_token", "eos_token"] {
        let error = compile(&config(key), size).unwrap_err();
        assert_eq!(error.status(), Status::BadFile);
        assert!(error.message().contains("<image>") && error.message().contains("rows"), "{error}");
    }
    let error = compile(&source(&json), size - 1).unwrap_err();
    assert!(error.message().contains(&format!("the id {}", size - 1)), "{error}");
}

/// transformers' classes for Llama, Gemma and others put a text between tokens of their own choice.
#[test]
fn tokens_around_a_text_are_those_of_tokenizer_config() {
    let around = |tokenizer_config: Value| {
        let source = TokenizerSource::HuggingFace {
            tokenizer_json: serde_json::to_vec(&gpt2()).unwrap(),
            tokenizer_config: Some(tokenizer_config),
            generation_config: None,
            config: json!({}),
        };
        let ours = open(&compile(&source, vocab_size(&gpt2()))?)?;
        let mut ids = Vec::new();
        ours.encode("", EncodeOptions { add_special: true, parse_special: false }, &mut ids)?;
        Ok::<_, rasp::Error>(ids)
    };
    let named = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}});
    let with = |more: Value| {
        let mut config = named.clone();
        merge(&mut config, &more);
        config
    };
    let class = |name: &str| with(json!({"tokenizer_class": name}));
    assert_eq!(around(class("LlamaTokenizerFast")).unwrap(), [0]);
    assert_eq!(around(class("GemmaTokenizer")).unwrap(), [0]);
    assert_eq!(around(class("GPTNeoXTokenizer")).unwrap(), [0u32; 0]);
    assert_eq!(around(class("PreTrainedTokenizerFast")).unwrap(), [0u32; 0]);
    let both = json!({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false, "add_eos_token": true});
    assert_eq!(around(with(both)).unwrap(), [1]);
    // Classes that leave the post-processor alone leave these keys alone, too.
    let ignored = json!({"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": true});
    assert_eq!(around(with(ignored)).unwrap(), [0u32; 0]);
    assert_eq!(around(with(json!({"add_bos_token": true, "add_eos_token": true}))).unwrap(), [0, 1]);
    let none = around(json!({"tokenizer_class": "LlamaTokenizer", "bos_token": null})).unwrap_err();
    assert!(none.message().contains("bos_token"), "{none}");
    let wrong = around(with(json!({"tokenizer_class": "LlamaTokenizer", "add_bos_token": 1}))).unwrap_err();
    assert!(wrong.message().contains("add_bos_token"), "{wrong}");
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
