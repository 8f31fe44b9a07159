//! `rasp eval tasks` with several models and settings, and its work directory.

use super::support::*;
use super::{CHOICES, LAMBADA, XSUM};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

struct Bench {
    dir: tempfile::TempDir,
    files: Vec<PathBuf>,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let files = [("choices.jsonl", CHOICES), ("lambada.jsonl", LAMBADA), ("xsum.jsonl", XSUM)];
        let files = files.map(|(name, content)| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        });
        Bench { files: files.into(), dir }
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    fn journal(&self) -> PathBuf {
        self.work().join("tasks.jsonl")
    }

    /// All tasks, dense and half sparse under two protocols.
    fn eval(&self, models: &[&Path], args: &[&str]) -> Output {
        let mut command = rasp();
        command.args(["eval", "tasks"]).arg(models[0]);
        models[1..].iter().for_each(|model| {
            command.arg("--model").arg(model);
        });
        command.arg("--task").args(&self.files).args(["--sparsity", "0,0.5", "--protocol", "strict,paper"]);
        command.args(args).output().unwrap()
    }

    fn resumed(&self, args: &[&str]) -> Output {
        self.eval(&[model()], &[&["--work", self.work().to_str().unwrap()], args].concat())
    }
}

#[test]
fn many_settings_give_a_row_a_task_each_with_its_own() {
    let bench = Bench::new();
    let (_dir, other, _) = even_model(&["--dtype", "bf16"]);
    let rows = json_of(&bench.eval(&[model(), &other], &["--json"]));
    let rows = rows.as_array().unwrap();
    // Two models, dense and two protocols, three tasks.
    assert_eq!(rows.len(), 2 * 3 * 3);
    let all = "above_dense above_dense_stderr acc acc_norm kept metric model n ppl protocol score score_stderr sparsity stderr task";
    assert_eq!(keys(&rows[1]), all.split(' ').collect::<Vec<_>>());
    for (n, row) in rows.iter().enumerate() {
        let (sparsity, protocol) = [(0.0, None), (0.5, Some("strict")), (0.5, Some("paper"))][n / 3 % 3];
        assert_eq!((row["sparsity"].as_f64(), row["protocol"].as_str()), (Some(sparsity), protocol), "{row}");
        let kept = row["kept"].as_f64().unwrap();
        assert!(if protocol.is_some() { (0.2..0.8).contains(&kept) } else { kept == 1.0 }, "{row}");
        assert_eq!(row["score"], row["acc"], "no task here asks for acc_norm");
        let above = row["above_dense"].as_f64();
        assert_eq!((above.is_some(), row["above_dense_stderr"].is_number()), (protocol.is_some(), protocol.is_some()));
        if let Some(above) = above {
            let dense = &rows[n - n % 9 + n % 3];
            assert!(
                (above - (row["score"].as_f64().unwrap() - dense["score"].as_f64().unwrap())).abs() < 1e-12,
                "{row}"
            );
        }
    }
    // Both files are called tiny.rasp, so they go by their paths.
    assert_ne!(rows[0]["model"], rows[9]["model"]);

    let table = String::from_utf8(bench.eval(&[model()], &["--markdown"]).stdout).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2 + 3, "{table}");
    assert!(lines[0].contains("| choices (acc, n 3) | lambada (acc, n 2) | xsum (acc, n 1) | mean |"), "{table}");
    assert!(
        lines[2].starts_with("| tiny | dense | 1.000 |") && lines[4].starts_with("| tiny | 0.5 paper |"),
        "{table}"
    );

    // One setting alone is reported as ever, and says the same.
    let alone = ["eval", "tasks", model().to_str().unwrap(), "--sparsity", "0.5", "--json", "--task"];
    let alone = json_of(&rasp().args(alone).args(&bench.files).output().unwrap());
    for key in keys(&alone[0]) {
        assert_eq!(alone[0][key], rows[3][key], "{key}");
    }
}

#[test]
fn a_run_that_goes_on_gives_the_rows_of_one_run() {
    let bench = Bench::new();
    let whole = json_of(&bench.eval(&[model()], &["--json"]));
    assert_eq!(json_of(&bench.resumed(&["--json"])), whole);
    let journal = fs::read_to_string(bench.journal()).unwrap();
    let lines: Vec<_> = journal.split_inclusive('\n').collect();
    // Six items; dense once, two protocols.
    assert_eq!(lines.len(), 6 * 3);

    // Stopped in the middle of a line.
    let stop = lines[..7].concat().len();
    fs::write(bench.journal(), &journal[..stop + 20]).unwrap();
    let output = bench.resumed(&["--json"]);
    assert_eq!(json_of(&output), whole);
    assert!(String::from_utf8_lossy(&output.stderr).contains("tasks.jsonl: the last line is not whole"), "{output:?}");
    assert_eq!(fs::read_to_string(bench.journal()).unwrap(), journal);

    // What is there is believed and not computed again.
    let wrong: Vec<String> = lines
        .iter()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["outcome"]["acc"] = 1.into();
            format!("{record}\n")
        })
        .collect();
    fs::write(bench.journal(), wrong.concat()).unwrap();
    let believed = json_of(&bench.resumed(&["--json"]));
    assert!(believed.as_array().unwrap().iter().all(|row| row["acc"] == 1.0), "{believed}");

    // An item that was changed is another item.
    fs::write(&bench.files[1], LAMBADA.replace("once upon a", "twice upon a")).unwrap();
    bench.resumed(&["--json"]);
    assert_eq!(fs::read_to_string(bench.journal()).unwrap().lines().count(), lines.len() + 3);
}

#[test]
fn a_line_of_something_else_is_named() {
    let bench = Bench::new();
    json_of(&bench.resumed(&["--json"]));
    let journal = fs::read_to_string(bench.journal()).unwrap();
    for bad in ["{\"key\": 1}\n", "not json\n", "\n", &journal.lines().next().unwrap().replace("acc_norm", "accnorm")] {
        let bad = format!("{}\n", bad.trim_end());
        let lines: Vec<_> = journal.split_inclusive('\n').collect();
        fs::write(bench.journal(), [&lines[..3].concat(), bad.as_str(), &lines[3..].concat()].concat()).unwrap();
        fails(&bench.resumed(&["--json"]), 1, &["tasks.jsonl", "line 4", "remove the line"]);
    }
}

#[test]
fn wrong_settings_are_refused_before_anything_is_scored() {
    let bench = Bench::new();
    let eval = |args: &[&str]| {
        let all = ["eval", "tasks", model().to_str().unwrap(), "--task", bench.files[0].to_str().unwrap()];
        rasp().args(all).args(args).output().unwrap()
    };
    fails(&eval(&["--sparsity", "0,0.9"]), 1, &["tiny.rasp", "sparsity 0.9", "0 to 0.5"]);
    fails(&eval(&["--sparsity", "0,x"]), 2, &["--sparsity"]);
    fails(&eval(&["--protocol", "strict,loose"]), 2, &["loose"]);
    fails(&eval(&["--json", "--markdown"]), 2, &["--markdown"]);
    fails(&eval(&["--model", "nowhere.rasp"]), 1, &["nowhere.rasp"]);
    let twin = bench.files[0].to_str().unwrap();
    fails(&eval(&["--task", twin]), 1, &["both the task choices"]);
    let file = bench.files[0].to_str().unwrap();
    fails(&eval(&["--work", file]), 1, &["choices.jsonl"]);
    fails(&rasp().args(["eval", "tasks", "--task", twin]).output().unwrap(), 2, &["MODEL"]);
}
