#!/usr/bin/env bash
# The extension for Godot 4.2 and newer, as one file with the library inside: demo/addons/rasp/bin/.
#
#     bindings/godot/build.sh [FOLDER]
#
# FOLDER has gdextension_interface.h; without it the Godot that $GODOT names (godot) writes that file. librasp.a and
# rasp.h are found by pkg-config, after `make install-library`; $CC compiles and $ARCH names another processor than this
# machine's, as Godot does: x86_64, arm64.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ $# -gt 0 ]; then
    headers=$(realpath "$1")
else
    headers=$work
    if ! (cd "$work" && "${GODOT:-godot}" --headless --dump-gdextension-interface) > "$work/log" 2>&1; then
        cat "$work/log" >&2
        exit 1
    fi
fi
[ -e "$headers/gdextension_interface.h" ] || { echo "no gdextension_interface.h in $headers" >&2; exit 1; }

machine=$(uname -m)
arch=${ARCH:-${machine/aarch64/arm64}}
out=$here/demo/addons/rasp/bin/librasp_godot.linux.$arch.so
mkdir -p "$(dirname "$out")"

read -ra include <<< "$(pkg-config --cflags rasp)"
# The static library, so that a game ships one file and the system's loader has nothing to look for.
libraries=$(pkg-config --static --libs rasp)
read -ra libraries <<< "${libraries/-lrasp/-l:librasp.a}"

cd "$here/src"
# It stays in the process once it is loaded, as librasp.so does: Rust's thread-locals may not outlive their code.
"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Werror -pedantic -fPIC -fvisibility=hidden -shared -s -isystem "$headers" \
    "${include[@]}" entry.c godot*.c model.c session*.c -o "$out" "${libraries[@]}" \
    -Wl,--exclude-libs,ALL -Wl,--no-undefined -Wl,-z,nodelete
echo "$out"
