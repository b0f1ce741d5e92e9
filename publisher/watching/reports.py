"""The way out of a watcher: events of the wanted types, and the memory of what a listing reported."""

from __future__ import annotations

from collections import deque
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
        self._wants = filter_.wants_event
        self._wanted_of_files = filter_.types
        self._emit = emit
        self.filtered = 0

    def send(self, events: list[EventInfo]) -> None:
        """Events that belong side by side."""
        wanted = [event for event in events if self._wants(event.type, is_dir=bool(event.is_dir))]
        self.filtered += len(events) - len(wanted)
        if wanted:
            self._emit(wanted)

    def send_file(self, event: EventInfo) -> None:
        """One event about a file."""
        if event.type in self._wanted_of_files:
            self._emit([event])
        else:
            self.filtered += 1

    def send_each(self, events: Iterable[EventInfo]) -> None:
        """Events that are independent of each other."""
        for event in events:
            self.send([event])


class Fresh:
    """Files that a listing has just reported: records of the same content are on their way and say nothing new.

    They are remembered until the position is read behind which every record was queued after that.
    """

    def __init__(self) -> None:
        self._signatures: dict[str, tuple[Signature, int]] = {}
        self._mark = 0
        self._unmarked: list[str] = []
        self._marked: deque[tuple[int, int, list[str]]] = deque()

    def __bool__(self) -> bool:
        """Whether anything is remembered, or was and was forgotten since."""
        return bool(self._unmarked or self._marked)

    def remember(self, path: str, signature: Signature) -> None:
        """A listing reported this."""
        self._signatures[path] = (signature, self._mark)
        self._unmarked.append(path)

    def forget(self, path: str) -> None:
        """The file is gone."""
        self._signatures.pop(path, None)

    def signature(self, path: str) -> Signature | None:
        """What a listing saw, if records of `path` may be old news."""
        known = self._signatures.get(path)
        return None if known is None else known[0]

    def mark(self, end: int) -> None:
        """All records of what was remembered until now are queued before the position `end`."""
        if self._unmarked:
            self._marked.append((end, self._mark, self._unmarked))
            self._mark += 1
            self._unmarked = []

    def passed(self, position: int) -> None:
        """The records before `position` are read: what was marked with it is news again."""
        while self._marked and self._marked[0][0] <= position:
            _, mark, paths = self._marked.popleft()
            for path in paths:
                if self._signatures.get(path, (None, -1))[1] == mark:
                    del self._signatures[path]
