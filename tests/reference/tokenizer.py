"""The reference tokenizer: a byte-level BPE rebuilt from a GGUF file with the Hugging Face `tokenizers` package.

    python tokenizer.py MODEL.gguf "some text"

Only the two families of pre-tokenizers the project reads are known here, by the GGUF's `tokenizer.ggml.pre`.
"""

import sys

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

CONTROL, USER_DEFINED = 3, 4  # values of tokenizer.ggml.token_type

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def from_gguf(path):
    fields = GGUFReader(path).fields
    value = lambda name: fields[f"tokenizer.ggml.{name}"].contents()
    tokens, types = value("tokens"), value("token_type")
    merges = [tuple(m.split(" ")) for m in value("merges")]

    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    pre = value("pre")
    if pre == "smollm":  # each digit alone, then GPT-2's pattern
        split = [pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)]
    elif pre == "qwen2":
        tok.normalizer = normalizers.NFC()
        split = [pre_tokenizers.Split(Regex(QWEN2), "isolated"), byte_level(use_regex=False)]
    else:
        raise ValueError(f"unknown pre-tokenizer {pre!r}")
    tok.pre_tokenizer = pre_tokenizers.Sequence(split)
    tok.decoder = decoders.ByteLevel()

    added = [(t, kind) for t, kind in zip(tokens, types) if kind in (CONTROL, USER_DEFINED)]
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, kind in added if kind == CONTROL])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t, kind in added if kind == USER_DEFINED])
    assert tok.get_vocab_size() == len(tokens)
    return tok


if __name__ == "__main__":
    print(from_gguf(sys.argv[1]).encode(sys.argv[2], add_special_tokens=False).ids)
