//! The command's contract on a tiny model: the keys of its JSON, what a protocol does, and what it says of bad input.

mod adapters;
mod bos;
mod report;
mod support;
mod tasks;

use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use support::*;

/// A file that lives as long as the test.
fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn text() -> String {
    "Eight owls sat on a fence and counted the moon's craters twice. ".repeat(10)
}

fn ppl(args: &[&str]) -> Value {
    let (_dir, path) = file("text.txt", &text());
    let mut all = vec!["--text", path.to_str().unwrap(), "--json"];
    if !args.contains(&"--ctx") {
        all.extend(["--ctx", "64"]);
    }
    all.extend(args);
    json_of(&run(&["eval", "ppl"], &all))
}

#[test]
fn ppl_has_exactly_the_keys_of_the_contract() {
    let dense = ppl(&[]);
    let all = "adapters bos ctx from kept nll ppl protocol sparse sparsity tokens windows";
    assert_eq!(keys(&dense), all.split(' ').collect::<Vec<_>>());
    assert!(dense["sparse"].is_null(), "nothing is sparse: {dense}");
    let sparse = &ppl(&["--sparsity", "0.5"])["sparse"];
    assert_eq!(keys(sparse), ["dense_ppl", "kl", "loss", "ppl", "same_greedy", "tokens"]);
    // 640 bytes are 640 tokens.
    assert_eq!((&dense["windows"], &dense["tokens"], &dense["ctx"]), (&json!(10), &json!(630), &json!(64)));
    assert_eq!((&dense["kept"], &dense["sparsity"]), (&json!(1.0), &json!(0.0)));
    let (ppl, nll) = (dense["ppl"].as_f64().unwrap(), dense["nll"].as_f64().unwrap());
    assert!((ppl - nll.exp()).abs() < 1e-9 && (100.0..600.0).contains(&ppl), "{dense}");
    assert_eq!((&dense["bos"], &dense["from"]), (&json!(false), &json!(1)));
}

#[test]
fn windows_may_be_scored_in_part() {
    let dense = ppl(&[]);
    let late = ppl(&["--from", "33"]);
    assert_eq!((&late["tokens"], &late["windows"], &late["from"]), (&json!(310), &dense["windows"], &json!(33)));
    assert_eq!(ppl(&["--no-bos"])["ppl"], dense["ppl"]);
}

#[test]
fn protocols_differ_in_what_is_sparse_and_not_in_what_is_scored() {
    let dense = ppl(&["--windows", "3"]);
    let [strict, paper, decode] =
        ["strict", "paper", "decode"].map(|p| ppl(&["--windows", "3", "--sparsity", "0.5", "--protocol", p]));
    for (result, name) in [(&strict, "strict"), (&paper, "paper"), (&decode, "decode")] {
        assert_eq!((&result["tokens"], &result["protocol"]), (&dense["tokens"], &json!(name)));
        assert_eq!(result["sparsity"], 0.5);
        let kept = result["kept"].as_f64().unwrap();
        assert!((0.35..0.65).contains(&kept), "{result}");
    }
    let off = |result: &Value| (result["nll"].as_f64().unwrap() - dense["nll"].as_f64().unwrap()).abs();
    assert!(off(&strict) > 0.0 && off(&paper) > 0.0 && off(&decode) > 0.0);
    // The fewer tokens are sparse, the nearer the dense model: of all windows' divergence, for losses have signs and on
    // random weights cancel.
    let kl = |result: &Value| result["sparse"]["kl"].as_f64().unwrap() * result["sparse"]["tokens"].as_f64().unwrap();
    assert!(kl(&paper) < kl(&decode) && kl(&decode) < kl(&strict), "{paper} {decode} {strict}");
    // At no sparsity every protocol is the dense model.
    assert_eq!(ppl(&["--windows", "3", "--protocol", "decode"])["nll"], dense["nll"]);
}

