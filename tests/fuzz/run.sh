#!/bin/sh
# Fuzzes rasp by libFuzzer: tests/fuzz/run.sh RASP [-a] [-c] [-m MINUTES | -r RUNS] [TARGET...]; RASP is the built command.
# -a: with AddressSanitizer. MINUTES and RUNS are of each target. No TARGET: all of them. Without either only what was once
# found and the corpora are tried. -c: then writes the corpora of tests/fuzz/corpus anew, by compact.py.
#
# Works with the stable compiler: RUSTC_BOOTSTRAP lets it take the flags of sanitizers and of coverage. What is found is kept
# in target/fuzz/found; once mended it belongs into tests/fuzz/found, which is tried first.
set -eu
rasp=$(realpath "$1")
shift
cd "$(dirname "$0")"
kind=plain flags="-Cforce-frame-pointers=yes" minutes=0 runs=0 compact=
while getopts acm:r: option; do
	case $option in
	a) kind=address flags="$flags -Zsanitizer=address" ;;
	c) compact=1 ;;
	m) minutes=$OPTARG ;;
	r) runs=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
all="header tables adapter gguf config lora safetensors tokenizer template reply state text api"
work=$(realpath ../..)/target/fuzz
mkdir -p "$work/found"
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER=$PWD/rustc.sh RUSTFLAGS=$flags \
	cargo build --quiet --release --locked --target "$host" --target-dir "$work/$kind" ${FUZZ_FEATURES:-}
fuzz=$work/$kind/$host/release/fuzz
${PYTHON:-python3} base.py "$rasp" "$work/base"
export RASP_FUZZ_BASE="$work/base"
# The allocator of a reserve ends a process that asks for too much; a fuzzer asks for too much.
# What is asked for by whom, and what is freed, is kept in short: both take time.
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0:handle_abort=1:malloc_context_size=2:quarantine_size_mb=16
status=0
for target in ${*:-$all}; do
	mkdir -p "$work/seeds/$target" "$work/corpus/$target" "$work/found/$target"
	RASP_FUZZ_TARGET=$target RASP_FUZZ_SEEDS=$work/seeds/$target "$fuzz"
	# The largest honest inputs, with room to grow.
	case $target in
	header | adapter | lora | config | safetensors | tokenizer | gguf) most=24576 ;;
	template) most=2048 ;;
	*) most=512 ;;
	esac
	# Entropic scheduling takes several times as long as the inputs.
	set -- -entropic=0 -max_len=$most -timeout=60 -rss_limit_mb=3000 -print_final_stats=1 -verbosity=0 -seed=1
	set -- "$@" -artifact_prefix="$work/found/$target/" -dict="$PWD/dictionary.txt"
	for found in found/"$target"/*; do
		[ -e "$found" ] || continue
		RASP_FUZZ_TARGET=$target "$fuzz" "$@" "$found" > "$work/$target.log" 2>&1 || {
			echo "$target: $found"
			tail -n 30 "$work/$target.log"
			status=1
		}
	done
	if [ "$minutes" != 0 ]; then
		set -- "$@" -max_total_time=$((minutes * 60))
	else
		set -- "$@" -runs="$runs"
	fi
	corpus=$PWD/corpus/$target
	[ -d "$corpus" ] || corpus=
	if RASP_FUZZ_TARGET=$target "$fuzz" "$@" "$work/corpus/$target" $corpus "$work/seeds/$target" > "$work/$target.log" 2>&1; then
		sed -n 's/^stat::number_of_executed_units: */'"$target: inputs /p" "$work/$target.log"
	else
		echo "$target: a fault, kept in target/fuzz/found/$target"
		tail -n 40 "$work/$target.log"
		status=1
	fi
	[ -z "$compact" ] || RASP_FUZZ_TARGET=$target ${PYTHON:-python3} compact.py "$fuzz" "$target" "$work"
done
exit $status
