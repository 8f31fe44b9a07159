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
miri() { ${CARGO:-cargo} "+$toolchain" miri test --target-dir target/miri --no-default-features "$@"; }
if [ $# -gt 0 ]; then
	tests/trust/tiny.sh "$1" target/trust
	RASP_TEST_TINY=$PWD/target/trust
	export RASP_TEST_TINY
fi
miri -p librasp --lib --features handle-checks -- arena:: error:: hash:: jobs:: pool:: capi::
miri -p librasp --test miri --features handle-checks
miri -p rasp-kernels --test bounds
