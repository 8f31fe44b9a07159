//! Malformed GGUF files, and such that rasp cannot run.

use std::fs;
use std::path::Path;

use rasp::Status::{self, BadFile, InvalidUtf8, Io, NonFinite, Unsupported, UnsupportedVersion};
use rasp_packer::import;

use crate::support::*;

/// Writes the tiny llama after a change, which must make it refused.
#[track_caller]
fn case(status: Status, words: &[&str], change: impl FnOnce(&mut GgufFile)) {
    case_of("llama", status, words, change);
}

#[track_caller]
fn case_of(arch: &str, status: Status, words: &[&str], change: impl FnOnce(&mut GgufFile)) {
    let mut file = GgufFile::tiny(arch, types::Q8_0);
    change(&mut file);
    let (_dir, path) = file.write();
    refuses(&path, status, words);
}

#[track_caller]
fn bytes_case(bytes: &[u8], status: Status, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.file");
    fs::write(&path, bytes).unwrap();
    refuses(&path, status, words);
}

#[test]
fn what_is_no_gguf_file() {
    refuses(Path::new("/no/such/file"), Io, &[]);
    bytes_case(b"", BadFile, &["empty"]);
    bytes_case(b"G", BadFile, &["not a GGUF file"]);
    bytes_case(b"GGUF", BadFile, &["truncated"]);
    bytes_case(b"FUGG\0\0\0\x03", Unsupported, &["big-endian"]);
    bytes_case(b"PK\x03\x04........", BadFile, &["PyTorch"]);
    bytes_case(b"tjgg........", BadFile, &["convert it to GGUF"]);
    bytes_case(b"\x02\0\0\0\0\0\0\0{}", BadFile, &["safetensors", "directory"]);
    case(BadFile, &["not a GGUF file"], |f| f.magic = *b"GGUG");
    case(Unsupported, &["big-endian"], |f| f.version = 3u32.swap_bytes());
    for version in [0x8001, 1, 4, 1000] {
        case(UnsupportedVersion, &[&version.to_string()], |f| f.version = version);
    }
}

#[test]
fn every_truncation() {
    let (_dir, path) = GgufFile::tiny("llama", types::Q8_0).write();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let len = file.metadata().unwrap().len();
    import::open(&path).unwrap();
    // Every length of the header, and of the data every 7th.
    for shorter in (0..len).rev().filter(|l| *l < 4096 || l % 7 == 0 || *l + 64 > len) {
        file.set_len(shorter).unwrap();
        let error = import::open(&path).expect_err("a truncated file was read");
        assert_eq!(error.status(), BadFile, "at {shorter}: {error}");
    }
}

#[test]
fn counts_beyond_the_file() {
    for count in [u64::MAX, 1 << 63, 1 << 40, 100_000] {
        case(BadFile, &["number of tensors", &count.to_string()], |f| f.tensor_count = Some(count));
        case(BadFile, &["number of metadata pairs", &count.to_string()], |f| {
            f.pair_count = Some(count);
        });
    }
    // One more than there are: the data is read as an entry, which goes wrong somewhere.
    let mut file = GgufFile::tiny("llama", types::Q8_0);
    file.tensor_count = Some(file.tensors.len() as u64 + 1);
    let (_dir, path) = file.write();
    import::open(&path).unwrap_err();
}

/// The offset of the length of the string that ends where `text` does.
fn length_of(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|w| w == text.as_bytes()).unwrap() - 8
}

#[test]
fn lengths_beyond_the_file() {
    let good = GgufFile::tiny("llama", types::Q8_0).bytes();
    for text in ["general.name", "Tiny", "t3", "token_embd.weight"] {
        let at = length_of(&good, text);
        for len in [u64::MAX, u64::MAX - 7, 1 << 62, good.len() as u64] {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&len.to_le_bytes());
            bytes_case(&bytes, BadFile, &["length", "truncated"]);
        }
    }
    // The element count of the first array: the tokens, whose first string follows it.
    let at = length_of(&good, "t0") - 8;
    for count in [u64::MAX, 1 << 61, 1 << 24] {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
        bytes_case(&bytes, BadFile, &["tokenizer.ggml.tokens", "count"]);
    }
}

