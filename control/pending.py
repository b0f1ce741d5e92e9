"""The requests of a client that wait for their replies: whoever takes one out answers it, so none is answered twice."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from control.client_errors import ClientError

__all__ = ["PendingRequest", "PendingRequests"]


@dataclass(slots=True, eq=False)
class PendingRequest:
    """One request on its way.

    Attributes:
        method: the method's name.
        body: the message.
        correlation_id: finds the request of a reply.
        deadline: when its caller stops waiting, on the monotonic clock.
        message_id: identity of the request; None for most.
        accept: the content type wanted for the reply; None for JSON.
        repeatable: executing it twice does no harm.
        is_published: it is with the broker; written by the connection's thread alone.
        reply: what its caller waits on: the properties and the body of the reply.
    """

    method: str
    body: bytes
    correlation_id: str
    deadline: float
    message_id: str | None
    accept: str | None
    repeatable: bool
    is_published: bool = False
    reply: Future[tuple[Any, bytes]] = field(default_factory=Future)


class PendingRequests:
    """By correlation id, in the order of the calls. Any thread."""

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()  # guards the dict and the end
        self._requests: dict[str, PendingRequest] = {}
        self._end: ClientError | None = None

    def add(self, request: PendingRequest) -> None:
        """Lets `request` wait.

        Raises:
            ClientError: nothing can be answered any more; says why.
        """
        with self._lock:
            if self._end is not None:
                raise self._end
            self._requests[request.correlation_id] = request

    def take(self, correlation_id: str | None) -> PendingRequest | None:
        """The request, for the first who asks: to answer it, or to forget it."""
        with self._lock:
            return self._requests.pop(correlation_id or "", None)

    def unpublished(self) -> list[PendingRequest]:
        """What is to be published."""
        with self._lock:
            return [request for request in self._requests.values() if not request.is_published]

    def publish_again(self) -> None:
        """What was published went down with its connection."""
        with self._lock:
            for request in self._requests.values():
                request.is_published = False

    def fail(self, exc: ClientError, concerned: Callable[[PendingRequest], bool]) -> None:
        """Answers with `exc` whatever is `concerned`."""
        with self._lock:
            failed = [request for request in self._requests.values() if concerned(request)]
            for request in failed:
                del self._requests[request.correlation_id]
        for request in failed:
            request.reply.set_exception(exc)

    def end(self, exc: ClientError) -> None:
        """Answers everything with `exc`, what may come later included."""
        with self._lock:
            self._end = self._end or exc
        self.fail(exc, lambda _request: True)
