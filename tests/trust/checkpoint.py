"""A tiny checkpoint in a Hugging Face folder, made of nothing: one byte a token, weights of a random generator. And a
LoRA adapter for it, as PEFT has it."""

import json
import pathlib
import random
import struct
import sys

HIDDEN, INNER, LAYERS, HEADS = 32, 64, 2, 4


def byte_letters():
    """The letters that byte-level tokenizers write bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


def added(number, text):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": text, "special": True, **flags}


def checkpoint(folder):
    folder.mkdir(parents=True, exist_ok=True)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(256, "<|start|>"), added(257, "<|end|>")],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "vocab": byte_letters(), "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    template = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content | trim }}<|end|>\n{% endfor %}"
    settings = {"eos_token": "<|end|>", "bos_token": "<|start|>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    vocabulary = 288
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 160,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "bos_token_id": 256,
        "eos_token_id": 257,
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": (vocabulary, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        shapes |= {name + norm + "_layernorm.weight": (HIDDEN,) for norm in ("input", "post_attention")}
        shapes |= {name + f"self_attn.{linear}_proj.weight": (HIDDEN, HIDDEN) for linear in "qkvo"}
        shapes |= {name + f"mlp.{linear}_proj.weight": (INNER, HIDDEN) for linear in ("gate", "up")}
        shapes[name + "mlp.down_proj.weight"] = (HIDDEN, INNER)
    write(folder / "model.safetensors", shapes)


def write(path, shapes):
    """Random tensors of these shapes; vectors around 1."""
    chance, header, data = random.Random(1), {}, b""
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = [(1 if len(shape) == 1 else 0) + chance.uniform(-0.2, 0.2) for _ in range(count)]
        start = len(data)
        data += struct.pack(f"<{count}f", *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def adapter(folder, rank=3, layers=LAYERS, hidden=HIDDEN, inner=INNER):
    """For a Llama of these sizes whose queries are as wide as its residual stream."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 4 * rank, "bias": "none", "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    shapes = {}
    for layer in range(layers):
        name = f"base_model.model.model.layers.{layer}."
        for module, outputs, inputs in ("self_attn.q_proj", hidden, hidden), ("mlp.down_proj", hidden, inner):
            shapes[f"{name}{module}.lora_A.weight"] = (rank, inputs)
            shapes[f"{name}{module}.lora_B.weight"] = (outputs, rank)
    write(folder / "adapter_model.safetensors", shapes)


if __name__ == "__main__":
    checkpoint(pathlib.Path(sys.argv[1]))
    if len(sys.argv) > 2:
        adapter(pathlib.Path(sys.argv[2]))
