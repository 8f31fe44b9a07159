//! GGUF metadata comes down to the tokenizer it was made from.

use super::support::{Pair, source, tricky};
use rasp_packer::import::{GgufTokenizer, TokenizerSource};
use rasp_packer::tokenizer::compile;
use serde_json::json;

/// Llama 2 in small: scores instead of merges.
fn llama() -> GgufTokenizer {
    let mut tokens: Vec<(String, i32, f32)> =
        [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(t, kind)| (t.to_string(), kind, 0.0)).to_vec();
    tokens.extend((0..=255).map(|b| (format!("<0x{b:02X}>"), 6, 0.0)));
    let pieces =
        ["▁t", "he", "▁the", "in", "re", "▁a", "er", "on", "▁re", "▁there", "ll", "hell", "o▁", "hello", "▁hello"];
    tokens.extend(pieces.iter().enumerate().map(|(i, p)| (p.to_string(), 1, -(i as f32))));
    tokens.extend("▁abcdefghijklmnopqrstuvwxyz,.é".chars().map(|c| (c.to_string(), 1, -1e9)));
    tokens.push(("<|user|>".into(), 4, 0.0));
    tokens.push(("[PAD]".into(), 5, 0.0));
    tokens.push(("[PAD]".into(), 5, 0.0));
    GgufTokenizer {
        model: "llama".into(),
        token_types: tokens.iter().map(|t| t.1).collect(),
        scores: tokens.iter().map(|t| t.2).collect(),
        tokens: tokens.into_iter().map(|t| t.0).collect(),
        bos: Some(1),
        eos: Some(2),
        unk: Some(0),
        ..GgufTokenizer::default()
    }
}

#[test]
fn sentence_piece_by_scores() {
    let gguf = llama();
    let size = gguf.tokens.len();
    let token = |text: &str| gguf.tokens.iter().position(|t| t == text).unwrap() as u32;
    let pair = Pair::new(&TokenizerSource::Gguf(gguf.clone()), size);
    assert_eq!(pair.encode("there hello", true, false), [1, token("▁there"), token("▁hello")]);
    let byte = |b: u8| 3 + u32::from(b);
    assert_eq!(pair.encode("\n", true, false), [1, token("▁"), byte(b'\n')]);
    assert_eq!(pair.encode("<|user|>a", false, false), [token("<|user|>"), token("▁a")]);
    assert_eq!(pair.ours.end_tokens(), [2]);
    assert!(pair.ours.is_special(0) && !pair.ours.is_special(token("<|user|>")));
    assert_eq!(pair.ours.token_bytes(byte(0xFF)), Some(&[0xFF][..]));
    for text in tricky() {
        pair.check(&text);
    }
    pair.fuzz(20, 4000);

    let bare =
        GgufTokenizer { add_space_prefix: Some(false), add_bos: Some(false), add_eos: Some(true), ..gguf.clone() };
    let pair = Pair::new(&TokenizerSource::Gguf(bare), size);
    assert_eq!(pair.encode("hello", true, false), [token("hello"), 2]);
    pair.round_trip(" a  b");
}

/// Of each rule that llama.cpp has a name for, one name.
const PRES: &str = "default gpt-2 olmo smollm command-r llama-bpe dbrx glm4 qwen2 stablelm2 qwen35 gpt-4o tiny_aya tekken \
    deepseek-llm deepseek-coder deepseek-v3 spark2_5 youtu falcon bloom viking chameleon superbpe bailingmoe seed-coder \
    kimi-k2 ufakzeka laguna exaone-moe minicpm5 jais-2";

/// Gemma's runs of spaces are user-defined: in the file with spaces, in texts wherever spaces run together.
#[test]
fn runs_of_spaces_that_are_user_defined() {
    let mut gguf = llama();
    for (text, kind) in [("  ", 4), ("   ", 4), ("    ", 4)] {
        gguf.tokens.push(text.into());
        gguf.token_types.push(kind);
        gguf.scores.push(-1000.0);
    }
    gguf.add_space_prefix = Some(false);
    let size = gguf.tokens.len() as u32;
    let pair = Pair::new(&TokenizerSource::Gguf(gguf.clone()), size as usize);
    let a = gguf.tokens.iter().position(|t| t == "a").unwrap() as u32;
    let b = gguf.tokens.iter().position(|t| t == "b").unwrap() as u32;
    assert_eq!(pair.encode("a   b    a", false, false), [a, size - 2, b, size - 1, a]);
    pair.round_trip("a   b    a  b");
    for text in tricky() {
        pair.check(&text);
    }
    pair.fuzz(22, 1000);
}

