#!/usr/bin/env python3
"""That every binding has every function of rasp.h, but for those that INSIDE gives a reason for.

    bindings.py

What counts is what users of a binding get: the layers that declare what C has (bindings/generate.py makes some) do not.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "abi"))

from header import HEADER, declarations  # noqa: E402

BINDINGS = {
    "C++": "include/rasp.hpp",
    "Python": "bindings/python/src/rasp/*.py",
    "Node.js": "bindings/node/*.js",
    "Lua": "bindings/lua/**/*.lua",
    "Go": "bindings/go/*.go",
    "C#": "bindings/csharp/*.cs",
    "Java": "bindings/java/src/main/**/*.java",
}
MADE = ("Native.cs", "Capi.java", "_native.py", "native.js")

# How a binding does its work, which its user does not see, or does in another way; and why that is no gap.
INSIDE = {
    r"rasp_\w+_init(_\d)?": "fills in structs that a binding has as options",
    "rasp_model_retain": "models are shared as the language shares objects",
    "rasp_version|rasp_abi_version": "a binding that is compiled in has the header's",
    "rasp_chat_format": "rasp_chat_text has the same text, and rasp_chat_tokenize is safe besides",
    "rasp_token_bytes": "rasp_detokenize has them too",
    "rasp_text_stream_push|rasp_step_text|rasp_finish_text": "text is streamed by the one or by the others",
}


def used(pattern):
    """The functions that a binding calls. What LuaJIT is told of C is no call, and a test is none of the binding."""
    files = [path for path in ROOT.glob(pattern) if path.name not in MADE and "test" not in path.stem]
    if not files:
        sys.exit(f"bindings.py: there is no {pattern}")
    text = "".join(path.read_text() for path in files)
    return set(re.findall(r"\brasp_\w+", re.sub(r"ffi\.cdef \[\[.*?\]\]", "", text, flags=re.S)))


def main():
    if sys.argv[1:]:
        sys.exit(__doc__)
    inside = re.compile("|".join(INSIDE))
    functions = [name for name in declarations(HEADER.read_text()).functions if not inside.fullmatch(name)]
    failures = [f"{language} has no {name}" for language, pattern in BINDINGS.items()
                for name in sorted(set(functions) - used(pattern))]
    for failure in failures:
        print(f"bindings.py: {failure}", file=sys.stderr)
    print(f"{len(functions)} functions in {len(BINDINGS)} bindings, {len(failures)} missing")
    sys.exit(bool(failures))


main()
