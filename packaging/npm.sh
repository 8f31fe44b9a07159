#!/usr/bin/env bash
# `make npm`: the Node.js package `rasp` with the library of `make dist` inside, for systems with this processor, under
# target/npm. Needs npm.
set -euo pipefail
cd "$(dirname "$0")/.."
stage=$(realpath -m "${OUT:-target/dist/stage}")
out=$PWD/target/npm
work=$PWD/target/npm-work
rm -rf "$out" "$work"
mkdir -p "$out" "$work"

# What the library is for, as an ELF file says it (class and machine) and as Node.js calls it.
case $(od -An -j4 -N1 -tu1 "$stage/librasp.so" | tr -d ' ')-$(od -An -j18 -N2 -tu2 "$stage/librasp.so" | tr -d ' ') in
    2-62) cpu=x64 ;;
    2-183) cpu=arm64 ;;
    1-3) cpu=ia32 ;;
    1-40) cpu=arm ;;
    2-243) cpu=riscv64 ;;
    *) printf '%s is for a machine that npm has no name for\n' "$stage/librasp.so" >&2; exit 1 ;;
esac

# Of these, package.json says what belongs to it.
cp --parents -t "$work" bindings/node/{package.json,README.md,*.js,*.d.ts}
cd "$work/bindings/node"
install -m 0755 "$stage/librasp.so" "librasp.so.$("$OLDPWD/packaging/version.sh" abi)"
cp "$OLDPWD/LICENSE-MIT" "$OLDPWD/LICENSE-APACHE" .
# So that npm refuses it elsewhere, and does not leave that to dlopen.
npm pkg set --json os='["linux"]' cpu="[\"$cpu\"]" libc='["glibc"]'
npm pack --silent --pack-destination "$out"
rm -r "$work"
