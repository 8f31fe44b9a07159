#!/usr/bin/env python3
"""Holds rasp's tokenizers to Hugging Face's `tokenizers`, or to what it said once.

    python3 tests/tokenizers/compare.py [--text FILE]... [--goldens FILE [--bless]] NAME=TOKENIZER...

TOKENIZER is a folder with tokenizer.json (and tokenizer_config.json), or GGUF:FOLDER: a GGUF file and what its
tokenizer must equal. Each is put into a checkpoint of one tiny layer, packed, and asked through the C interface: for
the texts of torture.py and the lines of FILEs, with and without special tokens added. Ids must
be equal, and so must what they decode to. Names of special tokens are recognised, as Hugging Face does.

With --goldens the package `tokenizers` is not needed: counts and hashes of all ids are compared with those of the file,
which --bless writes anew, from `tokenizers`. What FILEs add is never part of it.

Builds are taken from target/release (RASP and RASP_LIBRARY choose others). Prints a line a tokenizer; 1 if any differs.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
os.environ.setdefault("RASP_LIBRARY", str(ROOT / "target/release/librasp.so"))
sys.path[:0] = [str(HERE), str(ROOT / "bindings/python/src")]

import rasp  # noqa: E402
from torture import TEXTS  # noqa: E402

HIDDEN = 32
LINEARS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
           "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
           "mlp.down_proj": "ffn_down"}
NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def shapes(rows):
    """A layer of Llama: Hugging Face's name, GGUF's, shape."""
    yield "model.embed_tokens.weight", "token_embd.weight", [rows, HIDDEN]
    yield "model.norm.weight", "output_norm.weight", [HIDDEN]
    for hf, gguf in LINEARS.items():
        yield f"model.layers.0.{hf}.weight", f"blk.0.{gguf}.weight", [HIDDEN, HIDDEN]
    for hf, gguf in NORMS.items():
        yield f"model.layers.0.{hf}.weight", f"blk.0.{gguf}.weight", [HIDDEN]


def values(shape):
    """Zeros, and ones for norms, in f32."""
    one = struct.pack("<f", float(len(shape) == 1))
    return one * (shape[0] * (shape[1] if len(shape) == 2 else 1))


def rows_of(folder):
    """Rows for all tokens but the one that Gemma 3 has none for."""
    vocab = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = vocab["model"]["vocab"]
    rows = len(model) if isinstance(model, list) else max(model.values()) + 1
    added = [token["id"] for token in vocab["added_tokens"] if token["content"] != "<image_soft_token>"]
    return max([rows, *(id + 1 for id in added)])


def checkpoint(folder, out):
    """A Hugging Face checkpoint of the tokenizer in `folder`."""
    out.mkdir()
    rows = rows_of(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (folder / name).exists():
            (out / name).write_bytes((folder / name).read_bytes())
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": rows, "hidden_size": HIDDEN,
              "intermediate_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
              "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    (out / "config.json").write_text(json.dumps(config))
    header, data = {}, []
    at = 0
    for name, _, shape in shapes(rows):
        data.append(values(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data[-1])]}
        at += len(data[-1])
    text = json.dumps(header).encode()
    (out / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def metadata(path):
    """The pairs of a GGUF file under `tokenizer.`, as bytes, and how many tokens there are."""
    data = path.read_bytes()
    (pairs,) = struct.unpack_from("<Q", data, 16)
    at, kept, tokens = 24, [], 0

    def string(at):
        (length,) = struct.unpack_from("<Q", data, at)
        return at + 8 + length

    def skip(kind, at):
        if kind == 8:
            return string(at)
        if kind == 9:
            kind, count = struct.unpack_from("<IQ", data, at)
            at += 12
            if kind in SCALARS:
                return at + SCALARS[kind] * count
            for _ in range(count):
                at = skip(kind, at)
            return at
        return at + SCALARS[kind]

    for _ in range(pairs):
        start, at = at, string(at)
        key = data[start + 8:at].decode()
        (kind,) = struct.unpack_from("<I", data, at)
        if key == "tokenizer.ggml.tokens":
            (tokens,) = struct.unpack_from("<Q", data, at + 8)
        at = skip(kind, at + 4)
        if key.startswith("tokenizer.ggml."):
            kept.append(data[start:at])
    return kept, tokens


def gguf_checkpoint(source, out):
    """A GGUF checkpoint of the tokenizer in the file `source`."""
    pairs, rows = metadata(source)

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    pairs.append(text("general.architecture") + struct.pack("<I", 8) + text("llama"))
    for key, value in {"context_length": 512, "embedding_length": HIDDEN, "block_count": 1, "feed_forward_length": HIDDEN,
                       "attention.head_count": 1, "attention.head_count_kv": 1}.items():
        pairs.append(text("llama." + key) + struct.pack("<II", 4, value))
    pairs.append(text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5))
    listed, data = b"", b""
    tensors = list(shapes(rows))
    for _, name, shape in tensors:
        listed += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), 0, len(data))
        data += values(shape)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + listed
    out.write_bytes(head + b"\0" * (-len(head) % 32) + data)


def pack(source, out):
    command = [os.environ.get("RASP", str(ROOT / "target/release/rasp")), "pack", str(source), "-o", str(out),
               "--sparsity", "", "--no-screen", "--dtype", "bf16", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{source}: {done.stderr.splitlines()[-1]}")


def fnv1a(ids, value=0xCBF29CE484222325):
    """64-bit FNV-1a over ids as little-endian u32."""
    for byte in struct.pack(f"<{len(ids)}I", *ids):
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


class Reference:
    """Hugging Face's reading of a folder: ids with and without special tokens added, and text."""

    def __init__(self, folder):
        from tokenizers import Tokenizer
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        config = folder / "tokenizer_config.json"
        config = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
        # What transformers' classes of Llama's and Gemma's tokenizers do themselves.
        self.template = None
        if config.get("tokenizer_class", "").removesuffix("Fast") in ("LlamaTokenizer", "GemmaTokenizer"):
            def of(key):
                token = config[key]
                return self.tokenizer.token_to_id(token if isinstance(token, str) else token["content"])
            self.template = ([of("bos_token")] if config.get("add_bos_token", True) else [],
                             [of("eos_token")] if config.get("add_eos_token") else [])

    def encode(self, text, add_special):
        if self.template and add_special:
            before, after = self.template
            return before + self.encode(text, False) + after
        return self.tokenizer.encode(text, add_special_tokens=add_special).ids

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)


