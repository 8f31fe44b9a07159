#!/usr/bin/env bash
# Every binding over the installed library, on the real model: its tests and its example, whose text must be the same in
# every language.
#
#     tests/bindings/run.sh MODEL.rasp
#
# On Debian; installs what it needs (packages of Debian's, of PyPI and of npm). Made under target/bindings-test.
set -euo pipefail
cd "$(dirname "$0")/../.."
RASP_TEST_MODEL=$(realpath "$1")
export RASP_TEST_MODEL
work=$PWD/target/bindings-test
rm -rf "$work"
mkdir -p "$work"
cp -r bindings "$work/bindings"

packages=(python3 python3-venv nodejs luajit golang-go gcc pkg-config)
# nodejs may come from elsewhere than Debian, and then has npm.
command -v npm > /dev/null || packages+=(npm)
tests/apt.sh "${packages[@]}"

prefix=$work/prefix
PREFIX=$prefix packaging/install.sh install
# As if the prefix were one the system looks in.
export LD_LIBRARY_PATH=$prefix/lib PKG_CONFIG_PATH=$prefix/lib/pkgconfig
unset RASP_LIBRARY

step() { printf '== %s\n' "$*"; }

step "Python"
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check --quiet "$@"; }
pip install "mypy==2.4.1" setuptools wheel
pip wheel --no-deps --no-build-isolation --wheel-dir "$work/wheels" "$work/bindings/python"
pip install --no-index "$work"/wheels/rasp-*.whl
cd "$work/bindings/python"
# What is tested is the wheel.
rm -r src/rasp.egg-info build
"$work/venv/bin/mypy"
"$work/venv/bin/python" -m unittest --quiet test_rasp
"$work/venv/bin/python" example.py "$RASP_TEST_MODEL" | tee "$work/python.txt"

step "Python, a wheel that has the library inside"
cp "$prefix/lib/librasp.so.1" src/rasp/
pip wheel --no-deps --no-build-isolation --wheel-dir "$work/wheels-whole" .
pip install --no-index --force-reinstall "$work"/wheels-whole/rasp-*.whl
(cd "$work" && env -u LD_LIBRARY_PATH venv/bin/python -c 'import rasp; print(rasp.version(), rasp.abi_version())')

step "Node.js"
cd "$work/bindings/node"
npm install --silent --no-audit --no-fund
node --test > "$work/node-test.txt" || { cat "$work/node-test.txt"; exit 1; }
node example.js "$RASP_TEST_MODEL" | tee "$work/node.txt"

step "Lua"
cd "$work/bindings/lua"
luajit test.lua "$RASP_TEST_MODEL"
luajit example.lua "$RASP_TEST_MODEL" | tee "$work/lua.txt"

step "Go"
cd "$work/bindings/go"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not as gofmt would have it: $unformatted" >&2; exit 1; }
go vet ./...
go test ./...
go run ./example "$RASP_TEST_MODEL" | tee "$work/go.txt"

for language in node lua go; do
    diff "$work/python.txt" "$work/$language.txt" || { echo "$language says something else than python" >&2; exit 1; }
done
grep -q Paris "$work/python.txt"
printf 'ok\n'
