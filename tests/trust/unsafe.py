"""unsafe.py [--bless]: lists the `unsafe` of the tree by file, and fails if one stands where none may, without its reason, or
in a file that had none or fewer: tests/trust/unsafe.json has the numbers, and `--bless` writes them anew, once each new one
has been read."""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
# Where it may live: what it is needed for.
PLACES = {
    "kernels/src/": "vector instructions, and matrices shared out by columns",
    "src/capi/": "the C border: what the caller points to",
    "src/arena.rs": "a session's one block, cut into buffers",
    "src/reserve.rs": "the allocator behind the system's",
    "src/format/bytes.rs": "mapped files, and typed views of them",
    "src/model/": "views of whole numbers",
    "src/session/": "memory shared out among threads, and the host's own",
    "src/sampling/": "the host's callbacks",
    "src/jobs.rs": "a job lent to the host's threads",
    "src/kept.rs": "values that threads point to beside their owner",
    "src/pool.rs": "a job lent to threads of our own",
    "src/constraint/guided.rs": "llguidance within a reserve",
    "src/thread.rs": "POSIX threads",
    "src/float_env.rs": "the floating-point control register",
    "src/log.rs": "the host's callback",
    "packer/src/": "mapped checkpoints, and models in memory",
    "cli/src/memory.rs": "settings of the C library's allocator",
    "cli/src/signals.rs": "signals",
    "cli/src/": "models in memory",
}
USE = re.compile(r"\bunsafe\s*(\{|impl\b)")


LIST = pathlib.Path(__file__).parent / "unsafe.json"


def main():
    total, wrong, by_place = 0, [], {}
    for folder in ("src", "kernels/src", "packer/src", "cli/src"):
        for path in sorted((ROOT / folder).rglob("*.rs")):
            name = path.relative_to(ROOT).as_posix()
            lines = path.read_text(encoding="utf-8").split("\n")
            place = next((place for place in PLACES if name.startswith(place)), None)
            for number, line in enumerate(lines):
                code = line.split("//")[0]
                found = len(USE.findall(code))
                if not found:
                    continue
                total += found
                by_place.setdefault(place or name, {}).setdefault(name, []).append(number + 1)
                reason = any("SAFETY:" in before for before in lines[max(0, number - 12) : number + 1])
                if place is None or not reason:
                    wrong.append(f"{name}:{number + 1}: {'no reason' if place else 'not where it may be'}")
    for place, files in by_place.items():
        count = sum(len(lines) for lines in files.values())
        print(f"{place} ({PLACES.get(place, '?')}): {count}")
        for name, lines in files.items():
            print(f"    {name}: {', '.join(map(str, lines))}")
    counts = {name: len(lines) for files in by_place.values() for name, lines in files.items()}
    if "--bless" in sys.argv[1:]:
        LIST.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")
    known = json.loads(LIST.read_text())
    for name, count in counts.items():
        if count > known.get(name, 0):
            wrong.append(f"{name}: {count}, where {known.get(name, 0)} are known: read the new ones, then use --bless")
    print(f"{total} unsafe blocks and impls, {len(wrong)} wrong")
    for line in wrong:
        print(line)
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
