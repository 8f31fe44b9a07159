"""compact.py FUZZ TARGET WORK: the corpus of tests/fuzz/corpus/TARGET anew, from WORK/corpus/TARGET: at most 40 small inputs,
each the one that reaches most of what those before it and the seeds do not. `run.sh` calls it."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

MOST_INPUTS, MOST_BYTES, LARGEST = 40, 100_000, 8_000


def main():
    fuzz, target, work = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    corpus = pathlib.Path(__file__).parent / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        # What libFuzzer notes of each input when it merges: its features, here edges alone.
        control, empty = pathlib.Path(folder, "control"), pathlib.Path(folder, "merged")
        empty.mkdir()
        command = [fuzz, "-merge=1", "-use_counters=0", "-max_len=24576", f"-merge_control_file={control}", str(empty)]
        sources = [work / "seeds" / target, work / "corpus" / target, corpus]
        subprocess.run(command + [str(source) for source in sources], capture_output=True, check=True)
        lines = control.read_text().splitlines()
        count = int(lines[0])
        files = [pathlib.Path(name) for name in lines[2 : 2 + count]]
        reached = [set() for _ in files]
        for kind, number, *features in (line.split() for line in lines[2 + count :]):
            if kind in ("FT", "COV"):
                reached[int(number)] |= {(kind, feature) for feature in features}
        have, left = set(), {}
        for file, features in zip(files, reached):
            if file.is_relative_to(sources[0]):
                have |= features
            elif file.stat().st_size <= LARGEST:
                left[file] = features
        chosen, size = [], 0
        while left and len(chosen) < MOST_INPUTS:
            best = max(left, key=lambda file: len(left[file] - have) / (200 + file.stat().st_size) ** 0.5)
            features = left.pop(best)
            if features <= have or size + best.stat().st_size > MOST_BYTES:
                continue
            have |= features
            size += best.stat().st_size
            chosen.append((best.name, best.read_bytes()))
    shutil.rmtree(corpus)
    corpus.mkdir()
    for name, data in chosen:
        (corpus / name).write_bytes(data)
    print(f"{target}: {len(chosen)} inputs, {size} bytes")


if __name__ == "__main__":
    main()
