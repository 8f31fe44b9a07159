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
        return Ok(Weights::new(files, entries));
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
    Ok(Weights::new(files, entries))
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
            other => {
                return Err(unsupported(format!(
                    "{name}: tensor `{tensor}`: its type is {other:?}; rasp reads F32, F16 and BF16"
                )));
            }
        };
        let start = base + info.data_offsets.0;
        let entry = Entry::new(&tensor, dtype, info.shape.clone(), files.len(), start, bytes.len()).map_err(within)?;
        if entries.contains_key(&tensor) {
            return Err(bad(format!("{name}: tensor `{tensor}` is in another file as well")));
        }
        entries.insert(tensor, entry);
    }
    files.push(file);
    Ok(())
}
