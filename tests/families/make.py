#!/usr/bin/env python3
"""Makes the goldens that hold every model family to Hugging Face transformers.

    python3 tests/families/make.py [CASE ...]      remake these cases, or all of them

Needs torch, transformers 4.57.6, safetensors and numpy. For each case of cases.py it builds a tiny checkpoint with the
family's own classes, gives it weights that follow from the names of its tensors (weights.py), lets transformers load
it and run 50 tokens in f32 with eager attention, and writes

    data/CASE.json          config.json as it is to be written, the tensors, the tokens, what each trait changes
    data/CASE.safetensors   what transformers says: see GOLDENS

The Rust test packer/tests/families/ makes the same checkpoint from the JSON alone. No weight is committed.
"""

import json
import math
import re
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoConfig
from transformers.modeling_utils import no_init_weights
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import weights
from cases import CASES

HERE = Path(__file__).parent
DATA = HERE / "data"
VERSION = "4.57.6"
# 50 tokens: the bytes of this text and a few of the merged and special tokens of the test's tokenizer.
TEXT = b"It was a bright cold day in April, and the clo"
TOKENS = [284, *TEXT, 260, 271, 286]
# The vocabulary ids whose log-probabilities are kept.
IDS = list(range(4, 288, 9))
# log_probs [50, 32]: natural logarithms of the probabilities of IDS behind each token; top [50]: the likeliest id;
# top_log_prob and margin [50]: its log-probability, and by how much it leads the second; lse [50]: of the logits.
GOLDENS = ("log_probs", "top", "top_log_prob", "margin", "lse")
# How far the tests let a log-probability be off, by the type that is packed. What takes a trait away must be seen far
# beyond that; what rounding to the packed type takes, far within.
TOLERANCE = {"bf16": 0.05, "f16": 0.01}
FAR = 3

# Norms that multiply by 1 + weight.
ONE_PLUS = {"gemma", "gemma2", "gemma3_text", "gemma3", "nemotron"}
NORM = re.compile(r"(norm|layernorm|ln_\w+|norms\.\d+)\.weight$")
EMBEDDING = re.compile(r"(embed_tokens|embed_in|word_embeddings|wte|wpe)\.weight$")
VISION = re.compile(r"vision_tower|multi_modal_projector")


def tidy(number):
    """Six digits: the JSON says exactly what both sides compute with."""
    return float(f"{number:.6g}")


def spread(case, name, shape):
    """(scale, offset) of a tensor's values: standard deviations that give a tiny model something to say."""
    uniform = math.sqrt(3)
    if name.endswith("act_fn.beta"):
        return 0.0, 0.5
    if name.endswith("act_fn.eps"):
        return 0.0, -1e-6
    if "act_fn.alpha" in name:
        return 0.5, 0.25
    if re.search(r"(^|\.)attn\.(masked_)?bias$", name):
        return 0.0, 1.0
    if VISION.search(name):
        return 0.1, 0.0
    if NORM.search(name):
        return 0.3, 0.0 if case.model_type in ONE_PLUS else 1.0
    if name.endswith(".bias"):
        return 0.4, 0.0
    if EMBEDDING.search(name):
        return tidy(case.embedding * uniform), 0.0
    assert len(shape) == 2, f"{name}: what is this?"
    inputs = shape[0] if re.search(r"\.c_(attn|proj|fc)\.weight$", name) and case.model_type == "gpt2" else shape[1]
    return tidy(case.gain * uniform / math.sqrt(inputs)), 0.0


def configuration(case):
    """config.json as transformers writes it, less what the case drops."""
    if case.special == "gemma3_wrapped":
        vision = dict(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=1,
            image_size=28,
            patch_size=14,
        )
        config = transformers.Gemma3Config(
            text_config=case.config,
            vision_config=vision,
            mm_tokens_per_image=1,
            boi_token_index=285,
            eoi_token_index=286,
            image_token_index=287,
        )
        config.architectures = ["Gemma3ForConditionalGeneration"]
    else:
        config = AutoConfig.for_model(case.model_type, **case.config)
        config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[case.model_type]]
    written = json.loads(config.to_json_string(use_diff=True))
    for key in (*case.drop, "dtype"):
        written.pop(key, None)
    written.update(case.add)
    written["torch_dtype"] = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}[case.dtype]
    if case.special == "minicpm":
        written.pop("head_dim", None)
        written.pop("tie_word_embeddings", None)
        written.update(
            architectures=["MiniCPMForCausalLM"], model_type="minicpm", scale_emb=4, scale_depth=1.4, dim_model_base=32
        )
    if case.special == "gpt2_hub":
        written["n_positions"] = written["n_ctx"] = 64
    return written


