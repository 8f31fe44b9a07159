//! GGUF metadata comes down to the tokenizer it was made from.

use super::charsmap::{MAP, charsmap};
use super::support::{Pair, Random, source, tricky};
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
    kimi-k2 ufakzeka laguna exaone-moe minicpm5 jais-2 granite-embed-multi-97m afmoe";

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

/// A map of characters as the metadata has it.
fn map(entries: &[(&str, &str)]) -> Vec<u8> {
    base64::decode(charsmap(entries)).unwrap()
}

/// T5's own: characters rewritten, white space at the ends and in runs dropped, a space before each word.
#[test]
fn unigram_with_a_map_of_characters() {
    let parts = [
        "hello", " ", "  ", "▁", "\t", "\r\n", "e\u{301}", "\u{301}", "ﬁ", "é", "the", "ﬁ ", "日", "\u{ad}", " \u{301}",
    ];
    for (remove, prefix) in [(Some(true), None), (None, None), (None, Some(false))] {
        let gguf = GgufTokenizer {
            model: "t5".into(),
            charsmap: map(MAP),
            remove_extra_whitespaces: remove,
            add_space_prefix: prefix,
            ..llama()
        };
        let size = gguf.tokens.len();
        let token = |text: &str| gguf.tokens.iter().position(|t| t == text).unwrap() as u32;
        let pair = Pair::new(&TokenizerSource::Gguf(gguf.clone()), size);
        if remove.is_some() {
            let ids = [token("▁hello"), token("▁t"), token("he"), token("▁hello"), 2];
            assert_eq!(pair.encode("  hello \t the▁▁hello \r\n", true, false), ids);
            assert_eq!(pair.encode(" \t ▁", true, false), [2]);
        }
        for text in tricky().iter().filter(|text| !["<s>", "</s>", "<unk>", "[PAD]"].iter().any(|s| text.contains(s))) {
            pair.check(text);
        }
        let mut random = Random(93);
        for _ in 0..2000 {
            let text: String = (0..random.below(9)).map(|_| parts[random.below(parts.len())]).collect();
            pair.check(&text);
        }
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
            "minicpm5" | "youtu" | "glm4" | "granite-embed-multi-97m" => assert_eq!(with_bos, [hello]),
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

/// Gemma 4's kind: marks for spaces, the file's own merges, bytes for what has no token.
#[test]
fn merges_of_marks() {
    let merges = ["h e", "▁ t", "▁t he", "l l", "he ll", "hell o", "▁ hello", "e r"].map(str::to_string).to_vec();
    let gemma4 = GgufTokenizer {
        model: "gemma4".into(),
        merges,
        add_bos: Some(false),
        add_space_prefix: Some(false),
        ..llama()
    };
    let size = gemma4.tokens.len();
    let token = |text: &str| gemma4.tokens.iter().position(|t| t == text).unwrap() as u32;
    let by_name = |name: &str| GgufTokenizer { model: "gpt2".into(), pre: Some(name.into()), ..gemma4.clone() };
    for (gguf, bos) in [
        (gemma4.clone(), true),
        (by_name("gemma4"), true),
        (by_name("granite-embed-multi-311m"), true),
        (by_name("sarvam-moe"), false),
    ] {
        let pair = Pair::new(&TokenizerSource::Gguf(gguf), size);
        let ids = pair.encode("hello the hello\n", true, false);
        let text = [token("hello"), token("▁the"), token("▁hello"), 3 + u32::from(b'\n')];
        // Gemma 4's text begins with BOS whatever the file says.
        assert_eq!(ids, if bos { [&[1], &text[..]].concat() } else { text.to_vec() });
        pair.round_trip(" a  hello\n\n the");
        for text in tricky() {
            pair.check(&text);
        }
        pair.fuzz(23, 800);
    }
    let prefixed = GgufTokenizer { add_space_prefix: Some(true), ..gemma4 };
    let error = compile(&TokenizerSource::Gguf(prefixed), size).unwrap_err();
    assert!(error.message().contains("add_space_prefix") && error.message().contains("Hugging Face"), "{error}");
}

#[test]
fn groups_of_three_are_counted_from_the_last() {
    let tokens: Vec<String> = super::support::bytes_alphabet().into_iter().chain(["12".into(), "234".into()]).collect();
    let size = tokens.len();
    let gguf = GgufTokenizer {
        model: "gpt2".into(),
        pre: Some("afmoe".into()),
        merges: ["1 2", "3 4", "2 34"].map(str::to_string).to_vec(),
        tokens: tokens.into_iter().chain(["34".into()]).collect(),
        ..GgufTokenizer::default()
    };
    let pair = Pair::new(&TokenizerSource::Gguf(gguf), size + 1);
    // `1`, `234`: no group has the `12`.
    assert_eq!(pair.encode("1234", false, false)[1..], [size as u32 - 1]);
    for digits in 1..12 {
        pair.check(&format!("a{} ½{}", &"123456789012"[..digits], &"210987654321"[..digits]));
    }
}

#[test]
fn what_is_unknown_is_named() {
    let named = |gguf: GgufTokenizer, name: &str| {
        let size = gguf.tokens.len();
        let error = compile(&TokenizerSource::Gguf(gguf), size).unwrap_err();
        assert!(error.message().contains(name), "{error}");
    };
    named(GgufTokenizer { model: "bert".into(), ..llama() }, "\"bert\"");
    named(GgufTokenizer { model: "whitespace".into(), ..llama() }, "jina-embeddings-v2-base-zh");
    let whitespace = GgufTokenizer { model: "gpt2".into(), pre: Some("whitespace".into()), ..llama() };
    named(whitespace, "use a model that generates text");
    named(GgufTokenizer { model: "t5".into(), charsmap: vec![1; 9], ..llama() }, "precompiled_charsmap");
    for charsmap in [Vec::new(), map(&[("ﬁ", "fi")]), map(&[("▁", " "), ("_", "▁")])] {
        let gguf = GgufTokenizer { model: "t5".into(), remove_extra_whitespaces: Some(true), charsmap, ..llama() };
        named(gguf.clone(), "remove_extra_whitespaces");
        named(gguf, "Hugging Face directory");
    }
    let unprefixed = GgufTokenizer {
        model: "t5".into(),
        remove_extra_whitespaces: Some(true),
        add_space_prefix: Some(false),
        charsmap: map(MAP),
        ..llama()
    };
    named(unprefixed, "add_space_prefix");
    named(GgufTokenizer { model: "t5".into(), unk: None, ..llama() }, "unk_id");
    named(GgufTokenizer { model: "gpt2".into(), pre: Some("unheard-of".into()), ..llama() }, "\"unheard-of\"");
    named(GgufTokenizer { model: "gpt2".into(), pre: Some("unheard-of".into()), ..llama() }, "Hugging Face directory");
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
