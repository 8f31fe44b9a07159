//! What many outcomes come to: a row a task and setting, and the table of a paper.

use super::Setting;
use super::evaluator::Outcome;
use crate::number;
use serde_json::{Value, json};

/// One task under one setting of one model.
pub struct Cell {
    pub task: String,
    /// `acc_norm` if the task's file asks for it and has it, else `acc`; the score of a summary task is ROUGE-L.
    pub normed: bool,
    pub outcomes: Vec<Outcome>,
}

/// One setting of one model.
pub struct Row {
    pub model: String,
    pub setting: Setting,
    /// Bytes of the model's linears.
    pub linear_bytes: u64,
    /// One a task, in the order of the tasks.
    pub cells: Vec<Cell>,
}

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mean {
    mean: f64,
    stderr: f64,
}

impl Mean {
    /// For outcomes of 0 and 1 the standard error is √(p(1−p)/(n−1)). Of at least one number.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Mean {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let spread = values.map(|x| (x - mean).powi(2)).sum::<f64>();
        Mean { mean, stderr: if n > 1.0 { (spread / (n - 1.0) / n).sqrt() } else { 0.0 } }
    }

    /// In percent.
    fn percent(self) -> String {
        format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * self.stderr)
    }
}

impl Cell {
    fn acc(&self) -> Mean {
        Mean::of(self.outcomes.iter().map(|o| o.acc))
    }

    fn acc_norm(&self) -> Option<Mean> {
        let all = self.outcomes.iter().all(|o| o.acc_norm.is_some());
        all.then(|| Mean::of(self.outcomes.iter().map(|o| o.acc_norm.unwrap_or(0.0))))
    }

    /// The task's own metric.
    fn score(&self) -> (&'static str, Mean) {
        match self.acc_norm() {
            Some(norm) if self.normed => ("acc_norm", norm),
            _ => ("acc", self.acc()),
        }
    }

    /// The keys that one setting of one model is reported with.
    pub fn json(&self) -> Value {
        let (acc, norm) = (self.acc(), self.acc_norm().map(|norm| norm.mean));
        let n = self.outcomes.len();
        let mut row = json!({"task": self.task, "n": n, "acc": acc.mean, "acc_norm": norm, "stderr": acc.stderr});
        let likelihoods: Vec<f64> = self.outcomes.iter().filter_map(|o| o.log_prob).collect();
        if !likelihoods.is_empty() {
            // A target word is one unit, however many tokens it has, as LAMBADA's perplexity is reported.
            row["ppl"] = json!((-likelihoods.iter().sum::<f64>() / likelihoods.len() as f64).exp());
        }
        row
    }

    pub fn text(&self) -> String {
        let row = self.json();
        let number = |key: &str| row[key].as_f64().map_or("-".into(), |x| format!("{x:.4}"));
        let ppl = if row["ppl"].is_null() { String::new() } else { format!("  ppl {}", number("ppl")) };
        format!(
            "{:<20} n {:<5} acc {} ± {}  acc_norm {}{ppl}\n",
            self.task,
            self.outcomes.len(),
            number("acc"),
            number("stderr"),
            number("acc_norm")
        )
    }
}

