#!/usr/bin/env bash
# Builds what is installed into OUT (default target/dist/stage; of `lean` target/dist/lean):
#
#     packaging/build.sh [all|library|lean]
#
# The library, with the `dist` profile:
#
#     librasp.so      stripped, soname librasp.so.ABI
#     librasp.a       one object whose only global symbols are rasp_
#     private-libs    what a program that links librasp.a needs besides, as its linker is told
#
# `lean` builds a smaller one without constrained output: the same interface, whose rasp_constraint_new says UNSUPPORTED.
# `OUT=target/dist/lean packaging/install.sh install library` installs it.
#
# With `all` the command too, with the `release` profile, whose dependencies are built for speed:
#
#     rasp            stripped
#     man/            its manual pages
#     completions/    rasp.bash, _rasp (of zsh) and rasp.fish
#
# CARGO, CARGO_BUILD_TARGET, and for a cross-build CC, OBJCOPY, LD and AR say what to use. A cross-build of the command
# builds it for this machine too, where it writes its pages and completions.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
stage=stage features=()
case $what in
    all | library) ;;
    lean) stage=lean features=(--no-default-features --features reserve) ;;
    *) sed -n 4p "$0" >&2; exit 2 ;;
esac
out=$(realpath -m "${OUT:-target/dist/$stage}")
mkdir -p "$out"
abi=$(packaging/version.sh abi)

built=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}dist
mkdir -p "$built"
# Both libraries are cargo's $built/librasp.a: one at a time, until it has been read.
exec 9> "$built/packaging.lock"
flock 9
"${CARGO:-cargo}" rustc --profile dist -p librasp --lib --crate-type staticlib "${features[@]}" -- \
    --print native-static-libs="$out/native-static-libs"

# rustc's archive holds the whole of Rust's standard library, with symbols that clash with those of a second Rust
# library in the same program and sections of LLVM bitcode that another LLVM's tools choke on; and what crates export
# for C of their own accord (llguidance's `llg_`, with all that it reaches: 190 kB). So: link what the interface reaches
# into one object, and make all but the interface local.
roots=()
while read -r symbol; do
    roots+=(-u "$symbol")
done < <(sed -n 's/^[a-z].* \**\(rasp_[a-z_0-9]*\)(.*/\1/p' include/rasp.h)
# Made aside, so that who uses what is there meanwhile has it whole.
work=$(mktemp -d "$out/link.XXXXXX")
trap 'rm -rf "$work"' EXIT
"${LD:-ld}" -r --gc-sections "${roots[@]}" "$built/librasp.a" -o "$work/rasp.o"
exec 9>&-
"${OBJCOPY:-objcopy}" --wildcard --keep-global-symbol='rasp_*' --strip-unneeded -R .llvmbc -R .llvmcmd -R .comment \
    "$work/rasp.o"
"${AR:-ar}" rcsD "$work/librasp.a" "$work/rasp.o"
# The shared library is the same object, linked as build.rs has cargo link it.
read -ra libraries <<< "$(< "$out/native-static-libs")"
"${CC:-cc}" -shared "$work/rasp.o" -o "$work/librasp.so" -Wl,-soname,librasp.so."$abi" -Wl,-Bsymbolic \
    -Wl,-z,nodelete -Wl,-z,relro,-z,now -Wl,--gc-sections -Wl,--eh-frame-hdr -Wl,--strip-all -Wl,-O1 \
    -Wl,--as-needed "${libraries[@]}"
"${OBJCOPY:-objcopy}" -R .comment "$work/librasp.so"
mv "$work/librasp.a" "$work/librasp.so" "$out"

# The C compiler adds libc itself, and the unwinder where it is needed: as a shared library, or in a program that is
# linked with -static not.
tr ' ' '\n' < "$out/native-static-libs" | grep -vxE -e '-l(gcc_s|gcc_eh|c)' | paste -sd ' ' > "$out/private-libs"

[ "$what" = all ] || exit 0

built=${CARGO_TARGET_DIR:-target}
# With the library, as it is when all is built: cargo then finds it built.
command_for() { "${CARGO:-cargo}" build --release -p librasp -p rasp-cli "$@"; } # [CARGO'S WORDS FOR THE TARGET]
command_for
runs_here=$built/release/rasp
if [ -n "${CARGO_BUILD_TARGET:-}" ]; then
    host=$(rustc -vV | sed -n 's/^host: //p')
    [ "$CARGO_BUILD_TARGET" = "$host" ] || command_for --target "$host"
    runs_here=$built/$host/release/rasp
fi
"${OBJCOPY:-objcopy}" --strip-all "$built/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release/rasp" "$out/rasp"
rm -rf "$out/man" "$out/completions"
mkdir -p "$out/completions"
"$runs_here" man "$out/man"
"$runs_here" completions bash > "$out/completions/rasp.bash"
"$runs_here" completions zsh > "$out/completions/_rasp"
"$runs_here" completions fish > "$out/completions/rasp.fish"