def defaulted(written, case):
    """Keys that say what their class takes where they are absent; `text_config/KEY` where nested."""
    if case.special == "minicpm":
        return ["tie_word_embeddings"] if "tie_word_embeddings" in written else []
    levels = [("", written)]
    if "text_config" in written:
        levels.append(("text_config/", written["text_config"]))
    keys = []
    for prefix, level in levels:
        standard = CONFIG_MAPPING[level["model_type"]]().to_dict()
        keys += [
            prefix + key
            for key, value in level.items()
            if key in standard and standard[key] == value and key not in ("model_type", "architectures")
        ]
    less = json.loads(json.dumps(written))
    for key in keys:
        *outer, key = key.split("/")
        (less[outer[0]] if outer else less).pop(key)
    assert parsed(less, case).to_dict() == parsed(written, case).to_dict(), "a default depends on another key"
    return keys


def model_class(config, case):
    if case.special == "gemma3_wrapped":
        return transformers.Gemma3ForConditionalGeneration
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def parsed(written, case):
    """The configuration as transformers reads it back."""
    if case.special == "minicpm":
        written = {**written, "model_type": "llama", "tie_word_embeddings": True}
    return CONFIG_MAPPING[written["model_type"]].from_dict(dict(written))


def tensor_names(written, case):
    """[(name, shape)] of the file that transformers saves."""
    config = parsed(written, case)
    # StableLM's norms of heads have no bias, and its initialization does not know that.
    with (
        no_init_weights()
        if getattr(config, "use_parallel_residual", False) and case.family.startswith("StableLM")
        else nullcontext()
    ):
        model = model_class(config, case)(config)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
    if case.special == "gpt2_hub":
        # As the first checkpoints on the hub: no prefix, and the causal mask in every layer.
        shapes = {name.removeprefix("transformer."): shape for name, shape in shapes.items()}
        for layer in range(written["n_layer"]):
            shapes[f"h.{layer}.attn.bias"] = [1, 1, 64, 64]
    return sorted(shapes.items())


