#!/bin/sh
# The C side under UndefinedBehaviorSanitizer and AddressSanitizer, and the library under valgrind where that is installed:
# tests/trust/sanitizers.sh MODEL, the library built in target/release. The programs are those of tests/trust and tests/c.
set -eu
cd "$(dirname "$0")/../.."
model=$1
out=target/trust/sanitizers
mkdir -p "$out"
cc=${CC:-cc}
flags="-std=c11 -O1 -g -Wno-unused-parameter -Iinclude -fsanitize=undefined,address -fno-sanitize-recover=all"
link="-Ltarget/release -lrasp -pthread -lm -Wl,-rpath,$PWD/target/release"
for program in trust/hosts trust/soak c/answer c/api c/batch c/budget c/constraint c/jobs c/logits; do
	$cc $flags -o "$out/${program#*/}" "tests/$program.c" $link
done
for example in hello footprint budget chat; do
	$cc $flags -o "$out/$example" "examples-c/$example.c" $link
done
tests/trust/tiny.sh target/release/rasp "$out"
run() {
	"$@" > "$out/log" 2>&1 || { echo "$*"; tail -n 20 "$out/log"; exit 1; }
}
run "$out/hosts" "$out/tiny.rasp" "$out"
run "$out/soak" "$out/tiny.rasp" 5
mkdir -p "$out/files"
run "$out/api" "$model" "$out/files"
for program in answer batch budget jobs logits hello footprint; do
	run "$out/$program" "$model"
done
run "$out/constraint" "$model" with
echo "UndefinedBehaviorSanitizer and AddressSanitizer: 11 programs"
if command -v valgrind > /dev/null; then
	for program in hosts soak; do
		$cc -std=c11 -O1 -g -Wno-unused-parameter -Iinclude -o "$out/$program" "tests/trust/$program.c" $link
	done
	# Valgrind knows no AVX-512, and keeps to the default rounding of x87 and SSE alone.
	export RASP_ISA=scalar
	valgrind="valgrind --quiet --suppressions=tests/trust/valgrind.supp --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite"
	run $valgrind "$out/soak" "$out/tiny.rasp" 20
	echo "valgrind: 1 program"
fi
