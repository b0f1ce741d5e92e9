"""The line that every watcher prints for an event, and its way back: `word TAB path NEWLINE`, at once.

Words are each watcher's own; `bench.losses.peers` tells what they mean. Used by children, so it imports little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator


def write(events: Iterable[tuple[str, str]]) -> None:
    """Prints words and paths and flushes, so that the time of arrival is the time of the event."""
    text = "".join(f"{word}\t{path}\n" for word, path in events)
    sys.stdout.buffer.write(os.fsencode(text))
    sys.stdout.buffer.flush()


class LineReader:
    """Cuts bytes, as they come from a pipe, into words and paths. What is no such line is left out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        """The complete lines so far; an incomplete one waits for its end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, tab, path = os.fsdecode(line).partition("\t")
            if tab:
                yield word, path