impl Row {
    /// The measured share of linear weight bytes that sparse tokens read; 1 if there were none.
    fn kept<'a>(&self, cells: impl Iterator<Item = &'a Cell> + Clone) -> f64 {
        let outcomes = cells.flat_map(|cell| &cell.outcomes);
        match outcomes.clone().map(|o| o.sparse_tokens).sum::<u64>() {
            0 => 1.0,
            tokens => {
                let bytes: u64 = outcomes.map(|o| o.sparse_bytes).sum();
                bytes as f64 / (tokens as f64 * self.linear_bytes as f64)
            }
        }
    }

    /// The mean of the tasks' own metrics; tasks are independent, so their variances add.
    fn mean(&self) -> Mean {
        let scores = || self.cells.iter().map(|cell| cell.score().1);
        let n = self.cells.len() as f64;
        Mean {
            mean: scores().map(|s| s.mean).sum::<f64>() / n,
            stderr: scores().map(|s| s.stderr.powi(2)).sum::<f64>().sqrt() / n,
        }
    }

    /// A JSON row a task: the keys of [`Cell::json`], and which model and setting it is, what was read, and the task's
    /// own metric.
    pub fn json(&self) -> Vec<Value> {
        let cells = self.cells.iter().map(|cell| {
            let mut row = cell.json();
            let (metric, score) = cell.score();
            let protocol = (!self.setting.is_dense()).then(|| self.setting.protocol.name());
            row["model"] = json!(self.model);
            row["sparsity"] = json!(number(self.setting.sparsity));
            row["protocol"] = json!(protocol);
            row["kept"] = json!(self.kept(std::iter::once(cell)));
            row["metric"] = json!(metric);
            row["score"] = json!(score.mean);
            row["score_stderr"] = json!(score.stderr);
            row
        });
        cells.collect()
    }

    /// A heading and a line a task.
    pub fn text(&self) -> String {
        let kept = 100.0 * self.kept(self.cells.iter());
        let heading = format!("{}, {}: {kept:.1}% of linear weights read\n", self.model, self.setting.name());
        heading + &self.cells.iter().map(Cell::text).collect::<String>()
    }
}

/// All rows as a Markdown table, in percent.
pub fn markdown(rows: &[Row]) -> String {
    let escaped = |text: &str| text.replace('|', "\\|");
    let Some(first) = rows.first() else { return String::new() };
    let mut text = "| model | setting | kept |".to_string();
    for cell in &first.cells {
        text += &format!(" {} ({}, n {}) |", escaped(&cell.task), cell.score().0, cell.outcomes.len());
    }
    text += &format!(" mean |\n| --- | --- |{}\n", " ---: |".repeat(first.cells.len() + 2));
    for row in rows {
        let kept = row.kept(row.cells.iter());
        text += &format!("| {} | {} | {kept:.3} |", escaped(&row.model), row.setting.name());
        for cell in &row.cells {
            text += &format!(" {} |", cell.score().1.percent());
        }
        text += &format!(" {} |\n", row.mean().percent());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Protocol;
    use super::*;

    fn cell(accs: &[f64], norm: Option<f64>) -> Cell {
        let outcome = |&acc: &f64| Outcome { acc, acc_norm: norm, log_prob: None, sparse_tokens: 4, sparse_bytes: 200 };
        Cell { task: "t".into(), normed: true, outcomes: accs.iter().map(outcome).collect() }
    }

    #[test]
    fn the_standard_error_is_the_binomial_one() {
        let row = cell(&[1.0, 1.0, 1.0, 0.0], Some(1.0)).json();
        assert_eq!(row["acc"], 0.75);
        assert!((row["stderr"].as_f64().unwrap() - (0.75f64 * 0.25 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(row.as_object().unwrap().len(), 5);
    }

    #[test]
    fn a_table_has_a_row_a_setting_and_the_mean_of_its_tasks() {
        let setting = Setting { sparsity: 0.5, protocol: Protocol::Paper };
        // The second task has no normed accuracy, so its plain one counts.
        let cells = vec![cell(&[0.0, 0.0], Some(1.0)), cell(&[1.0, 0.0], None)];
        let rows = [Row { model: "a|b".into(), setting, linear_bytes: 100, cells }];
        let table = markdown(&rows);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "| model | setting | kept | t (acc_norm, n 2) | t (acc, n 2) | mean |");
        // √(0.5·0.5/1) = 0.5 of one task, none of the other.
        assert_eq!(lines[2], "| a\\|b | 0.5 paper | 0.500 | 100.0 ± 0.0 | 50.0 ± 50.0 | 75.0 ± 25.0 |");
        assert_eq!(lines[1].matches('|').count(), lines[0].matches('|').count());
    }
}
