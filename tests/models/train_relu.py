#!/usr/bin/env python3
"""Trains a tiny Llama whose gates are exactly zero nearly always, in minutes on a processor: what natively sparse
models are at scale (Sparser, Faster, Lighter: arXiv:2603.23198; Mirzadeh et al.: arXiv:2310.04564, section 3).

    python3 tests/models/train_relu.py TEXT OUTPUT_FOLDER [--steps 800] [--penalty 0.3] [--seed 0]

Run by hand; needs torch, safetensors. A token is a byte, the gate's activation ReLU; beside the loss of the next token
stands PENALTY times the mean of |activation|, of all layers, PENALTY rising from 0 over the first quarter of the steps.
The folder is a Hugging Face checkpoint: `rasp pack OUTPUT_FOLDER -o relu.rasp` takes it.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from byte_tokenizer import write_tokenizer
from safetensors.torch import save_file

BYTES, HIDDEN, INNER, LAYERS, HEADS, CONTEXT, EPS, THETA = 256, 128, 512, 4, 4, 512, 1e-5, 10000.0
HEAD = HIDDEN // HEADS
BATCH, WINDOW = 8, 256


def shapes():
    """Of every tensor, as Hugging Face names them: outputs by inputs."""
    yield "model.embed_tokens.weight", (BYTES, HIDDEN)
    yield "model.norm.weight", (HIDDEN,)
    for n in range(LAYERS):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{n}.{norm}.weight", (HIDDEN,)
        for linear in "qkvo":
            yield f"model.layers.{n}.self_attn.{linear}_proj.weight", (HIDDEN, HIDDEN)
        for linear, shape in (("gate", (INNER, HIDDEN)), ("up", (INNER, HIDDEN)), ("down", (HIDDEN, INNER))):
            yield f"model.layers.{n}.mlp.{linear}_proj.weight", shape


def initial(shape):
    if len(shape) == 1:
        return torch.ones(shape)
    return torch.randn(shape) / math.sqrt(shape[1])


def normed(x, gain):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * gain


def turned(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def forward(weights, tokens):
    """The logits `[batch, tokens, bytes]`, and the activations of all layers."""
    angles = torch.arange(tokens.shape[1])[:, None] * THETA ** (-torch.arange(0, HEAD, 2) / HEAD)
    cos, sin = angles.cos(), angles.sin()
    x = weights["model.embed_tokens.weight"][tokens]
    activations = []
    for n in range(LAYERS):
        own = lambda name: weights[f"model.layers.{n}.{name}.weight"]
        y = normed(x, own("input_layernorm"))
        heads = lambda name: (y @ own(f"self_attn.{name}_proj").T).unflatten(-1, (HEADS, HEAD)).transpose(1, 2)
        q, k, v = turned(heads("q"), cos, sin), turned(heads("k"), cos, sin), heads("v")
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + attended @ own("self_attn.o_proj").T
        y = normed(x, own("post_attention_layernorm"))
        activations.append(F.relu(y @ own("mlp.gate_proj").T))
        x = x + (activations[-1] * (y @ own("mlp.up_proj").T)) @ own("mlp.down_proj").T
    x = normed(x, weights["model.norm.weight"])
    return x @ weights["model.embed_tokens.weight"].T / math.sqrt(HIDDEN), activations


def train(text, steps, penalty, seed):
    torch.manual_seed(seed)
    weights = {name: torch.nn.Parameter(initial(shape)) for name, shape in shapes()}
    adam = torch.optim.AdamW(weights.values(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05)
    start = time.time()
    for step in range(steps):
        rate = min(1, (step + 1) / 50) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        adam.param_groups[0]["lr"] = 2e-3 * rate
        at = torch.randint(len(text) - WINDOW - 1, (BATCH,))
        some = torch.stack([text[i:i + WINDOW + 1] for i in at]).long()
        logits, activations = forward(weights, some[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), some[:, 1:].flatten())
        mean = torch.stack([activation.mean() for activation in activations]).mean()
        adam.zero_grad()
        (loss + penalty * min(1, 4 * step / steps) * mean).backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        adam.step()
        if step % 50 == 0 or step + 1 == steps:
            zeros = [(activation == 0).float().mean().item() for activation in activations]
            print(f"step {step}: {loss.item():.3f} nats a byte, gates at zero {' '.join(f'{z:.3f}' for z in zeros)}, "
                  f"{time.time() - start:.0f} s", flush=True)
    return weights


def save(weights, folder):
    folder.mkdir(parents=True, exist_ok=True)
    # The head is the embedding, and its logits are divided by the root of the width: both in the last norm's gain.
    weights = {name: weight.detach() for name, weight in weights.items()}
    weights["model.norm.weight"] = weights["model.norm.weight"] / math.sqrt(HIDDEN)
    save_file({name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "hidden_act": "relu",
        "vocab_size": BYTES, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPS, "rope_theta": THETA, "tie_word_embeddings": True, "attention_bias": False,
        "mlp_bias": False,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    write_tokenizer(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--penalty", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    text = torch.frombuffer(bytearray(args.text.read_bytes()), dtype=torch.uint8)
    save(train(text, args.steps, args.penalty, args.seed), args.output)


if __name__ == "__main__":
    main()
