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
    let text = with_threads(&text);
    // A negative number in a macro belongs in parentheses.
    let line = |line: &str| match line.split_once(" -") {
        Some((name, number)) if name.starts_with("#define ") => format!("{name} (-{number})\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The rule of threads, said at every function that does not say it in words of its own: a `const` handle, or none, is
/// safe from any thread at once; a session that is not `const` belongs to one at a time.
fn with_threads(header: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for line in header.lines() {
        let is_function = line.contains('(') && line.contains("rasp_") && !line.starts_with([' ', '/', '#', 't']);
        if is_function {
            let comment = out.iter().rposition(|l| !l.starts_with("//")).map_or(0, |i| i + 1);
            if !out[comment..].iter().any(|l| l.contains("any thread")) {
                let pointers = out[comment..].iter().position(|l| l == "// Pointers:");
                let end = pointers.map_or(out.len(), |i| comment + i - 1);
                let rule = match line {
                    _ if line.contains("(struct rasp_session *") => "// Threads: one call at a time on a session.",
                    _ if line.contains("(struct rasp_reply *") => "// Threads: one call at a time on a reply.",
                    _ => "// Threads: safe from any thread.",
                };
                out.splice(end..end, ["//".to_string(), rule.to_string()]);
            }
        }
        out.push(line.to_string());
    }
    out.push(String::new());
    out.join("\n")
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

/// The comment above a line, its lines joined; empty if there is none.
fn comment_above(lines: &[&str], line: usize) -> String {
    let above = lines[..line].iter().rev().take_while(|l| l.trim_start().starts_with("//"));
    let mut words: Vec<&str> = above.map(|l| l.trim_start().trim_start_matches('/').trim()).collect();
    words.reverse();
    words.join(" ")
}

/// Every constant, type, field and function has words; a function's say whether it allocates, which threads may call it
/// and which errors it may return.
#[test]
fn every_symbol_is_documented() {
    let header = generate();
    let lines: Vec<&str> = header.lines().collect();
    let (mut constants, mut types, mut fields, mut functions) = (0, 0, 0, 0);
    let mut inside = false;
    for (i, &line) in lines.iter().enumerate() {
        let comment = comment_above(&lines, i);
        let documented = |count: &mut usize| {
            *count += 1;
            assert!(comment.len() > 5, "line {}, `{line}`, lacks documentation", i + 1);
        };
        if line.starts_with('}') {
            inside = false;
        } else if inside && line.ends_with(';') && !line.trim_start().starts_with("//") {
            documented(&mut fields);
        } else if line.starts_with("#define RASP_") && line != "#define RASP_H" {
            documented(&mut constants);
        } else if line.starts_with("typedef ") {
            documented(&mut types);
            inside = line.ends_with('{');
        } else if line.contains(" rasp_") || line.contains(" *rasp_") {
            if !line.contains('(') || line.trim_start().starts_with("//") || line.starts_with(' ') {
                continue;
            }
            documented(&mut functions);
            assert!(comment.to_lowercase().contains("thread"), "line {}, `{line}`: which threads?", i + 1);
            if line.starts_with("rasp_status ") {
                let says_so = ["llocates", "llocate.", "llocate or", "llocation"].iter().any(|w| comment.contains(w));
                assert!(says_so, "line {}, `{line}`: does it allocate?", i + 1);
                let errors = ["Errors", "errors", "RASP_OK"].iter().any(|w| comment.contains(w));
                assert!(errors, "line {}, `{line}`: which errors?", i + 1);
            }
        }
    }
    assert!(constants >= 25 && types >= 10 && fields >= 60 && functions >= 30);
}
