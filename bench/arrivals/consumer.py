"""The consumer of the arrival comparison: bare pika, automatic acknowledgement, the same for everybody."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pika

from schemas.events import decode_event_list

LONGEST_SECONDS = 60.0


class Consumer:
    """Notes messages and when each came, on the thread that waits. What they say is read afterwards.

    Args:
        url: The broker.
        queue: Its queue, which is there.
        paths: The files that a message tells of.
    """

    def __init__(self, url: str, queue: str, paths: Callable[[bytes], Iterable[str]]) -> None:
        self._paths = paths
        self._arrived: list[tuple[int, bytes]] = []
        self._events = 0
        self._times: dict[str, int] = {}
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        channel = self._connection.channel()
        channel.basic_consume(queue, self._on_message, auto_ack=True)

    def times(self) -> dict[str, int]:
        """Base names of the files, and when each was heard of first (monotonic ns)."""
        for at, body in self._arrived:
            for path in self._paths(body):
                self._times.setdefault(path.rpartition("/")[2], at)
        self._arrived.clear()
        return self._times

    def wait(self, files: int, *, quiet_seconds: float, is_busy: Callable[[], bool] = lambda: False) -> bool:
        """Waits until so many files were heard of.

        Gives up when nothing has come for `quiet_seconds` in which whoever watches was not `is_busy`, and after
        LONGEST_SECONDS in any case.
        """
        last, seen = time.monotonic(), self._events
        deadline = last + LONGEST_SECONDS
        # What is heard twice counts as an event, so the names are looked at as well.
        while self._events < files or len(self.times()) < files:
            self._connection.process_data_events(time_limit=0.05)
            now = time.monotonic()
            if self._events > seen or is_busy():
                last, seen = now, self._events
            elif now - last > quiet_seconds:
                return False
            if now > deadline:
                return False
        return True

    def forget(self) -> None:
        """What was heard until now."""
        self._arrived.clear()
        self._times.clear()
        self._events = 0

    def pause(self, seconds: float) -> None:
        """Lets time pass, and the connection live."""
        self._connection.sleep(seconds)

    def close(self) -> None:
        self._connection.close()

    def _on_message(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        self._arrived.append((time.monotonic_ns(), body))
        self._events += (properties.headers or {}).get("eventCount", 1)


def of_block(body: bytes) -> Iterator[str]:
    """The paths of a block's complete files."""
    return (event.file_id for event in decode_event_list(body).events if event.type == "Create")


def of_script(body: bytes) -> Iterator[str]:
    """The path that is a script's whole message."""
    yield os.fsdecode(body)


def of_sarracenia(body: bytes) -> Iterator[str]:
    """The path of the file that an announcement of Sarracenia's is about; none if it is gone, or no file."""
    message = json.loads(body)
    if "fileOp" not in message:
        yield message["relPath"]
