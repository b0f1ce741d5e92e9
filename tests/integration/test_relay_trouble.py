"""The relay while the broker, its rights or the network between are taken away under it, and when the disk is full."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from publisher.errors import OutboxFullError
from publisher.outbox import Entry, Outbox
from publisher.storing.recovery import open_store
from schemas.monitors import MonitorSpec
from tests.brokers import Broker, Brokers, NoBrokerError, VirtualHost, broker_names
from tests.disks import fill, small_disk
from tests.fakes import MemoryOutbox
from tests.integration.conftest import StartRelay
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

SECONDS = 30.0
A, B = "aaaaaaaa-0000", "bbbbbbbb-0000"
EXCHANGE_OF_A = f"NS.monitor.{A}"
SPEC = MonitorSpec(m_type="Persistent", e_types=("All",), p_mode="Follow", path_string="/data")


@pytest.fixture
def proxy(vhost: VirtualHost) -> Iterator[TcpProxy]:
    with TcpProxy(vhost.broker.host, vhost.broker.port) as opened:
        opened.open()
        yield opened


def through(proxy: TcpProxy, vhost: VirtualHost) -> str:
    return vhost.url.replace(f"@{vhost.broker.host}:{vhost.broker.port}/", f"@127.0.0.1:{proxy.port}/")


def message_ids(broker: Broker, vhost: str, queue: str) -> list[str]:
    """The messages in a queue, in order; they are gone afterwards."""
    return [row["properties"]["message_id"] for row in broker.get(vhost, queue, 20_000)]


def check_complete(ids: list[str], monitor_id: str, last: int, first: int = 1) -> None:
    """Every block in order, once those that came again are dropped by their number."""
    kept: list[int] = []
    for message_id in ids:
        owner, _, sequence = message_id.rpartition(":")
        assert owner == monitor_id
        if not kept or int(sequence) > kept[-1]:
            kept.append(int(sequence))
    assert kept == list(range(first, last + 1))


# Rights.


@pytest.fixture
def user(vhost: VirtualHost) -> Iterator[str]:
    name = f"user-{vhost.name}"
    vhost.broker.create_user(name, "pw")
    vhost.broker.set_permissions(vhost.name, user=name)
    yield name
    vhost.broker.delete_user(name)


@pytest.mark.parametrize("taken", [{"write": "^$"}, {"configure": "^$", "write": "^$", "read": "^$"}])
def test_a_permission_taken_away_while_connected_is_said_and_waited_for(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay, user: str, taken: dict[str, str]
):
    """Held and tried again; what was recorded meanwhile goes out in order when the right is back."""
    relay = start_relay(vhost.broker.url(vhost.name, username=user, password="pw"))
    vhost.broker.declare_queue(vhost.name, "inbox", kind="classic")
    relay.declare_monitor(A, "inbox").result(SECONDS)
    outbox.put(A, 5)
    assert relay.drained(A, SECONDS)
    vhost.broker.set_permissions(vhost.name, user=user, **taken)

    def refused() -> bool:  # RabbitMQ remembers for a while what a channel may do
        outbox.put(A)
        return relay.status().held == {A}

    eventually(refused, seconds=SECONDS, every_seconds=1.5)
    reason = relay.status().last_error or ""
    assert "access to exchange" in reason
    assert user in reason
    outbox.put(A, 5)
    vhost.broker.set_permissions(vhost.name, user=user)
    eventually(lambda: outbox.size() == (0, 0), seconds=SECONDS)
    eventually(lambda: relay.status().last_error is None, seconds=SECONDS)
    last = max(entry for confirm in outbox.confirms for entry in confirm.values())
    check_complete(message_ids(vhost.broker, vhost.name, "inbox"), A, last)


def test_a_user_deleted_while_connected_is_said_and_waited_for(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay, user: str
):
    """RabbitMQ closes the connection; the next one is refused until there is such a user again."""
    relay = start_relay(vhost.broker.url(vhost.name, username=user, password="pw"))
    relay.declare_monitor(A, "inbox").result(SECONDS)
    eventually(lambda: vhost.broker.list_connections(vhost.name), seconds=SECONDS)
    vhost.broker.delete_user(user)
    vhost.broker.close_connections(vhost.name, "fsherald relay")
    outbox.put(A, 10)
    eventually(lambda: "refused user" in (relay.status().last_error or ""), seconds=SECONDS)
    vhost.broker.create_user(user, "pw")
    vhost.broker.set_permissions(vhost.name, user=user)
    eventually(lambda: outbox.size() == (0, 0), seconds=SECONDS)
    check_complete(message_ids(vhost.broker, vhost.name, "inbox"), A, 10)


def test_a_virtual_host_deleted_while_connected_is_said_and_waited_for(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """With everything in it; made again it is empty, and everything of ours is declared again."""
    with vhost.broker.virtual_host("gone") as gone:
        relay = start_relay(gone.url)
        relay.declare_monitor(A, "inbox").result(SECONDS)
        outbox.put(A, 5)
        assert relay.drained(A, SECONDS)
        gone.broker.delete_vhost(gone.name)
        outbox.put(A, 5)
        eventually(lambda: "does not exist" in (relay.status().last_error or ""), seconds=SECONDS)
        assert not relay.status().connected
        gone.broker.create_vhost(gone.name)
        eventually(lambda: relay.status().held == {A}, seconds=SECONDS)  # its queue is its owner's affair
        gone.broker.declare_queue(gone.name, "inbox")
        gone.broker.bind(gone.name, EXCHANGE_OF_A, "inbox")
        eventually(lambda: outbox.size() == (0, 0), seconds=SECONDS)
        check_complete(message_ids(gone.broker, gone.name, "inbox"), A, 10, first=6)


def test_a_channel_that_the_broker_closes_again_and_again_holds_its_monitor_only(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """An exchange in the place of ours that takes nothing from clients: each publish closes the channel."""
    relay = start_relay(vhost.url)
    for monitor_id in (A, B):
        relay.declare_monitor(monitor_id, f"of-{monitor_id}").result(SECONDS)
    outbox.put(A, 3)
    assert relay.drained(A, SECONDS)
    path = f"exchanges/{vhost.name}/{EXCHANGE_OF_A}"
    vhost.broker.delete_exchange(vhost.name, EXCHANGE_OF_A)
    vhost.broker.request("PUT", path, {"type": "topic", "durable": True, "internal": True})
    outbox.put(A, 3)
    for _ in range(10):
        outbox.put(B, 50)
        assert relay.drained(B, SECONDS)
    eventually(lambda: relay.status().held == {A}, seconds=SECONDS)
    assert EXCHANGE_OF_A in (relay.status().last_error or "")
    assert relay.status().reconnects == 0
    vhost.broker.delete_exchange(vhost.name, EXCHANGE_OF_A)
    vhost.broker.declare_exchange(vhost.name, EXCHANGE_OF_A)
    vhost.broker.bind(vhost.name, EXCHANGE_OF_A, f"of-{A}")
    eventually(lambda: outbox.size() == (0, 0), seconds=SECONDS)
    check_complete(message_ids(vhost.broker, vhost.name, f"of-{A}"), A, 6)
    check_complete(message_ids(vhost.broker, vhost.name, f"of-{B}"), B, 500)


# The network.


def test_a_network_that_swallows_everything_is_noticed_in_time(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay, proxy: TcpProxy
):
    """Nobody is told of it: heartbeats bound the wait for a confirm, and all that was in flight goes out again."""
    relay = start_relay(through(proxy, vhost), heartbeat_seconds=2, connect_timeout_seconds=1.0)
    relay.declare_monitor(A, "inbox").result(SECONDS)
    proxy.freeze()
    outbox.put(A, 500)
    frozen_at = time.monotonic()
    eventually(lambda: not relay.status().connected, seconds=SECONDS)
    assert time.monotonic() - frozen_at < 15
    assert "cut" in (relay.status().last_error or "")
    # A new connection is swallowed just so: its handshake is given up, and another one tried.
    eventually(lambda: "handshake" in (relay.status().last_error or ""), seconds=SECONDS)
    proxy.cut()
    proxy.thaw()
    assert relay.drained(A, SECONDS)
    check_complete(message_ids(vhost.broker, vhost.name, "inbox"), A, 500)


def test_a_slow_network_is_no_dead_one(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay, proxy: TcpProxy
):
    """A queue of data before each heartbeat: the connection is kept, and nothing is sent twice."""
    relay = start_relay(through(proxy, vhost), heartbeat_seconds=2)
    relay.declare_monitor(A, "inbox").result(SECONDS)
    proxy.bytes_per_second = 400_000
    outbox.put(A, 400, body=b"x" * 10_000)
    assert relay.drained(A, 60)
    assert relay.status().reconnects == 0
    ids = message_ids(vhost.broker, vhost.name, "inbox")
    assert len(ids) == 400
    check_complete(ids, A, 400)


def test_heartbeats_are_kept_under_load(vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay):
    """Publishing as fast as it goes, for longer than a peer may be silent, and a computing thread beside it."""
    relay = start_relay(vhost.url, heartbeat_seconds=1)
    vhost.broker.set_policy(vhost.name, "short", "^inbox$", {"max-length": 1000})
    vhost.broker.declare_queue(vhost.name, "inbox", kind="classic")
    relay.declare_monitor(A, "inbox").result(SECONDS)
    enough = threading.Event()

    def compute() -> None:
        while not enough.is_set():
            sum(range(10_000))

    computing = threading.Thread(target=compute)
    computing.start()
    try:
        until = time.monotonic() + 8
        while time.monotonic() < until:
            outbox.put(A, 200, body=b"x" * 5_000)
            eventually(lambda: outbox.size(A)[0] < 2000, seconds=SECONDS)
        assert relay.drained(A, SECONDS)
    finally:
        enough.set()
        computing.join()
    assert relay.status().reconnects == 0
    assert relay.status().confirmed > 2000


# Another broker.


def test_a_broker_upgraded_meanwhile_is_the_same_to_us(
    brokers: Brokers, outbox: MemoryOutbox, start_relay: StartRelay
):
    """3.10 goes, 4 comes with the definitions that its operator has moved: what was not confirmed goes there."""
    names = sorted(broker_names())
    if len(names) < 2:
        pytest.skip("there is one broker only")
    try:
        old, new = (brokers.get(name) for name in names)
    except NoBrokerError as exc:
        pytest.skip(str(exc))
    with old.virtual_host("before") as before, TcpProxy(old.host, old.port) as proxy:
        new.create_vhost(before.name)
        try:
            for broker in (old, new):
                broker.create_user(before.name, "pw")
                broker.set_permissions(before.name, user=before.name)
            proxy.open()
            url = old.url(before.name, username=before.name, password="pw")
            relay = start_relay(url.replace(f"@{old.host}:{old.port}/", f"@127.0.0.1:{proxy.port}/"))
            relay.declare_monitor(A, "inbox").result(SECONDS)
            outbox.put(A, 50)
            assert relay.drained(A, SECONDS)
            proxy.close()
            outbox.put(A, 50)
            eventually(lambda: relay.status().last_error, seconds=SECONDS)
            new.declare_queue(before.name, "inbox")
            new.declare_exchange(before.name, EXCHANGE_OF_A)
            new.bind(before.name, EXCHANGE_OF_A, "inbox")
            proxy.move(new.host, new.port)
            proxy.open()
            relay.adopt(A)
            assert relay.drained(A, SECONDS)
            check_complete(message_ids(old, before.name, "inbox"), A, 50)
            check_complete(message_ids(new, before.name, "inbox"), A, 100, first=51)
            bindings = [(row["source"], row["destination"]) for row in new.bindings(before.name)]
            assert (EXCHANGE_OF_A, "NS.events") in bindings
            relay.stop()
            assert relay.join(SECONDS)
        finally:
            new.delete_vhost(before.name)
            for broker in (old, new):
                broker.delete_user(before.name)


def test_a_disk_alarm_is_waited_for(vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay):
    """As for the alarm of memory: nothing is sent, it is said, and all goes out when it is over."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A, "inbox").result(SECONDS)
    vhost.broker.control("set_disk_free_limit", str(10**15))
    try:
        outbox.put(A, 1)  # a connection is blocked when it publishes
        eventually(lambda: relay.status().blocked, seconds=SECONDS)
        outbox.put(A, 10)
    finally:
        vhost.broker.control("set_disk_free_limit", str(50 * 10**6))
    assert relay.drained(A, SECONDS)
    check_complete(message_ids(vhost.broker, vhost.name, "inbox"), A, 11)


