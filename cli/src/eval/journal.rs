//! The work directory of `rasp eval tasks`: every finished item is a line of `tasks.jsonl`, so that a run that was
//! stopped goes on where it was.

use super::evaluator::Outcome;
use super::{Protocol, Setting};
use rasp::{Error, Result, Status};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What an item's outcome depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// [`fingerprint`] of the model's file.
    pub model: String,
    pub task: String,
    /// [`digest`] of the item's line.
    pub item: String,
    /// As the user wrote it.
    pub sparsity: String,
    /// `None` for dense items, which are the same under each.
    pub protocol: Option<String>,
}

impl Key {
    pub fn new(model: &str, task: &str, item: &str, setting: Setting) -> Key {
        let protocol = (!setting.is_dense()).then(|| Protocol::name(setting.protocol).to_string());
        let sparsity = if setting.is_dense() { "0".into() } else { setting.sparsity.to_string() };
        Key { model: model.into(), task: task.into(), item: item.into(), sparsity, protocol }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    key: Key,
    outcome: Outcome,
}

/// Outcomes by key: those of earlier runs, and those that are added. Without a directory it only remembers.
#[derive(Default)]
pub struct Journal {
    known: HashMap<Key, Outcome>,
    file: Option<(PathBuf, File)>,
}

impl Journal {
    /// Reads what is there and locks it for this run. A last line without its end is what a stopped run leaves: it is
    /// cut off, and `note` hears of it. Any other line that is not a record is an error that names it.
    pub fn open(dir: &Path, note: impl FnOnce(&str)) -> Result<Journal> {
        let path = dir.join("tasks.jsonl");
        let failed = |e: std::io::Error| Error::new(Status::Io, format!("{}: {e}", path.display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is in use by another run", path.display());
                return Err(Error::new(Status::Io, message));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let mut known = HashMap::new();
        for (n, line) in bytes[..whole].split_inclusive(|&b| b == b'\n').enumerate() {
            let record: Record = serde_json::from_slice(line).map_err(|e| {
                let message = format!(
                    "{}, line {}: no outcome that rasp eval tasks has written ({e}); remove the line to go on",
                    path.display(),
                    n + 1
                );
                Error::new(Status::BadFile, message)
            })?;
            known.insert(record.key, record.outcome);
        }
        if whole < bytes.len() {
            note(&format!("{}: the last line is not whole and was removed", path.display()));
            file.set_len(whole as u64).map_err(failed)?;
        }
        Ok(Journal { known, file: Some((path, file)) })
    }

    pub fn get(&self, key: &Key) -> Option<&Outcome> {
        self.known.get(key)
    }

    /// Remembers an outcome; in a directory it has been handed to the system when this returns.
    pub fn add(&mut self, key: Key, outcome: Outcome) -> Result<()> {
        if let Some((path, file)) = &mut self.file {
            let record = Record { key: key.clone(), outcome: outcome.clone() };
            let failed = |e: std::io::Error| Error::new(Status::Io, format!("{}: {e}", path.display()));
            let mut line = serde_json::to_vec(&record).map_err(|e| failed(e.into()))?;
            line.push(b'\n');
            // One write: a line is there wholly or is the last.
            file.write_all(&line).map_err(failed)?;
        }
        self.known.insert(key, outcome);
        Ok(())
    }
}

/// 64 bits of SHA-256, in hexadecimal.
pub fn digest(text: &str) -> String {
    short(Sha256::new_with_prefix(text))
}

/// The same of a file's content.
pub fn fingerprint(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hash))
        .map_err(|e| Error::new(Status::Io, format!("cannot read {}: {e}", path.display())))?;
    Ok(short(hash))
}

fn short(hash: Sha256) -> String {
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
