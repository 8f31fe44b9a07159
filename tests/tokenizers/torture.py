"""Texts that break tokenizers: scripts, joined emoji, marks, white space, digits, code, control characters, names of
special tokens. Written for these tests.

    python3 tests/tokenizers/torture.py       prints them, numbered
"""

# One text a language, most with digits and punctuation of its own.
SCRIPTS = [
    "The quick brown fox jumps over 13 lazy dogs, doesn't it? We'd've thought they'LL SHOUT 'TIS I'M YOU'RE.",
    "Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë à 18 h 30 : « où ? »",
    "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg. STRASSE Straße ẞ, 1.234,56 €; z. B. ‚so‘ und „so“.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia: ¿qué?, ¡olé! 1.º 2.ª",
    "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim queixoso. Não há lição, só coração.",
    "Pchnąć w tę łódź jeża lub ośm skrzyń fig. Příliš žluťoučký kůň úpěl ďábelské ódy. Flygande bäckasiner søker hwila på mjuka tuvor. Kæmi ný öxi hér.",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul'da ILIK ılık iĞİ. Đường Nguyễn Huệ, thương yêu ưỡn ngực; Tôi được 3,5 điểm.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΟΔΥΣΣΕΥΣ Ὀδυσσεύς, ἐν ἀρχῇ ἦν ὁ λόγος· τί;",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ґанок, їжак і єнот; Љубав, Ђорђе; Ұлы дала; №5.",
    "Բել դղյակի ձախ ժամն օֆ ազգությանը: ქართული ანბანი, ჲ და ჳ. ⴀⴁⴂ Ⴀ.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה. בְּרֵאשִׁית בָּרָא אֱלֹהִים ״צה״ל״ ג׳ירפה 5׳",
    "نصٌّ حكيمٌ لهُ سِرٌّ قاطِعٌ وَذُو شَأنٍ عَظيمٍ، ١٢٣٤٫٥؟ ﷲ ﷺ ﻻ لا؛ فارسی: گچ پژ ۱۲۳ می‌روم. اردو: ہے ڈ ٹ ے۔",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश। १२३४ क़ ख़ ज्ञ क्ष्म श्री ॐ ॥ मराठी: ळ ऱ्या. नेपाली।",
    "আমি বাংলায় গান গাই, ১২৩ ড় ঢ় য় কোটি কৌশল। ਪੰਜਾਬੀ ੧੨੩ ਸ਼ ਖ਼। ગુજરાતી ૧૨૩ ક્ષ. ଓଡ଼ିଆ ୧୨ ଢ଼.",
    "தமிழ் ௧௨௩ கொ கோ கௌ ஸ்ரீ. తెలుగు ౧౨౩ క్ష్మ. ಕನ್ನಡ ೧೨೩ ಕೊ ಕೋ. മലയാളം ൧൨൩ ൻ ൽ ക്ഷ. සිංහල ශ්‍රී ෆ ො ෝ.",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๑๒๓ น้ำ กำ ฯลฯ ๆ. ພາສາລາວ ໑໒໓ ນຳ້. ភាសាខ្មែរ ១២៣ ស្ត្រី ៕. မြန်မာ ၁၂၃ ကျွန်ုပ် ။. བོད་ཡིག ༡༢༣ ཧཱུྃ།",
    "ሰላም ለዓለም ፩፪፫ ። ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ. ᐃᓄᒃᑎᑐᑦ. ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ ᠑᠒. ߒߞߏ ߁߂. ⵜⴰⵎⴰⵣⵉⵖⵜ. ꦗꦮ ꧑꧒. ᬩᬮᬶ. ᮞᮥᮔ᮪ᮓ.",
    "天地玄黃，宇宙洪荒。简体与繁體：龘、𠮷野家、㐂、〇、々、〆；“引号”‘单’《书》——……全角：ＡＢＣ１２３！？　中文混English混123。",
    "いろはにほへと、ちりぬるを。ガギグゲゴ ｶﾞｷﾞ ﾊﾟ ヷ ゟ ヿ ㍿ ㌔ ㈱ ①⑳ ㊙、「鉤」『二重』・〜ー！ ﾃｽﾄ１２３",
    "키스의 고유조건은 입술끼리 만나야 하고. 각 \u1100\u1161\u11a8 갏 ㄱㄴㄷ ﾡ \u1112\u1161\u11ab\u1100\u1173\u11af 옛말: ᄒᆞᆫ글 \ud7b0.",
    "𝔄𝔟𝔠 𝒟ℯ𝒻 𝟘𝟙𝟚 𐌀𐌁 𐎀𐎁 𒀀𒀁 𓀀𓂀 𐤀𐤁 𑀅𑀆 𖤀 𞤀𞤢 𐐷 ꙮ ⸘ ‽ ⁂ ⁓ ⹁ ꓐ ꔀ ꡀ ဿ ༼つ༽",
]

