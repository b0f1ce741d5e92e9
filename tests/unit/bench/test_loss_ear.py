"""Listening to a pipe: times, kinds, and waits that end when they may."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from bench.losses.ear import CREATED, OTHER, Ear


@pytest.fixture
def ear() -> Ear:
    """An ear that knows one word."""
    return Ear(lambda word: CREATED if word == "new" else OTHER)


@pytest.fixture
def pipe(ear: Ear) -> Iterator[int]:
    """The end of a pipe that the ear's process would write to."""
    reader, writer = os.pipe()
    ear.listen(reader)
    yield writer
    os.close(writer)


def test_a_wait_ends_with_the_event_that_completes_it(ear: Ear, pipe: int) -> None:
    """What is complete is not waited for any longer, and a directory is itself with a slash at its end."""
    os.write(pipe, b"new\t/a\nodd\t/b/\n")
    assert ear.wait_for(["/a", "/b"], quiet_seconds=10)
    assert [(event.kind, event.path) for event in ear.heard] == [(CREATED, "/a"), (OTHER, "/b")]


def test_a_wait_gives_up_when_nothing_new_comes(ear: Ear, pipe: int) -> None:
    """A file that a watcher has lost is not waited for for ever."""
    os.write(pipe, b"new\t/a\n")
    assert not ear.wait_for(["/a", "/lost"], quiet_seconds=0.05)
    assert ear.paths == {"/a"}


def test_a_wait_has_an_end_even_where_something_always_comes(ear: Ear, pipe: int) -> None:
    """A watcher that never falls silent does not hold up the run."""

    def noisy() -> bool:
        os.write(pipe, b"new\t/a\n")
        return False

    began = time.monotonic()
    assert not ear.wait(noisy, quiet_seconds=60, seconds=0.05)
    assert time.monotonic() - began < 30


def test_an_event_has_the_time_at_which_it_arrived(ear: Ear, pipe: int) -> None:
    """Not the time at which somebody asked."""
    began = time.monotonic()
    os.write(pipe, b"new\t/a\n")
    assert ear.wait_for(["/a"], quiet_seconds=10)
    assert began <= ear.heard[0].at <= time.monotonic()


def test_a_second_pipe_follows_the_first(ear: Ear, pipe: int) -> None:
    """A process that is started again is heard by the same ear."""
    os.write(pipe, b"new\t/a\n")
    reader, writer = os.pipe()
    ear.listen(reader)
    os.write(writer, b"new\t/b\n")
    os.close(writer)
    assert ear.wait_for(["/a", "/b"], quiet_seconds=10)
