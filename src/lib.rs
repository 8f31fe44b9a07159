//! rasp: language models inside other people's programs, reading only part of the weights for each token.

// The tests' tiny model says `rasp::`, from inside and from outside of the library.
#[cfg(test)]
extern crate self as rasp;
#[cfg(test)]
#[path = "../tests/support/tiny.rs"]
mod tiny;

mod arena;
pub mod capi;
pub mod constraint;
pub mod error;
mod float_env;
pub mod format;
mod hash;
mod jobs;
mod kept;
pub mod log;
pub mod model;
mod pool;
mod quiet;
#[cfg(feature = "reserve")]
mod reserve;
#[cfg(not(feature = "reserve"))]
#[path = "reserve/absent.rs"]
mod reserve;
pub mod sampling;
pub mod session;
pub mod text;
mod thread;
mod waiting;

pub use error::{Error, Result, Status};
pub use jobs::{HostJobs, RunJob};
pub use model::{LoadOptions, Model};
pub use pool::OwnThreads;
pub use sampling::Sampling;
pub use session::{Session, SessionOptions};

#[cfg(feature = "reserve")]
#[global_allocator]
static ALLOCATOR: reserve::Allocator = reserve::Allocator;
