//! Tables and settings that no packer wrote: an error, or some tokens, but never a panic and never without end.

use super::charsmap::{MAP, charsmap};
use super::support::{Random, byte_level, file_with, open, source, trained, tricky, vocab_size};
use rasp::format::{Bytes, File, key};
use rasp::text::{EncodeOptions, NONE, Settings, Tokenizer, tensor};
use rasp::{Error, Result, Status};
use rasp_packer::tokenizer::{Compiled, compile};
use serde_json::{Value, json};
use tokenizers::AddedToken;

fn bytes_tokenizer() -> Compiled {
    let digits = json!({"type": "Digits", "individual_digits": true});
    let rules = json!({"decoder": byte_level(true, true),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level(false, true)]}});
    let json = trained(rules, &[AddedToken::from("<|end|>", true)], 500, &json!({}));
    compile(&source(&json), vocab_size(&json) + 3).unwrap()
}

fn chars_tokenizer() -> Compiled {
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true});
    let rules = json!({"pre_tokenizer": metaspace, "decoder": metaspace, "normalizer": {"type": "NFC"}});
    let json = trained(rules, &[AddedToken::from("<unk>", true)], 400, &json!({"unk_token": "<unk>"}));
    compile(&source(&json), vocab_size(&json)).unwrap()
}

/// With scores, form KC, a look-ahead beyond one character and a split's words.
fn scored_tokenizer() -> Compiled {
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let digits = json!({"type": "Split", "pattern": {"Regex": r"\d{1,3}(?=(?:\d{3})*\b)"}, "behavior": "MergedWithNext",
        "invert": false});
    let rules = json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [metaspace, digits]},
        "decoder": metaspace, "normalizer": {"type": "NFKC"}});
    let added = [AddedToken::from("<unk>", true), AddedToken::from("the", false).single_word(true).normalized(false)];
    let mut json = trained(rules, &added, 400, &json!({"unk_token": "<unk>"}));
    let mut vocab: Vec<_> = json["model"]["vocab"].as_object().unwrap().iter().collect();
    vocab.sort_by_key(|(_, id)| id.as_u64());
    let scored: Vec<Value> = vocab.into_iter().map(|(text, id)| json!([text, -id.as_f64().unwrap()])).collect();
    let rows = scored.len();
    json["model"] = json!({"type": "Unigram", "unk_id": 0, "vocab": scored, "byte_fallback": false});
    compile(&source(&json), rows).unwrap()
}

/// A map of characters, then lower case.
fn mapped_tokenizer() -> Compiled {
    let map = json!({"type": "Precompiled", "precompiled_charsmap": charsmap(MAP)});
    let rules = json!({"normalizer": {"type": "Sequence", "normalizers": [map, {"type": "Lowercase"}]},
        "pre_tokenizer": byte_level(false, true), "decoder": byte_level(true, true)});
    let json = trained(rules, &[AddedToken::from("<s>", true)], 300, &json!({}));
    compile(&source(&json), vocab_size(&json)).unwrap()
}

/// Uses a tokenizer in every way. What comes out does not matter.
fn use_all(tokenizer: &Tokenizer, texts: &[String]) {
    let size = tokenizer.vocab_size() as u32;
    for text in texts {
        let mut ids = vec![7];
        match tokenizer.encode(text, EncodeOptions { add_special: true, parse_special: true }, &mut ids) {
            Ok(()) => {
                assert!(ids[1..].iter().all(|&id| id < size));
                tokenizer.decode(&ids[1..], true).unwrap();
            }
            Err(error) => {
                assert_eq!(error.status(), Status::BadFile, "{error}");
                assert_eq!(ids, [7], "a failed encode leaves what was there");
            }
        }
    }
    for id in 0..size + 2 {
        assert_eq!(tokenizer.token_bytes(id).is_some(), id < size);
        let _ = (tokenizer.is_special(id), tokenizer.is_end(id));
    }
    assert_eq!(tokenizer.id_of(b"\xFF\xFF"), None);
    let _ = (tokenizer.id_of(b""), tokenizer.bos(), tokenizer.eos());
}

