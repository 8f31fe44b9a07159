//! The C border from C: programs in `tests/c/`, compiled with every warning an error against the shared library and run on
//! the real model.

mod real_model;

use std::path::{Path, PathBuf};
use std::process::Command;

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pedantic"];

/// Where cargo puts the shared library: beside the folder of the test programs.
fn library_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().skip(1).find(|folder| folder.join("librasp.so").exists()).unwrap().to_path_buf()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{command:?} wrote to stderr");
    text(&output.stdout)
}

/// Compiles a program of `tests/c/` and gives its path.
fn compile(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = folder.join(format!("c-{name}"));
    let library = library_folder();
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-g"]).args(WARNINGS);
    cc.arg("-I").arg(root().join("include")).arg(root().join(format!("tests/c/{name}.c")));
    cc.arg("-L").arg(&library).args(["-lrasp", "-lm"]).arg(format!("-Wl,-rpath,{}", library.display()));
    run(cc.arg("-o").arg(&program));
    program
}

#[test]
fn every_function_with_good_and_bad_input() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api-files");
    std::fs::create_dir_all(&folder).unwrap();
    assert_eq!(run(Command::new(compile("api")).arg(real_model::path()).arg(folder)), "ok\n");
}

#[cfg(target_env = "gnu")]
#[test]
fn nothing_is_allocated_between_open_and_close() {
    assert_eq!(run(Command::new(compile("no_alloc")).arg(real_model::path())), "ok\n");
}

/// Each header alone and twice, as C and as C++, under every compiler that is here.
#[test]
fn the_header_stands_alone() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut compiled = 0;
    for (compilers, suffix, standard) in
        [(["gcc", "clang"], "c", "-std=c11"), (["g++", "clang++"], "cpp", "-std=c++17")]
    {
        let source = folder.join(format!("header.{suffix}"));
        std::fs::write(&source, "#include <rasp.h>\n#include <rasp.h>\nint main(void) { return 0; }\n").unwrap();
        for compiler in compilers {
            if Command::new(compiler).arg("--version").output().is_err() {
                continue;
            }
            let mut cc = Command::new(compiler);
            cc.arg(standard).args(WARNINGS).arg("-I").arg(root().join("include")).arg("-c").arg(&source);
            run(cc.arg("-o").arg(folder.join("header.o")));
            compiled += 1;
        }
    }
    assert!(compiled > 0, "no compiler found");
}

/// Nothing but the API leaves the library.
#[test]
fn only_the_api_is_exported() {
    let symbols = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library_folder().join("librasp.so")));
    let header = std::fs::read_to_string(root().join("include/rasp.h")).unwrap();
    let mut exported = 0;
    for name in symbols.lines().filter_map(|line| line.split_whitespace().nth(2)) {
        assert!(name.starts_with("rasp_"), "{name} is exported");
        assert!(header.contains(&format!("{name}(")), "{name} is not in the header");
        exported += 1;
    }
    assert!(exported >= 25, "{exported} symbols");
}
