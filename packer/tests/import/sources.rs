//! Forms of weights and tokenizers beside the usual ones: floats of 8 bits with scales, a vocabulary without its
//! `tokenizer.json`.

use rasp::Status::{BadFile, Unsupported};
use rasp::model::LinearKind;
use rasp_packer::import::{self, TokenizerSource};
use rasp_packer::tokenizer::compile;
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::support::*;

const UP: &str = "model.layers.0.mlp.up_proj.weight";

/// The tiny model with one matrix of 8 bits, all of it 1.5 or −0.25, and these scales for it.
fn eight_bits(scale: &str, shape: &[usize], scales: &[f32]) -> HfDir {
    let mut hf = HfDir::tiny("LlamaForCausalLM", Dtype::F32, true);
    hf.config["quantization_config"] = json!({"quant_method": "fp8", "weight_block_size": [128, 128]});
    let (out, inp) = (64, HIDDEN);
    // 1.5 is 1.1b · 2^0, 0.25 is 2^−2.
    let data = (0..out * inp).map(|i| if i % 2 == 0 { 0x3C } else { 0xA8 }).collect();
    hf.tensors.insert(UP.into(), HfTensor { dtype: Dtype::F8_E4M3, shape: vec![out, inp], data });
    if !scale.is_empty() {
        hf.add(&format!("{UP}{scale}"), shape, scales);
    }
    hf
}

#[test]
fn floats_of_eight_bits_are_multiplied_by_their_scales() {
    let rows: Vec<f32> = (0..64).map(|row| 1.0 + row as f32).collect();
    for (scale, shape, scales) in [
        ("_scale_inv", vec![1, 1], vec![2.0]),
        ("_scale", vec![1], vec![0.5]),
        ("_scale", vec![64, 1], rows.clone()),
        ("_scale", vec![64], rows),
    ] {
        let mut hf = eight_bits(scale, &shape, &scales);
        hf.add("model.layers.0.mlp.up_proj.input_scale", &[1], &[3.0]);
        let up = import::open(hf.write()).unwrap().linear(0, LinearKind::Up).unwrap();
        for (i, value) in up.data.iter().enumerate() {
            let scale = scales.get(i / HIDDEN).unwrap_or(&scales[0]);
            assert_eq!(*value, scale * if i % 2 == 0 { 1.5 } else { -0.25 }, "{i} by {shape:?}");
        }
    }
}

#[test]
fn floats_of_eight_bits_need_scales_that_fit() {
    let refuse = |hf: HfDir, status, names: &[&str]| {
        let error = import::open(hf.write()).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        names.iter().for_each(|name| assert!(error.message().contains(name), "{error}"));
    };
    refuse(eight_bits("", &[], &[]), Unsupported, &[UP, "_scale_inv", "_scale"]);
    refuse(eight_bits("_scale_inv", &[3, 1], &[1.0; 3]), Unsupported, &["[3, 1]", "64 rows"]);
    let mut packed = eight_bits("_scale", &[1], &[1.0]);
    packed.config["quantization_config"] = json!({"quant_method": "gptq", "bits": 4});
    refuse(packed, Unsupported, &["quantization_config", "gptq"]);
    let not_finite = import::open(eight_bits("_scale", &[1], &[f32::NAN]).write()).unwrap_err();
    assert!(not_finite.message().contains("_scale"), "{not_finite}");
}

/// A directory whose tokenizer is a vocabulary with its merges.
fn vocabulary(class: Value, merges: &str) -> HfDir {
    let hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, true);
    std::fs::remove_file(hf.path().join("tokenizer.json")).unwrap();
    let vocab =
        json!({"h": 0, "e": 1, "l": 2, "o": 3, "Ġ": 4, "he": 5, "ll": 6, "hell": 7, "Ġhe": 8, "<|endoftext|>": 9});
    hf.file("vocab.json", vocab.to_string());
    hf.file("merges.txt", merges);
    let mut config = json!({"eos_token": "<|end|>", "added_tokens_decoder": {
        "10": {"content": "<|end|>", "special": true, "normalized": false, "lstrip": false, "rstrip": false,
            "single_word": false},
        "11": {"content": "oo", "special": false, "normalized": true},
    }});
    config["tokenizer_class"] = class;
    hf.file("tokenizer_config.json", config.to_string());
    hf
}

