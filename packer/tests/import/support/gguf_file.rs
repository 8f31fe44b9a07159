//! A writer of GGUF files that can be made to write wrong ones.

use std::fs;
use std::path::PathBuf;

use half::{bf16, f16};
use rasp::model::LinearKind;
use tempfile::TempDir;

use super::*;

/// Numbers of element types.
pub mod types {
    pub const F32: u32 = 0;
    pub const F16: u32 = 1;
    pub const Q8_0: u32 = 8;
    pub const BF16: u32 = 30;
}

/// A metadata value.
#[derive(Clone)]
pub enum Meta {
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    Bool(bool),
    Str(Vec<u8>),
    Strs(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    #[allow(dead_code)] // Of the families.
    Bools(Vec<bool>),
}

impl From<&str> for Meta {
    fn from(s: &str) -> Self {
        Meta::Str(s.as_bytes().to_vec())
    }
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// Fastest first, as in the file.
    pub dims: Vec<u64>,
    pub kind: u32,
    pub data: Vec<u8>,
    /// Overrides where it is said to lie.
    pub offset: Option<u64>,
}

#[derive(Clone)]
pub struct GgufFile {
    pub magic: [u8; 4],
    pub version: u32,
    pub alignment: usize,
    pub tensor_count: Option<u64>,
    pub pair_count: Option<u64>,
    pub pairs: Vec<(String, Meta)>,
    pub tensors: Vec<Tensor>,
}

const PARTS: [&str; 7] = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

impl GgufFile {
    /// A file of nothing.
    pub fn empty() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            tensor_count: None,
            pair_count: None,
            pairs: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// The tiny model; `kind` is the element type of its matrices.
    pub fn tiny(arch: &str, kind: u32) -> Self {
        let mut file = Self::empty();
        file.set("general.architecture", arch.into());
        file.set("general.name", "Tiny".into());
        for (key, value) in [
            ("block_count", LAYERS),
            ("context_length", CONTEXT),
            ("embedding_length", HIDDEN),
            ("feed_forward_length", INNER),
            ("attention.head_count", HEADS),
            ("attention.head_count_kv", KV_HEADS),
            ("vocab_size", VOCAB),
        ] {
            file.set(&format!("{arch}.{key}"), Meta::U32(value as u32));
        }
        file.set(&format!("{arch}.attention.layer_norm_rms_epsilon"), Meta::F32(1e-5));
        file.set(&format!("{arch}.rope.freq_base"), Meta::F32(10000.0));
        file.set("tokenizer.ggml.model", "gpt2".into());
        file.set("tokenizer.ggml.tokens", Meta::Strs((0..VOCAB).map(|i| format!("t{i}")).collect()));
        file.tokenizer_and_weights(arch, kind);
        file
    }

    fn tokenizer_and_weights(&mut self, arch: &str, kind: u32) {
        self.set("tokenizer.ggml.token_type", Meta::I32s(vec![1; VOCAB]));
        self.set("tokenizer.ggml.merges", Meta::Strs(vec!["t 0".into(), "t 1".into()]));
        self.set("tokenizer.ggml.bos_token_id", Meta::U32(1));
        self.set("tokenizer.ggml.eos_token_id", Meta::U32(2));
        self.set("tokenizer.ggml.add_bos_token", Meta::Bool(true));
        self.set("tokenizer.chat_template", "{{ messages }}".into());

        let vector = types::F32;
        self.add("token_embd.weight", &[VOCAB, HIDDEN], kind, &values("embed", VOCAB * HIDDEN));
        self.add("output_norm.weight", &[HIDDEN], vector, &values("final_norm", HIDDEN));
        for layer in 0..LAYERS {
            let at = |part: &str| format!("blk.{layer}.{part}");
            let norm = |part: &str| values(&format!("{layer}.{part}"), HIDDEN);
            self.add(&at("attn_norm.weight"), &[HIDDEN], vector, &norm("attn_norm"));
            self.add(&at("ffn_norm.weight"), &[HIDDEN], vector, &norm("mlp_norm"));
            for (linear, part) in LinearKind::ALL.into_iter().zip(PARTS) {
                let (out, inp) = shape(linear);
                let rotated = arch == "llama" && matches!(linear, LinearKind::Q | LinearKind::K);
                let stored = |v: Vec<f32>, cols| if rotated { interleave(&v, cols) } else { v };
                let weight = stored(linear_values(layer, linear), inp);
                self.add(&at(&format!("{part}.weight")), &[out, inp], kind, &weight);
                if arch == "qwen2" && matches!(linear, LinearKind::Q | LinearKind::K | LinearKind::V) {
                    let bias = stored(bias_values(layer, linear), 1);
                    self.add(&at(&format!("{part}.bias")), &[out], vector, &bias);
                }
            }
        }
    }

