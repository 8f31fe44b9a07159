//! Names of a checkpoint's tensors, by source and family. A layer's tensor is `{layer}{index}.{part}.weight` or
//! `.bias`.

use rasp::model::{Affine, GroupKind, LinearKind, NormId, Role};

/// Names of a family's tensors in one source.
pub(crate) struct Names {
    pub(crate) embedding: &'static str,
    pub(crate) positions: &'static str,
    /// Without its `.weight` or `.bias`, as what follows.
    pub(crate) lm_head: &'static str,
    pub(crate) final_norm: &'static str,
    pub(crate) layer: &'static str,
    /// In the order of [`NormId::ALL`]; empty where there is none.
    pub(crate) norms: [&'static str; 4],
    /// Of queries and keys; `{}` in them is the head's number where each has a tensor of its own.
    pub(crate) qk_norms: [&'static str; 2],
    /// In the order of [`LinearKind::ALL`]: q, k, v, o, gate, up, down. Those of one name are fused in one tensor.
    pub(crate) linears: [&'static str; 7],
    /// How the rows of a fused q, k and v lie.
    pub(crate) fused: Fused,
    /// Whether matrices are stored `[inputs, outputs]`.
    pub(crate) transposed: bool,
    /// Whether norms have neither gains nor biases.
    pub(crate) weightless_norms: bool,
    /// Beginnings of tensor names that stand for others.
    pub(crate) prefixes: &'static [(&'static str, &'static str)],
    /// Beginnings of names of tensors that belong to other models of the same checkpoint, and are passed over.
    pub(crate) others: &'static [&'static str],
    /// Ends of names of tensors that hold nothing the configuration does not, and are passed over.
    pub(crate) derived: &'static [&'static str],
}

/// How q, k and v lie where they are one tensor.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fused {
    /// One after the other.
    Stacked,
    /// The queries of those heads that share a key and value, then these; and so on.
    Groups,
}

/// The linears of a block whose attention has four by the usual names, and whose MLP has these: gate, up and down.
const fn separate(gate: &'static str, up: &'static str, down: &'static str) -> [&'static str; 7] {
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", gate, up, down]
}

/// How the text model's tensors are called in checkpoints that see as well, under any of the names that transformers
/// has saved it.
const SEEING: &[(&str, &str)] = &[
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
];

/// What such checkpoints see with.
const SIGHT: &[&str] =
    &["vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."];

