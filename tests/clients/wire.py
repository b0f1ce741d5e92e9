"""A client on py-amqp, written from docs/protocol.md alone: it imports nothing of fsherald, nor pika."""

from __future__ import annotations

import itertools
import json
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import amqp

Json = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """What was consumed, as it came."""

    body: bytes
    properties: Json
    headers: Json
    routing_key: str
    redelivered: bool

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class WireError(Exception):
    """The reply is an error object."""

    def __init__(self, error: Json) -> None:
        super().__init__(json.dumps(error))
        self.error = error
        self.code: int = error["code"]
        self.data: Json = error.get("data", {})


class Subscription:
    """A queue of this client's own, bound to an exchange, and what has arrived in it."""

    def __init__(self, client: WireClient, queue: str) -> None:
        self._client = client
        self.queue = queue
        self.messages: list[Message] = []
        self._position = 0

    def next(self, *, seconds: float = 15.0) -> Message:
        """The next message, in order."""
        position = self._position
        self._client.pump(lambda: len(self.messages) > position, seconds)
        assert len(self.messages) > position, f"no message in {self.queue} within {seconds:g} s"
        self._position = position + 1
        return self.messages[position]

    def nothing(self, *, seconds: float = 1.0) -> bool:
        """Whether nothing more arrives for so long."""
        position = self._position
        self._client.pump(lambda: len(self.messages) > position, seconds)
        return len(self.messages) == position

    def until_quiet(self, *, seconds: float = 1.0) -> None:
        """Wait until nothing has arrived for so long, whatever arrives before that."""
        arrived = -1
        while arrived != len(self.messages):
            arrived = len(self.messages)
            self._client.pump(lambda: len(self.messages) > arrived, seconds)  # noqa: B023 - called at once

    def block(self, *, seconds: float = 15.0) -> Json:
        """The next EventList."""
        return dict(self.next(seconds=seconds).json())

    def blocks(self, until_events: int, *, seconds: float = 30.0) -> list[Json]:
        """EventLists until they hold so many events together."""
        found: list[Json] = []
        deadline = time.monotonic() + seconds
        while sum(len(block["events"]) for block in found) < until_events:
            found.append(self.block(seconds=max(deadline - time.monotonic(), 0.1)))
        return found


