//! Writing a `.rasp` file: all or nothing, tensor by tensor, in bounded memory.

use super::checksums::{self, Checksums};
use super::{ADAPTER_VERSIONS, Config, Dtype, FORMAT_VERSIONS, TENSOR_ALIGNMENT, key};
use crate::{Error, Result, Status};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
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

/// Bytes that are written, or read, at once.
const BUFFER: usize = 1 << 20;

/// What a header says.
struct Contents {
    /// Without padding.
    header: Vec<u8>,
    /// The list of checksums in it, blank; `None` where the names cannot be listed.
    checksums: Option<String>,
    /// The tensors and their bytes.
    pending: Vec<(TensorSpec, usize)>,
}

impl Contents {
    fn new((format, version): (&str, &str), metadata: &[(&str, String)], tensors: Vec<TensorSpec>) -> Result<Contents> {
        let mut meta = Map::new();
        meta.insert(key::FORMAT.into(), format.into());
        meta.insert(key::VERSION.into(), version.into());
        for (key, value) in metadata {
            meta.insert((*key).into(), value.as_str().into());
        }
        let checksums = checksums::blank(tensors.iter().map(|tensor| tensor.name.as_str()));
        if let Some(list) = &checksums {
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
        let header = serde_json::to_vec(&header).map_err(|e| Error::new(Status::Internal, e.to_string()))?;
        Ok(Contents { header, checksums, pending })
    }
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
    /// None once finished.
    sums: Option<Checksums>,
}

impl Writer {
    /// Creates the temporary file and writes the header. `metadata` holds the keys of [`key`] besides format and
    /// version, which are added here.
    pub fn create(target: &Path, metadata: &[(&str, String)], tensors: Vec<TensorSpec>) -> Result<Writer> {
        Writer::create_with_room(target, metadata, tensors, 0)
    }

    /// The same with so many bytes in the header for what [`rewrite`](Writer::rewrite) will say beyond it.
    pub fn create_with_room(
        target: &Path,
        metadata: &[(&str, String)],
        tensors: Vec<TensorSpec>,
        room: usize,
    ) -> Result<Writer> {
        let contents = Contents::new(("rasp", version(metadata)), metadata, tensors)?;
        Writer::create_as(target, contents, room)
    }

    /// The same for an adapter's file.
    pub fn create_adapter(target: &Path, metadata: &[(&str, String)], tensors: Vec<TensorSpec>) -> Result<Writer> {
        let [.., newest] = ADAPTER_VERSIONS;
        Writer::create_as(target, Contents::new(("rasp-adapter", newest), metadata, tensors)?, 0)
    }

    fn create_as(target: &Path, mut contents: Contents, room: usize) -> Result<Writer> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        if name.is_empty() {
            return Err(Error::new(Status::InvalidArgument, format!("{} names no file", target.display())));
        }
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = target.with_file_name(name);
        let length = (size_of::<u64>() + contents.header.len() + room).next_multiple_of(TENSOR_ALIGNMENT);
        contents.header.resize(length - size_of::<u64>(), b' ');
        let file = fs::File::create(&temporary)
            .map_err(|e| Error::new(Status::Io, format!("cannot create {}: {e}", temporary.display())))?;
        Writer::begun(target, temporary, file, contents)
    }

    /// Makes `from`, which a writer with room finished, the target: with these metadata and tensors, of which the first
    /// are [kept](Writer::keep) as they lie there and the others written behind them. From here on `from` is the
    /// temporary file.
    pub fn rewrite(
        from: &Path,
        target: &Path,
        metadata: &[(&str, String)],
        tensors: Vec<TensorSpec>,
    ) -> Result<Writer> {
        let mut contents = Contents::new(("rasp", version(metadata)), metadata, tensors)?;
        let failed = |e: std::io::Error| Error::new(Status::Io, format!("cannot complete {}: {e}", from.display()));
        let mut file = fs::File::options().read(true).write(true).open(from).map_err(failed)?;
        let mut length = [0; size_of::<u64>()];
        file.read_exact(&mut length).and_then(|()| file.rewind()).map_err(failed)?;
        let room = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        if room < contents.header.len() {
            let message = format!("a header of {} bytes, and room for {room}", contents.header.len());
            return Err(Error::new(Status::Internal, message));
        }
        contents.header.resize(room, b' ');
        Writer::begun(target, from.to_path_buf(), file, contents)
    }

