//! `rasp report`: one self-contained HTML page that shows what a model's sparsity gives and what it costs.

mod chart;
mod data;
mod html;
mod measure;
mod page;
mod sections;

use crate::{eval, parse_count, say};
use rasp::{Error, Result, Status};
use std::path::PathBuf;

/// The page opens without a network and holds its data as JSON too. Perplexity, the divergence from the dense model and
/// the share of greedy tokens that stay are measured on the text, every token sparse, in windows of 512 tokens; tasks
/// in the same way, beside dense item by item; speed on this machine, all settings in turn, medians of three rounds.
#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file; a GGUF file or a Hugging Face directory is packed first, once, into a cache
    model: PathBuf,
    /// The page
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// A text to measure quality on
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Windows of the text to score at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = parse_count)]
    windows: usize,
    /// Task files of your own, JSON lines as of `rasp eval tasks`
    #[arg(long = "task", value_name = "FILE", num_args = 1..)]
    tasks: Vec<PathBuf>,
    /// Items of each task at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_count)]
    limit: usize,
    /// What the model continues at each setting
    #[arg(long, value_name = "TEXT", default_value = "Once upon a time", allow_hyphen_values = true)]
    prompt: String,
    /// Tokens to generate at each setting
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = parse_count)]
    tokens: usize,
    /// Threads (default: all)
    #[arg(long, value_parser = parse_count)]
    threads: Option<usize>,
    /// Leave out the measurement of speed
    #[arg(long)]
    no_speed: bool,
    /// Print the page's data as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let threads = args.threads.unwrap_or_else(crate::all_threads);
    let path = crate::cache::packed(&args.model)?;
    let model = crate::load(&path)?;
    let mut report = data::Report::of(&model, &path, threads)?;
    let tasks = eval::tasks::read(&args.tasks, args.limit)?;
    measure::texts(&model, &mut report, &args.prompt, args.tokens)?;
    if let Some(path) = &args.text {
        measure::quality(&model, &mut report, path, args.windows)?;
    }
    measure::tasks(&model, &mut report, &tasks)?;
    if !args.no_speed {
        measure::speed(&model, &mut report, args.tokens)?;
    }
    let json = serde_json::to_value(&report)
        .map_err(|e| Error::new(Status::Internal, format!("the report is no JSON: {e}")))?;
    std::fs::write(&args.output, page::page(&report, &json))
        .map_err(|e| Error::new(Status::Io, format!("cannot write {}: {e}", args.output.display())))?;
    say(&format!("wrote {}", args.output.display()));
    if args.json { crate::put_json(&json) } else { Ok(()) }
}
