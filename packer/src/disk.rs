//! Whether a disk has room for what will be written: known before it is.

use crate::litter;
use rasp::format::TensorSpec;
use rasp::{Error, Result, Status};
use std::path::Path;

/// Bytes of a file with these tensors, its header aside.
pub(crate) fn needed(tensors: &[TensorSpec]) -> u64 {
    let bytes =
        |spec: &TensorSpec| spec.shape.iter().map(|&n| n as u64).product::<u64>() * spec.dtype.bitsize() as u64 / 8;
    tensors.iter().map(bytes).sum()
}

/// Fails if the disk of `output` has no room for a file with these tensors beside the one that it may replace.
pub(crate) fn check_room(output: &Path, tensors: &[TensorSpec]) -> Result<()> {
    let folder = litter::folder(output);
    let needed = needed(tensors);
    // Where nobody tells, writing will.
    match fs4::available_space(folder) {
        Ok(free) if free < needed => Err(no_room(folder, needed, free)),
        _ => Ok(()),
    }
}

fn no_room(folder: &Path, needed: u64, free: u64) -> Error {
    let mb = |bytes: u64| bytes.div_ceil(1_000_000);
    let (needed, free) = (mb(needed), mb(free));
    Error::new(Status::Io, format!("packing needs {needed} MB at {}; {free} MB are free", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasp::format::Dtype;

    #[test]
    fn a_disk_without_room_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let tensors = |rows: usize| [TensorSpec::new("x", Dtype::F32, &[rows, 1 << 10])];
        check_room(&folder.path().join("m.rasp"), &tensors(1)).unwrap();
        let error = check_room(&folder.path().join("m.rasp"), &tensors(1 << 40)).unwrap_err();
        assert_eq!(error.status(), Status::Io);
        assert!(error.message().contains("MB are free") && error.message().contains("4503599628 MB"), "{error}");
    }
}