#[test]
fn metadata() {
    case(BadFile, &["general.name", "twice"], |f| {
        f.pairs.push(("general.name".into(), "Again".into()));
    });
    case(InvalidUtf8, &["general.name"], |f| f.set("general.name", Meta::Str(vec![0xFF])));
    case(BadFile, &["general.architecture"], |f| f.unset("general.architecture"));
    case(BadFile, &["general.architecture"], |f| f.set("general.architecture", Meta::U32(1)));
    for (arch, words) in [
        ("mamba", ["general.architecture", "`mamba`", "state-space", "choose a model"]),
        ("deepseek2", ["general.architecture", "`deepseek2`", "latent attention (MLA)", "choose a model"]),
        ("unheard-of", ["general.architecture", "`unheard-of`", "llama, mistral3, qwen2", "choose a model"]),
    ] {
        case(Unsupported, &words, |f| f.set("general.architecture", arch.into()));
    }
    case(Unsupported, &["split"], |f| f.set("split.count", Meta::U32(2)));
    case(BadFile, &["general.alignment"], |f| f.set("general.alignment", Meta::U32(48)));
    case(BadFile, &["general.alignment"], |f| f.set("general.alignment", Meta::U32(0)));

    // A type of value that does not exist: the type follows the key.
    let good = GgufFile::tiny("llama", types::Q8_0).bytes();
    let at = length_of(&good, "general.name") + 8 + "general.name".len();
    let mut bytes = good.clone();
    bytes[at] = 13;
    bytes_case(&bytes, BadFile, &["general.name", "unknown value type 13"]);
    // Arrays in arrays.
    let at = length_of(&good, "t0") - 12;
    let mut bytes = good;
    bytes[at] = 9;
    bytes_case(&bytes, Unsupported, &["array of arrays"]);
}

#[test]
fn hyperparameters() {
    for key in ["block_count", "context_length", "embedding_length", "feed_forward_length"] {
        let key = format!("llama.{key}");
        case(BadFile, &[&key, "missing"], |f| f.unset(&key));
        case(BadFile, &[&key], |f| f.set(&key, Meta::F32(32.0)));
        case(BadFile, &[&key], |f| f.set(&key, Meta::I32(-1)));
        case(BadFile, &[], |f| f.set(&key, Meta::U32(0)));
        case(BadFile, &[], |f| f.set(&key, Meta::U32(u32::MAX)));
        case(BadFile, &[], |f| f.set(&key, Meta::U64(u64::MAX)));
    }
    case(BadFile, &["0 heads"], |f| f.set("llama.attention.head_count", Meta::U32(0)));
    case(BadFile, &["3 heads"], |f| f.set("llama.attention.head_count", Meta::U32(3)));
    case(BadFile, &["4 heads", "3 key-value"], |f| {
        f.set("llama.attention.head_count_kv", Meta::U32(3));
    });
    case(BadFile, &["num_kv_heads is 0"], |f| f.set("llama.attention.head_count_kv", Meta::U32(0)));
    case(BadFile, &["head_dim is 7"], |f| f.set("llama.attention.key_length", Meta::U32(7)));
    case(BadFile, &["head_dim"], |f| f.set("llama.attention.key_length", Meta::U64(1 << 60)));
    case(Unsupported, &["value_length"], |f| f.set("llama.attention.value_length", Meta::U32(16)));
    case(Unsupported, &["dimension_count"], |f| f.set("llama.rope.dimension_count", Meta::U32(4)));
    for eps in [0.0, -1.0, f32::NAN, f32::INFINITY, 1.0] {
        case(BadFile, &["rms_norm_eps"], |f| {
            f.set("llama.attention.layer_norm_rms_epsilon", Meta::F32(eps));
        });
    }
    for theta in [0.0, 1.0, f32::NAN, f32::INFINITY] {
        case(BadFile, &["theta"], |f| f.set("llama.rope.freq_base", Meta::F32(theta)));
    }
    case(Unsupported, &["8 experts"], |f| f.set("llama.expert_count", Meta::U32(8)));
    case(Unsupported, &["causal"], |f| f.set("llama.attention.causal", Meta::Bool(false)));
    case(Unsupported, &["sliding_window"], |f| {
        f.set("llama.attention.sliding_window", Meta::U32(32));
    });
    case(Unsupported, &["llama.logit_scale"], |f| f.set("llama.logit_scale", Meta::F32(0.5)));
}

