#!/usr/bin/env bash
# Builds the library for 32-bit x86 and runs it here, natively, on a Debian x86-64 machine: pointers and sizes of 32 bits,
# and the scalar kernels. A C program's text must be this machine's.
#
#     tests/i686/run.sh MODEL.rasp HELLO      HELLO: examples-c/hello.c, built for this machine
#
# Installs what it needs. Rust's standard library is built from Debian's source of it (-Z build-std): that needs no foreign
# architecture in apt, and works for every target that rustc knows.
set -euo pipefail
cd "$(dirname "$0")/../.."
model=$(realpath "$1")
hello=$(realpath "$2")
triple=i686-unknown-linux-gnu

packages=(rustc-web cargo-web rust-web-src gcc-multilib)
tests/apt.sh "${packages[@]}"

export PATH=/usr/bin:$PATH
export CARGO_TARGET_DIR=$PWD/target/i686
export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER=gcc
export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=-m32"
# -Z on a stable compiler.
export RUSTC_BOOTSTRAP=1
# Half the time to build; what is tested here is arithmetic on sizes.
export CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_OPT_LEVEL=1
export RASP_TEST_MODEL=$model
unset RUSTUP_TOOLCHAIN CARGO RUSTC

# The same packages each time, so that nothing is built twice.
run_tests() { cargo test -Z build-std=std,panic_unwind --release --target $triple -p rasp-kernels -p librasp "$@"; }

echo "== kernels and the library"
run_tests --lib --test elementwise --test products --test views

echo "== the library on the real model"
run_tests --test parity -- every_layer_agrees_with_the_reference

echo "== a C program"
library=$CARGO_TARGET_DIR/$triple/release/deps
gcc -m32 -std=c11 -O2 -Wall -Wextra -Werror -pedantic -Iinclude examples-c/hello.c \
    -o "$CARGO_TARGET_DIR/hello" -L"$library" -lrasp -Wl,-rpath,"$library"
# All but the figures of speed.
text() { "$@" "$model" "The capital of France is" 8 | sed 's/: [0-9.]* tokens\/s/:/'; }
text "$CARGO_TARGET_DIR/hello" > "$CARGO_TARGET_DIR/hello.txt"
text "$hello" | diff - "$CARGO_TARGET_DIR/hello.txt"
cat "$CARGO_TARGET_DIR/hello.txt"
