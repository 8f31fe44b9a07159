//! A tiny checkpoint, and packing it.

use crate::support::*;
use rasp::format::Allocation;
use rasp_packer::{PackOptions, Silent, Summary, pack};
use safetensors::Dtype;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Twelve letters and one merge.
fn tokenizer() -> String {
    let vocab: serde_json::Map<_, _> = "abcdefghijk".chars().enumerate().map(|(i, c)| (c.into(), json!(i))).collect();
    let mut vocab = vocab;
    vocab.insert("ab".into(), json!(11));
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": [["a", "b"]]}
    })
    .to_string()
}

/// A tiny checkpoint whose weights are small enough that no softmax saturates.
pub fn checkpoint(class: &str, tied: bool) -> HfDir {
    let mut hf = HfDir::tiny(class, Dtype::BF16, tied);
    let all: Vec<(String, Vec<usize>, Vec<f32>)> = hf
        .tensors
        .iter()
        .map(|(name, t)| {
            let numbers = t.data.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32() / 32.0);
            (name.clone(), t.shape.clone(), numbers.collect())
        })
        .collect();
    for (name, shape, numbers) in all {
        hf.add(&name, &shape, &numbers);
    }
    hf.file("tokenizer.json", tokenizer());
    hf.file("calibration.txt", "abcdefghijk hijab badge cab jig ".repeat(40));
    hf.write();
    hf
}

pub fn options(hf: &HfDir, output: &Path) -> PackOptions {
    PackOptions {
        calibration: Some(hf.path().join("calibration.txt")),
        calibration_tokens: 256,
        sparsity: Some(vec![0.3, 0.5]),
        allocation: Allocation::Uniform,
        tune: 0,
        ..PackOptions::new(hf.path(), output)
    }
}

pub fn output(hf: &HfDir) -> PathBuf {
    hf.path().join("out.rasp")
}

pub fn packed(hf: &HfDir, change: impl FnOnce(&mut PackOptions)) -> rasp::Result<Summary> {
    let mut options = options(hf, &output(hf));
    change(&mut options);
    pack(&options, &mut Silent)
}
