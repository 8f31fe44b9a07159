//! Families whose norms take the mean off first.

use rasp::model::{Activation, NormKind};

use super::{ALL, DEFAULTS, EPS, LLAMA, QKV, QKVO};
use crate::import::family::{Defaults, Family, Gguf, HfClass, Parallel, Traits, Unturned, WindowRule};
use crate::import::names;

const STABLELM_DEFAULTS: Defaults = Defaults { kv_heads: Some(32), eps: EPS, ..DEFAULTS };
const LAYER_NORM: Traits = Traits { norm: NormKind::Layer, ..LLAMA };

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "phi",
        hf: &[HfClass {
            class: "PhiForCausalLM",
            model_type: "phi",
            names: &names::HF_PHI,
            defaults: Defaults { eps: EPS, activation: Activation::GeluTanh, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "phi2", names: &names::GGUF_PHI, interleaved: false }),
        traits: Traits {
            parallel: Parallel::OneNorm,
            gated: false,
            partial_rotary: 0.5,
            may_turn_in_part: true,
            biases: (ALL, ALL),
            ..LAYER_NORM
        },
    },
    Family {
        name: "olmo",
        hf: &[HfClass {
            class: "OlmoForCausalLM",
            model_type: "olmo",
            names: &names::HF_OLMO,
            defaults: Defaults { eps: EPS, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "olmo", names: &names::GGUF_OLMO, interleaved: true }),
        traits: Traits { biases: (&[], QKVO), ..LAYER_NORM },
    },
    Family {
        name: "stablelm",
        hf: &[
            HfClass {
                class: "StableLmForCausalLM",
                model_type: "stablelm",
                names: &names::HF_STABLELM,
                defaults: STABLELM_DEFAULTS,
            },
            // As Stability AI's own code called it.
            HfClass {
                class: "StableLMEpochForCausalLM",
                model_type: "stablelm_epoch",
                names: &names::HF_STABLELM,
                defaults: STABLELM_DEFAULTS,
            },
        ],
        gguf: Some(Gguf { architecture: "stablelm", names: &names::GGUF, interleaved: false }),
        traits: Traits {
            parallel: Parallel::IfSaid,
            partial_rotary: 0.25,
            may_turn_in_part: true,
            biases: (&[], QKV),
            ..LAYER_NORM
        },
    },
    Family {
        name: "starcoder2",
        hf: &[HfClass {
            class: "Starcoder2ForCausalLM",
            model_type: "starcoder2",
            names: &names::HF_STARCODER2,
            defaults: Defaults {
                kv_heads: Some(2),
                eps: EPS,
                tied: true,
                activation: Activation::GeluTanh,
                ..DEFAULTS
            },
        }],
        gguf: Some(Gguf { architecture: "starcoder2", names: &names::GGUF, interleaved: false }),
        traits: Traits { gated: false, biases: (&[], ALL), window: WindowRule::All(None), ..LAYER_NORM },
    },
    Family {
        name: "falcon",
        hf: &[HfClass {
            class: "FalconForCausalLM",
            model_type: "falcon",
            names: &names::HF_FALCON,
            defaults: Defaults { eps: EPS, tied: true, activation: Activation::GeluErf, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "falcon", names: &names::GGUF_FUSED, interleaved: false }),
        traits: Traits { parallel: Parallel::Falcon, gated: false, biases: (&[], ALL), ..LAYER_NORM },
    },
    Family {
        name: "gpt_neox",
        hf: &[HfClass {
            class: "GPTNeoXForCausalLM",
            model_type: "gpt_neox",
            names: &names::HF_NEOX,
            defaults: Defaults { eps: EPS, activation: Activation::GeluErf, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "gptneox", names: &names::GGUF_FUSED, interleaved: false }),
        traits: Traits {
            parallel: Parallel::TwoNormsIfSaid,
            gated: false,
            partial_rotary: 0.25,
            may_turn_in_part: true,
            biases: (&[], ALL),
            ..LAYER_NORM
        },
    },
    Family {
        name: "gpt2",
        hf: &[HfClass {
            class: "GPT2LMHeadModel",
            model_type: "gpt2",
            names: &names::HF_GPT2,
            defaults: Defaults { eps: EPS, tied: true, activation: Activation::GeluTanh, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "gpt2", names: &names::GGUF_GPT2, interleaved: false }),
        traits: Traits { gated: false, positions: true, unturned: Unturned::All, biases: (ALL, ALL), ..LAYER_NORM },
    },
    Family {
        name: "nemotron",
        hf: &[HfClass {
            class: "NemotronForCausalLM",
            model_type: "nemotron",
            names: &names::HF,
            defaults: Defaults { eps: EPS, activation: Activation::Relu2, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "nemotron", names: &names::GGUF, interleaved: false }),
        traits: Traits {
            scaled_rope: false,
            gated: false,
            gain_offset: 1.0,
            partial_rotary: 0.5,
            may_turn_in_part: true,
            biases: (&[], ALL),
            ..LAYER_NORM
        },
    },
    Family {
        name: "cohere",
        hf: &[HfClass {
            class: "CohereForCausalLM",
            model_type: "cohere",
            names: &names::HF_QK_NORM,
            defaults: Defaults { eps: EPS, tied: true, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "command-r", names: &names::GGUF_QK_NORM, interleaved: true }),
        traits: Traits { parallel: Parallel::OneNorm, interleaved: true, biases: (&[], QKVO), ..LAYER_NORM },
    },
    Family {
        name: "cohere2",
        hf: &[HfClass {
            class: "Cohere2ForCausalLM",
            model_type: "cohere2",
            names: &names::HF,
            defaults: Defaults { eps: EPS, tied: true, ..DEFAULTS },
        }],
        gguf: Some(Gguf { architecture: "cohere2", names: &names::GGUF, interleaved: true }),
        traits: Traits {
            parallel: Parallel::OneNorm,
            interleaved: true,
            biases: (&[], QKVO),
            window: WindowRule::AllBut(4, "sliding_window_pattern", Some(4096)),
            unturned: Unturned::Full,
            ..LAYER_NORM
        },
    },
];
