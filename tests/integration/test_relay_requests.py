"""What others ask of the relay, against real brokers: declarations, deletions, waiting for it, stopping it."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

import pytest

from publisher import relay as relay_module
from publisher.amqp import AmqpConnection, AmqpSettings, Channel
from publisher.relay import Relay
from schemas.errors import MonitorFailedError, ShuttingDownError
from tests.brokers import VirtualHost
from tests.fakes import MemoryOutbox
from tests.integration.conftest import TOPOLOGY, StartRelay
from tests.integration.relaying import SECONDS, A, B, bind_new_queue, expected, message_ids
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

# Declarations.


def test_a_missing_queue_is_declared_as_a_durable_quorum_queue(vhost: VirtualHost, start_relay: StartRelay):
    """createMonitor's `queue`; the monitor's exchange is bound to that of all monitors."""
    start_relay(vhost.url).declare_monitor(A, "inbox").result(SECONDS)
    queue = vhost.broker.queue(vhost.name, "inbox")
    assert queue["durable"]
    assert queue["arguments"] == {"x-queue-type": "quorum"}
    bindings = {
        (row["source"], row["destination"], row["routing_key"]) for row in vhost.broker.bindings(vhost.name)
    }
    assert bindings == {(f"NS.monitor.{A}", "inbox", "#"), (f"NS.monitor.{A}", "NS.events", "#")}
    exchanges = {row["name"]: (row["type"], row["durable"]) for row in vhost.broker.exchanges(vhost.name)}
    assert exchanges == {"NS.events": ("topic", True), f"NS.monitor.{A}": ("topic", True)}


def test_an_existing_queue_is_bound_as_it_is(vhost: VirtualHost, start_relay: StartRelay):
    """Its owner chose its kind."""
    vhost.broker.declare_queue(vhost.name, "inbox", kind="classic")
    start_relay(vhost.url).declare_monitor(A, "inbox").result(SECONDS)
    assert vhost.broker.queue(vhost.name, "inbox")["arguments"] == {"x-queue-type": "classic"}


def test_declaring_twice_is_as_good_as_once(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """A repeated createMonitor declares again."""
    relay = start_relay(vhost.url)
    for declared in [relay.declare_monitor(A, "inbox") for _ in range(5)]:
        declared.result(SECONDS)
    outbox.put(A, 3)
    assert relay.drained(A, SECONDS)
    assert message_ids(vhost, "inbox") == expected(A, 3)


def test_somebodys_exclusive_queue_is_refused_by_name(vhost: VirtualHost, start_relay: StartRelay):
    """405; the remedy is in the sentence, and the connection lives on."""
    relay = start_relay(vhost.url)
    with exclusive_queue(vhost.url, "mine"), pytest.raises(MonitorFailedError) as failed:
        relay.declare_monitor(A, "mine").result(SECONDS)
    assert "queue 'mine' is exclusive" in failed.value.reason
    relay.declare_monitor(A, "another").result(SECONDS)
    assert relay.status().reconnects == 0


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        ("amq.mine", "keeps for itself"),
        ("", "has no name"),
        ("x" * 256, "256 bytes"),
        ("ü" * 128, "256 bytes"),
        ("\udc80", "not valid text"),
    ],
)
def test_an_impossible_queue_name_is_refused(
    vhost: VirtualHost, start_relay: StartRelay, queue: str, words: str
):
    """One sentence, and the relay goes on."""
    relay = start_relay(vhost.url)
    with pytest.raises(MonitorFailedError, match=words):
        relay.declare_monitor(A, queue).result(SECONDS)
    relay.declare_monitor(A, "x" * 255).result(SECONDS)


def test_an_exchange_of_another_type_is_refused_and_holds_its_monitor_only(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """406: somebody else's exchange; others are not disturbed, and it is tried again."""
    vhost.broker.declare_exchange(vhost.name, f"NS.monitor.{A}", "direct")
    relay = start_relay(vhost.url)
    with pytest.raises(MonitorFailedError, match=f"exchange 'NS.monitor.{A}' exists with other properties"):
        relay.declare_monitor(A).result(SECONDS)
    relay.declare_monitor(B, "inbox").result(SECONDS)
    outbox.put(A, 3)
    outbox.put(B, 3)
    assert relay.drained(B, SECONDS)
    eventually(lambda: relay.status().held == {A}, seconds=SECONDS)
    assert A in (relay.status().last_error or "")
    vhost.broker.delete_exchange(vhost.name, f"NS.monitor.{A}")
    relay.declare_monitor(A, "late").result(SECONDS)
    assert relay.drained(A, SECONDS)
    assert message_ids(vhost, "late") == expected(A, 3)
    assert relay.status().last_error is None


