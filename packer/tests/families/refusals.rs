//! What is refused, and what a configuration may leave out.

use std::fs;
use std::path::Path;

use rasp::Status;
use rasp_packer::import;
use serde_json::{Map, Value};

use crate::case::{self, Case};
use crate::pending::PENDING;
use crate::{packed, pending};

#[test]
fn what_is_not_computed_yet_is_refused_by_name() {
    let cases = case::all();
    for (name, word) in PENDING {
        let case = cases.iter().find(|case| case.name == *name).unwrap_or_else(|| panic!("no case {name}"));
        let folder = packed::folder("pending", case);
        case.write(&folder);
        let Err(error) = import::open(&folder) else { panic!("{name} is read: it is pending no longer") };
        assert!(matches!(error.status(), Status::Unsupported | Status::BadFile), "{name}: {error}");
        assert!(error.message().contains(word), "{name}: `{word}` is not in: {error}");
    }
}

/// The class of a configuration.
fn class(config: &Value) -> &str {
    config["architectures"][0].as_str().unwrap()
}

#[test]
fn what_no_family_computes_is_refused_by_name_before_a_weight_is_looked_for() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/families/refused.json");
    let refused: Map<String, Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let cases = case::all();
    let read: Vec<&str> = cases.iter().filter(|case| pending(case).is_none()).map(|case| class(&case.config)).collect();
    let mut failed = Vec::new();
    for (name, what) in &refused {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), what["config"].to_string()).unwrap();
        // Of a class whose other models are read, the class itself says nothing.
        let known = read.contains(&class(&what["config"]));
        let (class, why) = (what["class"].as_str().unwrap(), what["trait"].as_str().unwrap());
        let words: &[&str] = match known {
            // What to do hangs on the key.
            true => &["config.json", why],
            false => &["config.json", class, why, "choose a model of a family that docs/models.md lists"],
        };
        match import::open(folder.path()) {
            Ok(_) => failed.push(format!("{name} is read")),
            Err(e) if e.status() != Status::Unsupported => failed.push(format!("{name}: {:?}: {e}", e.status())),
            Err(e) => {
                let missing = words.iter().filter(|word| !e.message().contains(**word));
                failed.extend(missing.map(|word| format!("{name}: `{word}` is not in: {e}")));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn what_a_configuration_leaves_out_is_what_its_class_takes_or_is_asked_for() {
    let mut failed = Vec::new();
    for case in case::all().into_iter().filter(|case| pending(case).is_none()) {
        let folder = packed::folder("defaults", &case);
        case.write(&folder);
        let Ok(whole) = import::open(&folder) else { continue };
        let mut least = case.clone();
        let mut check = |case: &Case, what: &str| {
            case.write_config(&folder);
            match import::open(&folder) {
                Ok(found) if found.shape == whole.shape => {}
                // Better asked for than guessed.
                Err(e) if e.status() == Status::BadFile && e.message().contains(what) => {}
                Ok(found) => {
                    failed.push(format!("{} without {what}: {:?}, not {:?}", case.name, found.shape, whole.shape))
                }
                Err(e) => failed.push(format!("{} without {what}: {e}", case.name)),
            }
        };
        for key in &case.defaulted {
            check(&case.clone().without(key), key.rsplit('/').next().unwrap());
            least = least.without(key);
        }
        check(&least, "");
    }
    assert!(failed.is_empty(), "{} times:\n{}", failed.len(), failed.join("\n"));
}