MARKS = [
    "A\u030a Å \u212b A\u030a\u0301 e\u0301 é E\u0323\u0302 Ệ o\u0302\u0323 s\u0323\u0307 \u1e9b\u0323 q\u0323\u0307 d\u0307\u0323",
    "\u0301 leading \u0301\u0301 alone a\u0301\u0301\u0301\u0301\u0301 \u0301\n\u0301\t\u0301 x\u20dd y\u20e3 \u0f71\u0f72\u0f74 \u0345\u0301",
    "Z\u0351\u036b\u0343\u032a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f\u031e\u0320\u034dA\u036b\u0357\u0334\u0362\u0335\u031c\u0330\u0354L\u0368\u0367\u0369\u0358\u0320G\u0311\u0357\u030e\u0305\u035b\u0341\u0334\u033b\u0348\u034d\u0354\u0339O\u0342\u030c\u030c\u0358\u0328\u0335\u0339\u033b\u031d\u0333!",
    "ﬁ ﬂ ﬃ ſ ſt ĳ Ĳ ǆ ǅ ŉ ª º ² ³ ¹ ½ ⅓ ⁄ ½⅔ ⅷ Ⅻ ℡ ™ ℠ Ω Ω K K ℃ ﷺ ﷽ ㋿ ㎢ ㏑ ｱ ﾞ ゙ ゚ \u3099か\u3099 は\u309a",
    "क\u093c \u0958 ड\u093c \u095c ब\u09bc র\u09bc \u09df ਸ\u0a3c ଡ\u0b3c \u0cca \u0cc6\u0cc2 \u0d4a \u0d46\u0d3e \u0dda \u0dd9\u0dca",
    "ᄀ\u1161\u11a8\u11a8 가\u11a8 각\u11a8 \u1161 \u11a8 \u115f\u1160 ㅎㅏㄴ 하\u11ab",
]

EMOJI = [
    "👩\u200d👩\u200d👧\u200d👦 👨🏾\u200d❤️\u200d💋\u200d👨🏻 🧑🏽\u200d🚀 🏴\u200d☠️ 🏳️\u200d⚧️ 🐻\u200d❄️ 👁️\u200d🗨️ 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "🇩🇪🇫🇷🇯🇵🇺🇳 🇩 🇪🇩 1️⃣2️⃣#️⃣*️⃣ ☎︎ ☎️ ❤ ❤️ ⚡️x⚡ 👍👍🏿👍🏻 🫱🏼\u200d🫲🏿 🫠🥹🪿🩷",
    "😀😃😄" * 12, "ok👌,yes✅.no❌!😀a😀 😀  😀\n😀", "\u200d\u200d \ufe0f\ufe0e 🏻🏿 \u20e3",
]

