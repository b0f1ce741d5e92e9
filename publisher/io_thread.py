"""A thread that runs pika's I/O loop: takes work from others, guards callbacks, dies of their errors."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog
from pika.adapters.select_connection import IOLoop

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger()


class IoThread:
    """One loop for the thread's whole life, so that work and timers go on while there is no connection."""

    def __init__(
        self, name: str, main: Callable[[], None], *, on_died: Callable[[BaseException], None]
    ) -> None:
        """Starts nothing yet.

        Args:
            name: Of the thread.
            main: What the thread does; runs the loop with `turn`. When it returns, the thread ends.
            on_died: Called on the thread when `main` raised, after the loop was closed.
        """
        self._main = main
        self._on_died = on_died
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()  # guards the next four: starting, handing over, and the end of it
        self._started = False
        self._ended = False
        self._running: IOLoop | None = None
        self._handed_over: deque[Callable[[], None]] = deque()
        self._failure: Exception | None = None

    def start(self) -> None:
        """Starts the thread, once; not after `forgo`."""
        with self._lock:
            if self._started or self._ended:
                return
            self._started = True
        self._thread.start()

    def forgo(self) -> None:
        """If it has not been started, it never will be."""
        with self._lock:
            self._ended = self._ended or not self._started

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

    # On the thread only.

    @property
    def loop(self) -> IOLoop:
        """The loop; only while the thread runs."""
        if self._running is None:
            msg = "the thread does not run"
            raise RuntimeError(msg)
        return self._running

    def turn(self) -> None:
        """Runs the loop until `interrupt`; raises what a guarded callback raised."""
        self.loop.start()
        if self._failure is not None:
            raise self._failure

    def interrupt(self) -> None:
        """Ends the current `turn`."""
        self.loop.stop()

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """`callback` for pika, which takes what a callback raises for a network failure and reconnects."""

        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as exc:  # noqa: BLE001 - kept for turn(), where the thread dies of it
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
            with self._lock:
                self._running = loop = IOLoop()
                waiting = bool(self._handed_over)
            if waiting:
                loop.add_callback_threadsafe(self._take_over)
            self._main()
        except Exception as exc:  # noqa: BLE001 - the end of the thread; its owner decides what that means
            _log.exception("thread died", thread=self._thread.name)
            failure = exc
        finally:
            self._end()
        if failure is not None:
            self._on_died(failure)

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            left, self._handed_over = self._handed_over, deque()
        if self._failure is None:
            for work in left:  # somebody may be waiting for what it answers
                work()
        self.loop.close()
