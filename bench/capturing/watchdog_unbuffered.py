"""watchdog without its buffer and its queues: `python -m bench.capturing.watchdog_unbuffered ROOT MODE`.

Its `InotifyFD` reads and parses, its `InotifyWatchGroup` follows directories and makes paths, and instead of holding
records back to pair the halves of renames, on two more threads, they are handled where they were read. The kernel is
asked for no more than a watcher of complete files needs.
"""

from __future__ import annotations

import os
import sys

from watchdog.observers.inotify import InotifyWatchGroup
from watchdog.observers.inotify_c import InotifyConstants, InotifyFD, Mask
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper, PathedInotifyEvent

from bench.capturing.tally import Tally

IN = InotifyConstants
MASK = Mask(
    IN.IN_CREATE | IN.IN_CLOSE_WRITE | IN.IN_MOVED_FROM | IN.IN_MOVED_TO | IN.IN_DELETE | IN.IN_DELETE_SELF
)
DONE = IN.IN_CLOSE_WRITE | IN.IN_MOVED_TO


class Straight(InotifyMoveEventGrouper):
    """Groups nothing and keeps nothing."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def put_event(self, event: PathedInotifyEvent) -> None:
        if event.ev.mask & DONE:
            self._tally.note(os.fsdecode(event.path))


class Group(InotifyWatchGroup):
    """The watches below a directory, with nothing behind them."""

    def __init__(self, descriptor: InotifyFD, root: str, tally: Tally) -> None:
        super().__init__(descriptor, os.fsencode(root), is_recursive=True, event_mask=MASK)
        self._move_event_grouper = Straight(tally)


def main(root: str, mode: str) -> None:
    descriptor = InotifyFD()
    Group(descriptor, root, Tally(mode))
    while True:
        for event in descriptor.read_events():
            descriptor.handle_event(event)


if __name__ == "__main__":
    main(*sys.argv[1:])
