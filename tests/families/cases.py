"""The checkpoints: real configuration classes with the real configurations' traits, at a size that runs at once.

A case is what its configuration differs in from BASE, and for each trait a change that takes it away: make.py fails
unless every such change moves a log-probability by far more than the tests' tolerance, so no trait can be ignored
unnoticed.
"""

from dataclasses import dataclass, field

BASE = dict(
    vocab_size=288,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=2048,
    bos_token_id=284,
    eos_token_id=285,
    pad_token_id=None,
)


@dataclass
class Case:
    """One checkpoint."""

    family: str
    model_type: str
    config: dict
    # Trait -> what takes it away: {"config": {key: value}} and/or {"neutral": regular expression of tensors}.
    traits: dict = field(default_factory=dict)
    # Keys taken out of the configuration that transformers writes: older files lack them.
    drop: tuple = ()
    # What is put into it: transformers leaves these out, the real files do not.
    add: dict = field(default_factory=dict)
    # Type of the weights in the checkpoint, and the one to be packed.
    dtype: str = "bf16"
    weight_type: str = "bf16"
    # The context a file must be packed for, where the rotary frequencies depend on it.
    context: int | None = None
    # Standard deviation of the embedding.
    embedding: float = 0.5
    # Standard deviation of what a matrix makes of inputs of deviation 1.
    gain: float = 1.5
    # How far a log-probability may be off; None for what make.py takes for the weights' type. Less where what must be
    # told apart is closer: the two forms of GELU. (From bf16 to bf16 nothing is rounded but what is folded at import.)
    tolerance: float | None = None
    # What make.py must do differently: see there.
    special: str | None = None


CASES = {}


def case(name, family, model_type, traits=None, base=BASE, **rest):
    """Adds a case; `rest` is the configuration, apart from the fields of Case itself."""
    traits = {**(traits or {}), **rest.pop("more_traits", {})}
    own = {k: rest.pop(k) for k in list(rest) if k in Case.__dataclass_fields__ and k not in ("config", "traits")}
    CASES[name] = Case(family, model_type, {**base, **rest}, traits, **own)


def without(**config):
    return {"config": config}


def neutral(pattern):
    return {"neutral": pattern}


def eps(key, value=0.05):
    """An epsilon that is seen: what the class takes where nothing is said is not."""
    return {key: value, "more_traits": {key: without(**{key: 1e-6})}}


# Llama. Lengths at which scaled frequencies differ within 50 tokens: real ones need thousands.
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
UNSCALED = {"rope_scaling": without(rope_scaling=None)}
BIAS = {"biases": neutral(r"\.bias$")}

case("llama2", "Llama 2", "llama", {}, rms_norm_eps=1e-5)
case("llama3", "Llama 3", "llama", {"rope_theta": without(rope_theta=10000.0)}, rope_theta=500000.0, rms_norm_eps=1e-5)
case("llama3.1", "Llama 3.1", "llama", UNSCALED, rope_theta=500000.0, rope_scaling=LLAMA3, rms_norm_eps=1e-5,
     num_hidden_layers=2)
case("llama3.2", "Llama 3.2", "llama", UNSCALED, rope_theta=500000.0, rope_scaling={**LLAMA3, "factor": 32.0},
     rms_norm_eps=1e-5, tie_word_embeddings=True, head_dim=16, num_hidden_layers=2)
case("llama_attention_bias", "Llama", "llama",
     {"q, k, v biases": neutral(r"[qkv]_proj\.bias$"), "o bias": neutral(r"o_proj\.bias$")}, attention_bias=True,
     num_hidden_layers=2)
case("llama_mlp_bias", "Llama", "llama",
     {f"{part} bias": neutral(rf"{part}_proj\.bias$") for part in ("gate", "up", "down")}, mlp_bias=True,
     num_hidden_layers=2)
case("llama_head_dim", "Llama", "llama", head_dim=32, num_hidden_layers=2)
case("llama_mqa", "Llama", "llama", num_key_value_heads=1, num_hidden_layers=2, **eps("rms_norm_eps"))
case("llama_mha", "Llama", "llama", num_key_value_heads=None, drop=("num_key_value_heads",), num_hidden_layers=2)
case("llama_linear", "Llama", "llama", UNSCALED, rope_scaling=dict(type="linear", factor=4.0), num_hidden_layers=2)
case("llama_yarn", "Llama", "llama",
     {**UNSCALED, "attention_factor": without(rope_scaling={**YARN, "attention_factor": 1.0})}, rope_scaling=YARN,
     num_hidden_layers=2)
