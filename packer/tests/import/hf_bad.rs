//! Malformed Hugging Face directories, and such that rasp cannot run.

use std::fs;

use rasp::Status::{self, BadFile, InvalidUtf8, Io, NonFinite, Unsupported};
use rasp_packer::import;
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::support::*;

fn tiny() -> HfDir {
    HfDir::tiny("LlamaForCausalLM", Dtype::BF16, false)
}

/// Writes the tiny llama after a change, which must make it refused.
#[track_caller]
fn case(status: Status, words: &[&str], change: impl FnOnce(&mut HfDir)) {
    let mut hf = tiny();
    change(&mut hf);
    refuses(hf.write(), status, words);
}

#[track_caller]
fn config_case(status: Status, words: &[&str], changes: &[(&str, Value)]) {
    case(status, words, |hf| {
        for (key, value) in changes {
            hf.config[*key] = value.clone();
        }
    });
}

#[test]
fn missing_files() {
    for name in ["config.json", "tokenizer.json"] {
        let hf = tiny();
        hf.write();
        fs::remove_file(hf.path().join(name)).unwrap();
        refuses(hf.path(), Io, &[name]);
    }
    let hf = tiny();
    hf.write();
    fs::remove_file(hf.path().join("tokenizer.json")).unwrap();
    hf.file("tokenizer.model", "x");
    refuses(hf.path(), Unsupported, &["tokenizer.model"]);

    let hf = tiny();
    hf.write();
    fs::remove_file(hf.path().join("model.safetensors")).unwrap();
    refuses(hf.path(), Io, &["model.safetensors", "index"]);
    hf.file("pytorch_model.bin", "x");
    refuses(hf.path(), Unsupported, &["convert"]);

    let dir = tempfile::tempdir().unwrap();
    refuses(dir.path(), Io, &["config.json"]);
    fs::write(dir.path().join("m.gguf"), "x").unwrap();
    refuses(dir.path(), Io, &["give the file itself"]);

    let hf = tiny();
    refuses(&hf.write().join("model.safetensors"), BadFile, &["give the directory"]);
}

#[test]
fn config_that_is_no_config() {
    for (text, word) in [("", "JSON"), ("{", "JSON"), ("[]", "object"), ("{}", "architectures")] {
        let hf = tiny();
        hf.write();
        hf.file("config.json", text);
        refuses(hf.path(), BadFile, &["config.json", word]);
    }
}

#[test]
fn config_values() {
    for key in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "rms_norm_eps",
    ] {
        case(BadFile, &["config.json", key, "missing"], |hf| {
            hf.config.as_object_mut().unwrap().remove(key);
        });
        config_case(BadFile, &["config.json", key], &[(key, json!("many"))]);
        config_case(BadFile, &[], &[(key, json!(0))]);
        config_case(BadFile, &[], &[(key, json!(-1))]);
        config_case(BadFile, &[], &[(key, json!(u64::MAX))]);
    }
    config_case(BadFile, &["3 key-value"], &[("num_key_value_heads", json!(3))]);
    config_case(BadFile, &["3 heads"], &[("num_attention_heads", json!(3))]);
    config_case(BadFile, &["head_dim is 7"], &[("head_dim", json!(7))]);
    config_case(BadFile, &["head_dim"], &[("head_dim", json!(1u64 << 62))]);
    config_case(BadFile, &["tie_word_embeddings"], &[("tie_word_embeddings", json!(1))]);
    config_case(BadFile, &["architectures"], &[("architectures", json!("LlamaForCausalLM"))]);
    // Mistral without this key means 8, whatever the number of heads: better to ask.
    case(BadFile, &["num_key_value_heads"], |hf| {
        *hf = HfDir::tiny("MistralForCausalLM", Dtype::BF16, false);
        hf.config["num_key_value_heads"] = json!(null);
    });
}

#[test]
fn variants() {
    config_case(
        Unsupported,
        &["config.json", "`MixtralForCausalLM`", "a mixture of experts", "choose a model"],
        &[("architectures", json!(["MixtralForCausalLM"]))],
    );
    config_case(
        Unsupported,
        &["config.json", "`NewForCausalLM`", "LlamaForCausalLM, MistralForCausalLM", "choose a model"],
        &[("architectures", json!(["NewForCausalLM"]))],
    );
    config_case(
        Unsupported,
        &["config.json", "`lfm2`", "short convolutions", "choose a model"],
        &[("architectures", json!(null)), ("model_type", json!("lfm2"))],
    );
    config_case(Unsupported, &["laplace"], &[("hidden_act", json!("laplace"))]);
    config_case(Unsupported, &["quantization_config"], &[("quantization_config", json!({"bits": 4}))]);
    config_case(Unsupported, &["partial_rotary"], &[("partial_rotary_factor", json!(0.5))]);
    for key in ["type", "rope_type"] {
        config_case(Unsupported, &["sinusoidal"], &[("rope_scaling", json!({key: "sinusoidal", "factor": 2.0}))]);
        config_case(
            BadFile,
            &["longrope", "original_max"],
            &[("rope_scaling", json!({key: "longrope", "factor": 2.0}))],
        );
        config_case(BadFile, &["factor"], &[("rope_scaling", json!({key: "yarn"}))]);
    }
    config_case(
        Unsupported,
        &["`turns`", "choose a model"],
        &[("rope_scaling", json!({"type": "linear", "factor": 2.0, "turns": 3}))],
    );
    config_case(BadFile, &["factor"], &[("rope_scaling", json!({"type": "linear"}))]);
    config_case(BadFile, &["factor is 0"], &[("rope_scaling", json!({"type": "linear", "factor": 0}))]);
    config_case(BadFile, &["low_freq_factor"], &[("rope_scaling", json!({"rope_type": "llama3", "factor": 8.0}))]);
}

