"""From the bytes of a request message to the bytes of its reply; knows no AMQP and starts no thread.

A consumer hands in what came from a queue and gets back what is to be sent. Whatever goes wrong on the way is an
error reply: nothing that a message holds makes `dispatch` raise.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeVar

import structlog

from schemas.errors import LimitExceededError, OmeroFSError, RequestError
from schemas.rpc import (
    ABSENT,
    METHODS,
    InvalidRequest,
    Queue,
    Request,
    RequestId,
    dumps,
    failure,
    find_method,
    parse_message,
    success,
)
from schemas.topology import CONTENT_TYPE_JSON, CONTENT_TYPE_OCTETS, HEADER_ACCEPT

__all__ = [
    "NOT_AT_ONCE",
    "Aside",
    "Caller",
    "Dispatcher",
    "Handler",
    "Incoming",
    "Octets",
    "Outcome",
    "Reply",
]

REQUEST_LIMIT_BYTES = 1 << 20
REPLY_LIMIT_BYTES = 16 << 20
"""The largest message that RabbitMQ takes by default, from 4.0 on."""
BATCH_LIMIT = 100
AT_ONCE_LIMIT_BYTES = 8 << 10
"""Larger requests are not even read by a thread that must not be kept busy."""

T = TypeVar("T")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request message, as far as a reply depends on it."""

    body: bytes
    message_id: str | None = None
    headers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caller:
    """What a handler may know of the message that its request came in.

    Attributes:
        message_id: Identity of this request, the same when it is repeated; None if the client gave none.
        takes_octets: The client asks for bytes in the place of JSON.
    """

    message_id: str | None = None
    takes_octets: bool = False


@dataclass(frozen=True, slots=True)
class Octets:
    """A result that is the body of the reply itself."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Aside:
    """What a handler returns for a result that takes long: computed by `finish`, aside from other requests."""

    finish: Callable[[], object]


class _NotAtOnce(Enum):
    NOT_AT_ONCE = "not-at-once"


NOT_AT_ONCE: Final = _NotAtOnce.NOT_AT_ONCE
"""What a handler returns that was to answer at once, and cannot without waiting, or not with a result."""

Handler = Callable[[Any, Caller], object]
"""Serves one request: (parameters, caller) -> result, `Octets`, or `Aside`; raises OmeroFSError or RequestError."""

Observer = Callable[[str, str, float], None]
"""Told of each request when it is done: (method, outcome, seconds); outcome is "ok" or the name of the error."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is to be sent back.

    Attributes:
        body: The bytes.
        content_type: JSON or octets.
        type: The method, None for a batch or an unknown one.
        headers: Of the message.
        ids: Of the requests answered, for `too_large`.
    """

    body: bytes
    content_type: str = CONTENT_TYPE_JSON
    type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ids: tuple[RequestId, ...] = ()
    is_batch: bool = False

    def too_large(self) -> Reply:
        """The error reply in the place of this one, which the broker does not take."""
        answers = [failure(each, _too_large(len(self.body))) for each in self.ids]
        return Reply(dumps(answers if self.is_batch else answers[0]), type=self.type)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request message.

    Attributes:
        reply: To be sent; None if nothing is answered.
        unreadable: Why the message could not be read as requests at all; None if it could.
        aside: If not None, reply and the rest come from calling it, which may take long.
    """

    reply: Reply | None = None
    unreadable: str | None = None
    aside: Callable[[], Outcome] | None = None


class _Answer:
    """One request on its way to its answer, which may have to be finished aside."""

    __slots__ = ("error", "id", "is_notification", "method", "result", "started")

    def __init__(self, request: Request, started: float) -> None:
        self.id: RequestId = None if request.id is ABSENT else request.id
        self.is_notification = request.is_notification
        self.method = request.method if request.method in METHODS else None
        self.result: object = None
        self.error: Exception | None = None
        self.started = started

    @property
    def outcome(self) -> str:
        if self.error is None:
            return "ok"
        if isinstance(self.error, OmeroFSError):
            return str(self.error.code)
        return self.error.name if isinstance(self.error, RequestError) else "internal-error"


