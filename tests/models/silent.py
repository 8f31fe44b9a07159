#!/usr/bin/env python3
"""Writes a model with the shapes of a natively sparse 1.5B and random weights: for time and bytes, not for quality.

    pip install numpy
    python3 tests/models/silent.py OUTPUT_FOLDER [--layers 8] [--active 0.05]

Two thirds of its linears are in the MLP, whose gates are exactly zero but for the share ACTIVE (as of the models of
arXiv:2603.23198): here a bias does that, so that it is so for every token. A token is a byte; 103 MB a layer.
"""

import argparse
import json
import math
import zlib
from functools import partial
from pathlib import Path
from statistics import NormalDist

import numpy as np
from byte_tokenizer import write_tokenizer

HIDDEN, INNER, HEADS = 2048, 5632, 16


def normal(name, shape):
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32) / shape[1] ** 0.5


def tensors(layers, active):
    """Of every tensor its name, shape, and what makes its values."""
    embedding = (256, HIDDEN)
    yield "model.embed_tokens.weight", embedding, lambda: normal("embedding", embedding) * HIDDEN**0.5
    yield "model.norm.weight", (HIDDEN,), lambda: np.ones(HIDDEN, np.float32) / HIDDEN**0.5
    for n in range(layers):
        at = f"model.layers.{n}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{at}{norm}.weight", (HIDDEN,), lambda: np.linspace(0.8, 1.2, HIDDEN, dtype=np.float32)
        for linear in "qkvo":
            square = (HIDDEN, HIDDEN)
            yield f"{at}self_attn.{linear}_proj.weight", square, partial(normal, f"{at}{linear}", square)
        for linear, shape in (("gate", (INNER, HIDDEN)), ("up", (INNER, HIDDEN)), ("down", (HIDDEN, INNER))):
            # A gate is a sum of many: normal, and as large as the normed stream.
            bias = NormalDist().inv_cdf(active) if linear == "gate" else 0
            yield f"{at}mlp.{linear}_proj.weight", shape, partial(normal, f"{at}{linear}", shape)
            yield f"{at}mlp.{linear}_proj.bias", shape[:1], partial(np.full, shape[:1], bias, np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--active", type=float, default=0.05)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "hidden_act": "relu",
        "vocab_size": 256, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": options.layers,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "mlp_bias": True,
    }
    (options.output / "config.json").write_text(json.dumps(config, indent=1))
    write_tokenizer(options.output)
    header, end = {}, 0
    for name, shape, _ in tensors(options.layers, options.active):
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end := end + 2 * math.prod(shape)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(options.output / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, make in tensors(options.layers, options.active):
            # To the nearest.
            file.write(((make().view(np.uint32) + 0x8000) >> 16).astype(np.uint16).tobytes())


if __name__ == "__main__":
    main()
