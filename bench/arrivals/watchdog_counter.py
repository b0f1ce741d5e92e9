"""watchdog alone, counting the files that are closed: `python -m bench.arrivals.watchdog_counter ROOT`.

It prints the path of a canary, and the count of all others when it is asked to end (SIGTERM).
"""

from __future__ import annotations

import os
import signal
import sys

from watchdog.events import FileClosedEvent, FileSystemEventHandler
from watchdog.observers import Observer

from bench.arrivals.writer import CANARY


class Counter(FileSystemEventHandler):
    def __init__(self) -> None:
        self.files = 0

    def on_closed(self, event: FileClosedEvent) -> None:
        path = os.fsdecode(event.src_path)
        if path.endswith(CANARY):
            print(path, flush=True)
        else:
            self.files += 1


def main(root: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    counter = Counter()
    observer = Observer()
    observer.daemon = True
    observer.schedule(counter, root, recursive=True)
    observer.start()
    try:
        while observer.is_alive():
            observer.join(1)
    finally:
        print(counter.files, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