    /// Adds or replaces a metadata pair.
    pub fn set(&mut self, key: &str, value: Meta) {
        self.unset(key);
        self.pairs.push((key.into(), value));
    }

    pub fn unset(&mut self, key: &str) {
        self.pairs.retain(|(k, _)| k != key);
    }

    /// Adds a tensor; `shape` has the slowest dimension first.
    pub fn add(&mut self, name: &str, shape: &[usize], kind: u32, values: &[f32]) {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        self.tensors.push(Tensor {
            name: name.into(),
            dims: shape.iter().rev().map(|d| *d as u64).collect(),
            kind,
            data: encode(kind, values),
            offset: None,
        });
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|t| t.name == name).unwrap()
    }

    pub fn remove(&mut self, name: &str) {
        self.tensors.retain(|t| t.name != name);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.magic);
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.pair_count.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            string(&mut out, key.as_bytes());
            pair_value(&mut out, value);
        }
        let mut offset = 0;
        for t in &self.tensors {
            string(&mut out, t.name.as_bytes());
            out.extend((t.dims.len() as u32).to_le_bytes());
            t.dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(t.kind.to_le_bytes());
            out.extend(t.offset.unwrap_or(offset).to_le_bytes());
            offset += t.data.len().next_multiple_of(self.alignment) as u64;
        }
        for t in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            out.extend(&t.data);
        }
        out
    }

    /// Writes the file into a directory of its own.
    pub fn write(&self) -> (TempDir, PathBuf) {
        write_bytes(&self.bytes())
    }
}

pub fn write_bytes(bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn pair_value(out: &mut Vec<u8>, value: &Meta) {
    let mut kind = |n: u32, array: Option<usize>| {
        if let Some(len) = array {
            out.extend(9u32.to_le_bytes());
            out.extend(n.to_le_bytes());
            out.extend((len as u64).to_le_bytes());
        } else {
            out.extend(n.to_le_bytes());
        }
    };
    match value {
        Meta::U32(_) => kind(4, None),
        Meta::I32(_) => kind(5, None),
        Meta::F32(_) => kind(6, None),
        Meta::Bool(_) => kind(7, None),
        Meta::Str(_) => kind(8, None),
        Meta::U64(_) => kind(10, None),
        Meta::Strs(v) => kind(8, Some(v.len())),
        Meta::I32s(v) => kind(5, Some(v.len())),
        Meta::F32s(v) => kind(6, Some(v.len())),
        Meta::Bools(v) => kind(7, Some(v.len())),
    }
    match value {
        Meta::U32(v) => out.extend(v.to_le_bytes()),
        Meta::I32(v) => out.extend(v.to_le_bytes()),
        Meta::F32(v) => out.extend(v.to_le_bytes()),
        Meta::Bool(v) => out.push(u8::from(*v)),
        Meta::Str(v) => string(out, v),
        Meta::U64(v) => out.extend(v.to_le_bytes()),
        Meta::Strs(v) => v.iter().for_each(|s| string(out, s.as_bytes())),
        Meta::I32s(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Meta::F32s(v) => v.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Meta::Bools(v) => out.extend(v.iter().map(|v| u8::from(*v))),
    }
}

fn encode(kind: u32, values: &[f32]) -> Vec<u8> {
    match kind {
        types::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        types::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        types::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        // Values are eighths up to 8 in size: a scale of 1/8 holds them exactly.
        types::Q8_0 => values
            .chunks(32)
            .flat_map(|c| {
                let scale = f16::from_f32(0.125).to_le_bytes();
                scale.into_iter().chain(c.iter().map(|v| (v * 8.0) as i8 as u8))
            })
            .collect(),
        _ => panic!("no encoder for type {kind}"),
    }
}

/// What llama's converter does to q and k: `reshape(heads, 2, dim / 2, in).swapaxes(1, 2)`.
fn interleave(values: &[f32], cols: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = values.chunks(cols).collect();
    let mut out = Vec::new();
    for head in rows.chunks(HEAD_DIM) {
        for i in 0..HEAD_DIM / 2 {
            out.extend(head[i]);
            out.extend(head[HEAD_DIM / 2 + i]);
        }
    }
    out
}
