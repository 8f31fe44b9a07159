//! The page of models, `docs/models.md`: written from what the importer knows and what these tests hold.
//!
//! `RASP_BLESS=1 cargo test -p rasp-packer --test families page` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rasp_packer::import;

use super::case;
use super::pending::{PENDING, PENDING_GGUF};

const MARK: &str = "<!-- Below: written by packer/tests/families/page.rs. -->";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// How many cases of each class are held to transformers: from Hugging Face's files, and by way of GGUF.
fn held() -> BTreeMap<String, [usize; 2]> {
    let mut held: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for case in case::all() {
        let class = case.config["architectures"][0].as_str().unwrap().to_string();
        let counts = held.entry(class).or_default();
        counts[0] += usize::from(PENDING.iter().all(|(name, _)| *name != case.name));
        let gguf = case::data().join("gguf").join(format!("{}.json", case.name)).exists();
        counts[1] += usize::from(gguf && PENDING_GGUF.iter().all(|(name, _)| *name != case.name));
    }
    held
}

fn page() -> String {
    let held = held();
    let mut page = String::from("| family | Hugging Face | held | GGUF | held |\n| --- | --- | --- | --- | --- |\n");
    for family in import::families() {
        let count = |n: usize| family.classes.iter().filter_map(|class| held.get(*class)).map(|c| c[n]).sum::<usize>();
        let classes: Vec<String> = family.classes.iter().map(|class| format!("`{class}`")).collect();
        let gguf = family.gguf.map_or("no".to_string(), |name| format!("`{name}`"));
        let (hf, by_gguf) = (count(0), if family.gguf.is_some() { count(1).to_string() } else { "".into() });
        assert!(hf > 0, "no case holds the family {}", family.name);
        writeln!(page, "| {} | {} | {hf} | {gguf} | {by_gguf} |", family.name, classes.join(", ")).unwrap();
    }
    page += "\nRefused by name, before a weight is read, for what they need (as the refusal says it):\n\n";
    page += "| what | Hugging Face | GGUF |\n| --- | --- | --- |\n";
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    for obstacle in import::obstacles() {
        writeln!(page, "| {} | {} | {} |", obstacle.what, list(obstacle.classes), list(obstacle.gguf)).unwrap();
    }
    page
}

#[test]
fn the_page_of_models_is_what_the_tests_hold() {
    let path = root().join("docs/models.md");
    let text = fs::read_to_string(&path).unwrap();
    let (top, bottom) = text.split_once(MARK).expect("the page has its mark");
    let written = format!("\n\n{}", page());
    if std::env::var_os("RASP_BLESS").is_some() {
        return fs::write(&path, format!("{top}{MARK}{written}")).unwrap();
    }
    assert_eq!(bottom, written, "docs/models.md is old: RASP_BLESS=1 writes it anew");
}
