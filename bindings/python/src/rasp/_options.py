"""How sessions are opened, and what they will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from . import _native


class SessionOptions(TypedDict, total=False):
    """How a session is opened: the keywords of `Model.open`, `Model.plan` and `Session.fork`."""

    context: int
    threads: int
    batch: int
    kv: str
    windows_alone: bool
    drafts: int
    adapter_rank: int


def session_options(*, context: int = 0, threads: int = 1, batch: int = 0, kv: str = "f16", windows_alone: bool = False,
                    drafts: int = 0, adapter_rank: int = 0) -> _native.SessionOptions:
    if kv not in _native.KV_TYPES:
        raise ValueError(f"kv is {kv!r}, not one of {', '.join(_native.KV_TYPES)}")
    raw: _native.SessionOptions = _native.initialised(_native.SessionOptions, "session_options")
    raw.context, raw.threads, raw.batch, raw.kv_type = context, threads, batch, _native.KV_TYPES[kv]
    raw.windows_alone, raw.drafts, raw.adapter_rank = windows_alone, drafts, adapter_rank
    return raw


@dataclass(frozen=True)
class MemoryPlan:
    """The memory that a session will take, in bytes; the last four sum to `size`. Room for tokens, and prompt tokens
    that pass together, are what a 0 in the options stands for."""

    context: int
    batch: int
    size: int
    kv_cache: int
    activations: int
    sampling: int
    bookkeeping: int
