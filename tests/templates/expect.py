"""Writes expected.json: what Jinja2 makes of constructs.txt, set up as `transformers` sets it up.

    python3 tests/templates/expect.py        (needs jinja2 3.1)

Each template of constructs.txt (they are parted by lines of ====) and each of LINE_ENDS is rendered with each of the
conversations below, its variables, and its time. An error is written as null: rasp must refuse the same, its words are
its own.
"""

import datetime
import json
import pathlib

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
# What a file with other line ends would hold.
LINE_ENDS = [
    "a\r\nb\rc{% if 1 %}\r\nd{% endif %}\r\n",
    "{% for m in messages %}\r\n<{{ m.role }}>\r\n{{ m.role }}\r\n{% endfor %}\r\n",
    "{% for m in messages %}\r<{{ m.role }}>\r{{ m.role }}\r{% endfor %}\r",
    "a\n\rb\r\r\nc\n\n",
    "{{ 'a\r\nb\rc' | length }}{{ 'a\\r\\nb' | length }}\r\n{#\r\n#}\r\nx  \r\n  {%- if 1 %}\r\ny{% endif %}",
    "{% raw %}\r\na\r\n{% endraw %}\r\nb\r",
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a <place> & 'time'",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Where, as in \"Z\u00fcrich\""},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["place"],
        },
    },
}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Bern", "days": [1, 2.5, None]}}}
CONVERSATIONS = [
    {"messages": [], "variables": {}, "time": 951_782_400},
    {
        "messages": [{"role": "user", "content": "Hi"}],
        "variables": {"enable_thinking": False, "date_string": "1 Jan 2025", "tools": [], "documents": [{"text": "d"}]},
        "time": 1_735_689_599,
    },
    {
        "messages": [
            {"role": "system", "content": " Be kind.\n"},
            {"role": "user", "content": "  H\u00e4llo <b> \"q\" 'x'\n\nthere\t"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes, \u20ac5"},
            {"role": "user", "content": "x" * 40},
        ],
        "variables": {
            "numbers": [0, -1, 1.5, 1e300, True, None],
            "nested": {"a": {"b": [{"c": "\ud83d\ude00\u2028\u0001"}]}},
        },
        "time": 1_609_459_199,
    },
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image"}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "{\"t\": 3}", "name": "weather", "tool_call_id": "1"},
            {"role": "assistant", "content": "Cold.", "reasoning_content": "3 is cold"},
        ],
        "variables": {"tools": [WEATHER], "enable_thinking": True},
        "time": 68_169_600,
    },
]


def as_given(chat):
    """A conversation as rasp is given it: in JSON what is no text, in the order of the keys."""
    messages = []
    for message in chat["messages"]:
        fields = dict(message)
        given = {"role": fields.pop("role")}
        if isinstance(fields["content"], str):
            given["content"] = fields.pop("content")
        if fields:
            given["fields"] = json.dumps(fields)
        messages.append(given)
    return {"messages": messages, "variables": json.dumps(chat["variables"]), "time": chat["time"]}


class Generation(Extension):
    """What the assistant has said is marked; its block has variables of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller):
        return caller()


def refuse(message):
    raise TemplateError(message)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    jinja.filters["tojson"] = to_json
    jinja.globals["raise_exception"] = refuse
    return jinja


def renderings(jinja, template, chats):
    """What becomes of each conversation, with the generation prompt and without; `None` where it is refused."""
    texts = []
    for chat in chats:
        now = datetime.datetime.fromtimestamp(chat["time"], datetime.timezone.utc).replace(tzinfo=None)
        jinja.globals["strftime_now"] = now.strftime
        given = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>"} | chat["variables"]
        for prompt in (True, False):
            try:
                text = jinja.from_string(template).render(
                    messages=chat["messages"], add_generation_prompt=prompt, **given
                )
            except Exception:
                text = None
            texts.append(text)
    return texts


def main():
    templates = (HERE / "constructs.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n====\n") + LINE_ENDS
    jinja = environment()
    expected = [renderings(jinja, template, CONVERSATIONS) for template in templates]
    out = {"conversations": [as_given(chat) for chat in CONVERSATIONS], "line_ends": LINE_ENDS, "expected": expected}
    (HERE / "expected.json").write_text(json.dumps(out, ensure_ascii=True, indent=0) + "\n", encoding="utf-8")
    count = sum(text is not None for texts in expected for text in texts)
    print(f"{len(templates)} templates, {count} texts, {2 * len(CONVERSATIONS) * len(templates) - count} refusals")


if __name__ == "__main__":
    main()
