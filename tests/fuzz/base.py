"""base.py RASP FOLDER: the tiny files that fuzzing starts from: two packed models (`bytes.rasp`: byte-level BPE with
merges, NFC and added tokens; `unigram.rasp`: Unigram with NFKC, and gates with zeros), the checkpoints they come from,
a GGUF file, a LoRA adapter as PEFT has it and packed."""

import json
import pathlib
import shutil
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "trust"))
from checkpoint import HIDDEN, INNER, LAYERS, adapter, added, byte_letters, checkpoint  # noqa: E402

VOCABULARY = 288


def byte_pairs(tokenizer):
    """Merges, a normalizer, a pattern with look-ahead, and an added token of each kind."""
    merges = [["t", "h"], ["th", "e"], ["Ġ", "the"], ["a", "a"], ["aa", "aa"], ["Ã", "©"]]
    # Ids without a gap: `tokenizers` numbers added tokens that the model has not after the model's, whatever their ids say.
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    for number, (left, right) in enumerate(merges):
        vocabulary[left + right] = 258 + number
    tokenizer["model"]["merges"] = merges
    mask = added(264, "<mask>") | {"lstrip": True, "special": False}
    word = added(265, "word") | {"single_word": True, "normalized": True, "special": False}
    tokenizer["added_tokens"] += [mask, word]
    tokenizer["normalizer"] = {"type": "NFC"}


def unigram(tokenizer):
    pieces = [["<unk>", 0.0], ["▁", -2.0], ["e", -2.1], ["▁the", -3.0], ["th", -4.0], ["é", -5.0], ["▁a", -3.5], ["aa", -4.2]]
    pieces += [[chr(97 + n), -6.0 - n / 10] for n in range(26) if n != 4]
    pieces += [[f"<0x{byte:02X}>", 0.0] for byte in range(VOCABULARY - 4 - len(pieces))]
    pieces = pieces[: VOCABULARY - 4]
    tokenizer["model"] = {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False}
    tokenizer["added_tokens"] = [added(VOCABULARY - 2, "<|start|>"), added(VOCABULARY - 1, "<|end|>")]
    tokenizer["normalizer"] = {"type": "NFKC"}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    tokenizer["pre_tokenizer"] = tokenizer["decoder"] = metaspace


def gguf(path, tokenizer, template):
    """What llama.cpp's converter would make of the checkpoint, with weights of zeros."""

    def text(words):
        return struct.pack("<Q", len(words.encode())) + words.encode()

    def array(kind, items):
        return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)

    names = {number: letter for letter, number in tokenizer["model"]["vocab"].items()}
    names |= {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    words = [names.get(number, f"<unused{number}>") for number in range(VOCABULARY)]
    kinds = [3 if number in (256, 257) else 1 if number in names else 5 for number in range(VOCABULARY)]

    def number(value):
        return struct.pack("<II", 4, value)

    def real(value):
        return struct.pack("<If", 6, value)

    pairs = {
        "general.architecture": struct.pack("<I", 8) + text("llama"),
        "general.name": struct.pack("<I", 8) + text("tiny"),
        "llama.context_length": number(160),
        "llama.embedding_length": number(HIDDEN),
        "llama.block_count": number(LAYERS),
        "llama.feed_forward_length": number(INNER),
        "llama.attention.head_count": number(4),
        "llama.attention.head_count_kv": number(4),
        "llama.attention.layer_norm_rms_epsilon": real(1e-5),
        "llama.rope.freq_base": real(10000.0),
        "llama.rope.dimension_count": number(8),
        "llama.vocab_size": number(VOCABULARY),
        "tokenizer.ggml.model": struct.pack("<I", 8) + text("gpt2"),
        "tokenizer.ggml.pre": struct.pack("<I", 8) + text("gpt-2"),
        "tokenizer.ggml.tokens": array(8, [text(word) for word in words]),
        "tokenizer.ggml.token_type": array(5, [struct.pack("<i", kind) for kind in kinds]),
        "tokenizer.ggml.merges": array(8, [text(" ".join(merge)) for merge in tokenizer["model"]["merges"]]),
        "tokenizer.ggml.bos_token_id": number(256),
        "tokenizer.ggml.eos_token_id": number(257),
        "tokenizer.chat_template": struct.pack("<I", 8) + text(template),
    }
    shapes = {"token_embd.weight": (HIDDEN, VOCABULARY), "output_norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        shapes |= {block + norm + "_norm.weight": (HIDDEN,) for norm in ("attn", "ffn")}
        shapes |= {block + f"attn_{part}.weight": (HIDDEN, HIDDEN) for part in ("q", "k", "v", "output")}
        shapes |= {block + f"ffn_{part}.weight": (HIDDEN, INNER) for part in ("gate", "up")}
        shapes[block + "ffn_down.weight"] = (INNER, HIDDEN)
    infos, at = b"", 0
    for name, shape in shapes.items():
        # Q8_0 where a matrix, so that files are small: 34 bytes for 32 weights.
        kind, count = (8, shape[0] * shape[1] // 32 * 34) if len(shape) == 2 else (0, 4 * shape[0])
        infos += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        infos += struct.pack("<IQ", kind, at)
        at += -(-count // 32) * 32
    file = struct.pack("<IIQQ", 0x46554747, 3, len(shapes), len(pairs))
    file += b"".join(text(key) + value for key, value in pairs.items()) + infos
    path.write_bytes(file)


def main():
    rasp, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, change in {"unigram": unigram, "bytes": byte_pairs}.items():
        source = folder / f"{name}.hf"
        checkpoint(source)
        tokenizer = json.loads((source / "tokenizer.json").read_text())
        change(tokenizer)
        (source / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
        if name == "unigram":
            config = json.loads((source / "config.json").read_text())
            config |= {"bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1, "hidden_act": "relu"}
            (source / "config.json").write_text(json.dumps(config))
        # Sparsity levels and a low rank are in the one, whole numbers in the other.
        dtype = ["--dtype", "q8"] if name == "unigram" else []
        text = source / "text.txt"
        text.write_text("A tiny model reads a tiny text, again and again. " * 40)
        command = [rasp, "pack", str(source), "-o", str(folder / f"{name}.rasp"), "--sparsity", "0.3,0.5", "--tune", "0"]
        command += ["--calib", str(text), "--calib-tokens", "256", "--threads", "1", *dtype]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            print(run.stderr)
            return 1
    adapter(folder / "adapter.hf")
    command = [rasp, "pack-adapter", str(folder / "adapter.hf"), "--base", str(folder / "bytes.hf")]
    run = subprocess.run(command + ["-o", str(folder / "tiny.rasp-adapter")], capture_output=True, text=True)
    if run.returncode != 0:
        print(run.stderr)
        return 1
    gguf(folder / "tiny.gguf", tokenizer, json.loads((source / "tokenizer_config.json").read_text())["chat_template"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
