//! What stands in the way of the models that rasp refuses: one table for both sources, and for the page of models.

use rasp::Error;

use super::unsupported;

/// A trait that rasp does not compute, and what has it.
pub(crate) struct Obstacle {
    /// What a model needs.
    pub(crate) what: &'static str,
    /// Hugging Face classes.
    pub(crate) classes: &'static [&'static str],
    /// `general.architecture` of GGUF files.
    pub(crate) gguf: &'static [&'static str],
    /// Beginnings of keys that only models with the trait have: without their architecture in GGUF files.
    keys: &'static [&'static str],
}

const NONE: Obstacle = Obstacle { what: "", classes: &[], gguf: &[], keys: &[] };

/// Every trait that is told. What has several stands under one of them, or under an entry that names two.
pub(crate) const OBSTACLES: &[Obstacle] = &[
    Obstacle {
        what: "a mixture of experts",
        classes: &[
            "AfmoeForCausalLM",
            "ArcticForCausalLM",
            "BailingMoeForCausalLM",
            "BailingMoeV2ForCausalLM",
            "DbrxForCausalLM",
            "DeepseekForCausalLM",
            "Dots1ForCausalLM",
            "Ernie4_5_MoeForCausalLM",
            "ExaoneMoeForCausalLM",
            "FlexOlmoForCausalLM",
            "Glm4MoeForCausalLM",
            "GraniteMoeForCausalLM",
            "GraniteMoeSharedForCausalLM",
            "HunYuanMoEV1ForCausalLM",
            "Llama4ForCausalLM",
            "Llama4ForConditionalGeneration",
            "MiniMaxM2ForCausalLM",
            "MixtralForCausalLM",
            "OlmoeForCausalLM",
            "PhiMoEForCausalLM",
            "PhimoeForCausalLM",
            "Qwen2MoeForCausalLM",
            "Qwen3MoeForCausalLM",
            "SmallThinkerForCausalLM",
        ],
        gguf: &[
            "afmoe",
            "arctic",
            "bailingmoe",
            "bailingmoe2",
            "cohere2moe",
            "dbrx",
            "deepseek",
            "dots1",
            "ernie4_5-moe",
            "exaone-moe",
            "glm4moe",
            "granitemoe",
            "grok",
            "grovemoe",
            "hunyuan-moe",
            "llama4",
            "minimax-m2",
            "olmoe",
            "phimoe",
            "qwen2moe",
            "qwen3moe",
            "smallthinker",
        ],
        keys: &["expert_", "moe_", "interleave_moe_layer_step", "leading_dense_block_count"],
    },
    Obstacle {
        what: "a mixture of experts and attention sinks",
        classes: &["GptOssForCausalLM"],
        gguf: &["gpt-oss"],
        ..NONE
    },
    Obstacle {
        what: "a mixture of experts and layers of linear attention",
        classes: &["MiniMaxForCausalLM", "Qwen3NextForCausalLM", "Qwen3_5MoeForCausalLM"],
        gguf: &["minimax-01", "qwen35moe", "qwen3next"],
        ..NONE
    },
    Obstacle {
        what: "layers of linear attention",
        classes: &["Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"],
        gguf: &["qwen35"],
        ..NONE
    },
    Obstacle {
        what: "latent attention (MLA)",
        classes: &[
            "DeepseekV2ForCausalLM",
            "DeepseekV32ForCausalLM",
            "DeepseekV3ForCausalLM",
            "GlmMoeDsaForCausalLM",
            "KimiLinearForCausalLM",
            "MiniCPM3ForCausalLM",
        ],
        gguf: &["deepseek2", "deepseek32", "glm-dsa", "kimi-linear", "minicpm3", "mistral4", "plm"],
        keys: &["attention.kv_lora_rank", "attention.q_lora_rank", "kv_lora_rank", "q_lora_rank"],
    },
    Obstacle {
        what: "short convolutions",
        classes: &["Lfm2ForCausalLM", "Lfm2MoeForCausalLM"],
        gguf: &["lfm2", "lfm2moe"],
        keys: &["shortconv."],
    },
    Obstacle {
        what: "state-space layers (Mamba)",
        classes: &[
            "BambaForCausalLM",
            "FalconH1ForCausalLM",
            "FalconMambaForCausalLM",
            "JambaForCausalLM",
            "Mamba2ForCausalLM",
            "MambaForCausalLM",
            "NemotronHForCausalLM",
            "Plamo2ForCausalLM",
            "Zamba2ForCausalLM",
            "ZambaForCausalLM",
        ],
        gguf: &["falcon-h1", "granitehybrid", "jamba", "mamba", "mamba2", "nemotron_h", "nemotron_h_moe", "plamo2"],
        keys: &["ssm.", "mamba_"],
    },
    Obstacle {
        what: "recurrent layers",
        classes: &["RecurrentGemmaForCausalLM", "RwkvForCausalLM", "xLSTMForCausalLM"],
        gguf: &["arwkv7", "rwkv6", "rwkv6qwen2", "rwkv7"],
        keys: &["wkv."],
    },
    Obstacle {
        what: "embeddings of each layer's own",
        classes: &[
            "Gemma3nForCausalLM",
            "Gemma3nForConditionalGeneration",
            "Gemma4ForCausalLM",
            "Gemma4ForConditionalGeneration",
        ],
        gguf: &["gemma3n", "gemma4"],
        keys: &["altup.", "embedding_length_per_layer_input"],
    },
    Obstacle {
        what: "attention whose scale depends on the position",
        classes: &["Ministral3ForCausalLM"],
        gguf: &[],
        keys: &["attention.temperature_", "llama_4_scaling"],
    },
    Obstacle {
        what: "positions by biases of the scores (ALiBi)",
        classes: &["BloomForCausalLM", "JAISLMHeadModel", "MPTForCausalLM", "MptForCausalLM"],
        gguf: &["bloom", "jais", "mpt", "refact"],
        keys: &["attention.max_alibi_bias"],
    },
    Obstacle {
        what: "norms inside of attention and MLP (BitNet)",
        classes: &["BitNetForCausalLM", "BitnetForCausalLM"],
        gguf: &["bitnet"],
        ..NONE
    },
    Obstacle { what: "differential attention", classes: &["DiffLlamaForCausalLM"], ..NONE },
    Obstacle {
        what: "rotation along several axes (M-RoPE)",
        classes: &[
            "Qwen2VLForConditionalGeneration",
            "Qwen2_5_VLForConditionalGeneration",
            "Qwen3VLForConditionalGeneration",
            "Qwen3VLMoeForConditionalGeneration",
        ],
        gguf: &["hunyuan_vl", "paddleocr", "qwen2vl", "qwen3vl", "qwen3vlmoe"],
        keys: &["rope.dimension_sections"],
    },
    Obstacle {
        what: "attention that looks ahead (an encoder, or text by diffusion)",
        classes: &["BertForMaskedLM", "BertLMHeadModel", "DreamModel", "LLaDAModelLM", "ModernBertForMaskedLM"],
        gguf: &[
            "bert",
            "dream",
            "eurobert",
            "gemma-embedding",
            "jina-bert-v2",
            "jina-bert-v3",
            "llada",
            "llada-moe",
            "llama-embed",
            "modern-bert",
            "neo-bert",
            "nomic-bert",
            "nomic-bert-moe",
            "t5encoder",
        ],
        ..NONE
    },
    Obstacle {
        what: "an encoder beside the decoder",
        classes: &["BartForConditionalGeneration", "T5ForConditionalGeneration"],
        gguf: &["t5"],
        ..NONE
    },
    Obstacle {
        what: "the fields of Falcon's first code (newer revisions of the same checkpoints say `FalconForCausalLM`)",
        classes: &["RWForCausalLM"],
        ..NONE
    },
    Obstacle {
        what: "a block that rasp was not taught",
        classes: &[
            "BaichuanForCausalLM",
            "CodeGenForCausalLM",
            "ExaoneForCausalLM",
            "GPTBigCodeForCausalLM",
            "GPTJForCausalLM",
            "GPTNeoForCausalLM",
            "InternLM2ForCausalLM",
            "OPTForCausalLM",
            "OrionForCausalLM",
            "XverseForCausalLM",
        ],
        gguf: &[
            "baichuan",
            "codeshell",
            "deci",
            "exaone",
            "gptj",
            "internlm2",
            "orion",
            "plamo",
            "starcoder",
            "xverse",
        ],
        ..NONE
    },
];

