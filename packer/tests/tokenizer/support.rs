//! A compiled tokenizer and its judge, side by side.

use rasp::Result;
use rasp::format::{Bytes, File, Writer, key};
use rasp::text::{EncodeOptions, Tokenizer};
use rasp_packer::import::TokenizerSource;
use rasp_packer::tokenizer::{Compiled, compile, tokenizer_json};
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::{AddedToken, Tokenizer as Oracle};

/// The bytes of a `.rasp` file with nothing but these tensors.
pub fn file_bytes(compiled: &Compiled) -> Vec<u8> {
    file_with(compiled, &[(key::TOKENIZER, compiled.settings_json.clone())])
}

/// The same, with metadata of the caller's.
pub fn file_with(compiled: &Compiled, metadata: &[(&str, String)]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.rasp");
    let specs = compiled.tensors.iter().map(|(spec, _)| spec.clone()).collect();
    let mut writer = Writer::create(&path, metadata, specs).unwrap();
    for (spec, bytes) in &compiled.tensors {
        writer.tensor(&spec.name, bytes).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

pub fn open(compiled: &Compiled) -> Result<Tokenizer> {
    Tokenizer::open(&File::open(Bytes::copy(&file_bytes(compiled)).unwrap())?)
}

/// A Hugging Face source of nothing but a `tokenizer.json`.
pub fn source(json: &Value) -> TokenizerSource {
    TokenizerSource::HuggingFace {
        tokenizer_json: serde_json::to_vec(json).unwrap(),
        tokenizer_config: None,
        generation_config: None,
        config: json!({}),
    }
}

/// A compiled tokenizer and its judge.
pub struct Pair {
    pub ours: Tokenizer,
    /// Two judges, as switching one between reading special tokens and not empties its caches.
    plain: Oracle,
    parsing: Oracle,
}

impl Pair {
    pub fn new(source: &TokenizerSource, vocab_size: usize) -> Pair {
        let ours = open(&compile(source, vocab_size).unwrap()).unwrap();
        let parsing = Oracle::from_bytes(tokenizer_json(source).unwrap()).unwrap();
        let mut plain = parsing.clone();
        plain.set_encode_special_tokens(true);
        Pair { ours, plain, parsing }
    }

    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        self.ours.encode(text, EncodeOptions { add_special, parse_special }, &mut ids).unwrap();
        ids
    }

    /// What `tokenizers` makes of ids.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.parsing.decode(ids, false).unwrap()
    }

    /// Fails unless both give the same ids for `text`.
    pub fn check(&self, text: &str) {
        for (oracle, parse_special) in [(&self.plain, false), (&self.parsing, true)] {
            let expected = oracle.encode_fast(text, true).unwrap();
            let ids = self.encode(text, true, parse_special);
            if ids != expected.get_ids() {
                let at = ids.iter().zip(expected.get_ids()).take_while(|(a, b)| a == b).count();
                let near = |ids: &[u32]| format!("{:?}", &ids[at.saturating_sub(3)..ids.len().min(at + 8)]);
                let start: String = text.chars().take(200).collect();
                panic!(
                    "{start:?}… (parse_special {parse_special}), from id {at}: {}, expected {}",
                    near(&ids),
                    near(expected.get_ids())
                );
            }
        }
        let expected = self.plain.encode_fast(text, false).unwrap();
        assert_eq!(self.encode(text, false, false), expected.get_ids(), "{text:?} without special tokens");
    }

    /// Fails unless the ids of `text` decode to its very bytes.
    pub fn round_trip(&self, text: &str) {
        let ids = self.encode(text, false, true);
        assert!(self.ours.decode(&ids, false).unwrap() == text.as_bytes(), "{:.200}", text);
    }

    /// `check` on many random texts.
    pub fn fuzz(&self, seed: u64, rounds: usize) {
        let mut random = Random(seed);
        for _ in 0..rounds {
            self.check(&random.text());
        }
    }
}

/// xorshift64*: the same texts on every machine.
pub struct Random(pub u64);

/// What texts are made of: whatever patterns tell apart.
const PIECES: [&str; 72] = [
    " ",
    "  ",
    "   ",
    "\n",
    "\r\n",
    "\n\n",
    "\t",
    "\u{b}",
    "\u{c}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{2003}",
    "\u{3000}",
    "\u{200b}",
    "\u{feff}",
    "\u{0}",
    "\u{1f}",
    "\u{7f}",
    "a",
    "e",
    "th",
    "the",
    " the",
    "ing",
    "Hello",
    "WORLD",
    "x1y2",
    "'s",
    "'S",
    "'t",
    "'re",
    "'VE",
    "'ll",
    "'",
    "\u{17f}",
    "’s",
    "''",
    "0",
    "7",
    "12",
    "345",
    "2024",
    "\u{664}",
    "\u{0967}",
    "½",
    "²",
    "Ⅷ",
    "一",
    ".",
    ",",
    "!?",
    "...",
    "(",
    "_",
    "-",
    "▁",
    "▁the",
    "é",
    "e\u{301}",
    "\u{301}",
    "ﬁ",
    "Å",
    "日本",
    "한국",
    "ᄒ\u{1161}",
    "Привет",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "🇫🇷",
    "<s>",
    "<|end|>",
];

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn char(&mut self) -> char {
        // Mostly from where scripts are; sometimes from anywhere.
        let limit = [0x80, 0x250, 0x3000, 0x1_0000, 0x2_0000, 0x11_0000][self.below(6)];
        char::from_u32(self.below(limit) as u32).unwrap_or('\u{fffd}')
    }

    pub fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(24) {
            match self.below(8) {
                0 => text.push(self.char()),
                1 => text.extend(std::iter::repeat_n(self.char(), 1 + self.below(40))),
                _ => text.push_str(PIECES[self.below(PIECES.len())]),
            }
        }
        text
    }
}

