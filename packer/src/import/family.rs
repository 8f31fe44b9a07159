//! What the importer knows of model families. To add one that computes as these do, add an entry to [`FAMILIES`].

/// Names of a checkpoint's tensors in one source. A layer's tensor is `{layer}{index}.{part}.weight` or `.bias`.
pub(crate) struct Names {
    pub(crate) embedding: &'static str,
    pub(crate) lm_head: &'static str,
    pub(crate) final_norm: &'static str,
    pub(crate) layer: &'static str,
    pub(crate) attn_norm: &'static str,
    pub(crate) mlp_norm: &'static str,
    /// In the order of [`rasp::model::LinearKind::ALL`]: q, k, v, o, gate, up, down.
    pub(crate) linears: [&'static str; 7],
    /// Ends of names of tensors that hold nothing the configuration does not, and are passed over.
    pub(crate) derived: &'static [&'static str],
}

/// Names in GGUF files.
pub(crate) const GGUF: Names = Names {
    embedding: "token_embd.weight",
    lm_head: "output.weight",
    final_norm: "output_norm.weight",
    layer: "blk.",
    attn_norm: "attn_norm",
    mlp_norm: "ffn_norm",
    linears: ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"],
    derived: &[],
};

/// Names in Hugging Face checkpoints.
pub(crate) const HF: Names = Names {
    embedding: "model.embed_tokens.weight",
    lm_head: "lm_head.weight",
    final_norm: "model.norm.weight",
    layer: "model.layers.",
    attn_norm: "input_layernorm",
    mlp_norm: "post_attention_layernorm",
    linears: [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ],
    // Old checkpoints saved the frequencies, which every reader computes from the configuration.
    derived: &[".self_attn.rotary_emb.inv_freq"],
};

/// Whether q, k and v have biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QkvBias {
    Always,
    /// All of them in every layer, or none.
    AllOrNone,
}

/// What `sliding_window` in a Hugging Face configuration means to a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Ignored,
    Active,
    /// Active only with `use_sliding_window: true`.
    Opt,
}

/// A Hugging Face class whose checkpoints are of a family.
pub(crate) struct HfClass {
    /// In `architectures`.
    pub(crate) class: &'static str,
    /// In `model_type`.
    pub(crate) model_type: &'static str,
    pub(crate) window: Window,
    /// Whether a configuration without `num_key_value_heads` means one for each query head.
    pub(crate) kv_heads_default: bool,
}

/// One family of models: pre-norm blocks of RMS norm, rotary attention and a SiLU-gated MLP.
pub(crate) struct Family {
    /// [`super::ModelConfig::architecture`], and `general.architecture` in a GGUF file.
    pub(crate) name: &'static str,
    pub(crate) hf: &'static [HfClass],
    pub(crate) qkv_bias: QkvBias,
    /// Whether GGUF files hold q and k with interleaved rotation pairs.
    pub(crate) gguf_interleaved: bool,
    /// A GGUF tensor that divides the rotary frequencies, where the family may have one.
    pub(crate) gguf_rope_factors: Option<&'static str>,
}

/// Every family.
pub(crate) static FAMILIES: [Family; 2] = [
    Family {
        name: "llama",
        hf: &[
            HfClass { class: "LlamaForCausalLM", model_type: "llama", window: Window::Ignored, kv_heads_default: true },
            HfClass {
                class: "MistralForCausalLM",
                model_type: "mistral",
                window: Window::Active,
                kv_heads_default: false,
            },
        ],
        qkv_bias: QkvBias::AllOrNone,
        gguf_interleaved: true,
        gguf_rope_factors: Some("rope_freqs.weight"),
    },
    Family {
        name: "qwen2",
        hf: &[HfClass { class: "Qwen2ForCausalLM", model_type: "qwen2", window: Window::Opt, kv_heads_default: false }],
        qkv_bias: QkvBias::Always,
        gguf_interleaved: false,
        gguf_rope_factors: None,
    },
];

/// The family of a GGUF file's `general.architecture`.
pub(crate) fn by_gguf_arch(arch: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|f| f.name == arch)
}

/// The family and class that `pick` chooses among the Hugging Face classes.
pub(crate) fn by_hf_class(pick: impl Fn(&HfClass) -> bool) -> Option<(&'static Family, &'static HfClass)> {
    FAMILIES.iter().flat_map(|f| f.hf.iter().map(move |c| (f, c))).find(|(_, c)| pick(c))
}
