//! Calls of tools in answers, in the forms that chat templates teach, told from text and thoughts as they come.

mod format;
mod json;
mod literal;
mod reading;
mod reply;
#[cfg(test)]
mod tests;
mod tools;

pub use reading::Call;
pub use reply::{Part, Reply};
