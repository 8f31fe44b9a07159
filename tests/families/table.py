#!/usr/bin/env python3
"""Writes README.md's tables from the cases and what make.py measured. Needs nothing but Python.

python3 tests/families/table.py
"""

import json
from pathlib import Path

from cases import BASE, CASES, LOSSY

HERE = Path(__file__).parent
MARK = "<!-- Below: written by table.py. -->"


def said(case):
    """The fields of a case that are not those of BASE."""
    fields = {k: v for k, v in case.config.items() if BASE.get(k, "absent") != v} | case.add
    parts = [f"{k} {short(v)}" for k, v in fields.items()] + [f"no {k}" for k in case.drop]
    return ", ".join(parts) or "as it is"


def short(value):
    if isinstance(value, dict):
        kind = value.get("rope_type", value.get("type"))
        return f"{kind} ({', '.join(f'{k} {short(v)}' for k, v in value.items() if k not in ('rope_type', 'type'))})"
    if isinstance(value, list) and all(isinstance(v, float) for v in value):
        return f"{value[0]:g} to {value[-1]:g}"
    if isinstance(value, list):
        return " ".join(str(v).removesuffix("_attention") for v in value)
    if isinstance(value, float):
        return f"{value:g}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def gguf(name):
    """The architecture of a case's GGUF file, or why there is none."""
    if name in LOSSY:
        return f"no: {LOSSY[name]}"
    return json.loads((HERE / "data" / "gguf" / f"{name}.json").read_text())["metadata"]["general.architecture"][1]


def main():
    lines = [
        "| case | family, class | what its configuration says | traits: log-probability's change without | GGUF |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, case in CASES.items():
        made = json.loads((HERE / "data" / f"{name}.json").read_text())
        traits = ", ".join(f"{trait} {effect:g}" for trait, effect in made["traits"].items())
        marks = [f"{case.dtype} packed as {case.weight_type}"] * (case.dtype != "bf16")
        marks += [f"packed for a context of {case.context}"] * (case.context is not None)
        marks += [f"within {made['tolerance']:g}"] * (case.tolerance is not None)
        note = f"; {'; '.join(marks)}" if marks else ""
        family = f"{case.family}: {made['config']['architectures'][0]}"
        lines.append(f"| `{name}` | {family} | {said(case)}{note} | {traits} | {gguf(name)} |")
    refused = json.loads((HERE / "refused.json").read_text())
    lines += ["", "Refused by name (`refused.json`):", "", "| configuration | class | for |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {what['class']} | {what['trait']} |" for name, what in refused.items()]
    readme = HERE / "README.md"
    head = readme.read_text().split(MARK)[0]
    readme.write_text(head + MARK + "\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
