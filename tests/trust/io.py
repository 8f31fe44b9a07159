"""io.py RASP SHIM FOLDER [POSITIONS]: every n-th read, write, open, map, sync and rename of a command fails, once and for
good, is short, or is interrupted (failing_io.c). Right is what the command does without, or an error of one line and status 1;
after a pack that failed the old file is whole and nothing is left beside it. A short or interrupted call changes nothing.

POSITIONS: of each command and kind at most so many, spread evenly; 0: all of them."""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from checkpoint import checkpoint  # noqa: E402

KINDS = ["eio 0", "eio 1", "enospc 0", "enospc 1", "short 0", "short 1", "eintr 0"]


def main():
    rasp, shim, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]) / "io"
    most = int(sys.argv[4]) if len(sys.argv) > 4 else 12
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source, work = folder / "checkpoint", folder / "work"
    checkpoint(source)
    text = source / "text.txt"
    text.write_text("A tiny model reads a tiny text, again and again. " * 40)
    output = work / "model.rasp"
    calibrated = ["--sparsity", "0.3", "--calib", str(text), "--calib-tokens", "128", "--tune", "0"]
    commands = {
        "pack": [rasp, "pack", str(source), "-f", "-o", str(output), "--threads", "1", "--sparsity", ""],
        "pack, calibrated": [rasp, "pack", str(source), "-f", "-o", str(output), "--threads", "1", *calibrated],
        "verify": [rasp, "verify", str(output)],
        "inspect": [rasp, "inspect", str(output)],
        "run": [rasp, "run", str(output), "-p", "abc", "-n", "4"],
    }
    tried, failures, refused = 0, 0, 0
    count = folder / "count"
    for name, command in commands.items():

        def run(fault):
            environment = os.environ | {"LD_PRELOAD": shim, "RASP_IO": fault, "RASP_IO_COUNT": str(count)}
            try:
                return subprocess.run(command, capture_output=True, env=environment, timeout=120)
            except subprocess.TimeoutExpired as hang:
                return subprocess.CompletedProcess(command, -1, b"", b"no end: " + (hang.stderr or b""))

        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        if not name.startswith("pack"):
            output.write_bytes(reference)
        whole = run("0 eio 0")
        if whole.returncode != 0:
            print(f"{name}: {whole.stderr.decode()}")
            return 1
        reference = output.read_bytes()
        calls = int(count.read_text())
        stride = max(1, calls // most) if most else 1
        for kind in KINDS:
            for number in sorted({*range(1, calls + 1, stride), calls}):
                if name.startswith("pack"):
                    output.write_bytes(b"old")
                what, every = kind.split()
                outcome = run(f"{number} {what} {every}")
                tried += 1
                refused += outcome.returncode == 1
                words = outcome.stderr.decode()
                wrong = []
                if outcome.returncode not in (0, 1) or "panicked" in words:
                    wrong.append(f"status {outcome.returncode}")
                if outcome.returncode == 1 and not words.strip():
                    wrong.append("no word why")
                if what in ("short", "eintr") and (outcome.returncode != 0 or outcome.stdout != whole.stdout):
                    wrong.append("another outcome")
                expected = (reference,) if outcome.returncode == 0 or not name.startswith("pack") else (b"old", reference)
                if output.read_bytes() not in expected:
                    wrong.append(f"{output.stat().st_size} bytes of output")
                litter = [path.name for path in work.iterdir() if path != output]
                if litter:
                    wrong.append(f"left {litter}")
                    for path in litter:
                        (work / path).unlink()
                if wrong:
                    print(f"{name}: call {number} of {calls}, {kind}: {', '.join(wrong)}: {words[-200:]}")
                    failures += 1
        print(f"{name}: {calls} calls")
    shutil.rmtree(folder)
    print(f"{tried} faults, {refused} refused, {failures} failures")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
