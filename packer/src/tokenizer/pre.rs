//! Pre-tokenizers that GGUF files know by name (`tokenizer.ggml.pre`), as steps that `tokenizer.json` would list.
//!
//! Names and rules are llama.cpp's (`src/llama-vocab.cpp`), but for possessive repetitions and classes, which it cannot
//! write and the tokenizers that it copies have. Where those normalize (NFC), so does rasp: a GGUF file does not say it.
//! Of its 91 names 87 are byte-level BPE and stand in the table below; [`is_marked`] has the three that write `▁` for
//! spaces; `whitespace` alone is refused.

use super::GPT2_PATTERN;
use serde_json::{Value, json};

pub(crate) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const O200K: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
/// Groups of three digits, counted from the last.
pub(crate) const RIGHT_TO_LEFT: &str = r"\d{1,3}(?=(?:\d{3})*\b)";

const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const UFAKZEKA: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const MINICPM5: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const YOUTU: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const KIMI: &str = concat!(
    r"[\p{Han}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const JAIS2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|",
    r"\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|",
    r"\s{1,2}(?!\S)|\s{1}",
);
const DEEPSEEK3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"##,
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const SPARK: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"##,
    r" ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+",
);
/// Letters of scripts with two cases, as old as the models that were made with them. Escaped are those that
/// normalization would change.
const DEEPSEEK_LETTERS: &str = concat!(
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\x{1F5F}-\x{1F7D}ᾀ-ᾴᾶ-ᾼ\x{1FBE}ῂ-ῄῆ-ῌ",
    r"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-\x{212D}ℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ",
    r"𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
);
/// Groups of three numbers, counted from the last.
const THREES: &str = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))";
const AFMOE_SCRIPTS: &str = "[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+";
const HAN_KANA: &str = "[一-龥぀-ゟ゠-ヿ]+";
const HAN_AND_HANGUL: &str = "[一-龥ࠀ-一가-퟿]+";
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// A step that splits, keeping all.
enum SplitStep {
    /// The matches of a pattern.
    Match(&'static str),
    /// Each digit alone.
    Digits,
    /// Digits that stand together.
    Numbers,
    /// Punctuation that stands together.
    Punctuation,
    /// Steps after this one see the bytes, each as a character. Otherwise none does.
    Bytes,
}

/// A pre-tokenizer.
pub(super) struct Pre {
    names: &'static [&'static str],
    steps: &'static [SplitStep],
    pub nfc: bool,
    pub ignore_merges: bool,
    /// Whether text is preceded by `bos` where the file does not say.
    pub add_bos: bool,
}

const fn pre(names: &'static [&'static str], steps: &'static [SplitStep]) -> Pre {
    Pre { names, steps, nfc: false, ignore_merges: false, add_bos: false }
}

use SplitStep::{Bytes, Digits, Match, Numbers, Punctuation};

const PRES: &[Pre] = &[
    pre(
        &["default"],
        &[Match(r"[\p{P}\$\+<=>\^~\|]+"), Match(GPT2_PATTERN), Match(r"\p{N}+"), Match("[0-9][0-9][0-9]")],
    ),
    pre(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "jais",
            "trillion",
            "granite-docling",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
        ],
        &[Match(GPT2_PATTERN)],
    ),
    Pre { nfc: true, ..pre(&["olmo", "mpt"], &[Match(GPT2_PATTERN)]) },
    pre(
        &["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[Digits, Match(GPT2_PATTERN)],
    ),
    Pre { nfc: true, ..pre(&["command-r"], &[Digits, Match(GPT2_PATTERN)]) },
    Pre {
        ignore_merges: true,
        add_bos: true,
        ..pre(
            &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
            &[Match(LLAMA3)],
        )
    },
    pre(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[Match(LLAMA3)]),
    Pre { ignore_merges: true, ..pre(&["glm4", "glm5"], &[Match(LLAMA3)]) },
    Pre { nfc: true, ..pre(&["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"], &[Match(QWEN2)]) },
    pre(&["stablelm2", "hunyuan", "solar-open", "grok-2"], &[Match(QWEN2)]),
    Pre { nfc: true, ..pre(&["qwen35"], &[Match(QWEN35)]) },
    pre(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[Match(O200K)]),
    Pre { ignore_merges: true, ..pre(&["granite-embed-multi-97m"], &[Match(O200K)]) },
    pre(&["tiny_aya", "cohere2moe"], &[Match(RIGHT_TO_LEFT), Match(O200K)]),
    Pre { ignore_merges: true, add_bos: true, ..pre(&["tekken"], &[Match(TEKKEN)]) },
    pre(
        &["deepseek-llm"],
        &[
            Match(r"[\r\n]"),
            Match(DEEPSEEK_LETTERS),
            Match(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            // Its `\s+$`, of pieces that have no line ends.
            Match(r"\s+(?![\s\S])"),
            Match(HAN_AND_HANGUL),
            Match(r"\p{N}+"),
        ],
    ),
    pre(
        &["deepseek-coder"],
        &[Match(r"[\r\n]"), Match(r"\s?\p{L}+"), Match(r"\s?\p{P}+"), Match(HAN_AND_HANGUL), Digits],
    ),
    pre(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[Match(r"\p{N}{1,3}"), Match(HAN_KANA), Match(DEEPSEEK3)],
    ),
    pre(&["afmoe"], &[Match(THREES), Match(AFMOE_SCRIPTS), Match(DEEPSEEK3)]),
    pre(&["spark2_5"], &[Match(r"\p{N}{1,3}"), Match(HAN_KANA), Match(SPARK), Match(r"\p{N}")]),
    Pre {
        ignore_merges: true,
        ..pre(&["youtu"], &[Match("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"), Match(YOUTU)])
    },
    pre(&["falcon"], &[Punctuation, Match(GPT2_PATTERN), Bytes, Numbers, Match("[0-9][0-9][0-9]")]),
    pre(&["poro-chat", "bloom", "gpt3-finnish"], &[Match(BLOOM)]),
    pre(&["viking"], &[Match(BLOOM), Match(r"\p{N}")]),
    Pre {
        add_bos: true,
        ..pre(
            &["chameleon"],
            &[
                Match("<sentinel:[0-9]+>"),
                Match("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
                Match(r"([\t\n]|    |  )"),
                Digits,
                Match(r"[\p{P}!-/:-@\[-`{-~]"),
                Match(GPT2_PATTERN),
            ],
        )
    },
    pre(&["superbpe"], &[Match(r"\p{N}+"), Match(r"(?=(\d{3})+(?!\d))")]),
    pre(&["bailingmoe", "bailingmoe2", "llada-moe"], &[Match(BAILING)]),
    pre(&["seed-coder"], &[Match(SEED)]),
    pre(&["kimi-k2"], &[Match(KIMI)]),
    pre(&["ufakzeka"], &[Match(UFAKZEKA)]),
    pre(&["laguna"], &[Match(r"[^\n]+|[\n]+"), Match(QWEN2)]),
    pre(&["exaone-moe"], &[Match(EXAONE_MOE)]),
    Pre { ignore_merges: true, ..pre(&["minicpm5"], &[Match(r"\p{N}{1,3}"), Match(MINICPM5)]) },
    pre(&["jais-2"], &[Match(JAIS2)]),
];

/// Names of BPE that is not byte-level: it writes `▁` for a space, and joins over the whole text.
const MARKED: [&str; 3] = [GEMMA4, "granite-embed-multi-311m", "sarvam-moe"];

/// The first of them, which is also a kind of model of its own.
pub(super) const GEMMA4: &str = "gemma4";

/// Whether a name is of BPE that writes `▁` for a space.
pub(super) fn is_marked(name: &str) -> bool {
    MARKED.contains(&name)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PRES.iter().flat_map(|pre| pre.names).copied().chain(MARKED)
}

/// Why a name that others know is refused.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    let why = "it looks whole words up and merges nothing, as the embedding model jina-embeddings-v2-base-zh does; \
        rasp has no such rule: use a model that generates text";
    (name == "whitespace").then_some(why)
}

pub(super) fn by_name(name: &str) -> Option<&'static Pre> {
    PRES.iter().find(|pre| pre.names.contains(&name))
}

