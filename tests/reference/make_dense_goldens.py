"""Writes ../goldens/NAME.json: the dense pass of a larger model, prompt and text.

    python make_dense_goldens.py MODEL.gguf NAME [DTYPE]

Weights are rounded to bfloat16, or to DTYPE (`f32`: those of the file); everything is computed in float64 after a float32 pass, whose largest differences are
`float32_error`. Needs 8 bytes a weight of memory: each matrix is widened in place.
"""

import json
import sys

import numpy as np

import llama
import tokenizer
from make_goldens import GOLDENS, PROMPT, TEXT


def widen(model):
    """Turns the model's arrays into float64, one at a time."""
    tied = model.head is model.embed
    model.embed = model.embed.astype(np.float64)
    model.head = model.embed if tied else model.head.astype(np.float64)
    model.inv_freq = model.inv_freq.astype(np.float64)
    model.final_norm = model.final_norm.astype(np.float64)
    for layer in model.layers:
        layer.attn_norm, layer.mlp_norm = layer.attn_norm.astype(np.float64), layer.mlp_norm.astype(np.float64)
        for arrays in (layer.weight, layer.bias):
            for name in arrays:
                arrays[name] = arrays[name].astype(np.float64)


def main(path, name, dtype="bf16"):
    model, tok = llama.load(path, dtype), tokenizer.from_gguf(path)
    encode = lambda text: tok.encode(text, add_special_tokens=False).ids
    prompt, text = encode(PROMPT), encode(TEXT)[:64]
    assert encode(tok.decode(text)) == text and len(text) == 64

    def passes():
        logits = llama.logits(model, llama.forward(model, np.array([prompt]))[0, -1])
        return logits, llama.next_token_logprobs(model, np.array([text]))[0]

    rough_logits, rough = passes()
    widen(model)
    logits, logprobs = passes()
    top = np.argsort(-logits)[:20]
    continuation, lead = llama.greedy(model, prompt, 12)
    golden = {
        "prompt": PROMPT,
        "prompt_ids": prompt,
        "top_ids": top.tolist(),
        "top_logits": [float(np.float32(z)) for z in logits[top]],
        "greedy_ids": continuation,
        "greedy_text": tok.decode(continuation),
        "greedy_smallest_lead": round(lead, 4),
        "text": tok.decode(text),
        "text_ids": text,
        "text_logprobs": [float(np.float32(z)) for z in logprobs],
        "float32_error": {
            "logits": float(f"{np.abs(logits - rough_logits).max():.3g}"),
            "text_logprobs": float(f"{np.abs(logprobs - rough).max():.3g}"),
        },
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    (GOLDENS / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(golden["greedy_text"], lead, golden["float32_error"])


if __name__ == "__main__":
    main(*sys.argv[1:])
