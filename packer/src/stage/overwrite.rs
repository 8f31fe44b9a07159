//! Changing tensors of a staging file in place.

use super::f32_bytes;
use rasp::format::{Bytes, File};
use rasp::{Error, Result, Status};
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// Writes other numbers into F32 tensors of a file that nobody has mapped. Their lengths stay.
pub(crate) fn overwrite<'a>(path: &Path, tensors: impl Iterator<Item = (String, &'a Vec<f32>)>) -> Result<()> {
    let mut places = Vec::new();
    {
        let file = File::open(Bytes::map(path)?)?;
        for (name, numbers) in tensors {
            let (span, bytes) = (file.span(&name)?, f32_bytes(numbers));
            if span.len() != bytes.len() {
                let message = format!("tensor {name} has {} bytes, its replacement {}", span.len(), bytes.len());
                return Err(Error::new(Status::Internal, message));
            }
            places.push((span.start, bytes));
        }
    }
    let failed = |e| Error::new(Status::Io, format!("cannot write {}: {e}", path.display()));
    let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    for (start, bytes) in places {
        file.seek(SeekFrom::Start(start as u64)).map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
    }
    Ok(())
}