YARN_OPTIONS = dict(rope_type="yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=4.0, beta_slow=0.5,
                    mscale=1.4, mscale_all_dim=0.4, truncate=False)
case("llama_yarn_options", "Llama", "llama",
     {**UNSCALED, **{key: without(rope_scaling={k: v for k, v in YARN_OPTIONS.items() if k != key})
                     for key in ("beta_fast", "beta_slow", "mscale", "truncate")}},
     rope_scaling=YARN_OPTIONS, num_hidden_layers=2)
DYNAMIC = dict(rope_type="dynamic", factor=4.0)
case("llama_dynamic", "Llama", "llama", rope_scaling=DYNAMIC, num_hidden_layers=2)
case("llama_dynamic_stretched", "Llama", "llama", UNSCALED, rope_scaling=DYNAMIC, max_position_embeddings=24,
     context=50, num_hidden_layers=2)
# The tolerance where the two forms of GELU must be told apart.
NEAR = 0.0002
for act, other in (("gelu", "gelu_pytorch_tanh"), ("gelu_pytorch_tanh", "silu"), ("relu", "silu"), ("relu2", "relu")):
    case(f"llama_{act}", "Llama", "llama", {"hidden_act": without(hidden_act=other)}, hidden_act=act,
         num_hidden_layers=2, tolerance=NEAR if act == "gelu" else None)
case("llama_f32", "Llama", "llama", dtype="f32", weight_type="f16", gain=1.0, num_hidden_layers=2)
case("llama_f16", "Llama", "llama", dtype="f16", weight_type="f16", num_hidden_layers=2)

# Mistral and Ministral.
case("mistral_v0.1", "Mistral v0.1", "mistral", {"sliding_window": without(sliding_window=None)}, sliding_window=16,
     rms_norm_eps=1e-5)
case("mistral_v0.3", "Mistral v0.3", "mistral", {"no window": without(sliding_window=16)}, sliding_window=None,
     rope_theta=1e6, num_hidden_layers=2, **eps("rms_norm_eps"))
case("mistral_nemo", "Mistral Nemo", "mistral", {"no window": without(sliding_window=16)}, sliding_window=None,
     rope_theta=1e6, head_dim=32, num_hidden_layers=2)
SLIDING, FULL = "sliding_attention", "full_attention"
case("ministral", "Ministral", "ministral",
     {"window": without(sliding_window=2048), "layer_types": without(layer_types=[SLIDING] * 3)},
     sliding_window=16, layer_types=[SLIDING, FULL, SLIDING], head_dim=32)

# Qwen.
case("qwen2", "Qwen2", "qwen2", {"q, k, v biases": neutral(r"\.bias$"), "window off": without(use_sliding_window=True)},
     rope_theta=1e6, tie_word_embeddings=True, use_sliding_window=False, add=dict(sliding_window=16),
     max_window_layers=0, drop=("layer_types",), num_hidden_layers=2)
case("qwen2_untied", "Qwen2", "qwen2", BIAS, rope_theta=1e6, num_hidden_layers=2, **eps("rms_norm_eps"))
case("qwen2_window", "Qwen2", "qwen2",
     {"window": without(use_sliding_window=False), "max_window_layers": without(max_window_layers=0)},
     use_sliding_window=True, sliding_window=16, max_window_layers=1, drop=("layer_types",))
case("qwen2_yarn", "Qwen2.5", "qwen2", UNSCALED, rope_theta=1e6, rope_scaling=YARN, num_hidden_layers=2)
QK_NORM = {"q_norm": neutral(r"\.q_norm\."), "k_norm": neutral(r"\.k_norm\.")}
case("qwen3", "Qwen3", "qwen3", QK_NORM, rope_theta=1e6, head_dim=32, tie_word_embeddings=True,
     drop=("layer_types",))
case("qwen3_untied", "Qwen3", "qwen3", {**QK_NORM, **UNSCALED}, rope_theta=1e6, head_dim=16, rope_scaling=YARN,
     num_hidden_layers=2, **eps("rms_norm_eps"))

# Gemma. Soft caps and scales at which 50 tokens of a tiny model feel them.
GEMMA = dict(head_dim=32, embedding=0.25)
case("gemma", "Gemma", "gemma", {"act": without(hidden_act="silu")}, **GEMMA)
case("gemma_gelu", "Gemma", "gemma", {"act": without(hidden_act="gelu_pytorch_tanh")}, hidden_act="gelu",
     hidden_activation=None, tolerance=NEAR, num_hidden_layers=2, **GEMMA, **eps("rms_norm_eps", 0.3))