#[test]
fn tokenizer() {
    case(BadFile, &["tokenizer.ggml.tokens"], |f| f.unset("tokenizer.ggml.tokens"));
    case(BadFile, &["tokenizer.ggml.tokens"], |f| f.set("tokenizer.ggml.tokens", Meta::I32s(vec![1])));
    case(BadFile, &["empty"], |f| f.set("tokenizer.ggml.tokens", Meta::Strs(vec![])));
    case(BadFile, &["tokenizer.ggml.model"], |f| f.unset("tokenizer.ggml.model"));
    case(BadFile, &["token_type", "5", "12"], |f| {
        f.set("tokenizer.ggml.token_type", Meta::I32s(vec![1; 5]));
    });
    case(BadFile, &["eos_token_id", "12"], |f| f.set("tokenizer.ggml.eos_token_id", Meta::U32(12)));
    case(BadFile, &["13 tokens", "12"], |f| {
        f.set("tokenizer.ggml.token_type", Meta::I32s(vec![1; 13]));
        f.set("tokenizer.ggml.tokens", Meta::Strs(vec!["t".into(); 13]));
    });
    // A token whose bytes are no UTF-8.
    let mut bytes = GgufFile::tiny("llama", types::Q8_0).bytes();
    let at = length_of(&bytes, "t3") + 8;
    bytes[at] = 0xC3;
    bytes_case(&bytes, InvalidUtf8, &["tokenizer.ggml.tokens", "element 3"]);
}

#[test]
fn tensors() {
    const Q: &str = "blk.1.attn_q.weight";
    case(BadFile, &[Q, "beyond the file's end"], |f| f.tensor(Q).offset = Some(1 << 40));
    case(BadFile, &[Q], |f| f.tensor(Q).offset = Some(u64::MAX - 31));
    case(BadFile, &[Q, "alignment"], |f| f.tensor(Q).offset = Some(16));
    case(BadFile, &[Q, "overlap"], |f| f.tensor(Q).offset = Some(0));
    case(BadFile, &[Q, "twice"], |f| f.tensor("blk.0.attn_q.weight").name = Q.into());
    case(BadFile, &["blk.0.attn_q.weight", "missing"], |f| f.remove("blk.0.attn_q.weight"));
    case(BadFile, &["token_embd.weight", "missing"], |f| f.remove("token_embd.weight"));
    case(Unsupported, &[Q, "IQ3_S"], |f| f.tensor(Q).kind = 21);
    case(Unsupported, &[Q, "I32"], |f| f.tensor(Q).kind = 26);
    case(Unsupported, &[Q, "4294967295"], |f| f.tensor(Q).kind = u32::MAX);
    case(Unsupported, &[Q, " 4 "], |f| f.tensor(Q).kind = 4);
    case(BadFile, &[Q, "dimensions"], |f| f.tensor(Q).dims = vec![]);
    case(BadFile, &[Q, "dimensions"], |f| f.tensor(Q).dims = vec![32; 5]);
    case(BadFile, &[Q, "no values"], |f| f.tensor(Q).dims = vec![32, 0]);
    case(BadFile, &[Q, "too large"], |f| f.tensor(Q).dims = vec![1 << 32, 1 << 32, 1 << 32]);
    case(BadFile, &[Q, "blocks"], |f| f.tensor(Q).dims = vec![16, 64]);
    case(BadFile, &[Q, "[16, 32]", "[32, 32]"], |f| f.tensor(Q).dims = vec![32, 16]);
    case(BadFile, &[Q, "[32, 32, 1]"], |f| {
        let q = f.tensor(Q);
        q.dims = vec![1, 32, 32];
        q.kind = types::BF16;
        q.data = vec![0; 2048];
    });
    case(BadFile, &["token_embd.weight", "12 rows", "vocabulary has 13"], |f| {
        f.set("llama.vocab_size", Meta::U32(13));
    });
    case(BadFile, &["blk.2.attn_norm.weight", "missing"], |f| {
        f.set("llama.block_count", Meta::U32(3));
    });
    case(Unsupported, &["blk.1.", "1 layers"], |f| f.set("llama.block_count", Meta::U32(1)));
}

