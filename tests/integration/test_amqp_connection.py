"""The connection against a real broker: reconnecting, closing, and callbacks that fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from publisher.amqp import AmqpConnection, AmqpSettings, Channel, Refusal
from tests.brokers import VirtualHost, connection_name
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

SECONDS = 20.0


class Owner:
    """Keeps what a connection tells its owner."""

    def __init__(self, url: str, on_open: Callable[[AmqpConnection], None] = lambda connection: None) -> None:
        self.lost: SimpleQueue[str] = SimpleQueue()
        self.died: SimpleQueue[BaseException] = SimpleQueue()
        self.connection = AmqpConnection(
            AmqpSettings(url=url, connection_name="fsherald test"),
            on_open=on_open,
            on_lost=self.lost.put,
            on_died=self.died.put,
        )


def fail(*_: object) -> None:
    raise RuntimeError("a bug")


def test_the_broker_shows_the_name_of_the_connection(vhost: VirtualHost):
    """An operator sees which connection is which."""
    owner = Owner(vhost.url)
    owner.connection.start()
    rows = eventually(lambda: vhost.broker.list_connections(vhost.name), seconds=SECONDS)
    assert connection_name(rows[0]) == "fsherald test"
    owner.connection.stop()
    assert owner.connection.join(SECONDS)
    assert "closed" in owner.lost.get(timeout=1)
    assert owner.died.empty()


def test_it_is_there_again_after_the_network_failed(vhost: VirtualHost):
    """on_open once per connection, on_lost once per loss, channels reported first."""
    order: SimpleQueue[str] = SimpleQueue()

    def on_open(connection: AmqpConnection) -> None:
        connection.open_channel(lambda _: order.put("open"), on_closed)

    def on_closed(channel: Channel, refusal: Refusal) -> None:
        order.put(f"closed {refusal.code}")

    with TcpProxy(vhost.broker.host, vhost.broker.port) as proxy:
        proxy.open()
        owner = Owner(vhost.url.replace(f":{vhost.broker.port}/", f":{proxy.port}/"), on_open)
        owner.connection.start()
        assert order.get(timeout=SECONDS) == "open"
        proxy.cut()
        assert order.get(timeout=SECONDS) == "closed 0"
        assert "was cut" in owner.lost.get(timeout=SECONDS)
        assert order.get(timeout=SECONDS) == "open"
        assert owner.connection.reconnects == 1
        owner.connection.stop()
        assert owner.connection.join(SECONDS)
    assert owner.died.empty()


def test_a_channel_that_the_broker_closes_says_why_and_leaves_the_connection(vhost: VirtualHost):
    """404 and its like are the channel's affair."""
    refusals: SimpleQueue[Refusal] = SimpleQueue()

    def on_open(connection: AmqpConnection) -> None:
        connection.open_channel(
            lambda channel: channel.queue_declare("missing", passive=True),
            lambda _, refusal: refusals.put(refusal),
        )

    owner = Owner(vhost.url, on_open)
    owner.connection.start()
    refusal = refusals.get(timeout=SECONDS)
    assert refusal.code == 404
    assert "missing" in refusal.text
    assert owner.connection.is_open
    owner.connection.stop()
    assert owner.connection.join(SECONDS)


def test_a_hook_that_fails_ends_the_thread(vhost: VirtualHost):
    """pika would take it for a network failure and reconnect for ever."""
    owner = Owner(vhost.url, fail)
    owner.connection.start()
    assert str(owner.died.get(timeout=SECONDS)) == "a bug"
    assert owner.connection.join(SECONDS)
    assert not owner.connection.is_open


def test_an_answer_to_a_channel_that_is_closing_is_not_handed_over(vhost: VirtualHost):
    """It was on its way when the connection was stopped; nothing can be done on the channel any more."""
    order: SimpleQueue[str] = SimpleQueue()

    def on_open(connection: AmqpConnection) -> None:
        connection.open_channel(ask, lambda _channel, refusal: order.put(f"closed {refusal.code}"))

    def ask(channel: Channel) -> None:
        answered = owner.connection.answer_on(channel, lambda _frame: order.put("answered"))
        channel.queue_declare("", exclusive=True, callback=answered)
        owner.connection.stop()

    owner = Owner(vhost.url, on_open)
    owner.connection.start()
    assert owner.connection.join(SECONDS)
    assert owner.died.empty(), owner.died.get()
    assert [order.get_nowait(), order.empty()] == ["closed 0", True]


def test_a_guarded_callback_that_fails_ends_the_thread(vhost: VirtualHost):
    """The same for what an owner gives to a channel itself."""

    def on_open(connection: AmqpConnection) -> None:
        connection.open_channel(
            lambda channel: channel.queue_declare("", exclusive=True, callback=connection.guard(fail)),
            lambda *_: None,
        )

    owner = Owner(vhost.url, on_open)
    owner.connection.start()
    assert str(owner.died.get(timeout=SECONDS)) == "a bug"
    assert owner.connection.join(SECONDS)


def test_stop_from_a_hook_closes(vhost: VirtualHost):
    """A one-shot client may stop when it has its answer."""
    owner = Owner(vhost.url, lambda connection: connection.stop())
    owner.connection.start()
    assert owner.connection.join(SECONDS)
    assert owner.died.empty()


def test_work_from_many_threads_is_all_done(vhost: VirtualHost):
    """Handing over is what every other thread does."""
    owner = Owner(vhost.url)
    owner.connection.start()
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: [owner.connection.call(lambda: done.append(1)) for _ in range(1000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(done) == 4000, seconds=SECONDS)
    owner.connection.stop()
    assert owner.connection.join(SECONDS)
