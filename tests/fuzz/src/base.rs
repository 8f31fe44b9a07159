//! The files that fuzzing starts from, and what a file is taken apart into and put together from.

use rasp::capi::*;
use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr::null_mut;

/// A file that `base.py` has made.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("RASP_FUZZ_BASE").expect("RASP_FUZZ_BASE is set")).join(name)
}

pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect("base.py has made it")
}

/// Numbers taken from an input one after the other; zeros where it has ended.
pub struct Source<'a>(pub &'a [u8]);

impl Source<'_> {
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let n = self.0.len().min(N);
        bytes[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        bytes
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    pub fn short(&mut self) -> usize {
        u16::from_le_bytes(self.bytes()).into()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes at an address that is a multiple of 64, in an allocation of just their size at its end.
pub struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    /// The pieces one after the other. The end of the allocation is the end of the bytes, so that AddressSanitizer sees
    /// a read beyond it.
    pub fn new(pieces: &[&[u8]]) -> Aligned {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut bytes: Vec<u8> = Vec::with_capacity(len + 64);
        let start = bytes.as_ptr().addr().next_multiple_of(64) - bytes.as_ptr().addr();
        bytes.resize(start, 0);
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        Aligned { bytes, start }
    }

    pub fn get(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

pub fn error() -> rasp_error {
    rasp_error { code: 0, message: [0; 252] }
}

pub fn words(error: &rasp_error) -> String {
    let bytes: Vec<u8> = error.message.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8(bytes).expect("an error's words are UTF-8")
}

/// The status, unless it is that of a defect.
#[track_caller]
pub fn sound(status: rasp_status, error: &rasp_error) -> rasp_status {
    assert_ne!(status, -15, "INTERNAL: {}", words(error));
    status
}

/// A loaded model, or null. The bytes outlive it.
pub fn load(bytes: &[u8], verify: bool) -> *mut rasp_model {
    let (mut model, mut error) = (null_mut(), error());
    // SAFETY: places of our own; the bytes stay until the caller has freed the model.
    unsafe {
        let mut options: rasp_load_options = std::mem::zeroed();
        rasp_load_options_init(&mut options);
        options.verify = verify.into();
        let status = rasp_load_bytes(bytes.as_ptr().cast::<c_void>(), bytes.len(), &options, &mut model, &mut error);
        assert_eq!(sound(status, &error) == 0, !model.is_null());
    }
    model
}
