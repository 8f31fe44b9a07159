"""Writes ../goldens/tokenizer_cases.json and ../goldens/tokenizer_data.json.

    python make_tokenizer_goldens.py SMOLLM2.gguf DATA_DIR

Cases: [{"text", "ids"}], encoded with no special tokens added and those in the text recognised.

Data: {file: {"ids": count, "fnv1a": 16 hex digits}}. A .txt file is tokenized whole, its bytes as they are. Of a
.jsonl file each line's JSON is walked depth first, objects in the order of their keys in the line, lists in order;
each string value (never a key) is tokenized alone, and the ids of all of them follow one another. The hash is
64-bit FNV-1a over the ids as little-endian u32.
"""

import json
import sys
from pathlib import Path

import numpy as np

import tokenizer

GOLDENS = Path(__file__).parent.parent / "goldens"

CASES = [
    # plain words and spaces
    "a", " ", "  ", "   ", "    ", " " * 7, " " * 16, " " * 33, " " * 200, "hello", " hello", "  hello", "   hello",
    "hello ", "hello  ", "hello   ", "Hello world", "Hello  world", "Hello   world", "Hello, world!", "a b  c   d    e",
    "HELLO WORLD", "hElLo WoRlD", "  leading and trailing  ", "The capital of France is", "x" * 50, "ab" * 100,
    "antidisestablishmentarianism", "pneumonoultramicroscopicsilicovolcanoconiosis", "Donaudampfschifffahrtsgesellschaft",
    # tabs, newlines, other white space
    "\t", "\t\t", "\t\tx", "\n", "\n\n", "\n\n\n", "\r", "\r\n", "\r\n\r\n", "a\nb", "a\n\nb", "a\n b", "a \nb", "a \n b",
    "a\r\nb", "a\rb", "line one\n\tline two\n\t\tline three\n", "  \n  \n  x", " \t \t x", "x\t y", "x \ty", "x\n",
    "x \n", "x\v\fy", "\u00a0", "a\u00a0b", "a \u00a0b", "a\u00a0 b", "\u00a0\u00a0x", "a\u2028b", "a \u2028 b", "a\u2029b",
    "a\u0085b", " \u0085 b", "a\u3000b", "\u3000\u3000b", "a\u2003b", "a\u2009 b", "a\u202fb", "a\u205fb", "a\u1680b",
    "a\u180eb", "a\u200bb", " \u200b ", "\ufeffa", "a\ufeff b", "a\u2060b", "a\u00adb", "\u2028", "\u0085\u0085",
    # digits and other numbers
    "0", "7", "42", "2024", " 2024", "  2024", "3.14159", "1,000,000", "a1b2c3", "1 2  3   4", "1\n2", "v2.0.1-rc3", "0x1F",
    "1e-9", "$5.00", "100%", "½", "½½", " ½", "x½y", "Ⅷ", "Ⅷ Ⅸ", "x²", "x² + y³", "²", "①②③", "⑳", "٣٤٥", "१२३", "一二三", "〇",
    "๑๒๓", "𝟘𝟙𝟚", "1½", "3 ¾", "x₁", "H₂O", "10⁻³", "৪", "㉛", "Ⓐ", "Ⓐⓑ", " Ⓐ", "aⒶ", "🄰", "♠1",
    # contractions
    "don't", "Don't", "DON'T", "it's", "IT'S", "I'm", "I'M", "you're", "You'RE", "we've", "they'll", "he'd", "'s", "'S",
    "'tis", "'twas", " 's", "'re 've 'll", "x'sy", "don’t", "it’s", "''s", "'", "''", "'''", "rock'n'roll", "l'été", "o'clock",
    "'lll", "'d1", "1's", "!'s", "'m'm'm",
    # punctuation and code
    "!", "!!!", " !", "!!! ???", "...", "…", "…  …", "a...b", "(a)", "[[a]]", "{}", "a_b", "__init__", "snake_case_name",
    "camelCaseName", "a+b=c", "-- >> <<", "->", "=>", "https://example.com/a?b=c&d=e#f", "me@example.com", "C:\\Users\\x",
    "def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}", "<unk>", " <unk> ", " @-@ ", "1 @,@ 000",
    "= Title =", "# Heading\n\n* item\n* item\n", "`code`", "```rust\nfn main() {}\n```", "\\n", "\\", '"quoted"', "“quoted”",
    "a—b", "a–b", "«x»", "¿qué?", "* * *", "~", "^^", "|", "||a||", "<|", "|>", "<||>",
    # other scripts
    "café", "cafe\u0301", "naïve", "Ångström", "A\u030angstro\u0308m", "Straße", "İstanbul", "ıI", "ﬁne", "Čeština", "Tiếng Việt",
    "Ελληνικά", "ΑΣ", "Русский язык", "Українська", "日本語", "日本語 のテキスト。", "中文字符,测试!", "한국어 문장", "ㅎㅏㄴ",
    "\u1112\u1161\u11ab", "नमस्ते", "हिन्दी में", "क्ष", "বাংলা", "தமிழ்", "ไทย", "ພາສາ", "မြန်မာ", "ខ្មែរ", "العربية", "السلام عليكم",
    "اَلْعَرَبِيَّةُ", "עברית", "שָׁלוֹם", "a\u202eb\u202cc", "\u200fא\u200e", "فارسی می\u200cخواهم", "ქართული", "Հայերեն", "ትግርኛ", "ᏣᎳᎩ",
    "ᚠᚢᚦ", "𐍈", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𠀀𠀁", "ｆｕｌｌｗｉｄｔｈ", "１２３", "ǅ", "ʰ", "ªº", "z\u0351\u0322a\u0310l\u0326g\u0313o\u0301", "\u0301", " \u0301", "a \u0301b",
    # emoji and symbols
    "😀", " 😀", "😀😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "🇫🇷🇩🇪", "❤️", "❤", "1️⃣", "☃", "→", "∀x∈ℝ: x²≥0", "∑∫∂√∞", "α→β", "≠≤≥", "€£¥₿",
    "©®™", "°C", "№ 5", "♥♦", "🧑‍💻 codes", "x😀y", "☺\ufe0f", "🫠",
    # control characters, the ends of the code space
    "\x00", "a\x00b", "\x01\x02", "\x1b[0m", "\x7f", "\x80", "\x9f", "\x1c\x1d\x1e\x1f", "a\x1cb", "a \x1f b", "\x08", "\ufffd", "\ufffe",
    # (some bytes have no token in SmolLM2's vocabulary: 04 06 13 14 16 1d, c0 c1 f1 f2 f5..ff; they vanish before merging)
    "\x04", "a\x04b", "!\x04!", " \x06.\x13.", "\x14\x16\x1d", ".\U00050000.", "\U00080000",
    "\uffff", "\ue000", "\U0010ffff", "\ud7ff", "\U000e0041", "\xff", "ÿ", "\x00\x00\x00",
    # special tokens in the text
    "<|endoftext|>", "<|im_start|>", "<|im_start|>user\nHi<|im_end|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "a<|im_end|>b", "a <|im_end|> b", "<|im_end|><|im_end|>", "<|im_end|> ", " <|im_end|>", "<|im_end|>\n\n", "<|im_end", "<|im_end|",
    "<|IM_END|>", "< |im_end|>", "<|im_start|><|im_end|>", "<<|im_end|>>", "<|im_<|im_end|>", "<repo_name>", "<reponame>x", "<file_sep>a.py",
    "<filename>", "<jupyter_start>", "<empty_output>", "<s>", "</s>", "[INST]", "<|endoftext|", "1<|im_end|>2", "don<|im_end|>'t",
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n",
    # mixtures
    "Hello 世界 123 😀\n\tend", "a1 b22 c333", "x = 3; y = 'it''s'", "100km/h in 9.8s²", "Q1'24: +3½%", "日本2024年1月", "foo\u200bbar 1\u00a02",
    "\n  1. one\n  2. two\n", "a  1", "a 1", "1  a", "1   ", "  1", "\t1", "1\t1", "é1é", "!1!", " 1 ", "  \n1", "don't1", "No.1's",
    "ĠĠ", "Ġhello", "Ċ", "âĢĻ", "Ã©",
]


def fnv1a(ids):
    h = 0xCBF29CE484222325
    for byte in np.array(ids, "<u4").tobytes():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def texts(path):
    whole = path.read_bytes().decode("utf-8")
    if path.suffix == ".txt":
        return [whole]
    return [text for line in whole.split("\n") if line.strip() for text in strings(json.loads(line))]


def main(gguf, data):
    tok = tokenizer.from_gguf(gguf)
    encode = lambda text: tok.encode(text, add_special_tokens=False).ids
    cases = list(dict.fromkeys(CASES))
    rows = ",\n".join(json.dumps({"text": text, "ids": encode(text)}) for text in cases)
    (GOLDENS / "tokenizer_cases.json").write_text(f"[\n{rows}\n]\n")
    print(len(cases), "cases")

    summary = {}
    for path in sorted(data.iterdir()):
        if path.suffix in (".txt", ".jsonl"):
            ids = [i for text in texts(path) for i in encode(text)]
            summary[path.name] = {"ids": len(ids), "fnv1a": fnv1a(ids)}
            print(path.name, summary[path.name])
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in summary.items())
    (GOLDENS / "tokenizer_data.json").write_text(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