class WireClient:
    """One connection; requests are answered in a queue of its own, events arrive in subscriptions."""

    def __init__(self, url: str, namespace: str = "fsherald") -> None:
        parts = urllib.parse.urlsplit(url)
        self.namespace = namespace
        self._connection = amqp.Connection(
            host=f"{parts.hostname}:{parts.port or 5672}",
            userid=urllib.parse.unquote(parts.username or "guest"),
            password=urllib.parse.unquote(parts.password or "guest"),
            virtual_host=urllib.parse.unquote(parts.path[1:]) or "/",
            connect_timeout=10,
            client_properties={"connection_name": "acceptance"},
        )
        self._connection.connect()
        self.channel = self._connection.channel()
        self._numbers = itertools.count(1)
        self._replies: dict[str, Message] = {}
        self.reply_queue, _, _ = self.channel.queue_declare(exclusive=True)
        self.channel.basic_consume(self.reply_queue, no_ack=True, callback=self._on_reply)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close; a connection that the broker has closed is simply forgotten."""
        with suppress(OSError, amqp.AMQPError):
            self._connection.close()
        self._connection.collect()

    # Requests.

    def send(
        self,
        body: bytes,
        *,
        queue: str = "control",
        correlation_id: str = "",
        reply_to: str | None = None,
        headers: Json | None = None,
        **properties: str,
    ) -> None:
        """Publish a request as it is, to the request queue `NS.control` or `NS.files`."""
        if headers:
            properties["application_headers"] = headers  # type: ignore[assignment]  # py-amqp's name for a table
        if correlation_id:
            properties["correlation_id"] = correlation_id
        target = self.reply_queue if reply_to is None else reply_to
        if target:
            properties["reply_to"] = target
        message = amqp.Message(body, content_type="application/json", **properties)
        self.channel.basic_publish(message, exchange="", routing_key=f"{self.namespace}.{queue}")

    def reply(self, correlation_id: str, *, seconds: float = 15.0) -> Message:
        """The reply with that correlation id."""
        self.pump(lambda: correlation_id in self._replies, seconds)
        assert correlation_id in self._replies, f"no reply {correlation_id} within {seconds:g} s"
        return self._replies.pop(correlation_id)

    def no_reply(self, *, seconds: float = 0.5) -> bool:
        """Whether no reply at all is there or comes for so long."""
        self.pump(lambda: bool(self._replies), seconds)
        return not self._replies

    def request(self, body: object, *, seconds: float = 15.0, **how: Any) -> Message:
        """Send a JSON value, or bytes, and return the reply."""
        correlation_id = how.pop("correlation_id", f"request-{next(self._numbers)}")
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send(text, correlation_id=correlation_id, **how)
        return self.reply(correlation_id, seconds=seconds)

    def call(self, method: str, *, how: Json | None = None, seconds: float = 15.0, **params: object) -> Any:
        """Call a method of the contract and return its result.

        Raises:
            WireError: The reply is an error.
        """
        number = next(self._numbers)
        queue = "files" if method in FILE_METHODS else "control"
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        reply = self.request(body, seconds=seconds, **{"queue": queue, **(how or {})}).json()
        assert reply["jsonrpc"] == "2.0"
        assert reply["id"] == number
        assert ("result" in reply) != ("error" in reply)
        if "error" in reply:
            raise WireError(reply["error"])
        return reply["result"]

    # Events.

    def subscribe(self, exchange: str, *keys: str) -> Subscription:
        """Bind a fresh queue to an exchange and consume it; every key with `#` unless keys are named."""
        queue, _, _ = self.channel.queue_declare(exclusive=True)
        for key in keys or ("#",):
            self.channel.queue_bind(queue, exchange, key)
        return self.consume(queue)

    def consume(self, queue: str) -> Subscription:
        """Consume a queue that is there."""
        subscription = Subscription(self, queue)

        def arrived(message: amqp.Message) -> None:
            subscription.messages.append(_message(message))
            message.channel.basic_ack(message.delivery_tag)

        self.channel.basic_consume(queue, callback=arrived)
        return subscription

    def create(self, path: object, **params: object) -> str:
        """Create a monitor of everything below `path`, unless said otherwise; returns its id."""
        wanted: Json = {"mType": "Persistent", "eTypes": ["All"], "pMode": "Follow", "pathString": str(path)}
        return str(self.call("createMonitor", **{**wanted, **params}))

    def watch(self, path: object, *keys: str, **params: object) -> tuple[str, Subscription]:
        """Create a monitor, subscribe to it, and start it: in this order nothing is missed."""
        monitor = self.create(path, **params)
        subscription = self.subscribe(f"{self.namespace}.monitor.{monitor}", *keys)
        self.call("startMonitor", id=monitor)
        return monitor, subscription

    def pump(self, is_done: Any, seconds: float) -> None:
        """Read from the socket until `is_done()` or the time is up."""
        deadline = time.monotonic() + seconds
        while not is_done():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=left)

    def _on_reply(self, message: amqp.Message) -> None:
        reply = _message(message)
        self._replies[reply.properties.get("correlation_id", "")] = reply


FILE_METHODS = {
    "fileExists",
    "getATime",
    "getBaseName",
    "getBulkDirectory",
    "getCTime",
    "getDirectory",
    "getMTime",
    "getOwner",
    "getSHA1",
    "getSize",
    "getStats",
    "isDir",
    "isFile",
    "readBlock",
}


def events(blocks: Iterator[Json] | list[Json]) -> list[Json]:
    """All events of the blocks, in order."""
    return [event for block in blocks for event in block["events"]]


def _message(message: amqp.Message) -> Message:
    properties = dict(message.properties)
    headers = properties.pop("application_headers", {})
    body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
    delivery = message.delivery_info
    return Message(body, properties, headers, delivery["routing_key"], delivery["redelivered"])
