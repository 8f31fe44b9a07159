"""Writes ../goldens/smollm2.safetensors and ../goldens/smollm2.json: the forward pass, step by step.

    python make_goldens.py SMOLLM2.gguf DATA_DIR

Weights are rounded to bfloat16; thresholds come from a float32 pass; everything else is computed in float64 and
stored in float32, so a golden is the exact answer but for its last bit. `float32_error` in the JSON is how far the
same pass in float32 comes out: a fair engine is about as far, and a wrong one much farther.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

import llama
import rsparse
import tokenizer

GOLDENS = Path(__file__).parent.parent / "goldens"
PROMPT = "The capital of France is"
SPARSITIES = (0.3, 0.4, 0.5, 0.6, 0.7)
TEXT = (
    "The old lighthouse keeper climbed the narrow stairs every evening at dusk, carrying a lamp and a small brass "
    "key. From the gallery he could see fishing boats returning to the harbour, their nets heavy with silver "
    "herring, and he counted them one by one until all 27 were safe behind the stone wall. Then he wrote the date "
    "in his book and went down to supper."
)


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, a in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [offset, offset + 4 * a.size]}
        offset += 4 * a.size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    body = b"".join(np.ascontiguousarray(a, "<f4").tobytes() for a in tensors.values())
    path.write_bytes(struct.pack("<Q", len(head)) + head + body)


def passes(model, prompt, text, sparse):
    """Every array of the goldens, in the model's own arithmetic."""
    seen = {}
    final = llama.forward(model, np.array([prompt]), watch=lambda name, value: seen.__setitem__(name, value[0]))
    hidden = [seen[f"layers.{n}.hidden"] for n in range(len(model.layers))]
    flat = lambda a: a.reshape(len(prompt), -1)  # heads side by side
    return {
        "hidden.first": np.stack([h[0] for h in hidden]),  # [layers, H]: the residual stream after each layer
        "hidden.last": np.stack([h[-1] for h in hidden]),
        "final.last": final[0, -1],  # [H], after the final norm
        "logits.last": llama.logits(model, final[0, -1]),
        "layers.0.q": flat(seen["layers.0.q"]),  # [time, Q], after RoPE
        "layers.0.k": flat(seen["layers.0.k"]),
        "layers.0.v": flat(seen["layers.0.v"]),
        "layers.0.attention.last": seen["layers.0.attention"][-1],  # [Q], the input of o
        "layers.0.activation.last": seen["layers.0.activation"][-1],  # [I], the input of down
        "text.logprobs": llama.next_token_logprobs(model, np.array([text]))[0],  # [63]
        "text.logprobs.sparse": llama.next_token_logprobs(model, np.array([text]), sparse)[0],
    }


def main(path, data):
    model, tok = llama.load(path, "bf16"), tokenizer.from_gguf(path)
    encode = lambda text: tok.encode(text, add_special_tokens=False).ids
    prompt, text = encode(PROMPT), encode(TEXT)[:64]
    assert encode(tok.decode(text)) == text and len(text) == 64

    settings = [(s, 1.0, "norm") for s in SPARSITIES]
    prepared = rsparse.prepare(model, None, settings, "bf16")
    calibration = rsparse.windows(tok, data / rsparse.CALIBRATION_FILE, rsparse.CALIBRATION_WINDOWS)
    rsparse.calibrate(model, calibration, prepared, settings)
    linears = [(n, name) for n in range(len(model.layers)) for name in llama.LINEARS]
    thresholds = {
        f"layers.{n}.{name}": [float(np.float32(prepared[*setting, n, name].threshold)) for setting in settings]
        for n, name in linears
    }

    def sparse(m):
        """The linears at 50% over the weights of `m`."""
        at_half = {key: prepared[0.5, 1.0, "norm", *key] for key in linears}
        return rsparse.SparseLinears(
            {(n, name): rsparse.Sparse(one.score, one.threshold, m.layers[n].weight[name]) for (n, name), one in at_half.items()},
            dense_tokens=0,
        )

    wide = llama.in_float64(model)
    exact_sparse = sparse(wide)
    exact, rough = passes(wide, prompt, text, exact_sparse), passes(model, prompt, text, sparse(model))
    error = {name: float(f"{np.abs(exact[name] - rough[name]).max():.3g}") for name in exact}
    logits = exact.pop("logits.last")
    top = np.argsort(-logits)[:20]
    continuation, lead = llama.greedy(wide, prompt, 24)
    print(repr(tok.decode(continuation)))

    write_safetensors(GOLDENS / "smollm2.safetensors", exact)
    golden = {
        "model": "SmolLM2-135M-Instruct, Q4_1 GGUF, matrices rounded to bf16",
        "prompt": PROMPT,
        "prompt_ids": prompt,
        "top_ids": top.tolist(),
        "top_logits": [float(np.float32(z)) for z in logits[top]],
        "greedy_ids": continuation,
        "greedy_text": tok.decode(continuation),
        "greedy_smallest_lead": round(lead, 4),
        "text": tok.decode(text),
        "text_ids": text,
        "text_sparse": {
            "sparsity": 0.5,
            "rho": 1,
            "score": "weight_norm",
            "protocol": "strict",
            "traffic_kept": round(exact_sparse.traffic, 5),
        },
        "float32_error": error,
        "sparsity": SPARSITIES,
        "thresholds": thresholds,
    }
    # one line for each key, and one for each linear
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items() if key != "thresholds"]
    rows = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in thresholds.items())
    lines.append(f'  "thresholds": {{\n{rows}\n  }}')
    (GOLDENS / "smollm2.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print("float32_error", json.dumps(error, indent=1))
    print("logprob a token", exact["text.logprobs"].mean(), "sparse", exact["text.logprobs.sparse"].mean())
    print("traffic kept", exact_sparse.traffic)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
