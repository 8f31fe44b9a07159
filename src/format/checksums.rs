//! Checksums of a file's tensors and of its header: they find bits that have changed since it was packed.
//!
//! `__metadata__["rasp.xxh64"]` is `header:<16 digits>` and `;<tensor>:<16 digits>` for each tensor but the padding:
//! XXH64 with seed 0, in hexadecimal. The header's is that of its bytes, from the first brace to the last blank, with
//! zeros for the digits of its own.

use super::File;
use crate::hash::{Xxh64, xxh64};
use crate::{Error, Result, Status};

/// The key of the list in the metadata.
pub(super) const KEY: &str = "rasp.xxh64";
const HEADER: &str = "header";
const DIGITS: usize = 16;

/// The list before anything is known: all zeros. `None` if a name has a sign of the list's own, or one that JSON
/// escapes.
pub(super) fn blank<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut list = format!("{HEADER}:{:0DIGITS$}", 0);
    for name in names {
        if name.is_empty() || name == HEADER || !name.bytes().all(|b| b.is_ascii_graphic() && !b";:\"\\".contains(&b)) {
            return None;
        }
        list += &format!(";{name}:{:0DIGITS$}", 0);
    }
    Some(list)
}

/// Where in a header that has this list the digits of its own checksum begin, whatever they are.
fn place(header: &[u8], list: &str) -> Option<usize> {
    let own = list.as_bytes().get(..HEADER.len() + 1 + DIGITS)?;
    let key = [b"\"", KEY.as_bytes(), b"\":\"", own].concat();
    let found = header.windows(key.len()).position(|window| window == key)?;
    Some(found + key.len() - DIGITS)
}

/// Checksums in the making, while a file is written.
pub(super) struct Checksums {
    /// The header, with a blank list at the place.
    header: Vec<u8>,
    /// Where the digits of the header's own begin; `None` in a header without a list.
    own: Option<usize>,
    /// Where the digits of the next tensor begin.
    next: usize,
    /// Of the tensor in hand.
    hash: Option<Xxh64>,
}

impl Checksums {
    /// For a header that has this list, or none.
    pub fn new(header: Vec<u8>, list: Option<&str>) -> Result<Checksums> {
        let missing = || Error::new(Status::Internal, "the header's checksums are not where they belong");
        let own = list.map(|list| place(&header, list).ok_or_else(missing)).transpose()?;
        Ok(Checksums { header, own, next: own.map_or(0, |own| own + DIGITS), hash: None })
    }

    /// A tensor of this name begins.
    pub fn begin(&mut self, name: &str) {
        self.end();
        self.next += name.len() + 2;
        self.hash = self.own.map(|_| Xxh64::new(0));
    }

    /// Bytes of the tensor in hand.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    /// The tensor in hand is whole.
    fn end(&mut self) {
        if let Some(hash) = self.hash.take() {
            self.put(self.next, hash.finish());
            self.next += DIGITS;
        }
    }

    fn put(&mut self, at: usize, hash: u64) {
        let digits = format!("{hash:0DIGITS$x}");
        if let Some(place) = self.header.get_mut(at..at + DIGITS) {
            place.copy_from_slice(digits.as_bytes());
        }
    }

    /// The header with all checksums.
    pub fn header(mut self) -> Vec<u8> {
        self.end();
        if let Some(own) = self.own {
            let hash = xxh64(&self.header, 0);
            self.put(own, hash);
        }
        self.header
    }
}

impl File {
    /// Whether the file has checksums.
    pub fn has_checksums(&self) -> bool {
        self.metadata(KEY).is_some()
    }

    /// Reads all tensors and the header and compares them with their checksums. False if the file has none: those
    /// packed before there were any.
    pub fn verify(&self) -> Result<bool> {
        let Some(list) = self.metadata(KEY) else { return Ok(false) };
        let damaged = |what: &str, found: u64, expected: u64| {
            let message = format_args!("{what} is damaged: its checksum is {found:016x}, not {expected:016x}");
            Err(Error::new(Status::BadFile, message))
        };
        let mut tensors = 0;
        for entry in list.split(';') {
            let (name, expected) = entry
                .split_once(':')
                .and_then(|(name, digits)| {
                    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                    let digits = (digits.len() == DIGITS && digits.bytes().all(is_digit)).then_some(digits)?;
                    Some((name, u64::from_str_radix(digits, 16).ok()?))
                })
                .ok_or_else(|| {
                    Error::new(Status::BadFile, "the header is damaged: its checksums are no list of them")
                })?;
            if name == HEADER {
                let found = self.header_hash(list)?;
                if found != expected {
                    return damaged("the header", found, expected);
                }
                continue;
            }
            tensors += 1;
            let found = xxh64(self.raw(name)?, 0);
            if found != expected {
                return damaged(&format!("tensor {name}"), found, expected);
            }
        }
        let all = self.tensors().count();
        if tensors != all {
            let message = format_args!("the header is damaged: {tensors} checksums for {all} tensors");
            return Err(Error::new(Status::BadFile, message));
        }
        Ok(true)
    }

    /// The hash of the header with zeros for the digits of its own.
    fn header_hash(&self, list: &str) -> Result<u64> {
        let header = self.header();
        let at = place(header, list).ok_or_else(|| {
            Error::new(Status::BadFile, "the header is damaged: its checksums are not where they belong")
        })?;
        let mut hash = Xxh64::new(0);
        hash.update(&header[..at]);
        hash.update(&[b'0'; DIGITS]);
        hash.update(&header[at + DIGITS..]);
        Ok(hash.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bytes, Dtype, TensorSpec, Writer};
    use super::*;

    #[test]
    fn every_bit_that_changes_is_noticed() {
        let path = std::env::temp_dir().join(format!("rasp-checksums-{}", std::process::id()));
        let specs = vec![TensorSpec::new("a", Dtype::U8, &[70]), TensorSpec::new("b.c", Dtype::F32, &[3])];
        let mut writer = Writer::create(&path, &[("rasp.note", "hello".into())], specs).unwrap();
        writer.begin("a").unwrap();
        (0..70u8).for_each(|byte| writer.write(&[byte]).unwrap());
        writer.tensor("b.c", &[9; 12]).unwrap();
        writer.finish().unwrap();
        let good = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let verify = |bytes: &[u8]| File::open(Bytes::copy(bytes)?)?.verify();
        assert_eq!(verify(&good), Ok(true));
        let mut unnoticed = Vec::new();
        let padding =
            |at: usize| good.len() - at <= 64 - 12 || (good.len() - 128 + 70 - 64..good.len() - 64).contains(&at);
        for at in 8..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                // A file whose list has lost its name says that it has none.
                if verify(&bytes) == Ok(true) && !padding(at) {
                    unnoticed.push((at, bit));
                }
            }
        }
        assert_eq!(unnoticed, []);
        assert!(
            verify(&{
                let mut bytes = good.clone();
                let last = bytes.len() - 64 + 2;
                bytes[last] ^= 4;
                bytes
            })
            .unwrap_err()
            .message()
            .contains("tensor b.c is damaged")
        );
    }
}
