#!/bin/sh
# What docs/safety.md promises, tried in short: tests/trust/run.sh MODEL [POSITIONS], the library built in target/release,
# and without constraints in target/dist/lean.
# POSITIONS: allocations that fail one by one, a call (default 100; 0: every one).
set -eu
cd "$(dirname "$0")/../.."
model=$1
positions=${2:-100}
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
$cc $flags -o "$out/soak" tests/trust/soak.c $link
$cc $flags -o "$out/threads-over-one" tests/trust/threads.c $link
# It is installed as librasp.so.1, its soname.
ln -sf "$PWD/target/dist/lean/librasp.so" "$out/librasp.so.1"
lean="target/dist/lean/librasp.so -pthread -lm -Wl,-rpath,$PWD/$out"
$cc $flags -o "$out/oom-lean" tests/trust/oom.c -L"$out" -lfailing $lean
$cc $flags -o "$out/hosts-lean" tests/trust/hosts.c $lean
$cc $flags -o "$out/constraint-lean" tests/c/constraint.c $lean
$cc -shared -fPIC -O1 -Wall -Wextra -D_LARGEFILE64_SOURCE -o "$out/libfailing_io.so" tests/trust/failing_io.c -ldl
python=${PYTHON:-python3}
# All allocations of the tiny model are tried.
tests/trust/tiny.sh target/release/rasp "$out"
echo "== every allocation fails"
"$out/oom" "$out/tiny.rasp"
"$out/oom" "$model" "$positions"
echo "== a library without constraints"
"$out/oom-lean" "$out/tiny.rasp" "$positions"
"$out/constraint-lean" "$model" without
echo "== hosts that do what hosts do"
"$out/hosts" "$out/tiny.rasp" "$out"
"$out/hosts" "$out/ranked.rasp" "$out"
"$out/hosts" "$model" "$out"
"$out/hosts-lean" "$out/tiny.rasp" "$out"
echo "== sessions against a second process"
"$out/soak" "$out/tiny.rasp" 10
echo "== many threads over one model"
"$out/threads-over-one" "$out/tiny.rasp" 2
echo "== every read and write fails"
$python tests/trust/io.py target/release/rasp "$PWD/$out/libfailing_io.so" "$out" 4
echo "== bits of a file that change"
$python tests/trust/flips.py target/release/rasp "$out/tiny.rasp" "$out" 400
echo "== instruction sets on a narrow model"
for isa in scalar avx2 avx_vnni avx512 avx512_vnni neon neon_dotprod neon_i8mm; do
	RASP_ISA=$isa target/release/rasp run "$out/tiny.rasp" -p abcdefgh -n 8 > "$out/$isa.txt" 2> "$out/$isa.err" ||
		grep -q "this processor has no" "$out/$isa.err" || { cat "$out/$isa.err"; exit 1; }
	grep -q "this processor has no" "$out/$isa.err" || cmp "$out/scalar.txt" "$out/$isa.txt"
done
echo "== packing that is interrupted"
$python tests/trust/interrupted.py target/release/rasp "$out"
echo "== dependencies"
$python tests/trust/dependencies.py
echo "== unsafe code"
$python tests/trust/unsafe.py > "$out/unsafe.txt" || { cat "$out/unsafe.txt"; exit 1; }
tail -n 1 "$out/unsafe.txt"
