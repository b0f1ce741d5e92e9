"""Requests out and replies in, over one connection: what MonitorServerClient and FileServerClient stand on.

Replies come through RabbitMQ's direct reply-to, so a client declares nothing on the broker. A request expires
when its caller stops waiting, so nobody executes what nobody waits for; and a missing server is told from a
slow one.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pika
import structlog

from control.client_errors import (
    BadReplyError,
    BrokerUnreachableError,
    ClientClosedError,
    ClientError,
    NoServerError,
    ReplyTimeoutError,
)
from control.pending import PendingRequest, PendingRequests
from publisher.amqp import AmqpConnection, AmqpSettings
from schemas import rpc
from schemas.errors import RequestError
from schemas.topology import CONTENT_TYPE_JSON, CONTENT_TYPE_OCTETS, HEADER_ACCEPT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from pika.channel import Channel
    from pika.spec import Basic, BasicProperties

    from publisher.amqp_errors import Refusal

__all__ = ["Reply", "RpcClient"]

REPLY_TO = "amq.rabbitmq.reply-to"

_FIRST_ATTEMPT_LOOK_SECONDS = 0.05
_CLOSE_SECONDS = 5.0
_NOT_FOUND = 404

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reply:
    """One successful reply: the result of a JSON reply, or the bytes of an octet-stream one; and its headers."""

    result: Any
    headers: Mapping[str, Any]


class RpcClient:
    """Calls the methods behind one request queue; a call blocks its thread until the reply is there.

    Any number of threads may call at once. The connection is made in the background, and made again when it is
    lost; a request that may be repeated and was under way then is sent again on the next one.
    """

    def __init__(
        self, url: str, queue: str, *, password: str | None = None, timeout_seconds: float = 30.0
    ) -> None:
        """Starts to connect and returns at once.

        Args:
            url: the broker, `amqp://` or `amqps://`.
            queue: the queue that the server reads, `NS.control` or `NS.files`.
            password: replaces the one in `url`.
            timeout_seconds: how long a call waits for its reply, connecting included.

        Raises:
            ValueError: `url` cannot be used; one sentence.
        """
        self.queue = queue
        self.timeout_seconds = timeout_seconds
        self._pending = PendingRequests()
        # Written by the connection's thread alone. Once a server was seen, a later silence is taken for a delay.
        self._channel: Channel | None = None
        self._was_open = False
        self._server_seen = False
        self._looking = False
        settings = AmqpSettings(url=url, password=password, connection_name=f"fsherald client of {queue}")
        self._connection = AmqpConnection(
            settings, on_open=self._on_open, on_lost=self._on_lost, on_died=self._on_died
        )
        self._connection.start()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()

    def close(self) -> None:
        """Closes, blocking a few seconds at most; calls under way raise ClientClosedError. Idempotent."""
        self._pending.end(ClientClosedError("the client was closed"))
        self._connection.stop()
        self._connection.join(_CLOSE_SECONDS)

    def call(self, method: str, /, **params: object) -> Any:
        """The result of `method` as decoded from JSON; parameters have their wire names.

        Raises:
            OmeroFSError: the server refused; the subclass says why.
            RequestError: the request itself is wrong (unknown method, invalid parameters).
            BrokerUnreachableError: no connection; at once if there never was one.
            NoServerError: nobody reads the queue; nothing was executed.
            ReplyTimeoutError: no reply in time; the request may have been executed.
            ClientError: anything else between here and there.
        """
        return self.request(method, params).result

    def request(
        self,
        method: str,
        params: Mapping[str, object],
        *,
        message_id: str | None = None,
        accept: str | None = None,
        repeatable: bool = True,
    ) -> Reply:
        """As `call`, with the properties of the message at hand.

        Args:
            method: the method's name in the contract.
            params: its parameters by their wire names.
            message_id: identity of the request, for createMonitor.
            accept: the content type wanted for the reply.
            repeatable: executing it twice does no harm, so it may be sent again after a lost connection.
        """
        correlation_id = uuid.uuid4().hex
        request = PendingRequest(
            method=method,
            body=rpc.dumps(rpc.request_object(method, params, correlation_id)),
            correlation_id=correlation_id,
            deadline=time.monotonic() + self.timeout_seconds,
            message_id=message_id,
            accept=accept,
            repeatable=repeatable,
        )
        self._pending.add(request)
        try:
            self._connection.call(self._advance)
            properties, body = self._wait(request)
        finally:
            self._pending.take(correlation_id)
        return _decoded(method, properties, body)

    def _wait(self, request: PendingRequest) -> tuple[BasicProperties, bytes]:
        while True:
            remaining = max(0.0, request.deadline - time.monotonic())
            pause = remaining if self._was_open else min(remaining, _FIRST_ATTEMPT_LOOK_SECONDS)
            try:
                return request.reply.result(pause)
            except FutureTimeoutError:
                self._give_up(request)

    def _give_up(self, request: PendingRequest) -> None:
        """Raises if waiting on is of no use: the first attempt to connect has failed, or time is up."""
        connection = self._connection
        if not self._was_open and connection.last_error is not None:
            raise BrokerUnreachableError(connection.last_error)
        if time.monotonic() < request.deadline:
            return
        if not connection.is_open:
            reason = connection.last_error or f"no connection to {connection.address} in time"
            raise BrokerUnreachableError(reason)
        raise ReplyTimeoutError(request.method, self.timeout_seconds, blocked=connection.is_blocked)

    # What follows runs on the connection's thread.

    def _on_open(self, connection: AmqpConnection) -> None:
        self._was_open = True
        self._open_channel(connection)

    def _open_channel(self, connection: AmqpConnection) -> None:
        connection.open_channel(self._consume_replies, self._on_channel_closed)

    def _consume_replies(self, channel: Channel) -> None:
        def consuming(_frame: object) -> None:
            self._channel = channel
            self._advance()

        guard = self._connection.guard
        channel.add_on_return_callback(guard(self._on_returned))
        callback = self._connection.answer_on(channel, consuming)
        channel.basic_consume(REPLY_TO, guard(self._on_reply), auto_ack=True, callback=callback)

    def _advance(self) -> None:
        """Publishes what waits, once the replies can come in and a server is known to be there."""
        if self._channel is None:
            return
        if self._server_seen:
            self._publish(self._channel)
        elif not self._looking:
            self._looking = True
            self._connection.open_channel(self._look_for_server, self._on_look_refused)

    def _look_for_server(self, channel: Channel) -> None:
        def found(frame: Any) -> None:
            self._looking = False
            self._server_seen = frame.method.consumer_count > 0
            channel.close()
            if self._server_seen:
                self._advance()
            else:
                self._fail_unpublished(NoServerError(self.queue))

        channel.queue_declare(self.queue, passive=True, callback=self._connection.answer_on(channel, found))

    def _on_look_refused(self, _channel: Channel, refusal: Refusal) -> None:
        self._looking = False
        if refusal.code == _NOT_FOUND:
            self._fail_unpublished(NoServerError(self.queue))
        elif refusal.code:
            self._fail_unpublished(ClientError(f"the broker refused access to {self.queue}: {refusal.text}"))

    def _fail_unpublished(self, exc: ClientError) -> None:
        self._pending.fail(exc, lambda request: not request.is_published)

    def _publish(self, channel: Channel) -> None:
        now = time.monotonic()
        for request in self._pending.unpublished():
            request.is_published = True
            channel.basic_publish("", self.queue, request.body, _properties(request, now), mandatory=True)

    def _on_reply(
        self, _channel: Channel, _method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        request = self._pending.take(properties.correlation_id)
        if request is None:
            _log.debug("reply to nobody", queue=self.queue, correlation_id=properties.correlation_id)
        else:
            request.reply.set_result((properties, body))

    def _on_returned(
        self, _channel: Channel, _method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        self._server_seen = False
        request = self._pending.take(properties.correlation_id)
        if request is not None:
            request.reply.set_exception(NoServerError(self.queue))

    def _on_channel_closed(self, _channel: Channel, refusal: Refusal) -> None:
        self._channel = None
        if refusal.code:
            error = ClientError(f"the broker refused a request: {refusal.text}")
            self._pending.fail(error, lambda request: request.is_published)
            self._open_channel(self._connection)

    def _on_lost(self, reason: str) -> None:
        self._channel = None
        self._looking = False
        error = BrokerUnreachableError(reason)
        self._pending.fail(error, lambda request: request.is_published and not request.repeatable)
        self._pending.publish_again()

    def _on_died(self, exc: BaseException) -> None:
        self._pending.end(ClientError(f"the client's connection failed unexpectedly: {exc!r}"))


def _properties(request: PendingRequest, now: float) -> BasicProperties:
    return pika.BasicProperties(
        content_type=CONTENT_TYPE_JSON,
        correlation_id=request.correlation_id,
        reply_to=REPLY_TO,
        message_id=request.message_id,
        type=request.method,
        headers={HEADER_ACCEPT: request.accept} if request.accept else None,
        expiration=str(max(1, int((request.deadline - now) * 1000))),
    )


def _decoded(method: str, properties: BasicProperties, body: bytes) -> Reply:
    headers = properties.headers or {}
    if properties.content_type == CONTENT_TYPE_OCTETS:
        return Reply(body, headers)
    try:
        reply = rpc.loads(body)
    except RequestError as exc:
        raise BadReplyError(f"the reply to {method} is not JSON") from exc
    return Reply(rpc.result_of(reply), headers)
