#!/usr/bin/env bash
# The extension for Godot in a real Godot, headless, on the real model: its demo, the program of its page, its tests,
# and these once more under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#     tests/godot/run.sh MODEL.rasp
#
# On Debian; installs what it needs. Godot 4 is in Debian's unstable alone: it is unpacked, with the libraries that it
# was built for, below target/godot-test, and not installed (160 MB). $GODOT names another one; sanitizers are left out
# then. GODOT=none: the extension is built, and that is all (in CI, which must not hang on what unstable is today).
set -euo pipefail
cd "$(dirname "$0")/../.."
model=$(realpath "$1")
work=$PWD/target/godot-test
mkdir -p "$work"
rm -rf "$work/prefix" "$work/godot" "$work/user" "$work/vendor"
tests/apt.sh gcc pkg-config

step() { printf '== %s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

step "the extension, against the header of the oldest Godot that it is for"
PREFIX=$work/prefix packaging/install.sh install library
export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig
cp -r bindings/godot "$work/godot"
rm -rf "$work/godot/demo/.godot"
# A crate that has the header of each version; it is read, not built.
mkdir -p "$work/vendor/src"
cat > "$work/vendor/Cargo.toml" << end
[package]
name = "header"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
gdextension-api = "=0.4.0"
end
touch "$work/vendor/src/lib.rs"
"${CARGO:-cargo}" vendor --quiet --manifest-path "$work/vendor/Cargo.toml" "$work/vendor/crates" > "$work/vendor/log"
headers=$work/vendor/crates/gdextension-api/versions/4.2/res
extension=$("$work/godot/build.sh" "$headers")
symbols=$(nm -D --defined-only "$extension" | cut -d ' ' -f 3)
[ "$symbols" = rasp_godot_init ] || fail "the extension shows more than its entry: $symbols"

if [ "${GODOT:-}" = none ]; then
    printf 'built\n'
    exit 0
fi

# Godot with the libraries of its own distribution, run by that one's loader.
triple=$(gcc -dumpmachine)
root=$work/unstable
from_unstable() {
    local apt=$work/apt site archive
    # shellcheck disable=SC2016 # it is apt-get that expands it
    site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/$') || return 1
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/empty"
    echo "deb $site sid main" > "$apt/sources.list"
    # As if nothing were installed, so that all it needs comes along.
    : > "$apt/status"
    apt_get() {
        apt-get -qq -o Acquire::Languages=none -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" \
            -o Dir::Cache="$apt/cache" -o Dir::Etc::sourcelist="$apt/sources.list" \
            -o Dir::Etc::sourceparts="$apt/empty" -o Dir::Etc::preferencesparts="$apt/empty" "$@"
    }
    apt_get update || return 1
    apt_get install -y --no-install-recommends --download-only godot libasan8 libubsan1 || return 1
    rm -rf "$root"
    mkdir "$root"
    for archive in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$archive" "$root"; done
    rm -rf "$apt/cache/archives"
}
if [ -z "${GODOT:-}" ]; then
    step "a Godot of Debian's unstable"
    # Kept between runs; a clean checkout has none.
    if [ ! -x "$root/usr/bin/godot" ] && ! from_unstable > "$work/apt.log" 2>&1; then
        tail -n 20 "$work/apt.log"
        fail "Debian's unstable gives no Godot today; GODOT=… names another one"
    fi
    loader=$(echo "$root/usr/lib/$triple"/ld-linux-*.so.*)
    libraries=$root/usr/lib/$triple:$root/usr/lib/$triple/pulseaudio
    cat > "$work/run-godot" << end
#!/bin/sh
exec "$loader" \${PRELOAD:+--preload "\$PRELOAD"} --library-path "$libraries" "$root/usr/bin/godot" "\$@"
end
    chmod +x "$work/run-godot"
    GODOT=$work/run-godot
    sanitizers=("$root/usr/lib/$triple/libasan.so.8" "$root/usr/lib/$triple/libubsan.so.1")
fi
export GODOT HOME=$work/user
unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME
mkdir "$HOME"
"$GODOT" --version

step "the extension against that Godot's own header"
mv "$extension" "$extension.oldest"
"$work/godot/build.sh" > /dev/null
mv "$extension.oldest" "$extension"

demo=$work/godot/demo
# Runs Godot; what it prints may have nothing that is an error, a warning or a leak.
godot() { # NAME ARGUMENTS...
    local log=$work/$1.log unclean='(error|warning):|leaked|^orphan|unclaimed'
    # The editor itself leaves a name behind.
    [ "$1" != import ] || unclean='(error|warning):'
    if ! timeout 600 "$GODOT" --headless --verbose --path "$demo" "${@:2}" > "$log" 2>&1; then
        tail -n 40 "$log" >&2
        fail "$1"
    fi
    if grep -qiE "$unclean" "$log"; then
        grep -iE -A 2 "$unclean" "$log" >&2
        fail "$1 is not clean"
    fi
}

step "the editor imports the demo"
# An editor without a window that meets an extension for the first time crashes when it ends, whatever the extension is:
# https://github.com/godotengine/godot/issues/123511. So it has met this one.
mkdir "$demo/.godot"
echo 'res://addons/rasp/rasp.gdextension' > "$demo/.godot/extension_list.cfg"
godot import --import

step "the demo"
godot demo -- "$model" "What is the capital of France?"
sed -n '/^> /,/ frames/p' "$work/demo.log"
grep -q Paris "$work/demo.log" || fail "the demo's answer"
grep -qE '^[0-9]+ frames' "$work/demo.log" || fail "the demo's frames"
if "$GODOT" --headless --path "$demo" -- "$work/none.rasp" > "$work/missing.log" 2>&1; then
    fail "a demo without a model"
fi
grep -q "ERROR: RaspModel.load: .*none.rasp" "$work/missing.log" || fail "$(cat "$work/missing.log")"

step "the program of docs/hosts/godot.md"
awk '/^```gdscript$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/hosts/godot.md > "$demo/page.gd"
cat > "$demo/page.tscn" << end
[gd_scene load_steps=2 format=3]

[ext_resource type="Script" path="res://page.gd" id="1"]

[node name="Page" type="Node"]
script = ExtResource("1")
end
ln -s "$model" "$demo/model.rasp"
godot page res://page.tscn
grep -q Paris "$work/page.log" || fail "the program's answer"

step "the tests"
cp tests/godot/test.gd "$demo"
godot tests --script res://test.gd -- "$model"
grep -E '^[0-9]+ passed, 0 failed' "$work/tests.log" || fail "no tests ran"

if [ -n "${sanitizers:-}" ]; then
    step "the tests under AddressSanitizer and UndefinedBehaviorSanitizer"
    read -ra rasp <<< "$(pkg-config --cflags --static --libs rasp)"
    (cd bindings/godot/src && gcc -std=c11 -O1 -g -fPIC -fvisibility=hidden -shared -fsanitize=address,undefined \
        -fno-sanitize-recover=undefined -isystem "$headers" ./*.c -o "$extension" "${rasp[@]/#-lrasp/-l:librasp.a}" \
        -Wl,--exclude-libs,ALL -Wl,-z,nodelete)
    gcc -shared -fPIC -Wall -Wextra -Werror tests/godot/preload.c -o "$work/preload.so"
    # The loader's own memory is nobody's concern here.
    echo 'leak:ld-linux' > "$work/suppressions"
    export ASAN_OPTIONS=detect_leaks=1:verify_asan_link_order=0
    export LSAN_OPTIONS=suppressions=$work/suppressions:print_suppressions=0
    PRELOAD="$work/preload.so ${sanitizers[*]}" godot sanitizers --script res://test.gd -- "$model"
    grep -E '^[0-9]+ passed, 0 failed' "$work/sanitizers.log" || fail "no tests ran"
fi
printf 'ok\n'