# A long outage, and our own disk.


def test_an_outage_is_bounded_in_bytes_and_loses_nothing_accepted(
    vhost: VirtualHost, start_relay: StartRelay, proxy: TcpProxy, tmp_path: Any
):
    """The outbox takes what it may hold and refuses the rest; afterwards what it took goes out, all of it."""
    with open_store(tmp_path / "store.sqlite") as store:
        store.add_monitor(A, SPEC)
        outbox = Outbox(store, limit_bytes=8 << 20)
        relay = start_relay(through(proxy, vhost), outbox)
        relay.declare_monitor(A, "inbox").result(SECONDS)
        proxy.close()
        accepted = record_until_refused(outbox)
        assert outbox.size(A)[1] <= 2 << 20
        proxy.open()
        assert relay.drained(A, SECONDS)
        check_complete(message_ids(vhost.broker, vhost.name, "inbox"), A, accepted)
        relay.stop()
        assert relay.join(SECONDS)


def record_until_refused(outbox: Outbox) -> int:
    for sequence in range(1, 100_000):
        try:
            outbox.record([Entry(A, sequence, f"{A}.create", b"x" * 5_000, 1, 1)])
        except OutboxFullError:
            return sequence - 1
    pytest.fail("it was never full")


def test_a_full_disk_lets_the_backlog_out_and_repeats_nothing(
    vhost: VirtualHost, start_relay: StartRelay, proxy: TcpProxy, tmp_path: Any
):
    """The broker was away, the disk is full: confirms are written out of the reserve, or kept until there is room."""
    with small_disk(tmp_path / "disk", 4 << 20) as disk, open_store(disk / "store.sqlite") as store:
        store.add_monitor(A, SPEC)
        outbox = Outbox(store)
        relay = start_relay(through(proxy, vhost), outbox)
        relay.declare_monitor(A, "inbox").result(SECONDS)
        proxy.close()
        outbox.record([Entry(A, sequence, f"{A}.create", b"x" * 5_000, 1, 1) for sequence in range(1, 201)])
        filler = fill(disk)
        store.database.give_up_reserve()
        fill(disk)
        proxy.open()
        eventually(lambda: relay.status().confirmed >= 200, seconds=SECONDS)
        assert "full" in eventually(lambda: relay.status().store_problem, seconds=SECONDS)
        filler.unlink()
        eventually(lambda: outbox.size() == (0, 0), seconds=SECONDS)
        assert relay.status().store_problem is None
        ids = message_ids(vhost.broker, vhost.name, "inbox")
        assert len(ids) == 200
        check_complete(ids, A, 200)
        relay.stop()
        assert relay.join(SECONDS)
