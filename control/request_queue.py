"""A queue of requests as it is declared, and what to do when the broker refuses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from publisher.amqp import Refusal


@dataclass(frozen=True, slots=True)
class RequestQueue:
    """A durable queue.

    Attributes:
        name: On the broker.
        arguments: It is declared with these; one that exists with others is refused.
        prefetch: Requests taken at a time. With 1 they are served one by one, in order.
    """

    name: str
    arguments: Mapping[str, object]
    prefetch: int

    @property
    def is_serial(self) -> bool:
        """Whether its requests are served one by one."""
        return self.prefetch == 1

    def remedy(self, refusal: Refusal) -> str:
        """Why it cannot be consumed, and what the operator can do about it."""
        match refusal.code:
            case 406 if "inequivalent" in refusal.text:
                return (
                    f"queue {self.name!r} exists with other arguments; delete it (its requests are lost) or choose"
                    f" another FSHERALD_NAMESPACE: {refusal.text}"
                )
            case 403:
                return f"the server's user may not declare or read queue {self.name!r}; permit it: {refusal.text}"
            case 405:
                return f"queue {self.name!r} is exclusive to another connection: {refusal.text}"
        return f"{refusal.text} ({refusal.code})"
