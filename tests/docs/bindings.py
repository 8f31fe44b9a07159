#!/usr/bin/env python3
"""The table of docs/bindings.md, from the bindings: which calls of rasp.h only some of them have.

    bindings.py            write it
    bindings.py --check    fail if it is not what the bindings hold

A function that some binding lacks, and that no row here names, is an error. What counts is what users of a binding get:
the layers that declare what C has (bindings/generate.py makes some), do not.
"""

import re
import sys
from pathlib import Path

from section import settle, with_section

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "abi"))

from header import HEADER, declarations  # noqa: E402

PAGE = ROOT / "docs" / "bindings.md"

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

# What a row is called: its functions, which the same bindings have.
ROWS = {
    "load from memory or a descriptor": "rasp_load_bytes rasp_load_fd",
    "what a session will take": "rasp_session_plan",
    "branch, make room": "rasp_session_fork rasp_session_shift",
    "several sessions in one step": "rasp_step_batch",
    "drafts from a text of yours": "rasp_session_set_drafts",
    "a callback that sees logits": "rasp_session_set_logits_callback",
    "text in so much time, deadlines": "rasp_step_text_within rasp_session_set_deadline",
}

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
    """The functions that a binding calls. What LuaJIT is told of C is no call."""
    files = [path for path in ROOT.glob(pattern) if path.name not in MADE]
    if not files:
        sys.exit(f"bindings.py: there is no {pattern}")
    text = "".join(path.read_text() for path in files)
    return set(re.findall(r"\brasp_\w+", re.sub(r"ffi\.cdef \[\[.*?\]\]", "", text, flags=re.S)))


def table():
    have = {language: used(pattern) for language, pattern in BINDINGS.items()}
    having = {name: tuple(name in names for names in have.values())
              for name in declarations(HEADER.read_text()).functions}
    named = [name for names in ROWS.values() for name in names.split()]
    some = {name for name, in_ in having.items() if not all(in_) and not re.fullmatch("|".join(INSIDE), name)}
    if wrong := some ^ set(named):
        sys.exit(f"bindings.py: in some bindings alone and in no row of ROWS, or the other way round: {sorted(wrong)}")
    out = f"| | {' | '.join(BINDINGS)} |\n| --- |{' :-: |' * len(BINDINGS)}\n"
    for what, names in ROWS.items():
        kinds = {having[name] for name in names.split()}
        if len(kinds) > 1:
            sys.exit(f"bindings.py: not all of {names} are in the same bindings: more rows")
        calls = ", ".join(f"`{name}`" for name in names.split())
        out += f"| {what} ({calls}) | {' | '.join('yes' if has else '' for has in kinds.pop())} |\n"
    return out


def main():
    stale = "docs/bindings.md's table is not what the bindings hold: run tests/docs/bindings.py"
    settle(PAGE, with_section(PAGE, "only some", table()), sys.argv[1:], stale, __doc__)


main()