GEMMA2 = dict(query_pre_attn_scalar=12, sliding_window=16, **GEMMA)
case("gemma2", "Gemma 2", "gemma2",
     {"final_logit_softcapping": without(final_logit_softcapping=None),
      "attn_logit_softcapping": without(attn_logit_softcapping=None),
      "window": without(sliding_window=2048), "alternating layers": without(layer_types=[SLIDING] * 3)},
     attn_logit_softcapping=3.0, final_logit_softcapping=4.0, drop=("layer_types",),
     **{**GEMMA2, "query_pre_attn_scalar": 32})
case("gemma2_27b", "Gemma 2 27B", "gemma2", {"query_pre_attn_scalar": without(query_pre_attn_scalar=32)},
     attn_logit_softcapping=3.0, final_logit_softcapping=4.0, drop=("layer_types",), **GEMMA2)
GEMMA3 = dict(rope_theta=1e6, rope_local_base_freq=10000.0, rope_scaling=dict(rope_type="linear", factor=8.0),
              num_hidden_layers=4, **GEMMA2)
GEMMA3_TRAITS = {
    "query_pre_attn_scalar": without(query_pre_attn_scalar=32), "window": without(sliding_window=2048),
    "rope_local_base_freq": without(rope_local_base_freq=1e6), **QK_NORM,
}
case("gemma3_text", "Gemma 3", "gemma3_text",
     {**GEMMA3_TRAITS, **UNSCALED, "layer_types": without(layer_types=[SLIDING] * 4)},
     layer_types=[SLIDING, SLIDING, FULL, SLIDING], **GEMMA3)
case("gemma3_pattern", "Gemma 3", "gemma3_text", {"sliding_window_pattern": without(sliding_window_pattern=3)},
     sliding_window_pattern=2, drop=("layer_types",), **GEMMA3, **eps("rms_norm_eps", 0.2))
case("gemma3_six", "Gemma 3", "gemma3_text", {"five in six": without(sliding_window_pattern=5)},
     drop=("layer_types", "_sliding_window_pattern"), **{**GEMMA3, "num_hidden_layers": 7, "query_pre_attn_scalar": 32})
case("gemma3_wrapped", "Gemma 3, wrapped", "gemma3", GEMMA3_TRAITS, special="gemma3_wrapped",
     layer_types=[SLIDING, SLIDING, FULL, SLIDING], **GEMMA3)

# SmolLM3, Phi.
case("smollm3", "SmolLM3", "smollm3", {"no_rope_layers": without(no_rope_layers=[1, 1, 1])}, no_rope_layers=[1, 0, 1],
     rope_theta=5e6)
case("smollm3_interval", "SmolLM3", "smollm3", {"no_rope_layers": without(no_rope_layers=[1, 1, 1, 1])},
     num_hidden_layers=4, drop=("no_rope_layers", "layer_types"), **eps("rms_norm_eps"))
case("phi3", "Phi-3", "phi3", {"window": without(sliding_window=None)}, sliding_window=16)


def longrope(dims):
    return dict(type="longrope", short_factor=[1.0 + 0.1 * i for i in range(dims)],
                long_factor=[1.5 + 0.75 * i for i in range(dims)])


case("phi3_longrope", "Phi-3.5", "phi3", UNSCALED, rope_scaling=longrope(8), original_max_position_embeddings=32,
     context=2048, num_hidden_layers=2)
case("phi3_longrope_short", "Phi-3.5", "phi3", UNSCALED, rope_scaling=longrope(8), original_max_position_embeddings=64,
     context=64, num_hidden_layers=2)
case("phi4_mini", "Phi-4-mini", "phi3", UNSCALED, rope_scaling=longrope(6), original_max_position_embeddings=32,
     context=2048, partial_rotary_factor=0.75, tie_word_embeddings=True, gain=1.0, embedding=0.25, num_hidden_layers=2,
     **eps("rms_norm_eps"))
case("phi4_mini_unscaled", "Phi-4-mini", "phi3", {"partial rotary": without(partial_rotary_factor=1.0)},
     partial_rotary_factor=0.75, tie_word_embeddings=True, num_hidden_layers=2)
