//! Task files: JSON lines in one of the formats that METHOD lists.

use super::journal::digest;
use rasp::{Error, Result, Status};
use serde::Deserialize;
use std::path::Path;

/// One question.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// Which continuation follows? `(context, continuation)` for each choice; `gold` is the right one.
    Choice { pairs: Vec<(String, String)>, gold: usize },
    /// Does greedy decoding yield the continuation?
    Greedy { context: String, continuation: String },
    /// How close is a greedy summary to this one?
    Summary { prompt: String, summary: String },
}

/// An item and where it came from.
pub struct TaskLine {
    /// Counted from 1.
    pub number: usize,
    /// [`digest`] of the line.
    pub digest: String,
    /// True if the file wants likelihoods divided by length: `"metric": "acc_norm"`.
    pub normed: bool,
    pub item: Item,
}

#[derive(Deserialize)]
struct LineFields {
    context: Option<String>,
    choices: Option<Vec<String>>,
    contexts: Option<Vec<String>>,
    continuation: Option<String>,
    gold: Option<usize>,
    prompt: Option<String>,
    summary: Option<String>,
    metric: Option<String>,
}

/// A task's name: its file's, up to the first dot.
pub fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_string()
}

/// The first `limit` items of a file.
pub fn read(path: &Path, limit: usize) -> Result<Vec<TaskLine>> {
    let text = crate::read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).take(limit);
    let items = lines.map(|(n, line)| {
        let (item, normed) = parse(line).map_err(|m| Error::new(Status::BadFile, m).context(place(path, n + 1)))?;
        Ok(TaskLine { number: n + 1, digest: digest(line.trim()), normed, item })
    });
    let items = items.collect::<Result<Vec<_>>>()?;
    if items.is_empty() {
        return Err(Error::new(Status::BadFile, format!("{} has no items", path.display())));
    }
    Ok(items)
}

/// Where an item stands, for errors.
pub fn place(path: &Path, line: usize) -> String {
    format!("{}, line {line}", path.display())
}

/// The item, and whether its metric is `acc_norm`.
fn parse(line: &str) -> std::result::Result<(Item, bool), String> {
    let fields: LineFields = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let normed = fields.metric.as_deref() == Some("acc_norm");
    Ok((item(fields)?, normed))
}

fn item(fields: LineFields) -> std::result::Result<Item, String> {
    let choice = |pairs: Vec<(String, String)>, gold: Option<usize>| {
        let gold = gold.ok_or("`gold` is missing")?;
        if gold >= pairs.len() {
            return Err(format!("`gold` is {gold} of {} choices", pairs.len()));
        }
        if pairs.iter().any(|(_, continuation)| continuation.trim().is_empty()) {
            return Err("a choice is empty".into());
        }
        Ok(Item::Choice { pairs, gold })
    };
    match fields {
        LineFields { prompt: Some(prompt), summary: Some(summary), .. } => Ok(Item::Summary { prompt, summary }),
        LineFields { contexts: Some(contexts), continuation: Some(end), gold, .. } => {
            choice(contexts.into_iter().map(|context| (context, end.clone())).collect(), gold)
        }
        LineFields { context: Some(context), choices: Some(choices), gold, .. } => match &choices[..] {
            // Nothing to choose from: the question is whether greedy decoding says it.
            [only] if !only.trim().is_empty() => Ok(Item::Greedy { context, continuation: only.clone() }),
            _ => choice(choices.into_iter().map(|c| (context.clone(), c)).collect(), gold),
        },
        _ => Err("neither `context` and `choices`, `contexts` and `continuation`, nor `prompt` and `summary`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_known_by_its_keys() {
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(
            parse(r#"{"context": "Q", "choices": [" a", " b"], "gold": 1, "metric": "acc_norm"}"#).unwrap(),
            (Item::Choice { pairs: vec![pair("Q", " a"), pair("Q", " b")], gold: 1 }, true)
        );
        assert_eq!(
            parse(r#"{"contexts": ["A", "B"], "continuation": " c", "gold": 0}"#).unwrap(),
            (Item::Choice { pairs: vec![pair("A", " c"), pair("B", " c")], gold: 0 }, false)
        );
        assert_eq!(
            parse(r#"{"context": "Q", "choices": [" a"], "gold": 0}"#).unwrap(),
            (Item::Greedy { context: "Q".into(), continuation: " a".into() }, false)
        );
        assert_eq!(
            parse(r#"{"prompt": "P", "summary": "S"}"#).unwrap(),
            (Item::Summary { prompt: "P".into(), summary: "S".into() }, false)
        );
    }

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        for (line, word) in [
            ("{", "EOF"),
            ("{}", "neither"),
            (r#"{"context": "Q", "choices": [" a", " b"]}"#, "`gold` is missing"),
            (r#"{"context": "Q", "choices": [" a", " b"], "gold": 2}"#, "`gold` is 2 of 2"),
            (r#"{"context": "Q", "choices": [" a", " "], "gold": 0}"#, "empty"),
            (r#"{"context": "Q", "choices": [], "gold": 0}"#, "of 0 choices"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn a_task_is_named_by_its_file() {
        assert_eq!(name(Path::new("/data/sciq.dev.jsonl")), "sciq");
        assert_eq!(name(Path::new("arc_easy.jsonl")), "arc_easy");
    }
}
