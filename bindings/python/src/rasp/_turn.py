"""A turn of the assistant's in a chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

from ._constraint import Constraint
from ._reply import Part, Reply

if TYPE_CHECKING:
    from ._session import Session


class Turn(Iterator[Part]):
    """What the assistant says, part by part as it comes: text, what it thinks (`Reasoning`), calls of tools (`Call`).

    `kept` tells how many tokens the session held already."""

    def __init__(self, session: Session, reply: Reply, constraint: Optional[Constraint], limit: Optional[int],
                 kept: int) -> None:
        self.kept = kept
        self._reply = reply
        self._parts = self._answer(session, constraint, limit)

    def _answer(self, session: Session, constraint: Optional[Constraint], limit: Optional[int]) -> Iterator[Part]:
        if constraint is None:
            yield from session.answer(self._reply, limit)
            return
        session.set_constraint(constraint)
        try:
            yield from session.answer(self._reply, limit)
        finally:
            if not session.closed:
                session.set_constraint(None)

    def __next__(self) -> Part:
        return next(self._parts)

    @property
    def message(self) -> dict[str, Any]:
        """What it has said, as a message to append to those that it answers: "content", and "reasoning_content" and
        "tool_calls" where there are some. An answer that was left in the middle is what had come of it."""
        return self._reply.message()
