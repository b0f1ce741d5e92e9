"""A bound on the bytes of replies that wait to be sent, so that memory stays flat however many are asked for."""

from __future__ import annotations

import threading


class Budget:
    """Bytes that may be on their way at a time; any thread."""

    def __init__(self, size_bytes: int) -> None:
        """All of it is free."""
        self._limit = size_bytes
        self._changed = threading.Condition()  # guards the next two
        self._used = 0
        self._is_open = True

    def take(self, size_bytes: int) -> None:
        """Blocks until that much is free, or all of it, or the budget is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._is_open or self._used == 0 or self._used + size_bytes <= self._limit
            )
            self._used += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """What was taken is free again."""
        with self._changed:
            self._used -= size_bytes
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