PHI_TRAITS = {"partial rotary": without(partial_rotary_factor=1.0), "lm_head bias": neutral(r"^lm_head\.bias$"),
              "attention biases": neutral(r"(q|k|v|dense)(_proj)?\.bias$"), "MLP biases": neutral(r"fc\d\.bias$"),
              "norm biases": neutral(r"norm\.bias$"), "act": without(hidden_act="relu")}
case("phi", "Phi-2", "phi", PHI_TRAITS, partial_rotary_factor=0.4, intermediate_size=256, num_key_value_heads=4)
case("phi_qk_layernorm", "Phi-1.5", "phi",
     {"qk_layernorm": without(qk_layernorm=False), "act": without(hidden_act="gelu")},
     partial_rotary_factor=0.5, tolerance=NEAR, qk_layernorm=True, num_hidden_layers=2, **eps("layer_norm_eps"))

# Granite, OLMo, EXAONE.
MULTIPLIERS = dict(embedding_multiplier=4.0, logits_scaling=2.0, residual_multiplier=0.5, attention_multiplier=0.5)
MULTIPLIED = {key: without(**{key: 0.25 if key.startswith("attention") else 1.0}) for key in MULTIPLIERS}
case("granite", "Granite 3", "granite", MULTIPLIED, tie_word_embeddings=True, embedding=0.3, **MULTIPLIERS)
case("granite_bias", "Granite", "granite", BIAS, attention_bias=True, mlp_bias=True, num_hidden_layers=2,
     **{**MULTIPLIERS, "logits_scaling": 1.25}, **eps("rms_norm_eps", 0.8))
HYBRID = dict(num_local_experts=0, num_experts_per_tok=0, shared_intermediate_size=96,
              layer_types=["attention"] * 3, mamba_n_heads=8, tie_word_embeddings=True, embedding=0.3, **MULTIPLIERS)
case("granite4", "Granite 4, dense", "granitemoehybrid",
     {**MULTIPLIED, "rotation": without(position_embedding_type=None)}, position_embedding_type="rope",
     **HYBRID)
case("granite4_nope", "Granite 4, dense", "granitemoehybrid",
     {"no rotation": without(position_embedding_type="rope")}, position_embedding_type="nope",
     base={**BASE, "intermediate_size": 128}, **HYBRID, **eps("rms_norm_eps"))
case("olmo", "OLMo 1", "olmo", {}, tie_word_embeddings=True)
case("olmo_clip", "OLMo 1", "olmo", {"clip_qkv": without(clip_qkv=None)}, clip_qkv=1.5, num_hidden_layers=2)
POST_NORMS = {"attention post-norm": neutral(r"\.post_attention_layernorm\."),
              "MLP post-norm": neutral(r"\.post_feedforward_layernorm\.")}
case("olmo2", "OLMo 2", "olmo2", {**QK_NORM, **POST_NORMS}, rope_theta=500000.0)
case("olmo3", "OLMo 3", "olmo3",
     {**QK_NORM, **UNSCALED, "window": without(sliding_window=2048), "layer_types": without(layer_types=[SLIDING] * 4)},
     rope_theta=500000.0, rope_scaling=YARN, sliding_window=16, num_hidden_layers=4,
     drop=("layer_types",), **eps("rms_norm_eps"))
case("exaone4", "EXAONE 4 32B", "exaone4",
     {**QK_NORM, **POST_NORMS, "window": without(sliding_window=2048),
      "layer_types": without(layer_types=[SLIDING] * 4)},
     sliding_window=16, sliding_window_pattern="LLLG", layer_types=[SLIDING, SLIDING, SLIDING, FULL],
     num_hidden_layers=4)
case("exaone4_full", "EXAONE 4 1.2B", "exaone4", {"rope_scaling": without(rope_scaling=None)}, sliding_window=None,
     layer_types=[FULL] * 3, rope_scaling=LLAMA3, tie_word_embeddings=True, **eps("rms_norm_eps"))

# MiniCPM, ERNIE, Hunyuan, StableLM, Starcoder2.
case("minicpm", "MiniCPM", "llama",
     {"scale_emb": without(scale_emb=1), "scale_depth": without(scale_depth=3**0.5),
      "dim_model_base": without(dim_model_base=64)}, special="minicpm", embedding=0.3, tie_word_embeddings=True)
case("ernie4_5", "ERNIE 4.5", "ernie4_5", {}, head_dim=32)
case("ernie4_5_bias", "ERNIE 4.5", "ernie4_5", BIAS, head_dim=16, use_bias=True, num_hidden_layers=2,
     **eps("rms_norm_eps"))
