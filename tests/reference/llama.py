"""The Llama / Qwen2 forward pass over a GGUF file, in plain NumPy.

    python llama.py MODEL.gguf "The capital of France is" [--dtype bf16] [--tokens 24]

Shapes: a batch of token sequences is [batch, time]; activations are [batch, time, channels]; a linear's weight is
[out, in], as in the checkpoint. Everything is recomputed for every token: there is no KV cache to get wrong.
"""

import argparse
from dataclasses import dataclass, field

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

LINEARS = ("q", "k", "v", "o", "gate", "up", "down")

GGUF_NAMES = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


@dataclass
class Layer:
    attn_norm: np.ndarray
    mlp_norm: np.ndarray
    weight: dict = field(default_factory=dict)  # linear name -> [out, in]
    bias: dict = field(default_factory=dict)  # linear name -> [out], where the architecture has one


@dataclass
class Model:
    num_heads: int
    num_kv_heads: int
    head_dim: int
    eps: float
    inv_freq: np.ndarray  # [head_dim / 2]
    embed: np.ndarray  # [vocab, hidden]
    head: np.ndarray  # [vocab, hidden]; the embedding itself where tied
    final_norm: np.ndarray
    layers: list


# ---------------------------------------------------------------------------------------------------- loading


def round_bf16(a):
    """float32 values that bfloat16 can hold, round to nearest even (no NaN in a checkpoint)."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def round_f16(a):
    return a.astype(np.float16).astype(np.float32)


ROUND = {"f32": lambda a: a, "bf16": round_bf16, "f16": round_f16}


def unpermute(w, heads):
    """llama.cpp stores q and k so that RoPE turns neighbours (2i, 2i+1); back to pairs (i, i + head_dim/2)."""
    pairs = w.reshape(heads, -1, 2, *w.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(w.shape)


def load(path, dtype="f32"):
    """Reads a GGUF; the matrices' values are rounded to `dtype` as the packed file rounds them, norms stay float32."""
    reader = GGUFReader(path)
    arch = reader.fields["general.architecture"].contents()
    assert arch in ("llama", "qwen2"), arch

    def key(name, default=None):
        entry = reader.fields.get(f"{arch}.{name}")
        return default if entry is None else entry.contents()

    tensors = {t.name: t for t in reader.tensors}

    def vector(name):
        return dequantize(tensors[name].data, tensors[name].tensor_type).astype(np.float32)

    def matrix(name):
        return ROUND[dtype](vector(name))

    hidden = key("embedding_length")
    num_heads = key("attention.head_count")
    num_kv_heads = key("attention.head_count_kv", num_heads)
    head_dim = key("attention.key_length", hidden // num_heads)
    base = key("rope.freq_base", 10000.0)
    inv_freq = base ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if "rope_freqs.weight" in tensors:  # Llama 3.1 and later: each frequency has a divisor
        inv_freq = inv_freq / vector("rope_freqs.weight")

    layers = []
    for n in range(key("block_count")):
        layer = Layer(vector(f"blk.{n}.attn_norm.weight"), vector(f"blk.{n}.ffn_norm.weight"))
        for name in LINEARS:
            layer.weight[name] = matrix(f"blk.{n}.{GGUF_NAMES[name]}.weight")
            if f"blk.{n}.{GGUF_NAMES[name]}.bias" in tensors:
                layer.bias[name] = vector(f"blk.{n}.{GGUF_NAMES[name]}.bias")
        if arch == "llama":  # qwen2 files are not permuted
            for name, heads in (("q", num_heads), ("k", num_kv_heads)):
                layer.weight[name] = unpermute(layer.weight[name], heads)
                if name in layer.bias:
                    layer.bias[name] = unpermute(layer.bias[name], heads)
        layers.append(layer)

    embed = matrix("token_embd.weight")
    return Model(
        num_heads,
        num_kv_heads,
        head_dim,
        key("attention.layer_norm_rms_epsilon"),
        inv_freq.astype(np.float32),
        embed,
        matrix("output.weight") if "output.weight" in tensors else embed,
        vector("output_norm.weight"),
        layers,
    )


def in_float64(model):
    """The same model for arithmetic in float64: how the goldens are made free of rounding noise."""
    wide = lambda a: a.astype(np.float64)
    embed = wide(model.embed)
    return Model(
        model.num_heads,
        model.num_kv_heads,
        model.head_dim,
        model.eps,
        wide(model.inv_freq),
        embed,
        embed if model.head is model.embed else wide(model.head),
        wide(model.final_norm),
        [
            Layer(
                wide(layer.attn_norm),
                wide(layer.mlp_norm),
                {k: wide(w) for k, w in layer.weight.items()},
                {k: wide(b) for k, b in layer.bias.items()},
            )
            for layer in model.layers
        ],
    )


# ---------------------------------------------------------------------------------------------------- forward


def rms_norm(x, gain, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(eps)) * gain


def rope(x, inv_freq):
    """Turns each pair (i, i + d/2) of x [batch, time, heads, d] by time * inv_freq[i]."""
    angle = np.arange(x.shape[1], dtype=x.dtype)[:, None, None] * inv_freq  # [time, 1, d/2]
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


def attention(q, k, v):
    """Causal attention; q [batch, time, heads, d], k and v [batch, time, kv_heads, d], heads shared in groups."""
    batch, time, heads, d = q.shape
    kv_heads = k.shape[2]
    q = q.reshape(batch, time, kv_heads, heads // kv_heads, d).transpose(0, 2, 3, 1, 4)  # [b, kv, group, time, d]
    k = k.transpose(0, 2, 3, 1)[:, :, None]  # [b, kv, 1, d, time]
    v = v.transpose(0, 2, 1, 3)[:, :, None]  # [b, kv, 1, time, d]
    future = np.triu(np.full((time, time), -np.inf, q.dtype), 1)
    out = softmax(q @ k / q.dtype.type(np.sqrt(d)) + future) @ v
    return out.transpose(0, 3, 1, 2, 4).reshape(batch, time, heads * d)


def dense(model, n, name, x):
    """A linear of layer n. The sparse methods stand in for this function; see rsparse.py."""
    y = x @ model.layers[n].weight[name].T
    return y + model.layers[n].bias[name] if name in model.layers[n].bias else y


def forward(model, ids, linear=dense, watch=lambda name, value: None):
    """ids [batch, time] -> the hidden state after the final norm [batch, time, hidden]."""
    batch, time = ids.shape
    heads = lambda x: x.reshape(batch, time, -1, model.head_dim)
    x = model.embed[ids]
    for n, layer in enumerate(model.layers):
        h = rms_norm(x, layer.attn_norm, model.eps)
        q = rope(heads(linear(model, n, "q", h)), model.inv_freq)
        k = rope(heads(linear(model, n, "k", h)), model.inv_freq)
        v = heads(linear(model, n, "v", h))
        watch(f"layers.{n}.q", q)
        watch(f"layers.{n}.k", k)
        watch(f"layers.{n}.v", v)
        a = attention(q, k, v)
        watch(f"layers.{n}.attention", a)  # the input of o
        x = x + linear(model, n, "o", a)

        h = rms_norm(x, layer.mlp_norm, model.eps)
        a = silu(linear(model, n, "gate", h)) * linear(model, n, "up", h)
        watch(f"layers.{n}.activation", a)  # the input of down
        x = x + linear(model, n, "down", a)
        watch(f"layers.{n}.hidden", x)
    x = rms_norm(x, model.final_norm, model.eps)
    watch("final", x)
    return x


def logits(model, hidden):
    return hidden @ model.head.T


def next_token_logprobs(model, ids, linear=dense):
    """The log-probability of each token after the first, given those before it: [batch, time - 1], in float64."""
    result = np.empty((ids.shape[0], ids.shape[1] - 1))
    for i, row in enumerate(ids):  # one sequence at a time keeps the arrays small, which is faster
        z = logits(model, forward(model, row[None], linear)[0, :-1])
        top = z.max(axis=-1, keepdims=True)
        total = np.log(np.exp(z - top).sum(axis=-1, dtype=np.float64)) + top[:, 0]
        result[i] = z[np.arange(len(z)), row[1:]] - total
    return result


def perplexity(logprobs):
    return float(np.exp(-logprobs.mean()))


def greedy(model, ids, count, linear=dense):
    """`count` tokens, each the likeliest (the lowest id among equals), and the smallest lead any of them had."""
    ids, lead = list(ids), np.inf
    start = len(ids)
    for _ in range(count):
        z = logits(model, forward(model, np.array([ids]), linear)[0, -1])
        second, first = np.partition(z, -2)[-2:]
        lead = min(lead, float(first - second))
        ids.append(int(np.argmax(z)))
    return ids[start:], lead


if __name__ == "__main__":
    import tokenizer

    parser = argparse.ArgumentParser(description="greedy continuation of a prompt")
    parser.add_argument("model")
    parser.add_argument("prompt")
    parser.add_argument("--dtype", choices=ROUND, default="f32")
    parser.add_argument("--tokens", type=int, default=24)
    args = parser.parse_args()
    text = tokenizer.from_gguf(args.model)
    ids, lead = greedy(load(args.model, args.dtype), text.encode(args.prompt, add_special_tokens=False).ids, args.tokens)
    print(repr(text.decode(ids)))
    print(f"ids {ids}\nsmallest lead of a chosen token {lead:.4f}")
