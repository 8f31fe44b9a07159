//! What is still to be done. A case that begins to be read fails the tests until its line here goes.

/// Cases that rasp does not compute yet, and a word of the refusal that says why.
pub const PENDING: &[(&str, &str)] = &[];

/// The same by way of GGUF.
pub const PENDING_GGUF: &[(&str, &str)] = &[];
