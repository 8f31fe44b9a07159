#!/bin/sh
# What docs/safety.md promises, tried in short: tests/trust/run.sh MODEL [POSITIONS], the library built in target/release.
# POSITIONS: allocations that fail one by one, a call (default 400; 0: every one).
set -eu
cd "$(dirname "$0")/../.."
model=$1
positions=${2:-400}
[ "$positions" = 0 ] && positions=1000000000
out=target/trust
mkdir -p "$out"
flags="-std=c11 -O1 -Wall -Wextra -Werror -Wno-unused-parameter -Iinclude"
link="-Ltarget/release -lrasp -pthread -lm -Wl,-rpath,$PWD/target/release -Wl,-rpath,$PWD/$out"
cc=${CC:-cc}
$cc -shared -fPIC -O1 -Wall -Wextra -fno-builtin -o "$out/libfailing.so" tests/trust/failing_malloc.c
# The failing allocator first, so that its functions are those of the process.
$cc $flags -o "$out/oom" tests/trust/oom.c -L"$out" -lfailing $link
$cc $flags -o "$out/hosts" tests/trust/hosts.c $link
python=${PYTHON:-python3}
# A tiny model, with a ladder, in whole numbers: all of its allocations are tried.
$python tests/trust/checkpoint.py "$out/checkpoint"
yes "A tiny model reads a tiny text, again and again." | head -n 100 > "$out/text.txt"
target/release/rasp pack "$out/checkpoint" -o "$out/tiny.rasp" --dtype q8 --sparsity 0.3,0.5 --calib "$out/text.txt" \
	--calib-tokens 256 --tune 0 --threads 1 > /dev/null 2>&1
echo "== every allocation fails"
"$out/oom" "$out/tiny.rasp"
"$out/oom" "$model" "$positions"
echo "== hosts that do what hosts do"
"$out/hosts" "$out/tiny.rasp" "$out"
"$out/hosts" "$model" "$out"
echo "== bits of a file that change"
$python tests/trust/flips.py target/release/rasp "$out/tiny.rasp" "$out" 400
echo "== instruction sets on a narrow model"
for isa in scalar avx2 avx_vnni avx512 avx512_vnni neon neon_dotprod; do
	RASP_ISA=$isa target/release/rasp run "$out/tiny.rasp" -p abcdefgh -n 8 > "$out/$isa.txt" 2> "$out/$isa.err" ||
		grep -q "this processor has no" "$out/$isa.err" || { cat "$out/$isa.err"; exit 1; }
	grep -q "this processor has no" "$out/$isa.err" || cmp "$out/scalar.txt" "$out/$isa.txt"
done
echo "== packing that is interrupted"
$python tests/trust/interrupted.py target/release/rasp "$out"
echo "== unsafe code"
$python tests/trust/unsafe.py > "$out/unsafe.txt" || { cat "$out/unsafe.txt"; exit 1; }
tail -n 1 "$out/unsafe.txt"