const LINES: &str = "#version: 0.2\nh e\nl l\nhe ll\nĠ he\n";

#[test]
fn a_vocabulary_with_merges_is_what_its_class_makes_of_it() {
    for (class, nfc) in [("GPT2Tokenizer", false), ("Qwen2TokenizerFast", true), ("CodeGenTokenizer", false)] {
        let hf = vocabulary(json!(class), LINES);
        let checkpoint = import::open(hf.write()).unwrap();
        let TokenizerSource::HuggingFace { tokenizer_json, .. } = &checkpoint.tokenizer else { panic!() };
        let made: Value = serde_json::from_slice(tokenizer_json).unwrap();
        assert_eq!(made["normalizer"]["type"] == "NFC", nfc);
        assert_eq!(made["model"]["merges"][2], json!(["he", "ll"]));
        let added = made["added_tokens"].as_array().unwrap();
        let flags = |n: usize| (added[n]["id"].clone(), added[n]["special"].clone(), added[n]["normalized"].clone());
        assert_eq!(flags(0), (json!(9), json!(true), json!(false)));
        assert_eq!(flags(1), (json!(10), json!(true), json!(false)));
        assert_eq!(flags(2), (json!(11), json!(false), json!(true)));
        let settings: Value = serde_json::from_str(&compile(&checkpoint.tokenizer, 12).unwrap().settings_json).unwrap();
        assert_eq!(settings["eos"], 10);
        assert_eq!(settings["end"], json!([10, 9]));
    }
}

#[test]
fn a_vocabulary_that_nobody_says_what_to_make_of_is_refused() {
    let refuse = |hf: HfDir, status, names: &[&str]| {
        let error = import::open(hf.write()).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        names.iter().for_each(|name| assert!(error.message().contains(name), "{error}"));
    };
    refuse(vocabulary(json!("BartTokenizer"), LINES), Unsupported, &["BartTokenizer", "vocab.json", "GPT2Tokenizer"]);
    refuse(vocabulary(Value::Null, LINES), Unsupported, &["tokenizer_class"]);
    refuse(vocabulary(json!("GPT2Tokenizer"), "#version: 0.2\nh e\nhell\n"), BadFile, &["merges.txt, line 3", "hell"]);
    let hf = vocabulary(json!("GPT2Tokenizer"), LINES);
    hf.file("vocab.json", "[]");
    refuse(hf, BadFile, &["vocab.json"]);
}

/// Taken for `rope_theta` 10000 in silence once.
#[test]
fn rope_parameters_by_kind_of_layer_are_not_passed_over() {
    let mut hf = HfDir::tiny("LlamaForCausalLM", Dtype::F16, true);
    let full = json!({"rope_type": "default", "rope_theta": 500000.0});
    hf.config["rope_parameters"] = json!({"full_attention": full});
    let c = import::open(hf.write()).unwrap();
    assert_eq!(c.shape.ropes[0][1], 500000f64.powf(-0.25) as f32);
    // One table for all layers cannot be two, and what stands beside them has a meaning that rasp does not know.
    for (key, value) in
        [("sliding_attention", json!({"rope_type": "default", "rope_theta": 10000.0})), ("linear_attention", json!({}))]
    {
        hf.config["rope_parameters"] = json!({"full_attention": full, key: value});
        let error = import::open(hf.write()).unwrap_err();
        assert!(error.status() == Unsupported && error.message().contains("rope_parameters"), "{error}");
    }
}