/// What to do about any of them.
const ADVICE: &str = "choose a model of a family that docs/models.md lists, or run this one with llama.cpp or \
                      transformers";

/// A class without its ending, and a `model_type` without what sets its words apart.
fn bare(name: &str) -> String {
    let endings = ["ForCausalLM", "ForConditionalGeneration", "LMHeadModel"];
    let name = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
}

/// What the trait of a key is, if it has one: a key as GGUF files (without their architecture) or configurations have
/// it.
fn of_key(key: &str) -> Option<&'static Obstacle> {
    OBSTACLES.iter().find(|obstacle| obstacle.keys.iter().any(|start| key.starts_with(start)))
}

/// The refusal of what a file calls a class or `model_type` of Hugging Face's; `at` says where.
pub(super) fn class(at: &str, said: &str, known: &[&str]) -> Error {
    let named = |o: &&Obstacle| o.classes.contains(&said);
    let alike = |o: &&Obstacle| o.classes.iter().any(|class| bare(class) == bare(said));
    refusal(at, said, OBSTACLES.iter().find(named).or_else(|| OBSTACLES.iter().find(alike)), known)
}

/// The same of what a GGUF file calls its architecture.
pub(super) fn architecture(at: &str, said: &str, known: &[&str]) -> Error {
    refusal(at, said, OBSTACLES.iter().find(|o| o.gguf.contains(&said)), known)
}

