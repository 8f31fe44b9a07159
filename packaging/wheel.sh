#!/usr/bin/env bash
# `make wheel`: the Python package `librasp` with the library of `make dist` inside, for any Python 3 on systems with
# this processor and this glibc or a newer one, as its name says; under target/wheels. Needs pip; fetches setuptools.
set -euo pipefail
cd "$(dirname "$0")/.."
stage=$(realpath -m "${OUT:-target/dist/stage}")
out=$PWD/target/wheels
work=$PWD/target/wheels-work
rm -rf "$out" "$work"
mkdir -p "$out" "$work"

# What belongs to it, so that nothing of a developer's comes along.
cp --parents -t "$work" bindings/python/{pyproject.toml,setup.py,README.md,src/rasp/*.py,src/rasp/py.typed}
package=$work/bindings/python
install -m 0755 "$stage/librasp.so" "$package/src/rasp/librasp.so.$(packaging/version.sh abi)"
cp LICENSE-MIT LICENSE-APACHE "$package"
# The same sources give the same wheel: times are those of the last commit, or what the caller says.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || date +%s)}
export SOURCE_DATE_EPOCH
"${PYTHON:-python3}" -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$out" "$package"
rm -r "$work"
ls "$out"
