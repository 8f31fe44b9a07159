#!/bin/sh
# Threads under ThreadSanitizer: tests/trust/threads.sh MODEL [SECONDS], the command built in target/release.
# The library, and the standard library below it, are built with it, which takes rust-src (`rustup component add rust-src`);
# RUSTC_BOOTSTRAP lets the stable compiler take the flags. The programs are the host's side: `threads` and `soak` of
# tests/trust, `jobs` and `threads` of tests/c; the last alone takes MODEL, the others a tiny one.
set -eu
cd "$(dirname "$0")/../.."
model=$1
seconds=${2:-10}
sources=$(rustc --print sysroot)/lib/rustlib/src/rust/library
[ -d "$sources" ] || rustup component add rust-src
host=$(rustc -vV | sed -n 's/^host: //p')
work=target/trust/threads
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread ${CARGO:-cargo} build --quiet --release --locked -p librasp -Zbuild-std \
	--target "$host" --target-dir "$work"
runtime=$(echo "$(rustc --print sysroot)/lib/rustlib/$host/lib"/librustc-*_rt.tsan.a)
tests/trust/tiny.sh target/release/rasp "$work"
for program in trust/threads trust/soak c/jobs c/threads; do
	name=$(echo $program | tr / _)
	${CC:-cc} -std=c11 -O1 -g -Wno-unused-parameter -Iinclude -fsanitize=thread -c -o "$work/$name.o" "tests/$program.c"
	# The run-time library is Rust's: that of the C compiler may be of another version.
	${CC:-cc} -o "$work/$name" "$work/$name.o" "$work/$host/release/librasp.a" -Wl,--whole-archive "$runtime" \
		-Wl,--no-whole-archive -Wl,--export-dynamic -pthread -ldl -lm -lrt
done
export TSAN_OPTIONS=halt_on_error=0:exitcode=66:second_deadlock_stack=1
run() {
	"$@" > "$work/log" 2>&1 || { echo "$*"; head -n 80 "$work/log"; exit 1; }
	tail -n 1 "$work/log"
}
run "$work/trust_threads" "$work/tiny.rasp" "$seconds"
run "$work/trust_soak" "$work/tiny.rasp" "$seconds"
run "$work/c_jobs" "$work/tiny.rasp"
run "$work/c_threads" "$model" "$work/tiny.rasp"
echo "ThreadSanitizer: 4 programs"
