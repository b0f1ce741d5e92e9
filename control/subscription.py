"""The broker's side of an EventSubscriber: declares, binds and consumes on each new connection, and hands over."""

from __future__ import annotations

import queue as queues
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from control.client_errors import SubscriptionError
from publisher.amqp import AmqpConnection, AmqpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from publisher.amqp import Channel, Refusal
    from schemas.errors import FsheraldError

__all__ = ["Delivery", "Ready", "Source", "Subscription"]

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Source:
    """What to consume.

    Attributes:
        exchange: where the events come from.
        keys: what to bind to it with.
        is_one_monitor: the exchange is one monitor's, not everybody's.
        queue: a durable queue; None for one that ends with the connection.
        prefetch: messages on their way at most.
        error_without_exchange: what to raise if there is no such exchange.
    """

    exchange: str
    keys: Sequence[str]
    is_one_monitor: bool
    queue: str | None
    prefetch: int
    error_without_exchange: FsheraldError


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message, whether the broker delivered it before, and what it takes to acknowledge it."""

    channel: Channel
    delivery_tag: int
    redelivered: bool
    body: bytes


class Ready:
    """Handed over once, when the first subscription stands."""


class Subscription:
    """Keeps a consumer on a source across connections. What arrives, errors that end it included, is in `arrived`."""

    def __init__(
        self, settings: AmqpSettings, source: Source, on_connected: Callable[[bool], None] | None
    ) -> None:
        """Connects to nothing yet.

        Raises:
            ValueError: the broker's URL cannot be used; one sentence.
        """
        self.arrived: queues.SimpleQueue[Delivery | Ready | Exception] = queues.SimpleQueue()
        self._source = source
        self._on_connected = on_connected
        self._closing = False
        # Written by the connection's thread alone.
        self.was_open = False
        self.channel: Channel | None = None
        self._subscriptions = 0
        self.connection = AmqpConnection(
            settings, on_open=self._subscribe, on_lost=self._on_lost, on_died=self._on_died
        )

    def close(self, seconds: float) -> None:
        """Closes, blocking `seconds` at most. Idempotent."""
        self._closing = True
        self.connection.stop()
        self.connection.join(seconds)

    def settle(self, delivery: Delivery, *, reject: bool = False) -> None:
        """Acknowledges a message, or rejects it for good; without effect if its channel is gone. Any thread."""

        def settle() -> None:
            if not delivery.channel.is_open:
                return
            if reject:
                delivery.channel.basic_reject(delivery.delivery_tag, requeue=False)
            else:
                delivery.channel.basic_ack(delivery.delivery_tag)

        self.connection.call(settle)

    # What follows runs on the connection's thread.

    def _subscribe(self, connection: AmqpConnection) -> None:
        self.was_open = True
        if self._source.queue is None:
            connection.open_channel(
                lambda channel: self._declare(channel, "", exclusive=True), self._on_closed
            )
        else:
            connection.open_channel(self._look_for_queue, self._on_no_queue)

    def _look_for_queue(self, channel: Channel) -> None:
        def found(_frame: object) -> None:
            self._bind(
                channel, self._source.queue or "", self._source.keys if self._source.is_one_monitor else []
            )

        callback = self.connection.answer_on(channel, found)
        channel.queue_declare(self._source.queue or "", passive=True, callback=callback)

    def _on_no_queue(self, channel: Channel, refusal: Refusal) -> None:
        if refusal.code == _NOT_FOUND and "no queue" in refusal.text:
            self.connection.open_channel(
                lambda fresh: self._declare(fresh, self._source.queue or "", exclusive=False), self._on_closed
            )
        else:
            self._on_closed(channel, refusal)

    def _declare(self, channel: Channel, name: str, *, exclusive: bool) -> None:
        def declared(frame: Any) -> None:
            self._bind(channel, frame.method.queue, self._source.keys)

        channel.queue_declare(
            name,
            exclusive=exclusive,
            auto_delete=exclusive,
            durable=not exclusive,
            arguments=None if exclusive else {"x-queue-type": "quorum"},
            callback=self.connection.answer_on(channel, declared),
        )

    def _bind(self, channel: Channel, name: str, keys: Sequence[str]) -> None:
        for key in keys:
            channel.queue_bind(name, self._source.exchange, routing_key=key)
        channel.basic_qos(prefetch_count=self._source.prefetch)
        guard = self.connection.guard
        channel.add_on_cancel_callback(guard(lambda _frame: self._end(f"queue {name!r} was deleted")))
        subscribed = self.connection.answer_on(channel, lambda _frame: self._on_subscribed(channel))
        channel.basic_consume(name, guard(self._on_delivery), callback=subscribed)

    def _on_subscribed(self, channel: Channel) -> None:
        self.channel = channel
        self._subscriptions += 1
        if self._subscriptions == 1:
            self.arrived.put(Ready())
        elif self._on_connected is not None:
            self._on_connected(True)

    def _on_delivery(self, channel: Channel, method: Any, _properties: object, body: bytes) -> None:
        self.arrived.put(Delivery(channel, method.delivery_tag, method.redelivered, body))

    def _end(self, reason: str) -> None:
        self.arrived.put(SubscriptionError(f"the subscription to {self._source.exchange} ended: {reason}"))

    def _on_closed(self, _channel: Channel, refusal: Refusal) -> None:
        self.channel = None
        if refusal.code == _NOT_FOUND and "no exchange" in refusal.text:
            self.arrived.put(self._source.error_without_exchange)
        elif refusal.code:
            self._end(refusal.text)

    def _on_lost(self, _reason: str) -> None:
        self.channel = None
        if self._on_connected is not None and self._subscriptions and not self._closing:
            self._on_connected(False)

    def _on_died(self, exc: BaseException) -> None:
        self._end(f"its connection failed unexpectedly: {exc!r}")