def test_a_user_without_permission_is_told_so(vhost: VirtualHost, start_relay: StartRelay):
    """403 names what is needed."""
    user = f"user-{vhost.name}"
    vhost.broker.create_user(user, "pw")
    try:
        vhost.broker.set_permissions(vhost.name, configure="^NS[.]", write="^NS[.]", read="^NS[.]", user=user)
        relay = start_relay(vhost.broker.url(vhost.name, username=user, password="pw"))
        relay.declare_monitor(A).result(SECONDS)
        with pytest.raises(MonitorFailedError, match="queue 'inbox' may not be used by the server's user"):
            relay.declare_monitor(A, "inbox").result(SECONDS)
    finally:
        vhost.broker.delete_user(user)


@pytest.mark.parametrize("round_trips", range(4))
def test_a_relay_that_is_stopped_while_the_broker_answers_ends_in_peace(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay, round_trips: int
):
    """Answers to channels that close already count for nothing; the fixture tells if the thread died of one."""
    outbox.put(A, 1)
    relay = start_relay(vhost.url)
    connection = relay._connection

    def stop_after(rounds: int) -> None:
        if rounds:
            connection.open_channel(lambda _channel: stop_after(rounds - 1), lambda *_: None)
        else:
            relay.stop()

    eventually(lambda: connection.is_open)
    request = relay.declare_monitor(A, "inbox")
    connection.call(lambda: stop_after(round_trips))
    assert relay.join(SECONDS)
    assert request.done()


def test_a_request_fails_in_time_while_there_is_no_broker(
    vhost: VirtualHost, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
):
    """createMonitor is answered, broker or not; the reason says which thing and why."""
    monkeypatch.setattr(relay_module, "REQUEST_SECONDS", 0.5)
    with TcpProxy(vhost.broker.host, vhost.broker.port) as proxy:
        relay = start_relay(f"amqp://127.0.0.1:{proxy.port}/")
        with pytest.raises(MonitorFailedError) as failed:
            relay.declare_monitor(A).result(SECONDS)
    assert f"exchange 'NS.monitor.{A}'" in failed.value.reason
    assert "no connection" in failed.value.reason


