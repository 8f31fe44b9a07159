//! The page of models, `docs/models.md`: written from what the importer knows and what these tests hold.
//!
//! `RASP_BLESS=1 cargo test -p rasp-packer --test families page` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
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

/// What these tests hold of a class.
#[derive(Default)]
struct Held {
    /// Cases from Hugging Face's files: the dense pass to transformers, the sparse one to the packer's own
    /// (`packer/src/block/families.rs` runs the same cases).
    cases: usize,
    /// Cases by way of GGUF, and under which architectures.
    by_gguf: usize,
    architectures: BTreeSet<String>,
}

fn held() -> BTreeMap<String, Held> {
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    for case in case::all() {
        let class = case.config["architectures"][0].as_str().unwrap().to_string();
        let of = held.entry(class).or_default();
        of.cases += usize::from(PENDING.iter().all(|(name, _)| *name != case.name));
        if PENDING_GGUF.iter().all(|(name, _)| *name != case.name) {
            let own = gguf::architecture(&case);
            of.by_gguf += usize::from(own.is_some());
            let also = gguf::ALSO.iter().filter(|(name, _)| *name == case.name).map(|(_, other)| other.to_string());
            of.architectures.extend(own.into_iter().chain(also));
        }
    }
    held
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn page() -> String {
    let held = held();
    let templates = fs::read_to_string(root().join("tests/templates/published.json")).unwrap();
    let templates: serde_json::Value = serde_json::from_str(&templates).unwrap();
    let mut page = String::from(
        "| family | Hugging Face | held | GGUF | held | sparse | chat |\n\
         | --- | --- | ---: | --- | ---: | ---: | ---: |\n",
    );
    for (family, published) in templates["families"].as_object().unwrap() {
        assert!(import::families().any(|known| known.name == family), "templates of a family {family}");
        for name in published.as_array().unwrap() {
            assert!(templates["templates"].get(name.as_str().unwrap()).is_some(), "no template {name}");
        }
    }
    for family in import::families() {
        let all: Vec<&Held> = family.classes.iter().filter_map(|class| held.get(*class)).collect();
        let (cases, by_gguf) = all.iter().fold((0, 0), |(a, b), held| (a + held.cases, b + held.by_gguf));
        let architectures: BTreeSet<&str> =
            all.iter().flat_map(|held| held.architectures.iter().map(String::as_str)).collect();
        assert!(cases > 0, "no case holds the family {}", family.name);
        assert!(family.gguf.is_none_or(|name| architectures.contains(name)), "no GGUF holds {}", family.name);
        let gguf = if by_gguf > 0 { quoted(architectures) } else { "no".into() };
        let by_gguf = if by_gguf > 0 { by_gguf.to_string() } else { String::new() };
        let (name, classes) = (family.name, quoted(family.classes.iter().copied()));
        let chat =
            templates["families"][name].as_array().map_or(String::new(), |published| published.len().to_string());
        writeln!(page, "| {name} | {classes} | {cases} | {gguf} | {by_gguf} | {cases} | {chat} |").unwrap();
    }
    page += "\nRefused by name, before a weight is read, for what they need (as the refusal says it):\n\n";
    page += "| what | Hugging Face | GGUF |\n| --- | --- | --- |\n";
    for obstacle in import::obstacles() {
        let [classes, gguf] = [obstacle.classes, obstacle.gguf].map(|names| quoted(names.iter().copied()));
        writeln!(page, "| {} | {classes} | {gguf} |", obstacle.what).unwrap();
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
