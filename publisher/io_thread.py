"""A thread that runs pika's I/O loop for one connection or more: takes work from others, dies of their errors."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from pika.adapters.select_connection import IOLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CUT_SECONDS = 2.0
"""How long it may take, after a failure, until what was open is closed."""

_log = structlog.get_logger()


class Resident(Protocol):
    """What lives on an `IoThread`; all of it is called on the thread."""

    def live(self) -> Iterator[None]:
        """Its whole life; yields to wait for the loop, and is resumed when that was interrupted."""

    def is_over(self) -> bool:
        """Whether nothing of it is open."""

    def forgives(self, exc: AssertionError) -> bool:
        """Whether it knows why pika raised that, and that nothing came of it."""

    def abandon(self) -> None:
        """After a failure: closes what is open if that can still be done, and calls nobody."""


class IoThread:
    """One loop for the thread's whole life, so that work and timers go on while there is no connection."""

    def __init__(self, name: str) -> None:
        """Starts nothing yet."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()  # guards the next six: who lives here, handing over, and the end of it
        self._expected: list[Resident] = []
        self._beginning: list[Resident] = []
        self._started = False
        self._ended = False
        self._running: IOLoop | None = None
        self._handed_over: deque[Callable[[], None]] = deque()
        self._on_died: list[Callable[[BaseException], None]] = []
        self._living: list[tuple[Resident, Iterator[None]]] = []
        self._failure: Exception | None = None

    def admit(self, resident: Resident, *, on_died: Callable[[BaseException], None]) -> None:
        """Expects `resident`: the thread goes on until all that were admitted have lived, or forgone it.

        Args:
            resident: Lives from `begin` on.
            on_died: Called on the thread when it ended by an exception, after the loop was closed.
        """
        with self._lock:
            self._expected.append(resident)
            self._on_died.append(on_died)

    def begin(self, resident: Resident) -> None:
        """Begins the life of `resident`, once, and with the first one the thread; not after `forgo`."""
        with self._lock:
            if resident not in self._expected:
                return
            self._expected.remove(resident)
            self._beginning.append(resident)
            first, self._started = not self._started, True
        if first:
            self._thread.start()
        else:
            self.call(self.interrupt)

    def forgo(self, resident: Resident) -> None:
        """If `resident` has not begun, it never will."""
        with self._lock:
            if resident in self._expected:
                self._expected.remove(resident)
                self._ended = self._ended or not (self._started or self._expected)

    def join(self, timeout: float | None = None) -> bool:
        """Blocks until the thread has ended, at most `timeout` seconds; whether it has, or never ran."""
        if self._started and threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def call(self, work: Callable[[], None]) -> bool:
        """Has `work` run on the thread, in order; calls cost one wake-up until the thread takes them.

        Returns:
            False if the thread has ended and `work` will never run.
        """
        with self._lock:
            if self._ended:
                return False
            first = not self._handed_over
            self._handed_over.append(work)
            loop = self._running
        if first and loop is not None:
            loop.add_callback_threadsafe(self._take_over)
        return True

    def perform(self, work: Callable[[], None]) -> None:
        """Runs `work` at once if this is the thread, and hands it over if it is not."""
        if threading.current_thread() is self._thread:
            work()
        else:
            self.call(work)

    # On the thread only.

    @property
    def loop(self) -> IOLoop:
        """The loop; only while the thread runs."""
        if self._running is None:
            msg = "the thread does not run"
            raise RuntimeError(msg)
        return self._running

    def interrupt(self) -> None:
        """Resumes those who wait for the loop."""
        self.loop.stop()

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """`callback` for pika, which takes what a callback raises for a network failure and reconnects."""

        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as exc:  # noqa: BLE001 - kept for the turn's end, where the thread dies of it
                self._failure = self._failure or exc
                self.interrupt()

        return guarded

    def _take_over(self) -> None:
        with self._lock:
            works, self._handed_over = self._handed_over, deque()
        for work in works:
            work()

    def _run(self) -> None:
        failure: Exception | None = None
        try:
            self._serve()
        except Exception as exc:  # noqa: BLE001 - the end of the thread; its owner decides what that means
            _log.exception("thread died", thread=self._thread.name)
            failure = exc
        finally:
            self._end()
        if failure is not None:
            for on_died in self._on_died:
                on_died(failure)

    def _serve(self) -> None:
        with self._lock:
            self._running = loop = IOLoop()
            waiting = bool(self._handed_over)
        if waiting:
            loop.add_callback_threadsafe(self._take_over)
        try:
            while self._resume():
                self._turn()
        except Exception:
            self._abandon()
            raise

    def _resume(self) -> bool:
        """Resumes each of the living; whether anybody lives, or is expected to."""
        with self._lock:
            beginning, self._beginning = self._beginning, []
            is_expecting = bool(self._expected)
        self._living += [(resident, resident.live()) for resident in beginning]
        self._living = [each for each in self._living if next(each[1], self) is not self]
        return is_expecting or bool(self._living)

    def _turn(self) -> None:
        """Runs the loop until `interrupt`; raises what a guarded callback raised."""
        try:
            self.loop.start()
        except AssertionError as exc:
            if not any(resident.forgives(exc) for resident, _life in self._living):
                raise
        if self._failure is not None:
            raise self._failure

    def _abandon(self) -> None:
        residents = [resident for resident, _life in self._living]
        for resident in residents:
            resident.abandon()
        times_up = threading.Event()
        self.loop.call_later(_CUT_SECONDS, times_up.set)
        self.loop.call_later(_CUT_SECONDS, self.interrupt)
        while not times_up.is_set() and not all(resident.is_over() for resident in residents):
            self.loop.start()

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            left, self._handed_over = self._handed_over, deque()
        if self._failure is None:
            for work in left:  # somebody may be waiting for what it answers
                work()
        if self._running is not None:
            self._running.close()
