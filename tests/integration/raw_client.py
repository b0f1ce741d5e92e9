"""A client of the request queues that sends whatever a test wants, well-formed or not."""

from __future__ import annotations

import itertools
import json
import time
from types import TracebackType
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel

from schemas.topology import Topology

DIRECT = "amq.rabbitmq.reply-to"


class RawClient:
    """One connection; `reply_to` is a queue of its own, or direct. For one thread."""

    def __init__(self, url: str, *, direct: bool = False, namespace: str = "fsherald") -> None:
        self.topology = Topology(namespace)
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel: BlockingChannel = self._connection.channel()
        self.reply_to = DIRECT if direct else self.channel.queue_declare("", exclusive=True).method.queue
        self.replies: list[tuple[pika.BasicProperties, bytes]] = []
        self.channel.basic_consume(self.reply_to, self._on_reply, auto_ack=True)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.is_open:
            self._connection.close()

    def send(
        self, body: bytes | object, *, at: str = "control", reply: bool = True, **properties: Any
    ) -> None:
        """Publishes a body, JSON if it is not bytes, with `reply_to` unless another or none is asked for."""
        if reply:
            properties.setdefault("reply_to", self.reply_to)
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        target = getattr(self.topology, at)
        self.channel.basic_publish("", target, octets, pika.BasicProperties(**properties))

    def ask(self, method: str, /, *, at: str = "control", seconds: float = 15.0, **params: object) -> Any:
        """The decoded reply to one request."""
        number = next(self._numbers)
        self.send(request(method, number, **params), at=at, correlation_id=f"ask-{number}")
        return json.loads(self.reply(f"ask-{number}", seconds=seconds)[1])

    def reply(
        self, correlation_id: str | bytes, *, seconds: float = 15.0
    ) -> tuple[pika.BasicProperties, bytes]:
        """The first reply with that correlation id; AssertionError if there is none in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for properties, body in self.replies:
                if properties.correlation_id == correlation_id:
                    return properties, body
            self.pump(0.05)
        raise AssertionError(f"no reply {correlation_id!r} within {seconds:g} s")

    def pump(self, seconds: float = 0.0) -> None:
        """Takes what has come, waiting for it at most so long."""
        self._connection.process_data_events(seconds)

    def _on_reply(self, _channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self.replies.append((properties, body))


def request(method: str, number: object = 1, /, **params: object) -> dict[str, object]:
    """A request object."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
