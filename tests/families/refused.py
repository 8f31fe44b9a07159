#!/usr/bin/env python3
"""Makes refused.json: configurations of families and traits that rasp does not compute, and what its refusal must name.

    python3 tests/families/refused.py

Needs transformers 4.57.6. A refusal names `trait`, whose words are those of packer/src/import/obstacle.rs,
and `class` where no model of that class is read.
"""

import json
from pathlib import Path

from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

SMALL = dict(
    vocab_size=288,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=2048,
    bos_token_id=284,
    eos_token_id=285,
)
EXPERTS = "experts"
STATE = "state-space"
RECURRENT = "recurrent"
LINEAR = "linear attention"
OWN_EMBEDDINGS = "embeddings of each layer's own"
UNTAUGHT = "was not taught"
# Name -> model_type, trait, what differs from SMALL.
REFUSED = {
    "mixtral": ("mixtral", EXPERTS, dict(num_local_experts=4)),
    "qwen2_moe": ("qwen2_moe", EXPERTS, dict(num_experts=4)),
    "qwen3_moe": ("qwen3_moe", EXPERTS, dict(num_experts=4)),
    "qwen3_next": ("qwen3_next", LINEAR, dict(num_experts=4)),
    "olmoe": ("olmoe", EXPERTS, dict(num_experts=4)),
    "phimoe": ("phimoe", EXPERTS, dict(num_local_experts=4)),
    "granitemoe": ("granitemoe", EXPERTS, dict(num_local_experts=4)),
    "ernie4_5_moe": ("ernie4_5_moe", EXPERTS, {}),
    "glm4_moe": ("glm4_moe", EXPERTS, {}),
    "hunyuan_v1_moe": ("hunyuan_v1_moe", EXPERTS, {}),
    "minimax": ("minimax", LINEAR, dict(layer_types=["full_attention", "linear_attention"])),
    "llama4_text": ("llama4_text", EXPERTS, {}),
    "dbrx": ("dbrx", EXPERTS, None),
    "gpt_oss": ("gpt_oss", "attention sinks", dict(num_local_experts=4)),
    "deepseek_v2": ("deepseek_v2", "MLA", {}),
    "deepseek_v3": ("deepseek_v3", "MLA", {}),
    "lfm2": ("lfm2", "convolution", dict(layer_types=["conv", "full_attention"])),
    "mamba": ("mamba", STATE, None),
    "mamba2": ("mamba2", STATE, None),
    "falcon_mamba": ("falcon_mamba", STATE, None),
    "falcon_h1": ("falcon_h1", STATE, {}),
    "jamba": ("jamba", STATE, {}),
    "bamba": ("bamba", STATE, {}),
    "zamba2": ("zamba2", STATE, {}),
    "recurrent_gemma": ("recurrent_gemma", RECURRENT, {}),
    "rwkv": ("rwkv", RECURRENT, None),
    "xlstm": ("xlstm", RECURRENT, None),
    "bitnet": ("bitnet", "BitNet", {}),
    "diffllama": ("diffllama", "differential attention", {}),
    "nemotron_h": ("llama", STATE, dict(architectures=["NemotronHForCausalLM"], model_type="nemotron_h")),
    "gemma3n_text": ("gemma3n_text", OWN_EMBEDDINGS, dict(num_hidden_layers=5)),
    "mpt": ("mpt", "ALiBi", None),
    "bloom": ("bloom", "ALiBi", None),
    "opt": ("opt", UNTAUGHT, None),
    "gptj": ("gptj", UNTAUGHT, None),
    "codegen": ("codegen", UNTAUGHT, None),
    "bert": ("bert", "looks ahead", dict(is_decoder=True)),
    # Traits of classes of which other models may be read.
    "falcon_alibi": ("falcon", "alibi", dict(alibi=True)),
    "gemma3_bidirectional": ("gemma3_text", "use_bidirectional_attention", dict(use_bidirectional_attention=True)),
    "granite4_experts": ("granitemoehybrid", EXPERTS, dict(num_local_experts=4, layer_types=["attention"] * 2)),
    "granite4_mamba": (
        "granitemoehybrid",
        "mamba",
        dict(num_local_experts=0, layer_types=["mamba", "attention"], mamba_n_heads=8),
    ),
    "gpt2_inverse_layer": ("gpt2", "scale_attn_by_inverse_layer_idx", dict(scale_attn_by_inverse_layer_idx=True)),
    "llama_unknown_rope": ("llama", "sinusoidal", dict(json_rope_scaling=dict(rope_type="sinusoidal", factor=2.0))),
    "llama_unknown_act": ("llama", "laplace", dict(hidden_act="laplace")),
    "llama_gptq": ("llama", "quantization_config", dict(json_quantization_config=dict(quant_method="gptq", bits=4))),
    "qwen3_unknown_layer": ("qwen3", "linear_attention", dict(json_layer_types=["linear_attention", "full_attention"])),
    "minicpm3": ("llama", "MLA", dict(architectures=["MiniCPM3ForCausalLM"], model_type="minicpm3", kv_lora_rank=16)),
}


def finite(value):
    """The same without infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if value in (float("inf"), float("-inf")) else value


def make(model_type, trait, changes):
    base = {} if changes is None else SMALL
    changes = dict(changes or {})
    over = {k: changes.pop(k) for k in ("architectures", "model_type") if k in changes}
    raw = {k.removeprefix("json_"): changes.pop(k) for k in list(changes) if k.startswith("json_")}
    config = AutoConfig.for_model(model_type, **{**base, **changes})
    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]]
    written = {**json.loads(config.to_json_string(use_diff=True)), **over, **raw}
    return {"class": written["architectures"][0], "trait": trait, "config": finite(written)}


def main():
    made = {name: make(*what) for name, what in REFUSED.items()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(what, allow_nan=False)}" for name, what in made.items())
    (Path(__file__).parent / "refused.json").write_text("{\n" + lines + "\n}\n")
    print(f"{len(made)} configurations")


if __name__ == "__main__":
    main()