def packed(source):
    """The model of a tokenizer, and the folder that says what it must equal."""
    path, _, folder = source.rpartition(":")
    with tempfile.TemporaryDirectory() as temporary:
        made, out = Path(temporary) / "checkpoint", Path(temporary) / "m.rasp"
        if path:
            gguf_checkpoint(Path(path), made)
        else:
            checkpoint(Path(folder), made)
        pack(made, out)
        # It stays mapped when its name is gone.
        return rasp.Model(out), Path(folder)


def check(name, model, folder, lines):
    reference = Reference(folder)
    ids, text, first = 0, 0, None
    for line in TEXTS + lines:
        for add in (False, True):
            want, got = reference.encode(line, add), model.tokenize(line, add_special=add, parse_special=True)
            if want != got:
                ids += 1
                first = first or (line[:60], want[:12], got[:12])
        # Of ids that are not of a text of its own a tokenizer may make no characters; ours stay bytes until shown.
        if reference.decode(want) != model.detokenize(want).decode("utf-8", "replace"):
            text += 1
            first = first or (line[:60], reference.decode(want)[:60], model.detokenize(want)[:60])
    count = len(TEXTS) + len(lines)
    print(f"{name}: {count} texts, {ids} differ in ids, {text} in text" + (f"; first {first!a}" if first else ""), flush=True)
    return ids + text == 0


def summary(encode):
    """Counts and hashes of the ids of all texts, by what `encode` gives."""
    ids = [encode(text, add) for text in TEXTS for add in (False, True)]
    flat = [id for text in ids for id in text]
    return {"ids": len(flat), "fnv1a": f"{fnv1a(flat):016x}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", action="append", default=[], type=Path)
    parser.add_argument("--goldens", type=Path)
    parser.add_argument("--bless", action="store_true")
    parser.add_argument("tokenizers", nargs="+")
    options = parser.parse_args()
    lines = [line for path in options.text for line in path.read_text(encoding="utf-8").splitlines(keepends=True)]
    goldens = json.loads(options.goldens.read_text()) if options.goldens and options.goldens.exists() else {}
    good = True
    for argument in options.tokenizers:
        name, _, source = argument.partition("=")
        if options.bless:
            goldens[name] = summary(Reference(Path(source.rpartition(":")[2])).encode)
            continue
        model, folder = packed(source)
        if options.goldens:
            found = summary(lambda text, add: model.tokenize(text, add_special=add, parse_special=True))
            same = found == goldens.get(name)
            print(f"{name}: {found['ids']} ids of {len(TEXTS)} texts" + ("" if same else f", expected {goldens.get(name)}"))
        else:
            same = check(name, model, folder, lines)
        good = good and same
    if options.bless:
        options.goldens.write_text(json.dumps(goldens, indent=1, sort_keys=True) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