SPACE = [
    " ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r", "\r\n", "\r\n\r\n", " \n", "\n ", " \t ", "\t \t",
    "\x0b\x0c", "\u00a0", "\u2028\u2029", "\u3000\u3000", "\x85", "\u200b", "\ufeff",
    " a", "a ", "  a  ", "a  b   c    d     e", "a\tb\t\tc\t \td", "a\nb\n\nc\n \nd \n e", "x \n\n  y\r\n\tz\r",
    "one" + " " * 17 + "two" + " " * 31 + "three" + " " * 32 + "four" + " " * 33 + "five" + " " * 70 + "six",
    " " * 64 + "x", "x" + " " * 100, "\t" * 40 + "x" + "\t" * 31, "\n" * 33 + "x" + "\n" * 70, "\r\n" * 20, " \n" * 25, "\n " * 25,
    "if x:\n        deep\n            deeper\n\t\tmixed\n    \tback\n", "a\u00a0\u00a0b \u2003c\u2009\u200ad\u202fe\u205ff\u3000g\u1680h\u180ei",
    "zero\u200bwidth\u200c\u200d\u2060join\ufeff \u00adsoft\u00ad", "\u2028line\u2029para\x85next\x1cfs\x1dgs\x1ers\x1fus",
]

DIGITS = [
    "0", "7 42 365 2024 65536 123456 1234567 12345678 123456789 1234567890 12345678901234567890",
    "a1b22c333d4444 4x4 3D 2nd 007 1e-9 0xDEADbeef 0b1010 1_000_000 192.168.0.1 v2.0.1-rc3 +49(0)30/12345-67",
    "3.14159 2,718,281.83 1'000 ½ 1½ ²³ x² H₂O 10⁻³ ⅔ ⅷ Ⅻ ① ⑳ ㉛ 〇一二三 ٣٤٥ ۱۲۳ १२३ ๑๒๓ 𝟘𝟙𝟚 ９８７ 1٢३4 12½34 1234a 1234_ 1234é 1234½",
    "$1,234.56 €99.99 ¥10,000 50% 25‰ 5°C 12:34:56 2024-02-30T25:61:61Z 1/2 7×8÷9=6.22 #1 №2 §3 1st2nd",
]

CODE = [
    'fn main() {\n    let v: Vec<u8> = vec![0; 1 << 4];\n    println!("{:?} {}", &v[..2], \'\\n\');\n}\n',
    "def f(x: int = 0, *args, **kw) -> str:\n\t'''doc'''\n\treturn f\"{x!r:>10}\" if x is not None else '__main__'  # ok\n\n\n",
    "for(int i=0;i<n;++i){a[i]^=~b[i]>>3|0x7f;} // end\r\n#define X(a,b) a##b\\\r\n/* multi\n * line */\n",
    "SELECT * FROM \"t\" WHERE a<>'b''c' AND d!=e; -- note\n<div class=\"a b\" id='c'>&nbsp;&#x1F600;</div><!-- x -->\n<br/>",
    "{\"k\": [1, -2.5e+10, null, true, \"\\u00e9\\\"\\\\\"], \"\": {}}\n---\nyaml: {a: 1}\n- b: |\n    c\n",
    "https://user:pa%20ss@example.org:8080/a/b.html?c=d&e[]=f#g mailto:a.b+c@d-e.co.uk C:\\Users\\x\\..\\y ~/.z/*.{a,b} $HOME `ls -la | grep x > /dev/null 2>&1`",
    "\\begin{align*} \\int_0^\\infty e^{-x^2}\\,dx &= \\frac{\\sqrt{\\pi}}{2} \\\\ \\end{align*} ∀ε>0 ∃δ: |x−a|<δ ⇒ |f(x)−L|<ε; ∑ᵢ₌₁ⁿ i² ≠ ∮ ∇×B·dA ≈ ±∞",
    "camelCase PascalCase XMLHttpRequest iPhone15Pro snake_case_2 kebab-case SCREAMING_SNAKE __init__ a.b.c(d)[e]{f} x=>y ->z ::w @dec #tag !not ?opt",
    "!!!???...,,,;;;:::---___===+++***///\\\\\\|||&&&^^^%%%$$$###@@@~~~``` '''\"\"\" ((([[[{{{<<<>>>}}}]]])))",
    "don’t ‘quote’ “double” ‚low‛ „low‟ ‹a› «b» – — ― … · • † ‡ ¶ § © ® ™ ° ´ ` ¨ ˆ ˜ ¯ ¿ ¡",
    "|| a | b |\n|---|:-:|\n| **c** | _d_ `e` ~~f~~ |\n\n# H1\n\n1. x\n   - y\n> z\n\n[l](u \"t\") ![i](j)\n***\n",
]

