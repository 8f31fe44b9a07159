"""Several sessions in one step."""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from typing import Union

from . import _native
from ._calls import Error
from ._native import lib
from ._session import Session, Token


def step_batch(sessions: Sequence[Session]) -> list[Union[Token, Exception]]:
    """A step of several sessions of one model, in which the weights are read once for all of them. For each its token,
    or why it has none: an `Error`, or what its logits callback raised. One that fails is as it was, and does not
    disturb the others. The first one's threads do the work, and a quarter of its `batch` (32 at most) pass together."""
    held = list(sessions)
    count = len(held)
    handles = (c.c_void_p * count)(*(session._handle for session in held))
    tokens, statuses = (c.c_uint32 * count)(), (c.c_int32 * count)()
    error = _native.Error()
    first = lib.rasp_step_batch(handles, count, tokens, statuses, c.byref(error))
    raised = [session._raised() for session in held]
    steps: list[Union[Token, Exception]] = []
    for at, (exception, token, status) in enumerate(zip(raised, tokens, statuses)):
        if isinstance(exception, Exception):
            steps.append(exception)
        elif exception is not None:
            # A KeyboardInterrupt, say, is nobody's result.
            raise exception
        elif status >= 0:
            steps.append(Token(token, status == _native.END))
        else:
            # Words come for the first that failed; the others have a name.
            words = error.message.decode("utf-8", "replace") if status == first else f"session {at}"
            steps.append(Error(status, words))
        if status == first:
            first = 0
    return steps
