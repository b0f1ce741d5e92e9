"""Requests about monitors: a few at a time, each answered, whatever becomes of the connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from publisher.amqp import Refusal
from publisher.monitor_requests import AT_ONCE, MonitorRequests
from schemas.errors import MonitorFailedError

Done = Callable[[Refusal | None], None]


class Connection:
    """Calls at once; its timers never end."""

    is_open = True
    last_error = None

    def call(self, function: Callable[[], None]) -> bool:
        function()
        return True

    def call_later(self, _seconds: float, function: Callable[[], None]) -> object:
        return function

    def cancel(self, _timer: object) -> None:
        pass


class Attempts:
    """What was asked of the broker and not answered yet."""

    def __init__(self) -> None:
        self.open: list[Done] = []

    def __call__(self, done: Done) -> None:
        self.open.append(done)

    def answer(self, refusal: Refusal | None = None) -> None:
        self.open.pop(0)(refusal)


@pytest.fixture
def connection() -> Any:
    return Connection()


def test_no_more_than_a_few_are_under_way(connection: Any) -> None:
    """Each takes a channel, and the broker has no more than 2,047 of them."""
    requests, attempts = MonitorRequests(connection, seconds=10), Attempts()
    futures = [requests.submit(f"monitor {number}", attempts) for number in range(3000)]
    most = 0
    while attempts.open:
        most = max(most, len(attempts.open))
        attempts.answer()
    assert most == AT_ONCE
    assert all(future.done() for future in futures)


def test_a_refusal_is_the_end_of_one_and_the_turn_of_the_next(connection: Any) -> None:
    """Whoever asked hears why."""
    requests, attempts = MonitorRequests(connection, seconds=10), Attempts()
    futures = [requests.submit("a monitor", attempts) for _ in range(AT_ONCE + 1)]
    attempts.answer(Refusal(403, "no right"))
    assert isinstance(futures[0].exception(0), MonitorFailedError)
    assert len(attempts.open) == AT_ONCE


def test_what_a_lost_connection_has_cut_off_is_tried_on_the_next(connection: Any) -> None:
    """All of it, those that had not had their turn too."""
    requests, attempts = MonitorRequests(connection, seconds=10), Attempts()
    futures = [requests.submit("a monitor", attempts) for _ in range(2 * AT_ONCE)]
    connection.is_open = False
    for _ in range(AT_ONCE):
        attempts.answer(Refusal(0, "connection lost"))
    assert attempts.open == []
    connection.is_open = True
    requests.retry()
    while attempts.open:
        attempts.answer()
    assert all(future.result(0) is None for future in futures)
