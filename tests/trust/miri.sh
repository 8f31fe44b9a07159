#!/bin/sh
# Miri: tests/trust/miri.sh [RASP]. The rooms of the library that hold pointers of their own, a walk through the C
# border on the tiniest models, and the kernels' operations, each operand ending where its memory does. RASP, the
# command, makes two models in integers besides. $NIGHTLY is the toolchain (nightly), whose components are fetched.
# Left out by name in the tests: maps of files, pipes, pinned threads; by cfg(miri): inline assembly, and the threads'
# attributes.
set -eu
cd "$(dirname "$0")/../.."
toolchain=${NIGHTLY:-nightly}
rustup --quiet component add --toolchain "$toolchain" miri rust-src
export MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-strict-provenance"
miri() { ${CARGO:-cargo} "+$toolchain" miri test --no-default-features "$@"; }
export CARGO_TARGET_DIR=target/miri
if [ $# -gt 0 ]; then
	tests/trust/tiny.sh "$1" target/trust
	RASP_TEST_TINY=$PWD/target/trust
	export RASP_TEST_TINY
fi
miri -p librasp --lib --features handle-checks -- arena:: capi:: error:: format::bytes hash:: jobs:: log:: pool:: waiting::
miri -p librasp --test miri --features handle-checks
# Miri shows a program the features that it is built for: without these scalar code would be compared with itself.
if [ "$(uname -m)" = x86_64 ]; then
	export RUSTFLAGS="-Ctarget-feature=+avx2,+fma,+f16c"
	miri -p rasp-kernels --target-dir target/miri-avx2 --test bounds
fi
