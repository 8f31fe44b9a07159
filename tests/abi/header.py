"""What include/rasp.h declares, for whatever is checked against it or made from it."""

import re
from pathlib import Path
from typing import NamedTuple

HEADER = Path(__file__).resolve().parents[2] / "include" / "rasp.h"


class Field(NamedTuple):
    """A field of a struct; `length` is an array's, as the header has it, or empty."""

    kind: str
    name: str
    length: str


class Declarations(NamedTuple):
    """The header: constants with their values, fields of structs, types of callbacks and functions by their names, and
    the functions that macros of other names call."""

    constants: dict[str, str]
    structs: dict[str, list[Field]]
    callbacks: dict[str, str]
    functions: dict[str, str]
    renamed: dict[str, str]


def declarations(header: str) -> Declarations:
    code = re.sub(r"//[^\n]*", "", re.sub(r"/\*.*?\*/", "", header, flags=re.S))
    constants = dict(re.findall(r"^#define (RASP_\w+) (\S+)", code, flags=re.M))
    renamed = dict(re.findall(r"^#define (rasp_\w+) (rasp_\w+)", code, flags=re.M))
    bodies = {name: body for body, name in
              re.findall(r"^typedef struct \w+ \{(.*?)^\} (\w+);", code, flags=re.S | re.M)}
    # Fields that are pointers to functions would need a rule of their own here.
    assert all("(" not in body for body in bodies.values())
    structs = {
        name: [Field(" ".join(kind.split()), field, length) for kind, field, length in
               re.findall(r"([\w ]+[ \*])(\w+)(?:\[([^\]]*)\])?;", body)]
        for name, body in bodies.items()
    }
    flat = " ".join(re.sub(r"^#.*$", "", code, flags=re.M).split())
    flat = re.sub(r"typedef struct \w+ \{.*?\} \w+;", "", flat).replace("struct ", "").replace('extern "C" {', "")
    callbacks = {
        name: f"{result}({arguments})"
        for result, name, arguments in re.findall(r"typedef ([\w ]+?) ?\(\*(\w+)\)\((.*?)\);", flat)
    }
    flat = re.sub(r"typedef [^;]*;", "", flat)
    functions = {
        name: f"{result.strip()}({arguments})"
        for result, name, arguments in re.findall(r"([\w ]+?[ \*]+)(rasp_\w+)\((.*?)\);", flat)
    }
    assert len(constants) > 20 and len(structs) > 5 and len(functions) > 25, "the header is not read right"
    return Declarations(constants, structs, callbacks, functions, renamed)


def arguments(kind: str) -> tuple[str, list[tuple[str, str]]]:
    """The result and the parameters, each with its type, of a function's type as `declarations` has it."""
    result, inside = kind.split("(", 1)
    # A parameter that is a function itself is a pointer to whoever looks from here.
    inside = re.sub(r"void \(\*(\w+)\)\([^)]*\)", r"void *\1", inside.removesuffix(")"))
    if inside == "void":
        return result.strip(), []
    found = [re.fullmatch(r"(.*?)(\w+)", part.strip()) for part in inside.split(",")]
    return result.strip(), [(match[1].strip(), match[2]) for match in found]
