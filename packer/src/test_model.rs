//! A tiny model in memory, and a text for it: for tests of gradients.

#[path = "../../tests/support/tiny.rs"]
mod tiny;

use rasp::format::Bytes;
use rasp::model::Block;
use rasp::{LoadOptions, Model};
use std::sync::Arc;
use tiny::Tiny;

pub(crate) const TOKENS: [u32; 12] = [72, 101, 108, 108, 111, 32, 119, 111, 114, 108, 100, 33];

pub(crate) fn model() -> Arc<Model> {
    of(Block::default())
}

/// The same with another decoder block.
pub(crate) fn of(block: Block) -> Arc<Model> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.rasp");
    Tiny::of(block).write(&path);
    let bytes = Bytes::copy(&std::fs::read(&path).unwrap()).unwrap();
    Model::from_bytes(bytes, &LoadOptions::default()).unwrap()
}
