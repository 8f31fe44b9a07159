//! Writing a `.rasp` file: all or nothing, tensor by tensor, in bounded memory.

use super::checksums::{self, Checksums};
use super::{ADAPTER_VERSIONS, Config, Dtype, FORMAT_VERSIONS, TENSOR_ALIGNMENT, key};
use crate::{Error, Result, Status};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A tensor to be written: what the header says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Its name, unique in the file.
    pub name: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its dimensions, slowest first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A tensor of this name, type and shape.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: &[usize]) -> Self {
        TensorSpec { name: name.into(), dtype, shape: shape.to_vec() }
    }

    fn size(&self) -> Result<usize> {
        let elements = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        elements.and_then(|n| n.checked_mul(self.dtype.bitsize() / 8)).ok_or_else(|| {
            Error::new(Status::OutOfRange, format!("tensor {} is too large: {:?}", self.name, self.shape))
        })
    }
}

/// The least version whose readers understand what the metadata say.
fn version(metadata: &[(&str, String)]) -> &'static str {
    let config = metadata.iter().find(|(key, _)| *key == key::CONFIG).and_then(|(_, json)| Config::parse(json).ok());
    FORMAT_VERSIONS[usize::from(config.is_some_and(|config| !config.block.is_llamas()))]
}

/// Writes the tensors that were announced, in that order, into a temporary file beside the target; only
/// [`finish`](Writer::finish) puts it in the target's place, so that a reader sees the old file or the new one whole.
/// A writer that is dropped unfinished removes its temporary file.
pub struct Writer {
    target: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<fs::File>>,
    pending: std::vec::IntoIter<(TensorSpec, usize)>,
    /// Bytes still owed to the tensor in hand, and its name.
    owed: usize,
    current: String,
    /// Bytes written so far, the header's included (it ends on the alignment as well).
    position: usize,
    /// None where the names cannot be listed.
    sums: Option<Checksums>,
}

impl Writer {
    /// Creates the temporary file and writes the header. `metadata` holds the keys of [`key`] besides format and
    /// version, which are added here.
    pub fn create(target: &Path, metadata: &[(&str, String)], tensors: Vec<TensorSpec>) -> Result<Writer> {
        Writer::create_as(("rasp", version(metadata)), target, metadata, tensors)
    }

    /// The same for an adapter's file.
    pub fn create_adapter(target: &Path, metadata: &[(&str, String)], tensors: Vec<TensorSpec>) -> Result<Writer> {
        let [.., newest] = ADAPTER_VERSIONS;
        Writer::create_as(("rasp-adapter", newest), target, metadata, tensors)
    }

