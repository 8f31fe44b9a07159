//! rasp: language models inside other people's programs, reading only part of the weights for each token.

pub mod error;
pub mod format;

pub use error::{Error, Result, Status};
