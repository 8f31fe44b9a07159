//! SentencePiece's `precompiled_charsmap`, and lower case, against `tokenizers`.

use super::patterns::{byte_level_rules, specials};
use super::support::{Pair, Random, byte_level, open, source, trained, tricky, vocab_size};
use rasp::Status;
use rasp_packer::tokenizer::compile;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A map as SentencePiece stores it: a double array of keys, each state's edges in 256 units of their own, and strings.
pub fn charsmap(entries: &[(&str, &str)]) -> String {
    #[derive(Default)]
    struct State {
        edges: BTreeMap<u8, usize>,
        value: Option<usize>,
    }
    let (mut states, mut strings) = (vec![State::default()], Vec::new());
    for (key, value) in entries {
        let mut at = 0;
        for byte in key.bytes() {
            let next = states.len();
            at = *states[at].edges.entry(byte).or_insert(next);
            if at == next {
                states.push(State::default());
            }
        }
        states[at].value = Some(strings.len());
        strings.extend(value.bytes().chain([0]));
    }
    let base = |state: usize| 256 * (state + 1);
    let mut units = vec![0u32; base(states.len())];
    let unit = |at: usize, label: u8, state: usize| {
        let leaf = u32::from(states[state].value.is_some()) << 8;
        ((at ^ base(state)) as u32) << 10 | leaf | u32::from(label)
    };
    units[0] = unit(0, 0, 0);
    for (state, State { edges, value }) in states.iter().enumerate() {
        if let Some(value) = value {
            units[base(state)] = 1 << 31 | *value as u32;
        }
        for (&byte, &next) in edges {
            let at = base(state) ^ usize::from(byte);
            units[at] = unit(at, byte, next);
        }
    }
    let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    base64::encode([&(bytes.len() as u32).to_le_bytes()[..], &bytes, &strings].concat())
}

/// Compositions, deletions, expansions, line ends; and beginnings of clusters that swallow what follows them.
pub const MAP: &[(&str, &str)] = &[
    ("\r\n", " "),
    ("\t", " "),
    ("\u{1}", ""),
    ("\u{ad}", ""),
    ("e\u{301}", "é"),
    ("e\u{323}", "ẹ"),
    ("e\u{323}\u{301}", "ẹ́!"),
    ("\u{e9}", "E"),
    ("\u{301}", "´"),
    ("ﬁ", "fi"),
    ("Ａ", "A"),
    ("①", "1"),
    ("™", "TM"),
    ("か\u{3099}", "が"),
    ("ｶ", "カ"),
    ("𝐀", "A"),
    ("⁉", ""),
    ("▁", " "),
    (" \u{301}", "´"),
];

fn with(normalizer: Value) -> Value {
    let mut rules = byte_level_rules(byte_level(false, true));
    rules["normalizer"] = normalizer;
    trained(rules, &specials(), 600, &json!({}))
}

/// Every character, between others that join it or do not, and at random.
fn check(json: &Value) {
    let pair = Pair::new(&source(json), vocab_size(json));
    for text in tricky() {
        pair.check(&text);
    }
    let all: Vec<char> = ('\0'..='\u{20000}').collect();
    for block in all.chunks(512) {
        pair.check(&block.iter().collect::<String>());
        let joined = block.iter().flat_map(|&c| ['e', c, '\u{301}', 'ﬁ', c, '\u{600}', c, 'e', '\u{323}']);
        pair.check(&joined.collect::<String>());
    }
    const PARTS: &[&str] = &[
        "e", "\u{301}", "\u{323}", "\u{200d}", "\u{600}", "\r", "\n", "\r\n", "ﬁ", "a", " ", "か", "\u{3099}", "\u{1}",
        "한", "\u{1161}", "\u{1100}", "é", "™", "©", "❤", "\u{fe0f}", "🇩", "क", "\u{94d}", "\u{93f}", "𝐀", "\u{ad}",
        "\0", "▁",
    ];
    let mut random = Random(41);
    for _ in 0..3000 {
        let len = random.below(14);
        let text: String = (0..len).map(|_| PARTS[random.below(PARTS.len())]).collect();
        pair.check(&text);
    }
    pair.fuzz(42, 1000);
}

#[test]
fn a_map_of_characters() {
    check(&with(json!({"type": "Precompiled", "precompiled_charsmap": charsmap(MAP)})));
}

/// One step of several, and with marks for spaces.
#[test]
fn a_map_before_marks() {
    let map = json!({"type": "Precompiled", "precompiled_charsmap": charsmap(MAP)});
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let rules = json!({"normalizer": {"type": "Sequence", "normalizers": [map, {"type": "Lowercase"}]},
        "pre_tokenizer": metaspace, "decoder": metaspace});
    let unknown = tokenizers::AddedToken::from("<unk>", true);
    check(&trained(rules, &[unknown], 600, &json!({"unk_token": "<unk>"})));
}

#[test]
fn lower_case() {
    check(&with(json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]})));
}

#[test]
fn maps_whose_clusters_are_not_told_are_refused_by_name() {
    for (key, word) in [("\u{1161}", "syllables"), ("한", "syllables"), ("©", "picture"), ("\u{600}a", "follows")] {
        let json = with(Value::Null);
        let size = vocab_size(&json);
        let mut json = json;
        json["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": charsmap(&[(key, "x")])});
        let error = compile(&source(&json), size).unwrap_err();
        assert!(error.status() == Status::Unsupported && error.message().contains(word), "{key:?}: {error}");
    }
}

#[test]
fn damaged_maps_are_refused() {
    let whole = base64::decode(charsmap(MAP)).unwrap();
    let (json, mut random) = (with(Value::Null), Random(43));
    let size = vocab_size(&json);
    for n in 0..60 {
        let mut bytes = whole.clone();
        match n % 3 {
            0 => bytes.truncate(random.below(whole.len())),
            // Units that lead anywhere, in loops too.
            1 => (0..40).for_each(|_| bytes[4 + random.below(whole.len() - 4)] = random.below(256) as u8),
            _ => bytes[..4].copy_from_slice(&(random.next() as u32).to_le_bytes()),
        }
        let mut json = json.clone();
        json["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": base64::encode(bytes)});
        // Whatever is not refused opens.
        if let Ok(compiled) = compile(&source(&json), size) {
            open(&compiled).unwrap();
        }
    }
}
