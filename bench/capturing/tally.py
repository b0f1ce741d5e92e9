"""What the watchers of the capture comparison do with a file: they keep its path.

A path is printed at once, with the time, when it is that of a canary, or of any file where each of them is waited for.
When the watcher is asked to end (SIGTERM) it prints how many other files it has heard of.
"""

from __future__ import annotations

import os
import signal
import time

from bench.arrivals.writer import CANARY
from bench.losses.lines import write

TELL = "tell"
"""The word for a watcher that prints every path."""


class Tally:
    """The handler of a watcher. Made on the main thread; `note` is for any one thread."""

    def __init__(self, mode: str) -> None:
        """Prints every path if `mode` is TELL."""
        self._tells = mode == TELL
        self._paths: list[str] = []
        signal.signal(signal.SIGTERM, lambda *_: self._end())

    def note(self, path: str) -> None:
        """A file is complete."""
        if self._tells or path.endswith(CANARY):
            write([(str(time.monotonic_ns()), path)])
        self._paths.append(path)

    def _end(self) -> None:
        print(distinct(self._paths), flush=True)
        os._exit(0)  # whatever thread waits for more


def distinct(paths: list[str]) -> int:
    """How many files there are, canaries left out, each counted once."""
    return len({path for path in paths if not path.endswith(CANARY)})