    fn begun(target: &Path, temporary: PathBuf, file: fs::File, contents: Contents) -> Result<Writer> {
        let Contents { header, checksums, pending } = contents;
        let mut writer = Writer {
            target: target.to_path_buf(),
            temporary,
            file: Some(BufWriter::with_capacity(BUFFER, file)),
            pending: pending.into_iter(),
            owed: 0,
            position: 0,
            current: "the header".into(),
            sums: None,
        };
        writer.put(&(header.len() as u64).to_le_bytes())?;
        // It comes when the checksums are known.
        if let Some(file) = &mut writer.file {
            let skipped = file.seek(SeekFrom::Current(header.len() as i64));
            skipped.map_err(|e| writer.io("cannot write to", e))?;
        }
        writer.position += header.len();
        writer.sums = Some(Checksums::new(header, checksums.as_deref())?);
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

    /// Goes past the next announced tensor, which lies in a [rewritten](Writer::rewrite) file already.
    pub fn keep(&mut self, name: &str) -> Result<()> {
        self.begin(name)?;
        let mut buffer = vec![0; BUFFER.min(self.owed)];
        while self.owed > 0 {
            let part = &mut buffer[..BUFFER.min(self.owed)];
            let outcome = match &mut self.file {
                Some(file) => file.flush().and_then(|()| file.get_mut().read_exact(part)),
                None => Ok(()),
            };
            outcome.map_err(|e| self.io(&format!("cannot read {name} from"), e))?;
            if let Some(sums) = &mut self.sums {
                sums.update(part);
            }
            self.owed -= part.len();
            self.position += part.len();
        }
        Ok(())
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
        let (Some(buffered), Some(sums)) = (self.file.take(), self.sums.take()) else { return Ok(()) };
        let header = sums.header();
        let whole = buffered.into_inner().map_err(|e| e.into_error()).and_then(|mut file| {
            file.seek(SeekFrom::Start(size_of::<u64>() as u64))?;
            file.write_all(&header)?;
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
    fn a_file_is_rewritten_where_it_lies() {
        let target = target("rewritten");
        let staging = target.with_extension("stage");
        let first = || {
            let mut writer =
                Writer::create_with_room(&staging, &[("rasp.note", "short".into())], specs(), 400).unwrap();
            writer.tensor("odd", &[1, 2, 3]).unwrap();
            writer.tensor("none", &[]).unwrap();
            writer.tensor("some", &[0; 8]).unwrap();
            writer.finish().unwrap();
        };
        first();
        let more = || [specs(), vec![TensorSpec::new("more", Dtype::U8, &[2])]].concat();
        let note = "longer".repeat(20);
        let mut writer = Writer::rewrite(&staging, &target, &[("rasp.note", note.clone())], more()).unwrap();
        ["odd", "none", "some"].iter().for_each(|name| writer.keep(name).unwrap());
        writer.tensor("more", &[7, 8]).unwrap();
        writer.finish().unwrap();
        let file = File::open(Bytes::map(&target).unwrap()).unwrap();
        assert_eq!(file.verify(), Ok(true));
        assert_eq!(file.metadata("rasp.note"), Some(note.as_str()));
        assert_eq!(&*file.view::<u8>("odd", Dtype::U8, &[3]).unwrap(), &[1, 2, 3]);
        assert_eq!(&*file.view::<u8>("more", Dtype::U8, &[2]).unwrap(), &[7, 8]);
        drop(file);
        assert_eq!(left_behind(&target), 1);

        // More than there is room for, and a tensor that is not there, leave the target as it was.
        let whole = fs::read(&target).unwrap();
        first();
        let long = [("rasp.note", "x".repeat(2000))];
        assert_eq!(Writer::rewrite(&staging, &target, &long, more()).err().unwrap().status(), Status::Internal);
        let mut writer = Writer::rewrite(&staging, &target, &[], more()).unwrap();
        ["odd", "none", "some"].iter().for_each(|name| writer.keep(name).unwrap());
        assert_eq!(writer.keep("more").unwrap_err().status(), Status::Io);
        drop(writer);
        assert_eq!(fs::read(&target).unwrap(), whole);
        assert_eq!(left_behind(&target), 1);
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
