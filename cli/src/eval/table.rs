//! What many outcomes come to: a row a task and setting, and the table of a paper.

use super::Setting;
use super::evaluator::Outcome;
use crate::number;
use serde::Serialize;
use serde_json::{Value, json};

/// One task under one setting of one model.
pub struct Cell {
    pub task: String,
    /// `acc_norm` if the task's file asks for it and has it, else `acc`; the score of a summary task is ROUGE-L.
    pub normed: bool,
    pub outcomes: Vec<Outcome>,
}

/// One setting of one model.
pub struct TableRow {
    pub model: String,
    pub setting: Setting,
    /// Bytes of the model's linears.
    pub linear_bytes: u64,
    /// One a task, in the order of the tasks.
    pub cells: Vec<Cell>,
}

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    pub mean: f64,
    pub stderr: f64,
}

impl Mean {
    /// For outcomes of 0 and 1 the standard error is √(p(1−p)/(n−1)). Of at least one number.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Mean {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let spread = values.map(|x| (x - mean).powi(2)).sum::<f64>();
        Mean { mean, stderr: if n > 1.0 { (spread / (n - 1.0) / n).sqrt() } else { 0.0 } }
    }

    /// The mean of several, all independent of each other, so that their variances add.
    fn of_independent(means: impl Iterator<Item = Mean> + Clone) -> Mean {
        let n = means.clone().count() as f64;
        Mean {
            mean: means.clone().map(|m| m.mean).sum::<f64>() / n,
            stderr: means.map(|m| m.stderr.powi(2)).sum::<f64>().sqrt() / n,
        }
    }

    /// In percent.
    pub fn percent(self) -> String {
        format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * self.stderr)
    }

    /// A difference in points of percent, with its sign.
    pub fn points(self) -> String {
        format!("{:+.1} ± {:.1}", 100.0 * self.mean, 100.0 * self.stderr)
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

    /// The name of the task's own metric, and what each item scored by it.
    fn scores(&self) -> (&'static str, Vec<f64>) {
        let norms: Option<Vec<f64>> = self.outcomes.iter().map(|o| o.acc_norm).collect();
        match norms {
            Some(norms) if self.normed => ("acc_norm", norms),
            _ => ("acc", self.outcomes.iter().map(|o| o.acc).collect()),
        }
    }

    /// The task's own metric.
    pub fn score(&self) -> (&'static str, Mean) {
        let (metric, scores) = self.scores();
        (metric, Mean::of(scores.iter().copied()))
    }

    /// By how much its score is above that of the dense model on the same items. The error is that of pairs of
    /// outcomes: what both find hard or easy does not count.
    pub fn above(&self, dense: &Cell) -> Mean {
        let ((_, own), (_, dense)) = (self.scores(), dense.scores());
        Mean::of(own.iter().zip(&dense).map(|(own, dense)| own - dense))
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

impl TableRow {
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

    /// The mean of the tasks' own metrics.
    fn mean(&self) -> Mean {
        Mean::of_independent(self.cells.iter().map(|cell| cell.score().1))
    }

    /// By how much that is above the dense model's.
    fn above(&self, dense: &TableRow) -> Mean {
        Mean::of_independent(self.cells.iter().zip(&dense.cells).map(|(own, dense)| own.above(dense)))
    }

    /// The dense row of the same model that a sparse one is held to, if it is among `rows`.
    fn dense<'a>(&self, rows: &'a [TableRow]) -> Option<&'a TableRow> {
        let dense = |row: &&TableRow| row.setting.is_dense() && row.model == self.model;
        if self.setting.is_dense() { None } else { rows.iter().find(dense) }
    }

    /// A JSON row a task: the keys of [`Cell::json`], and which model and setting it is, what was read, the task's own
    /// metric, and by how much that is above the dense model's on the same items, if that is among `rows`.
    pub fn json(&self, rows: &[TableRow]) -> Vec<Value> {
        let dense = self.dense(rows);
        let cells = self.cells.iter().enumerate().map(|(n, cell)| {
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
            let above = dense.map(|dense| cell.above(&dense.cells[n]));
            row["above_dense"] = json!(above.map(|above| above.mean));
            row["above_dense_stderr"] = json!(above.map(|above| above.stderr));
            row
        });
        cells.collect()
    }

    /// A heading and a line a task, with the paired difference from the dense row, if that is among `rows`.
    pub fn text(&self, rows: &[TableRow]) -> String {
        let kept = 100.0 * self.kept(self.cells.iter());
        let mut text = format!("{}, {}: {kept:.1}% of linear weights read\n", self.model, self.setting.name());
        let dense = self.dense(rows);
        for (n, cell) in self.cells.iter().enumerate() {
            text += cell.text().trim_end();
            text +=
                &dense.map_or(String::new(), |dense| format!("  from dense {}", cell.above(&dense.cells[n]).points()));
            text += "\n";
        }
        text += &format!("{:<20} {}", "mean", self.mean().percent());
        text += &dense.map_or(String::new(), |dense| format!("  from dense {}", self.above(dense).points()));
        text + "\n"
    }
}

