//! `rasp eval`: how good the model is at a sparsity.

pub mod evaluator;
pub mod journal;
pub mod measure;
pub mod ppl;
mod rouge;
pub mod table;
mod task_file;
pub mod tasks;

use clap::{Subcommand, ValueEnum};
use rasp::session::Traffic;
use rasp::{Model, Result};

#[derive(Subcommand)]
pub enum Command {
    /// Perplexity of a text
    Ppl(ppl::Args),
    /// Accuracy on tasks in JSON lines
    Tasks(tasks::Args),
}

pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Ppl(args) => ppl::run(args),
        Command::Tasks(args) => tasks::run(args),
    }
}

/// Which tokens of a sequence are sparse. Every prediction is scored under each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// All.
    Strict,
    /// The first ⌊0.9·n⌋ dense, the rest sparse: what the R-Sparse authors' code does.
    Paper,
    /// The prompt dense, what is generated sparse: what users get.
    Decode,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Strict => "strict",
            Protocol::Paper => "paper",
            Protocol::Decode => "decode",
        }
    }

    /// The index of the first sparse token among `len`, of which `prompt` are the prompt.
    pub fn sparse_from(self, len: usize, prompt: usize) -> usize {
        match self {
            Protocol::Strict => 0,
            // ⌊0.9·n⌋ in integers.
            Protocol::Paper => len * 9 / 10,
            Protocol::Decode => prompt,
        }
    }
}

/// A sparsity, and where it applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    pub sparsity: f32,
    pub protocol: Protocol,
}

impl Setting {
    pub fn is_dense(self) -> bool {
        self.sparsity == 0.0
    }

    /// `dense`, or `0.5 strict`.
    pub fn name(self) -> String {
        if self.is_dense() { "dense".into() } else { format!("{} {}", self.sparsity, self.protocol.name()) }
    }

    /// The index of the first sparse token, as of [`Protocol::sparse_from`].
    pub fn sparse_from(self, len: usize, prompt: usize) -> usize {
        if self.is_dense() { len } else { self.protocol.sparse_from(len, prompt) }
    }
}

/// The measured share of linear weight bytes that sparse tokens have read; 1 if there were none.
pub fn kept(traffic: Traffic, model: &Model) -> f64 {
    match traffic.tokens {
        0 => 1.0,
        tokens => traffic.linear_bytes as f64 / (tokens * model.linear_bytes()) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_split_where_method_says() {
        assert_eq!(Protocol::Strict.sparse_from(512, 256), 0);
        assert_eq!(Protocol::Paper.sparse_from(512, 256), 460);
        assert_eq!(Protocol::Paper.sparse_from(10, 3), 9);
        assert_eq!(Protocol::Decode.sparse_from(512, 256), 256);
    }
}
