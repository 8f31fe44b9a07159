#!/usr/bin/env bash
# Installs those of Debian's packages that are missing.
#
#     tests/apt.sh PACKAGE...
#
# CI's lanes run side by side, and apt wants to be alone: they take turns.
set -euo pipefail
if dpkg-query -W "$@" > /dev/null 2>&1; then exit; fi
mkdir -p "$(dirname "$0")/../target"
exec 9> "$(dirname "$0")/../target/apt.lock"
flock 9
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
