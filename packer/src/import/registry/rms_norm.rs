//! Families whose norms divide by the root mean square, as Llama's do.

use rasp::model::{Activation, NormKind, NormPlace, QkNorm, QkNormOver};

use super::{ALL, DEFAULTS, EPS, LLAMA, QKV, QKVO};
use crate::import::family::{Defaults, Family, Gguf, HfClass, Traits, Unturned, WindowRule};
use crate::import::names;

const HEAD_NORM: QkNorm = QkNorm { kind: NormKind::Rms, over: QkNormOver::Head, after_rotation: false };
const VECTOR_NORM: QkNorm = QkNorm { over: QkNormOver::Vector, ..HEAD_NORM };
const RMS_EPS: Option<f64> = Some(1e-6);

const GEMMA: Traits = Traits { gain_offset: 1.0, scaled_embedding: true, biases: (&[], QKVO), ..LLAMA };
const GEMMA_DEFAULTS: Defaults = Defaults {
    kv_heads: Some(4),
    head_dim: Some(256),
    eps: RMS_EPS,
    tied: true,
    activation: Activation::GeluTanh,
    ..DEFAULTS
};
const ERNIE_DEFAULTS: Defaults =
    Defaults { kv_heads: Some(2), head_dim: Some(128), eps: EPS, theta: 5e5, tied: true, ..DEFAULTS };