CONTROL = [
    "\x00", "a\x00b\x01c\x02d\x03e\x04f\x05g\x06h\x07i\x08j\x0ek\x0fl\x10m\x1an\x1bo\x7fp", "\x1b[1;31mred\x1b[0m\x1b]0;t\x07",
    "\x80\x81\x8f\x90\x9f\xa0\xad\xff", "\ufffd\ufffe\uffff\ufdd0\ufdef\U0001fffe\U0010ffff", "\ue000\uf8ff\U000f0000\U00100000",
    "\u202aLTR\u202bRTL\u202c\u202dLRO\u202eRLO\u202c \u2066iso\u2069 \u200e\u200f\u061c", "\ufff9base\ufffaruby\ufffb \ufffc \U000e0001\U000e0041\U000e007f",
]

# Names of special tokens of several families, whole, broken, glued, and as they stand in a chat.
SPECIAL = [
    "<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "<s> </s>", "a<s>b</s>c", " <s> x </s> ", "<S> <//s> <s > < s> <s",
    "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|", "|im_end|>", "<|im_<|im_end|>", "<<|im_end|>>",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>", "<|reserved_special_token_0|><|finetune_right_pad_id|>",
    "<start_of_turn>user\nWhat?<end_of_turn>\n<start_of_turn>model\n", "<start_of_image> <end_of_image> <unused7><unused99> [multimodal] </h1><table>\n\n",
    "[INST] <<SYS>>\nx\n<</SYS>>\n\ny [/INST] z [TOOL_CALLS][]", "<|start|>assistant<|channel|>final<|message|>Ok<|return|><|call|><|endofprompt|>",
    "<｜begin▁of▁sentence｜>a<｜User｜>b<｜Assistant｜>c<｜end▁of▁sentence｜><｜fim▁hole｜><think>\n</think>\n\n<tool_call>{}</tool_call>",
    "<0x00><0x0A><0xFF><0xff><0xG0> <0x0A", "<EOT><META_START> Human: a\n\nAssistant: b", "text<|im_end|> \n <|eot_id|>  <end_of_turn>\t</s>\n\n",
    "▁", "▁▁", "▁▁▁▁", "a▁b", "▁a ▁ b▁ ▁▁c", "Ġ Ċ ĉ Ġthe ĠĠ č Ń ł", "##ing @@ </w> <w> Ā ā Ă",
]

LONG = [
    "a" * 500, "ab" * 300, "A" * 100 + "a" * 100, "é" * 150 + "e\u0301" * 150, "中" * 200, "한" * 100, "0" * 100, "9876543210" * 20, "!" * 200,
    "=" * 80 + "\n" + "-" * 80 + "\n", "ha" * 100 + "!" * 50 + "?" * 50, "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz" * 4,
    "word " * 100, " word" * 100, "a b\tc\nd  e\r\nf" * 20, "กา" * 100, "नि" * 100, "😀" * 100, "x\u0301" * 100, "\u200d" * 50, "ab12!? " * 40,
]

TEXTS = ["", *SCRIPTS, *MARKS, *EMOJI, *SPACE, *DIGITS, *CODE, *CONTROL, *SPECIAL, *LONG]
# All of them once more, as one text: what ends one begins the next.
TEXTS += ["\n".join(TEXTS), " ".join(TEXTS)]

if __name__ == "__main__":
    for number, text in enumerate(TEXTS):
        print(number, ascii(text)[:150])
    print(sum(map(len, TEXTS)), "characters")
