"""How long one query may take: looked at between steps, for nothing can break off a system call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from schemas.errors import LimitExceededError, ShuttingDownError

if TYPE_CHECKING:
    import threading


class Deadline:
    """The time limit of one query, and the end of the service; for one thread."""

    __slots__ = ("_ends_at", "_seconds", "_stopping")

    def __init__(self, seconds: float, stopping: threading.Event) -> None:
        """Begins now."""
        self._seconds = seconds
        self._stopping = stopping
        self._ends_at = time.monotonic() + seconds

    def check(self, what: str) -> None:
        """Returns while there is time; `what` was being done.

        Raises:
            LimitExceededError: The time is up.
            ShuttingDownError: The service stops.
        """
        if self._stopping.is_set():
            raise ShuttingDownError(f"the server stops; {what} was not finished")
        if time.monotonic() > self._ends_at:
            raise LimitExceededError(f"{what} took longer than {self._seconds:g} seconds, the server's limit")