/// The same vocabulary, cut by the sum of scores.
#[test]
fn unigram_by_scores() {
    let gguf = GgufTokenizer { model: "t5".into(), ..llama() };
    let size = gguf.tokens.len();
    let token = |text: &str| gguf.tokens.iter().position(|t| t == text).unwrap() as u32;
    let pair = Pair::new(&TokenizerSource::Gguf(gguf.clone()), size);
    // `▁t` (0), `he` (−1) and `re` (−4) are better than `▁there` (−9), `▁hello` than its parts; and an end follows.
    assert_eq!(pair.encode("there hello", true, false), [token("▁t"), token("he"), token("re"), token("▁hello"), 2]);
    for text in tricky().iter().filter(|text| !["<s>", "</s>", "<unk>", "[PAD]"].iter().any(|s| text.contains(s))) {
        pair.check(text);
    }
}

#[test]
fn byte_level_by_name() {
    let bytes: Vec<String> = super::support::bytes_alphabet();
    let mut tokens = bytes.clone();
    tokens.extend(["he", "ll", "hell", "hello", "<|begin|>", "<|eot_id|>"].map(str::to_string));
    let mut token_types = vec![1; tokens.len()];
    let size = tokens.len();
    token_types[size - 2..].fill(3);
    let gguf = |pre: &str| GgufTokenizer {
        model: "gpt2".into(),
        pre: Some(pre.into()),
        tokens: tokens.clone(),
        token_types: token_types.clone(),
        merges: ["h e", "l l", "he ll"].map(str::to_string).to_vec(),
        bos: Some(size as u32 - 2),
        eos: Some(size as u32 - 1),
        ..GgufTokenizer::default()
    };
    for pre in PRES.split_whitespace() {
        let pair = Pair::new(&TokenizerSource::Gguf(gguf(pre)), size);
        let hello = size as u32 - 3;
        let with_bos = pair.encode("hello", true, false);
        match pre {
            // The merges stop at `hell`; Llama 3 takes a word that is a token as it is.
            "llama-bpe" | "tekken" => assert_eq!(with_bos, [size as u32 - 2, hello]),
            "minicpm5" | "youtu" | "glm4" => assert_eq!(with_bos, [hello]),
            "chameleon" => assert_eq!((with_bos[0], with_bos.len()), (size as u32 - 2, 3)),
            _ => assert_eq!(with_bos.len(), 2),
        }
        for text in tricky() {
            pair.check(&text);
        }
        pair.fuzz(21, 300);
    }
    // Without types, the ids that the file names are special.
    let untyped = GgufTokenizer { token_types: Vec::new(), ..gguf("gpt-2") };
    let pair = Pair::new(&TokenizerSource::Gguf(untyped), size);
    assert!(pair.ours.is_special(size as u32 - 1));
    assert_eq!(pair.ours.end_tokens(), [size as u32 - 1]);
}

#[test]
fn what_is_unknown_is_named() {
    let named = |gguf: GgufTokenizer, name: &str| {
        let size = gguf.tokens.len();
        let error = compile(&TokenizerSource::Gguf(gguf), size).unwrap_err();
        assert!(error.message().contains(name), "{error}");
    };
    named(GgufTokenizer { model: "bert".into(), ..llama() }, "\"bert\"");
    named(GgufTokenizer { model: "t5".into(), has_charsmap: true, ..llama() }, "precompiled_charsmap");
    named(
        GgufTokenizer { model: "t5".into(), remove_extra_whitespaces: Some(true), ..llama() },
        "remove_extra_whitespaces",
    );
    named(GgufTokenizer { model: "t5".into(), unk: None, ..llama() }, "unk_id");
    named(GgufTokenizer { model: "gpt2".into(), pre: Some("unheard-of".into()), ..llama() }, "\"unheard-of\"");
    named(GgufTokenizer { model: "gpt2".into(), pre: None, ..llama() }, "tokenizer.ggml.pre");
    named(GgufTokenizer { scores: Vec::new(), ..llama() }, "scores");
    let mut twice = llama();
    twice.tokens[300] = twice.tokens[299].clone();
    named(twice, "two tokens");
    let no_merge =
        GgufTokenizer { model: "gpt2".into(), pre: Some("gpt-2".into()), merges: vec!["ab".into()], ..llama() };
    named(no_merge, "merge \"ab\"");
    let small = compile(&TokenizerSource::Gguf(llama()), 10).unwrap_err();
    assert_eq!(small.status(), rasp::Status::BadFile);
    let _ = source(&json!({}));
}
