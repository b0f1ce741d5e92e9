"""The bare competitors for publishing: pika with confirms, all in memory, nothing kept, nothing retried."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, takewhile
from typing import Any

import pika

from publisher.message import properties_of
from publisher.outbox import Entry
from schemas.topology import app_id

IN_FLIGHT = 1024


class Pipelined:
    """pika's asynchronous connection; as long as there is enough, `IN_FLIGHT` messages are on their way."""

    def __init__(self, url: str, exchange: str, entries: Sequence[Entry]) -> None:
        """Returns when the channel confirms."""
        self._left = iter(entries)
        self._exchange, self._app_id = exchange, app_id()
        self._on_its_way: dict[int, None] = {}
        self._sent = 0
        self._channel: Any = None
        self._connection = pika.SelectConnection(pika.URLParameters(url), on_open_callback=self._connected)
        self._loop = self._connection.ioloop
        self._loop.start()

    def run(self) -> None:
        """Publishes all; returns when all is confirmed."""
        self._send(IN_FLIGHT)
        self._loop.start()

    def close(self) -> None:
        self._connection.add_on_close_callback(lambda *_: self._loop.stop())
        self._connection.close()
        self._loop.start()

    def _connected(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._opened)

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_delivery(self._on_settled, callback=lambda _: self._loop.stop())

    def _send(self, count: int) -> None:
        for entry in islice(self._left, count):
            _publish(self._channel, self._exchange, entry, self._app_id)
            self._sent += 1
            self._on_its_way[self._sent] = None

    def _on_settled(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        settled = (
            list(takewhile(lambda each: each <= tag, self._on_its_way)) if frame.method.multiple else [tag]
        )
        for each in settled:
            del self._on_its_way[each]
        self._send(len(settled))
        if not self._on_its_way:
            self._loop.stop()


class RoundTrips:
    """pika's blocking connection, which waits for the confirm of each message before the next."""

    def __init__(self, url: str, exchange: str, entries: Sequence[Entry]) -> None:
        """Returns when the channel confirms."""
        self._entries = entries
        self._exchange = exchange
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()

    def run(self) -> None:
        """Publishes all; returns when all is confirmed."""
        id_ = app_id()
        for entry in self._entries:
            _publish(self._channel, self._exchange, entry, id_)

    def close(self) -> None:
        self._connection.close()


def _publish(channel: Any, exchange: str, entry: Entry, id_: str) -> None:
    channel.basic_publish(exchange, entry.routing_key, entry.body, properties_of(entry, id_), mandatory=True)