class Scaled:
    """A hook that multiplies what a module gives."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, module, inputs, output):
        if isinstance(output, tuple):
            return (output[0] * self.factor, *output[1:])
        return output * self.factor


def load(written, case, tensors, whole):
    """A model that transformers has loaded from this folder's files; `whole` if nothing may be missing or left over."""
    config = parsed(written, case)
    with tempfile.TemporaryDirectory() as folder:
        save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
        model, info = model_class(config, case).from_pretrained(
            folder, config=config, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    assert not whole or not any(info.values()), info
    if case.special == "minicpm":
        # As openbmb/MiniCPM-2B's modeling_minicpm.py multiplies.
        model.model.embed_tokens.register_forward_hook(Scaled(written["scale_emb"]))
        depth = written["scale_depth"] / math.sqrt(written["num_hidden_layers"])
        for layer in model.model.layers:
            layer.self_attn.register_forward_hook(Scaled(depth))
            layer.mlp.register_forward_hook(Scaled(depth))
        model.model.norm.register_forward_hook(Scaled(written["dim_model_base"] / written["hidden_size"]))
    return model.eval()


def logits(written, case, tensors, whole=True):
    """[50, vocabulary], in f64 from f32."""
    with torch.no_grad():
        output = load(written, case, tensors, whole)(input_ids=torch.tensor([TOKENS]), use_cache=False)
    return output.logits[0].double()


def goldens(values):
    log_probs = torch.log_softmax(values, -1)
    best = log_probs.topk(2, dim=-1)
    return {
        "log_probs": log_probs[:, IDS].float().numpy(),
        "top": best.indices[:, 0].int().numpy(),
        "top_log_prob": best.values[:, 0].float().numpy(),
        "margin": (best.values[:, 0] - best.values[:, 1]).float().numpy(),
        "lse": torch.logsumexp(values, -1).float().numpy(),
    }


def changed(written, change):
    """The configuration without a trait; keys of a wrapped one lie in its text_config."""
    written = json.loads(json.dumps(written))
    for key, value in change.get("config", {}).items():
        nested = key not in written and "text_config" in written
        (written["text_config"] if nested else written)[key] = value
    return written


def neutralized(tensors, case, pattern):
    """Weights with what matches set to where it does nothing: gains to 1, all else to 0."""
    found = False
    result = {}
    for name, tensor in tensors.items():
        if re.search(pattern, name):
            found = True
            one = NORM.search(name) and case.model_type not in ONE_PLUS
            tensor = torch.full_like(tensor, 1.0 if one else 0.0)
        result[name] = tensor
    assert found, f"{pattern} matches no tensor"
    return result


def effects(name, case, written, tensors, reference):
    """Trait -> the largest difference of a kept log-probability without it."""
    result = {}
    for trait, change in case.traits.items():
        other = neutralized(tensors, case, change["neutral"]) if "neutral" in change else tensors
        values = torch.log_softmax(logits(changed(written, change), case, other, False), -1)[:, IDS]
        result[trait] = tidy(float((values - torch.from_numpy(reference["log_probs"])).abs().max().numpy().round(4)))
        if result[trait] < FAR * tolerance(case):
            raise SystemExit(f"{name}: {trait} changes only {result[trait]}: the golden would not notice its absence")
    return result


def tolerance(case):
    return case.tolerance or TOLERANCE[case.weight_type]


def check_rounding(name, case, written, tensors, reference):
    """Fails if the packed type alone takes more than a half of the tolerance."""
    rounded = {n: tensor.to(weights.DTYPES[case.weight_type]).float() for n, tensor in tensors.items()}
    values = torch.log_softmax(logits(written, case, rounded), -1)[:, IDS]
    difference = float((values - torch.from_numpy(reference["log_probs"])).abs().max())
    if difference > tolerance(case) / 2:
        raise SystemExit(f"{name}: rounding to {case.weight_type} takes {difference:.4f}")


def make(name, case):
    torch.manual_seed(0)
    written = configuration(case)
    listed = [(n, shape, *spread(case, n, shape)) for n, shape in tensor_names(written, case)]
    tensors = {n: weights.tensor(n, shape, scale, offset, case.dtype) for n, shape, scale, offset in listed}
    values = logits(written, case, tensors)
    found = goldens(values)
    deviation = float(found["log_probs"].std())
    if not 0.8 < deviation < 12:
        raise SystemExit(f"{name}: log-probabilities deviate by {deviation}: too flat or too sharp to test with")
    if case.dtype != case.weight_type:
        check_rounding(name, case, written, tensors, found)
    measured = effects(name, case, written, tensors, found)
    write(
        DATA / f"{name}.json",
        {
            "family": case.family,
            "config": written,
            "weight_type": case.weight_type,
            "tolerance": tolerance(case),
            "context": case.context,
            "tokens": TOKENS,
            "ids": IDS,
            "traits": measured,
            "defaulted": defaulted(written, case),
            "dtype": case.dtype,
            "tensors": listed,
        },
    )
    save_arrays(found, DATA / f"{name}.safetensors")
    print(f"{name:24} std {deviation:5.2f} least margin {found['margin'].min():.4f} {measured}", flush=True)


def write(path, value):
    """JSON with a line for each key and each tensor."""
    lines = []
    for key, part in value.items():
        if key == "tensors":
            rows = ",\n".join("  " + json.dumps(row) for row in part)
            lines.append(f'"tensors": [\n{rows}\n]')
        elif key == "config":
            rows = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in part.items())
            lines.append(f'"config": {{\n{rows}\n}}')
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(part)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    if transformers.__version__ != VERSION:
        raise SystemExit(f"transformers is {transformers.__version__}; the goldens are of {VERSION}")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    DATA.mkdir(exist_ok=True)
    names = sys.argv[1:] or list(CASES)
    failed = []
    for name in names:
        try:
            make(name, CASES[name])
        except (Exception, SystemExit) as error:
            failed.append(name)
            print(f"{name}: FAILED {type(error).__name__}: {error}", flush=True)
    if failed:
        raise SystemExit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    main()
