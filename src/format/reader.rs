//! Opening a `.rasp` file: the safetensors header, checked once.

use super::{ADAPTER_VERSIONS, Bytes, Dtype, FORMAT_VERSIONS, Plain, View, foreign, header_end, key, read_header};
use crate::error::bad_file;
use crate::{Error, Result, Status};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// An opened file: its metadata and where each tensor lies.
pub struct File {
    bytes: Arc<Bytes>,
    metadata: HashMap<String, String>,
    tensors: HashMap<String, TensorEntry>,
}

struct TensorEntry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Byte offsets from the start of the file.
    start: usize,
    end: usize,
}

impl File {
    /// Reads the header. Fails on anything that is no safetensors file, on one that was cut short, and on one that is
    /// not of [`FORMAT_VERSIONS`]. What its tensors and metadata are is asked of each when it is read.
    pub fn open(bytes: Arc<Bytes>) -> Result<File> {
        let file = File::read(bytes)?;
        match (file.metadata(key::FORMAT), file.metadata(key::VERSION)) {
            (Some("rasp"), Some(version)) if FORMAT_VERSIONS.contains(&version) => Ok(file),
            (Some("rasp"), Some(version)) => Err(foreign::other_version(version, &FORMAT_VERSIONS)),
            (format, _) => Err(foreign::other_safetensors(format)),
        }
    }

    /// The same of an adapter's file, of [`ADAPTER_VERSIONS`].
    pub fn open_adapter(bytes: Arc<Bytes>) -> Result<File> {
        if bytes.starts_with(b"GGUF") {
            return Err(bad_file("a GGUF file, not a packed adapter: `rasp pack-adapter` makes one of it"));
        }
        let file = File::read(bytes)?;
        match (file.metadata(key::FORMAT), file.metadata(key::VERSION)) {
            (Some("rasp-adapter"), Some(version)) if ADAPTER_VERSIONS.contains(&version) => Ok(file),
            (Some("rasp-adapter"), Some(version)) => Err(foreign::other_version(version, &ADAPTER_VERSIONS)),
            (Some("rasp"), _) => Err(bad_file("a packed model, not an adapter")),
            _ => Err(bad_file(
                "a safetensors file, but no packed adapter: `rasp pack-adapter` makes one of the folder it lies in",
            )),
        }
    }

    /// A header, whatever the file is of.
    fn read(bytes: Arc<Bytes>) -> Result<File> {
        // Asked last: the length of a header can begin like anything.
        let (data_start, header) = read_header(&bytes).map_err(|error| foreign::named(&bytes).unwrap_or(error))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let mut tensors = HashMap::new();
        for (name, info) in header.tensors() {
            let (begin, end) = info.data_offsets;
            let entry = TensorEntry {
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: data_start + begin,
                end: data_start + end,
            };
            tensors.insert(name, entry);
        }
        Ok(File { bytes, metadata, tensors })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &Arc<Bytes> {
        &self.bytes
    }

    /// The bytes of the header.
    pub(super) fn header(&self) -> &[u8] {
        self.bytes.get(8..header_end(&self.bytes)).unwrap_or_default()
    }

    /// A metadata string.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// A metadata string that must be there.
    pub fn needed(&self, key: &str) -> Result<&str> {
        self.metadata(key).ok_or_else(|| bad_file(format!("metadata {key} is missing")))
    }

    /// A metadata string that must be there and hold JSON of `T`.
    pub fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        serde_json::from_str(self.needed(key)?).map_err(|e| bad_file(format!("metadata {key}: {e}")))
    }

    /// Names, dtypes and shapes of all tensors but those that are padding, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Dtype, &[usize])> {
        let all = self.tensors.iter().map(|(name, e)| (name.as_str(), e.dtype, e.shape.as_slice()));
        all.filter(|(name, ..)| !name.starts_with("pad."))
    }

    /// True if there is such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The dtype and shape of a tensor that must be there.
    pub fn describe(&self, name: &str) -> Result<(Dtype, &[usize])> {
        let entry = self.entry(name)?;
        Ok((entry.dtype, &entry.shape))
    }

    fn entry(&self, name: &str) -> Result<&TensorEntry> {
        self.tensors.get(name).ok_or_else(|| bad_file(format!("tensor {name} is missing")))
    }

    /// The bytes of a tensor that must be there, whatever it holds.
    pub fn raw(&self, name: &str) -> Result<&[u8]> {
        Ok(&self.bytes[self.span(name)?])
    }

    /// Where the bytes of a tensor that must be there lie in the file.
    pub fn span(&self, name: &str) -> Result<Range<usize>> {
        let entry = self.entry(name)?;
        Ok(entry.start..entry.end)
    }

    /// A tensor that must be there with exactly this dtype and shape.
    pub fn view<T: Plain>(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<View<T>> {
        let entry = self.entry(name)?;
        if entry.dtype != dtype || entry.shape != shape {
            return Err(bad_file(format!(
                "tensor {name} is {:?} {:?}, expected {dtype:?} {shape:?}",
                entry.dtype, entry.shape
            )));
        }
        debug_assert_eq!(dtype.bitsize(), 8 * size_of::<T>());
        let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        len.and_then(|len| View::new(&self.bytes, entry.start, len))
            .ok_or_else(|| bad_file(format!("tensor {name} does not lie aligned inside the file")))
    }

    /// An `F32` tensor whose every element must be finite.
    pub fn finite(&self, name: &str, shape: &[usize]) -> Result<View<f32>> {
        let view = self.view::<f32>(name, Dtype::F32, shape)?;
        match view.iter().position(|x| !x.is_finite()) {
            None => Ok(view),
            Some(at) => Err(Error::new(Status::NonFinite, format!("tensor {name}, element {at}, is {}", view[at]))),
        }
    }
}
