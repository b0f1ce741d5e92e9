"""The reader thread shares its time between those who are busy and what is to be read."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from publisher.watching.reader import Reader

SECONDS = 10.0


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A running reader thread."""
    reader = Reader()
    reader.start()
    yield reader
    reader.stop()
    reader.join(SECONDS)
    reader.close()


class Busy:
    """Has something to do at any time, as a monitor that compares a large tree."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.turns = 0
        self.done = threading.Event()

    def tick(self, now: float) -> None:
        """One turn of many."""
        self.turns += 1
        if not self.done.is_set():
            self.reader.wake_at(self, now)


def test_who_is_always_busy_keeps_nobody_waiting(reader: Reader) -> None:
    """One turn in each round: calls and records come between, and so does another that is busy."""
    first, second = Busy(reader), Busy(reader)
    try:
        for busy in (first, second):
            reader.call(lambda busy=busy: reader.wake_at(busy, 0.0)).result(SECONDS)
        ahead = reader.call(lambda: first.turns - second.turns).result(SECONDS)
        turns = 0
        while turns < 10:
            turns, difference = reader.call(lambda: (second.turns, first.turns - second.turns)).result(
                SECONDS
            )
            assert abs(difference - ahead) <= 1
    finally:
        first.done.set()
        second.done.set()