#[test]
fn tensors() {
    const Q: &str = "model.layers.1.self_attn.q_proj.weight";
    case(BadFile, &[Q, "missing"], |hf| drop(hf.tensors.remove(Q)));
    case(BadFile, &["lm_head.weight", "missing"], |hf| drop(hf.tensors.remove("lm_head.weight")));
    case(BadFile, &[Q, "[16, 64]", "[32, 32]"], |hf| hf.add(Q, &[16, 64], &[0.0; 1024]));
    case(BadFile, &[Q, "[1024]"], |hf| hf.add(Q, &[1024], &[0.0; 1024]));
    case(BadFile, &[Q, "no values"], |hf| hf.add(Q, &[0, 32], &[]));
    case(Unsupported, &[Q, "I16"], |hf| hf.tensors.get_mut(Q).unwrap().dtype = Dtype::I16);
    case(BadFile, &["embed_tokens", "12 rows", "13"], |hf| hf.config["vocab_size"] = json!(13));
    case(Unsupported, &["q_norm"], |hf| {
        hf.add("model.layers.0.self_attn.q_norm.weight", &[8], &[0.0; 8]);
    });
    // A bias of every layer, or of none.
    case(BadFile, &["layers.1.self_attn.", "_proj.bias", "missing"], |hf| {
        for layer in 0..1 {
            for (part, rows) in [("q", 32), ("k", 16), ("v", 16), ("o", 32)] {
                let name = format!("model.layers.{layer}.self_attn.{part}_proj.bias");
                hf.add(&name, &[rows], &vec![0.0; rows]);
            }
        }
    });
    case(BadFile, &["ties", "differ"], |hf| hf.config["tie_word_embeddings"] = json!(true));
}

#[test]
fn values_that_are_not_finite() {
    for (dtype, value) in [(Dtype::BF16, f32::NAN), (Dtype::F16, f32::INFINITY)] {
        let mut hf = HfDir::tiny("LlamaForCausalLM", dtype, true);
        let mut data = vec![0.0; INNER * HIDDEN];
        data[7 * HIDDEN + 3] = value;
        hf.add("model.layers.1.mlp.up_proj.weight", &[INNER, HIDDEN], &data);
        let c = import::open(hf.write()).unwrap();
        let error = c.linear(1, rasp::model::LinearKind::Up).unwrap_err();
        assert_eq!(error.status(), NonFinite);
        for word in ["model.layers.1.mlp.up_proj.weight", "[7, 3]", "model.safetensors"] {
            assert!(error.message().contains(word), "`{word}` is not in: {error}");
        }
    }
}

#[test]
fn truncated_files() {
    for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        let hf = tiny();
        hf.write_shards();
        let file = fs::OpenOptions::new().write(true).open(hf.path().join(name)).unwrap();
        let len = file.metadata().unwrap().len();
        for shorter in (0..len).rev().filter(|l| *l < 64 || l % 61 == 0 || *l + 8 > len) {
            file.set_len(shorter).unwrap();
            refuses(hf.path(), BadFile, &[name]);
        }
    }
    // And longer than its header says.
    let hf = tiny();
    let path = hf.write().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    refuses(hf.path(), BadFile, &["model.safetensors"]);
}

#[test]
fn index_and_files_that_differ() {
    const SECOND: &str = "model-00002-of-00002.safetensors";
    let q = |layer: usize| format!("model.layers.{layer}.self_attn.q_proj.weight");
    let hf = tiny();
    let good = hf.write_shards();

    let mut map = good.clone();
    map.insert(q(0), "model-00003-of-00003.safetensors".into());
    hf.index(&map);
    refuses(hf.path(), Io, &["model-00003-of-00003.safetensors"]);

    let mut map = good.clone();
    map.insert(q(0), SECOND.into());
    hf.index(&map);
    refuses(hf.path(), BadFile, &[&q(0), SECOND]);

    let mut map = good.clone();
    map.remove(&q(1));
    hf.index(&map);
    refuses(hf.path(), BadFile, &[&q(1), "not in model.safetensors.index.json"]);

    // The same file under two names has every tensor twice.
    let mut map = good.clone();
    map.insert(q(1), "copy.safetensors".into());
    hf.index(&map);
    fs::copy(hf.path().join(SECOND), hf.path().join("copy.safetensors")).unwrap();
    refuses(hf.path(), BadFile, &["another file"]);

    for index in ["{}", r#"{"weight_map": []}"#, r#"{"weight_map": {"a": 1}}"#, "null"] {
        hf.file("model.safetensors.index.json", index);
        refuses(hf.path(), BadFile, &["model.safetensors.index.json"]);
    }
}