const GLM: Traits =
    Traits { interleaved: true, partial_rotary: 0.5, may_turn_in_part: true, biases: (&[], QKV), ..LLAMA };

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "llama",
        hf: &[HfClass { class: "LlamaForCausalLM", model_type: "llama", names: &names::HF, defaults: DEFAULTS }],
        gguf: Some(Gguf { architecture: "llama", names: &names::GGUF, interleaved: true }),
        traits: Traits { biases: (&[], ALL), ..LLAMA },
    },
    Family {
        name: "mistral",
        hf: &[HfClass {
            class: "MistralForCausalLM",
            model_type: "mistral",
            names: &names::HF,
            defaults: Defaults { kv_heads: None, ..DEFAULTS },
        }],
        // Of the text model of Mistral Small 3.1 and later; llama.cpp calls older models `llama`.
        gguf: Some(Gguf { architecture: "mistral3", names: &names::GGUF, interleaved: true }),
        traits: Traits { window: WindowRule::All(Some(4096)), ..LLAMA },
    },
    Family {
        name: "ministral",
        hf: &[HfClass {
            class: "MinistralForCausalLM",
            model_type: "ministral",
            names: &names::HF,
            defaults: Defaults { kv_heads: Some(8), eps: RMS_EPS, ..DEFAULTS },
        }],
        gguf: None,
        traits: Traits { window: WindowRule::All(Some(4096)), ..LLAMA },
    },
    Family {
        name: "qwen2",
        hf: &[HfClass {
            class: "Qwen2ForCausalLM",
            model_type: "qwen2",
            names: &names::HF,
            defaults: Defaults { kv_heads: None, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "qwen2", names: &names::GGUF, interleaved: false }),
        traits: Traits { biases: (QKV, QKV), window: WindowRule::Qwen2, ..LLAMA },
    },
    Family {
        name: "qwen3",
        hf: &[HfClass {
            class: "Qwen3ForCausalLM",
            model_type: "qwen3",
            names: &names::HF_QK_NORM,
            defaults: Defaults { kv_heads: Some(32), head_dim: Some(128), eps: RMS_EPS, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "qwen3", names: &names::GGUF_QK_NORM, interleaved: false }),
        traits: Traits { biases: (&[], QKVO), qk_norm: Some(HEAD_NORM), window: WindowRule::Qwen2, ..LLAMA },
    },
    Family {
        name: "gemma",
        hf: &[HfClass {
            class: "GemmaForCausalLM",
            model_type: "gemma",
            names: &names::HF,
            defaults: Defaults { kv_heads: Some(16), ..GEMMA_DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "gemma", names: &names::GGUF, interleaved: false }),
        traits: GEMMA,
    },
    Family {
        name: "gemma2",
        hf: &[HfClass {
            class: "Gemma2ForCausalLM",
            model_type: "gemma2",
            names: &names::HF_GEMMA2,
            defaults: GEMMA_DEFAULTS,
        }],
        gguf: Some(Gguf { architecture: "gemma2", names: &names::GGUF_GEMMA2, interleaved: false }),
        traits: Traits { norm_place: NormPlace::Both, window: WindowRule::AllBut(2, "", Some(4096)), ..GEMMA },
    },
    Family {
        name: "gemma3",
        hf: &[
            HfClass {
                class: "Gemma3ForCausalLM",
                model_type: "gemma3_text",
                names: &names::HF_GEMMA3,
                defaults: Defaults { theta: 1e6, ..GEMMA_DEFAULTS },
            },
            HfClass {
                class: "Gemma3ForConditionalGeneration",
                model_type: "gemma3",
                names: &names::HF_GEMMA3,
                defaults: Defaults { theta: 1e6, ..GEMMA_DEFAULTS },
            },
        ],
        gguf: Some(Gguf { architecture: "gemma3", names: &names::GGUF_GEMMA3, interleaved: false }),
        traits: Traits {
            norm_place: NormPlace::Both,
            qk_norm: Some(HEAD_NORM),
            window: WindowRule::AllBut(6, "sliding_window_pattern", Some(4096)),
            local_theta: Some(("rope_local_base_freq", 10000.0)),
            ..GEMMA
        },
    },
    Family {
        name: "smollm3",
        hf: &[HfClass {
            class: "SmolLM3ForCausalLM",
            model_type: "smollm3",
            names: &names::HF,
            defaults: Defaults { kv_heads: Some(4), eps: RMS_EPS, theta: 2e6, tied: true, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "smollm3", names: &names::GGUF, interleaved: true }),
        traits: Traits { biases: (&[], ALL), window: WindowRule::IfListed, unturned: Unturned::Listed, ..LLAMA },
    },
    Family {
        name: "phi3",
        hf: &[HfClass {
            class: "Phi3ForCausalLM",
            model_type: "phi3",
            names: &names::HF_PHI3,
            defaults: Defaults { eps: EPS, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "phi3", names: &names::GGUF_PHI3, interleaved: false }),
        traits: Traits { may_turn_in_part: true, window: WindowRule::All(None), ..LLAMA },
    },
    Family {
        name: "granite",
        hf: &[
            HfClass {
                class: "GraniteForCausalLM",
                model_type: "granite",
                names: &names::HF,
                defaults: Defaults { eps: RMS_EPS, ..DEFAULTS },
            },
            HfClass {
                class: "GraniteMoeHybridForCausalLM",
                model_type: "granitemoehybrid",
                names: &names::HF_GRANITE4,
                defaults: Defaults { eps: RMS_EPS, ..DEFAULTS },
            },
        ],
        gguf: Some(Gguf { architecture: "granite", names: &names::GGUF, interleaved: true }),
        traits: Traits { biases: (&[], ALL), ..LLAMA },
    },
    Family {
        name: "minicpm",
        hf: &[HfClass {
            class: "MiniCPMForCausalLM",
            model_type: "minicpm",
            names: &names::HF,
            defaults: Defaults { eps: RMS_EPS, tied: true, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "minicpm", names: &names::GGUF, interleaved: true }),
        traits: Traits { biases: (&[], ALL), ..LLAMA },
    },
    Family {
        name: "olmo2",
        hf: &[HfClass {
            class: "Olmo2ForCausalLM",
            model_type: "olmo2",
            names: &names::HF_OLMO2,
            defaults: Defaults { eps: EPS, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "olmo2", names: &names::GGUF_OLMO2, interleaved: false }),
        traits: Traits { norm_place: NormPlace::After, qk_norm: Some(VECTOR_NORM), biases: (&[], QKVO), ..LLAMA },
    },
    Family {
        name: "olmo3",
        hf: &[HfClass {
            class: "Olmo3ForCausalLM",
            model_type: "olmo3",
            names: &names::HF_OLMO2,
            defaults: Defaults { eps: EPS, ..DEFAULTS },
        }],
        gguf: None,
        traits: Traits {
            norm_place: NormPlace::After,
            qk_norm: Some(VECTOR_NORM),
            biases: (&[], QKVO),
            window: WindowRule::AllBut(4, "", Some(4096)),
            // Scaling is that of layers without a window.
            local_theta: Some(("rope_theta", 10000.0)),
            ..LLAMA
        },
    },
    Family {
        name: "exaone4",
        hf: &[HfClass {
            class: "Exaone4ForCausalLM",
            model_type: "exaone4",
            names: &names::HF_OLMO2,
            defaults: Defaults { kv_heads: Some(32), eps: EPS, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "exaone4", names: &names::GGUF_OLMO2, interleaved: false }),
        traits: Traits {
            norm_place: NormPlace::After,
            qk_norm: Some(HEAD_NORM),
            window: WindowRule::AllBut(4, "sliding_window_pattern", Some(4096)),
            unturned: Unturned::Full,
            ..LLAMA
        },
    },
    Family {
        name: "ernie4_5",
        hf: &[
            HfClass {
                class: "Ernie4_5ForCausalLM",
                model_type: "ernie4_5",
                names: &names::HF,
                defaults: ERNIE_DEFAULTS,
            },
            // As Baidu's own code called it.
            HfClass {
                class: "Ernie4_5_ForCausalLM",
                model_type: "ernie4_5",
                names: &names::HF,
                defaults: ERNIE_DEFAULTS,
            },
        ],
        gguf: Some(Gguf { architecture: "ernie4_5", names: &names::GGUF, interleaved: true }),
        traits: Traits { interleaved: true, biases: (&[], ALL), ..LLAMA },
    },
    Family {
        name: "hunyuan",
        hf: &[HfClass {
            class: "HunYuanDenseV1ForCausalLM",
            model_type: "hunyuan_v1_dense",
            names: &names::HF_HUNYUAN,
            defaults: Defaults { eps: EPS, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "hunyuan-dense", names: &names::GGUF_QK_NORM, interleaved: false }),
        traits: Traits { qk_norm: Some(QkNorm { after_rotation: true, ..HEAD_NORM }), biases: (&[], QKVO), ..LLAMA },
    },
    Family {
        name: "glm",
        hf: &[HfClass {
            class: "GlmForCausalLM",
            model_type: "glm",
            names: &names::HF_GLM,
            defaults: Defaults { kv_heads: Some(2), head_dim: Some(128), eps: Some(1.5625e-7), ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "chatglm", names: &names::GGUF_GLM, interleaved: true }),
        traits: GLM,
    },
    Family {
        name: "glm4",
        hf: &[HfClass {
            class: "Glm4ForCausalLM",
            model_type: "glm4",
            names: &names::HF_GLM4,
            defaults: Defaults { kv_heads: Some(2), head_dim: Some(128), eps: Some(1.5625e-7), ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "glm4", names: &names::GGUF_GLM4, interleaved: true }),
        traits: Traits { norm_place: NormPlace::Both, ..GLM },
    },
    Family {
        name: "helium",
        hf: &[HfClass {
            class: "HeliumForCausalLM",
            model_type: "helium",
            names: &names::HF,
            defaults: Defaults { kv_heads: Some(20), head_dim: Some(128), eps: Some(1e-8), theta: 1e5, ..DEFAULTS },
        }],
        gguf: None,
        traits: Traits { interleaved: true, biases: (&[], ALL), ..LLAMA },
    },
    Family {
        name: "arcee",
        hf: &[HfClass {
            class: "ArceeForCausalLM",
            model_type: "arcee",
            names: &names::HF,
            defaults: Defaults { eps: EPS, activation: Activation::Relu2, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "arcee", names: &names::GGUF, interleaved: true }),
        traits: Traits { gated: false, biases: (&[], ALL), ..LLAMA },
    },
    Family {
        name: "apertus",
        hf: &[HfClass {
            class: "ApertusForCausalLM",
            model_type: "apertus",
            names: &names::HF_APERTUS,
            defaults: Defaults { eps: EPS, theta: 1.2e7, activation: Activation::XIELU, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "apertus", names: &names::GGUF_QK_NORM, interleaved: false }),
        traits: Traits { gated: false, qk_norm: Some(HEAD_NORM), biases: (&[], QKVO), ..LLAMA },
    },
    Family {
        name: "seed_oss",
        hf: &[HfClass {
            class: "SeedOssForCausalLM",
            model_type: "seed_oss",
            names: &names::HF,
            defaults: Defaults { kv_heads: Some(8), head_dim: Some(128), eps: RMS_EPS, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "seed_oss", names: &names::GGUF_SEED_OSS, interleaved: false }),
        traits: Traits { biases: (&[], ALL), ..LLAMA },
    },
];
