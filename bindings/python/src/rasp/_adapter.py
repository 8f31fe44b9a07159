"""LoRA adapters."""

from __future__ import annotations

import ctypes as c
import os
from dataclasses import dataclass
from typing import Any, Protocol, Union

from . import _native
from ._calls import Handle, call
from ._native import lib


class _Open(Protocol):
    def fileno(self) -> int: ...


Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, int, _Open]


@dataclass(frozen=True)
class AdapterInfo:
    """What an adapter is: its largest rank, how many linears it adds to, and the bytes that every token reads."""

    name: str
    rank: int
    linears: int
    bytes: int


class Adapter(Handle):
    """A loaded LoRA adapter, shared by any number of sessions; they keep what they need of it when it is closed."""

    def __init__(self, model: Handle, source: Source, *, offset: int = 0, length: int = 0) -> None:
        handle = c.c_void_p()
        # What the library reads in place: it must stay for as long as a session has the adapter set.
        self._data: Any = None
        if isinstance(source, (str, os.PathLike)):
            if offset or length:
                raise TypeError("an offset and a length are of an open file, not of a path")
            path = os.fsencode(source)
            if b"\0" in path:
                raise ValueError("a NUL would end the path")
            call(lib.rasp_adapter_load, model._handle, path, c.byref(handle))
        elif isinstance(source, (bytes, bytearray, memoryview)):
            if offset or length:
                raise TypeError("an offset and a length are of an open file, not of bytes")
            data = bytes(source)
            self._data = (c.c_uint64 * (len(data) // 8 + 1))()
            c.memmove(self._data, data, len(data))
            call(lib.rasp_adapter_load_bytes, model._handle, self._data, len(data), c.byref(handle))
        else:
            number = source if isinstance(source, int) else source.fileno()
            call(lib.rasp_adapter_load_fd, model._handle, number, offset, length, c.byref(handle))
        super().__init__(handle, lib.rasp_adapter_free)

    def __enter__(self) -> Adapter:
        return self

    @property
    def info(self) -> AdapterInfo:
        raw = _native.initialised(_native.AdapterInfo, "adapter_info")
        call(lib.rasp_adapter_get_info, self._handle, c.byref(raw))
        return AdapterInfo(raw.name.decode("utf-8", "replace"), raw.rank, raw.linears, raw.bytes)
