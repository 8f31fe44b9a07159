//! Files that are often given in place of a `.rasp` file, told by how they begin.

use crate::error::bad_file;
use crate::{Error, Status};

/// What to do with a checkpoint.
macro_rules! pack {
    ($what:literal) => {
        concat!($what, ", not a packed model: `rasp pack` makes a .rasp file of it")
    };
}

/// How a file begins, and what it then is.
const KNOWN: [(&[u8], &str); 11] = [
    (b"GGUF", pack!("a GGUF file")),
    (b"FUGG", "a big-endian GGUF file; rasp takes little-endian ones, through `rasp pack`"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for: `git lfs pull` fetches that"),
    (b"lmgg", OLD),
    (b"fmgg", OLD),
    (b"tjgg", OLD),
    (b"PK\x03\x04", "a PyTorch or zip file; `rasp pack` takes safetensors and GGUF"),
    (b"\x1f\x8b", "a gzip file, not a packed model: unpack it first"),
    (b"<!DOCTYPE", PAGE),
    (b"<html", PAGE),
    (b"{", "a JSON file, not a packed model; `rasp pack` takes the folder of a Hugging Face checkpoint"),
];
const OLD: &str = "a file of llama.cpp's from before GGUF: convert it to GGUF, and `rasp pack` that";
const PAGE: &str = "a web page, not a packed model: the download went wrong";

/// The error for a file that begins like one of another kind.
pub(super) fn named(bytes: &[u8]) -> Option<Error> {
    let known = KNOWN.iter().find(|(start, _)| bytes.starts_with(start));
    known.map(|(_, what)| bad_file(*what))
}

/// The error for a safetensors file whose metadata say that it is of this format, or of none.
pub(super) fn other_safetensors(format: Option<&str>) -> Error {
    match format {
        Some("rasp-recipe") => bad_file("a recipe, not a model: `rasp pack --recipe-from` packs with it"),
        Some("rasp-adapter") => bad_file("an adapter, not a model: a session of its model takes it"),
        _ => bad_file(
            "a safetensors file, but not a packed one: `rasp pack` makes a .rasp file of the folder that it lies in",
        ),
    }
}

/// The error for a version of the format that this library does not read; `known` are those it does.
pub(super) fn other_version(version: &str, known: &[&str]) -> Error {
    let number = |text: &str| text.parse::<u32>().ok();
    let newest = known.iter().filter_map(|known| number(known)).max();
    let what = match number(version) {
        Some(version) if Some(version) > newest => "the file is newer than this library: update that",
        Some(_) => "the file is older than this library: pack the model again",
        None => "the file may be damaged",
    };
    let known = known.join(" and ");
    Error::new(
        Status::UnsupportedVersion,
        format_args!("format version {version:?}; this library reads {known}; {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Bytes, File};
    use super::*;

    fn refused(bytes: &[u8]) -> Error {
        File::open(Bytes::copy(bytes).unwrap()).err().unwrap()
    }

    #[test]
    fn files_of_other_kinds_are_named_with_what_to_do() {
        for (bytes, words) in [
            (&b"GGUF\x03\0\0\0\x20\0\0\0\0\0\0\0"[..], ["GGUF", "rasp pack"]),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
                ["Git LFS pointer", "git lfs pull"],
            ),
            (b"tjgg\x01\0\0\0and more", ["before GGUF", "rasp pack"]),
            (b"PK\x03\x04and more", ["PyTorch", "rasp pack"]),
            (b"\x1f\x8b\x08and more", ["gzip", "unpack"]),
            (b"<!DOCTYPE html><html>", ["web page", "download"]),
            (b"{\"architectures\": []}", ["JSON", "folder"]),
        ] {
            let error = refused(bytes);
            assert_eq!(error.status(), Status::BadFile);
            words.iter().for_each(|word| assert!(error.message().contains(word), "{error} lacks {word}"));
        }
    }

    #[test]
    fn safetensors_of_others_and_other_versions_are_told_apart() {
        let file = |metadata: &str| {
            let header = format!("{{\"__metadata__\":{{{metadata}}}}}");
            refused(&[&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat())
        };
        assert!(file(r#""format":"pt""#).message().contains("folder that it lies in"));
        assert!(file(r#""format":"rasp-adapter""#).message().contains("session of its model"));
        assert!(file(r#""format":"rasp-recipe""#).message().contains("--recipe-from"));
        for (version, word) in [("1", "older"), ("4", "newer"), ("x", "damaged")] {
            let error = file(&format!(r#""format":"rasp","rasp.version":"{version}""#));
            assert_eq!(error.status(), Status::UnsupportedVersion);
            assert!(error.message().contains(word) && error.message().contains("reads 2 and 3"), "{error}");
        }
    }
}
