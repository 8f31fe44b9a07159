//! The safetensors files of a checkpoint: one, or several under an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use rasp::format::{Dtype, read_header};
use rasp::{Error, Result, Status};

use super::json::{self, Object};
use crate::import::dequant::DType;
use crate::import::mapped::Mapped;
use crate::import::weights::{Entry, Weights};
use crate::import::{bad, unsupported};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Opens `model.safetensors`, or what `model.safetensors.index.json` lists.
pub(super) fn open(dir: &Path) -> Result<Weights> {
    let mut files = Vec::new();
    let mut entries = BTreeMap::new();
    if dir.join(SINGLE).exists() {
        read_shard(dir, SINGLE, &mut files, &mut entries)?;
        return with_scales(Weights::new(files, entries));
    }
    let Some(index) = json::read(&dir.join(INDEX))? else {
        return Err(no_weights(dir));
    };
    let listed = listed(&Object::new(INDEX, &index)?)?;
    let names: BTreeSet<&str> = listed.values().copied().collect();
    for name in names {
        read_shard(dir, name, &mut files, &mut entries)?;
    }
    check_listed(&listed, &files, &entries)?;
    with_scales(Weights::new(files, entries))
}

/// Opens one file.
pub(in crate::import) fn single(dir: &Path, name: &str) -> Result<Weights> {
    let (mut files, mut entries) = (Vec::new(), BTreeMap::new());
    read_shard(dir, name, &mut files, &mut entries)?;
    Ok(Weights::new(files, entries))
}

/// What weights of 8 bits are multiplied by, by the end of its name: for blocks of 128 rows and columns (DeepSeek-V3,
/// Qwen3), or for the whole tensor or each row (compressed-tensors, FBGEMM). Scales of inputs are nothing to rasp,
/// which computes with inputs as they are.
const SCALES: [&str; 2] = ["_scale_inv", "_scale"];
const INPUT_SCALES: [&str; 3] = [".input_scale", ".input_scale_ub", ".activation_scale"];

/// Rows and columns that share a scale, where a tensor has fewer scales than rows.
const BLOCK: usize = 128;

/// Gives weights of 8 bits their scales, which are then no tensors of their own any more.
fn with_scales(mut weights: Weights) -> Result<Weights> {
    let small: Vec<String> =
        weights.names().filter(|n| weights.dtype(n) == Some(DType::F8E4M3)).map(str::to_string).collect();
    for name in &small {
        let found = SCALES.iter().map(|end| format!("{name}{end}")).find(|scale| weights.get(scale).is_some());
        let Some(scale) = found else {
            return Err(unsupported(format!(
                "tensor `{name}`: its values have 8 bits, and neither `{name}{}` nor `{name}{}` is there to scale them by",
                SCALES[0], SCALES[1]
            )));
        };
        weights.scale(name, &scale, BLOCK)?;
    }
    if !small.is_empty() {
        weights.drop_ending(&INPUT_SCALES);
    }
    Ok(weights)
}

fn no_weights(dir: &Path) -> Error {
    if dir.join("pytorch_model.bin").exists() || dir.join("pytorch_model.bin.index.json").exists() {
        return unsupported("only PyTorch weights (pytorch_model.bin); convert them to safetensors");
    }
    Error::new(Status::Io, format!("there is neither {SINGLE} nor {INDEX}"))
}

/// The index: tensor to file. A file must lie in the directory itself: an index from a stranger must not make the
/// importer read elsewhere.
fn listed<'a>(index: &Object<'a>) -> Result<BTreeMap<&'a str, &'a str>> {
    let map = index.value("weight_map").and_then(|m| m.as_object());
    let map = map.ok_or_else(|| bad(format!("{INDEX}: `weight_map` is missing or no object")))?;
    let mut listed = BTreeMap::new();
    for (tensor, file) in map {
        let file = file.as_str().ok_or_else(|| bad(format!("{INDEX}: tensor `{tensor}`: its file is no name")))?;
        let mut parts = Path::new(file).components();
        let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(p)), None) if p == file);
        if !plain || file.contains('\\') || !file.ends_with(".safetensors") {
            return Err(bad(format!(
                "{INDEX}: tensor `{tensor}`: `{file}` is not the name of a safetensors file in the directory"
            )));
        }
        listed.insert(tensor.as_str(), file);
    }
    Ok(listed)
}

/// The index and the files must tell the same: a tensor only one of them knows is a shard gone missing or swapped.
fn check_listed(listed: &BTreeMap<&str, &str>, files: &[Mapped], entries: &BTreeMap<String, Entry>) -> Result<()> {
    let file_of = |entry: &Entry| files[entry.file()].path().file_name().and_then(|n| n.to_str());
    for (tensor, file) in listed {
        if entries.get(*tensor).and_then(file_of) != Some(*file) {
            return Err(bad(format!("tensor `{tensor}`: {INDEX} says it is in {file}, but it is not")));
        }
    }
    match entries.keys().find(|name| !listed.contains_key(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(bad(format!("tensor `{name}` is in a file, but not in {INDEX}"))),
    }
}

fn read_shard(dir: &Path, name: &str, files: &mut Vec<Mapped>, entries: &mut BTreeMap<String, Entry>) -> Result<()> {
    let file = Mapped::open(&dir.join(name))?;
    let bytes = file.bytes();
    let within = |e: Error| e.context(name);
    let (base, metadata) = read_header(bytes).map_err(within)?;
    // In the order of their names, so that the same file always gives the same message.
    for (tensor, info) in metadata.tensors().into_iter().collect::<BTreeMap<_, _>>() {
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F8_E4M3 => DType::F8E4M3,
            other => {
                return Err(unsupported(format!(
                    "{name}: tensor `{tensor}`: its type is {other:?}; rasp reads F32, F16, BF16 and F8_E4M3"
                )));
            }
        };
        let start = base + info.data_offsets.0;
        // A scale of a whole tensor may have no dimension.
        let shape = if info.shape.is_empty() { vec![1] } else { info.shape.clone() };
        let entry = Entry::new(&tensor, dtype, shape, files.len(), start, bytes.len()).map_err(within)?;
        if entries.contains_key(&tensor) {
            return Err(bad(format!("{name}: tensor `{tensor}` is in another file as well")));
        }
        entries.insert(tensor, entry);
    }
    files.push(file);
    Ok(())
}
