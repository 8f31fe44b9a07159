"""LoRA adapters."""

from __future__ import annotations

import ctypes as c
from dataclasses import dataclass

from . import _native
from ._calls import Handle, call
from ._native import lib
from ._source import Source, load


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
        handle, held = load(source, offset, length, lib.rasp_adapter_load, lib.rasp_adapter_load_bytes,
                            lib.rasp_adapter_load_fd, before=(model._handle,))
        super().__init__(handle, lib.rasp_adapter_free, held)

    def __enter__(self) -> Adapter:
        return self

    @property
    def info(self) -> AdapterInfo:
        raw = _native.initialised(_native.AdapterInfo, "adapter_info")
        call(lib.rasp_adapter_get_info, self._handle, c.byref(raw))
        return AdapterInfo(raw.name.decode("utf-8", "replace"), raw.rank, raw.linears, raw.bytes)
