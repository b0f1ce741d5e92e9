"""The reader thread shares its time between those who are busy and what is to be read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from publisher.watching import reader as reader_module
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


class Drops:
    """A descriptor with something to read now and then; notes when it was read."""

    behind = False

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.reads: SimpleQueue[int] = SimpleQueue()

    def drop(self) -> None:
        """Something more to read."""
        os.eventfd_write(self.fd, 1)

    def take(self) -> None:
        """Nothing to make room in."""

    def read(self, now: float) -> bool:
        """Says how much there was."""
        self.reads.put(os.eventfd_read(self.fd))
        return True


@pytest.fixture
def drops(reader: Reader) -> Iterator[Drops]:
    """Read by the reader."""
    drops = Drops()
    reader.call(lambda: reader.add(drops)).result(SECONDS)
    yield drops
    reader.call(lambda: reader.remove(drops)).result(SECONDS)
    os.close(drops.fd)


def test_in_a_steady_flow_records_gather(
    reader: Reader, drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while it waits is read together."""
    waits: SimpleQueue[float] = SimpleQueue()
    go_on = threading.Event()

    def wait(seconds: float) -> None:
        waits.put(seconds)
        assert go_on.wait(SECONDS)

    monkeypatch.setattr(reader_module, "STEADY_SECONDS", SECONDS)
    monkeypatch.setattr(reader, "_rest", wait)
    drops.drop()
    assert drops.reads.get(timeout=SECONDS) == 1
    for _ in range(reader_module.STEADY_TIMES):
        assert waits.empty()
        drops.drop()
        assert drops.reads.get(timeout=SECONDS) == 1
    assert waits.get(timeout=SECONDS) == reader_module.GATHER_SECONDS
    for _ in range(10):
        drops.drop()
    go_on.set()
    assert drops.reads.get(timeout=SECONDS) == 10


def test_what_comes_now_and_then_is_read_at_once(
    reader: Reader, drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing gathers that does not come in a row."""
    waits: list[float] = []
    monkeypatch.setattr(reader_module, "STEADY_SECONDS", 0.0)
    monkeypatch.setattr(reader, "_rest", waits.append)
    for _ in range(3 * reader_module.STEADY_TIMES):
        drops.drop()
        assert drops.reads.get(timeout=SECONDS) == 1
    assert waits == []


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
