"""Waiting in tests: on a condition, with a deadline, never for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_never = threading.Event()


def eventually(check: Callable[[], T], *, seconds: float = 15.0, every_seconds: float = 0.02) -> T:
    """Call `check` until it answers something true, and return that.

    An `AssertionError` of `check` counts as "not yet", so a check may itself assert.

    Args:
        check: Asked again and again on the calling thread.
        seconds: How long to go on asking.
        every_seconds: The pause between two questions.

    Raises:
        AssertionError: Nothing true came in time; carries the last value or the last failed assertion.
    """
    deadline = time.monotonic() + seconds
    while True:
        failure: AssertionError | None = None
        value: T | None = None
        try:
            value = check()
        except AssertionError as exc:
            failure = exc
        if value:
            return value
        if time.monotonic() >= deadline:
            last = failure if failure is not None else repr(value)
            raise AssertionError(f"not within {seconds:g} s; last: {last}") from failure
        _never.wait(every_seconds)


def stays(check: Callable[[], object], *, seconds: float = 0.5, every_seconds: float = 0.02) -> None:
    """Assert that `check` answers something true for the whole of `seconds`: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = check()
        assert value, f"became {value!r}"
        _never.wait(every_seconds)
