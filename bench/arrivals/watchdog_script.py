"""watchdog and pika as people put them together: `python -m bench.arrivals.watchdog_script URL QUEUE ROOT`.

One persistent message for each file that was closed, without confirms, to a queue that is there. A pika connection
belongs to one thread: the observer's thread hands the paths over, and the main thread publishes, or answers heartbeats
when there is nothing to publish.
"""

from __future__ import annotations

import os
import queue
import sys

import pika
from watchdog.events import FileClosedEvent, FileSystemEventHandler
from watchdog.observers import Observer


class Handler(FileSystemEventHandler):
    def __init__(self, paths: queue.Queue[str]) -> None:
        self._paths = paths

    def on_closed(self, event: FileClosedEvent) -> None:
        self._paths.put(os.fsdecode(event.src_path))


def main(url: str, name: str, root: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    persistent = pika.BasicProperties(delivery_mode=2)
    paths: queue.Queue[str] = queue.Queue()
    observer = Observer()
    observer.daemon = True
    observer.schedule(Handler(paths), root, recursive=True)
    observer.start()
    while True:
        try:
            path = paths.get(timeout=1)
        except queue.Empty:
            connection.process_data_events(time_limit=0)
        else:
            channel.basic_publish("", name, os.fsencode(path), persistent)


if __name__ == "__main__":
    main(*sys.argv[1:])
