"""interrupted.py RASP FOLDER [KILLS]: a run of `rasp pack` that is stopped leaves no files, and one that is killed (KILLS times,
8 if not said) leaves them to the next, which removes them. With `--work` the next goes on where it was, to the same bytes.
The old output stays whole each time; an output that is the input is refused; a bad template and a tokenizer that means harm
are said before anything is written."""

import json
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from checkpoint import checkpoint  # noqa: E402


def main():
    rasp, folder = sys.argv[1], pathlib.Path(sys.argv[2]) / "interrupted"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source, output = folder / "checkpoint", folder / "model.rasp"
    checkpoint(source)
    text = folder / "text.txt"
    text.write_text("A tiny model reads a tiny text, again and again. " * 400)
    command = [rasp, "pack", str(source), "--force", "-o", str(output), "--sparsity", "0.3,0.5", "--calib", str(text)]
    command += ["--calib-tokens", "1024", "--tune", "16", "--threads", "1"]
    started = time.time()
    whole = subprocess.run(command, capture_output=True, text=True)
    if whole.returncode != 0:
        print(whole.stderr)
        return 1
    took = time.time() - started
    reference, failures, chance = output.read_bytes(), 0, random.Random(5)

    def others():
        return sorted(path.name for path in folder.iterdir() if path not in (source, output, text))

    def stopped(stop, *more):
        """Whether the output was whole, and nothing left, after a run that was stopped somewhere."""
        output.write_bytes(b"old")
        run = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * chance.random())
        run.send_signal(stop)
        run.wait()
        ended, litter = output.read_bytes(), others()
        if ended in (b"old", reference) and (stop == signal.SIGKILL or (not litter and run.returncode in (0, -stop))):
            return 0
        print(f"{stop.name}: {len(ended)} bytes of output, status {run.returncode}, left {litter}")
        return 1

    kills = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    for stop in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] * 4 + [signal.SIGKILL] * kills:
        failures += stopped(stop)
    work = folder / "work"
    for _ in range(kills // 4):
        shutil.rmtree(work, ignore_errors=True)
        failures += stopped(signal.SIGKILL, "--work", str(work))
        resumed = subprocess.run([*command, "--work", str(work)], capture_output=True, text=True)
        if resumed.returncode != 0 or output.read_bytes() != reference or set(others()) - {work.name}:
            print(f"--work after a kill: status {resumed.returncode}, left {others()}: {resumed.stderr[-300:]}")
            failures += 1
    shutil.rmtree(work, ignore_errors=True)
    again = subprocess.run(command, capture_output=True, text=True)
    if again.returncode != 0 or output.read_bytes() != reference or others():
        print(f"the next run: status {again.returncode}, left {others()}: {again.stderr[-300:]}")
        failures += 1

    def refused(arguments, words, status=1):
        outcome = subprocess.run([rasp, "pack", *map(str, arguments)], capture_output=True, text=True)
        if outcome.returncode != status or words not in outcome.stderr or "panicked" in outcome.stderr:
            print(f"{arguments}: status {outcome.returncode}: {outcome.stderr[-300:]}")
            return 1
        return 0

    weights = source / "model.safetensors"
    before = weights.read_bytes()
    failures += refused([source, "-o", weights, "--sparsity", ""], "is the input")
    link = folder / "link.rasp"
    link.symlink_to(weights.resolve())
    failures += refused([source, "-o", link, "--sparsity", ""], "is the input")
    link.unlink()
    if weights.read_bytes() != before:
        print("the input was written over")
        failures += 1

    settings = json.loads((source / "tokenizer_config.json").read_text())
    for template, words in [("{% if %}", "chat template"), ("{{ " + "(" * 30000 + " }}", "chat template")]:
        (source / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
        # The model is packed; that its chats fail is said, and first.
        failures += refused([source, "-o", output, "--sparsity", ""], words, status=0)
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = (source / "tokenizer.json").read_text()
    decoder = ('"decoder": {', '"decoder": {"type": NaN, "x": {')
    for old, new in [decoder, ('"id": 256', '"id": 2147483648'), ("{", "[" * 100000)]:
        changed = tokenizer.replace(old, new, 1)
        assert changed != tokenizer, old
        (source / "tokenizer.json").write_text(changed)
        failures += refused([source, "-o", output, "--sparsity", ""], "tokenizer")
    shutil.rmtree(folder)
    print(f"{12 + kills + kills // 4} runs stopped, {failures} failures")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
