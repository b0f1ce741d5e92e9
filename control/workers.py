"""A fixed number of threads that take work in order: one for commands, a few for queries."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger()


class Workers:
    """Threads that run what is submitted, in the order of submission; how much may wait is up to the submitter."""

    def __init__(self, name: str, count: int, *, on_died: Callable[[BaseException], None]) -> None:
        """Starts nothing yet.

        Args:
            name: Of the threads.
            count: How many.
            on_died: Told, on the thread, of an exception that left a piece of work and ended it.
        """
        self._works: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._on_died = on_died
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Starts the threads and returns."""
        if not self._stopping.is_set():
            for thread in self._threads:
                thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Has `work` run by one of the threads; from any thread. After `stop` it is dropped."""
        self._works.put(work)

    def stop(self) -> None:
        """Lets each thread finish what it is at and drops what waits; idempotent, from any thread."""
        if not self._stopping.is_set():
            self._stopping.set()
            for _ in self._threads:
                self._works.put(None)

    def join(self, timeout: float) -> bool:
        """Blocks until the threads have ended, at most `timeout` seconds; whether they have."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        try:
            while (work := self._works.get()) is not None and not self._stopping.is_set():
                work()
        except Exception as exc:  # noqa: BLE001 - the end of the thread: its owner decides what that means
            _log.exception("worker died", thread=threading.current_thread().name)
            self._on_died(exc)
