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
echo "== every allocation fails"
"$out/oom" "$model" "$positions"
echo "== hosts that do what hosts do"
"$out/hosts" "$model"
echo "== a file of which any bit has changed"
${PYTHON:-python3} tests/trust/flips.py target/release/rasp "$model" "$out" 40
echo "== packing that is interrupted"
${PYTHON:-python3} tests/trust/interrupted.py target/release/rasp "$out"
