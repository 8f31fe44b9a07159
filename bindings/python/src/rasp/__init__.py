"""rasp: language models inside your program, reading only part of the weights for each token.

    with rasp.Model("smollm2.rasp") as model, model.open() as session:
        session.prefill(model.tokenize("The capital of France is"))
        for piece in session.generate(32):
            print(piece, end="", flush=True)

A model may be used from any thread at once. A session belongs to one thread at a time; `cancel` may come from any.
The interpreter runs other threads while the library computes.
"""

from __future__ import annotations

from ._adapter import Adapter, AdapterInfo
from ._batch import step_batch
from ._calls import Error
from ._constraint import Constraint
from ._logits import LogitsCallback
from ._model import Model, ModelInfo
from ._native import lib
from ._options import MemoryPlan, SessionOptions
from ._reply import Call, Part, Reasoning, Reply
from ._session import Piece, Session, Stats, Token
from ._turn import Turn

__all__ = ["Adapter", "AdapterInfo", "Call", "Constraint", "Error", "LogitsCallback", "MemoryPlan", "Model",
           "ModelInfo", "Part", "Piece", "Reasoning", "Reply", "Session", "SessionOptions", "Stats", "Token", "Turn",
           "abi_version", "step_batch", "version"]


def version() -> str:
    """Version of the library, such as "0.1.0"."""
    text: str = lib.rasp_version().decode()
    return text


def abi_version() -> int:
    """Version of the library's binary interface."""
    number: int = lib.rasp_abi_version()
    return number
