"""Calls of the library, their errors, and handles."""

from __future__ import annotations

import ctypes as c
import weakref
from collections.abc import Sequence
from typing import Any, Optional

from . import _native
from ._native import lib


class Error(Exception):
    """A call failed. `code` is one of the RASP_ERROR_ constants of rasp.h, `name` says which."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.name: str = lib.rasp_status_name(code).decode()

    def __str__(self) -> str:
        return f"{self.name}: {self.args[0]}"


def check(status: int, error: _native.Error) -> int:
    if status < 0:
        raise Error(status, error.message.decode("utf-8", "replace"))
    return status


def call(function: Any, *arguments: Any) -> int:
    error = _native.Error()
    return check(function(*arguments, c.byref(error)), error)


def grown(kind: Any, guess: int, function: Any, *arguments: Any) -> Any:
    """The array that a call fills, made again with the size it asks for if the first guess is too small."""
    error = _native.Error()
    count = c.c_size_t()
    while True:
        buffer = (kind * max(guess, 1))()
        status = function(*arguments, buffer, guess, c.byref(count), c.byref(error))
        if status != _native.BUFFER_TOO_SMALL:
            check(status, error)
            return buffer[: count.value]
        guess = count.value


def ids(tokens: Sequence[int]) -> Any:
    return (c.c_uint32 * len(tokens))(*tokens)


class Handle:
    """Something of the library's, given back by `close`, at the end of a `with`, or when nobody holds it any more."""

    def __init__(self, handle: c.c_void_p, give_back: Any, kept: Any = None) -> None:
        self._pointer: Optional[int] = handle.value
        # What the library reads in place, for as long as it may.
        self._kept = kept
        self._finalizer = weakref.finalize(self, give_back, handle)

    @property
    def _handle(self) -> int:
        if self._pointer is None:
            raise ValueError(f"this {type(self).__name__.lower()} is closed")
        return self._pointer

    @property
    def closed(self) -> bool:
        return self._pointer is None

    def close(self) -> None:
        """Gives it back, at most once. A session that is in a call stays open, and this raises an Error."""
        taken = self._finalizer.detach()
        if taken is None:
            return
        _, give_back, (handle,), _ = taken
        self._pointer = None
        status = give_back(handle)
        if status < 0:
            self._pointer = handle.value
            self._finalizer = weakref.finalize(self, give_back, handle)
            raise Error(status, f"this {type(self).__name__.lower()} is in use, and stays open")
        self._kept = None

    def __exit__(self, *_: object) -> None:
        self.close()
