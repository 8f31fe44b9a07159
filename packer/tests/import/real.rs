//! A real model: SmolLM2-135M-Instruct, every tensor against the reference implementation's values.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};

use rasp::model::LinearKind;
use rasp::model::{Affine, NormId, Role};
use rasp_packer::import::{self, Checkpoint, TokenizerSource};

/// `RASP_TEST_GGUF`, or where `make model` puts it.
fn model() -> Checkpoint {
    let path = env::var_os("RASP_TEST_GGUF").map(PathBuf::from).unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models/SmolLM2-135M-Instruct.Q4_1.gguf")
    });
    assert!(path.exists(), "{} is not there: run `make model` first", path.display());
    import::open(&path).unwrap()
}

#[test]
fn config_and_tokenizer() {
    let c = model();
    let config = c.config();
    assert_eq!(config.architecture, "llama");
    assert_eq!((config.vocab_size, config.hidden_size, config.intermediate_size), (49152, 576, 1536));
    assert_eq!((config.num_layers, config.num_heads, config.num_kv_heads), (30, 9, 3));
    assert_eq!((config.head_dim, config.context_length), (64, 8192));
    assert_eq!(config.rms_norm_eps, 1e-5);
    assert!(config.tie_word_embeddings);
    assert_eq!((c.shape.ropes[0].len(), c.shape.ropes[0][0]), (32, 1.0));
    assert_eq!(c.shape.ropes[0][31], 1e5f64.powf(-62.0 / 64.0) as f32);
    assert!(c.chat_template.as_deref().is_some_and(|t| t.contains("<|im_start|>")));
    let TokenizerSource::Gguf(t) = &c.tokenizer else { panic!() };
    assert_eq!((t.model.as_str(), t.pre.as_deref()), ("gpt2", Some("smollm")));
    assert_eq!((t.tokens.len(), t.token_types.len(), t.merges.len()), (49152, 49152, 48900));
    assert_eq!((t.bos, t.eos, t.unk, t.pad), (Some(1), Some(2), Some(0), Some(2)));
    assert_eq!((t.tokens[2].as_str(), t.add_bos, t.add_space_prefix), ("<|im_end|>", Some(false), Some(false)));
}

/// Each tensor's CRC-32, as `make_goldens.py` wrote them, must come out of the bits that the importer hands out.
#[test]
fn every_tensor_equals_the_reference() {
    let goldens = include_str!("../data/smollm2.crc32");
    let mut goldens: HashMap<&str, &str> = goldens.lines().filter_map(|l| l.split_once(' ')).collect();
    assert_eq!(goldens.len(), 272);
    let c = model();
    let table = crc_table();
    let mut check = |name: String, pieces: &mut dyn Iterator<Item = Vec<f32>>| {
        let mut crc = !0;
        for value in pieces.flatten() {
            assert!(value.is_finite());
            for byte in value.to_le_bytes() {
                crc = table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
            }
        }
        let want = goldens.remove(name.as_str());
        assert_eq!(Some(format!("{:08x}", !crc).as_str()), want, "{name}");
    };
    let mut one = |name: String, values: Vec<f32>| check(name, &mut std::iter::once(values));

    let vector = |role| c.vector(role).unwrap().unwrap();
    let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    for layer in 0..c.config().num_layers {
        for (linear, part) in LinearKind::ALL.into_iter().zip(parts) {
            let dense = c.linear(layer, linear).unwrap();
            assert_eq!(dense.out * dense.inp, dense.data.len());
            let shape = c.config().linear_shape(linear);
            assert_eq!((dense.out, dense.inp), (shape.outputs, shape.inputs));
            one(format!("blk.{layer}.{part}.weight"), dense.data);
            assert_eq!(c.bias(layer, linear).unwrap(), None);
        }
        one(format!("blk.{layer}.attn_norm.weight"), vector(Role::Norm(layer, NormId::Attn, Affine::Gain)));
        one(format!("blk.{layer}.ffn_norm.weight"), vector(Role::Norm(layer, NormId::Mlp, Affine::Gain)));
    }
    one("output_norm.weight".into(), vector(Role::FinalNorm(Affine::Gain)));
    let mut embedding = (0..c.config().vocab_size)
        .step_by(4096)
        .map(|row| c.embedding_rows(row..c.config().vocab_size.min(row + 4096)).unwrap());
    check("token_embd.weight".into(), &mut embedding);
    assert_eq!(c.lm_head_rows(0..1).unwrap(), None);
    assert!(goldens.is_empty(), "never read: {goldens:?}");
}

/// Of CRC-32 as zlib has it: polynomial 0xEDB88320, reflected.
fn crc_table() -> [u32; 256] {
    std::array::from_fn(|byte| (0..8).fold(byte as u32, |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())))
}
