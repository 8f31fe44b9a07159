//! The checkpoint importer, through its public interface: well-formed checkpoints of both sources, malformed ones, and
//! one real model.

mod gguf;
mod gguf_bad;
mod hf;
mod hf_bad;
mod real;
mod sources;
mod support;
