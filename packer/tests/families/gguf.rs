//! The same checkpoints by way of GGUF, written as llama.cpp's converter writes them (`tests/families/make_gguf.py`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rasp::Status;
use rasp_packer::import;
use safetensors::Dtype;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::case::{self, Case, Tensor};
use super::packed::{self, Packed};
use super::pending::PENDING_GGUF;
use super::{compare, tokenizer, weights};

/// Where the file's parts are aligned.
const ALIGNMENT: usize = 32;

/// What the converter writes of a case.
#[derive(Deserialize)]
struct Converted {
    /// Key -> its type's name and its value.
    metadata: Map<String, Value>,
    /// Name, shape with the slowest dimension first, source.
    tensors: Vec<(String, Vec<usize>, Source)>,
}

/// How a tensor's values come from the checkpoint's.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Source {
    /// All of one tensor, changed as the rest says.
    of: Option<String>,
    transposed: bool,
    /// The number of heads in each of which the rows of both halves alternate.
    interleaved: Option<usize>,
    plus: f32,
    /// Rows of several: name, first, count.
    rows: Vec<(String, usize, usize)>,
    values: Vec<f32>,
}

impl Source {
    fn values(&self, checkpoint: &BTreeMap<&str, (usize, Vec<f32>)>) -> Vec<f32> {
        let Some(name) = &self.of else {
            let rows = self.rows.iter().flat_map(|(name, first, count)| {
                let (cols, values) = &checkpoint[name.as_str()];
                values[first * cols..][..count * cols].iter().copied()
            });
            return rows.chain(self.values.iter().copied()).collect();
        };
        let (cols, values) = &checkpoint[name.as_str()];
        let rows = values.len() / cols;
        match (self.transposed, self.interleaved) {
            (true, _) => (0..*cols).flat_map(|c| (0..rows).map(move |r| values[r * cols + c])).collect(),
            (_, Some(heads)) => {
                let half = rows / heads / 2;
                let order = (0..rows).map(|row| row / (2 * half) * 2 * half + row % 2 * half + row % (2 * half) / 2);
                order.flat_map(|row| values[row * cols..][..*cols].iter().copied()).collect()
            }
            _ => values.iter().map(|v| v + self.plus).collect(),
        }
    }
}

