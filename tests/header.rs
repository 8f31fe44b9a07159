//! `include/rasp.h` is what the sources say. `make header` (RASP_BLESS=1) writes it anew.

use std::path::Path;

fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let builder = cbindgen::Builder::new().with_config(config).with_src(root.join("src/capi/mod.rs"));
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    // Rust's section on unsafe code says what a C programmer must hold to.
    let text = String::from_utf8(text).unwrap().replace("// # Safety\n", "// Pointers:\n");
    // A negative number in a macro belongs in parentheses.
    let line = |line: &str| match line.split_once(" -") {
        Some((name, number)) if name.starts_with("#define ") => format!("{name} (-{number})\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_committed_header_is_what_the_sources_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/rasp.h");
    let generated = generate();
    if std::env::var_os("RASP_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "include/rasp.h is not what src/capi says: run `make header` and read the diff");
}

#[test]
fn every_symbol_is_documented() {
    let header = generate();
    let lines: Vec<&str> = header.lines().collect();
    let mut functions = 0;
    for (i, line) in lines.iter().enumerate() {
        let function = line.contains(" rasp_") && line.contains('(') && !line.trim_start().starts_with("//");
        if function || line.starts_with("#define RASP_") && !line.starts_with("#define RASP_H") {
            functions += usize::from(function);
            assert!(i > 0 && lines[i - 1].trim_start().starts_with("//"), "{line} lacks documentation");
        }
    }
    assert!(functions >= 25, "{functions} functions found");
}
