"""The subscriber against a real broker: blocks in order, each once, acknowledged when handled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Self

import pika
import pytest
from pika.channel import Channel

from control.client import (
    BrokerUnreachableError,
    ClientClosedError,
    EventSubscriber,
    NoServerError,
    SubscriptionError,
)
from publisher.amqp import AmqpConnection, AmqpSettings
from schemas.errors import NoSuchMonitorError
from schemas.events import EventInfo, EventList, encode_event_list
from schemas.topology import Topology, routing_key
from tests.brokers import VirtualHost
from tests.waiting import eventually

TOPOLOGY = Topology("fsherald")


class Publisher:
    """Declares what a server would, and publishes blocks."""

    def __init__(self, url: str, monitors: tuple[str, ...] = ("a", "b")) -> None:
        self._monitors = monitors
        self._open = threading.Event()
        self._channel: Channel
        self._connection = AmqpConnection(
            AmqpSettings(url=url, connection_name="publisher"),
            on_open=lambda connection: connection.open_channel(self._declare, lambda *_: None),
            on_lost=lambda _reason: None,
            on_died=lambda _exc: None,
        )

    def __enter__(self) -> Self:
        self._connection.start()
        assert self._open.wait(10), self._connection.last_error
        return self

    def __exit__(self, *_exc: object) -> None:
        self._connection.stop()
        self._connection.join(5)

    def _declare(self, channel: Channel) -> None:
        channel.exchange_declare(TOPOLOGY.events, "topic", durable=True)
        for monitor in self._monitors:
            exchange = TOPOLOGY.monitor_exchange(monitor)
            channel.exchange_declare(exchange, "topic", durable=True)
            channel.exchange_bind(TOPOLOGY.events, exchange, routing_key="#")
        channel.queue_declare("here", exclusive=True, callback=lambda _: self._opened(channel))

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        self._open.set()

    def on_channel(self, work: Callable[[Channel], object]) -> None:
        self._connection.call(lambda: work(self._channel))

    def publish(self, monitor: str, sequence: int, kind: str = "Create", body: bytes | None = None) -> None:
        block = EventList(monitor, sequence, [EventInfo(f"/data/{sequence}", str(sequence), kind)])
        message = body if body is not None else encode_event_list(block)
        properties = pika.BasicProperties(delivery_mode=2, message_id=f"{monitor}:{sequence}")
        exchange, key = TOPOLOGY.monitor_exchange(monitor), routing_key(monitor, [kind])
        self.on_channel(lambda channel: channel.basic_publish(exchange, key, message, properties))


@pytest.fixture
def publisher(amqp_url: str) -> Iterator[Publisher]:
    with Publisher(amqp_url) as ready:
        yield ready


def take(subscriber: EventSubscriber, count: int) -> list[tuple[str, int]]:
    found = []
    for _ in range(count):
        block = subscriber.receive(10)
        assert block is not None, found
        found.append((block.monitor_id, block.sequence))
    return found


def test_blocks_arrive_in_order(amqp_url: str, publisher: Publisher):
    """What is published once the subscription stands arrives, in order."""
    with EventSubscriber(amqp_url, monitor_id="a") as subscriber:
        for sequence in range(1, 101):
            publisher.publish("a", sequence)
        assert take(subscriber, 100) == [("a", sequence) for sequence in range(1, 101)]
        assert subscriber.receive(0.05) is None


def test_only_the_monitor_asked_for_is_followed(amqp_url: str, publisher: Publisher):
    """With an id one monitor is followed, without one all are."""
    with (
        EventSubscriber(amqp_url, monitor_id="b") as one,
        EventSubscriber(amqp_url) as every,
    ):
        publisher.publish("a", 1)
        publisher.publish("b", 1)
        assert take(one, 1) == [("b", 1)]
        assert take(every, 2) == [("a", 1), ("b", 1)]


def test_only_the_types_asked_for_arrive(amqp_url: str, publisher: Publisher):
    """The broker filters by the block's routing key."""
    with EventSubscriber(amqp_url, monitor_id="a", types=["Delete", "System"]) as subscriber:
        for sequence, kind in enumerate(("Create", "Delete", "Modify", "System"), start=1):
            publisher.publish("a", sequence, kind)
        assert take(subscriber, 2) == [("a", 2), ("a", 4)]


def test_a_block_delivered_twice_is_handed_out_once(amqp_url: str, publisher: Publisher):
    """Delivery is at least once; the number tells a repetition."""
    with EventSubscriber(amqp_url, monitor_id="a") as subscriber:
        for sequence in (1, 2, 1, 2, 3):
            publisher.publish("a", sequence)
        assert take(subscriber, 3) == [("a", 1), ("a", 2), ("a", 3)]


