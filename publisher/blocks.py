"""Events become EventLists here, by size and by time. Pure: the clock is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import EventInfo

PAUSE_SHARE = 0.1
"""The part of the block interval without an event after which the flow counts as paused."""

CHARACTERS_LIMIT = 2 * 1024 * 1024
"""Where a block without a size of its own ends: six bytes of JSON a character stay below 16 MiB."""
EVENT_OVERHEAD_CHARACTERS = 64


class Blocks:
    """Gathers one monitor's events until a block is full or due. Not thread-safe: the reader thread's.

    `added` counts the events that were added, those that only repeated another left out.
    """

    __slots__ = (
        "_characters",
        "_deadline",
        "_events",
        "_interval",
        "_limit",
        "_modified",
        "_pause",
        "_pause_at",
        "added",
    )

    def __init__(self, block_size: int, interval_seconds: float) -> None:
        """`block_size` 0 sets no limit of its own; at 1 every event is a block at once."""
        self._limit = block_size or (1 << 62)
        self._interval = interval_seconds
        self._pause = interval_seconds * PAUSE_SHARE
        self._events: list[EventInfo] = []
        self._modified: set[str] = set()
        self._characters = 0
        self._deadline = self._pause_at = 0.0
        self.added = 0

    def add(self, events: Sequence[EventInfo], now: float) -> list[list[EventInfo]]:
        """Takes events that belong together (a rename's two) and returns the blocks that are full now.

        They share a block unless the block size itself forbids it.
        """
        full: list[list[EventInfo]] = []
        if self._events and len(self._events) + len(events) > self._limit >= len(events):
            full.append(self.take())
        for event in events:
            if event.type == "Modify":
                if event.file_id in self._modified:
                    continue  # this block says so already, with nothing else of the file since
                self._modified.add(event.file_id)
            elif self._modified:
                self._modified.discard(event.file_id)
            if not self._events:
                self._deadline = now + self._interval
            self._pause_at = now + self._pause
            self._events.append(event)
            self.added += 1
            self._characters += len(event.file_id) + len(event.base_name) + EVENT_OVERHEAD_CHARACTERS
            if len(self._events) >= self._limit or self._characters >= CHARACTERS_LIMIT:
                full.append(self.take())
        return full

    def take(self) -> list[EventInfo]:
        """The block as it is, maybe empty; the next one begins."""
        events = self._events
        self._events = []
        self._modified.clear()
        self._characters = 0
        return events

    @property
    def waiting(self) -> int:
        """How many events the next block has by now."""
        return len(self._events)

    def due_at(self) -> float | None:
        """When the partial block goes out, None without one."""
        if not self._events:
            return None
        return min(self._deadline, self._pause_at)