#[test]
fn sparse_has_the_predictions_of_sparse_tokens_and_no_others() {
    let near = |a: &Value, b: f64| (a.as_f64().unwrap() - b).abs() < 1e-9 * b.abs().max(1.0);
    // The first token of a window is dense in this file; a window of 64 has a prompt of 32, and 57 dense under `paper`.
    for (protocol, first) in [("strict", 1), ("decode", 32), ("paper", 57)] {
        let args = ["--sparsity", "0.5", "--protocol", protocol];
        let whole = ppl(&args);
        let sparse = &whole["sparse"];
        assert_eq!(sparse["tokens"], 10 * (63 - first), "{whole}");
        // What the first sparse token predicts stands one place behind it: the same positions, scored alone.
        let from = (first + 1).to_string();
        let (own, dense) = (ppl(&[&args[..], &["--from", &from]].concat()), ppl(&["--from", &from]));
        assert!(near(&sparse["ppl"], own["ppl"].as_f64().unwrap()), "{whole} {own}");
        assert!(near(&sparse["dense_ppl"], dense["ppl"].as_f64().unwrap()), "{whole} {dense}");
        let loss = own["ppl"].as_f64().unwrap() / dense["ppl"].as_f64().unwrap() - 1.0;
        assert!(near(&sparse["loss"], loss) && loss != 0.0, "{whole}");
        assert_eq!(&own["sparse"], sparse, "--from leaves out dense predictions alone");
        let (kl, same) = (sparse["kl"].as_f64().unwrap(), sparse["same_greedy"].as_f64().unwrap());
        assert!(kl > 0.0 && (0.0..1.0).contains(&same), "{whole}");
        // The rest is the dense model's.
        let dense = ppl(&[])["nll"].as_f64().unwrap() * 630.0;
        let tokens = sparse["tokens"].as_f64().unwrap();
        let rest = dense - tokens * sparse["dense_ppl"].as_f64().unwrap().ln();
        let all = rest + tokens * sparse["ppl"].as_f64().unwrap().ln();
        assert!(near(&whole["nll"], all / 630.0), "{whole}");
        let later = &ppl(&[&args[..], &["--from", "60"]].concat())["sparse"];
        assert_eq!(later["tokens"], 40);
    }
    // A window of two tokens has one prediction, of a token that is always dense.
    assert!(ppl(&["--sparsity", "0.5", "--ctx", "2"])["sparse"].is_null());
    let (_dir, path) = file("text.txt", &text());
    let text = ["--text", path.to_str().unwrap(), "--ctx", "64", "--sparsity", "0.5", "--protocol", "decode"];
    let words = String::from_utf8(run(&["eval", "ppl"], &text).stdout).unwrap();
    for word in
        ["sparse tokens (310)", "at the same positions", "KL divergence", "greedy tokens the same", "all predictions"]
    {
        assert!(words.contains(word), "no {word:?} in: {words}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let args = ["--windows", "2", "--sparsity", "0.4"];
    let nll = |threads| ppl(&[&args[..], &["--threads", threads]].concat())["nll"].clone();
    assert_eq!(nll("1"), nll("2"));
}

#[test]
fn ppl_of_wrong_input_says_what_is_wrong() {
    let (_dir, path) = file("short.txt", "twenty-one characters");
    let path = path.to_str().unwrap();
    let eval = |args: &[&str]| run(&["eval", "ppl"], args);
    fails(&eval(&["--text", path, "--ctx", "64"]), 1, &["short.txt", "21 tokens", "64"]);
    fails(&eval(&["--text", path, "--ctx", "8", "--sparsity", "0.6"]), 1, &["sparsity 0.6", "0 to 0.5"]);
    fails(&eval(&["--text", path, "--ctx", "1"]), 1, &["--ctx"]);
    fails(&eval(&["--text", path, "--ctx", "8", "--bos"]), 1, &["--bos", "no token"]);
    fails(&eval(&["--text", path, "--ctx", "8", "--from", "8"]), 1, &["--from 8", "0 to 7"]);
    fails(&eval(&["--text", path, "--from", "0"]), 2, &["--from"]);
    fails(&eval(&["--text", "nowhere.txt"]), 1, &["nowhere.txt"]);
    fails(&eval(&["--text", path, "--sparsity", "1.5"]), 2, &["--sparsity", "1.5"]);
    fails(&eval(&["--text", path, "--sparsity", "NaN"]), 2, &["--sparsity"]);
    fails(&eval(&["--text", path, "--protocol", "loose"]), 2, &["loose"]);
    fails(&eval(&["--text", path, "--windows", "0"]), 2, &["--windows"]);
    fails(&eval(&["--text", path, "--threads", "0"]), 2, &["--threads"]);
    fails(&eval(&["--text", path, "--ctx", "8", "--threads", "1000"]), 1, &["1000 threads"]);
    fails(&eval(&[]), 2, &["--text"]);
    let (_dir, binary) = file("latin1.txt", "");
    fs::write(&binary, b"caf\xe9").unwrap();
    fails(&eval(&["--text", binary.to_str().unwrap()]), 1, &["latin1.txt", "UTF-8"]);
}

#[test]
fn a_file_that_is_no_model_is_named() {
    let (_dir, path) = file("hello.rasp", "this is no model");
    for command in [vec!["inspect"], vec!["bench"], vec!["run", "-p", "x"], vec!["eval", "ppl", "--text", "x"]] {
        let on = |model: &str| rasp().args(&command).arg(model).output().unwrap();
        fails(&on("nowhere.rasp"), 1, &["nowhere.rasp"]);
        fails(&on(path.to_str().unwrap()), 1, &["hello.rasp"]);
    }
}

const CHOICES: &str = r#"{"context": "Two and two", "choices": [" are four", " is five", " make"], "gold": 0, "metric": "acc"}
{"context": "Water ", "choices": [" is dry", " is wet"], "gold": 1, "metric": "acc"}

{"contexts": ["The cat saw that the cat", "The cat saw that the dog"], "continuation": " slept.", "gold": 0}
"#;
const LAMBADA: &str = r#"{"context": "and they lived happily ever", "choices": [" after"], "gold": 0, "metric": "lambada"}
{"context": "once upon a", "choices": [" time"], "gold": 0, "metric": "lambada"}
"#;
const XSUM: &str = r#"{"prompt": "Owls sat.\nSummarize.\n", "summary": "Owls sat."}
"#;

#[test]
fn tasks_give_a_row_each_in_order() {
    let (dir, choices) = file("choices.dev.jsonl", CHOICES);
    for (name, content) in [("lambada.dev.jsonl", LAMBADA), ("xsum.jsonl", XSUM)] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (choices, lambada, xsum) = (choices.to_str().unwrap(), at("lambada.dev.jsonl"), at("xsum.jsonl"));
    for protocol in ["strict", "paper", "decode"] {
        for sparsity in ["0", "0.5"] {
            let args = ["--task", &lambada, choices, "--task", &xsum, "--protocol", protocol, "--sparsity", sparsity];
            let rows = json_of(&run(&["eval", "tasks"], &[&args[..], &["--json"]].concat()));
            let names: Vec<_> = rows.as_array().unwrap().iter().map(|r| (&r["task"], &r["n"])).collect();
            let expected = [(json!("lambada"), json!(2)), (json!("choices"), json!(3)), (json!("xsum"), json!(1))];
            assert_eq!(names, expected.each_ref().map(|(task, n)| (task, n)));
            assert_eq!(keys(&rows[0]), ["acc", "acc_norm", "n", "ppl", "stderr", "task"]);
            assert_eq!(keys(&rows[1]), ["acc", "acc_norm", "n", "stderr", "task"]);
            assert_eq!(keys(&rows[2]), ["acc", "acc_norm", "n", "stderr", "task"]);
            assert!(rows[0]["acc_norm"].is_null() && rows[1]["acc_norm"].is_number(), "{rows}");
            assert!(rows[0]["ppl"].as_f64().unwrap() > 1.0, "{rows}");
        }
    }
    let limited = json_of(&run(&["eval", "tasks"], &["--task", choices, "--limit", "1", "--json"]));
    assert_eq!(limited[0]["n"], 1);
    let readable = run(&["eval", "tasks"], &["--task", &lambada]);
    assert!(String::from_utf8(readable.stdout).unwrap().starts_with("lambada"));
}

#[test]
fn a_long_sequence_loses_its_beginning() {
    let context = "a".repeat(2 * CONTEXT);
    let ppl_of = |context: &str| {
        let (_dir, path) = file("t.jsonl", &json!({"context": context, "choices": [" b"], "gold": 0}).to_string());
        json_of(&run(&["eval", "tasks"], &["--task", path.to_str().unwrap(), "--json"]))[0]["ppl"].clone()
    };
    // The last tokens are the same, so the figure is.
    assert_eq!(ppl_of(&context), ppl_of(&"a".repeat(CONTEXT - 2)));
    // Of a continuation that leaves its context no room nothing can be said.
    let line = json!({"context": "a", "choices": ["b".repeat(CONTEXT)], "gold": 0});
    let (_dir, path) = file("t.jsonl", &line.to_string());
    fails(&run(&["eval", "tasks"], &["--task", path.to_str().unwrap()]), 1, &["t.jsonl", "line 1", "context"]);
}

#[test]
fn a_wrong_item_is_named_by_file_and_line() {
    for (content, words) in [
        (format!("{CHOICES}not json\n"), &["bad.jsonl", "line 5"][..]),
        (format!("{CHOICES}{{\"context\": \"x\"}}\n"), &["bad.jsonl", "line 5", "choices"]),
        (r#"{"context": "Q", "choices": [" a", " b"], "gold": 2}"#.into(), &["bad.jsonl", "line 1", "gold"]),
        (r#"{"context": "", "choices": [" a", " b"], "gold": 0}"#.into(), &["bad.jsonl", "line 1", "context"]),
        (String::new(), &["bad.jsonl", "no items"]),
    ] {
        let (_dir, path) = file("bad.jsonl", &content);
        fails(&run(&["eval", "tasks"], &["--task", path.to_str().unwrap(), "--json"]), 1, words);
    }
    fails(&run(&["eval", "tasks"], &["--task", "nowhere.jsonl"]), 1, &["nowhere.jsonl"]);
    fails(&run(&["eval", "tasks"], &[]), 2, &["--task"]);
}

#[test]
fn bench_reports_medians_with_their_spread() {
    let args = ["--prompt", "8", "-n", "8", "--rounds", "2", "--sparsity", "0,0.3,0.5", "--threads", "2", "--json"];
    let result = json_of(&run(&["bench"], &args));
    for key in ["stream_gb_s", "stream_gb_s_min", "stream_gb_s_max", "threads", "results"] {
        assert!(keys(&result).contains(&key), "{result}");
    }
    let rows = result["results"].as_array().unwrap();
    assert_eq!(rows.iter().map(|r| r["sparsity"].as_f64().unwrap()).collect::<Vec<_>>(), [0.0, 0.3, 0.5]);
    for (row, level) in rows.iter().zip([0.0, 0.3, 0.5]) {
        for key in ["decode_tok_s", "prefill_tok_s", "gb_s"] {
            let number = |suffix: &str| row[format!("{key}{suffix}")].as_f64().unwrap();
            assert!(0.0 < number("_min") && number("_min") <= number("") && number("") <= number("_max"), "{row}");
        }
        let (kept, bytes) = (row["kept"].as_f64().unwrap(), row["bytes_per_token"].as_f64().unwrap());
        // Of the head a greedy token reads the 8-bit copy and then a few rows, or all of it where they would be many.
        let inspected = json_of(&run(&["inspect"], &["--json"]));
        let size = |key: &str| inspected["bytes"][key].as_f64().unwrap();
        let head = bytes - kept * size("linears");
        assert!(size("greedy_head") < head && head < size("greedy_head") + size("head") + 1.0, "{row}");
        assert!(if level == 0.0 { kept == 1.0 } else { (0.2..0.95).contains(&kept) }, "{row}");
    }
    // By default dense and what the file's levels reach.
    let result = json_of(&run(&["bench"], &["--prompt", "4", "-n", "2", "--rounds", "1", "--json"]));
    assert_eq!(result["results"].as_array().unwrap().len(), 3);
    // Each of the two models has a constraint of its own.
    let form = ["--regex", "[ab]{3}", "--large-pages", "--sparsity", "0"];
    let result =
        json_of(&run(&["bench"], &[&["--prompt", "4", "-n", "9", "--rounds", "1", "--json"][..], &form].concat()));
    assert_eq!(result["results"].as_array().unwrap().len(), 2);
    fails(&run(&["bench"], &["--prompt", "8", "--sparsity", "0,0.9"]), 1, &["sparsity 0.9"]);
    fails(&run(&["bench"], &["--prompt", "100000"]), 1, &["100065", "160"]);
    fails(&run(&["bench"], &["--rounds", "0"]), 2, &["--rounds"]);
}

#[test]
fn inspect_accounts_for_every_byte() {
    let result = json_of(&run(&["inspect"], &["--json", "--verify"]));
    assert_eq!((&result["architecture"], &result["dtype"]), (&json!("llama"), &json!("bf16")));
    assert_eq!(result["sparsity"], json!([0.3, 0.5]));
    let linears = result["linears"].as_array().unwrap();
    assert_eq!(linears.len(), 14);
    assert_eq!(keys(&linears[0]), ["in", "kept", "name", "out", "rank", "rho", "thresholds"]);
    assert_eq!(
        (&linears[6]["name"], &linears[6]["in"], &linears[6]["out"]),
        (&"layers.0.down".into(), &64.into(), &32.into())
    );
    // 258·32 of embedding, 2 layers of 2 norms, q, k, v, o and three of the MLP, and a norm.
    assert_eq!(result["parameters"], 258 * 32 + 2 * (2 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 64) + 32);
    let bytes = &result["bytes"];
    let parts = keys(bytes).into_iter().filter(|k| !["file", "greedy_head"].contains(k));
    let sum: u64 = parts.map(|k| bytes[k].as_u64().unwrap()).sum();
    assert_eq!(bytes["greedy_head"], bytes["head_screen"]);
    // The head is the embedding: counted twice in this sum.
    assert_eq!(sum - bytes["head"].as_u64().unwrap(), bytes["file"].as_u64().unwrap(), "{bytes}");
    assert_eq!(result["bits_per_weight"], 16.0);
    let readable = String::from_utf8(run(&["inspect"], &[]).stdout).unwrap();
    assert!(readable.contains("sparsity 0.5") && readable.contains("gate 32→64"), "{readable}");
}

#[test]
fn inspect_tells_how_much_is_read_of_up_by_outputs() {
    let pack = |args: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        checkpoint(dir.path(), HEADS);
        let config = fs::read_to_string(dir.path().join("config.json")).unwrap();
        fs::write(dir.path().join("config.json"), config.replace("silu", "relu")).unwrap();
        let (path, _) = support::pack(dir.path(), &[&["--tune", "0", "--dtype", "q4"], args].concat());
        let inspect = |args: &[&str]| rasp().arg("inspect").arg(&path).args(args).output().unwrap();
        (json_of(&inspect(&["--json"])), String::from_utf8(inspect(&[]).stdout).unwrap())
    };
    let [(by_outputs, words), (by_inputs, others)] = [&[][..], &["--up-by-inputs"]].map(pack);
    // `up` has 8 bits by outputs, which makes it no more parameters.
    assert_eq!(by_outputs["parameters"], by_inputs["parameters"]);
    let shares = by_outputs["up_read"].as_array().unwrap();
    assert!(
        shares.len() == 2 && shares.iter().all(|share| (0.1..0.9).contains(&share.as_f64().unwrap())),
        "{shares:?}"
    );
    assert_eq!((by_outputs["linears"].as_array().unwrap().len(), &by_inputs["up_read"]), (12, &json!([])));
    assert!(words.contains("up 32→64, read where its gate is not zero: ") && !others.contains("by outputs"), "{words}");
}

#[test]
fn a_quality_is_asked_for_in_the_unit_one_likes() {
    // A text of which a part can be held back: nothing is measured on less.
    let pack = |quality: &str| {
        let dir = tempfile::tempdir().unwrap();
        checkpoint(dir.path(), KV_HEADS);
        fs::write(dir.path().join("long.txt"), text().repeat(2)).unwrap();
        let args = ["pack", "--tune", "0", "--dtype", "bf16", "--sparsity", "0.3,0.5", "--quality", quality, "--calib"];
        let mut command = rasp();
        command.args(args).arg(dir.path().join("long.txt")).arg(dir.path()).arg("-o").arg(dir.path().join("tiny.rasp"));
        (command.output().unwrap(), command.arg("--json").output().unwrap())
    };
    let (words, summary) = pack("kl:1000");
    let (words, summary) = (String::from_utf8(words.stdout).unwrap(), json_of(&summary));
    assert_eq!((&summary["default_sparsity"], &summary["quality"]), (&json!(0.5), &Value::Null));
    for level in summary["levels"].as_array().unwrap() {
        let number = |key: &str| level[key].as_f64().unwrap();
        assert!(number("kl") > 0.0 && (0.0..=1.0).contains(&number("same_greedy")), "{level}");
        assert!(words.contains(&format!("{:.4}", number("kl"))), "{words}");
    }
    assert!(words.contains("sparsity 0.5, the sparsest with a KL divergence of 1000 nats a token"), "{words}");
    let words = String::from_utf8(pack("same:100").0.stdout).unwrap();
    assert!(words.contains("sessions start") && words.contains("100.0% of greedy tokens the same"), "{words}");
    assert_eq!(json_of(&pack("100000%").1)["quality"], 1000.0);
    fails(&pack("nats:1").0, 2, &["--quality", "kl:0.02"]);
}

#[test]
fn whole_numbers_are_packed_inspected_and_run() {
    let (_dir, text) = file("text.txt", &text());
    let nll = |model: &Path, sparsity: &str| {
        let args =
            ["--text", text.to_str().unwrap(), "--ctx", "64", "--windows", "2", "--sparsity", sparsity, "--json"];
        let result = json_of(&rasp().args(["eval", "ppl"]).arg(model).args(args).output().unwrap());
        (result["nll"].as_f64().unwrap(), result["kept"].as_f64().unwrap())
    };
    let (_dir, exact, _) = even_model(&["--dtype", "bf16"]);
    for (dtype, bits, allowed) in [("q8", 8.5, 0.02), ("q4", 5.0, 0.2)] {
        let (_dir, path, summary) = even_model(&["--dtype", dtype, "--skip-short-rows"]);
        let output = rasp().arg("inspect").arg(&path).args(["--json", "--verify"]).output().unwrap();
        let result = json_of(&output);
        assert_eq!((&result["dtype"], &result["bits_per_weight"]), (&json!(dtype), &json!(bits)));
        // Scales and minima are no parameters, and two of 4 bits share a byte.
        let weights = 2 * (4 * 32 * 32 + 3 * 32 * 64);
        assert_eq!(result["parameters"], 258 * 32 + 2 * 2 * 32 + weights + 32);
        let bytes = &result["bytes"];
        assert_eq!(bytes["linears"], (f64::from(weights) * bits / 8.0) as u64);
        assert_eq!((&bytes["embedding"], &bytes["greedy_head"]), (&json!(258 * 34), &json!(258 * 34)));
        assert_eq!((&summary["linear_bytes"], &summary["head_bytes"]), (&bytes["linears"], &bytes["greedy_head"]));
        // The head is the embedding: counted three times in this sum.
        let sum: u64 = keys(bytes).iter().filter(|&&k| k != "file").map(|k| bytes[k].as_u64().unwrap()).sum();
        assert_eq!(sum - 2 * 258 * 34, bytes["file"].as_u64().unwrap(), "{bytes}");
        let readable = rasp().arg("inspect").arg(&path).output().unwrap();
        let expected = format!("{dtype}, {bits} bits each");
        assert!(String::from_utf8(readable.stdout).unwrap().contains(&expected), "no {expected:?}");

        let (found, expected) = (nll(&path, "0").0, nll(&exact, "0").0);
        assert!((found - expected).abs() < allowed, "{dtype}: {found} {expected}");
        let kept = nll(&path, "0.5").1;
        assert!((0.4..0.9).contains(&kept), "{dtype}: {kept}");
    }
    // The other fixture's k and v have 16 outputs.
    let dir = model().parent().unwrap();
    let output = rasp().args(["pack", "--dtype", "q4", "-o"]).arg(dir.join("no.rasp")).arg(dir).output().unwrap();
    fails(&output, 1, &["k: 16 channels out", "q4", "--dtype bf16"]);
}

#[test]
fn run_streams_whole_characters_and_repeats_with_a_seed() {
    let sampled = |seed: &str| run(&["run"], &["-p", "Owls", "-n", "64", "--temp", "2", "--seed", seed]).stdout;
    let first = String::from_utf8(sampled("1")).expect("random bytes, whole characters");
    assert_eq!(first.as_bytes(), sampled("1"));
    assert_ne!(first.as_bytes(), sampled("2"));
    let sparse = run(&["run"], &["-p", "Owls", "-n", "8", "--sparsity", "0.5", "--threads", "2", "--stats"]);
    assert!(sparse.status.success());
    assert!(String::from_utf8(sparse.stderr).unwrap().contains("of linear weights read"));
}

#[test]
fn run_says_why_a_text_ended() {
    let result = json_of(&run(&["run"], &["--raw", "-p", "-n is text too", "-n", "5", "--json"]));
    let expected =
        ["chat", "decode_tok_s", "kept", "prompt_tok_s", "prompt_tokens", "sparsity", "stop", "text", "tokens"];
    assert_eq!(keys(&result), expected);
    assert_eq!((&result["prompt_tokens"], &result["tokens"]), (&json!(14), &json!(5)));
    assert!(["length", "end"].contains(&result["stop"].as_str().unwrap()));
    let full = json_of(&run(&["run"], &["abcd", "--raw", "--max-tokens", "100", "-c", "6", "--json"]));
    assert!(full["stop"] == "end" || (full["stop"] == "context" && full["tokens"] == 2), "{full}");
    // The template adds `<|start|>user\n`, `<|end|>\n` and `<|start|>assistant\n` to the four letters.
    let chat = json_of(&run(&["run"], &["abcd", "-n", "1", "--json"]));
    assert_eq!(chat["prompt_tokens"], 1 + 5 + 4 + 1 + 1 + 1 + 10);
    let system = json_of(&run(&["run"], &["abcd", "-n", "1", "--system", "be", "--json"]));
    assert_eq!(system["prompt_tokens"], 1 + 7 + 2 + 1 + 1 + 23);
    assert_eq!([&result, &chat, &system].map(|result| &result["chat"]), [false, true, true]);
}

#[test]
fn run_of_wrong_input_says_what_is_wrong() {
    let run = |args: &[&str]| run(&["run"], args);
    fails(&run(&["-p", ""]), 1, &["prompt is empty"]);
    fails(&run(&["--raw", &"x".repeat(CONTEXT + 1)]), 1, &["161 tokens", "160"]);
    fails(&run(&["x", "--ctx", "1000"]), 1, &["1000", "160"]);
    fails(&run(&["--raw", "-p", "abcdefgh", "--ctx", "4"]), 1, &["8 tokens"]);
    fails(&run(&["x", "-p", "y"]), 2, &["PROMPT", "--prompt"]);
    fails(&run(&["x", "--raw", "--system", "y"]), 2, &["--raw", "--system"]);
    fails(&run(&["-p", "x", "--sparsity", "0.7"]), 1, &["sparsity 0.7", "0.5"]);
    fails(&run(&["-p", "x", "--temp", "-1"]), 2, &["-1"]);
    fails(&run(&["-p", "x", "--temp=-1"]), 1, &["temperature", "-1"]);
    fails(&run(&["-p", "x", "--top-p", "1.5"]), 1, &["top_p", "1.5"]);
    fails(&run(&["-p", "x", "--seed", "nine"]), 2, &["--seed"]);
    fails(&run(&[]), 2, &["PROMPT"]);
}

/// What `rasp chat` writes when these lines are typed.
fn chat(args: &[&str], lines: &str) -> (String, String) {
    let mut child = rasp();
    child.arg("chat").arg(model()).args(args);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_chat_passes_each_message_once_and_answers_as_if_all_had_passed() {
    let (answers, said) = chat(&["-n", "4", "--stats"], "abcd\nef\n");
    let passed: Vec<usize> =
        said.lines().filter_map(|line| line.strip_prefix('(')?.split_once(" tokens in")?.0.parse().ok()).collect();
    assert_eq!((passed.len(), passed[0]), (2, 1 + 5 + 4 + 1 + 1 + 1 + 10));
    // What the template puts around an answer of at most four tokens, and the next question: not the first one again.
    assert!((24..=30).contains(&passed[1]), "{said}");
    let first = run(&["run"], &["abcd", "-n", "4"]).stdout;
    assert!(answers.as_bytes().starts_with(&first), "{answers:?}");
    // Forgotten and asked again, the same answers come.
    let (again, _) = chat(&["-n", "4"], "abcd\nef\n/clear\nabcd\nef\n");
    assert_eq!(again, answers.repeat(2));
    let (undone, _) = chat(&["-n", "4"], "abcd\nxy\n/undo\nef\n");
    assert!(undone.ends_with(answers.strip_prefix(std::str::from_utf8(&first).unwrap()).unwrap()), "{undone:?}");
}

#[test]
fn a_chats_commands_say_what_they_do_and_what_is_wrong() {
    let typed = "/sparsity 0.5\n/sparsity\n/sparsity 2\n/sparsity 0.9\n/undo\n/foo\n/clear now\n/help\n/quit\nab\n";
    let (out, said) = chat(&[], typed);
    assert!(out.starts_with("0.5; this file goes up to 0.5\n") && out.ends_with("stops an answer\n"), "{out}");
    for words in ["from 0 to below 1", "sparsity 0.9", "nothing to undo", "/foo is no command", "/clear takes nothing"]
    {
        assert!(said.contains(words), "{said} lacks {words}");
    }
    // Turns that no longer fit are forgotten, the oldest first; a question that never fits is refused.
    let (_, said) = chat(&["-n", "8", "--ctx", "64"], &format!("abcd\nabcd\nabcd\n{}\n", "x".repeat(100)));
    assert!(said.contains("first 1 questions") && said.contains("room for 64 (--ctx)"), "{said}");
}

#[test]
fn a_prompt_may_come_from_stdin() {
    let mut child = rasp();
    child.arg("run").arg(model()).args(["-", "--raw", "-n", "1", "--json"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"seven!!").unwrap();
    assert_eq!(json_of(&child.wait_with_output().unwrap())["prompt_tokens"], 7);
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let mut child = rasp();
    child.arg("inspect").arg(model()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(child.wait().unwrap().success() && stderr.is_empty(), "{stderr}");
}

#[test]
fn pack_of_wrong_input_says_what_is_wrong() {
    let (dir, path) = file("model.gguf", "GGUF, but no more than that");
    let out = dir.path().join("out.rasp");
    let pack = |args: &[&str]| {
        let output = rasp().arg("pack").args(args).arg("-o").arg(&out).output().unwrap();
        assert!(!out.exists());
        output
    };
    fails(&pack(&["nowhere.gguf"]), 1, &["nowhere.gguf"]);
    fails(&pack(&[path.to_str().unwrap()]), 1, &["model.gguf"]);
    fails(&pack(&["x", "--sparsity", "0.5,0.3"]), 2, &["ascend"]);
    fails(&pack(&["x", "--dtype", "f64"]), 2, &["f64"]);
    let (_dir, recipe) = file("recipe.json", "{\"rules\": 3}");
    fails(&pack(&["x", "--recipe", recipe.to_str().unwrap()]), 1, &["recipe.json"]);
}

#[test]
fn only_a_file_of_the_same_model_is_replaced_unasked() {
    let (dir, path, _) = even_model(&["--tune", "0"]);
    let other = tempfile::tempdir().unwrap();
    checkpoint(other.path(), KV_HEADS);
    let pack = |input: &Path, output: &Path, args: &[&str]| {
        let mut command = rasp();
        command.args(["pack", "--sparsity", "", "--dtype", "bf16"]).arg(input).arg("-o").arg(output);
        command.args(args).output().unwrap()
    };
    let notes = dir.path().join("notes.rasp");
    fs::write(&notes, "not to be lost").unwrap();
    fails(&pack(dir.path(), &notes, &[]), 1, &["notes.rasp", "no packed file", "--force"]);
    fails(&pack(other.path(), &path, &[]), 1, &["another model", "num_kv_heads", "--force"]);
    assert_eq!(fs::read(&notes).unwrap(), b"not to be lost");
    for (input, output, args) in
        [(dir.path(), &path, &[][..]), (other.path(), &path, &["--force"]), (dir.path(), &notes, &["-f"])]
    {
        let output = pack(input, output, args);
        assert!(output.status.success(), "{output:?}");
    }
    // A recipe likewise.
    let recipe = dir.path().join("notes.recipe");
    fs::write(&recipe, "not to be lost").unwrap();
    let mut command = rasp();
    command.args(["pack", "--sparsity", "0.5", "-o"]).args([&path, dir.path()]).arg("--save-recipe").arg(&recipe);
    fails(&command.arg("-f").arg("--calib").arg("nowhere.txt").output().unwrap(), 1, &["nowhere.txt"]);
    let mut command = rasp();
    command.args(["pack", "--sparsity", "0.5", "-o"]).args([&notes, dir.path()]).arg("--save-recipe").arg(&recipe);
    fails(&command.output().unwrap(), 1, &["notes.recipe", "no recipe", "--force"]);
}

#[test]
fn a_calibration_text_is_read_before_a_weight_is_written() {
    let (dir, path, _) = even_model(&["--tune", "0"]);
    let text = dir.path().join("short.txt");
    let pack = |words: &str, args: &[&str]| {
        fs::write(&text, words).unwrap();
        let mut command = rasp();
        command.arg("pack").arg(dir.path()).arg("-o").arg(&path).arg("--calib").arg(&text).args(args).output().unwrap()
    };
    for (words, args, expected) in [
        ("", &[][..], "is empty"),
        ("too short", &["--tune", "0"], "9 tokens in windows of 160, of which 1 are"),
        (&"x".repeat(799), &["--quality", "2"], "640 tokens in windows of 160, of which 5 are"),
        (&"x".repeat(799), &["--tune", "0", "--quality", "5"], "640 tokens in windows of 160, of which 5 are"),
        ("text", &["--sparsity", ""], "no sparsity levels"),
    ] {
        let output = pack(words, args);
        fails(&output, 1, &[expected]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("writing weights"), "{output:?}");
    }
    assert!(pack(&"x".repeat(160), &["--tune", "0", "--sparsity", "0.5"]).status.success());
}

#[test]
fn scores_of_another_file_are_neither_measured_nor_tuned() {
    let (dir, path, _) = even_model(&["--tune", "1", "--dtype", "bf16"]);
    let first = dir.path().join("first.rasp");
    std::fs::rename(&path, &first).unwrap();
    let again = |more: &[&str]| {
        let mut command = rasp();
        command.args(["pack", "--sparsity", "0.5", "--calib-tokens", "256", "--dtype", "q8", "--calib"]);
        command.args([&dir.path().join("calibration.txt"), dir.path()]);
        let output = command.arg("-o").arg(&path).arg("--scores").arg(&first).args(more).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("gradients"), "{said}");
        said.contains("tuning scores")
    };
    assert!(!again(&[]));
    assert!(again(&["--tune", "1"]));
}

#[test]
fn a_recipe_is_saved_and_packed_with() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = dir.path().join("tiny.recipe");
    let (folder, path, first) = even_model(&["--tune", "1", "--save-recipe", recipe.to_str().unwrap()]);
    assert_eq!(first["recipe"], Value::Null);
    let out = dir.path().join("out.rasp");
    let pack = |args: &[&str]| rasp().arg("pack").arg(folder.path()).arg("-o").arg(&out).args(args).output().unwrap();
    for from in [&recipe, &path] {
        let summary = json_of(&pack(&["--recipe-from", from.to_str().unwrap(), "--dtype", "q8", "--json"]));
        assert_eq!(summary["calibration_tokens"], 0, "{summary}");
        assert_eq!(keys(&summary["recipe"]), ["found_on", "model"]);
        // A file has them in f32.
        let loss = |summary: &Value| summary["levels"][1]["loss"].as_f64().unwrap();
        assert!((loss(&summary) - loss(&first)).abs() < 1e-6, "{summary}");
    }
    let said = pack(&["--recipe-from", recipe.to_str().unwrap()]);
    let said = String::from_utf8(said.stdout).unwrap();
    let found_on = format!("calibration.txt, {} tokens, 1 step of tuning", first["calibration_tokens"]);
    assert!(said.contains(&found_on) && said.contains("next: rasp chat"), "{said}");
    let text = folder.path().join("calibration.txt");
    let none =
        ["--recipe-from", "none", "--calib", text.to_str().unwrap(), "--tune", "0", "--calib-tokens", "64", "--json"];
    assert_eq!(json_of(&pack(&none))["recipe"], Value::Null);
    fails(&pack(&["--recipe-from", recipe.to_str().unwrap(), "--tune", "24"]), 1, &["--recipe-from", "--tune"]);
    fails(&pack(&["--recipe-from", text.to_str().unwrap()]), 1, &["calibration.txt"]);
}

#[test]
fn a_checkpoint_runs_at_once_and_is_packed_once() {
    let cache = tempfile::tempdir().unwrap();
    let (folder, path, _) = even_model(&["--tune", "0"]);
    std::fs::remove_file(path).unwrap();
    let run = || {
        let mut command = rasp();
        command.args(["run", "-p", "a tiny text", "-n", "4"]).arg(folder.path()).env("XDG_CACHE_HOME", cache.path());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (output.stdout, said)
    };
    let files = || {
        let files = fs::read_dir(cache.path().join("rasp")).unwrap().map(|file| file.unwrap().path());
        files.collect::<Vec<_>>()
    };
    let (text, said) = run();
    let packed = files();
    assert!(packed.len() == 1 && packed[0].extension().is_some_and(|e| e == "rasp"), "{packed:?}");
    assert!(said.contains("packing it, once, to") && said.contains(packed[0].to_str().unwrap()), "{said}");
    assert_eq!(run(), (text.clone(), String::new()));
    // Another file of it: packed anew, and the old one goes.
    let settings = folder.path().join("tokenizer_config.json");
    let changed = fs::read_to_string(&settings).unwrap() + " ";
    fs::write(&settings, changed).unwrap();
    let (again, said) = run();
    assert!(again == text && said.contains("packing it, once"), "{said}");
    assert!(files().len() == 1 && files() != packed, "{:?}", files());
    // What is a checkpoint by name alone is refused as one, and leaves nothing.
    let (_dir, gguf) = file("broken.gguf", "GGUF, but no more than that");
    let output = rasp().arg("inspect").arg(&gguf).env("XDG_CACHE_HOME", cache.path()).output().unwrap();
    fails(&output, 1, &["broken.gguf"]);
    assert_eq!(files().len(), 1);
    let nowhere =
        rasp().arg("inspect").arg(folder.path()).env_remove("HOME").env("XDG_CACHE_HOME", "").output().unwrap();
    fails(&nowhere, 1, &["no folder to pack it to", "rasp pack"]);
}

/// Templates write the day of the clock on the wall: 26 hours apart it is another.
#[cfg(unix)]
#[test]
fn the_day_is_that_of_the_users_clock() {
    let dir = tempfile::tempdir().unwrap();
    checkpoint(dir.path(), KV_HEADS);
    let settings =
        json!({"eos_token": "<|end|>", "chat_template": "{{ raise_exception('day ' + strftime_now('%d')) }}"});
    fs::write(dir.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    let (model, _) = pack(dir.path(), &["--tune", "0", "--dtype", "bf16"]);
    let day = |zone: &str| {
        let output = rasp().arg("run").arg(&model).arg("a").env("TZ", zone).output().unwrap();
        fails(&output, 1, &["day "]);
        let text = String::from_utf8(output.stderr).unwrap();
        text.split("day ").nth(1).unwrap()[..2].parse::<u8>().unwrap()
    };
    assert_ne!(day("<west>12"), day("<east>-14"));
}
