//! `rasp eval tasks`: accuracy on tasks, of several models and settings in one run that can be stopped and goes on.

use super::evaluator::Evaluator;
use super::journal::{self, Journal, Key};
use super::table::{self, Cell, TableRow};
use super::task_file::{self, TaskLine};
use super::{Protocol, Setting};
use crate::progress::Reporter;
use rasp::{Error, Result, Status};
use rasp_packer::Progress;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where dense is among the settings (`--sparsity 0,0.4`), sparse ones are held to it item by item: the difference of
/// each task's own metric and its standard error are those of pairs (`above_dense`, `above_dense_stderr`; in text
/// `from dense`, in points of percent). Under `decode` the first token of a continuation is predicted from the prompt,
/// which is dense: choices of one token come out as in the dense model.
#[derive(clap::Args)]
pub struct Args {
    /// The models
    #[arg(value_name = "MODEL", required_unless_present = "model")]
    models: Vec<PathBuf>,
    /// One more model
    #[arg(long, value_name = "MODEL")]
    model: Vec<PathBuf>,
    /// Task files, JSON lines
    #[arg(long = "task", value_name = "FILE", required = true, num_args = 1..)]
    tasks: Vec<PathBuf>,
    /// Items of each task at most
    #[arg(long, value_name = "N", value_parser = crate::parse_count)]
    limit: Option<usize>,
    /// Sparsities of sparse tokens, with commas between them
    #[arg(long, value_name = "LIST", default_value = "0", value_delimiter = ',', value_parser = crate::parse_sparsity)]
    sparsity: Vec<f32>,
    /// Which tokens are sparse; several with commas between them. Dense runs once
    #[arg(long, value_name = "LIST", default_value = "strict", value_delimiter = ',')]
    protocol: Vec<Protocol>,
    /// Keep finished items here; the same command goes on where it was stopped
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Threads (default: all)
    #[arg(long, value_parser = crate::parse_count)]
    threads: Option<usize>,
    /// Print one JSON list
    #[arg(long)]
    json: bool,
    /// Print a Markdown table: each task's own metric in percent with its standard error, traffic, the mean, and in
    /// brackets the differences from dense
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// One task file.
pub struct Task {
    path: PathBuf,
    name: String,
    lines: Vec<TaskLine>,
}

pub fn run(args: &Args) -> Result<()> {
    let limit = args.limit.unwrap_or(usize::MAX);
    let paths: Vec<&Path> = args.models.iter().chain(&args.model).map(PathBuf::as_path).collect();
    // All files are read before the first item is scored: a typo in the last should not cost an hour.
    let tasks = read(&args.tasks, limit)?;
    let settings = settings(&args.sparsity, &args.protocol);
    for path in &paths {
        let max = crate::load(path)?.max_sparsity();
        if let Some(setting) = settings.iter().find(|setting| setting.sparsity > max) {
            let message = format!("{}: sparsity {}; this file goes from 0 to {max}", path.display(), setting.sparsity);
            return Err(Error::new(Status::OutOfRange, message));
        }
    }
    let mut progress = Reporter::new();
    let mut journal = match &args.work {
        Some(dir) => Journal::open(dir, |line| progress.note(line))?,
        None => Journal::default(),
    };
    let mut rows = Vec::new();
    for path in &paths {
        let packed = crate::cache::packed(path)?;
        let fingerprint = if args.work.is_some() { journal::fingerprint(&packed)? } else { path.display().to_string() };
        let model = crate::load(&packed)?;
        let mut evaluator = Evaluator::new(model.clone(), args.threads.unwrap_or_else(crate::all_threads))?;
        for &setting in &settings {
            evaluator.set(setting)?;
            let label = label(path, &paths);
            let what =
                if paths.len() * settings.len() > 1 { format!("{label} {} ", setting.name()) } else { "".into() };
            let cells = cells(&tasks, &what, &fingerprint, setting, &mut evaluator, &mut journal, &mut progress)?;
            rows.push(TableRow { model: label, setting, linear_bytes: model.linear_bytes(), cells });
        }
    }
    match (&rows[..], args.json, args.markdown) {
        (rows, _, true) => crate::put(&table::markdown(rows)),
        ([row], true, _) => crate::put_json(&Value::Array(row.cells.iter().map(Cell::json).collect())),
        ([row], false, _) => row.cells.iter().try_for_each(|cell| crate::put(&cell.text())),
        (rows, true, _) => crate::put_json(&Value::Array(rows.iter().flat_map(|row| row.json(rows)).collect())),
        (rows, false, _) => rows.iter().try_for_each(|row| crate::put(&row.text(rows))),
    }
}

/// The first `limit` items of each of these files; two of one name are refused.
pub fn read(paths: &[PathBuf], limit: usize) -> Result<Vec<Task>> {
    let tasks = paths
        .iter()
        .map(|path| Ok(Task { path: path.clone(), name: task_file::name(path), lines: task_file::read(path, limit)? }));
    let tasks = tasks.collect::<Result<Vec<_>>>()?;
    no_twins(&tasks)?;
    Ok(tasks)
}

/// What all tasks come to under one setting, which is the evaluator's; outcomes that the journal knows are taken from
/// there, by the model's `fingerprint`. `what` stands before the task's name where progress is shown.
pub fn cells(
    tasks: &[Task],
    what: &str,
    fingerprint: &str,
    setting: Setting,
    evaluator: &mut Evaluator,
    journal: &mut Journal,
    progress: &mut Reporter,
) -> Result<Vec<Cell>> {
    let cell = |task: &Task| {
        let outcomes = score(task, what, fingerprint, setting, evaluator, journal, progress)?;
        Ok(Cell { task: task.name.clone(), normed: task.lines.iter().any(|line| line.normed), outcomes })
    };
    tasks.iter().map(cell).collect()
}

/// Outcomes of all items, those that the journal knows taken from there.
fn score(
    task: &Task,
    what: &str,
    fingerprint: &str,
    setting: Setting,
    evaluator: &mut Evaluator,
    journal: &mut Journal,
    progress: &mut Reporter,
) -> Result<Vec<super::evaluator::Outcome>> {
    let key = |line: &TaskLine| Key::new(fingerprint, &task.name, &line.digest, setting);
    let open = task.lines.iter().filter(|line| journal.get(&key(line)).is_none()).count();
    progress.begin(&format!("{what}{}", task.name), open as u64);
    let mut outcomes = Vec::with_capacity(task.lines.len());
    for line in &task.lines {
        let key = key(line);
        if let Some(outcome) = journal.get(&key) {
            outcomes.push(outcome.clone());
            continue;
        }
        let outcome = evaluator.item(&line.item).map_err(|e| e.context(task_file::place(&task.path, line.number)))?;
        journal.add(key, outcome.clone())?;
        outcomes.push(outcome);
        progress.advance(1);
    }
    progress.end();
    Ok(outcomes)
}

/// Two files of one name would be one task.
fn no_twins(tasks: &[Task]) -> Result<()> {
    for (n, task) in tasks.iter().enumerate() {
        if let Some(twin) = tasks[..n].iter().find(|other| other.name == task.name) {
            let message =
                format!("{} and {} are both the task {}", twin.path.display(), task.path.display(), task.name);
            return Err(Error::new(Status::InvalidArgument, message));
        }
    }
    Ok(())
}

/// Every protocol at every sparsity; dense is the same under all.
fn settings(sparsities: &[f32], protocols: &[Protocol]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for &sparsity in sparsities {
        for &protocol in protocols {
            let setting = Setting { sparsity, protocol };
            if !settings.iter().any(|s| *s == setting || s.is_dense() && setting.is_dense()) {
                settings.push(setting);
            }
        }
    }
    settings
}

/// A model's name in the table: its file's, or its path if another file is called the same.
fn label(path: &Path, all: &[&Path]) -> String {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let twins = all.iter().filter(|other| stem(other) == stem(path)).count() > 1;
    if twins { path.display().to_string() } else { stem(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_runs_once_and_nothing_twice() {
        let names: Vec<_> = settings(&[0.0, 0.5, 0.5, -0.0], &[Protocol::Strict, Protocol::Paper, Protocol::Strict])
            .into_iter()
            .map(Setting::name)
            .collect();
        assert_eq!(names, ["dense", "0.5 strict", "0.5 paper"]);
    }

    #[test]
    fn models_are_named_by_their_files() {
        let paths = ["a/x.rasp", "b/x.rasp", "b/y.rasp"].map(Path::new);
        assert_eq!(paths.map(|path| label(path, &paths)), ["a/x.rasp", "b/x.rasp", "y"]);
    }
}
