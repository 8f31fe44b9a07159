//! Changing tensors of a staging file in place.

use rasp::format::{Bytes, File};
use rasp::model::{LoadOptions, Model};
use rasp::{Error, Result, Status};
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

/// The staged model with other tensors. Takes the model as it was: its mapping must go before the file under it
/// changes.
pub(crate) fn replaced(
    staging: &Path,
    model: Arc<Model>,
    tensors: impl Iterator<Item = (String, Vec<u8>)>,
) -> Result<Arc<Model>> {
    drop(model);
    overwrite(staging, tensors)?;
    Model::load(staging, &LoadOptions::default())
}

/// Writes other bytes into tensors of a file that nobody has mapped. Their lengths stay.
fn overwrite(path: &Path, tensors: impl Iterator<Item = (String, Vec<u8>)>) -> Result<()> {
    let mut places = Vec::new();
    {
        let file = File::open(Bytes::map(path)?)?;
        for (name, bytes) in tensors {
            let span = file.span(&name)?;
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