/// Names in Hugging Face checkpoints.
pub(crate) const HF: Names = Names {
    embedding: "model.embed_tokens.weight",
    positions: "",
    lm_head: "lm_head",
    final_norm: "model.norm",
    layer: "model.layers.",
    norms: ["input_layernorm", "", "post_attention_layernorm", ""],
    qk_norms: ["", ""],
    linears: separate("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    fused: Fused::Stacked,
    transposed: false,
    weightless_norms: false,
    prefixes: SEEING,
    others: SIGHT,
    // Old checkpoints saved the frequencies, which every reader computes from the configuration.
    derived: &[".self_attn.rotary_emb.inv_freq"],
};

pub(crate) const HF_QK_NORM: Names = Names { qk_norms: ["self_attn.q_norm", "self_attn.k_norm"], ..HF };

pub(crate) const HF_HUNYUAN: Names = Names { qk_norms: ["self_attn.query_layernorm", "self_attn.key_layernorm"], ..HF };

pub(crate) const HF_GEMMA2: Names = Names {
    norms: ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"],
    ..HF
};

pub(crate) const HF_GEMMA3: Names = Names { qk_norms: ["self_attn.q_norm", "self_attn.k_norm"], ..HF_GEMMA2 };

pub(crate) const HF_OLMO: Names = Names { weightless_norms: true, ..HF };

pub(crate) const HF_OLMO2: Names = Names {
    norms: ["", "post_attention_layernorm", "", "post_feedforward_layernorm"],
    qk_norms: ["self_attn.q_norm", "self_attn.k_norm"],
    ..HF
};

const QKV_PROJ: &str = "self_attn.qkv_proj";
const GATE_UP_PROJ: &str = "mlp.gate_up_proj";

pub(crate) const HF_PHI3: Names = Names {
    linears: [QKV_PROJ, QKV_PROJ, QKV_PROJ, "self_attn.o_proj", GATE_UP_PROJ, GATE_UP_PROJ, "mlp.down_proj"],
    ..HF
};

pub(crate) const HF_GLM: Names = Names {
    linears: [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        GATE_UP_PROJ,
        GATE_UP_PROJ,
        "mlp.down_proj",
    ],
    ..HF
};

pub(crate) const HF_GLM4: Names = Names {
    norms: ["input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"],
    ..HF_GLM
};

pub(crate) const HF_GRANITE4: Names =
    Names { linears: separate("shared_mlp.input_linear", "shared_mlp.input_linear", "shared_mlp.output_linear"), ..HF };

pub(crate) const HF_APERTUS: Names = Names {
    norms: ["attention_layernorm", "", "feedforward_layernorm", ""],
    linears: separate("", "mlp.up_proj", "mlp.down_proj"),
    ..HF_QK_NORM
};

pub(crate) const HF_PHI: Names = Names {
    final_norm: "model.final_layernorm",
    norms: ["input_layernorm", "", "", ""],
    qk_norms: ["self_attn.q_layernorm", "self_attn.k_layernorm"],
    linears: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense", "", "mlp.fc1", "mlp.fc2"],
    ..HF
};

pub(crate) const HF_STABLELM: Names =
    Names { qk_norms: ["self_attn.q_layernorm.norms.{}", "self_attn.k_layernorm.norms.{}"], ..HF };

pub(crate) const HF_STARCODER2: Names = Names { linears: separate("", "mlp.c_fc", "mlp.c_proj"), ..HF };

const FALCON_QKV: &str = "self_attention.query_key_value";

pub(crate) const HF_FALCON: Names = Names {
    embedding: "transformer.word_embeddings.weight",
    final_norm: "transformer.ln_f",
    layer: "transformer.h.",
    norms: ["input_layernorm", "", "post_attention_layernorm", ""],
    linears: [FALCON_QKV, FALCON_QKV, FALCON_QKV, "self_attention.dense", "", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
    fused: Fused::Groups,
    ..HF
};

/// With a norm for each of attention and MLP.
pub(crate) const HF_FALCON_TWO_NORMS: Names = Names { norms: ["ln_attn", "", "ln_mlp", ""], ..HF_FALCON };

const NEOX_QKV: &str = "attention.query_key_value";

pub(crate) const HF_NEOX: Names = Names {
    embedding: "gpt_neox.embed_in.weight",
    lm_head: "embed_out",
    final_norm: "gpt_neox.final_layer_norm",
    layer: "gpt_neox.layers.",
    linears: [NEOX_QKV, NEOX_QKV, NEOX_QKV, "attention.dense", "", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
    fused: Fused::Groups,
    derived: &[".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"],
    ..HF
};

const GPT2_QKV: &str = "attn.c_attn";

pub(crate) const HF_GPT2: Names = Names {
    embedding: "transformer.wte.weight",
    positions: "transformer.wpe.weight",
    final_norm: "transformer.ln_f",
    layer: "transformer.h.",
    norms: ["ln_1", "", "ln_2", ""],
    linears: [GPT2_QKV, GPT2_QKV, GPT2_QKV, "attn.c_proj", "", "mlp.c_fc", "mlp.c_proj"],
    transposed: true,
    // The first checkpoints were saved without their head.
    prefixes: &[
        ("wte.", "transformer.wte."),
        ("wpe.", "transformer.wpe."),
        ("h.", "transformer.h."),
        ("ln_f.", "transformer.ln_f."),
    ],
    derived: &[".attn.bias", ".attn.masked_bias"],
    ..HF
};

/// Names in GGUF files.
pub(crate) const GGUF: Names = Names {
    embedding: "token_embd.weight",
    positions: "",
    lm_head: "output",
    final_norm: "output_norm",
    layer: "blk.",
    norms: ["attn_norm", "", "ffn_norm", ""],
    linears: ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"],
    prefixes: &[],
    others: &[],
    derived: &[],
    ..HF
};

pub(crate) const GGUF_QK_NORM: Names = Names { qk_norms: ["attn_q_norm", "attn_k_norm"], ..GGUF };

pub(crate) const GGUF_GEMMA2: Names =
    Names { norms: ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"], ..GGUF };

pub(crate) const GGUF_GEMMA3: Names = Names { qk_norms: ["attn_q_norm", "attn_k_norm"], ..GGUF_GEMMA2 };

pub(crate) const GGUF_OLMO2: Names =
    Names { norms: ["", "post_attention_norm", "", "post_ffw_norm"], qk_norms: ["attn_q_norm", "attn_k_norm"], ..GGUF };

pub(crate) const GGUF_PHI3: Names =
    Names { linears: ["attn_qkv", "attn_qkv", "attn_qkv", "attn_output", "ffn_up", "ffn_up", "ffn_down"], ..GGUF };

pub(crate) const GGUF_PHI: Names = Names { norms: ["attn_norm", "", "", ""], ..GGUF };

pub(crate) const GGUF_OLMO: Names = Names { weightless_norms: true, ..GGUF };

pub(crate) const GGUF_GLM: Names =
    Names { linears: ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_up", "ffn_down"], ..GGUF };

pub(crate) const GGUF_GLM4: Names =
    Names { norms: ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"], ..GGUF_GLM };

/// Queries, keys and values stacked, which the converter sees to.
pub(crate) const GGUF_FUSED: Names =
    Names { linears: ["attn_qkv", "attn_qkv", "attn_qkv", "attn_output", "", "ffn_up", "ffn_down"], ..GGUF };

pub(crate) const GGUF_FALCON_TWO_NORMS: Names = Names { norms: ["attn_norm_2", "", "attn_norm", ""], ..GGUF_FUSED };

pub(crate) const GGUF_GPT2: Names = Names { positions: "position_embd.weight", ..GGUF_FUSED };

pub(crate) const GGUF_SEED_OSS: Names = Names { norms: ["attn_norm", "", "post_attention_norm", ""], ..GGUF };

impl Names {
    /// The tensor of a vector, or of rows of the vocabulary; empty where the family has none. (Norms of queries and
    /// keys may be several: see [`qk_norm`](Names::qk_norm).)
    pub(crate) fn vector(&self, role: Role) -> String {
        match role {
            Role::Embedding => self.embedding.into(),
            Role::Positions => self.positions.into(),
            Role::LmHead => format!("{}.weight", self.lm_head),
            Role::LmHeadBias => format!("{}.bias", self.lm_head),
            Role::FinalNorm(affine) => format!("{}.{}", self.final_norm, ending(affine)),
            Role::Norm(layer, id, affine) => self.part(layer, self.norms[id as usize], ending(affine)),
            Role::QkNorm(..) | Role::Matrix(..) | Role::Bias(..) | Role::Rope(_) => String::new(),
            Role::UpRows(_) | Role::UpBias(_) => String::new(),
        }
    }

    /// A layer's tensor; empty where the family has no such part.
    fn part(&self, layer: usize, part: &str, ending: &str) -> String {
        if part.is_empty() { String::new() } else { format!("{}{layer}.{part}.{ending}", self.layer) }
    }

    /// The tensors of a norm of queries or keys, one a head where each has its own.
    pub(crate) fn qk_norm(&self, layer: usize, kind: LinearKind, affine: Affine, heads: usize) -> Vec<String> {
        let name = self.qk_norms[usize::from(kind == LinearKind::K)];
        let of = |head: usize| self.part(layer, &name.replace("{}", &head.to_string()), ending(affine));
        if name.contains("{}") { (0..heads).map(of).collect() } else { vec![of(0)] }
    }

    pub(crate) fn weight(&self, layer: usize, linear: LinearKind) -> String {
        self.part(layer, self.linears[linear as usize], ending(Affine::Gain))
    }

    pub(crate) fn bias(&self, layer: usize, linear: LinearKind) -> String {
        self.part(layer, self.linears[linear as usize], ending(Affine::Bias))
    }

    /// A parameter of a layer's xIELU.
    pub(crate) fn xielu(&self, layer: usize, parameter: &str) -> String {
        self.part(layer, "mlp.act_fn", parameter)
    }

    /// Whether the linears of a group are one tensor.
    pub(crate) fn is_fused(&self, group: GroupKind) -> bool {
        match group {
            GroupKind::Qkv => self.linears[0] == self.linears[1],
            GroupKind::GateUp => self.linears[4] == self.linears[5],
            GroupKind::O | GroupKind::Down => false,
        }
    }
}

fn ending(affine: Affine) -> &'static str {
    match affine {
        Affine::Gain => "weight",
        Affine::Bias => "bias",
    }
}

/// Its place in [`Names::norms`].
const _: () = assert!(NormId::Attn as usize == 0 && NormId::MlpPost as usize == 3);
