"""What one watcher is heard to say: its lines, each with the time at which it came through the pipe."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bench.losses.lines import LineReader

CREATED, MODIFIED, DELETED, TOLD, OTHER = "created", "modified", "deleted", "told", "other"

_PIPE_BYTES = 1 << 20


class Heard(NamedTuple):
    """One event: when (monotonic seconds), what, and of which path; of TOLD, the sentence."""

    at: float
    kind: str
    path: str


class Ear:
    """Listens to pipes on threads of its own, and is asked on one other thread.

    The threads note bytes and time, no more: neither the watcher nor the writer of the files waits for them.

    Args:
        kind_of: The meaning of a watcher's word, one of the five kinds.
    """

    def __init__(self, kind_of: Callable[[str], str]) -> None:
        self.heard: list[Heard] = []
        self.paths: set[str] = set()
        self._kind_of = kind_of
        self._arrived: deque[tuple[float, LineReader, bytes]] = deque()
        self._wake = threading.Event()
        self._last = time.monotonic()

    def listen(self, pipe: int) -> None:
        """Reads `pipe` until its writers are gone, and closes it; ended pipes and new ones may follow each other."""
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        threading.Thread(target=self._read, args=(pipe,), name="ear", daemon=True).start()

    def wait(self, is_complete: Callable[[], bool], *, quiet_seconds: float, seconds: float = 60.0) -> bool:
        """Waits until `is_complete()`; gives up when nothing has come for `quiet_seconds`, or after `seconds`."""
        began = time.monotonic()
        while True:
            self._wake.clear()
            self.take()
            if is_complete():
                return True
            now = time.monotonic()
            left = min(max(self._last, began) + quiet_seconds, began + seconds) - now
            if left <= 0:
                return False
            self._wake.wait(left)

    def wait_for(self, paths: Iterable[str], *, quiet_seconds: float) -> bool:
        """Waits until something was heard of each of `paths`, or nothing new comes."""
        wanted = set(paths)
        return self.wait(lambda: wanted <= self.paths, quiet_seconds=quiet_seconds)

    def take(self) -> None:
        """Makes events of what has arrived."""
        while self._arrived:
            at, reader, data = self._arrived.popleft()
            for word, path in reader.feed(data):
                event = Heard(at, self._kind_of(word), path.rstrip("/"))
                self.heard.append(event)
                self.paths.add(event.path)
            self._last = at

    def _read(self, pipe: int) -> None:
        reader = LineReader()
        try:
            while data := os.read(pipe, _PIPE_BYTES):
                self._arrived.append((time.monotonic(), reader, data))
                self._wake.set()
        finally:
            os.close(pipe)
