//! Well-formed GGUF files.

use rasp::Status;
use rasp_packer::import::{self, TokenizerSource};

use crate::support::*;

#[test]
fn llama_in_every_plain_type() {
    for kind in [types::F32, types::F16, types::BF16, types::Q8_0] {
        let (_dir, path) = GgufFile::tiny("llama", kind).write();
        let c = import::open(&path).unwrap();
        let config = c.config();
        assert_eq!((config.architecture.as_str(), config.name.as_str()), ("llama", "Tiny"));
        assert_eq!((config.vocab_size, config.hidden_size, config.intermediate_size), (12, 32, 64));
        assert_eq!((config.num_layers, config.num_heads, config.num_kv_heads), (2, 4, 2));
        assert_eq!((config.head_dim, config.context_length), (8, 64));
        assert_eq!(config.rms_norm_eps, 1e-5);
        assert_eq!(c.shape.ropes[0], [1.0, 0.1, 0.01, 0.001]);
        assert!(config.tie_word_embeddings);
        // The file's q and k are interleaved: what is handed out must not be.
        check_values(&c, false);
        check_ranges(&c);
    }
}

#[test]
fn qwen2_has_biases_and_its_own_order() {
    let (_dir, path) = GgufFile::tiny("qwen2", types::F16).write();
    let c = import::open(&path).unwrap();
    assert_eq!(c.config().architecture, "qwen2");
    check_values(&c, true);
}

#[test]
fn untied_head_other_alignment_and_version() {
    for (version, alignment) in [(2, 32), (3, 8), (3, 4096)] {
        let mut file = GgufFile::tiny("llama", types::F16);
        file.version = version;
        file.alignment = alignment;
        file.set("general.alignment", Meta::U32(alignment as u32));
        file.add("output.weight", &[VOCAB, HIDDEN], types::Q8_0, &values("lm_head", VOCAB * HIDDEN));
        let (_dir, path) = file.write();
        let c = import::open(&path).unwrap();
        assert!(!c.config().tie_word_embeddings);
        check_values(&c, false);
    }
}

