"""Files of models and adapters: by their path, in memory, or open."""

from __future__ import annotations

import ctypes as c
import os
from typing import Any, Protocol, Union

from ._calls import call


class _Open(Protocol):
    def fileno(self) -> int: ...


Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, int, _Open]


def load(source: Source, offset: int, length: int, by_path: Any, by_bytes: Any, by_file: Any, *, before: Any = (),
         after: Any = ()) -> tuple[c.c_void_p, Any]:
    """The handle that one of three functions gives, each called with `before`, where the file is, and `after`; and what
    the library reads in place, which must stay for as long as something uses the file."""
    handle = c.c_void_p()
    after = (*after, c.byref(handle))
    if isinstance(source, (str, os.PathLike)):
        if offset or length:
            raise TypeError("an offset and a length are of an open file, not of a path")
        path = os.fsencode(source)
        if b"\0" in path:
            raise ValueError("a NUL would end the path")
        call(by_path, *before, path, *after)
        return handle, None
    if isinstance(source, int) or hasattr(source, "fileno"):
        number = source if isinstance(source, int) else source.fileno()
        call(by_file, *before, number, offset, length, *after)
        return handle, None
    if offset or length:
        raise TypeError("an offset and a length are of an open file, not of bytes")
    # Of bytes that can change, a copy.
    data = source if isinstance(source, bytes) else bytes(memoryview(source))
    held = c.c_char_p(data)
    call(by_bytes, *before, held, len(data), *after)
    return handle, held