def test_a_block_that_comes_after_a_later_one_is_handed_out(amqp_url: str, publisher: Publisher):
    """What a lost consumer had not handled the broker delivers again, perhaps after later blocks."""
    with EventSubscriber(amqp_url, monitor_id="a") as subscriber:
        for sequence in (1, 3, 4, 2, 3, 5):
            publisher.publish("a", sequence)
        assert take(subscriber, 5) == [("a", sequence) for sequence in (1, 3, 4, 2, 5)]


def test_a_message_that_is_no_block_stops_nothing(amqp_url: str, publisher: Publisher):
    """Anybody may publish to an exchange; rubbish is rejected and the next block arrives."""
    with EventSubscriber(amqp_url, monitor_id="a") as subscriber:
        publisher.publish("a", 1, body=b"\xff{")
        publisher.publish("a", 2)
        assert take(subscriber, 1) == [("a", 2)]


def test_a_named_queue_keeps_what_was_not_handled(amqp_url: str, publisher: Publisher):
    """A block is acknowledged when the loop body is done with it, not before."""

    def handle_two_and_fail() -> None:
        with EventSubscriber(amqp_url, monitor_id="a", queue="work") as subscriber:
            for sequence in (1, 2, 3):
                publisher.publish("a", sequence)
            for block in subscriber:
                if block.sequence == 2:
                    raise KeyError(block.sequence)

    with pytest.raises(KeyError):
        handle_two_and_fail()
    with EventSubscriber(amqp_url, monitor_id="a", queue="work") as subscriber:
        assert take(subscriber, 2) == [("a", 2), ("a", 3)]
    with EventSubscriber(amqp_url, monitor_id="a", queue="work") as subscriber:
        assert subscriber.receive(0.2) is None, "the last block counts as handled when `with` is left"


def test_a_queue_that_exists_is_not_bound_to_every_monitor(
    amqp_url: str, publisher: Publisher, vhost: VirtualHost
):
    """Without a monitor id a queue is consumed as it is: its bindings are its owner's."""
    with EventSubscriber(amqp_url, monitor_id="a", queue="mine"):
        pass
    with EventSubscriber(amqp_url, queue="mine") as subscriber:
        publisher.publish("b", 1)
        publisher.publish("a", 1)
        assert take(subscriber, 1) == [("a", 1)]
        assert subscriber.receive(0.1) is None


def test_a_lost_connection_is_made_again(amqp_url: str, publisher: Publisher):
    """With a named queue nothing is missed while the connection is lost, and nothing is handed out twice."""
    seen: list[bool] = []
    with EventSubscriber(amqp_url, monitor_id="a", queue="q", on_connected=seen.append) as subscriber:
        publisher.publish("a", 1)
        publisher.publish("a", 2)
        assert take(subscriber, 1) == [("a", 1)]
        cut(subscriber)
        publisher.publish("a", 3)
        # The broker may notice the loss after it has delivered the third to the new consumer.
        assert sorted(take(subscriber, 2)) == [("a", 2), ("a", 3)]
        assert subscriber.receive(0.2) is None
        eventually(lambda: seen == [False, True])


def test_an_unknown_monitor_is_told(amqp_url: str, publisher: Publisher):
    """There is nothing to bind to."""
    with pytest.raises(NoSuchMonitorError, match="'c'"):
        EventSubscriber(amqp_url, monitor_id="c").start()


def test_a_namespace_without_a_server_is_told(amqp_url: str):
    """Where no server ever was, there is no exchange of all events."""
    with pytest.raises(NoServerError):
        EventSubscriber(amqp_url).start()


def test_an_unreachable_broker_is_told():
    """The first attempt decides: `start` does not wait for a broker that is not there."""
    with pytest.raises(BrokerUnreachableError):
        EventSubscriber("amqp://127.0.0.1:1/").start()


def test_a_queue_deleted_meanwhile_ends_the_subscription(amqp_url: str, publisher: Publisher):
    """A subscriber does not wait for ever on a queue that is gone."""
    with EventSubscriber(amqp_url, monitor_id="a", queue="q") as subscriber:
        publisher.on_channel(lambda channel: channel.queue_delete("q"))
        with pytest.raises(SubscriptionError, match="'q' was deleted"):
            subscriber.receive(10)


def test_a_closed_subscriber_says_so(amqp_url: str, publisher: Publisher):
    """After close nothing arrives, and nobody waits for it; no thread is left."""
    subscriber = EventSubscriber(amqp_url, monitor_id="a")
    subscriber.start()
    subscriber.close()
    with pytest.raises(ClientClosedError):
        subscriber.receive()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fsherald subscriber")]


def cut(subscriber: EventSubscriber) -> None:
    """Ends the connection from below, as a network would."""
    connection: AmqpConnection = subscriber._subscription.connection
    connection.call(lambda: connection._connection.close(320, "cut by the test"))