fn read(case: &Case) -> Option<Converted> {
    let path = case::data().join("gguf").join(format!("{}.json", case.name));
    let text = fs::read_to_string(&path).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// GGUF's number of a type.
fn type_number(name: &str) -> u32 {
    let names = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array"];
    names.iter().position(|n| *n == name).unwrap_or_else(|| panic!("no type {name}")) as u32
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_scalar(out: &mut Vec<u8>, kind: &str, value: &Value) {
    match kind {
        "uint32" => out.extend((value.as_u64().unwrap() as u32).to_le_bytes()),
        "int32" => out.extend((value.as_i64().unwrap() as i32).to_le_bytes()),
        "float32" => out.extend((value.as_f64().unwrap() as f32).to_le_bytes()),
        "bool" => out.push(u8::from(value.as_bool().unwrap())),
        "string" => put_string(out, value.as_str().unwrap()),
        other => panic!("no encoder for {other}"),
    }
}

/// A metadata pair; `kind` is a type's name, or `array` and that of its elements.
fn put_pair(out: &mut Vec<u8>, key: &str, kind: &str, value: &Value) {
    put_string(out, key);
    let Some(element) = kind.strip_prefix("array ") else {
        out.extend(type_number(kind).to_le_bytes());
        return put_scalar(out, kind, value);
    };
    let values = value.as_array().unwrap();
    out.extend(type_number("array").to_le_bytes());
    out.extend(type_number(element).to_le_bytes());
    out.extend((values.len() as u64).to_le_bytes());
    values.iter().for_each(|value| put_scalar(out, element, value));
}

/// The file: matrices in the type that is packed, vectors in f32.
fn file(case: &Case, converted: &Converted) -> Vec<u8> {
    let matrix = if case.weight_type == "f16" { (1u32, Dtype::F16) } else { (30, Dtype::BF16) };
    let checkpoint: BTreeMap<&str, (usize, Vec<f32>)> = case
        .tensors
        .iter()
        .map(|t @ Tensor(name, shape, ..)| {
            let cols = if shape.len() > 1 { shape[1..].iter().product() } else { 1 };
            (name.as_str(), (cols, case.values(t)))
        })
        .collect();
    let tokenizer = tokenizer::gguf();
    let pairs = converted.metadata.iter().map(|(key, typed)| {
        let [kind, value] = typed.as_array().unwrap().as_slice() else { panic!("{key}") };
        (key.as_str(), kind.as_str().unwrap(), value.clone())
    });
    let pairs: Vec<(&str, &str, Value)> =
        pairs.chain([("general.name", "string", json!("Tiny"))]).chain(tokenizer).collect();

    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((converted.tensors.len() as u64).to_le_bytes());
    out.extend((pairs.len() as u64).to_le_bytes());
    pairs.iter().for_each(|(key, kind, value)| put_pair(&mut out, key, kind, value));
    let mut content = Vec::new();
    for (name, shape, source) in &converted.tensors {
        let values = source.values(&checkpoint);
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name} of {}", case.name);
        let (number, dtype) = if shape.len() > 1 { matrix } else { (0, Dtype::F32) };
        put_string(&mut out, name);
        out.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|d| out.extend((*d as u64).to_le_bytes()));
        out.extend(number.to_le_bytes());
        out.extend((content.len() as u64).to_le_bytes());
        content.extend(weights::encode(&values, dtype));
        content.resize(content.len().next_multiple_of(ALIGNMENT), 0);
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out.extend(content);
    out
}

/// Writes the case's GGUF file into a folder.
fn write(case: &Case, converted: &Converted, folder: &Path) -> std::path::PathBuf {
    let path = folder.join("tiny.gguf");
    fs::write(&path, file(case, converted)).unwrap();
    path
}

#[test]
fn log_probabilities_by_way_of_gguf_are_those_of_transformers() {
    let (mut failed, mut ran) = (Vec::new(), 0);
    for case in case::all() {
        let Some(converted) = read(&case) else { continue };
        if PENDING_GGUF.iter().any(|(name, _)| *name == case.name) {
            continue;
        }
        ran += 1;
        let name = case.name.clone();
        let written = case.clone();
        let packed = Packed::with("gguf", case, |options| options.input = write(&written, &converted, &options.input));
        let outcome = packed.map_err(|e| e.to_string()).and_then(|packed| {
            let rows = packed.logits(0.0, usize::MAX).map_err(|e| e.to_string())?;
            compare(&packed.case, &packed.case.golden(), &rows)
        });
        match outcome {
            Ok(difference) => println!("{name:24} {difference:.5}"),
            Err(why) => failed.push(format!("  {name}: {why}")),
        }
    }
    assert!(ran > 0, "no case was run");
    assert!(failed.is_empty(), "{} of {ran} cases:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn gguf_files_that_are_not_computed_yet_are_refused_by_name() {
    let cases = case::all();
    for (name, word) in PENDING_GGUF {
        let case = cases.iter().find(|case| case.name == *name).unwrap_or_else(|| panic!("no case {name}"));
        let converted = read(case).unwrap_or_else(|| panic!("no GGUF of {name}"));
        let path = write(case, &converted, &packed::folder("gguf_pending", case));
        let Err(error) = import::open(&path) else { panic!("{name} is read: it is pending no longer") };
        assert!(matches!(error.status(), Status::Unsupported | Status::BadFile), "{name}: {error}");
        assert!(error.message().contains(word), "{name}: `{word}` is not in: {error}");
    }
}
