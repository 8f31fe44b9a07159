//! Turns a Llama-family checkpoint into one `.rasp` file.

pub mod import;
pub mod tokenizer;
