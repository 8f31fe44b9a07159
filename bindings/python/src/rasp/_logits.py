"""Functions that look at logits before a token is sampled."""

from __future__ import annotations

import ctypes as c
import operator
from array import array
from typing import Any, Callable, Optional

from . import _native

#: Looks at the logits of the next token, one a token of the vocabulary, which it may change in place, and at the tokens
#: so far. It returns None to have a token sampled from the logits, or the token that it chose.
LogitsCallback = Callable[["array[float]", "list[int]"], Optional[int]]


class Hook:
    """A callback as C calls it, and what it raised, which cannot pass through C."""

    def __init__(self, callback: LogitsCallback) -> None:
        self.raised: list[BaseException] = []
        self.pointer = _native.LOGITS_CALLBACK(_entry(callback, self.raised))


def _entry(callback: LogitsCallback, raised: list[BaseException]) -> Callable[..., int]:
    def chosen(place: Any, vocabulary: int, tokens: Any, count: int) -> int:
        # Copies, since a callback may keep what it was given.
        logits = array("f", c.string_at(place, 4 * vocabulary))
        choice = callback(logits, tokens[:count])
        if choice is None:
            left = logits.tobytes()
            if len(left) != 4 * vocabulary:
                raise ValueError(f"the logits callback left {len(logits)} logits of {vocabulary}")
            c.memmove(place, left, len(left))
            return _native.LOGITS_SAMPLE
        token = operator.index(choice)
        # One of these C takes for none.
        if not 0 <= token < 2**31:
            raise ValueError(f"the logits callback chose {token}, which is no token")
        return token

    def entry(_: Any, place: Any, vocabulary: int, tokens: Any, count: int) -> int:
        raised.clear()
        try:
            return chosen(place, vocabulary, tokens, count)
        except BaseException as exception:
            raised.append(exception)
            # No token: the step fails, and has appended nothing.
            return -(2**31)

    return entry
