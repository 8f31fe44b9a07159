//! The kinds of tokenizer in the wild, each with a small vocabulary of its own.

use super::support::{Pair, byte_level, source, trained, tricky, vocab_size};
use serde_json::{Value, json};
use tokenizers::AddedToken;

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub fn specials() -> Vec<AddedToken> {
    ["<s>", "</s>", "<|end|>", "<unk>"].map(|name| AddedToken::from(name, true)).to_vec()
}

fn split(regex: &str, behavior: &str, invert: bool) -> Value {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert})
}

fn sequence(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": steps})
}

fn bos_template() -> Value {
    json!({"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}})
}

fn check_all(json: &Value, seed: u64, bytes: bool) {
    check_with(json, seed, bytes, 6000);
}

/// The same with fewer random texts.
fn check_some(json: &Value, seed: u64, bytes: bool) {
    check_with(json, seed, bytes, 800);
}

fn check_with(json: &Value, seed: u64, bytes: bool, rounds: usize) {
    let size = vocab_size(json);
    let pair = Pair::new(&source(json), size + 5);
    assert_eq!(pair.ours.vocab_size(), size + 5);
    assert_eq!(pair.ours.token_bytes(size as u32 + 4), Some(&[][..]));
    for text in tricky() {
        pair.check(&text);
        if bytes {
            pair.round_trip(&text);
        }
    }
    pair.fuzz(seed, rounds);
}

pub fn byte_level_rules(pre_tokenizer: Value) -> Value {
    json!({"pre_tokenizer": pre_tokenizer, "decoder": byte_level(true, true)})
}

#[test]
fn gpt2() {
    check_all(&trained(byte_level_rules(byte_level(false, true)), &specials(), 900, &json!({})), 2, true);
}

#[test]
fn gpt2_with_a_prefix_space_and_templates() {
    let mut rules = byte_level_rules(byte_level(true, true));
    rules["post_processor"] = json!({"type": "Sequence", "processors": [byte_level(true, false), bos_template()]});
    check_all(&trained(rules, &specials(), 700, &json!({})), 3, false);
}

#[test]
fn llama3() {
    let mut rules = byte_level_rules(sequence(&[split(LLAMA3, "Isolated", false), byte_level(false, false)]));
    rules["post_processor"] = json!({"type": "Sequence", "processors": [byte_level(true, false), bos_template()]});
    let json = trained(rules, &specials(), 1000, &json!({"ignore_merges": true}));
    check_all(&json, 4, true);
    // The same words without their merges: only `ignore_merges` finds them.
    let mut json = json;
    let merges = json["model"]["merges"].as_array_mut().unwrap();
    merges.truncate(100);
    check_all(&json, 5, true);
    json["model"]["ignore_merges"] = false.into();
    check_all(&json, 6, true);
}

#[test]
fn qwen2() {
    let mut rules = byte_level_rules(sequence(&[split(QWEN2, "Isolated", false), byte_level(false, false)]));
    rules["normalizer"] = json!({"type": "NFC"});
    let json = trained(rules, &specials(), 800, &json!({}));
    check_all(&json, 7, false);
    // Every character, alone and with marks of three classes after it and one before the next.
    let pair = Pair::new(&source(&json), vocab_size(&json));
    let all: Vec<char> = ('\0'..='\u{30000}').collect();
    for block in all.chunks(512) {
        pair.check(&block.iter().collect::<String>());
        let marked = block.iter().flat_map(|&c| [c, '\u{301}', '\u{323}', '\u{338}', c, '\u{308}', '\u{304}']);
        pair.check(&marked.collect::<String>());
    }
    // Marks next to marks, and Hangul letters next to each other.
    let mut random = super::support::Random(77);
    for _ in 0..3000 {
        let pools = [
            "a\u{300}\u{327}\u{323}e\u{301}\u{304}\u{345}\u{5b0}\u{f71}\u{f72}\u{93c}क\u{9c7}\u{9be}",
            "\u{1100}\u{1161}\u{11a8}\u{1112}\u{1175}\u{11c2}가각\u{11a7}\u{1176}",
        ];
        let pool: Vec<char> = pools[random.below(2)].chars().collect();
        let text: String = (0..random.below(12)).map(|_| pool[random.below(pool.len())]).collect();
        pair.check(&text);
    }
}

#[test]
fn o200k_and_removed_gaps() {
    let rules = byte_level_rules(sequence(&[split(O200K, "Removed", true), byte_level(false, false)]));
    check_all(&trained(rules, &specials(), 800, &json!({})), 8, true);
    let words = byte_level_rules(sequence(&[split(r"\p{L}+|\d", "Removed", true), byte_level(false, false)]));
    check_all(&trained(words, &specials(), 500, &json!({})), 9, false);
    let gaps = byte_level_rules(sequence(&[
        split(r"[a-e]{1,3}?x|b{2,4}?|th(?=i)|\n(?!\n)", "Isolated", false),
        byte_level(false, true),
    ]));
    check_all(&trained(gaps, &specials(), 500, &json!({})), 10, true);
}

#[test]
fn digits_alone_and_together() {
    for individual in [true, false] {
        let digits = json!({"type": "Digits", "individual_digits": individual});
        let rules = byte_level_rules(sequence(&[digits, byte_level(false, true)]));
        check_all(&trained(rules, &specials(), 600, &json!({})), 11, true);
    }
}

#[test]
fn added_tokens_with_their_flags() {
    let mut added = specials();
    for (name, special, l, r) in [
        ("<mask>", true, true, false),
        ("<right>", true, false, true),
        ("the", false, false, false),
        ("<both>", false, true, true),
        ("  ", false, false, false),
        ("<|end", false, false, false),
    ] {
        added.push(AddedToken::from(name, special).lstrip(l).rstrip(r).normalized(false));
    }
    added.push(AddedToken::from("WORLD", false));
    added.push(AddedToken::from("é", false));
    let mut rules = byte_level_rules(byte_level(false, true));
    for normalizer in [Value::Null, json!({"type": "NFC"})] {
        rules["normalizer"] = normalizer;
        let json = trained(rules.clone(), &added, 700, &json!({}));
        let pair = Pair::new(&source(&json), vocab_size(&json));
        for text in [
            "a <mask> b",
            "\u{a0}<mask><mask>",
            "<right>  x<right>\n",
            " <both> <both> ",
            "the WORLD the  é e\u{301}",
            "<|end|><|end|",
            "<mask>  <right>  <mask>",
        ] {
            pair.check(text);
        }
        tricky().iter().for_each(|text| pair.check(text));
        pair.fuzz(12, 4000);
    }
}

/// The vocabulary of SentencePiece's making: bytes for what it lacks, or not.
fn sentence_piece(rules: Value, byte_fallback: bool, unknown: bool, fuse: bool) -> Value {
    let mut rules = rules;
    rules["post_processor"] = bos_template();
    let mut json = trained(rules, &specials(), 600, &json!({"byte_fallback": byte_fallback, "fuse_unk": fuse}));
    if unknown {
        json["model"]["unk_token"] = "<unk>".into();
    }
    let mut next = vocab_size(&json);
    if byte_fallback {
        for byte in 0..=255u8 {
            json["model"]["vocab"][format!("<0x{byte:02X}>")] = next.into();
            next += 1;
        }
    }
    json
}

fn marks_decoder(strip: bool) -> Value {
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if strip {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": steps})
}

fn marks_normalizer(prepend: bool) -> Value {
    let mut steps = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
    if prepend {
        steps.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
    }
    json!({"type": "Sequence", "normalizers": steps})
}

#[test]
fn llama2() {
    let rules = json!({"normalizer": marks_normalizer(true), "decoder": marks_decoder(true)});
    let json = sentence_piece(rules, true, true, true);
    check_all(&json, 13, false);
    let pair = Pair::new(&source(&json), vocab_size(&json));
    for text in tricky() {
        // Marks become spaces, and the text of special tokens has no space put before it; all else comes back.
        if !text.contains('▁') && !text.contains("<s>") && !text.contains("</s>") && !text.contains("<|end|>") {
            pair.round_trip(&text);
        }
    }
    assert_eq!(pair.ours.decode(&pair.encode("Hello é", true, false), true).unwrap(), "Hello é".as_bytes());
}

#[test]
fn sentence_piece_without_bytes_or_prefix() {
    for (fallback, unknown, fuse) in
        [(false, true, true), (false, true, false), (false, false, false), (true, false, false)]
    {
        let rules = json!({"normalizer": marks_normalizer(false), "decoder": marks_decoder(false)});
        check_all(&sentence_piece(rules, fallback, unknown, fuse), 14, false);
    }
    // Only some bytes have a token: then characters that need others are unknown.
    let rules = json!({"normalizer": marks_normalizer(false), "decoder": marks_decoder(false)});
    let mut json = sentence_piece(rules, true, true, true);
    json["model"]["vocab"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("<0xE") || name == "<0xE2>");
    check_all(&json, 15, false);
}

#[test]
fn metaspace() {
    for scheme in ["always", "first", "never"] {
        for split in [true, false] {
            let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
            let rules = json!({"pre_tokenizer": metaspace, "decoder": metaspace});
            check_all(&sentence_piece(rules, true, true, true), 16, false);
        }
    }
}

/// The text that `tokenizers` makes of ids, beside ours.
fn check_decoding(pair: &Pair, text: &str) {
    let ids = pair.encode(text, false, true);
    let ours = String::from_utf8_lossy(&pair.ours.decode(&ids, false).unwrap()).into_owned();
    assert_eq!(ours, pair.decode(&ids), "{text:?}");
}

#[test]
fn falcons_punctuation_and_what_becomes_of_matches() {
    let digits = json!({"type": "Digits", "individual_digits": false});
    let threes = split("[0-9][0-9][0-9]", "Isolated", false);
    let mut seed = 30;
    for behavior in ["Contiguous", "Isolated", "Removed", "MergedWithPrevious", "MergedWithNext"] {
        let punctuation = json!({"type": "Punctuation", "behavior": behavior});
        let steps = [punctuation, byte_level(false, true), digits.clone(), threes.clone()];
        // Falcon's own order: what follows ByteLevel sees a character a byte, some of which are numbers (`²`).
        let steps = sequence(&steps);
        check_some(&trained(byte_level_rules(steps), &specials(), 600, &json!({})), seed, behavior != "Removed");
        let words = sequence(&[split(r"\p{L}{1,3}|\s", behavior, false), byte_level(false, false)]);
        check_some(&trained(byte_level_rules(words), &specials(), 500, &json!({})), seed + 1, behavior != "Removed");
        seed += 2;
    }
    for simple in [
        json!({"type": "WhitespaceSplit"}),
        json!({"type": "Whitespace"}),
        json!({"type": "CharDelimiterSplit", "delimiter": "e"}),
    ] {
        let steps = sequence(&[simple, byte_level(false, false)]);
        check_some(&trained(byte_level_rules(steps), &specials(), 500, &json!({})), 41, false);
    }
}

#[test]
fn possessive_repetitions_give_nothing_back() {
    for regex in [
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        // What would match if they did.
        r"\d++5|x?+x|[^\S\n]?+ |\p{L}++",
    ] {
        let rules = byte_level_rules(sequence(&[split(regex, "Isolated", false), byte_level(false, false)]));
        check_some(&trained(rules, &specials(), 600, &json!({})), 50, true);
    }
}

#[test]
fn look_aheads_beyond_one_character() {
    for regex in [
        r"\d{1,3}(?=(?:\d{3})*\b)",
        r"\d(?=(\d{3})+(?!\d))",
        r"(?=(\d{3})+(?!\d))",
        r"th(?=e\s)|\w+(?!ing|\s+the)|.(?= the|\B)",
    ] {
        let rules = byte_level_rules(sequence(&[split(regex, "Isolated", false), byte_level(false, true)]));
        let json = trained(rules, &specials(), 600, &json!({}));
        check_some(&json, 60, true);
        let pair = Pair::new(&source(&json), vocab_size(&json));
        for n in 0..20 {
            let digits = &"12345678901234567890"[..n];
            for text in [digits.to_string(), format!("{digits}a"), format!("x{digits}.{digits}"), format!("{digits}½")]
            {
                pair.check(&text);
            }
        }
    }
}

#[test]
fn single_words_and_names_of_marks() {
    let mut added = specials();
    for (name, special) in [("the", false), ("WORLD", false), ("<|w|>", true)] {
        added.push(AddedToken::from(name, special).single_word(true).normalized(false));
    }
    added.push(AddedToken::from("and", false).single_word(true));
    let json = trained(byte_level_rules(byte_level(false, true)), &added, 600, &json!({}));
    let pair = Pair::new(&source(&json), vocab_size(&json));
    for text in [
        "the",
        "the ",
        "other the1 1the the.the",
        "é the",
        "thé the\u{301}",
        "_the the_ the-the",
        "WORLDWORLD WORLD",
        "x<|w|>y <|w|>y <|w|>",
        "and band and, andé ½and and½",
        "日the the日 ⅷthe \u{203f}the",
    ] {
        pair.check(text);
        check_decoding(&pair, text);
    }
    pair.fuzz(70, 800);

    // Names of marks are spaces when decoded, as Gemma's are.
    let rules = json!({"normalizer": marks_normalizer(false), "decoder": marks_decoder(false)});
    let mut json = sentence_piece(rules, true, true, true);
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    if !vocab.contains_key("▁▁") {
        vocab.insert("▁▁".into(), vocab.len().into());
        json["model"]["merges"].as_array_mut().unwrap().insert(0, json!(["▁", "▁"]));
    }
    let id = &json["model"]["vocab"]["▁▁"];
    let token = json!({"id": id, "content": "▁▁", "special": false, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false});
    json["added_tokens"].as_array_mut().unwrap().push(token);
    let pair = Pair::new(&source(&json), vocab_size(&json));
    for text in ["a  b", "a   b", "a▁▁b", "a ▁▁ b"] {
        pair.check(text);
        check_decoding(&pair, text);
    }
    pair.round_trip("a  b     c");
}

/// Gemma 3 splits at spaces when there are none any more.
#[test]
fn splits_of_texts_that_have_marks() {
    let normalizer = marks_normalizer(false);
    for step in [
        json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}),
        json!({"type": "Split", "pattern": {"String": "▁"}, "behavior": "MergedWithNext", "invert": false}),
        json!({"type": "Digits", "individual_digits": true}),
        json!({"type": "Punctuation", "behavior": "Isolated"}),
        split(r"▁?\w+|[^\w\s]+|\s+(?!\S)", "Isolated", false),
        json!({"type": "Sequence", "pretokenizers": [split(r"\S+", "Isolated", false), {"type": "Digits", "individual_digits": false}]}),
    ] {
        let rules = json!({"normalizer": normalizer, "pre_tokenizer": step, "decoder": marks_decoder(false)});
        check_some(&sentence_piece(rules, true, true, true), 80, false);
    }
}

#[test]
fn compatibility_characters() {
    let mut rules = byte_level_rules(byte_level(false, true));
    rules["normalizer"] = json!({"type": "NFKC"});
    let json = trained(rules, &specials(), 800, &json!({}));
    check_some(&json, 90, false);
    // Every character, alone and with marks.
    let pair = Pair::new(&source(&json), vocab_size(&json));
    let all: Vec<char> = ('\0'..='\u{30000}').collect();
    for block in all.chunks(512) {
        pair.check(&block.iter().collect::<String>());
        let marked = block.iter().flat_map(|&c| [c, '\u{301}', '\u{323}', c, '\u{3099}', '\u{1161}', '\u{11a8}']);
        pair.check(&marked.collect::<String>());
    }
}

/// SentencePiece's other kind: the best sum of scores, with bytes for what has no token, or without.
#[test]
fn unigram() {
    for (byte_fallback, prepend) in [(true, "always"), (false, "always"), (true, "never"), (false, "first")] {
        let metaspace =
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend, "split": prepend != "first"});
        let rules = json!({"pre_tokenizer": metaspace, "decoder": metaspace});
        let mut json = sentence_piece(rules, byte_fallback, true, true);
        let mut vocab: Vec<(String, u64)> = json["model"]["vocab"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(text, id)| (text.clone(), id.as_u64().unwrap()))
            .collect();
        vocab.sort_by_key(|&(_, id)| id);
        let mut random = super::support::Random(91);
        // Scores of few values, so that there are ties; special tokens are never worth it.
        let scored = vocab.iter().map(|(text, _)| match text.as_str() {
            "<s>" | "</s>" | "<|end|>" | "<unk>" => json!([text, -1e6]),
            _ => json!([text, -(random.below(7) as f64) - 0.1]),
        });
        json["model"] = json!({"type": "Unigram", "unk_id": 3, "vocab": scored.collect::<Vec<_>>(),
            "byte_fallback": byte_fallback});
        let size = vocab.len();
        let pair = Pair::new(&source(&json), size + 3);
        for text in tricky() {
            pair.check(&text);
        }
        pair.check("<0x0A> <0x41>\u{1}\u{2}\u{10ffff}é<0xff>");
        pair.fuzz(92, 800);
    }
}
