//! Turns a checkpoint into one `.rasp` file: import, split off low ranks, calibrate, write.

mod active;
mod adapter;
mod allocate;
mod block;
mod calibrate;
mod compensate;
mod decompose;
mod disk;
mod fisher;
mod forecast;
mod grid;
mod head_screen;
mod histogram;
pub mod import;
mod litter;
mod measure;
mod nearest;
mod options;
mod pack;
mod plan;
mod progress;
mod quality;
mod quantize;
mod recipe;
mod replace;
mod round;
mod scoring;
mod stage;
mod stages;
#[cfg(test)]
mod test_model;
pub mod tokenizer;
mod work;

pub use adapter::{AdapterSummary, pack_adapter};
pub use allocate::Search;
pub use compensate::Compensation;
pub use grid::Grid;
pub use litter::remove_own_temporary_files;
pub use nearest::nearest_weight_type;
pub use options::PackOptions;
pub use pack::{Level, RecipeUsed, Summary, pack};
pub use plan::{RecipeRequest, Rule};
pub use progress::{Progress, Silent, Stage};
pub use quality::{Cost, Limit};
pub use recipe::{CalibrationText, RecipeSource, known_recipes};

/// By the name that the files of the integration tests know, some of which unit tests share.
#[cfg(test)]
extern crate self as rasp_packer;

/// The example of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
