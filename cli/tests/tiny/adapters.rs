//! `rasp pack-adapter`, and `--adapter` of the commands that pass tokens.

use super::support::*;
use super::{file, ppl};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A folder with the base's configuration and two packed adapters.
fn adapters() -> &'static (TempDir, [PathBuf; 2]) {
    static ADAPTERS: OnceLock<(TempDir, [PathBuf; 2])> = OnceLock::new();
    ADAPTERS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        checkpoint(dir.path(), KV_HEADS);
        let packed = [("one", 8.0), ("two", -4.0)].map(|(name, alpha)| {
            adapter(&dir.path().join(name), alpha);
            let output = dir.path().join(format!("{name}.rasp-adapter"));
            let summary = json_of(&pack_adapter(&dir.path().join(name), dir.path(), &output, &["--json"]));
            assert_eq!(keys(&summary), ["architecture", "bytes", "linears", "name", "rank"]);
            assert_eq!((&summary["name"], &summary["rank"], &summary["linears"]), (&json!(name), &json!(2), &json!(4)));
            output
        });
        (dir, packed)
    })
}

fn pack_adapter(adapter: &Path, base: &Path, output: &Path, args: &[&str]) -> std::process::Output {
    let paths = [adapter, Path::new("--base"), base, Path::new("-o"), output];
    rasp().arg("pack-adapter").args(paths).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn tokens_pass_with_adapters_wherever_they_pass() {
    let (_, [one, two]) = adapters();
    let base = ppl(&[])["ppl"].as_f64().unwrap();
    let with = |args: &[&str]| {
        let result = ppl(args);
        (result["ppl"].as_f64().unwrap(), result["adapters"].clone())
    };
    let (changed, named) = with(&["--adapter", text(one)]);
    assert!((changed - base).abs() > 0.5, "{changed} {base}");
    assert_eq!(named, json!([{"name": "one", "scale": 1.0}]));
    // Half of it twice is all of it; and nothing of it is nothing.
    let half = format!("{}=0.5", text(one));
    assert!((with(&["--adapter", &half, "--adapter", &half]).0 - changed).abs() < 1e-3 * changed);
    assert_eq!(with(&["--adapter", &format!("{}=0", text(one))]).0, base);
    // -4/2 of the same factors is -1/2 of 8/2.
    let (turned, named) = with(&["--lora", text(two)]);
    let negative = with(&["--adapter", &format!("{}=-0.5", text(one))]).0;
    assert!((turned - negative).abs() < 1e-6 * turned && named[0]["name"] == "two");

    let answer = |args: &[&str]| json_of(&run(&["run"], &[&["--raw", "abc", "-n", "24", "--json"], args].concat()));
    assert_ne!(answer(&[])["text"], answer(&["--adapter", text(one)])["text"]);
    let bench = ["-n", "4", "--prompt", "8", "--rounds", "1", "--sparsity", "0,0.5", "--adapter", text(one), "--json"];
    let result = json_of(&run(&["bench"], &bench));
    assert_eq!(result["adapters"], json!([{"name": "one", "scale": 1.0}]));
    let result = json_of(&run(&["bench"], &[&bench[..], &["--sessions", "2"]].concat()));
    assert_eq!(result["adapters"][0]["name"], "one");
}

#[test]
fn an_adapter_is_looked_at_and_verified() {
    let (dir, [one, _]) = adapters();
    let inspected = json_of(&rasp().args(["inspect", text(one), "--json"]).output().unwrap());
    assert_eq!(
        (&inspected["adapter"], &inspected["linears"], &inspected["rank"]),
        (&json!("one"), &json!(4), &json!(2))
    );
    assert_eq!(inspected["base"]["num_layers"], 2);
    let verified = json_of(&rasp().args(["verify", text(one), "--json"]).output().unwrap());
    assert_eq!(verified, json!({"tensors": 8, "checksums": true}));
    let mut bytes = fs::read(one).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let flipped = dir.path().join("flipped");
    fs::write(&flipped, bytes).unwrap();
    fails(&rasp().args(["verify", text(&flipped)]).output().unwrap(), 1, &["flipped", "is damaged"]);
    fails(&run(&["run"], &["--adapter", text(&flipped), "a"]), 1, &["flipped", "is damaged"]);
}

#[test]
fn what_is_no_adapter_is_told_what_to_do() {
    let (dir, [one, _]) = adapters();
    let folder = dir.path().join("one");
    let run_with = |adapter: &str| run(&["run"], &["--adapter", adapter, "a"]);
    fails(&run_with(text(&folder)), 1, &["is a folder", "rasp pack-adapter"]);
    fails(&run_with(text(model())), 1, &["a packed model, not an adapter"]);
    fails(&run_with("/nowhere"), 1, &["/nowhere"]);
    fails(&run_with("a=nan"), 2, &["finite"]);
    fails(&rasp().args(["run", text(one), "a"]).output().unwrap(), 1, &["an adapter, not a model"]);
    let packed = dir.path().join("none.rasp");
    fails(&rasp().args(["pack", text(&folder), "-o", text(&packed)]).output().unwrap(), 1, &["rasp pack-adapter"]);
    let output = dir.path().join("out.rasp-adapter");
    fails(&pack_adapter(dir.path(), dir.path(), &output, &[]), 1, &["adapter_config.json", "--base"]);
    fails(&pack_adapter(&folder, &folder, &output, &[]), 1, &["config.json: there is no such file"]);
    assert!(!output.exists());
    let (_other, mine) = file("mine.txt", "mine");
    fails(&pack_adapter(&folder, dir.path(), &mine, &[]), 1, &["no packed adapter", "--force"]);
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    fails(&pack_adapter(&folder, dir.path(), &folder.join("adapter_config.json"), &["--force"]), 1, &["written over"]);
    // Of a model of another shape.
    let (_even, even, _) = even_model(&["--tune", "0", "--dtype", "bf16"]);
    fails(&rasp().args(["run", text(&even), "--adapter", text(one), "a"]).output().unwrap(), 1, &["num_kv_heads"]);
}
