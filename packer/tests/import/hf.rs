//! Well-formed Hugging Face directories.

use std::fs;

use rasp_packer::import::{self, TokenizerSource};
use safetensors::Dtype;
use serde_json::json;

use crate::support::*;

#[test]
fn llama_in_every_type_tied_and_untied_in_one_file_and_two() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        for tied in [true, false] {
            for sharded in [true, false] {
                let hf = HfDir::tiny("LlamaForCausalLM", dtype, tied);
                if sharded {
                    hf.write_shards();
                } else {
                    hf.write();
                }
                let c = import::open(hf.path()).unwrap();
                let config = c.config();
                assert_eq!(config.architecture, "llama");
                assert_eq!(config.name, hf.path().file_name().unwrap().to_str().unwrap());
                assert_eq!((config.vocab_size, config.hidden_size), (12, 32));
                assert_eq!((config.intermediate_size, config.num_layers), (64, 2));
                assert_eq!((config.num_heads, config.num_kv_heads), (4, 2));
                assert_eq!((config.head_dim, config.context_length), (8, 64));
                assert_eq!(config.rms_norm_eps, 1e-6);
                assert_eq!(c.shape.ropes[0], [1.0, 0.1, 0.01, 0.001]);
                assert_eq!(config.tie_word_embeddings, tied);
                check_values(&c, false);
                check_ranges(&c);
            }
        }
    }
}

#[test]
fn qwen2_and_mistral() {
    let mut hf = HfDir::tiny("Qwen2ForCausalLM", Dtype::BF16, true);
    // A window that is not in use, as every Qwen2 configuration has it.
    hf.config["use_sliding_window"] = json!(false);
    hf.config["sliding_window"] = json!(32);
    let c = import::open(hf.write()).unwrap();
    assert_eq!(c.config().architecture, "qwen2");
    check_values(&c, true);

    let mut hf = HfDir::tiny("MistralForCausalLM", Dtype::BF16, false);
    hf.config["sliding_window"] = json!(CONTEXT);
    let c = import::open(hf.write()).unwrap();
    assert_eq!((c.config().architecture.as_str(), c.config().block.is_llamas()), ("mistral", true));
    check_values(&c, false);
}

#[test]
fn both_sources_agree() {
    let hf = HfDir::tiny("LlamaForCausalLM", Dtype::F32, true);
    let (_dir, gguf) = GgufFile::tiny("llama", types::F32).write();
    let (a, b) = (import::open(hf.write()).unwrap(), import::open(&gguf).unwrap());
    for linear in rasp::model::LinearKind::ALL {
        assert_eq!(a.linear(1, linear).unwrap(), b.linear(1, linear).unwrap());
    }
}

#[test]
fn model_type_stands_in_for_architectures() {
    let mut hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, true);
    hf.config["architectures"] = json!(null);
    hf.config["model_type"] = json!("llama");
    import::open(hf.write()).unwrap();
}

#[test]
fn defaults() {
    let mut hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, false);
    let fields = hf.config.as_object_mut().unwrap();
    for key in ["rope_theta", "tie_word_embeddings", "hidden_act", "rope_scaling"] {
        fields.remove(key).unwrap();
    }
    let c = import::open(hf.write()).unwrap();
    assert_eq!((c.shape.ropes[0][1], c.config().tie_word_embeddings), (0.1, false));
}

#[test]
fn head_dim_need_not_divide_the_width() {
    let mut hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, true);
    hf.config["head_dim"] = json!(16);
    hf.config["num_attention_heads"] = json!(2);
    hf.config["num_key_value_heads"] = json!(1);
    let c = import::open(hf.write()).unwrap();
    assert_eq!((c.config().head_dim, c.shape.ropes[0].len()), (16, 8));
}

#[test]
fn rope_scalings_old_and_new() {
    let linear = [0.25, 0.025, 0.0025, 0.00025];
    for (key, value, want) in [
        ("rope_scaling", json!({"type": "linear", "factor": 4.0}), linear),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 4}), linear),
        ("rope_scaling", json!({"rope_type": "default"}), [1.0, 0.1, 0.01, 0.001]),
        ("rope_parameters", json!({"rope_type": "default", "rope_theta": 1e8}), [1.0, 0.01, 0.0001, 0.000001]),
        (
            // One turn in 2π·10 positions, so the ramp spans the frequencies 0.1 to 0.2.
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 2.0,
                   "original_max_position_embeddings": 62.83185307179586}),
            [1.0, 0.0125, 0.00125, 0.000125],
        ),
    ] {
        let mut hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, true);
        hf.config[key] = value;
        let c = import::open(hf.write()).unwrap();
        assert_eq!(c.shape.ropes[0], want, "{}", hf.config);
    }
}

#[test]
fn a_tied_head_may_be_saved_and_old_frequencies_too() {
    let mut hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, true);
    hf.add("lm_head.weight", &[VOCAB, HIDDEN], &values("embed", VOCAB * HIDDEN));
    hf.add("model.layers.0.self_attn.rotary_emb.inv_freq", &[4], &[1.0; 4]);
    let c = import::open(hf.write()).unwrap();
    check_values(&c, false);
}

#[test]
fn tokenizer_files_and_templates() {
    let hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, true);
    hf.file("tokenizer.json", r#"{"version": "1.0"}"#);
    let c = import::open(hf.write()).unwrap();
    assert_eq!(c.chat_template, None);
    let TokenizerSource::HuggingFace { tokenizer_config: None, generation_config: None, .. } = c.tokenizer else {
        panic!("{:?}", c.tokenizer)
    };

    hf.file("tokenizer_config.json", r#"{"chat_template": "one", "bos_token": "<s>"}"#);
    hf.file("generation_config.json", r#"{"eos_token_id": [1, 2]}"#);
    let c = import::open(hf.path()).unwrap();
    assert_eq!(c.chat_template.as_deref(), Some("one"));
    let TokenizerSource::HuggingFace { tokenizer_json, tokenizer_config, generation_config, config } = c.tokenizer
    else {
        panic!()
    };
    assert_eq!(tokenizer_json, br#"{"version": "1.0"}"#);
    assert_eq!(tokenizer_config.unwrap()["bos_token"], "<s>");
    assert_eq!(generation_config.unwrap()["eos_token_id"], json!([1, 2]));
    assert_eq!(config, hf.config);

    hf.file(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "two"}]}"#,
    );
    assert_eq!(import::open(hf.path()).unwrap().chat_template.as_deref(), Some("two"));
    hf.file("chat_template.jinja", "three");
    assert_eq!(import::open(hf.path()).unwrap().chat_template.as_deref(), Some("three"));
}

#[test]
fn a_hub_cache_names_the_repository() {
    let hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, true);
    hf.write();
    let snapshot = hf.path().join("models--org--Some-Model/snapshots/0123abcd");
    fs::create_dir_all(&snapshot).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(hf.path().join(name), snapshot.join(name)).unwrap();
    }
    assert_eq!(import::open(&snapshot).unwrap().config().name, "Some-Model");
}