class Dispatcher:
    """Chooses the handler of each request on one queue and makes its reply; may be used by any number of threads."""

    def __init__(
        self,
        queue: Queue,
        handlers: Mapping[str, Handler],
        *,
        at_once: Mapping[str, Handler] | None = None,
        observe: Observer = lambda _method, _outcome, _seconds: None,
        request_limit_bytes: int = REQUEST_LIMIT_BYTES,
        reply_limit_bytes: int = REPLY_LIMIT_BYTES,
        batch_limit: int = BATCH_LIMIT,
    ) -> None:
        """Makes the dispatcher of one queue.

        Args:
            queue: Whose methods it answers.
            handlers: By method name; all methods of the queue.
            at_once: By method name; never wait, and return `NOT_AT_ONCE` where `handlers` has to serve.
            observe: For counting.
            request_limit_bytes: Larger bodies are refused unread.
            reply_limit_bytes: A larger reply is replaced with an error.
            batch_limit: Requests in one message at most.
        """
        self._queue = queue
        self._handlers = handlers
        self._at_once = at_once or {}
        self._observe = observe
        self.request_limit_bytes = request_limit_bytes
        self._reply_limit_bytes = reply_limit_bytes
        self._batch_limit = batch_limit

    def dispatch(self, incoming: Incoming) -> Outcome:
        """Executes what the message asks for, and returns when it is done or has to be finished aside."""
        try:
            if len(incoming.body) > self.request_limit_bytes:
                return self.too_large(len(incoming.body))
            message = parse_message(incoming.body)
        except RequestError as exc:
            return self._unreadable(exc)
        if len(message.requests) > self._batch_limit:
            text = f"a batch holds {self._batch_limit} requests at most, this one {len(message.requests)}"
            return self._unreadable(RequestError.invalid_request(text))
        if not message.is_batch and isinstance(message.requests[0], InvalidRequest):
            return self._unreadable(message.requests[0].error, message.requests[0].id)
        callers = _callers(incoming, len(message.requests), is_batch=message.is_batch)
        answers = [self._answer(each, caller) for each, caller in zip(message.requests, callers, strict=True)]
        if any(isinstance(each, _Answer) and isinstance(each.result, Aside) for each in answers):
            return Outcome(aside=lambda: self._finish(answers, message.is_batch))
        return self._finish(answers, message.is_batch)

    def dispatch_at_once(self, incoming: Incoming) -> Outcome | None:
        """As `dispatch`, for a thread that must not wait; None if it takes `dispatch` to serve this message."""
        if not self._at_once or len(incoming.body) > AT_ONCE_LIMIT_BYTES:
            return None
        try:
            message = parse_message(incoming.body)
        except RequestError:
            return None
        request = message.requests[0]
        if message.is_batch or isinstance(request, InvalidRequest) or request.method not in self._at_once:
            return None
        answer = _Answer(request, time.monotonic())
        caller = _callers(incoming, 1, is_batch=False)[0]
        answer.result = self._attempt(answer, lambda: self._call(self._at_once, request, caller))
        if answer.error is not None or answer.result is NOT_AT_ONCE:
            return None
        return self._finish([answer], is_batch=False)

    def too_large(self, size_bytes: int) -> Outcome:
        """The outcome of a message whose body is larger than a request may be."""
        text = f"the request has {size_bytes} bytes, the limit is {self.request_limit_bytes}"
        return self._unreadable(RequestError.invalid_request(text))

    def _unreadable(self, exc: RequestError, id_: RequestId = None) -> Outcome:
        self._observe("", exc.name, 0.0)
        return Outcome(Reply(dumps(failure(id_, exc)), ids=(id_,)), unreadable=f"{exc.name}: {exc.message}")

    def _answer(self, request: Request | InvalidRequest, caller: Caller) -> _Answer | InvalidRequest:
        if isinstance(request, InvalidRequest):
            self._observe("", request.error.name, 0.0)
            return request
        answer = _Answer(request, time.monotonic())
        answer.result = self._attempt(answer, lambda: self._call(self._handlers, request, caller))
        return answer

    def _call(self, handlers: Mapping[str, Handler], request: Request, caller: Caller) -> object:
        method = find_method(request.method, self._queue)
        return handlers[method.name](method.parse_params(request.params), caller)

    def _attempt(self, answer: _Answer, work: Callable[[], T]) -> T | None:
        """What `work` returns; None if it fails, and then the answer is an error."""
        try:
            return work()
        except (OmeroFSError, RequestError) as exc:
            answer.error = exc
        except Exception as exc:  # noqa: BLE001 - a handler's bug must not take the other requests along: it is their reply
            reference = uuid.uuid4().hex[:12]
            answer.error = RequestError.internal_error(
                f"internal error, reference {reference} in the server's log"
            )
            _log.exception(
                "request failed", method=answer.method, reference=reference, kind=type(exc).__name__
            )
        return None

    def _finish(self, answers: list[_Answer | InvalidRequest], is_batch: bool) -> Outcome:
        replies: list[Reply] = []
        room = self._reply_limit_bytes
        for answer in answers:
            reply = self._reply(answer, room)
            if reply is not None:
                room = max(0, room - len(reply.body) - 1)
                replies.append(reply)
        if not replies:
            return Outcome()
        if not is_batch:
            return Outcome(replies[0])
        body = b"[" + b",".join(reply.body for reply in replies) + b"]"
        return Outcome(Reply(body, ids=tuple(reply.ids[0] for reply in replies), is_batch=True))

    def _reply(self, answer: _Answer | InvalidRequest, room: int) -> Reply | None:
        if isinstance(answer, InvalidRequest):
            return Reply(dumps(failure(answer.id, answer.error)), ids=(answer.id,))
        if isinstance(answer.result, Aside):
            answer.result = self._attempt(answer, answer.result.finish)
        reply = self._encoded(answer)
        if len(reply.body) > room:
            answer.error = _too_large(len(reply.body), self._reply_limit_bytes)
            reply = self._encoded(answer)
        self._observe(answer.method or "", answer.outcome, time.monotonic() - answer.started)
        return None if answer.is_notification else reply

    def _encoded(self, answer: _Answer) -> Reply:
        ids = (answer.id,)
        if answer.error is None and isinstance(answer.result, Octets):
            result = answer.result
            return Reply(result.body, CONTENT_TYPE_OCTETS, answer.method, result.headers, ids)
        body = b""
        if answer.error is None:
            body = self._attempt(answer, lambda: dumps(success(answer.id, answer.result))) or b""
        if answer.error is not None:
            body = dumps(failure(answer.id, answer.error))
        return Reply(body, type=answer.method, ids=ids)


def _callers(incoming: Incoming, count: int, *, is_batch: bool) -> list[Caller]:
    if not is_batch:
        return [Caller(incoming.message_id, incoming.headers.get(HEADER_ACCEPT) == CONTENT_TYPE_OCTETS)]
    if incoming.message_id is None:
        return [Caller()] * count
    return [Caller(f"{incoming.message_id}#{index}") for index in range(count)]


def _too_large(size_bytes: int, limit_bytes: int | None = None) -> LimitExceededError:
    limit = "the broker's limit" if limit_bytes is None else f"the limit of {limit_bytes}"
    return LimitExceededError(f"the reply has {size_bytes} bytes, more than {limit}; ask for less at a time")
