#!/usr/bin/env bash
# Installs those of Debian's packages that are missing.
#
#     tests/apt.sh PACKAGE...
#
# CI's lanes run side by side, and apt wants to be alone: they take turns.
set -euo pipefail
# A package may be known without being there: as one that another suggests.
states=$(dpkg-query -W -f '${db:Status-Status}\n' "$@" 2> /dev/null) || states=unknown
if ! grep -qvx installed <<< "$states"; then exit; fi
mkdir -p "$(dirname "$0")/../target"
exec 9> "$(dirname "$0")/../target/apt.lock"
flock 9
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
