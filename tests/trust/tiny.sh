#!/bin/sh
# A tiny model, with sparsity levels, in whole numbers, and an adapter; and the same with low ranks:
# tests/trust/tiny.sh RASP FOLDER packs tiny.rasp, tiny.rasp-adapter and ranked.rasp into FOLDER.
set -eu
python=${PYTHON:-python3}
mkdir -p "$2"
$python "$(dirname "$0")/checkpoint.py" "$2/checkpoint" "$2/adapter"
yes "A tiny model reads a tiny text, again and again." | head -n 100 > "$2/text.txt"
"$1" pack "$2/checkpoint" -o "$2/tiny.rasp" --dtype q8 --sparsity 0.3,0.5 --calib "$2/text.txt" --calib-tokens 256 \
	--tune 0 --threads 1 > /dev/null 2>&1
"$1" pack "$2/checkpoint" -o "$2/ranked.rasp" --dtype q8 --sparsity 0.3,0.5 --rho 0.7 --calib "$2/text.txt" \
	--calib-tokens 256 --tune 0 --threads 1 > /dev/null 2>&1
"$1" pack-adapter "$2/adapter" --base "$2/checkpoint" -o "$2/tiny.rasp-adapter" > /dev/null
