//! The `.rasp` file: a safetensors file with a known set of tensors (`docs/design.md` lists them).
//!
//! A reader checks every offset, shape, dtype and count before it trusts one of them; what it hands out are
//! [`View`]s, typed windows that keep the mapped file alive.

mod blocks;
mod bytes;
mod checksums;
mod config;
mod foreign;
mod header;
mod reader;
mod recipe;
mod writer;

pub use blocks::{BLOCKS, block, channel_rows};
pub(crate) use bytes::open_file;
pub use bytes::{Bytes, Plain, View};
pub use config::{Config, LinearShape};
pub(crate) use header::header_end;
pub use header::{MAX_HEADER_BYTES, read_header};
pub use reader::File;
pub use recipe::{Allocation, LinearRecipe, Recipe, ScoreKind};
pub use writer::{TensorSpec, Writer};

pub use safetensors::Dtype;

/// The versions this library reads; `__metadata__["rasp.version"]`. Version 3 says what a decoder block computes
/// ([`Config::block`]), which readers of version 2 would pass over; a file of Llama's own block needs none and is of
/// version 2.
pub const FORMAT_VERSIONS: [&str; 2] = ["2", "3"];

/// The versions of adapters' files that this library reads.
pub const ADAPTER_VERSIONS: [&str; 1] = ["1"];

/// Every tensor starts on a multiple of this many bytes from the start of the file.
pub const TENSOR_ALIGNMENT: usize = 64;

/// Keys of `__metadata__`.
pub mod key {
    /// `rasp`, or `rasp-adapter`.
    pub const FORMAT: &str = "format";
    /// One of [`super::FORMAT_VERSIONS`], or of [`super::ADAPTER_VERSIONS`].
    pub const VERSION: &str = "rasp.version";
    /// JSON of [`super::Config`].
    pub const CONFIG: &str = "rasp.config";
    /// JSON of [`super::Recipe`].
    pub const RECIPE: &str = "rasp.recipe";
    /// JSON of the tokenizer's settings.
    pub const TOKENIZER: &str = "rasp.tokenizer";
    /// The model's own Jinja template.
    pub const CHAT_TEMPLATE: &str = "rasp.chat_template";
    /// JSON of [`AdapterConfig`](crate::model::AdapterConfig), in an adapter's file.
    pub const ADAPTER: &str = "rasp.adapter";
}
