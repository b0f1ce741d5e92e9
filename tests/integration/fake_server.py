"""A server that answers from a dict: for tests of clients alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

import pika

from publisher.amqp import AmqpConnection, AmqpSettings
from schemas import rpc
from schemas.topology import Topology

Handler = Callable[[dict[str, Any]], object]


class FakeServer:
    """Reads both request queues, and answers by `handlers[method](params)`; a context manager.

    A handler that returns None is not answered when `silent` holds its method. What came in is in `requests`.
    """

    def __init__(self, url: str, handlers: dict[str, Handler], namespace: str = "fsherald") -> None:
        self.topology = Topology(namespace)
        self.handlers = handlers
        self.silent: set[str] = set()
        self.requests: list[tuple[dict[str, Any], pika.BasicProperties]] = []
        self._ready = threading.Semaphore(0)
        self.died: BaseException | None = None
        self.connection = AmqpConnection(
            AmqpSettings(url=url, connection_name="fake server"),
            on_open=lambda connection: connection.open_channel(self._declare, lambda *_: None),
            on_lost=lambda _reason: None,
            on_died=self._on_died,
        )

    def __enter__(self) -> Self:
        self.connection.start()
        for _ in range(2):
            assert self._ready.acquire(timeout=10), self.connection.last_error
        return self

    def __exit__(self, *_exc: object) -> None:
        self.connection.stop()
        self.connection.join(5)
        assert self.died is None, self.died

    def _on_died(self, exc: BaseException) -> None:
        self.died = exc

    def _declare(self, channel: Any) -> None:
        channel.exchange_declare(self.topology.events, "topic", durable=True)
        for queue, arguments in (
            (self.topology.control, {"x-queue-type": "quorum"}),
            (self.topology.files, None),
        ):
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.basic_consume(
                queue, self.connection.guard(self._on_request), callback=lambda _: self._ready.release()
            )

    def _on_request(self, channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        request: Any = rpc.loads(body)
        self.requests.append((request, properties))
        channel.basic_ack(method.delivery_tag)
        if request["method"] in self.silent:
            return
        octets: tuple[bytes, dict[str, Any]] | None = None
        try:
            result = self.handlers[request["method"]](request["params"])
            if isinstance(result, tuple):
                octets = result
            reply = rpc.success(request["id"], result)
        except Exception as exc:  # noqa: BLE001 - whatever the test wants to see on the other side
            reply = rpc.failure(request["id"], exc)
        answer = pika.BasicProperties(
            correlation_id=properties.correlation_id,
            content_type="application/octet-stream" if octets else "application/json",
            headers=octets[1] if octets else None,
        )
        channel.basic_publish("", properties.reply_to, octets[0] if octets else rpc.dumps(reply), answer)
