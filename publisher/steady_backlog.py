"""The outbox as the delivery sees it: a disk that refuses is waited for, as a broker that is away is.

What the broker has confirmed and the disk does not let us forget is kept here, and is forgotten later: in this
run nothing is published twice for it. Should the process end before, those blocks go out once more, with the
same ids. For the relay's connection thread; `problem` may be read from any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from publisher.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from publisher.amqp import AmqpConnection
    from publisher.backlog import Backlog
    from publisher.outbox import Entry

FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 5.0

_log = structlog.get_logger()


class SteadyBacklog:
    """Reads and confirms; `resume` is called with the monitors concerned when the disk has come round."""

    def __init__(
        self, backlog: Backlog, connection: AmqpConnection, resume: Callable[[frozenset[str]], None]
    ) -> None:
        """Timers are the connection's."""
        self.problem: str | None = None
        self._backlog = backlog
        self._connection = connection
        self._resume = resume
        self._unstored: dict[str, int] = {}
        self._unread = False
        self._wait_seconds = FIRST_WAIT_SECONDS

    @property
    def is_readable(self) -> bool:
        """Whether asking for entries is worth while; False from a refusal until `resume`."""
        return not self._unread

    def pending(self, monitor_id: str, after: int, *, max_entries: int, max_bytes: int) -> list[Entry] | None:
        """As the outbox's; None if the disk refuses: ask again after `resume`."""
        if self._unread:
            return None
        try:
            return self._backlog.pending(monitor_id, after, max_entries=max_entries, max_bytes=max_bytes)
        except StoreError as exc:
            self._unread = True
            self._refused(exc)
            return None

    def last(self, monitor_id: str) -> int:
        """As the outbox's; asks no disk."""
        return self._backlog.last(monitor_id)

    def confirm(self, up_to: Mapping[str, int]) -> None:
        """Forgets each monitor's entries up to and with the given sequence, now or later."""
        self._unstored.update(up_to)
        if self.problem is None:
            self._store()

    def give_up(self) -> None:
        """Tries a last time to store what is not stored; the end is near."""
        if self._unstored:
            self._store()

    def drop(self, monitor_id: str) -> None:
        """A monitor is gone, and its entries with it."""
        self._unstored.pop(monitor_id, None)

    def _store(self) -> bool:
        try:
            self._backlog.confirm(self._unstored)
        except StoreError as exc:
            self._refused(exc)
            return False
        self._unstored = {}
        return True

    def _refused(self, exc: StoreError) -> None:
        if self.problem is None:
            log = _log.error if self._wait_seconds == FIRST_WAIT_SECONDS else _log.debug
            log("the state directory refuses the relay, it is tried again", reason=str(exc))
            self._connection.call_later(self._wait_seconds, self._try_again)
            self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)
        self.problem = str(exc)

    def _try_again(self) -> None:
        concerned = frozenset(self._unstored)
        self.problem, self._unread = None, False
        if not self._unstored or self._store():
            self._resume(concerned)
        if self.problem is None:  # what was to be read has been read by now
            self._wait_seconds = FIRST_WAIT_SECONDS
            _log.info("the state directory serves the relay again")
