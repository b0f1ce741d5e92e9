"""What the broker has confirmed is forgotten: together, for each time takes a transaction.

For the relay's connection thread.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from publisher.amqp import AmqpConnection
    from publisher.lanes import Lane
    from publisher.steady_backlog import SteadyBacklog

BUSY_SECONDS, IDLE_SECONDS = 0.01, 0.002
"""How often at most: while more is on its way, and when nothing is."""


class Forgetting:
    """Lanes with something settled wait here for the outbox to be told what they have confirmed."""

    def __init__(
        self,
        connection: AmqpConnection,
        backlog: SteadyBacklog,
        clock: Callable[[], float],
        on_done: Callable[[set[Lane]], None],
    ) -> None:
        """Nothing waits yet.

        Args:
            connection: Its timers.
            backlog: The outbox.
            clock: Monotonic seconds.
            on_done: Told of the lanes, when what they have confirmed is forgotten.
        """
        self._connection = connection
        self._backlog = backlog
        self._clock = clock
        self._on_done = on_done
        self._lanes: set[Lane] = set()
        self._last_at = -math.inf
        self.is_due = False

    def soon(self, lanes: Iterable[Lane], *, is_busy: bool) -> None:
        """Forgets what these have confirmed: at once, or together with what comes in the next milliseconds."""
        self._lanes.update(lanes)
        if self.is_due:
            return
        self.is_due = True
        pause = self._last_at + (BUSY_SECONDS if is_busy else IDLE_SECONDS) - self._clock()
        if pause > 0:
            self._connection.call_later(pause, self._forget)
        else:
            self._forget()

    def now(self, lanes: Iterable[Lane]) -> None:
        """The same where nothing will follow; without effect when there is nothing, for `on_done` may lead here."""
        self._lanes.update(lanes)
        if self.is_due or self._lanes:
            self._forget()

    def drop(self, lane: Lane) -> None:
        """A monitor is gone, and its entries with it."""
        self._lanes.discard(lane)

    def _forget(self) -> None:
        self.is_due = False
        self._last_at = self._clock()
        lanes, self._lanes = self._lanes, set()
        confirmed: dict[str, int] = {}
        for lane in lanes:
            sequence = lane.take_confirmed()
            if sequence is not None and not lane.retired:
                confirmed[lane.monitor_id] = sequence
        if confirmed:
            self._backlog.confirm(confirmed)
        self._on_done(lanes)
