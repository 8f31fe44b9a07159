//! The page of models, `docs/models.md`: written from what the importer knows and what these tests hold.
//!
//! `RASP_BLESS=1 cargo test -p rasp-packer --test families page` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rasp_packer::import;

use super::pending::{PENDING, PENDING_GGUF};
use super::{case, gguf};

const MARK: &str = "<!-- Below: written by packer/tests/families/page.rs. -->";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// How many cases of each class are held to transformers, and how many by way of each architecture of GGUF files.
fn held() -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let (mut classes, mut gguf) = (BTreeMap::new(), BTreeMap::new());
    for case in case::all() {
        let class = case.config["architectures"][0].as_str().unwrap().to_string();
        *classes.entry(class).or_default() += usize::from(PENDING.iter().all(|(name, _)| *name != case.name));
        if PENDING_GGUF.iter().all(|(name, _)| *name != case.name) {
            let also = gguf::ALSO.iter().filter(|(name, _)| *name == case.name).map(|(_, other)| other.to_string());
            gguf::architecture(&case).into_iter().chain(also).for_each(|name| *gguf.entry(name).or_default() += 1);
        }
    }
    (classes, gguf)
}

fn page() -> String {
    let (held, by_gguf) = held();
    let mut page = String::from("| family | Hugging Face | held | GGUF | held |\n| --- | --- | --- | --- | --- |\n");
    for family in import::families() {
        let hf = family.classes.iter().filter_map(|class| held.get(*class)).sum::<usize>();
        let classes: Vec<String> = family.classes.iter().map(|class| format!("`{class}`")).collect();
        let gguf = family.gguf.map_or("no".to_string(), |name| format!("`{name}`"));
        let by_gguf = family.gguf.map_or(String::new(), |name| by_gguf.get(name).copied().unwrap_or(0).to_string());
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
