//! What is still to be done. A case that begins to be read fails the tests until its line here goes.

/// Cases that rasp does not compute yet, and a word of the refusal that says why.
pub const PENDING: &[(&str, &str)] = &[("apertus", "ApertusForCausalLM"), ("olmo_clip", "clip_qkv")];

/// The same by way of GGUF.
pub const PENDING_GGUF: &[(&str, &str)] = &[("apertus", "apertus"), ("olmo_clip", "clamp_kqv")];