/// Texts that have broken tokenizers.
pub fn tricky() -> Vec<String> {
    let mut all: Vec<String> = PIECES.iter().map(|s| s.to_string()).collect();
    for text in [
        "",
        "The capital of France is",
        "I'm you're he's WE'LL they'd've",
        "don't DON'T 'tis 'S's",
        "a\u{a0}b\u{85}c\u{2028}d",
        "tab\tand\u{b}vertical",
        "x  \n  y",
        "\r\n\r\n",
        " \r \n ",
        "trailing   ",
        "   leading",
        "   ",
        "3.14159 1,000,000 1e-9",
        "١٢٣ १२३ Ⅳ ½ ²",
        "e\u{301}\u{301}e",
        "\u{1100}\u{1161}\u{11a8}",
        "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
        "👩‍👩‍👧‍👦👍🏽🏳️‍🌈",
        "fn main() {\n    println!(\"{}\", x);\n}\n",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>",
        "<|im_start|",
        "a<|endoftext|>b",
        "<s> </s><s>x",
        " <s> x </s> ",
        "\u{0}\u{1}\u{2}\u{1b}[0m",
        "ſ'ſ 'ſ",
        "▁a ▁ b▁▁c",
        "<0x0A> <0xff>",
        "\u{10ffff}\u{e000}\u{fffe}",
        "https://example.com/?q=a%20b&c=d#e",
        "C’est l’été à Genève — «oui»",
        "中文没有空格，标点。",
        "ไทย ภาษา",
        "עברית العربية",
    ] {
        all.push(text.to_string());
    }
    for (piece, count) in
        [("a", 300), (" ", 300), ("\n", 300), ("ab ", 100), ("1", 100), ("é", 100), ("😀", 50), ("\u{301}", 70)]
    {
        all.push(piece.repeat(count));
        all.push(format!("x{}y", piece.repeat(count)));
    }
    all
}

/// Text to train small vocabularies on.
fn corpus() -> Vec<String> {
    let prose = include_str!("../../../docs/design.md");
    let mut all: Vec<String> = prose.lines().map(|l| format!("{l}\n")).collect();
    all.extend(tricky());
    all
}

/// A `tokenizer.json` with these rules and a small vocabulary trained under them. `model` overrides the model's flags.
pub fn trained(rules: Value, specials: &[AddedToken], vocab: usize, model: &Value) -> Value {
    let mut json = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": {}, "merges": []}});
    merge(&mut json, &rules);
    let byte_level = json["decoder"]["type"] == "ByteLevel";
    let mut oracle = Oracle::from_bytes(serde_json::to_vec(&json).unwrap()).unwrap();
    let mut builder = BpeTrainer::builder().vocab_size(vocab).show_progress(false).special_tokens(specials.to_vec());
    if byte_level {
        builder = builder
            .initial_alphabet(tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect());
    } else {
        // So few that some are left without a token.
        builder = builder.limit_alphabet(90);
    }
    let mut trainer = TrainerWrapper::BpeTrainer(builder.build());
    oracle.with_model(ModelWrapper::BPE(BPE::default()));
    oracle.train(&mut trainer, corpus().into_iter()).unwrap();
    let mut json: Value = serde_json::from_str(&oracle.to_string(false).unwrap()).unwrap();
    merge(&mut json["model"], model);
    json
}

/// Overrides the keys of `base` that `with` has.
pub fn merge(base: &mut Value, with: &Value) {
    for (key, value) in with.as_object().unwrap() {
        base[key] = value.clone();
    }
}

/// One more than the largest id.
pub fn vocab_size(json: &Value) -> usize {
    let added = json["added_tokens"].as_array().unwrap().iter().map(|t| &t["id"]);
    let ids = json["model"]["vocab"].as_object().unwrap().values().chain(added);
    ids.map(|id| id.as_u64().unwrap() as usize).max().unwrap() + 1
}

pub fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": use_regex})
}

/// GPT-2's spelling of every byte, in order.
pub fn bytes_alphabet() -> Vec<String> {
    let mut others = 0x100u32..;
    let printable = |b: u32| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    (0..256)
        .map(|b| char::from_u32(if printable(b) { b } else { others.next().unwrap() }).unwrap().to_string())
        .collect()
}
