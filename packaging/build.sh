#!/usr/bin/env bash
# Builds what is installed into OUT (default target/dist/stage):
#
#     packaging/build.sh [all|library]
#
# The library, with the `dist` profile:
#
#     librasp.so      stripped, soname librasp.so.ABI
#     librasp.a       one object whose only global symbols are rasp_
#     private-libs    what a program that links librasp.a needs besides, as its linker is told
#
# and, but for `library`, the command, with the `release` profile, whose dependencies are built for speed, and with
# constrained output, which the library is built without:
#
#     rasp            stripped
#     man/            its manual pages
#     completions/    rasp.bash, _rasp (of zsh) and rasp.fish
#
# CARGO, CARGO_BUILD_TARGET, and for a cross-build OBJCOPY, LD and AR say what to use. A cross-build of the command
# builds it for this machine too, where it writes its pages and completions.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
case $what in all | library) ;; *) sed -n 4p "$0" >&2; exit 2 ;; esac
out=$(realpath -m "${OUT:-target/dist/stage}")
mkdir -p "$out"
abi=$(packaging/version.sh abi)

flags=(-C link-arg=-Wl,-soname,librasp.so."$abi" --print native-static-libs="$out/native-static-libs")
"${CARGO:-cargo}" rustc --profile dist -p librasp --lib --crate-type cdylib,staticlib -- "${flags[@]}"
built=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}dist

install -m 0755 "$built/librasp.so" "$out/librasp.so"

# rustc's archive holds the whole of Rust's standard library, with symbols that clash with those of a second Rust library
# in the same program and sections of LLVM bitcode that another LLVM's tools choke on. So: link what the interface
# reaches into one object, and make all but the interface local.
roots=()
while read -r symbol; do
    roots+=(-u "$symbol")
done < <(sed -n 's/^[a-z].* \**\(rasp_[a-z_0-9]*\)(.*/\1/p' include/rasp.h)
"${LD:-ld}" -r --gc-sections "${roots[@]}" "$built/librasp.a" -o "$out/rasp.o"
"${OBJCOPY:-objcopy}" --wildcard --keep-global-symbol='rasp_*' --strip-unneeded -R .llvmbc -R .llvmcmd -R .comment \
    "$out/rasp.o"
rm -f "$out/librasp.a"
"${AR:-ar}" rcsD "$out/librasp.a" "$out/rasp.o"
rm "$out/rasp.o"

# The C compiler adds libc itself, and the unwinder where it is needed: as a shared library, or in a program that is
# linked with -static not.
tr ' ' '\n' < "$out/native-static-libs" | grep -vxE -e '-l(gcc_s|gcc_eh|c)' | paste -sd ' ' > "$out/private-libs"

[ "$what" = all ] || exit 0

# A folder of its own: in that of the workspace the library would be built anew, with and without, at every turn.
built=${CARGO_TARGET_DIR:-target}/command
command_for() { # [CARGO'S WORDS FOR THE TARGET]
    # Line tables are for profilers.
    CARGO_PROFILE_RELEASE_DEBUG=false "${CARGO:-cargo}" build --release -p rasp-cli --features constrained \
        --target-dir "$built" "$@"
}
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
