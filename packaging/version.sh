#!/usr/bin/env bash
# Versions, from Cargo.toml: `version.sh package` (0.1.0), `library` (of the .so file, 1.0.0) or `abi` (its first number).
set -euo pipefail
manifest=$(dirname "$0")/../Cargo.toml
in_section() { sed -n "/^\[$1\]/,/^\[/ s/^version = \"\(.*\)\"/\1/p" "$manifest"; }
case ${1:-} in
    package) in_section 'workspace\.package' ;;
    library) in_section 'package\.metadata\.capi\.library' ;;
    abi) in_section 'package\.metadata\.capi\.library' | cut -d. -f1 ;;
    *) sed -n 2p "$0" >&2; exit 2 ;;
esac
