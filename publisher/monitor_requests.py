"""What other threads ask of the broker for one monitor, with a bounded wait: declare it, delete it.

A request waits for a connection, is tried again when the connection is lost under it, and fails when it is
refused or when its time is up.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from schemas.errors import MonitorFailedError, ShuttingDownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.amqp import AmqpConnection, Refusal

    Attempt = Callable[[Callable[[Refusal | None], None]], None]


AT_ONCE = 16
"""Each takes a channel, of which a broker has no more than 2,047 for a connection."""


class _Request:
    def __init__(self, what: str, attempt: Attempt) -> None:
        self.what = what
        self.attempt = attempt
        self.running = False
        self.timer: object = None
        self.future: Future[None] = Future()
        self.future.set_running_or_notify_cancel()  # nobody can cancel it under our hands


class MonitorRequests:
    """The open requests. `submit` may be called from any thread, the rest on the connection's."""

    def __init__(self, connection: AmqpConnection, *, seconds: float) -> None:
        """Each request has `seconds` from its submission on."""
        self._connection = connection
        self._seconds = seconds
        self._open: dict[_Request, None] = {}
        self._waiting: deque[_Request] = deque()
        self._running = 0
        self._closed = False

    def submit(self, what: str, attempt: Attempt) -> Future[None]:
        """Has `attempt(on_done)` run on a connection; `on_done` gets None or the refusal (code 0: try again).

        Args:
            what: The thing in question, for the error.
            attempt: Called on the connection's thread, perhaps more than once, never twice at a time.

        Returns:
            Fails with MonitorFailedError, or ShuttingDownError once the relay stops. Its result is None.
        """
        request = _Request(what, attempt)
        if not self._connection.call(partial(self._take, request)):
            request.future.set_exception(ShuttingDownError("the server is shutting down"))
        return request.future

    def retry(self) -> None:
        """There is a connection: starts whatever waits for one."""
        self._waiting = deque(request for request in self._open if not request.running)
        self._go_on()

    def close(self) -> None:
        """Fails what is open and whatever is still submitted."""
        self._closed = True
        for request in list(self._open):
            self._finish(request, ShuttingDownError("the server is shutting down"))

    def _take(self, request: _Request) -> None:
        if self._closed:
            request.future.set_exception(ShuttingDownError("the server is shutting down"))
            return
        self._open[request] = None
        request.timer = self._connection.call_later(self._seconds, partial(self._expire, request))
        self._waiting.append(request)
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and self._running < AT_ONCE and self._connection.is_open:
            request = self._waiting.popleft()
            if request in self._open:
                request.running = True
                self._running += 1
                request.attempt(partial(self._answered, request))

    def _answered(self, request: _Request, refusal: Refusal | None) -> None:
        request.running = False
        self._running -= 1
        if refusal is None:
            self._finish(request, None)
        elif refusal.code:
            self._finish(request, MonitorFailedError(refusal.text))
        self._go_on()

    def _expire(self, request: _Request) -> None:
        why = self._connection.last_error or "the broker does not answer"
        self._finish(
            request, MonitorFailedError(f"{request.what}: not done within {self._seconds:g} s: {why}")
        )

    def _finish(self, request: _Request, error: Exception | None) -> None:
        if request not in self._open:
            return
        del self._open[request]
        self._connection.cancel(request.timer)
        if error is None:
            request.future.set_result(None)
        else:
            request.future.set_exception(error)
