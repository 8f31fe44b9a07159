#!/bin/sh
# A tiny model, with sparsity levels, in whole numbers: tests/trust/tiny.sh RASP FOLDER packs FOLDER/tiny.rasp.
set -eu
python=${PYTHON:-python3}
mkdir -p "$2"
$python "$(dirname "$0")/checkpoint.py" "$2/checkpoint"
yes "A tiny model reads a tiny text, again and again." | head -n 100 > "$2/text.txt"
"$1" pack "$2/checkpoint" -o "$2/tiny.rasp" --dtype q8 --sparsity 0.3,0.5 --calib "$2/text.txt" --calib-tokens 256 \
	--tune 0 --threads 1 > /dev/null 2>&1