ALPHA = dict(alpha=1000.0, beta_fast=32, beta_slow=1, factor=1.0, mscale=1.0, mscale_all_dim=0.0, type="dynamic")
case("hunyuan", "Hunyuan dense", "hunyuan_v1_dense",
     {"query_layernorm": neutral(r"query_layernorm"), "key_layernorm": neutral(r"key_layernorm"),
      "alpha": without(rope_scaling={**ALPHA, "alpha": 1.0})},
     head_dim=32, rope_scaling=ALPHA, tie_word_embeddings=True, **eps("rms_norm_eps"))
NORM_BIAS = {"norm biases": neutral(r"norm\.bias$")}
case("stablelm", "StableLM", "stablelm",
     {**NORM_BIAS, "q, k, v biases": neutral(r"_proj\.bias$"), "partial rotary": without(partial_rotary_factor=1.0)},
     use_qkv_bias=True, partial_rotary_factor=0.25)
case("stablelm_parallel", "StableLM 2 12B", "stablelm",
     {"qk_layernorm": without(qk_layernorm=False)}, use_parallel_residual=True, qk_layernorm=True,
     partial_rotary_factor=0.25, num_hidden_layers=2, **eps("layer_norm_eps"))
case("starcoder2", "Starcoder2", "starcoder2",
     {**NORM_BIAS, "attention biases": neutral(r"_proj\.bias$"), "window": without(sliding_window=None)},
     sliding_window=16, **eps("norm_epsilon"))
case("starcoder2_full", "Starcoder2", "starcoder2", {"no window": without(sliding_window=16)}, num_hidden_layers=2)

# Falcon, GPT-NeoX, GPT-2.
FALCON = {k: v for k, v in BASE.items() if k not in ("num_key_value_heads", "intermediate_size")}
case("falcon_7b", "Falcon 7B", "falcon", {"act": without(activation="gelu_pytorch_tanh")}, tolerance=NEAR,
     base=FALCON, new_decoder_architecture=False, multi_query=True)
case("falcon_40b", "Falcon 40B", "falcon", {"two norms": neutral(r"\.ln_mlp\.")}, base=FALCON, num_kv_heads=2,
     new_decoder_architecture=True)
case("falcon_11b", "Falcon 11B", "falcon", {}, base=FALCON, num_kv_heads=2, new_decoder_architecture=True,
     num_ln_in_parallel_attn=1, tie_word_embeddings=False, num_hidden_layers=2, **eps("layer_norm_epsilon"))
case("falcon_sequential", "Falcon", "falcon", BIAS, base=FALCON, new_decoder_architecture=False, multi_query=False,
     parallel_attn=False, bias=True, ffn_hidden_size=96, num_hidden_layers=2)
NEOX = {k: v for k, v in BASE.items() if k != "num_key_value_heads"}
case("gpt_neox", "GPT-NeoX, Pythia", "gpt_neox",
     {**NORM_BIAS, "attention biases": neutral(r"(query_key_value|attention\.dense)\.bias$"),
      "MLP biases": neutral(r"dense_\w+\.bias$"), "rotary_pct": without(rotary_pct=1.0),
      "parallel": without(use_parallel_residual=False)}, base=NEOX, rotary_pct=0.25)
case("gpt_neox_sequential", "GPT-NeoX", "gpt_neox",
     {"sequential": without(use_parallel_residual=True), "act": without(hidden_act="gelu_new")}, base=NEOX,
     tolerance=NEAR, use_parallel_residual=False, rotary_pct=0.5, num_hidden_layers=2, **eps("layer_norm_eps"))
GPT2 = dict(vocab_size=288, n_embd=64, n_layer=3, n_head=4, n_positions=512, bos_token_id=284, eos_token_id=285)
GPT2_TRAITS = {"positions": neutral(r"wpe"), "norm biases": neutral(r"ln_\w+\.bias$"),
               "attention biases": neutral(r"attn\.\w+\.bias$"), "MLP biases": neutral(r"mlp\.\w+\.bias$")}
case("gpt2", "GPT-2", "gpt2", GPT2_TRAITS, base=GPT2, add=dict(n_ctx=512))
case("gpt2_hub", "GPT-2", "gpt2", {"act": without(activation_function="gelu")}, tolerance=NEAR,
     base={**GPT2, "n_layer": 2}, special="gpt2_hub", n_inner=96, **eps("layer_norm_epsilon"))

