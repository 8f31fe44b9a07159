//! The compiled tokenizer against Hugging Face's `tokenizers`: on real text, on hard text, on random text, and on
//! tables that are broken.

mod broken;
mod charsmap;
mod chat;
mod gguf;
mod inert;
mod patterns;
mod real;
mod refused;
mod support;
