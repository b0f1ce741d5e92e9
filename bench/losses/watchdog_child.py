"""watchdog as its documentation shows it, printing every event: `python -m bench.losses.watchdog_child ROOT`."""

from __future__ import annotations

import os
import sys

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from bench.losses.lines import write


class Printer(FileSystemEventHandler):
    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type == "moved":
            write([("moved_from", os.fsdecode(event.src_path)), ("moved_to", os.fsdecode(event.dest_path))])
        else:
            write([(event.event_type, os.fsdecode(event.src_path))])


def main(root: str) -> None:
    observer = Observer()
    observer.schedule(Printer(), root, recursive=True)
    observer.start()
    try:
        while observer.is_alive():
            observer.join(1)
    finally:
        observer.stop()
        observer.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
