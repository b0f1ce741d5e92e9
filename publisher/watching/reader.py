"""The one reader thread: from every inotify descriptor to the monitors, and the clock that wakes them.

A watchdog `EventEmitter`, for its thread's life cycle; its observer and event queue are not used, being where
watchdog loses events and half-seconds. What happens on this thread needs no lock; other threads `call`.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from watchdog.observers.api import EventEmitter, EventQueue, ObservedWatch

from publisher.watching.descriptors import Descriptors

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from publisher.watching.descriptors import Source

    T = TypeVar("T")

IDLE_SECONDS = 1.0
GATHER_SECONDS = 0.001
"""How long records gather between two turns in a steady flow: what a turn costs is then shared by several files."""
STEADY_SECONDS, STEADY_TIMES = 0.0004, 5
"""Records that come so soon after somebody looked, so often in a row, are such a flow."""


class Timed(Protocol):
    """Something that wants to be woken: a monitor."""

    def tick(self, now: float) -> None:
        """Does what is due; `now` is monotonic time in seconds."""
        ...


class Reader(EventEmitter):
    """Reads for all monitors. `start()` returns at once, `stop()` asks, `join()` waits."""

    def __init__(self, on_died: Callable[[BaseException], None] | None = None) -> None:
        """`on_died` is called, on this thread, if it ends by an error."""
        super().__init__(EventQueue(), ObservedWatch("/", recursive=True), timeout=IDLE_SECONDS)
        self.name = "reader"
        self.descriptors = Descriptors()
        self._on_died = on_died
        self._epoll = select.epoll()
        self._sources: dict[int, Source] = {}
        self._behind: set[int] = set()
        self._looked_at = 0.0
        self._soon = 0
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._calling = select.poll()
        self._calling.register(self._wake, select.POLLIN)
        self._agenda: list[tuple[float, int, Timed]] = []
        self._scheduled: dict[Timed, float] = {}
        self._order = itertools.count()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Has `function` run on the reader thread, in order; from any thread."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except Exception as exc:  # noqa: BLE001 - the caller's error, handed to the caller
                future.set_exception(exc)

        self._calls.append(run)
        os.eventfd_write(self._wake, 1)
        return future

    def add(self, source: Source) -> None:
        """Reads a descriptor from now on. Reader thread only; adding it twice is harmless."""
        if source.fd not in self._sources:
            self._sources[source.fd] = source
            self._epoll.register(source.fd, select.EPOLLIN)

    def remove(self, source: Source) -> None:
        """Stops reading a descriptor. Reader thread only; before it is closed."""
        if self._sources.pop(source.fd, None) is not None:
            self._epoll.unregister(source.fd)

    def wake_at(self, monitor: Timed, due: float | None) -> None:
        """Has `monitor.tick` called at `due` instead of when it was asked for before. Reader thread only."""
        if due is None:
            self._scheduled.pop(monitor, None)
        elif self._scheduled.get(monitor) != due:
            self._scheduled[monitor] = due
            heapq.heappush(self._agenda, (due, next(self._order), monitor))

    def run(self) -> None:
        """The thread: rounds until it is stopped."""
        try:
            super().run()
            self._run_calls()
        except Exception as exc:
            if self._on_died is None:
                raise
            self._on_died(exc)

    def queue_events(self, timeout: float) -> None:
        """One round: waits, reads what is ready, runs what was handed over and what is due."""
        if self._soon >= STEADY_TIMES and not self._behind:
            self._rest(GATHER_SECONDS)
            self._looked_at = time.monotonic()
        ready = [fd for fd, _ in self._epoll.poll(self._patience(timeout))]
        if self._wake in ready:
            os.eventfd_read(self._wake)
            self._run_calls()
        to_read = [fd for fd in ready if fd in self._sources]
        if to_read:
            self._note_pace()
        for fd in to_read:
            self._sources[fd].take()
            self._behind.add(fd)
        for fd in list(self._behind):
            self._read_once(fd)
        self._tick()

    def _note_pace(self) -> None:
        """Counts how often in a row there were records as soon as somebody looked."""
        now = time.monotonic()
        self._soon = self._soon + 1 if now - self._looked_at < STEADY_SECONDS else 0
        self._looked_at = now

    def _rest(self, seconds: float) -> None:
        """Waits, but not while somebody calls."""
        self._calling.poll(seconds * 1000)

    def _read_once(self, fd: int) -> None:
        """One buffer of each descriptor in turn, so that a busy one delays the others little."""
        source = self._sources.get(fd)
        if source is None or not source.read(time.monotonic()) or not source.behind:
            self._behind.discard(fd)

    def on_thread_stop(self) -> None:
        """Ends a wait at once."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Gives all descriptors back, after `join`."""
        self.descriptors.close()
        self._epoll.close()
        os.close(self._wake)

    def _run_calls(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def _patience(self, longest: float) -> float:
        while self._agenda and self._scheduled.get(self._agenda[0][2]) != self._agenda[0][0]:
            heapq.heappop(self._agenda)
        if self._behind:
            return 0.0
        if not self._agenda:
            return longest
        return min(longest, max(0.0, self._agenda[0][0] - time.monotonic()))

    def _tick(self) -> None:
        """Each that is due has one turn: who is busy goes on in the next round, after what was read meanwhile."""
        now = time.monotonic()
        due = []
        while self._agenda and self._agenda[0][0] <= now:
            at, _, monitor = heapq.heappop(self._agenda)
            if self._scheduled.get(monitor) == at:
                del self._scheduled[monitor]
                due.append(monitor)
        for monitor in due:
            monitor.tick(now)
