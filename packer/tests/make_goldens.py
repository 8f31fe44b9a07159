#!/usr/bin/env python3
"""Writes the golden files of the importer's tests with the reference Python package `gguf`.

    pip install gguf numpy torch
    python packer/tests/make_goldens.py [SmolLM2-135M-Instruct.Q4_1.gguf]

`data/<type>.bin`: a little-endian u32 n, n bytes of blocks, then their values as float32. The blocks hold random
bits, with scales that are finite, so that every bit of the layout matters.

`data/smollm2.crc32`: for each tensor of the given model, its name and the CRC-32 of its values as float32, row-major,
q and k in the half-split rotation order that the importer hands out.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
from gguf import GGUFReader, quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

DATA = Path(__file__).parent / "data"

# Where the float16 scales of a block lie.
SCALES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}
# Those that came later, from random numbers of their own.
LATER = {T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: [], T.TQ1_0: [52], T.TQ2_0: [64]}


def write(name, raw, values):
    raw = raw.tobytes()
    values = values.astype("<f4").tobytes()
    (DATA / f"{name}.bin").write_bytes(len(raw).to_bytes(4, "little") + raw + values)


def blocks(rng, kinds):
    for kind, scales in kinds.items():
        per_block, size = GGML_QUANT_SIZES[kind]
        raw = rng.integers(0, 256, (max(2, 128 // per_block), size), dtype=np.uint8)
        if kind == T.MXFP4:
            # Exponents from the subnormal to the largest that rasp takes.
            raw[:, 0] = [0, 1, 120, 252]
        for at in scales:
            d = rng.normal(0, 0.02, len(raw)).astype("<f2")
            d[0] = np.float16(5e-7)  # subnormal in float16
            raw[:, at:at + 2] = d.view(np.uint8).reshape(-1, 2)
        write(kind.name.lower(), raw, quants.dequantize(raw, kind))


def float8():
    """All bytes but the two that are no numbers, as PyTorch reads them."""
    import torch
    raw = np.array([b for b in range(256) if b & 0x7F != 0x7F], dtype=np.uint8)
    write("f8_e4m3", raw, torch.from_numpy(raw.copy()).view(torch.float8_e4m3fn).float().numpy())


def floats(rng):
    f32 = np.concatenate([rng.normal(0, 1, 60), [0.0, -0.0, 1e-42, 3.4e38]]).astype("<f4")
    write("f32", f32, f32)
    # Every exponent, both signs, random mantissas; no infinity or NaN.
    exponents = np.repeat(np.arange(31, dtype=np.uint16), 4)
    f16 = (exponents << 10 | rng.integers(0, 1024, 124, dtype=np.uint16)
           | rng.integers(0, 2, 124, dtype=np.uint16) << 15).view("<f2")
    write("f16", f16, quants.dequantize(f16, T.F16))
    exponents = np.arange(255, dtype=np.uint16)
    bf16 = (exponents << 7 | rng.integers(0, 128, 255, dtype=np.uint16)
            | rng.integers(0, 2, 255, dtype=np.uint16) << 15)
    bf16 = np.append(bf16, np.uint16(0x8000))
    write("bf16", bf16, quants.dequantize(bf16.view(np.uint8), T.BF16))


def model(path):
    reader = GGUFReader(path)
    heads = {k: reader.get_field(f"llama.attention.{n}").contents()
             for k, n in (("q", "head_count"), ("k", "head_count_kv"))}
    lines = []
    for t in reader.tensors:
        values = quants.dequantize(t.data, t.tensor_type).astype("<f4")
        for k, n in heads.items():
            if f".attn_{k}.weight" in t.name:
                # Undo the converter's reshape(heads, 2, dim / 2, in).swapaxes(1, 2).
                values = values.reshape(n, -1, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
        lines.append(f"{t.name} {zlib.crc32(np.ascontiguousarray(values)):08x}\n")
    (DATA / "smollm2.crc32").write_text("".join(sorted(lines)))


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    rng = np.random.default_rng(20250131)
    blocks(rng, SCALES)
    floats(rng)
    blocks(np.random.default_rng(20261128), LATER)
    float8()
    if len(sys.argv) > 1:
        model(sys.argv[1])
