//! A tiny model that speaks bytes, made by `rasp pack` itself, and a way to run `rasp`.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The model's longest context.
pub const CONTEXT: usize = 160;
const VOCAB: usize = 258;
const HIDDEN: usize = 32;
const INNER: usize = 64;
const LAYERS: usize = 2;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;

/// The packed model, made once for all tests.
pub fn model() -> &'static Path {
    static MODEL: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MODEL.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        checkpoint(dir.path(), KV_HEADS);
        // Scores as they are: what tuning does to a model that predicts nothing is chance.
        let (path, summary) = pack(dir.path(), &["--tune", "0", "--dtype", "bf16"]);
        assert_eq!(summary["levels"][0]["sparsity"], 0.3, "{summary}");
        (dir, path)
    });
    path
}

/// The same model with a kv head for every head, so that all its linears come in groups of 32: packed with these
/// arguments, in a folder of its own; and the summary.
pub fn even_model(args: &[&str]) -> (TempDir, PathBuf, Value) {
    let dir = tempfile::tempdir().unwrap();
    checkpoint(dir.path(), HEADS);
    let (path, summary) = pack(dir.path(), args);
    (dir, path, summary)
}

/// The same with a token for the beginning of a text, 256, which the tokenizer puts before each or only has.
pub fn model_with_start(added: bool) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    checkpoint(dir.path(), KV_HEADS);
    let mut tokenizer = tokenizer();
    if added {
        tokenizer["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|start|>": {"id": "<|start|>", "ids": [256], "tokens": ["<|start|>"]}},
        });
    }
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let settings = json!({"bos_token": "<|start|>", "eos_token": "<|end|>"});
    fs::write(dir.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    let (path, _) = pack(dir.path(), &["--tune", "0", "--dtype", "bf16"]);
    (dir, path)
}

pub fn pack(dir: &Path, args: &[&str]) -> (PathBuf, Value) {
    let path = dir.join("tiny.rasp");
    let output = rasp()
        .args(["pack", "--sparsity", "0.3,0.5", "--calib-tokens", "256", "--json", "--calib"])
        .args([&dir.join("calibration.txt"), dir, Path::new("-o"), &path])
        .args(args)
        .output()
        .unwrap();
    (path, json_of(&output))
}

/// `rasp`, to be given arguments.
pub fn rasp() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rasp"))
}

/// Runs `rasp COMMAND… MODEL ARGS…` on the tiny model.
pub fn run(command: &[&str], args: &[&str]) -> Output {
    rasp().args(command).arg(model()).args(args).output().unwrap()
}

/// The one JSON value on stdout of a success.
pub fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// One clear line on stderr with these words, nothing on stdout, and this exit code.
pub fn fails(output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty() && !stderr.contains("panicked"), "{output:?}");
    words.iter().for_each(|word| assert!(stderr.contains(word), "no {word:?} in: {stderr}"));
    if code == 1 {
        let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("rasp: ")).collect();
        assert_eq!(lines.len(), 1, "{stderr}");
    }
}

/// The keys of an object, in alphabetical order.
pub fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The character that stands for a byte in byte-level vocabularies (GPT-2's `bytes_to_unicode`).
fn letter(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match printable(byte) {
        true => char::from(byte),
        false => char::from_u32(256 + (0..byte).filter(|&b| !printable(b)).count() as u32).unwrap(),
    }
}

fn tokenizer() -> Value {
    let vocab: Map<_, _> = (0..=255).map(|byte| (letter(byte).to_string(), json!(byte))).collect();
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(256, "<|start|>"), added(257, "<|end|>")],
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": []}
    })
}

const TEMPLATE: &str = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}\
                        {% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

/// A Hugging Face directory with random weights.
pub fn checkpoint(dir: &Path, kv_heads: usize) {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": kv_heads,
        "max_position_embeddings": CONTEXT, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "rope_scaling": null, "tie_word_embeddings": true, "eos_token_id": 257,
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    let settings = json!({"eos_token": "<|end|>", "chat_template": TEMPLATE});
    fs::write(dir.join("tokenizer_config.json"), settings.to_string()).unwrap();
    fs::write(dir.join("calibration.txt"), "A tiny model reads a tiny text, again and again. ".repeat(20)).unwrap();

    let mut tensors = vec![("model.embed_tokens.weight".to_string(), vec![VOCAB, HIDDEN])];
    tensors.push(("model.norm.weight".into(), vec![HIDDEN]));
    let kv = HIDDEN / HEADS * kv_heads;
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![kv, HIDDEN]),
            ("self_attn.v_proj", vec![kv, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj", vec![INNER, HIDDEN]),
            ("mlp.up_proj", vec![INNER, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INNER]),
        ] {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    write(&dir.join("model.safetensors"), tensors);
}

/// PEFT's folder of a LoRA adapter for it: rank 2, `alpha`, on all q and down.
pub fn adapter(dir: &Path, alpha: f32) {
    fs::create_dir_all(dir).unwrap();
    let config = json!({"peft_type": "LORA", "r": 2, "lora_alpha": alpha, "bias": "none"});
    fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
    let mut tensors = Vec::new();
    for layer in 0..LAYERS {
        for (module, outputs, inputs) in [("self_attn.q_proj", HIDDEN, HIDDEN), ("mlp.down_proj", HIDDEN, INNER)] {
            let name = format!("base_model.model.model.layers.{layer}.{module}");
            tensors.push((format!("{name}.lora_A.weight"), vec![2, inputs]));
            tensors.push((format!("{name}.lora_B.weight"), vec![outputs, 2]));
        }
    }
    write(&dir.join("adapter_model.safetensors"), tensors);
}

/// Random tensors of these shapes.
fn write(path: &Path, tensors: Vec<(String, Vec<usize>)>) {
    let mut state = 1u64;
    let mut random = |scale: f32| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
    };
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            // Norms near 1, weights small enough that no softmax saturates.
            let value = |r: f32| if shape.len() == 1 { 1.0 + r } else { r };
            let numbers: Vec<f32> = (0..count).map(|_| value(random(0.2))).collect();
            (name, shape, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
        })
        .collect();
    let views = data
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}
