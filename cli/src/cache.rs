//! Checkpoints given where a packed model is expected: packed once, into a folder of the user's, and found there again.

use crate::progress::Reporter;
use crate::say;
use rasp::{Error, Result, Status};
use rasp_packer::import::is_checkpoint;
use rasp_packer::{PackOptions, RecipeSource};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The packed file of a model: the path itself, or where the checkpoint that it names was packed to. That takes seconds
/// the first time, and one line says so: a dense file in the format nearest to the checkpoint's, with sparsity levels
/// where a recipe is known.
pub fn packed(path: &Path) -> Result<PathBuf> {
    if !is_checkpoint(path) {
        return Ok(path.to_path_buf());
    }
    let failed = |what: &str, path: &Path, e: std::io::Error| {
        Error::new(
            Status::Io,
            format!("cannot {what} {}: {e}; `rasp pack` puts the model where you say", path.display()),
        )
    };
    let source = fs::canonicalize(path).map_err(|e| failed("find", path, e))?;
    let folder = folder().ok_or_else(|| {
        let message =
            format!("{} is a checkpoint, and there is no folder to pack it to: `rasp pack` it", path.display());
        Error::new(Status::Io, message)
    })?;
    let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let own = format!("{stem}-{}-", digits(source.as_os_str().as_encoded_bytes()));
    let state = state(&source).map_err(|e| failed("read", &source, e))?;
    let target = folder.join(format!("{own}{}.rasp", digits(state.as_bytes())));
    if target.is_file() {
        return Ok(target);
    }
    fs::create_dir_all(&folder).map_err(|e| failed("make", &folder, e))?;
    say(&format!("{} is a checkpoint: packing it, once, to {}", path.display(), target.display()));
    crate::signals::remove_temporary_files([&target]);
    let options = PackOptions {
        recipe_from: RecipeSource::KnownOrDense,
        threads: crate::all_threads(),
        ..PackOptions::new(&source, &target)
    };
    rasp_packer::pack(&options, &mut Reporter::new())?;
    // What it was packed to before it changed, or by another version.
    for old in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let of_this = old.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&own));
        if of_this && old != target && old.extension().is_some_and(|e| e == "rasp") {
            let _ = fs::remove_file(old);
        }
    }
    Ok(target)
}

/// Where packed checkpoints are kept: below `XDG_CACHE_HOME`, or where the system has such a folder.
fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| match () {
        () if cfg!(windows) => absolute("LOCALAPPDATA"),
        () if cfg!(target_os = "macos") => absolute("HOME").map(|home| home.join("Library/Caches")),
        () => absolute("HOME").map(|home| home.join(".cache")),
    });
    cache.map(|cache| cache.join("rasp"))
}

/// What a packed file hangs on: the sizes and times of the checkpoint's files, and the packer's version.
fn state(source: &Path) -> std::io::Result<String> {
    let mut files = vec![source.to_path_buf()];
    if source.is_dir() {
        files = fs::read_dir(source)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        files.retain(|path| path.is_file() && path.extension().is_none_or(|e| e != "rasp" && e != "recipe"));
        files.sort();
    }
    let mut state = format!("rasp {}", env!("CARGO_PKG_VERSION"));
    for file in files {
        let meta = fs::metadata(&file)?;
        let time = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        state += &format!("\n{:?} {} {}", file.file_name(), meta.len(), time.as_nanos());
    }
    Ok(state)
}

/// Twelve hexadecimal digits of some bytes' hash.
fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
