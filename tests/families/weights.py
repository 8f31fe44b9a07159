"""Weights that need no file: each tensor's values follow from its name (and in packer/tests/families/weights.rs).

Value k of a tensor is offset + scale * (2u - 1), u in [0, 1) from 53 bits of the k-th output of splitmix64 (Steele, Lea
and Flood, 2014) seeded with the 64-bit FNV-1a hash of the tensor's name; computed in f64, rounded to f32, then to the
tensor's own type, each time to nearest even.
"""

import numpy as np
import torch

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def seed(name):
    """FNV-1a, 64 bits."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    return state


def uniform(name, count):
    """`count` numbers in [0, 1)."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def tensor(name, shape, scale, offset, dtype):
    """The tensor of this name, in its own type."""
    values = offset + scale * (2.0 * uniform(name, int(np.prod(shape))) - 1.0)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape).to(DTYPES[dtype])