#[test]
fn tensors_nobody_asked_for() {
    for name in ["blk.0.attn_q_norm.weight", "blk.0.ffn_gate_exps.weight", "blk.0.attn_norm.bias"] {
        case(Unsupported, &[name], |f| f.add(name, &[32], types::F32, &[0.0; 32]));
    }
    // Biases in one layer only, on q only, or missing where the family has them.
    case(Unsupported, &["blk.1.attn_q.bias"], |f| {
        f.add("blk.1.attn_q.bias", &[32], types::F32, &[0.0; 32]);
    });
    case(BadFile, &["blk.1.attn_q.bias", "missing"], |f| {
        f.add("blk.0.attn_q.bias", &[32], types::F32, &[0.0; 32]);
    });
    case_of("qwen2", BadFile, &["blk.1.attn_v.bias", "missing"], |f| f.remove("blk.1.attn_v.bias"));
}

#[test]
fn values_that_are_not_finite() {
    let at = |row: usize, col: usize| (row * 32 + col) * 4;
    let mut file = GgufFile::tiny("llama", types::F32);
    for (name, value) in [("blk.1.attn_q.weight", f32::NAN), ("token_embd.weight", f32::NEG_INFINITY)] {
        file.tensor(name).data[at(9, 5)..][..4].copy_from_slice(&value.to_le_bytes());
    }
    let (_dir, path) = file.write();
    // Opening does not look at values.
    let c = import::open(&path).unwrap();
    c.linear(0, rasp::model::LinearKind::Q).unwrap();
    c.embedding_rows(0..9).unwrap();
    // Rows are the file's own, before any reordering.
    let errors = [c.linear(1, rasp::model::LinearKind::Q).unwrap_err(), c.embedding_rows(4..12).unwrap_err()];
    for (error, words) in errors.iter().zip([["blk.1.attn_q.weight", "NaN"], ["token_embd", "-inf"]]) {
        assert_eq!(error.status(), NonFinite);
        for word in words.into_iter().chain(["[9, 5]", "tiny.gguf"]) {
            assert!(error.message().contains(word), "`{word}` is not in: {error}");
        }
    }
}

/// Whatever a file holds, opening and reading it comes back.
#[test]
fn flipped_bytes_never_panic() {
    let good = [GgufFile::tiny("llama", types::Q8_0), GgufFile::tiny("qwen2", types::F16)];
    let good = good.map(|f| f.bytes());
    let dir = tempfile::tempdir().unwrap();
    let paths = ["llama.gguf", "qwen2.gguf"].map(|name| dir.path().join(name));
    for (path, bytes) in paths.iter().zip(&good) {
        fs::write(path, bytes).unwrap();
    }
    let mut random = Random::new();
    let mut opened = 0;
    const ROUNDS: usize = 20_000;
    for round in 0..ROUNDS {
        let (path, mut bytes) = (&paths[round % 2], good[round % 2].clone());
        // Nearly always in the header, which is where structure is.
        let end = if random.below(8) == 0 { bytes.len() } else { 3500 };
        random.damage(&mut bytes[..end]);
        overwrite(path, &bytes);
        if let Ok(c) = import::open(path) {
            opened += 1;
            let _ = read_all(&c);
        }
    }
    // Both outcomes must have been common, or the loop tests little.
    assert!(opened > ROUNDS / 20 && opened < ROUNDS * 19 / 20, "{opened} of {ROUNDS} opened");
}

/// Multipliers that leave nothing of what they multiply, or no number.
#[test]
fn multipliers_without_sense() {
    for (key, values) in [("logit_scale", &[0.0, f32::NAN, f32::INFINITY][..]), ("residual_scale", &[0.0, f32::NAN])] {
        for &value in values {
            let mut file = GgufFile::tiny("granite", types::F32);
            file.set(&format!("granite.{key}"), Meta::F32(value));
            let (_dir, path) = file.write();
            refuses(&path, BadFile, &["multiplier"]);
        }
    }
}