    fn create_as(
        (format, version): (&str, &str),
        target: &Path,
        metadata: &[(&str, String)],
        tensors: Vec<TensorSpec>,
    ) -> Result<Writer> {
        let mut meta = Map::new();
        meta.insert(key::FORMAT.into(), format.into());
        meta.insert(key::VERSION.into(), version.into());
        for (key, value) in metadata {
            meta.insert((*key).into(), value.as_str().into());
        }
        let list = checksums::blank(tensors.iter().map(|tensor| tensor.name.as_str()));
        if let Some(list) = &list {
            meta.insert(checksums::KEY.into(), list.as_str().into());
        }
        let mut header = Map::new();
        header.insert("__metadata__".into(), Value::Object(meta));
        let mut offset = 0;
        let mut pending = Vec::with_capacity(tensors.len());
        for (index, tensor) in tensors.into_iter().enumerate() {
            let size = tensor.size()?;
            let entry = |shape: &[usize], dtype: Dtype, begin: usize, end: usize| json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]});
            let end = offset + size;
            if header.insert(tensor.name.clone(), entry(&tensor.shape, tensor.dtype, offset, end)).is_some() {
                return Err(Error::new(Status::InvalidArgument, format!("tensor {} is announced twice", tensor.name)));
            }
            // safetensors allows no gaps between tensors, so the padding is a tensor as well.
            let padding = end.next_multiple_of(TENSOR_ALIGNMENT) - end;
            if padding > 0 {
                header.insert(format!("pad.{index}"), entry(&[padding], Dtype::U8, end, end + padding));
            }
            offset = end + padding;
            pending.push((tensor, size));
        }
        let mut header = serde_json::to_vec(&header).map_err(|e| Error::new(Status::Internal, e.to_string()))?;
        header.resize((8 + header.len()).next_multiple_of(TENSOR_ALIGNMENT) - 8, b' ');

        let sums = list.map(|list| Checksums::new(&header, &list)).transpose()?;
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        if name.is_empty() {
            return Err(Error::new(Status::InvalidArgument, format!("{} names no file", target.display())));
        }
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = target.with_file_name(name);
        let file = fs::File::create(&temporary)
            .map_err(|e| Error::new(Status::Io, format!("cannot create {}: {e}", temporary.display())))?;
        let mut writer = Writer {
            target: target.to_path_buf(),
            temporary,
            file: Some(BufWriter::with_capacity(1 << 20, file)),
            pending: pending.into_iter(),
            owed: 0,
            position: 0,
            current: "the header".into(),
            sums,
        };
        writer.put(&(header.len() as u64).to_le_bytes())?;
        writer.put(&header)?;
        Ok(writer)
    }

    fn io(&self, what: &str, error: std::io::Error) -> Error {
        Error::new(Status::Io, format!("{what} {}: {error}", self.temporary.display()))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let outcome = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Ok(()),
        };
        outcome.map_err(|e| self.io(&format!("cannot write {} to", self.current), e))?;
        self.position += bytes.len();
        Ok(())
    }

    /// Starts the next announced tensor, which must be `name`.
    pub fn begin(&mut self, name: &str) -> Result<()> {
        self.end_tensor()?;
        match self.pending.next() {
            Some((spec, size)) if spec.name == name => {
                if let Some(sums) = &mut self.sums {
                    sums.begin(name);
                }
                self.current = spec.name;
                self.owed = size;
                Ok(())
            }
            next => Err(Error::new(
                Status::InvalidState,
                format!("tensor {name} written where {:?} was announced", next.map(|(s, _)| s.name)),
            )),
        }
    }

    /// Appends bytes to the tensor in hand.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.owed = self.owed.checked_sub(bytes.len()).ok_or_else(|| {
            Error::new(Status::InvalidState, format!("more bytes than announced for {}", self.current))
        })?;
        if let Some(sums) = &mut self.sums {
            sums.update(bytes);
        }
        self.put(bytes)
    }

    /// [`begin`](Writer::begin) and [`write`](Writer::write) in one.
    pub fn tensor(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.begin(name)?;
        self.write(bytes)
    }

    /// Checks that the tensor in hand is whole, and pads to where the next one starts.
    fn end_tensor(&mut self) -> Result<()> {
        if self.owed > 0 {
            return Err(Error::new(
                Status::InvalidState,
                format!("{} bytes of {} were never written", self.owed, self.current),
            ));
        }
        let padding = self.position.next_multiple_of(TENSOR_ALIGNMENT) - self.position;
        self.put(&[0; TENSOR_ALIGNMENT][..padding])
    }

    /// Flushes to the disk and renames the file into place.
    pub fn finish(mut self) -> Result<()> {
        self.end_tensor()?;
        if let Some((spec, _)) = self.pending.next() {
            return Err(Error::new(Status::InvalidState, format!("{} was never written", spec.name)));
        }
        let Some(buffered) = self.file.take() else { return Ok(()) };
        let header = self.sums.take().map(Checksums::header);
        let whole = buffered.into_inner().map_err(|e| e.into_error()).and_then(|mut file| {
            if let Some(header) = header {
                file.seek(SeekFrom::Start(size_of::<u64>() as u64))?;
                file.write_all(&header)?;
            }
            Ok(file)
        });
        let synced = whole.and_then(|file| file.sync_all());
        let renamed = synced.and_then(|()| fs::rename(&self.temporary, &self.target));
        if let Err(error) = renamed {
            let error = self.io("cannot complete", error);
            let _ = fs::remove_file(&self.temporary);
            return Err(error);
        }
        // The rename itself is on the disk once the folder is. Not every system lets a folder be opened; the file is
        // whole either way.
        let folder = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if let Ok(folder) = fs::File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bytes, File};
    use super::*;

    fn target(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("rasp-writer-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir.join("model.rasp")
    }

    fn left_behind(target: &Path) -> usize {
        fs::read_dir(target.parent().unwrap()).unwrap().count()
    }

    fn specs() -> Vec<TensorSpec> {
        vec![
            TensorSpec::new("odd", Dtype::U8, &[3]),
            TensorSpec::new("none", Dtype::F32, &[0, 4]),
            TensorSpec::new("some", Dtype::F32, &[2]),
        ]
    }

    #[test]
    fn what_is_written_is_read_aligned() {
        let target = target("round-trip");
        let mut writer = Writer::create(&target, &[("rasp.note", "hello".into())], specs()).unwrap();
        writer.tensor("odd", &[1, 2, 3]).unwrap();
        writer.tensor("none", &[]).unwrap();
        writer.begin("some").unwrap();
        writer.write(&1f32.to_le_bytes()).unwrap();
        writer.write(&2f32.to_le_bytes()).unwrap();
        assert!(!target.exists());
        writer.finish().unwrap();
        assert_eq!(left_behind(&target), 1);

        let file = File::open(Bytes::map(&target).unwrap()).unwrap();
        assert_eq!(file.metadata("rasp.note"), Some("hello"));
        assert_eq!(&*file.view::<u8>("odd", Dtype::U8, &[3]).unwrap(), &[1, 2, 3]);
        let some = file.finite("some", &[2]).unwrap();
        assert_eq!(&*some, &[1.0, 2.0]);
        assert_eq!(some.as_ptr().addr() % TENSOR_ALIGNMENT, 0);
        assert_eq!(file.view::<f32>("some", Dtype::F32, &[3]).err().unwrap().status(), Status::BadFile);
        assert_eq!(file.view::<f32>("gone", Dtype::F32, &[3]).err().unwrap().status(), Status::BadFile);
        fs::remove_dir_all(target.parent().unwrap()).unwrap();
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_behind() {
        let target = target("unfinished");
        fs::write(&target, b"old").unwrap();
        let mut writer = Writer::create(&target, &[], specs()).unwrap();
        assert_eq!(writer.begin("some").unwrap_err().status(), Status::InvalidState);
        drop(writer);
        let mut writer = Writer::create(&target, &[], specs()).unwrap();
        writer.begin("odd").unwrap();
        assert_eq!(writer.write(&[0; 4]).unwrap_err().status(), Status::InvalidState);
        assert_eq!(writer.begin("none").unwrap_err().status(), Status::InvalidState);
        assert_eq!(writer.finish().unwrap_err().status(), Status::InvalidState);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(left_behind(&target), 1);
        fs::remove_dir_all(target.parent().unwrap()).unwrap();
    }
}