#[test]
fn an_index_cannot_point_outside_the_directory() {
    let hf = tiny();
    let good = hf.write_shards();
    for file in [
        "../model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "./model-00001-of-00002.safetensors",
        "..",
        "..\\model.safetensors",
        "C:\\model.safetensors",
        "",
        "config.json",
    ] {
        let mut map = good.clone();
        map.insert("model.norm.weight".into(), file.into());
        hf.index(&map);
        refuses(hf.path(), BadFile, &["model.norm.weight", "not the name"]);
    }
}

/// Headers that claim sizes near the end of the number line must not overflow anywhere.
#[test]
fn headers_that_claim_absurd_sizes() {
    let max = usize::MAX;
    let huge = max / 8; // the most bytes whose bits can be counted; eight times that, and the header, cannot
    let many: Vec<String> = (0..8)
        .map(|i| {
            let (start, end) = (i * huge, (i + 1) * huge);
            format!(r#""t{i}":{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#, end - start)
        })
        .collect();
    for header in [
        format!("{{{}}}", many.join(",")),
        format!(r#"{{"a":{{"dtype":"U8","shape":[{max}],"data_offsets":[0,{max}]}}}}"#),
        r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#.into(),
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#.into(),
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}"#.into(),
        r#"{"a":{"dtype":"NO","shape":[1],"data_offsets":[0,1]}}"#.into(),
        r#"{"a":1}"#.into(),
        "[]".into(),
        "{".into(),
    ] {
        let hf = tiny();
        hf.write();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        hf.file("model.safetensors", &bytes);
        refuses(hf.path(), BadFile, &["model.safetensors"]);
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        hf.file("model.safetensors", &bytes);
        refuses(hf.path(), BadFile, &["header"]);
    }
}

#[test]
fn templates() {
    let hf = tiny();
    hf.write();
    for template in ["1", "{}", "[1]", r#"[{"name": "default"}]"#] {
        hf.file("tokenizer_config.json", format!(r#"{{"chat_template": {template}}}"#));
        refuses(hf.path(), BadFile, &["chat_template"]);
    }
    hf.file("chat_template.jinja", [0xFF]);
    refuses(hf.path(), InvalidUtf8, &["chat_template.jinja"]);
}

/// Whatever the files hold, opening and reading them comes back.
#[test]
fn flipped_bytes_never_panic() {
    let hf = tiny();
    hf.write_shards();
    let names = [
        "config.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    let good = names.map(|name| fs::read(hf.path().join(name)).unwrap());
    let mut random = Random::new();
    let mut opened = 0;
    const ROUNDS: usize = 6_000;
    for round in 0..ROUNDS {
        let (name, good) = (names[round % 4], &good[round % 4]);
        let mut bytes = good.clone();
        let end = bytes.len().min(1200);
        random.damage(&mut bytes[..end]);
        overwrite(&hf.path().join(name), &bytes);
        if let Ok(c) = import::open(hf.path()) {
            opened += 1;
            let _ = read_all(&c);
        }
        overwrite(&hf.path().join(name), good);
    }
    assert!(opened > 0 && opened < ROUNDS, "{opened} of {ROUNDS} opened");
}

/// A pipe that nobody writes to would be waited for, for ever.
#[cfg(unix)]
#[test]
fn pipes_are_not_opened() {
    for name in ["config.json", "tokenizer.json", "merges.txt", "chat_template.jinja"] {
        let hf = tiny();
        hf.write();
        if name == "merges.txt" {
            fs::remove_file(hf.path().join("tokenizer.json")).unwrap();
            hf.file("vocab.json", "{}");
            hf.file("tokenizer_config.json", r#"{"tokenizer_class": "GPT2Tokenizer"}"#);
        }
        let _ = fs::remove_file(hf.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(hf.path().join(name)).status().unwrap().success());
        refuses(hf.path(), BadFile, &[name, "not a regular file"]);
    }
}

/// What xIELU needs, and what of it would be computed otherwise.
#[test]
fn xielu_without_its_parameters() {
    let xielu = |eps: Option<f32>| {
        let mut hf = tiny();
        hf.config["hidden_act"] = json!("xielu");
        for layer in 0..LAYERS {
            for (name, value) in [("alpha_p", Some(0.5)), ("alpha_n", Some(0.5)), ("beta", Some(0.5)), ("eps", eps)] {
                let name = format!("model.layers.{layer}.mlp.act_fn.{name}");
                value.iter().for_each(|value| hf.add(&name, &[1], &[*value]));
            }
        }
        hf
    };
    assert!(import::open(xielu(Some(0.0)).write()).is_ok());
    refuses(xielu(None).write(), BadFile, &["layers.0.mlp.act_fn.eps"]);
    refuses(xielu(Some(-0.5)).write(), Unsupported, &["eps of -0.5"]);
}
