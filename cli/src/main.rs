//! The `rasp` command: pack, run, evaluate, measure, inspect and report on models.
//!
//! With `--json` exactly one JSON value goes to stdout; progress and diagnostics go to stderr always. The exit code is
//! 0 on success, 1 on an error and 2 on a wrong command line.

mod adapter;
mod answer;
mod bench;
mod cache;
mod chat;
mod constraint;
mod doctor;
mod eval;
mod inspect;
mod memory;
mod pack;
mod progress;
mod report;
mod run;
mod sampling;
mod serve;
mod shell;
mod signals;
mod stream;
mod verify;

use clap::{Parser, Subcommand};
use rasp::format::{Bytes, File};
use rasp::session::KvType;
use rasp::{LoadOptions, Model, Result, Status};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Parser)]
#[command(name = "rasp", version, about = "Language models that read only part of their weights for each token")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn a GGUF file or a Hugging Face directory into one .rasp file
    Pack(pack::Args),
    /// Turn a LoRA adapter into one file for sessions of its model
    PackAdapter(adapter::Args),
    /// Answer a question, or continue a text
    Run(run::Args),
    /// Talk with a model
    Chat(chat::Args),
    /// Serve a model over HTTP to programs that speak OpenAI's protocol
    Serve(serve::Args),
    /// Measure quality
    #[command(subcommand)]
    Eval(eval::Command),
    /// Measure speed beside the memory bandwidth of the same run
    Bench(bench::Args),
    /// Show what a .rasp file holds
    Inspect(inspect::Args),
    /// Say what a file is, what this machine can do with it, and which settings to use
    Doctor(doctor::Args),
    /// Read all of a .rasp file and compare it with its checksums
    Verify(verify::Args),
    /// Write a page that shows quality, traffic, speed and texts at every sparsity
    Report(report::Args),
    /// Write what a shell needs to complete this command's words
    Completions(shell::Completions),
    /// Write the manual pages
    #[command(hide = true)]
    Man(shell::Pages),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Pack(args) => pack::run(&args),
        Command::PackAdapter(args) => adapter::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Serve(args) => serve::run(args),
        Command::Eval(command) => eval::run(&command),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::pages(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has enough.
        Err(error) if error.status() == Status::Io && error.message() == BROKEN_PIPE => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("rasp: {error}"));
            ExitCode::FAILURE
        }
    }
}

const BROKEN_PIPE: &str = "stdout is closed";

/// Writes to stdout at once; a reader that has gone ends the command quietly.
fn put(text: &str) -> Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|e| {
        let closed = e.kind() == std::io::ErrorKind::BrokenPipe;
        let message = if closed { BROKEN_PIPE.into() } else { format!("cannot write to stdout: {e}") };
        rasp::Error::new(Status::Io, message)
    })
}

/// A line on stderr. That nobody can read it any more is no reason to stop.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Seconds since 1970, if the clock says so.
fn now() -> Option<u64> {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// One JSON value on stdout.
fn put_json(value: &serde_json::Value) -> Result<()> {
    put(&format!("{value}\n"))
}

/// The model in a file, or of a checkpoint.
fn load(path: &Path) -> Result<Arc<Model>> {
    Model::load(&cache::packed(path)?, &LoadOptions::default())
}

/// A packed file, for what is in it beside the model.
fn open(path: &Path) -> Result<File> {
    Bytes::map(path).and_then(File::open).map_err(|e| e.context(path.display()))
}

/// What the machine runs at once.
fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|e| rasp::Error::new(Status::Io, format!("cannot read {}: {e}", path.display())))
}

/// The element type of the KV cache.
fn parse_kv(text: &str) -> Result<KvType, String> {
    KvType::ALL.into_iter().find(|kv| kv.name() == text).ok_or_else(|| "one of f16, f32, i8".into())
}

/// A sparsity on the command line.
fn parse_sparsity(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(s) if (0.0..1.0).contains(&s) => Ok(s),
        _ => Err("a sparsity is a number from 0 to below 1".into()),
    }
}

/// How many of something on the command line.
fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("must be a whole number, at least 1".into()),
    }
}

/// Where sessions start, and why: `sessions start at sparsity 0.35, the sparsest within 2%`. `quality` is a share: 0.02.
fn session_start(sparsity: f32, quality: Option<f32>) -> String {
    // As its user wrote it: 2, not 1.9999999.
    let most = quality.map(|share| (share * 1e5).round() / 1e3);
    match (sparsity, most) {
        (0.0, Some(most)) => format!("sessions start dense: no setting is within {most}%"),
        (0.0, None) => "sessions start dense: it was packed without --quality".into(),
        (sparsity, Some(most)) => format!("sessions start at sparsity {sparsity}, the sparsest within {most}%"),
        (sparsity, None) => format!("sessions start at sparsity {sparsity}"),
    }
}

/// An f32 as the decimal its user wrote: 0.3, not 0.30000001192092896.
fn number(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}
