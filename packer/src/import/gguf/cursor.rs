//! Reading little-endian numbers and strings from bytes nobody has checked yet.

use rasp::{Error, Result, Status};

use crate::import::bad;
use std::fmt::Display;

/// A place in a file; every read is checked against the file's end, and errors name the byte.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes from here to the end.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize, what: impl Display) -> Result<&'a [u8]> {
        if len > self.left() {
            return Err(bad(format!(
                "{what} of {len} bytes at byte {} runs past the file's end at {}; the file may be truncated",
                self.at,
                self.bytes.len()
            )));
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: impl Display) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: impl Display) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: impl Display) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of things that take at least `least` bytes each, and of which no model has more than `most`: others
    /// are refused here, before anything is sized by the number.
    pub(super) fn count(&mut self, least: usize, most: u64, what: impl Display) -> Result<usize> {
        let at = self.at;
        let count = self.u64(&what)?;
        if count > most {
            return Err(bad(format!("{what} at byte {at} is {count}, expected at most {most}")));
        }
        match usize::try_from(count) {
            Ok(n) if n <= self.left() / least => Ok(n),
            _ => Err(bad(format!(
                "{what} at byte {at} is {count}, more than the {} bytes that follow can hold; \
                 the file may be truncated",
                self.left()
            ))),
        }
    }

    /// The bytes of a string: a 64-bit length, then that many.
    pub(super) fn string_bytes(&mut self, what: impl Display) -> Result<&'a [u8]> {
        let len = self.count(1, u64::MAX, format_args!("length of {what}"))?;
        self.take(len, what)
    }

    pub(super) fn string(&mut self, what: impl Display) -> Result<&'a str> {
        let at = self.at;
        std::str::from_utf8(self.string_bytes(&what)?)
            .map_err(|e| Error::new(Status::InvalidUtf8, format!("{what} at byte {at} is not UTF-8: {e}")))
    }
}