#[test]
fn llama_biases_are_reordered_with_their_rows() {
    // Named as qwen2's, so the writer interleaves nothing: then what comes back is the reordering alone.
    let mut file = GgufFile::tiny("llama", types::F32);
    let mut order = Vec::new();
    for layer in 0..LAYERS {
        for (part, rows) in [("attn_q", 32), ("attn_k", 16), ("attn_v", 16)] {
            let counted: Vec<f32> = (0..rows).map(|i| i as f32).collect();
            file.add(&format!("blk.{layer}.{part}.bias"), &[rows], types::F32, &counted);
            order = counted;
        }
    }
    let (_dir, path) = file.write();
    let c = import::open(&path).unwrap();
    let q = c.bias(1, rasp::model::LinearKind::Q).unwrap().unwrap();
    assert_eq!(q[..8], [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    assert_eq!(q[8..16], [8.0, 10.0, 12.0, 14.0, 9.0, 11.0, 13.0, 15.0]);
    assert_eq!(c.bias(1, rasp::model::LinearKind::V).unwrap().unwrap(), order);
    assert_eq!(c.bias(1, rasp::model::LinearKind::O).unwrap(), None);
}

#[test]
fn tokenizer_and_template() {
    let mut file = GgufFile::tiny("llama", types::F16);
    file.set("tokenizer.ggml.pre", "smollm".into());
    file.set("tokenizer.ggml.scores", Meta::F32s(vec![-1.5; VOCAB]));
    file.set("tokenizer.ggml.padding_token_id", Meta::U32(u32::MAX));
    file.set("tokenizer.ggml.unknown_token_id", Meta::I32(-1));
    file.set("tokenizer.ggml.eot_token_id", Meta::U64(11));
    let (_dir, path) = file.write();
    let c = import::open(&path).unwrap();
    assert_eq!(c.chat_template.as_deref(), Some("{{ messages }}"));
    let TokenizerSource::Gguf(t) = &c.tokenizer else { panic!("{:?}", c.tokenizer) };
    assert_eq!((t.model.as_str(), t.pre.as_deref()), ("gpt2", Some("smollm")));
    assert_eq!((t.tokens.len(), t.tokens[3].as_str()), (VOCAB, "t3"));
    assert_eq!((&t.token_types[..], &t.scores[..]), (&[1; VOCAB][..], &[-1.5; VOCAB][..]));
    assert_eq!(t.merges, ["t 0", "t 1"]);
    assert_eq!((t.bos, t.eos, t.eot, t.eom, t.unk, t.pad), (Some(1), Some(2), Some(11), None, None, None));
    assert_eq!((t.add_bos, t.add_eos, t.add_space_prefix), (Some(true), None, None));
    assert_eq!(t.charsmap, [0u8; 0]);
    for (bytes, read) in
        [(vec![0, 255, 7], Some(vec![0, 255, 7])), (vec![-1, 127], Some(vec![255, 127])), (vec![256], None)]
    {
        file.set("tokenizer.ggml.precompiled_charsmap", Meta::I32s(bytes));
        let (_dir, path) = file.write();
        match (import::open(&path).map(|c| c.tokenizer), read) {
            (Ok(TokenizerSource::Gguf(t)), Some(read)) => assert_eq!(t.charsmap, read),
            (Err(e), None) => assert!(e.message().contains("precompiled_charsmap"), "{e}"),
            (found, read) => panic!("{found:?}, not {read:?}"),
        }
    }
}

#[test]
fn vocabulary_is_counted_where_the_file_does_not_say() {
    let mut file = GgufFile::tiny("llama", types::F16);
    file.unset("llama.vocab_size");
    let (_dir, path) = file.write();
    assert_eq!(import::open(&path).unwrap().config().vocab_size, VOCAB);
}

#[test]
fn sizes_may_stand_once_for_every_layer() {
    let mut file = GgufFile::tiny("llama", types::F16);
    file.set("llama.feed_forward_length", Meta::I32s(vec![64; 2]));
    let (_dir, path) = file.write();
    assert_eq!(import::open(&path).unwrap().config().intermediate_size, 64);
    file.set("llama.feed_forward_length", Meta::I32s(vec![64, 32]));
    let (_dir, path) = file.write();
    refuses(&path, Status::Unsupported, &["llama.feed_forward_length", "layer to layer"]);
}

#[test]
fn rope_scalings() {
    let mut file = GgufFile::tiny("llama", types::F16);
    file.set("llama.rope.scaling.type", "linear".into());
    file.set("llama.rope.scaling.factor", Meta::F32(4.0));
    let (_dir, path) = file.write();
    assert_eq!(import::open(&path).unwrap().shape.ropes[0], [0.25, 0.025, 0.0025, 0.00025]);

    file.set("llama.rope.scaling.type", "none".into());
    let (_dir, path) = file.write();
    assert_eq!(import::open(&path).unwrap().shape.ropes[0], [1.0, 0.1, 0.01, 0.001]);

    file.set("llama.rope.scaling.type", "yarn".into());
    let (_dir, path) = file.write();
    let stretched = import::open(&path).unwrap();
    assert_eq!(stretched.shape.ropes[0][3], 0.00025);
    assert!((stretched.config().block.rope_gains[0] - 1.138_629_4).abs() < 1e-6);

    // As the converter writes transformers' `attention_factor`, which is the whole gain; `attn_factor` multiplies it.
    let gain = |file: &GgufFile| {
        let (_dir, path) = file.write();
        import::open(&path).unwrap().config().block.rope_gains[0]
    };
    file.set("llama.rope.scaling.yarn_attn_factor", Meta::F32(1.5));
    file.set("llama.rope.scaling.yarn_beta_fast", Meta::F32(16.0));
    file.set("llama.rope.scaling.yarn_beta_slow", Meta::F32(2.0));
    file.set("llama.rope.scaling.yarn_ext_factor", Meta::F32(1.0));
    assert_eq!(gain(&file), 1.5);
    file.set("llama.rope.scaling.attn_factor", Meta::F32(2.0));
    assert_eq!(gain(&file), 3.0);
    file.set("llama.rope.scaling.attn_factor", Meta::F32(1.0));
    // As llama.cpp saves what nobody set.
    file.set("llama.rope.scaling.yarn_ext_factor", Meta::F32(-1.0));
    file.set("llama.rope.scaling.yarn_attn_factor", Meta::F32(1.0));
    assert!((gain(&file) - 1.138_629_4).abs() < 1e-6);
    file.set("llama.rope.scaling.yarn_ext_factor", Meta::F32(0.5));
    let (_dir, path) = file.write();
    refuses(&path, Status::Unsupported, &["`llama.rope.scaling.yarn_ext_factor` is 0.5", "choose a model"]);
    file.set("llama.rope.scaling.yarn_ext_factor", Meta::F32(1.0));
    file.set("llama.rope.scaling.yarn_attn_factor", Meta::F32(0.0));
    let (_dir, path) = file.write();
    refuses(&path, Status::BadFile, &["attention_factor"]);
    file.set("llama.rope.scaling.yarn_attn_factor", Meta::F32(1.5));
    file.set("llama.rope.scaling.type", "linear".into());
    let (_dir, path) = file.write();
    refuses(&path, Status::Unsupported, &["yarn_attn_factor` is 1.5", "not `yarn`", "convert the model again"]);

    file.set("llama.rope.scaling.type", "longrope".into());
    let (_dir, path) = file.write();
    refuses(&path, Status::Unsupported, &["longrope"]);
}

/// What Mistral's checkpoints say as `mscale_all_dim`, which of other architectures no reader heeds.
#[test]
fn yarn_gain_of_mistral3() {
    for (arch, gain) in [("mistral3", 1.0), ("llama", 1.138_629_4)] {
        let mut file = GgufFile::tiny(arch, types::F16);
        file.set(&format!("{arch}.rope.scaling.type"), "yarn".into());
        file.set(&format!("{arch}.rope.scaling.factor"), Meta::F32(4.0));
        file.set(&format!("{arch}.rope.scaling.yarn_log_multiplier"), Meta::F32(1.0));
        let (_dir, path) = file.write();
        let gains = import::open(&path).unwrap().config().block.rope_gains.clone();
        assert!((gains.first().copied().unwrap_or(1.0) - gain).abs() < 1e-6, "{arch}: {gains:?}");
    }
    let mut file = GgufFile::tiny("mistral3", types::F16);
    file.set("mistral3.attention.temperature_scale", Meta::F32(0.1));
    let (_dir, path) = file.write();
    refuses(&path, Status::Unsupported, &["mistral3.attention.temperature_scale", "depends on the position"]);
}

#[test]
fn rope_factors() {
    let mut file = GgufFile::tiny("llama", types::F16);
    file.add("rope_freqs.weight", &[4], types::F32, &[1.0, 2.0, 4.0, 8.0]);
    let (_dir, path) = file.write();
    let c = import::open(&path).unwrap();
    assert_eq!(c.shape.ropes[0], [1.0, 0.05, 0.0025, 0.000125]);

    file.tensor("rope_freqs.weight").data[..4].copy_from_slice(&0f32.to_le_bytes());
    let (_dir, path) = file.write();
    refuses(&path, Status::BadFile, &["rope factor 0 is 0"]);

    let mut file = GgufFile::tiny("llama", types::F16);
    file.add("rope_freqs.weight", &[3], types::F32, &[1.0; 3]);
    let (_dir, path) = file.write();
    refuses(&path, Status::BadFile, &["3 rope factors"]);

    // Only llama's readers apply them.
    let mut file = GgufFile::tiny("qwen2", types::F16);
    file.add("rope_freqs.weight", &[4], types::F32, &[1.0; 4]);
    let (_dir, path) = file.write();
    refuses(&path, Status::Unsupported, &["rope_freqs.weight"]);
}
