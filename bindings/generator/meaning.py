"""What the parameters of rasp.h mean to a language that has no pointers: whether one is a handle, a struct, an array,
or where a single value is written."""

import re
import sys

HANDLES = ("rasp_model", "rasp_session", "rasp_constraint", "rasp_adapter", "rasp_reply")
# Those that end a handle's life.
FREES = ("rasp_free", "rasp_session_close", "rasp_constraint_free", "rasp_adapter_free", "rasp_reply_free")
# A pointer to one value, and to many, look the same in C: their names tell.
ONE = {"token", "count", "size", "length", "ended", "found", "kept", "log_prob", "options", "info", "part", "plan",
       "sampling", "stats", "stream"}
MANY = {"tokens", "statuses", "vector", "messages", "biases", "top", "scales"}
# Bytes that must stay where they are after the call.
STAYING = {("rasp_load_bytes", "data"), ("rasp_adapter_load_bytes", "data")}
# Structs that are left out with a meaning of its own, other than their defaults.
OPTIONAL = {("rasp_session_fork", "options")}


def meaning(declared, function, kind, name):
    """One word for a parameter, and the type that the word is about."""
    plain = kind.replace("const ", "").replace(" const", "")
    base, stars = plain.rstrip("* ").removesuffix("const").strip(), plain.count("*")
    if stars == 0:
        return ("callback" if base in declared.callbacks else "value"), base
    if kind == "const char *const *":
        return "addresses", base
    if base in HANDLES:
        if "*const *" in kind:
            return "addresses", base
        return {1: "freed" if function in FREES else "handle", 2: "made"}[stars], base
    if stars == 2:
        return "pointer", base
    if base == "rasp_error":
        return "error", base
    if base == "void" and name in ("context", "job") or (function, name) in STAYING:
        return "address", base
    if base in ("char", "void", "uint8_t"):
        return "bytes", base
    if name not in ONE | MANY:
        sys.exit(f"meaning.py: does {name} of {function} point to one value or to many?")
    if base in declared.structs:
        if name in MANY:
            return "structs", base
        return ("optional" if (function, name) in OPTIONAL else "struct"), base
    # What only goes in is an array: a single value is given by itself.
    return ("array" if name in MANY else "out"), base


def called(declared):
    """Functions to be declared, by name and symbol; of an initialiser that has grown the newest, by its first name."""
    def first(name):
        return re.sub(r"_init_\d+$", "_init", name)

    names = {name: name for name in declared.functions if first(name) not in declared.renamed} | declared.renamed
    return sorted(names.items())


def number(value):
    """A constant's value without C's brackets."""
    return value.strip("()")


def length(declared, text):
    """The length of an array that a number or a constant says."""
    return number(declared.constants.get(text, text))


def wrapped(opening, parts, ending, indent):
    """A list in lines of at most 120 columns."""
    lines, line = [], opening
    for place, part in enumerate(parts):
        part += "," if place < len(parts) - 1 else ending
        if len(line) + len(part) + 1 > 120:
            lines.append(line.rstrip())
            line = indent + part
        else:
            line += part if line[-1] in "( {" else " " + part
    return "\n".join([*lines, line if parts else line + ending])
