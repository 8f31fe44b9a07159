//! A checkpoint's file, mapped read-only.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rasp::Result;

use super::{bad, io};

/// A file's bytes, mapped for as long as this lives.
pub(crate) struct Mapped {
    path: PathBuf,
    map: Mmap,
}

impl Mapped {
    /// Maps a regular, non-empty file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // Asked before opening: opening a pipe would wait for its writer.
        let meta = std::fs::metadata(path).map_err(|e| io(path, &e))?;
        if !meta.is_file() {
            return Err(bad(format!("{}: not a regular file", path.display())));
        }
        if meta.len() == 0 {
            return Err(bad(format!("{}: the file is empty", path.display())));
        }
        let file = File::open(path).map_err(|e| io(path, &e))?;
        // SAFETY: the mapping is private to this process and only ever read. As with every mapped file, another
        // process must not truncate it meanwhile; the packer's documentation asks for that, and no Rust code can
        // prevent it. Bytes changed by another process change values, never lengths: those were fixed at mapping.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| io(path, &e))?;
        Ok(Self { path: path.to_path_buf(), map })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }
}
