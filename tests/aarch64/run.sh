#!/usr/bin/env bash
# Builds everything for aarch64 and runs it under qemu, on a Debian x86-64 machine: the kernels on three processors, the C
# API on the real model, and a C program whose text must be this machine's.
#
#     tests/aarch64/run.sh MODEL.rasp HELLO      HELLO: examples-c/hello.c, built for this machine
#
# PACKAGES="-p librasp" (the default) builds the library alone; "--workspace" the packer and the command too, which takes
# minutes more.
# Installs what it needs. Debian's own rustc has the aarch64 standard library that rustup cannot be asked for everywhere.
# qemu must find libc6:arm64; with -L /usr/aarch64-linux-gnu (the cross libc) a program that starts a thread never ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
model=$(realpath "$1")
hello=$(realpath "$2")
triple=aarch64-unknown-linux-gnu

packages=(rustc-web cargo-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross libc6:arm64
    libgcc-s1:arm64 qemu-user-static cmake make)
dpkg --print-foreign-architectures | grep -qx arm64 || dpkg --add-architecture arm64
tests/apt.sh "${packages[@]}"

export PATH=/usr/bin:$PATH
export CARGO_TARGET_DIR=$PWD/target/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu max"
# Quicker to build.
export CARGO_PROFILE_RELEASE_DEBUG=false
unset RUSTUP_TOOLCHAIN CARGO RUSTC

echo "== build"
# shellcheck disable=SC2086 # several words
cargo build --release ${PACKAGES:--p librasp} --target $triple

echo "== kernels on a Cortex-A53, the oldest of its kind, on a Cortex-A76, which has dotprod, and on a processor with everything"
for cpu in cortex-a53 cortex-a76 max; do
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu $cpu" \
        cargo test --release -p rasp-kernels --target $triple
done

echo "== the library on the real model"
RASP_TEST_MODEL=$model cargo test --release -p librasp --target $triple --lib
RASP_TEST_MODEL=$model cargo test --release -p librasp --target $triple --test parity -- \
    every_layer_agrees_with_the_reference every_instruction_set_gives_the_same_bits

echo "== the C API on the real model"
RASP_TEST_MODEL=$model RASP_TEST_CC=aarch64-linux-gnu-gcc RASP_TEST_RUNNER="qemu-aarch64-static -cpu max" \
    cargo test --release -p librasp --target $triple --test c_api -- \
    every_function_with_good_and_bad_input damaged_files_are_refused_by_name one_call_at_a_time

echo "== a C program, built by CMake and run by ctest"
cmake -S examples-c -B "$CARGO_TARGET_DIR/cmake" --toolchain "$PWD/cmake/aarch64-linux-gnu.cmake" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS="-Wall -Wextra -Werror -pedantic" -DRASP_MODEL="$model" \
    -DRASP_LIBRARY="$CARGO_TARGET_DIR/$triple/release/librasp.so"
cmake --build "$CARGO_TARGET_DIR/cmake"
(cd "$CARGO_TARGET_DIR/cmake" && ctest --output-on-failure)
# All but the figures of speed.
text() { "$@" "$model" "The capital of France is" 8 | sed 's/: [0-9.]* tokens\/s/:/'; }
text qemu-aarch64-static -cpu cortex-a53 "$CARGO_TARGET_DIR/cmake/hello" > "$CARGO_TARGET_DIR/hello.txt"
text "$hello" | diff - "$CARGO_TARGET_DIR/hello.txt"
cat "$CARGO_TARGET_DIR/hello.txt"
