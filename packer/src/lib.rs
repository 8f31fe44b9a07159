//! Turns a Llama-family checkpoint into one `.rasp` file: import, split off low ranks, calibrate, write.

mod calibrate;
mod decompose;
mod grid;
mod head_look;
mod histogram;
pub mod import;
mod pack;
mod plan;
mod progress;
mod quantize;
mod round;
mod stage;
pub mod tokenizer;

pub use grid::Grid;
pub use pack::{PackOptions, Rung, Summary, pack};
pub use plan::{RecipeRequest, Rule};
pub use progress::{Progress, Silent};
