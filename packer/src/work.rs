//! The work directory: what long steps have found, so that an interrupted `rasp pack` goes on where it was.

use rasp::{Error, Result, Status};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of files, JSON or a line of JSON before bytes, each of which says what it was made from.
pub(crate) struct WorkFolder {
    folder: Option<PathBuf>,
    /// What everything here depends on: the checkpoint, the text, the options.
    source: String,
}

#[derive(Serialize)]
struct Saved<'a, T> {
    source: &'a str,
    found: &'a T,
}

#[derive(Deserialize)]
struct Loaded<T> {
    source: String,
    found: T,
}

impl WorkFolder {
    /// Nothing is kept without a folder. It is made if it is not there.
    pub(crate) fn open(folder: Option<&Path>, source: String) -> Result<WorkFolder> {
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(|e| io("cannot make the work directory", folder, e))?;
        }
        Ok(WorkFolder { folder: folder.map(Path::to_path_buf), source })
    }

    /// What was saved under `name` from the same source, if anything was.
    pub(crate) fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(path) = self.path(name, "json") else { return Ok(None) };
        let Some(text) = read(&path)? else { return Ok(None) };
        self.found(&path, &text).map(Some)
    }

    /// The pieces that were saved under `name` from the same source, if they were.
    pub(crate) fn load_bytes(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>> {
        let Some(path) = self.path(name, "bin") else { return Ok(None) };
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let end = bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len());
        let lengths: Vec<usize> = self.found(&path, &bytes[..end])?;
        let mut rest = bytes.get(end + 1..).unwrap_or_default();
        let mut pieces = Vec::new();
        for length in lengths {
            let (piece, after) = rest.split_at_checked(length).ok_or_else(|| damaged(&path, "it is cut short"))?;
            pieces.push(piece.to_vec());
            rest = after;
        }
        Ok(Some(pieces))
    }

    /// What a text says was found, if it is from the same source.
    fn found<T: DeserializeOwned>(&self, path: &Path, text: &[u8]) -> Result<T> {
        let loaded: Loaded<T> = serde_json::from_slice(text).map_err(|e| damaged(path, e))?;
        if loaded.source == self.source {
            return Ok(loaded.found);
        }
        let message = format!(
            "{} was made from {}, this is {}: give each its own --work folder",
            path.display(),
            loaded.source,
            self.source
        );
        Err(Error::new(Status::InvalidArgument, message))
    }

    /// Saves `found` under `name`; a file that is there appears whole or not at all.
    pub(crate) fn save<T: Serialize>(&self, name: &str, found: &T) -> Result<()> {
        let Some(path) = self.path(name, "json") else { return Ok(()) };
        self.write(&path, found, &[])
    }

    /// Saves pieces of bytes, likewise.
    pub(crate) fn save_bytes(&self, name: &str, pieces: &[Vec<u8>]) -> Result<()> {
        let Some(path) = self.path(name, "bin") else { return Ok(()) };
        let lengths: Vec<usize> = pieces.iter().map(Vec::len).collect();
        self.write(&path, &lengths, pieces)
    }

    /// A line of JSON, and bytes behind it.
    fn write<T: Serialize>(&self, path: &Path, found: &T, pieces: &[Vec<u8>]) -> Result<()> {
        let mut bytes = serde_json::to_vec(&Saved { source: &self.source, found })
            .map_err(|e| Error::new(Status::Internal, format!("{}: {e}", path.display())))?;
        bytes.push(b'\n');
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        let partial = path.with_extension("part");
        fs::write(&partial, bytes).map_err(|e| io("cannot write", &partial, e))?;
        fs::rename(&partial, path).map_err(|e| io("cannot write", path, e))
    }

    fn path(&self, name: &str, extension: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{name}.{extension}")))
    }
}

/// A file's bytes, if it is there.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io("cannot read", path, e)),
    }
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(Status::BadFile, format!("{}: {what}; delete it to begin again", path.display()))
}

fn io(what: &str, path: &Path, e: std::io::Error) -> Error {
    Error::new(Status::Io, format!("{what} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_comes_back_to_the_same_source_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/work");
        let work = |source: &str| WorkFolder::open(Some(&path), source.into()).unwrap();
        assert_eq!(work("a").load::<Vec<f64>>("x").unwrap(), None);
        work("a").save("x", &vec![0.1, 1e-300]).unwrap();
        assert_eq!(work("a").load("x").unwrap(), Some(vec![0.1, 1e-300]));
        let error = work("b").load::<Vec<f64>>("x").unwrap_err();
        assert!(error.message().contains("made from a, this is b"), "{error}");
        fs::write(path.join("x.json"), "{").unwrap();
        let error = work("a").load::<Vec<f64>>("x").unwrap_err();
        assert!(error.status() == Status::BadFile && error.message().contains("delete it"), "{error}");
    }

    #[test]
    fn bytes_come_back_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let work = |source: &str| WorkFolder::open(Some(folder.path()), source.into()).unwrap();
        assert_eq!(work("a").load_bytes("x").unwrap(), None);
        let pieces = vec![b"one\n".to_vec(), Vec::new(), vec![0, 255, b'\n']];
        work("a").save_bytes("x", &pieces).unwrap();
        assert_eq!(work("a").load_bytes("x").unwrap(), Some(pieces));
        assert!(work("b").load_bytes("x").unwrap_err().message().contains("made from a, this is b"));
        let path = folder.path().join("x.bin");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = work("a").load_bytes("x").unwrap_err();
        assert!(error.status() == Status::BadFile && error.message().contains("cut short"), "{error}");
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let work = WorkFolder::open(None, "a".into()).unwrap();
        work.save("x", &1).unwrap();
        work.save_bytes("x", &[vec![1]]).unwrap();
        assert_eq!((work.load::<i32>("x").unwrap(), work.load_bytes("x").unwrap()), (None, None));
    }
}
