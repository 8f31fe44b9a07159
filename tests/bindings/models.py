#!/usr/bin/env python3
"""What the bindings are tested with besides the real model, as folders to be packed: models.py FOLDER makes

    FOLDER/lora     a LoRA adapter for SmolLM2-135M of random numbers, as PEFT has it
    FOLDER/base     what its base is
    FOLDER/tools    a tiny model of random weights whose chat template teaches calls of tools, which SmolLM2's does not
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "trust"))

from checkpoint import adapter, checkpoint  # noqa: E402

BASE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
    "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
    "max_position_embeddings": 8192, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 100000,
    "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
}

# Thoughts where it is asked for them, calls as Hermes has them.
TEMPLATE = """\
{% for m in messages %}<|start|>{{ m.role }}
{% if m.content %}{{ m.content }}{% endif %}{% for c in m.tool_calls or [] %}<tool_call>
{"name": {{ c.function.name | tojson }}, "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}<|end|>
{% endfor %}{% if add_generation_prompt %}<|start|>assistant
{% if think %}<think>
{% endif %}{% endif %}{% set thought = '</think>' %}"""


def main(folder):
    adapter(folder / "lora", layers=BASE["num_hidden_layers"], hidden=BASE["hidden_size"],
            inner=BASE["intermediate_size"])
    (folder / "base").mkdir(exist_ok=True)
    (folder / "base" / "config.json").write_text(json.dumps(BASE))
    checkpoint(folder / "tools")
    (folder / "tools" / "chat_template.jinja").write_text(TEMPLATE)


main(pathlib.Path(sys.argv[1]))
