#!/usr/bin/env bash
# `rasp serve` as OpenAI's own clients see it, those of Python and of Node.js.
#
#     tests/server/run.sh RASP MODEL.rasp
#
# Fetches the clients, from PyPI and npm, into target/server; on Debian, Node.js too where it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
rasp=$(realpath "$1") model=$(realpath "$2")
work=$PWD/target/server
mkdir -p "$work"

packages=(python3 python3-venv nodejs)
# nodejs may come from elsewhere than Debian, and then has npm.
command -v npm > /dev/null || packages+=(npm)
tests/apt.sh "${packages[@]}"
[ -x "$work/venv/bin/pip" ] || "${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check --quiet install -r tests/server/requirements.txt
cp tests/server/package.json tests/server/check.mjs "$work"
npm --prefix "$work" install --silent --no-audit --no-fund > /dev/null

"$rasp" serve "$model" --port 0 --sessions 4 --alias other --api-key sesame > "$work/address" 2> "$work/log" &
server=$!
trap 'kill $server 2> /dev/null || true' EXIT
for _ in $(seq 100); do
    [ -s "$work/address" ] && break
    kill -0 $server 2> /dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
RASP_SERVER=$(cat "$work/address")
RASP_SERVER_MODEL=$(basename "$model" .rasp)
export RASP_SERVER RASP_SERVER_MODEL
"$work/venv/bin/python" tests/server/check.py
node "$work/check.mjs"
kill -0 $server