# The rest.
case("nemotron", "Nemotron, Minitron", "nemotron",
     {**NORM_BIAS, "partial rotary": without(partial_rotary_factor=1.0), "act": without(hidden_act="relu")},
     head_dim=16, partial_rotary_factor=0.5)
case("nemotron_bias", "Nemotron", "nemotron", {"linear biases": neutral(r"_proj\.bias$")}, head_dim=32,
     attention_bias=True, mlp_bias=True, num_hidden_layers=2, **eps("norm_eps"))
case("cohere", "Cohere Command R", "cohere", {"logit_scale": without(logit_scale=1.0)}, logit_scale=0.5)
case("cohere_plus", "Cohere Command R+", "cohere",
     {"q_norm": neutral(r"\.q_norm\."), "k_norm": neutral(r"\.k_norm\."), "use_qk_norm": without(use_qk_norm=False)},
     logit_scale=0.5, use_qk_norm=True, num_hidden_layers=2, **eps("layer_norm_eps"))
case("cohere2", "Cohere Command R7B", "cohere2",
     {"window": without(sliding_window=2048), "layer_types": without(layer_types=[SLIDING] * 4)}, logit_scale=0.5,
     sliding_window=16, num_hidden_layers=4, add=dict(rotary_pct=1.0),
     drop=("layer_types",), **eps("layer_norm_eps"))
GLM = dict(head_dim=32, partial_rotary_factor=0.5)
case("glm", "GLM", "glm", {**BIAS, "partial rotary": without(partial_rotary_factor=1.0)}, attention_bias=True,
     num_hidden_layers=2, **{**GLM, "head_dim": 16})
case("glm4", "GLM 4", "glm4",
     {"attention post-norm": neutral(r"post_self_attn_layernorm"), "MLP post-norm": neutral(r"post_mlp_layernorm"),
      "partial rotary": without(partial_rotary_factor=1.0)}, attention_bias=False, **GLM, **eps("rms_norm_eps"))
case("helium", "Helium", "helium", {}, head_dim=16, **eps("rms_norm_eps"))
case("arcee", "Arcee AFM", "arcee", {"act": without(hidden_act="relu"), "rope_scaling": without(rope_scaling=None)},
     rope_scaling=YARN, **eps("rms_norm_eps"))
case("seed_oss", "Seed-OSS", "seed_oss", {"q, k, v biases": neutral(r"\.bias$")}, head_dim=32, attention_bias=True)
case("seed_oss_out_bias", "Seed-OSS", "seed_oss",
     {"o bias": neutral(r"o_proj\.bias$"), "MLP biases": neutral(r"mlp.*\.bias$")}, head_dim=32, attention_bias=True,
     attention_out_bias=True, mlp_bias=True, num_hidden_layers=2, **eps("rms_norm_eps"))
case("apertus", "Apertus", "apertus", {**QK_NORM, "act": without(hidden_act="relu")}, rope_scaling=LLAMA3,
     **eps("rms_norm_eps"))

# Cases that a GGUF file does not hold: what llama.cpp, or its converter, has no place for.
LOSSY = {
    "llama_gelu": "no activation in the metadata",
    "llama_gelu_pytorch_tanh": "no activation in the metadata",
    "gemma_gelu": "no activation in the metadata",
    "llama_relu": "no activation in the metadata",
    "llama_relu2": "no activation in the metadata",
    "llama_yarn_options": "no attention factor from mscale, no untruncated ramp",
    "llama_dynamic_stretched": "no dynamic scaling in the metadata",
    "mistral_v0.1": "no window in the metadata",
    "qwen2_window": "no window in the metadata",
    "starcoder2": "no window in the metadata",
    "ministral": "no such architecture",
    "helium": "no such architecture",
    "gemma2_27b": "no query_pre_attn_scalar in the metadata: by the number of layers",
    "gemma3_text": "no pattern of layers in the metadata: five in six",
    "gemma3_pattern": "no pattern of layers in the metadata: five in six",
    "gemma3_wrapped": "no pattern of layers in the metadata: five in six",
    "smollm3": "no layers without rotation in the metadata: each fourth",
    "granite4_nope": "no width of the shared MLP, no rotation's absence",
    "phi_qk_layernorm": "no such tensors",
    "stablelm_parallel": "the converter refuses its norms",
    "cohere_plus": "its norms only at 64 layers",
    "ernie4_5_bias": "no biases",
    "seed_oss_out_bias": "no such biases",
    "nemotron_bias": "no width of heads",
    "falcon_sequential": "no such tensors",
    "gpt2_hub": "the converter refuses its masks",
}
