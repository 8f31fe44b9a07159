//! How the shared library is linked; the Rust library has no part in it.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if !["windows", "macos", "ios"].contains(&system.as_str()) {
        // Calls among our own functions are bound here and now: nobody else's `rasp_step` can take ours' place. (The
        // soname, which only an installed library can have, comes from `make install` or cargo-c.)
        println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
        // Once loaded it stays in the process, and dlopen after dlclose finds it again: thread-locals of std's
        // may not outlive their code.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // What crates export for C of their own accord (llguidance's `llg_`) stays inside; with link-time optimisation
        // the linker no longer knows whose it is, so packaging/build.sh links what is installed by itself.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
