"""flips.py RASP MODEL FOLDER COUNT: of COUNT single bits that change in a model file, `rasp verify` finds all."""

import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys


def main():
    rasp, model, folder, count = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
    copy = folder / "flipped.rasp"
    shutil.copyfile(model, copy)
    verify = lambda: subprocess.run([rasp, "verify", str(copy)], capture_output=True, text=True)
    whole = verify()
    if whole.returncode != 0 or "as they were packed" not in whole.stdout:
        print(f"the file itself: {whole.stdout}{whole.stderr}")
        return 1
    with open(copy, "r+b") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        spans = [
            (8 + length + value["data_offsets"][0], 8 + length + value["data_offsets"][1], name)
            for name, value in header.items()
            if name != "__metadata__" and not name.startswith("pad.")
        ] + [(8, 8 + length, "header")]
        spans = [span for span in spans if span[1] > span[0]]
        chance = random.Random(1)
        missed = 0
        for _ in range(count):
            start, end, name = chance.choice(spans)
            at, bit = chance.randrange(start, end), 1 << chance.randrange(8)

            def flip():
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ bit]))
                file.flush()

            flip()
            outcome = verify()
            flip()
            if "as they were packed" in outcome.stdout or "panicked" in outcome.stderr:
                print(f"not found: byte {at}, bit {bit}, of {name}: {outcome.stdout}{outcome.stderr}")
                missed += 1
    copy.unlink()
    print(f"{count} flipped bits, {missed} not found")
    return missed != 0


if __name__ == "__main__":
    sys.exit(main())
