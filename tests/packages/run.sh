#!/usr/bin/env bash
# `make package-crates`: the four crates as crates.io would get them, under target/package. Cargo builds each from its
# own archive and the others'; here it is held what lies in them.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(packaging/version.sh package)

# One set of settings for all, so that what they share is built once: the library's own optimise the kernels, which
# takes minutes.
settings=(--config profile.dev.debug=false --config profile.dev.opt-level=0
    --config 'profile.dev.package.rasp-kernels.opt-level=0')
# What comes from a registry Cargo takes to be the same for ever, and this one's archives are made anew at each run:
# what it has unpacked and built of them goes.
all=(rasp-kernels librasp rasp-packer rasp-cli)
rm -rf target/package
for crate in "${all[@]}"; do
    rm -rf target/debug/.fingerprint/"$crate"-* "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/"$crate-$version"
done
"${CARGO:-cargo}" package --workspace --locked --allow-dirty "${settings[@]}"

fail() { printf '%s\n' "$*" >&2; exit 1; }
crates=0
for crate in "${all[@]}"; do
    archive=target/package/$crate-$version.crate
    content=$(tar tzf "$archive")
    for file in LICENSE-MIT LICENSE-APACHE README.md Cargo.lock; do
        grep -qx "$crate-$version/$file" <<< "$content" || fail "$archive has no $file"
    done
    # Links of the repository must be files there.
    diff -q LICENSE-MIT <(tar xzOf "$archive" "$crate-$version/LICENSE-MIT") || fail "$archive: LICENSE-MIT"
    if tar tvzf "$archive" | grep '^[^-d]'; then fail "$archive has what is no file"; fi
    if grep -E '\.(gguf|rasp|safetensors|so|a|whl|tgz)$' <<< "$content"; then fail "$archive has what is made"; fi
    bytes=$(stat -c %s "$archive")
    # The packer brings the recipes of the models that are known, which do not compress.
    most=1000000
    [ $crate = rasp-packer ] && most=2000000
    [ "$bytes" -le $most ] || fail "$archive has $bytes bytes, of $most"
    manifest=$(tar xzOf "$archive" "$crate-$version/Cargo.toml")
    for key in description readme license repository keywords categories rust-version; do
        grep -q "^$key = " <<< "$manifest" || fail "$archive says no $key"
    done
    printf '%s: %s files, %s bytes\n' "$archive" "$(wc -l <<< "$content")" "$bytes"
    crates=$((crates + 1))
done
[ $crates = "$(find target/package -maxdepth 1 -name "*-$version.crate" | wc -l)" ] || fail "a crate that is not held"
printf 'ok\n'
