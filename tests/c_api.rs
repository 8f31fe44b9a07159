//! The C border from C: programs in `tests/c/`, compiled with every warning an error against the shared library and run
//! on the real model.

#[path = "support/adapter.rs"]
mod adapter;
mod real_model;
#[path = "support/tiny.rs"]
mod tiny;

use rasp::Status;
use rasp::format::{Dtype, TensorSpec};
use rasp::model::LinearKind;
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
    // Cargo puts target/release before all else in this, and there lies the library of the last `cargo build`, not the
    // one that belongs to this test.
    let output = command.env_remove("LD_LIBRARY_PATH").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{command:?} wrote to stderr");
    text(&output.stdout)
}

/// An empty folder for the files of one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c_api").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Compiles a program of `tests/c/` and gives a command that runs it.
fn compile(name: &str) -> Command {
    let folder = folder(name);
    let program = folder.join(name);
    let library = library_folder();
    // Another compiler for another processor, see `tests/aarch64/run.sh`.
    let mut cc = Command::new(std::env::var_os("RASP_TEST_CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-std=c11", "-O1", "-g"]).args(WARNINGS);
    cc.arg("-I").arg(root().join("include")).arg(root().join(format!("tests/c/{name}.c")));
    cc.arg("-L").arg(&library).args(["-lrasp", "-lm", "-pthread"]).arg(format!("-Wl,-rpath,{}", library.display()));
    run(cc.arg("-o").arg(&program));
    // Such as `qemu-aarch64-static -cpu max`.
    let runner = std::env::var("RASP_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace().map(Into::into).chain([program.into_os_string()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

#[test]
fn every_function_with_good_and_bad_input() {
    assert_eq!(run(compile("api").arg(real_model::path()).arg(folder("api_files"))), "ok\n");
}

#[test]
fn answers_are_text_and_texts_are_vectors() {
    assert_eq!(run(compile("answer").arg(real_model::path())), "ok\n");
}

#[test]
fn what_is_said_in_a_chat_is_text() {
    assert_eq!(run(compile("chat").arg(real_model::path())), "ok\n");
}

#[test]
fn answers_are_told_apart() {
    let path = folder("reply_files").join("tiny.rasp");
    let mut tiny = tiny::Tiny::new();
    let template = "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}{# <tool_call> </think> #}";
    tiny.template = Some(template.into());
    tiny.write(&path);
    let built = if cfg!(feature = "constrained") { "with" } else { "without" };
    assert_eq!(run(compile("reply").arg(path).arg(built)), "ok\n");
}

/// Without the feature the functions are there and say what is missing.
#[test]
fn constraints_shape_answers_or_say_that_they_are_missing() {
    let built = if cfg!(feature = "constrained") { "with" } else { "without" };
    assert_eq!(run(compile("constraint").arg(real_model::path()).arg(built)), "ok\n");
}

#[test]
fn logits_are_processed() {
    assert_eq!(run(compile("logits").arg(real_model::path())), "ok\n");
}

#[cfg(target_env = "gnu")]
#[test]
fn nothing_is_allocated_between_open_and_close() {
    // The packed model may have no low rank; the other one has.
    let path = folder("no_alloc_files").join("tiny.rasp");
    tiny::Tiny::new().write(&path);
    for model in [real_model::path(), path] {
        let checks = cfg!(any(debug_assertions, feature = "handle-checks")).then_some("checks");
        assert_eq!(run(compile("no_alloc").arg(model).args(checks)), "ok\n");
    }
}

#[test]
fn adapters_are_loaded_set_and_given_back() {
    let (folder, tiny) = (folder("adapter_files"), tiny::Tiny::new());
    let (model, file) = (folder.join("tiny.rasp"), folder.join("tiny.rasp-adapter"));
    tiny.write(&model);
    let kinds = [LinearKind::Q, LinearKind::V, LinearKind::Down];
    adapter::write(&file, &tiny.config, &adapter::factors(&tiny.config, 4, &kinds, 0.2));
    assert_eq!(run(compile("adapter").arg(model).arg(file).arg(real_model::path())), "ok\n");
}

/// Needs a limit of locked memory that allows the tiny model, a few hundred kilobytes.
#[cfg(target_os = "linux")]
#[test]
fn a_model_is_locked_in_memory_or_the_limit_named() {
    let path = folder("lock_files").join("tiny.rasp");
    tiny::Tiny::new().write(&path);
    assert_eq!(run(compile("lock").arg(path)), "ok\n");
}

#[test]
fn prompts_and_tokens_in_pieces() {
    assert_eq!(run(compile("budget").arg(real_model::path())), "ok\n");
}

#[test]
fn sessions_step_together_as_if_apart() {
    assert_eq!(run(compile("batch").arg(real_model::path())), "ok\n");
}

#[test]
fn one_call_at_a_time_and_cancel_from_another_thread() {
    let path = folder("threads_files").join("tiny.rasp");
    tiny::Tiny::new().write(&path);
    assert_eq!(run(compile("threads").arg(real_model::path()).arg(path)), "ok\n");
}

#[test]
fn the_hosts_job_system_gives_the_same_bits() {
    let path = folder("jobs_files").join("tiny.rasp");
    tiny::Tiny::new().write(&path);
    assert_eq!(run(compile("jobs").arg(&path)), "ok\n");
    assert_eq!(run(compile("jobs").arg(real_model::path())), "ok\n");
}

#[test]
fn damaged_files_are_refused_by_name() {
    let folder = folder("files_files");
    let good = folder.join("tiny.rasp");
    tiny::Tiny::new().write(&good);
    let mut command = compile("files");
    command.arg(&good);
    let mut count = 0;
    let mut refused = |status: Status, word: &str, change: &dyn Fn(&mut tiny::Tiny)| {
        // Messages begin with the path, so that must not hold the word.
        count += 1;
        let path = folder.join(format!("{count}.rasp"));
        let mut tiny = tiny::Tiny::new();
        change(&mut tiny);
        tiny.write(&path);
        command.arg(status.code().to_string()).arg(word).arg(path);
    };
    // Not a number and infinite, in every kind of tensor that holds numbers.
    for (tensor, bits) in [("embed_tokens", 0x7fc0u16), ("layers.1.down", 0xff80), ("layers.0.q.low_rank.a", 0x7f81)] {
        refused(Status::NonFinite, tensor, &|t| t.tensor(tensor).1[40..42].copy_from_slice(&bits.to_le_bytes()));
    }
    for tensor in ["final_norm", "rope.inv_freq", "layers.1.mlp_norm", "layers.0.qkv.bias", "layers.1.v.score"] {
        refused(Status::NonFinite, tensor, &|t| t.tensor(tensor).1[4..8].copy_from_slice(&f32::NAN.to_le_bytes()));
    }
    // The first group's matrix tells what weights are; the others must agree.
    for (tensor, status) in [("layers.0.qkv", Status::Unsupported), ("embed_tokens", Status::BadFile)] {
        refused(status, tensor, &|t| {
            let (spec, bytes) = t.tensor(tensor);
            spec.dtype = Dtype::F32;
            *bytes = vec![0; 2 * bytes.len()];
        });
    }
    // A type that the format knows and no model has there.
    refused(Status::BadFile, "layers.0.o", &|t| t.tensor("layers.0.o").0.dtype = Dtype::I16);
    refused(Status::BadFile, "layers.1.qkv", &|t| t.tensor("layers.1.qkv").0.shape.reverse());
    refused(Status::BadFile, "layers.1.o", &|t| t.tensors.retain(|(spec, _)| spec.name != "layers.1.o"));
    // Its bounds are of products alone: a bias would make other tokens the likeliest.
    refused(Status::BadFile, "head_screen and lm_head.bias", &|t| {
        let (vocab, hidden, hot) = (t.config.vocab_size, t.config.hidden_size, rasp::model::SCREEN_HOT);
        let cold = (hidden - hot).next_multiple_of(rasp::model::SCREEN_BLOCK);
        let row = rasp::model::ScreenRows::row_bytes(hot, cold);
        let mut add = |name: &str, dtype, shape: &[usize], bytes| {
            t.tensors.push((TensorSpec::new(name, dtype, shape), bytes));
        };
        add("head_screen", Dtype::U8, &[vocab, row], vec![0; vocab * row]);
        add("head_screen.hot", Dtype::U32, &[hot], (0..hot as u32).flat_map(u32::to_le_bytes).collect());
        add("head_screen.scale", Dtype::F32, &[vocab, 2], vec![0; 8 * vocab]);
        add("head_screen.error", Dtype::F32, &[vocab], vec![0; 4 * vocab]);
        add("head_screen.norm", Dtype::F32, &[vocab], vec![0; 4 * vocab]);
        add("lm_head.bias", Dtype::F32, &[vocab], vec![0; 4 * vocab]);
    });
    refused(Status::BadFile, "attention", &|t| t.config.block.attention.clear());
    refused(Status::BadFile, "num_heads", &|t| t.config.num_heads = 0);
    refused(Status::BadFile, "recipe", &|t| t.recipe.sparsity.reverse());
    refused(Status::BadFile, "layers.0.k", &|t| drop(t.recipe.linears.remove("layers.0.k")));
    refused(Status::Template, "template", &|t| t.template = Some("{% for %}".into()));
    assert_eq!(run(&mut command), "ok\n");
}

/// `cargo test --features handle-checks`, or in a debug build.
#[cfg(any(debug_assertions, feature = "handle-checks"))]
#[test]
fn dead_handles_are_refused() {
    let path = folder("handles_files").join("tiny.rasp");
    tiny::Tiny::new().write(&path);
    assert_eq!(run(compile("handles").arg(path)), "ok\n");
}

/// `rasp.hpp`, under every compiler that is here.
#[test]
fn all_of_the_cpp_header_with_exceptions_and_without() {
    let folder = folder("cpp");
    let library = library_folder();
    let mut compiled = 0;
    let (config, file) = (real_model::load().config().clone(), folder.join("adapter"));
    adapter::write(&file, &config, &adapter::factors(&config, 4, &[LinearKind::V, LinearKind::Down], 0.1));
    for compiler in ["g++", "clang++"] {
        if Command::new(compiler).arg("--version").output().is_err() {
            continue;
        }
        for flags in [&[][..], &["-fno-exceptions", "-fno-rtti"]] {
            let program = folder.join("api");
            let mut cc = Command::new(compiler);
            cc.args(["-std=c++17", "-O1"]).args(WARNINGS).args(flags).arg("-I").arg(root().join("include"));
            cc.arg(root().join("tests/cpp/api.cpp")).arg("-L").arg(&library).arg("-lrasp");
            run(cc.arg(format!("-Wl,-rpath,{}", library.display())).arg("-o").arg(&program));
            assert_eq!(run(Command::new(&program).arg(real_model::path()).arg(&file)), "ok\n");
            compiled += 1;
        }
    }
    assert!(compiled > 0, "no compiler found");
}

/// The examples, under every compiler that is here.
#[test]
fn the_examples_have_no_warnings() {
    let folder = folder("examples");
    let mut sources: Vec<PathBuf> =
        std::fs::read_dir(root().join("examples-c")).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.sort();
    let mut compiled = 0;
    for source in sources {
        let (compilers, standard) = match source.extension().and_then(|suffix| suffix.to_str()) {
            Some("c") => (["gcc", "clang"], "-std=c11"),
            Some("cpp") => (["g++", "clang++"], "-std=c++17"),
            _ => continue,
        };
        for compiler in compilers {
            if Command::new(compiler).arg("--version").output().is_ok() {
                let mut cc = Command::new(compiler);
                cc.arg(standard).arg("-O2").args(WARNINGS).arg("-I").arg(root().join("include"));
                run(cc.arg("-c").arg(&source).arg("-o").arg(folder.join("example.o")));
                compiled += 1;
            }
        }
    }
    assert!(compiled >= 5, "{compiled} compiled");
}

/// Each header alone and twice, as C and as C++, under every compiler that is here.
#[test]
fn the_header_stands_alone() {
    let folder = folder("header");
    let mut compiled = 0;
    for (compilers, suffix, standard) in
        [(["gcc", "clang"], "c", "-std=c11"), (["g++", "clang++"], "cpp", "-std=c++17")]
    {
        let source = folder.join(format!("header.{suffix}"));
        let header = if suffix == "c" { "rasp.h" } else { "rasp.hpp" };
        let twice =
            format!("#include <{header}>\n#include <{header}>\n#include <rasp.h>\nint main(void) {{ return 0; }}\n");
        std::fs::write(&source, twice).unwrap();
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
