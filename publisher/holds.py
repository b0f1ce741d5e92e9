"""Monitors whose blocks wait for a better time: why, since when, and when they are tried again.

For the relay's connection thread; what it knows may be read from any.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.amqp import AmqpConnection
    from publisher.lanes import Lane

UNROUTABLE = "no queue is bound that takes its blocks"
NOT_KEPT = "the broker could not keep its blocks (nack)"
STALLED = "the broker does not confirm its blocks; has its queue lost its quorum?"
_TIMER_SLACK_SECONDS = 0.005

_log = structlog.get_logger()


class Holds:
    """Holds lanes and calls `release` when one is to be tried again."""

    def __init__(
        self, connection: AmqpConnection, clock: Callable[[], float], release: Callable[[Lane], None]
    ) -> None:
        """Nothing is held; timers are the connection's."""
        self.held: frozenset[str] = frozenset()
        self._connection = connection
        self._clock = clock
        self._release = release
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """The last thing the broker refused and has not accepted since."""
        problems = list(self._problems.values())
        return problems[-1] if problems else None

    def hold(self, lane: Lane, problem: str) -> None:
        """Holds a lane, for longer each time."""
        self.note(lane, problem)
        lane.hold(self._clock())
        self.await_release(lane)

    def note(self, lane: Lane, problem: str) -> None:
        """Counts a lane as held and says why, loudly once."""
        level = _log.debug if lane.problem == problem else _log.warning
        level("blocks are held back", monitor_id=lane.monitor_id, reason=problem)
        lane.problem = problem
        self.held |= {lane.monitor_id}
        if problem != UNROUTABLE:
            self._problems[lane.monitor_id] = problem

    def await_release(self, lane: Lane) -> None:
        """Has a held lane released when its time is up."""
        seconds = max(0.0, lane.held_until - self._clock())
        self._connection.call_later(seconds, partial(self._release_if_due, lane))

    def end(self, lane: Lane) -> None:
        """Its blocks flow again."""
        self.forget(lane.monitor_id)
        _log.info("blocks flow again", monitor_id=lane.monitor_id)

    def forget(self, monitor_id: str) -> None:
        """Nothing of it is held any more."""
        self.held -= {monitor_id}
        self.solve(monitor_id)

    def complain(self, about: str, problem: str) -> None:
        """The broker refused something that is not a lane's alone."""
        self._problems[about] = problem

    def solve(self, about: str) -> None:
        """The broker has accepted it."""
        self._problems.pop(about, None)

    def _release_if_due(self, lane: Lane) -> None:
        if lane.held and self._clock() >= lane.held_until - _TIMER_SLACK_SECONDS:
            self._release(lane)
