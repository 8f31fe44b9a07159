//! The work directory: what long steps have found, so that an interrupted `rasp pack` goes on where it was.

use rasp::{Error, Result, Status};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of JSON files, each of which says what it was made from.
pub(crate) struct Work {
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

impl Work {
    /// Nothing is kept without a folder. It is made if it is not there.
    pub(crate) fn open(folder: Option<&Path>, source: String) -> Result<Work> {
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(|e| io("cannot make the work directory", folder, e))?;
        }
        Ok(Work { folder: folder.map(Path::to_path_buf), source })
    }

    /// What was saved under `name` from the same source, if anything was.
    pub(crate) fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io("cannot read", &path, e)),
        };
        let loaded: Loaded<T> = serde_json::from_str(&text).map_err(|e| {
            let message = format!("{}: {e}; delete it to begin again", path.display());
            Error::new(Status::BadFile, message)
        })?;
        if loaded.source != self.source {
            let message = format!(
                "{} was made from {}, this is {}: give each its own --work folder",
                path.display(),
                loaded.source,
                self.source
            );
            return Err(Error::new(Status::InvalidArgument, message));
        }
        Ok(Some(loaded.found))
    }

    /// Saves `found` under `name`; a file that is there appears whole or not at all.
    pub(crate) fn save<T: Serialize>(&self, name: &str, found: &T) -> Result<()> {
        let Some(path) = self.path(name) else { return Ok(()) };
        let text = serde_json::to_string(&Saved { source: &self.source, found })
            .map_err(|e| Error::new(Status::Internal, format!("{}: {e}", path.display())))?;
        let partial = path.with_extension("part");
        fs::write(&partial, text).map_err(|e| io("cannot write", &partial, e))?;
        fs::rename(&partial, &path).map_err(|e| io("cannot write", &path, e))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{name}.json")))
    }
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
        let work = |source: &str| Work::open(Some(&path), source.into()).unwrap();
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
    fn without_a_folder_nothing_is_kept() {
        let work = Work::open(None, "a".into()).unwrap();
        work.save("x", &1).unwrap();
        assert_eq!(work.load::<i32>("x").unwrap(), None);
    }
}
