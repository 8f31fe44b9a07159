//! Files that a run of the packer writes beside its output while it works, and what becomes of them.
//!
//! Their names tell whose they are: the output's, a dot, the number of the process and `stage` or `tmp`. A run that
//! ends, well or not, removes its own; one that is killed cannot, so the next run for the same output does it.

use rasp::format::{TensorSpec, Writer};
use rasp::{Error, Result, Status};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The process whose temporary file beside `output` this is the name of: `model.rasp.123.stage`, and while that is
/// being written `model.rasp.123.stage.123.tmp`.
fn owner(output: &str, name: &str) -> Option<u32> {
    let rest = name.strip_prefix(output)?.strip_prefix('.')?;
    let (process, kind) = rest.split_once('.')?;
    let whole = match kind {
        "stage" | "tmp" => true,
        kind => kind.strip_prefix("stage.")?.strip_suffix(".tmp")? == process,
    };
    process.parse().ok().filter(|_| whole && process.bytes().all(|b| b.is_ascii_digit()))
}

/// The folder that a file is, or will be, in.
pub(crate) fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes the temporary files beside `output` that are of processes that `of` says. How many there were.
fn remove_temporary_files(output: &Path, of: impl Fn(u32) -> bool) -> usize {
    let folder = folder(output);
    let Some(output) = output.file_name().and_then(|name| name.to_str()) else { return 0 };
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of_these = |name: &str| owner(output, name).is_some_and(&of);
    let found = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(of_these));
    found.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
}

/// Held while a file beside an output gets its name, or another.
static NAMING: Mutex<()> = Mutex::new(());

/// To be held while a temporary file is made, or becomes what it was made for.
pub(crate) fn naming() -> MutexGuard<'static, ()> {
    NAMING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// [`Writer::create_with_room`], beside an output.
pub(crate) fn create(
    path: &Path,
    metadata: &[(&str, String)],
    tensors: Vec<TensorSpec>,
    room: usize,
) -> Result<Writer> {
    let _naming = naming();
    Writer::create_with_room(path, metadata, tensors, room)
}

/// [`Writer::create_adapter`], beside an output.
pub(crate) fn create_adapter(path: &Path, metadata: &[(&str, String)], tensors: Vec<TensorSpec>) -> Result<Writer> {
    let _naming = naming();
    Writer::create_adapter(path, metadata, tensors)
}

/// [`Writer::finish`], beside an output.
pub(crate) fn finish(writer: Writer) -> Result<()> {
    let _naming = naming();
    writer.finish()
}

/// Removes this process's temporary files beside `outputs`, and lets it make no more: for one that is about to end.
pub fn remove_own_temporary_files<'a>(outputs: impl IntoIterator<Item = &'a Path>) {
    // Never given back: whoever wants to make a file waits for the end.
    std::mem::forget(naming());
    for output in outputs {
        remove_temporary_files(output, |process| process == std::process::id());
    }
}

/// Whether a process has ended, where that can be told.
fn has_ended(process: u32) -> bool {
    let processes = Path::new("/proc");
    processes.join("self").exists() && !processes.join(process.to_string()).exists()
}

/// Removes what runs for this output left behind that were killed.
pub(crate) fn remove_old(output: &Path) -> usize {
    remove_temporary_files(output, |process| process != std::process::id() && has_ended(process))
}

/// Fails if writing `output` would write over what is read.
pub(crate) fn check_apart<'a>(output: &Path, inputs: impl Iterator<Item = &'a Path>) -> Result<()> {
    let Ok(target) = fs::canonicalize(output) else { return Ok(()) };
    for input in inputs {
        let same = |path: &Path| fs::canonicalize(path).is_ok_and(|path| same_file(&path, &target));
        let inside = || {
            fs::read_dir(input).is_ok_and(|files| {
                // A folder with a checkpoint: its files, but not what was packed and lies among them.
                let packed = |e: &OsStr| ["rasp", "rasp-adapter", "recipe"].iter().any(|packed| e == *packed);
                files.flatten().any(|file| !file.path().extension().is_some_and(packed) && same(&file.path()))
            })
        };
        if same(input) || inside() {
            let message = format!(
                "the output {} is the input, or a file of it, and would be written over: name another",
                output.display()
            );
            return Err(Error::new(Status::InvalidArgument, message));
        }
    }
    Ok(())
}

/// Whether two paths, links resolved, lead to one file: also by two names.
fn same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (fs::metadata(a), fs::metadata(b)) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_runs_are_taken_for_such() {
        for (name, process) in [
            ("m.rasp.17.stage", Some(17)),
            ("m.rasp.17.tmp", Some(17)),
            ("m.rasp.17.stage.17.tmp", Some(17)),
            ("m.rasp.17.stage.18.tmp", None),
            ("m.rasp.x.stage", None),
            ("m.rasp.+7.stage", None),
            ("m.rasp.17.bak", None),
            ("m.rasp.stage", None),
            ("m.rasp", None),
            ("n.rasp.17.stage", None),
        ] {
            assert_eq!(owner("m.rasp", name), process, "{name}");
        }
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let names = ["m.rasp", "m.rasp.4194999.stage", "m.rasp.4194999.stage.4194999.tmp", "m.rasp.notes"];
        let living = format!("m.rasp.{own}.stage");
        for name in names.into_iter().chain([living.as_str()]) {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let output = folder.path().join("m.rasp");
        // Beyond the largest number that Linux gives a process.
        assert_eq!(remove_old(&output), if Path::new("/proc/self").exists() { 2 } else { 0 });
        assert!(folder.path().join(&living).exists() && folder.path().join("m.rasp.notes").exists() && output.exists());
        assert_eq!(remove_temporary_files(&output, |process| process == own), 1);
    }

    #[test]
    fn an_output_that_is_the_input_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, c) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c.rasp"));
        fs::write(&a, "x").unwrap();
        fs::write(&c, "x").unwrap();
        let check = |output: &Path, input: &Path| check_apart(output, std::iter::once(input));
        assert!(check(&b, &a).is_ok() && check(&c, folder.path()).is_ok() && check(&c, &a).is_ok());
        assert_eq!(check(&a, &a).unwrap_err().status(), Status::InvalidArgument);
        assert!(check(&a, folder.path()).is_err());
        #[cfg(unix)]
        {
            fs::hard_link(&a, &b).unwrap();
            assert!(check(&b, &a).is_err());
            std::os::unix::fs::symlink(&a, folder.path().join("d")).unwrap();
            assert!(check(&folder.path().join("d"), &a).is_err());
        }
    }
}