def test_a_deleted_monitor_is_gone_from_the_broker(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """destroyMonitor deletes the exchange; one that is not there is fine."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A, "inbox").result(SECONDS)
    outbox.put(A, 2000)
    relay.delete_monitor(A).result(SECONDS)
    assert [row["name"] for row in vhost.broker.exchanges(vhost.name)] == ["NS.events"]
    relay.delete_monitor(A).result(SECONDS)
    relay.delete_monitor("never-there").result(SECONDS)
    assert relay.status().reconnects == 0


# Waiting for it, and stopping it.


def test_drained_is_true_at_once_for_a_monitor_without_blocks(vhost: VirtualHost, start_relay: StartRelay):
    """Nothing to wait for."""
    assert start_relay(vhost.url).drained(A, SECONDS)


def test_drained_is_false_at_once_when_nobody_takes_the_blocks(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """destroyMonitor does not wait for a queue that never comes, but it tries once more."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A).result(SECONDS)
    outbox.put(A, 2)
    for _ in range(3):
        before = time.monotonic()
        assert not relay.drained(A, SECONDS)
        assert time.monotonic() - before < 2
    bind_new_queue(vhost, "late", f"NS.monitor.{A}")
    assert relay.drained(A, SECONDS)


def test_drained_is_false_when_its_time_is_up(start_relay: StartRelay, outbox: MemoryOutbox):
    """No broker, no answer."""
    relay = start_relay("amqp://127.0.0.1:1/")
    outbox.put(A)
    assert not relay.drained(A, 0.2)


def test_stop_publishes_what_is_left(vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay):
    """The partial blocks of a stop go out."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A, "inbox").result(SECONDS)
    outbox.put(A, 3000)
    relay.stop(SECONDS)
    assert relay.join(SECONDS)
    assert outbox.size() == (0, 0)
    assert message_ids(vhost, "inbox") == expected(A, 3000)


def test_stop_does_not_wait_for_held_monitors(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """What nobody takes stays in the outbox."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A).result(SECONDS)
    outbox.put(A, 3)
    eventually(lambda: relay.status().held, seconds=SECONDS)
    relay.stop(SECONDS)
    assert relay.join(5)
    assert outbox.size(A)[0] == 3


def test_stop_does_not_wait_for_a_broker_that_is_away(start_relay: StartRelay, outbox: MemoryOutbox):
    """There is nobody to drain to."""
    relay = start_relay("amqp://127.0.0.1:1/")
    outbox.put(A, 3)
    eventually(lambda: relay.status().last_error, seconds=SECONDS)
    relay.stop(SECONDS)
    assert relay.join(5)
    assert outbox.size(A)[0] == 3


def test_stop_right_after_start_still_publishes(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """The connection may not be open yet: the broker gets its chance."""
    vhost.broker.declare_exchange(vhost.name, f"NS.monitor.{A}")
    bind_new_queue(vhost, "inbox", f"NS.monitor.{A}")
    outbox.put(A, 10)
    relay = start_relay(vhost.url)
    relay.stop(SECONDS)
    assert relay.join(SECONDS)
    assert outbox.size() == (0, 0)
    assert message_ids(vhost, "inbox") == expected(A, 10)


def test_after_a_stop_requests_are_refused(vhost: VirtualHost, start_relay: StartRelay):
    """Nobody waits for an answer that never comes."""
    relay = start_relay(vhost.url)
    relay.stop()
    relay.stop(SECONDS)
    assert relay.join(SECONDS)
    with pytest.raises(ShuttingDownError):
        relay.declare_monitor(A).result(SECONDS)
    assert relay.drained(A, SECONDS)
    relay.wake(A)
    relay.adopt(A)


def test_a_failing_outbox_ends_the_relay(vhost: VirtualHost):
    """Nothing limps: whoever put it together is told and ends the service; nobody is left waiting."""

    class BrokenOutbox(MemoryOutbox):
        def confirm(self, up_to: object) -> None:
            raise OSError("disk gone")

    outbox, died = BrokenOutbox(), SimpleQueue[BaseException]()
    relay = Relay(AmqpSettings(url=vhost.url), TOPOLOGY, outbox, on_died=died.put)
    outbox.subscribe(relay.wake)
    relay.start()
    relay.declare_monitor(A, "inbox").result(SECONDS)
    outbox.put(A)
    assert str(died.get(timeout=SECONDS)) == "disk gone"
    assert relay.join(SECONDS)
    assert not relay.drained(A, SECONDS)


class exclusive_queue:  # noqa: N801 - reads as the context manager that it is
    """A queue that belongs to a connection of its own."""

    def __init__(self, url: str, name: str) -> None:
        self._name = name
        self._declared = threading.Event()
        self._connection = AmqpConnection(
            AmqpSettings(url=url),
            on_open=self._open,
            on_lost=lambda _reason: None,
            on_died=lambda _exc: None,
        )

    def _open(self, connection: AmqpConnection) -> None:
        connection.open_channel(self._declare, lambda *_: None)

    def _declare(self, channel: Channel) -> None:
        channel.queue_declare(self._name, exclusive=True, callback=lambda _: self._declared.set())

    def __enter__(self) -> None:
        self._connection.start()
        assert self._declared.wait(SECONDS)

    def __exit__(self, *exc: object) -> None:
        self._connection.stop()
        assert self._connection.join(SECONDS)