/// All rows as a Markdown table, in percent; the paired differences from the dense row in brackets.
pub fn markdown(rows: &[TableRow]) -> String {
    let escaped = |text: &str| text.replace('|', "\\|");
    let Some(first) = rows.first() else { return String::new() };
    let mut text = "| model | setting | kept |".to_string();
    for cell in &first.cells {
        text += &format!(" {} ({}, n {}) |", escaped(&cell.task), cell.score().0, cell.outcomes.len());
    }
    text += &format!(" mean |\n| --- | --- |{}\n", " ---: |".repeat(first.cells.len() + 2));
    for row in rows {
        let kept = row.kept(row.cells.iter());
        let dense = row.dense(rows);
        let points = |above: Option<Mean>| above.map_or(String::new(), |above| format!(" ({})", above.points()));
        text += &format!("| {} | {} | {kept:.3} |", escaped(&row.model), row.setting.name());
        for (n, cell) in row.cells.iter().enumerate() {
            let above = dense.map(|dense| cell.above(&dense.cells[n]));
            text += &format!(" {}{} |", cell.score().1.percent(), points(above));
        }
        text += &format!(" {}{} |\n", row.mean().percent(), points(dense.map(|dense| row.above(dense))));
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
        let rows = [TableRow { model: "a|b".into(), setting, linear_bytes: 100, cells }];
        let table = markdown(&rows);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "| model | setting | kept | t (acc_norm, n 2) | t (acc, n 2) | mean |");
        // √(0.5·0.5/1) = 0.5 of one task, none of the other.
        assert_eq!(lines[2], "| a\\|b | 0.5 paper | 0.500 | 100.0 ± 0.0 | 50.0 ± 50.0 | 75.0 ± 25.0 |");
        assert_eq!(lines[1].matches('|').count(), lines[0].matches('|').count());
    }

    #[test]
    fn differences_are_those_of_pairs() {
        let row = |sparsity, accs: [&[f64]; 2]| {
            let setting = Setting { sparsity, protocol: Protocol::Strict };
            TableRow { model: "m".into(), setting, linear_bytes: 100, cells: accs.map(|accs| cell(accs, None)).into() }
        };
        let rows = [row(0.5, [&[1.0, 0.0, 1.0, 0.0], &[0.0, 1.0]]), row(0.0, [&[1.0, 1.0, 1.0, 0.0], &[0.0, 1.0]])];
        // One item of four is lost: −0.25, its variance (3·0.0625 + 0.5625) / 3 = 0.25, hence 0.25 of the mean. Two
        // means that know nothing of each other would have 0.38.
        let above = rows[0].cells[0].above(&rows[1].cells[0]);
        assert!((above.mean + 0.25).abs() < 1e-12 && (above.stderr - 0.25).abs() < 1e-12, "{above:?}");
        let of_means = rows.each_ref().map(|row| row.cells[0].score().1.stderr);
        assert!((of_means[0].powi(2) + of_means[1].powi(2)).sqrt() > 0.38, "{of_means:?}");
        assert_eq!(rows[0].above(&rows[1]), Mean { mean: -0.125, stderr: 0.125 });
        assert_eq!(rows[0].json(&rows)[0]["above_dense"], -0.25);
        assert!(
            rows[1].json(&rows)[0]["above_dense"].is_null() && rows[0].json(&rows[..1])[0]["above_dense"].is_null()
        );
        let table = markdown(&rows);
        assert!(table.contains("| 50.0 ± 28.9 (-25.0 ± 25.0) | 50.0 ± 50.0 (+0.0 ± 0.0) |"), "{table}");
        assert!(rows[0].text(&rows).contains("mean"), "{}", rows[0].text(&rows));
        assert!(rows[0].text(&rows).ends_with("from dense -12.5 ± 12.5\n"), "{}", rows[0].text(&rows));
        // Another model's dense row is nothing to be held to.
        let other = TableRow { model: "n".into(), ..row(0.0, [&[1.0; 4], &[1.0; 2]]) };
        assert!(rows[0].dense(&[other]).is_none());
    }
}
