"""Messages on their way to the library, and answers told apart."""

from __future__ import annotations

import ctypes as c
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from . import _native
from ._calls import Handle, call, grown
from ._native import lib

Messages = Sequence[Mapping[str, Any]]


def _with_objects(calls: Any) -> Any:
    """Calls with arguments as templates take them: an object, where OpenAI's clients have its JSON as a string."""
    if not isinstance(calls, (list, tuple)):
        return calls
    found = []
    for one in calls:
        function = one.get("function") if isinstance(one, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("arguments"), str):
            try:
                arguments = json.loads(function["arguments"])
            except ValueError:
                arguments = None
            # What a model wrote need not be JSON.
            if isinstance(arguments, dict):
                one = {**one, "function": {**function, "arguments": arguments}}
        found.append(one)
    return found


def conversation(messages: Messages, add_generation_prompt: bool, variables: Optional[Mapping[str, Any]],
                 time: int) -> tuple[Any, _native.ChatOptions]:
    """Messages and options as the library takes them."""
    raw = (_native.ChatMessage * len(messages))()
    for place, message in zip(raw, messages):
        fields = dict(message)
        data = fields.pop("role").encode()
        place.role, place.role_length = data, len(data)
        content = fields.get("content")
        if isinstance(content, str):
            del fields["content"]
            data = content.encode()
            place.content, place.content_length = data, len(data)
        if "tool_calls" in fields:
            fields["tool_calls"] = _with_objects(fields["tool_calls"])
        if fields:
            data = json.dumps(fields).encode()
            place.fields, place.fields_length = data, len(data)
    options = _native.initialised(_native.ChatOptions, "chat_options")
    options.add_generation_prompt, options.time = add_generation_prompt, time
    if variables is not None:
        data = json.dumps(variables).encode()
        options.variables, options.variables_length = data, len(data)
    return raw, options


@dataclass(frozen=True)
class Call:
    """A call of a tool: the function's name, its arguments, and what a message of the result refers to."""

    name: str
    arguments: dict[str, Any]
    id: str


@dataclass(frozen=True)
class Reasoning:
    """What the model thinks before it says something."""

    text: str


#: A part of an answer.
Part = Union[str, Reasoning, Call]


class Reply(Handle):
    """An answer that is told apart as it comes. `Session.answer` does all of it, `Session.chat` what comes before
    too."""

    def __init__(self, model: Handle, messages: Messages, *, add_generation_prompt: bool = True,
                 variables: Optional[Mapping[str, Any]] = None, time: int = 0) -> None:
        raw, options = conversation(messages, add_generation_prompt, variables, time)
        handle = c.c_void_p()
        call(lib.rasp_reply_new, model._handle, raw, len(messages), c.byref(options), c.byref(handle))
        # It keeps the model, and with it the model's bytes.
        super().__init__(handle, lib.rasp_reply_free, model._kept)

    def __enter__(self) -> Reply:
        return self

    def push(self, text: str) -> None:
        """Takes more of the answer: what `Session.generate` gives with `marks`."""
        data = text.encode()
        call(lib.rasp_reply_push, self._handle, data, len(data))

    def push_token(self, token: int) -> None:
        """Takes a token of the answer, for hosts that step by tokens."""
        call(lib.rasp_reply_push_token, self._handle, token)

    def finish(self) -> None:
        """Ends the answer: what was held back is known now."""
        call(lib.rasp_reply_finish, self._handle)

    def parts(self) -> Iterator[Part]:
        """What is known of the answer and was not given yet: text, what the model thinks, and calls."""
        part = _native.ReplyPart()
        while call(lib.rasp_reply_next, self._handle, c.byref(part)) == 0:
            def text(place: Optional[int], length: int) -> str:
                return c.string_at(place, length).decode() if place else ""

            said = text(part.text, part.text_length)
            if part.kind == _native.PART_CALL:
                name, id = text(part.name, part.name_length), text(part.id, part.id_length)
                yield Call(name, json.loads(said), id)
            elif part.kind == _native.PART_REASONING:
                yield Reasoning(said)
            else:
                yield said

    def message(self) -> dict[str, Any]:
        """The answer as a message, to be put after those that it answers."""
        data: bytes = grown(c.c_char, 4096, lib.rasp_reply_message, self._handle)
        return {"role": "assistant", **json.loads(data)}
