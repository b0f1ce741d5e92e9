"""watchdog as its documentation shows it: `python -m bench.capturing.watchdog_default ROOT MODE`."""

from __future__ import annotations

import os
import sys

from watchdog.events import FileClosedEvent, FileSystemEventHandler
from watchdog.observers import Observer

from bench.capturing.tally import Tally


class Handler(FileSystemEventHandler):
    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def on_closed(self, event: FileClosedEvent) -> None:
        self._tally.note(os.fsdecode(event.src_path))


def main(root: str, mode: str) -> None:
    handler = Handler(Tally(mode))
    observer = Observer()
    observer.daemon = True
    observer.schedule(handler, root, recursive=True)
    observer.start()
    while observer.is_alive():
        observer.join(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
