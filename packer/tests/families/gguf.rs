//! The same checkpoints by way of GGUF, written as llama.cpp's converter writes them (`tests/families/make_gguf.py`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rasp::Status;
use rasp_packer::import;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::case::{self, Case, Tensor};
use super::packed::{self, Packed};
use super::pending::PENDING_GGUF;
use super::support::{GgufFile, Meta, types};
use super::{compare, tokenizer};

/// What the converter writes of a case.
#[derive(Deserialize)]
pub struct Converted {
    /// Key -> its type's name and its value.
    metadata: Map<String, Value>,
    /// Name, shape with the slowest dimension first, source.
    pub tensors: Vec<(String, Vec<usize>, Source)>,
}

/// How a tensor's values come from the checkpoint's.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
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

impl Source {
    /// The one tensor that it is all, or rows of.
    pub fn tensor(&self) -> Option<&str> {
        let mut names = self.of.iter().chain(self.rows.iter().map(|(name, ..)| name));
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    }

    /// What becomes of a LoRA factor of that tensor's outputs, `[outputs, rank]`. The factors of a matrix that is
    /// stored the other way round are not.
    pub fn outputs(&self, rank: usize, factor: &[f32]) -> Vec<f32> {
        let Some(name) = self.tensor() else { return Vec::new() };
        if self.transposed {
            return factor.to_vec();
        }
        self.values(&BTreeMap::from([(name, (rank, factor.to_vec()))]))
    }
}

impl Converted {
    /// Its `general.architecture`.
    fn architecture(&self) -> &str {
        self.metadata["general.architecture"][1].as_str().unwrap()
    }

    /// The same as a file of another architecture whose fields mean the same.
    fn called(mut self, architecture: &str) -> Converted {
        let old = format!("{}.", self.architecture());
        let renamed = |key: &String| key.strip_prefix(&old).map_or(key.clone(), |key| format!("{architecture}.{key}"));
        self.metadata = self.metadata.iter().map(|(key, value)| (renamed(key), value.clone())).collect();
        self.metadata["general.architecture"][1] = architecture.into();
        self
    }
}

/// The architecture of a case's GGUF file, if there is one.
pub fn architecture(case: &Case) -> Option<String> {
    read(case).map(|converted| converted.architecture().to_string())
}

/// Mistral's files: today's converter has a name for those of models that see as well.
pub const ALSO: &[(&str, &str)] = &[("mistral_nemo", "mistral3"), ("mistral_v0.3", "mistral3")];

pub fn read(case: &Case) -> Option<Converted> {
    let path = case::data().join("gguf").join(format!("{}.json", case.name));
    let text = fs::read_to_string(&path).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// A metadata value; `kind` is a type's name, or `array` and that of its elements.
fn meta(kind: &str, value: &Value) -> Meta {
    fn list<T>(value: &Value, pick: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        value.as_array().unwrap().iter().map(|value| pick(value).unwrap()).collect()
    }
    match kind {
        "uint32" => Meta::U32(value.as_u64().unwrap() as u32),
        "float32" => Meta::F32(value.as_f64().unwrap() as f32),
        "bool" => Meta::Bool(value.as_bool().unwrap()),
        "string" => value.as_str().unwrap().into(),
        "array string" => Meta::Strs(list(value, |v| v.as_str().map(str::to_string))),
        "array int32" => Meta::I32s(list(value, |v| v.as_i64().map(|v| v as i32))),
        "array float32" => Meta::F32s(list(value, |v| v.as_f64().map(|v| v as f32))),
        "array bool" => Meta::Bools(list(value, |v| v.as_bool())),
        other => panic!("no value of type {other}"),
    }
}

/// The file: matrices in the type that is packed, vectors in f32.
fn file(case: &Case, converted: &Converted) -> Vec<u8> {
    let matrix = if case.weight_type == "f16" { types::F16 } else { types::BF16 };
    let checkpoint: BTreeMap<&str, (usize, Vec<f32>)> = case
        .tensors
        .iter()
        .map(|t @ Tensor(name, shape, ..)| {
            let cols = if shape.len() > 1 { shape[1..].iter().product() } else { 1 };
            (name.as_str(), (cols, case.values(t)))
        })
        .collect();
    let mut file = GgufFile::empty();
    for (key, typed) in &converted.metadata {
        let [kind, value] = typed.as_array().unwrap().as_slice() else { panic!("{key}") };
        file.set(key, meta(kind.as_str().unwrap(), value));
    }
    file.set("general.name", "Tiny".into());
    for (key, kind, value) in tokenizer::gguf() {
        file.set(key, meta(kind, &value));
    }
    for (name, shape, source) in &converted.tensors {
        let kind = if shape.len() > 1 { matrix } else { types::F32 };
        file.add(name, shape, kind, &source.values(&checkpoint));
    }
    file.bytes()
}

/// Writes the case's GGUF file into a folder.
pub fn write(case: &Case, converted: &Converted, folder: &Path) -> std::path::PathBuf {
    let path = folder.join("tiny.gguf");
    fs::write(&path, file(case, converted)).unwrap();
    path
}

#[test]
fn log_probabilities_by_way_of_gguf_are_those_of_transformers() {
    let (mut failed, mut ran) = (Vec::new(), 0);
    let as_converted = case::all().into_iter().map(|case| (case, None));
    let also = |(case, _): (Case, _)| {
        let (_, architecture) = ALSO.iter().find(|(name, _)| *name == case.name)?;
        Some((case, Some(*architecture)))
    };
    for (case, renamed) in as_converted.clone().chain(as_converted.filter_map(also)) {
        let Some(mut converted) = read(&case) else { continue };
        if PENDING_GGUF.iter().any(|(name, _)| *name == case.name) {
            continue;
        }
        ran += 1;
        let name = format!("{}{}", case.name, renamed.map(|r| format!(" as {r}")).unwrap_or_default());
        if let Some(architecture) = renamed {
            converted = converted.called(architecture);
        }
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
