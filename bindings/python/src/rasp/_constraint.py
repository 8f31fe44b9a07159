"""What answers may be."""

from __future__ import annotations

import ctypes as c
import json
from collections.abc import Mapping, Sequence
from typing import Any, Union

from . import _native
from ._calls import Handle, call
from ._native import lib


class Constraint(Handle):
    """What an answer may be, shared by any number of sessions of its model; they keep what they need of it when it is
    closed."""

    def __init__(self, model: Handle, kind: str, source: Union[str, Mapping[str, Any], Sequence[Any], bool]) -> None:
        if kind not in _native.CONSTRAINT_KINDS:
            raise ValueError(f"kind is {kind!r}, not one of {', '.join(_native.CONSTRAINT_KINDS)}")
        if not isinstance(source, str):
            if kind not in ("json_schema", "tools"):
                raise TypeError(f"the source of a {kind} is a str, not {type(source).__name__}")
            source = json.dumps(source)
        data = source.encode()
        handle = c.c_void_p()
        call(lib.rasp_constraint_new, model._handle, _native.CONSTRAINT_KINDS[kind], data, len(data), c.byref(handle))
        super().__init__(handle, lib.rasp_constraint_free)

    def __enter__(self) -> Constraint:
        return self
