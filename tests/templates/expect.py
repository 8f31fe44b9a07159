"""Writes expected.json: what Jinja2 makes of constructs.txt, set up as `transformers` sets it up.

    python3 tests/templates/expect.py        (needs jinja2 3.1)

Each template of constructs.txt (they are parted by lines of ====) is rendered with each of the conversations below. An
error is written as null: rasp must refuse the same, its words are its own.
"""

import json
import pathlib

from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
CONVERSATIONS = [
    [],
    [{"role": "user", "content": "Hi"}],
    [
        {"role": "system", "content": " Be kind.\n"},
        {"role": "user", "content": "  Hällo <b> \"q\" 'x'\n\nthere\t"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes, \u20ac5"},
        {"role": "user", "content": "x" * 40},
    ],
]


class Generation(Extension):
    """What the assistant has said is marked, and stays as it is."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def refuse(message):
    raise TemplateError(message)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def main():
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    jinja.filters["tojson"] = to_json
    jinja.globals["raise_exception"] = refuse
    templates = (HERE / "constructs.txt").read_text(encoding="utf-8").split("\n====\n")
    expected = []
    for template in templates:
        texts = []
        for messages in CONVERSATIONS:
            for prompt in (True, False):
                try:
                    text = jinja.from_string(template).render(
                        messages=messages, add_generation_prompt=prompt, tools=None, documents=None, bos_token="<s>",
                        eos_token="</s>",
                    )
                except Exception:
                    text = None
                texts.append(text)
        expected.append(texts)
    out = {"conversations": CONVERSATIONS, "expected": expected}
    (HERE / "expected.json").write_text(json.dumps(out, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    count = sum(text is not None for texts in expected for text in texts)
    print(f"{len(templates)} templates, {count} texts, {6 * len(templates) - count} refusals")


if __name__ == "__main__":
    main()
