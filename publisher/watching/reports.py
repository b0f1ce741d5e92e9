"""The way out of a watcher: events of the wanted types, and the memory of what a listing reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from publisher.filters import Filter
    from publisher.sighting import Signature
    from schemas.events import EventInfo


class Reports:
    """Sends on the events that are wanted and counts the others. The reader thread's."""

    def __init__(self, filter_: Filter, emit: Callable[[list[EventInfo]], None]) -> None:
        """Events go to `emit`, those that belong side by side in one call."""
        self._filter = filter_
        self._emit = emit
        self.filtered = 0

    def send(self, events: list[EventInfo]) -> None:
        """Events that belong side by side."""
        wanted = [
            event for event in events if self._filter.wants_event(event.type, is_dir=bool(event.is_dir))
        ]
        self.filtered += len(events) - len(wanted)
        if wanted:
            self._emit(wanted)

    def send_each(self, events: Iterable[EventInfo]) -> None:
        """Events that are independent of each other."""
        for event in events:
            self.send([event])


class Fresh:
    """Files that a listing has just reported: records of the same content are on their way and say nothing new.

    Records queued before a listing are all read once the kernel's queue has been empty after it; until then
    the listing's signature tells them from a real change.
    """

    def __init__(self) -> None:
        self._signatures: dict[str, Signature] = {}
        self._older: dict[str, Signature] = {}

    def remember(self, path: str, signature: Signature) -> None:
        """A listing reported this."""
        self._signatures[path] = signature

    def forget(self, path: str) -> None:
        """The file is gone."""
        self._signatures.pop(path, None)
        self._older.pop(path, None)

    def signature(self, path: str) -> Signature | None:
        """What a listing saw, if records of `path` may be old news."""
        return self._signatures.get(path) or self._older.get(path)

    def drained(self) -> None:
        """The queue was empty: what was remembered before it was empty the last time is news again."""
        if self._signatures or self._older:
            self._older, self._signatures = self._signatures, {}