fn refusal(at: &str, said: &str, obstacle: Option<&Obstacle>, known: &[&str]) -> Error {
    unsupported(match obstacle {
        Some(Obstacle { what, .. }) => {
            format!("{at}: architecture `{said}` needs {what}, which rasp does not compute; {ADVICE}")
        }
        None => format!(
            "{at}: rasp does not know what architecture `{said}` computes; {ADVICE} (known are {})",
            known.join(", ")
        ),
    })
}

/// The refusal of a key that rasp does not know; `key` is its name in the table, `said` where it stands and its whole
/// name.
pub(super) fn key(said: &str, key: &str) -> Error {
    unsupported(match of_key(key) {
        Some(Obstacle { what, .. }) => {
            format!("{said} says that the model needs {what}, which rasp does not compute; {ADVICE}")
        }
        None => format!("{said}, whose meaning rasp does not know: it may change what the model computes; {ADVICE}"),
    })
}

/// The refusal of a value of a known key that asks for what rasp does not compute.
pub(super) fn value(said: &str, what: &str) -> Error {
    unsupported(format!("{said}: {what}, which rasp does not compute; {ADVICE}"))
}

#[cfg(test)]
mod tests {
    use super::{OBSTACLES, architecture, class, key};
    use crate::import::registry::families;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_that_loads_is_refused_and_nothing_has_two_reasons() {
        let mut seen = BTreeSet::new();
        for name in OBSTACLES.iter().flat_map(|o| o.classes.iter().chain(o.gguf)) {
            assert!(seen.insert(*name), "{name} stands twice");
        }
        for family in families() {
            let classes = family.hf.iter().map(|class| class.class);
            for name in classes.chain(family.gguf.as_ref().map(|gguf| gguf.architecture)) {
                assert!(!seen.contains(name), "{name} loads");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_trait_and_what_to_do() {
        let cases = [
            (class("config.json", "MixtralForCausalLM", &[]), "a mixture of experts"),
            (class("config.json", "gpt_oss", &[]), "attention sinks"),
            (class("config.json", "qwen3_moe", &[]), "a mixture of experts"),
            (class("config.json", "DeepseekV3ForCausalLM", &[]), "latent attention (MLA)"),
            (class("config.json", "NewForCausalLM", &["A", "B"]), "does not know what architecture `NewForCausalLM`"),
            (architecture("general.architecture", "lfm2", &[]), "short convolutions"),
            (architecture("general.architecture", "rwkv7", &[]), "recurrent layers"),
            (architecture("general.architecture", "new", &["a", "b"]), "known are a, b"),
            (key("key `llama.ssm.conv_kernel`", "ssm.conv_kernel"), "state-space"),
            (key("key `llama.new`", "new"), "whose meaning rasp does not know"),
        ];
        for (error, word) in cases {
            assert!(error.message().contains(word), "`{word}` is not in: {error}");
            assert!(error.message().contains("docs/models.md lists"), "{error}");
        }
    }
}
