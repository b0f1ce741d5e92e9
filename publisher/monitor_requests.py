"""What other threads ask of the broker for one monitor, with a bounded wait: declare it, delete it.

A request waits for a connection, is tried again when the connection is lost under it, and fails when it is
refused or when its time is up.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from schemas.errors import MonitorFailedError, ShuttingDownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.amqp import AmqpConnection, Refusal

    Attempt = Callable[[Callable[[Refusal | None], None]], None]


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
        self._open: list[_Request] = []
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
        for request in list(self._open):
            self._try(request)

    def close(self) -> None:
        """Fails what is open and whatever is still submitted."""
        self._closed = True
        for request in list(self._open):
            self._finish(request, ShuttingDownError("the server is shutting down"))

    def _take(self, request: _Request) -> None:
        if self._closed:
            request.future.set_exception(ShuttingDownError("the server is shutting down"))
            return
        self._open.append(request)
        request.timer = self._connection.call_later(self._seconds, partial(self._expire, request))
        self._try(request)

    def _try(self, request: _Request) -> None:
        if self._connection.is_open and not request.running:
            request.running = True
            request.attempt(partial(self._answered, request))

    def _answered(self, request: _Request, refusal: Refusal | None) -> None:
        request.running = False
        if refusal is None:
            self._finish(request, None)
        elif refusal.code:
            self._finish(request, MonitorFailedError(refusal.text))

    def _expire(self, request: _Request) -> None:
        why = self._connection.last_error or "the broker does not answer"
        self._finish(
            request, MonitorFailedError(f"{request.what}: not done within {self._seconds:g} s: {why}")
        )

    def _finish(self, request: _Request, error: Exception | None) -> None:
        if request not in self._open:
            return
        self._open.remove(request)
        self._connection.cancel(request.timer)
        if error is None:
            request.future.set_result(None)
        else:
            request.future.set_exception(error)
