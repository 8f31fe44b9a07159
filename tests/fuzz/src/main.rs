//! Fuzzing of rasp by libFuzzer: one binary, the target by the environment variable `RASP_FUZZ_TARGET`.
//! `tests/fuzz/run.sh` builds and runs it.
//!
//! What a target finds wrong it says by a panic: libFuzzer then keeps the input. `RASP_FUZZ_BASE` is the folder that
//! `base.py` has filled; with `RASP_FUZZ_SEEDS` the target writes what it starts from into that folder, and ends.

#![no_main]

mod adapter;
mod api;
mod base;
mod format;
// The library's own, which it does not export.
#[path = "../../../src/hash.rs"]
mod hash;
#[cfg(feature = "import")]
mod import;
mod reply;
mod session;
mod state;
mod template;
mod text;

// For its libFuzzer.
extern crate libfuzzer_sys;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something to try inputs on. It is the same after each as before.
trait Target {
    fn seeds(&self) -> Vec<Vec<u8>>;
    fn run(&mut self, input: &[u8]);
}

fn target(name: &str) -> Box<dyn Target> {
    match name {
        "header" => Box::new(format::Header::new()),
        "adapter" => Box::new(adapter::Adapter::new()),
        "tables" => Box::new(format::Tables::new()),
        #[cfg(feature = "import")]
        "gguf" => Box::new(import::Gguf::new()),
        #[cfg(feature = "import")]
        "config" => Box::new(import::Folder::new("config.json")),
        #[cfg(feature = "import")]
        #[cfg(feature = "import")]
        "lora" => Box::new(import::Lora::new()),
        #[cfg(feature = "import")]
        "safetensors" => Box::new(import::Folder::new("model.safetensors")),
        #[cfg(feature = "import")]
        "tokenizer" => Box::new(import::Folder::new("tokenizer.json")),
        "reply" => Box::new(reply::Answers),
        "template" => Box::new(template::Template::new()),
        "state" => Box::new(state::State::new()),
        "text" => Box::new(text::Text::new()),
        "api" => Box::new(api::Api::new()),
        other => panic!("RASP_FUZZ_TARGET is {other:?}"),
    }
}

thread_local! {
    static TARGET: RefCell<Option<Box<dyn Target>>> = const { RefCell::new(None) };
}

/// Called by libFuzzer, once.
#[unsafe(no_mangle)]
pub extern "C" fn LLVMFuzzerInitialize(_: *const i32, _: *const *const *const u8) -> i32 {
    // The first panic that is nobody's but ours is told; those that libraries catch are not.
    std::panic::set_hook(Box::new(|info| PANIC.with_borrow_mut(|words| *words = info.to_string())));
    let name = std::env::var("RASP_FUZZ_TARGET").unwrap_or_default();
    let target = target(&name);
    if let Some(folder) = std::env::var_os("RASP_FUZZ_SEEDS") {
        for (number, seed) in target.seeds().iter().enumerate() {
            std::fs::write(std::path::Path::new(&folder).join(format!("seed-{number}")), seed)
                .expect("a seed is written");
        }
        std::process::exit(0);
    }
    TARGET.set(Some(target));
    0
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Called by libFuzzer's Rust side for every input.
#[unsafe(no_mangle)]
#[allow(improper_ctypes_definitions)] // it is declared so there
pub extern "C" fn rust_fuzzer_test_input(input: &[u8]) -> i32 {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        TARGET.with_borrow_mut(|target| target.as_mut().expect("initialised").run(input));
    }));
    if outcome.is_err() {
        eprintln!("{}", PANIC.with_borrow(String::clone));
        std::process::abort();
    }
    0
}