fn find(compiled: &Compiled, name: &str) -> usize {
    compiled.tensors.iter().position(|(spec, _)| spec.name == name).unwrap()
}

#[test]
fn bits_flipped_anywhere() {
    let mut texts = tricky();
    texts.push("ab ".repeat(3000));
    texts.push("a".repeat(5000));
    let mut random = Random(99);
    for good in [bytes_tokenizer(), chars_tokenizer(), scored_tokenizer(), mapped_tokenizer()] {
        use_all(&open(&good).unwrap(), &texts);
        let (mut opened, mut refused) = (0, 0);
        // Unigram has no merges.
        for tensor in (0..good.tensors.len()).filter(|&n| !good.tensors[n].1.is_empty()) {
            for round in 0..24 {
                let mut bad = good.clone();
                let bytes = &mut bad.tensors[tensor].1;
                for _ in 0..1 << (round / 4) {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
                match open(&bad) {
                    Ok(tokenizer) => {
                        opened += 1;
                        use_all(&tokenizer, &texts);
                    }
                    Err(error) => {
                        refused += 1;
                        assert_eq!(error.status(), Status::BadFile, "{error}");
                    }
                }
            }
        }
        assert!(opened > 20 && refused > 20, "{opened} opened, {refused} refused");
    }
}

#[test]
fn tables_too_short_too_long_or_gone() {
    for good in [bytes_tokenizer(), chars_tokenizer(), mapped_tokenizer()] {
        for n in 0..good.tensors.len() {
            let mut gone = good.clone();
            let (spec, _) = gone.tensors.remove(n);
            assert_eq!(open(&gone).err().unwrap().status(), Status::BadFile, "{}", spec.name);
            for rows in [0, 1, spec.shape[0] - 1, spec.shape[0] + 1, 2 * spec.shape[0]] {
                let mut bad = good.clone();
                let (spec, bytes) = &mut bad.tensors[n];
                let row = bytes.len() / spec.shape[0];
                bytes.resize(rows * row, 0);
                spec.shape[0] = rows;
                let texts = tricky();
                match open(&bad) {
                    Ok(tokenizer) => use_all(&tokenizer, &texts),
                    Err(error) => assert_eq!(error.status(), Status::BadFile, "{error}"),
                }
            }
            let mut flat = good.clone();
            let (spec, _) = &mut flat.tensors[n];
            spec.shape = match spec.shape.as_slice() {
                [one] => vec![1, *one],
                several => vec![several.iter().product()],
            };
            assert_eq!(open(&flat).err().unwrap().status(), Status::BadFile);
        }
    }
}

/// Replaces the u32 at `at` of a tensor.
fn with_u32(good: &Compiled, name: &str, at: usize, value: u32) -> Result<Tokenizer> {
    let mut bad = good.clone();
    let n = find(&bad, name);
    bad.tensors[n].1[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
    open(&bad)
}

fn refuses(outcome: Result<Tokenizer>) -> Error {
    let error = outcome.err().unwrap();
    assert_eq!(error.status(), Status::BadFile, "{error}");
    error
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let good = bytes_tokenizer();
    let vocab = good.tensors[find(&good, tensor::KIND)].1.len();
    assert!(refuses(with_u32(&good, tensor::OFFSETS, 0, 1)).message().contains("offsets"));
    refuses(with_u32(&good, tensor::OFFSETS, 7, 5000));
    refuses(with_u32(&good, tensor::OFFSETS, vocab, 3));
    refuses(with_u32(&good, tensor::INDEX, 0, vocab as u32));
    refuses(with_u32(&good, tensor::BYTE_IDS, 65, vocab as u32));
    refuses(with_u32(&good, tensor::MERGES, 2, vocab as u32));
    refuses(with_u32(&good, tensor::MERGES, 2, NONE));
    refuses(with_u32(&good, tensor::MERGE_INDEX, 0, 1 << 30));
}

/// An index without an empty slot, or of one row only, still ends each lookup.
#[test]
fn full_indexes_and_cyclic_merges_end() {
    let texts = [tricky().concat().repeat(20), "a".repeat(1 << 18)];
    for name in [tensor::INDEX, tensor::MERGE_INDEX] {
        let mut bad = bytes_tokenizer();
        let n = find(&bad, name);
        let slots = bad.tensors[n].1.len() / 4;
        bad.tensors[n].1 = (0..slots).flat_map(|i| (i as u32 % 200).to_le_bytes()).collect();
        use_all(&open(&bad).unwrap(), &texts);
    }
    // Every merge gives its own left side.
    let mut bad = bytes_tokenizer();
    let n = find(&bad, tensor::MERGES);
    for row in bad.tensors[n].1.chunks_mut(12) {
        row.copy_within(0..4, 8);
    }
    use_all(&open(&bad).unwrap(), &texts);
}

/// An automaton that reads all that is left from every position and matches nothing.
#[test]
fn an_automaton_of_quadratic_time_is_stopped() {
    let mut bad = bytes_tokenizer();
    let n = find(&bad, &tensor::split(0, "next"));
    bad.tensors[n].1 = [1u16.to_le_bytes(); 1].concat().repeat(bad.tensors[n].1.len() / 2);
    let tokenizer = open(&bad).unwrap();
    let error = tokenizer.encode(&"a".repeat(1 << 20), EncodeOptions::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.status(), Status::BadFile);
}

#[test]
fn settings_that_cannot_be() {
    let good = bytes_tokenizer();
    let open_with = |metadata: &[(&str, String)]| {
        Tokenizer::open(&File::open(Bytes::copy(&file_with(&good, metadata)).unwrap()).unwrap())
    };
    assert!(refuses(open_with(&[])).message().contains("rasp.tokenizer"));
    let settings: Value = serde_json::from_str(&good.settings_json).unwrap();
    let mut cases: Vec<String> = ["", "{}", "[]", "null", "{\"alphabet\":"].map(str::to_string).to_vec();
    let mut case = |key: &str, value: Value| {
        let mut bad = settings.clone();
        bad[key] = value;
        cases.push(bad.to_string());
    };
    case("alphabet", json!("words"));
    case("a_later_rule", json!(true));
    for key in ["unknown", "bos", "eos"] {
        case(key, json!(1 << 20));
        case(key, json!(-1));
    }
    for key in ["prefix", "suffix", "end"] {
        case(key, json!([0, 1 << 20]));
    }
    let split = |table: usize| json!({"split": {"table": table, "drop_gaps": false}});
    case("stages", json!([split(1)]));
    case("stages", json!([split(0), split(1), split(2)]));
    case("stages", json!(vec![split(0); 9]));
    case("stages", json!([{"upside_down": {}}]));
    let replace = |from: &str, to: &str| json!({"replace": {"from": from, "to": to}});
    case("normalizer", json!([replace("", "a")]));
    case("normalizer", json!(vec![replace("a", "b"); 9]));
    let added = |id: u32, pattern: &str| json!({"id": id, "pattern": pattern, "special": true, "lstrip": false, "rstrip": false, "normalized": false});
    case("added", json!([added(1 << 20, "x")]));
    case("added", json!([added(0, "")]));
    case("added", json!([added(0, &"x".repeat(4097))]));
    for text in cases {
        refuses(open_with(&[(key::TOKENIZER, text)]));
    }
    // Settings that would fill memory are stopped when they do.
    let mut bomb: Settings = serde_json::from_value(settings).unwrap();
    bomb.normalizer = (0..8).map(|_| rasp::text::Rewrite::Replace { from: "a".into(), to: "a".repeat(4096) }).collect();
    let tokenizer = open_with(&[(key::TOKENIZER, serde_json::to_string(&bomb).unwrap())]).unwrap();
    let error = tokenizer.encode("banana", EncodeOptions::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.status(), Status::BadFile);
}
