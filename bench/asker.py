"""The client of the request comparisons: pika, direct reply-to, a fixed number of requests in flight."""

from __future__ import annotations

import time
from typing import Any

import pika
import pika.exceptions

from tests.waiting import eventually

LONGEST_SECONDS = 120


class Asker:
    """Asks one queue the same thing many times; used for every competitor alike."""

    def __init__(self, url: str, queue: str, body: bytes, headers: dict[str, Any] | None = None) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        eventually(lambda: self._is_served(queue), seconds=30)
        self._channel = self._connection.channel()
        self._queue = queue
        self._body = body
        self._properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", headers=headers)
        self._channel.basic_consume("amq.rabbitmq.reply-to", self._on_reply, auto_ack=True)
        self._asked: list[float] = []
        self._seconds: list[float] = []
        self._wanted = 0
        self.last_reply = b""

    def ask(self, count: int, in_flight: int) -> tuple[list[float], float]:
        """Asks `count` times; returns the seconds that each took, sorted, and the seconds of all together."""
        self._asked, self._seconds, self._wanted = [], [], count
        began = time.perf_counter()
        for _ in range(min(in_flight, count)):
            self._send()
        while len(self._seconds) < count:
            self._connection.process_data_events(time_limit=1)
            if time.perf_counter() - began > LONGEST_SECONDS:
                raise TimeoutError(f"{self._queue} has not answered in {LONGEST_SECONDS} seconds")
        return sorted(self._seconds), time.perf_counter() - began

    def close(self) -> None:
        self._connection.close()

    def _is_served(self, queue: str) -> bool:
        channel = self._connection.channel()
        try:
            consumers: int = channel.queue_declare(queue, passive=True).method.consumer_count
        except pika.exceptions.ChannelClosedByBroker:
            return False
        channel.close()
        return consumers > 0

    def _send(self) -> None:
        self._properties.correlation_id = str(len(self._asked))
        self._asked.append(time.perf_counter())
        self._channel.basic_publish("", self._queue, self._body, self._properties)

    def _on_reply(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        self._seconds.append(time.perf_counter() - self._asked[int(properties.correlation_id)])
        self.last_reply = body
        if len(self._asked) < self._wanted:
            self._send()