impl Pre {
    /// As `tokenizer.json` would have it.
    pub fn to_json(&self, add_prefix_space: bool) -> Value {
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true,
            "use_regex": false});
        let last = self.steps.iter().all(|step| !matches!(step, Bytes)).then_some(&Bytes);
        let steps: Vec<Value> = self
            .steps
            .iter()
            .chain(last)
            .map(|step| match step {
                Match(regex) => {
                    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
                }
                Digits => json!({"type": "Digits", "individual_digits": true}),
                Numbers => json!({"type": "Digits", "individual_digits": false}),
                Punctuation => json!({"type": "Punctuation", "behavior": "Contiguous"}),
                Bytes => byte_level.clone(),
            })
            .collect();
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}

#[cfg(test)]
mod tests {
    use super::{PRES, by_name, is_marked, names, refusal};
    use std::collections::BTreeSet;

    /// Each name of llama.cpp 0.3.36's `llama-vocab.cpp`, by what its loader sets for it. Copied from there by hand, so
    /// that a slip in the table does not agree with itself.
    const MERGES_IGNORED_WITH_BOS: &str =
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano tekken";
    const MERGES_IGNORED: &str = "minicpm5 youtu glm4 glm5 granite-embed-multi-97m";
    const BOS: &str = "chameleon";
    const NEITHER: &str = "default deepseek-llm deepseek-coder deepseek-v3 spark2_5 falcon mpt starcoder gpt-2 phi-2 \
        jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jais-2 jina-v1-en jina-v2-code \
        roberta-bpe refact command-r qwen2 deepseek-r1-qwen kormo f2llmv2 qwen35 stablelm2 olmo dbrx smaug-bpe \
        poro-chat chatglm-bpe viking jais smollm codeshell bloom gpt3-finnish exaone exaone4 exaone-moe minerva-7b \
        megrez gpt-4o llama4 kanana2 talkie tiny_aya cohere2moe superbpe trillion granite-docling bailingmoe \
        bailingmoe2 llada-moe seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 ufakzeka grok-2 afmoe laguna \
        minimax-m2 solar-open mellum2";
    const OF_MARKS: &str = "gemma4 granite-embed-multi-311m sarvam-moe";

    #[test]
    fn each_name_has_the_flags_of_llama_cpp() {
        let mut told = BTreeSet::new();
        for (list, ignore_merges, add_bos) in [
            (MERGES_IGNORED_WITH_BOS, true, true),
            (MERGES_IGNORED, true, false),
            (BOS, false, true),
            (NEITHER, false, false),
        ] {
            for name in list.split_whitespace() {
                let pre = by_name(name).unwrap_or_else(|| panic!("{name} is not known"));
                assert_eq!((pre.ignore_merges, pre.add_bos), (ignore_merges, add_bos), "{name}");
                assert!(told.insert(name), "{name} stands twice here");
            }
        }
        assert!(OF_MARKS.split_whitespace().all(|name| is_marked(name) && told.insert(name)));
        assert_eq!(told, names().collect(), "names of the table");
        assert!(refusal("whitespace").is_some() && by_name("whitespace").is_none());
        assert_eq!((told.len(), names().count()), (90, 90), "the head of this file says how many");
        assert_eq!(PRES.iter().map(|pre| pre.names.len()).sum::<usize>(), 87);
    }
}
