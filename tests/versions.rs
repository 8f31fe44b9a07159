//! One version everywhere: that of Cargo.toml, and one number of the binary interface. What says another would be
//! published as another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Every text of a file between these two.
fn between(file: &str, before: &str, after: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let parts = text.split(before).skip(1);
    let found = parts.map(|part| part.split_once(after).unwrap_or_else(|| panic!("{file}: no end after {before:?}")).0);
    found.map(str::to_owned).collect()
}

/// In each of these files, just once, `value` stands between what comes before it and after it.
fn all_say(places: &[(&str, &str, &str)], value: &str) {
    for (file, before, after) in places {
        assert_eq!(between(file, before, after), [value], "{file}, after {before:?}");
    }
}

#[test]
fn every_package_has_the_version_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let places = [
        ("Cargo.toml", "[workspace.package]\nversion = \"", "\""),
        ("Cargo.toml", "rasp-kernels = { path = \"kernels\", version = \"", "\""),
        ("Cargo.toml", "librasp = { path = \".\", version = \"", "\""),
        ("Cargo.toml", "rasp-packer = { path = \"packer\", version = \"", "\""),
        ("bindings/python/pyproject.toml", "\nversion = \"", "\""),
        ("bindings/node/package.json", "\n  \"version\": \"", "\""),
        ("packaging/vcpkg/vcpkg.json", "\n  \"version\": \"", "\""),
        ("packaging/conan/conanfile.py", "\n    version = \"", "\""),
        ("packaging/conan/conandata.yml", "\nsources:\n  \"", "\""),
        ("packaging/conan/conandata.yml", "/archive/refs/tags/v", ".tar.gz"),
        ("packaging/homebrew/rasp.rb", "/archive/refs/tags/v", ".tar.gz"),
        ("docs/cross.md", "RASP_VERSION = ", "\n"),
    ];
    all_say(&places, version);
    let cross = fs::read_to_string(root().join("docs/cross.md")).unwrap();
    assert!(cross.contains(&format!("rasp_{version}.bb")), "docs/cross.md: the recipe of Yocto");
    let minor = version.rsplit_once('.').unwrap().0;
    all_say(
        &[("docs/embedding.md", "find_package(rasp ", " "), ("tests/install/run.sh", "find_package(rasp ", " ")],
        minor,
    );
    for member in ["kernels", "packer", "cli"] {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("\nversion.workspace = true\n"), "{member}");
    }
}

/// Below what is not released yet, the newest section is this version's, with the day of its release.
#[test]
fn the_changelog_has_a_section_of_the_version() {
    let headings = between("CHANGELOG.md", "\n## ", "\n");
    assert_eq!(headings[0], "Unreleased");
    let (version, day) = headings[1].split_once(" - ").expect("a version and a day");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let shape: String = day.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00", "the day is {day:?}");
}

#[test]
fn every_binding_asks_for_the_number_of_the_interface() {
    let library = between("Cargo.toml", "[package.metadata.capi.library]\nname = \"rasp\"\nversion = \"", "\"");
    let abi = rasp::capi::rasp_abi_version().to_string();
    assert_eq!(library.len(), 1);
    assert_eq!(library[0].split('.').next(), Some(abi.as_str()), "the file's version is {library:?}");
    assert_eq!(between("bindings/python/src/rasp/_native.py", "ABI_VERSION = ", "\n"), [abi.as_str()]);
    let named = [
        ("bindings/node/native.js", "'librasp.so.", "'"),
        ("bindings/node/package.json", "\"librasp.so.", "\""),
        ("bindings/lua/rasp/native.lua", "'librasp.so.", "'"),
        ("bindings/python/setup.py", "\"librasp.so.", "\""),
        ("bindings/python/pyproject.toml", "\"librasp.so.", "\""),
    ];
    all_say(&named, &abi);
}

/// What the scripts read out of Cargo.toml, where there is a shell for them.
#[cfg(target_os = "linux")]
#[test]
fn the_scripts_read_the_same() {
    let abi = rasp::capi::rasp_abi_version().to_string();
    for (what, value) in [("package", env!("CARGO_PKG_VERSION")), ("abi", abi.as_str())] {
        let output = Command::new(root().join("packaging/version.sh")).arg(what).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), value, "packaging/version.sh {what}: {output:?}");
    }
}
