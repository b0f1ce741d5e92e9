"""The relay against real brokers: order, returns, lost connections."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterable

from schemas.topology import app_id
from tests.brokers import VirtualHost
from tests.fakes import MemoryOutbox
from tests.integration.conftest import StartRelay
from tests.integration.relaying import SECONDS, A, B, bind_new_queue, expected, message_ids
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually


def without_repetitions(ids: Iterable[str]) -> list[str]:
    """What is left for a consumer that drops every sequence that is not above the last one."""
    kept, last = [], 0
    for message_id in ids:
        sequence = int(message_id.rpartition(":")[2])
        if sequence > last:
            kept.append(message_id)
            last = sequence
    return kept


# Publishing.


def test_blocks_arrive_in_order_with_their_properties(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """contract/protocol.md, "Events"."""
    relay = start_relay(vhost.url)
    vhost.broker.declare_queue(vhost.name, "inbox")  # a quorum queue adds a header of its own
    relay.declare_monitor(A, "inbox").result(SECONDS)
    entries = outbox.put(A, 300)
    assert relay.drained(A, SECONDS)
    rows = vhost.broker.get(vhost.name, "inbox", 1000)
    assert [row["properties"]["message_id"] for row in rows] == expected(A, 300)
    assert rows[16]["properties"] == {
        "content_type": "application/json",
        "headers": {"schema": 1, "monitorId": A, "sequence": 17, "eventCount": 1},
        "delivery_mode": 2,
        "message_id": f"{A}:17",
        "timestamp": entries[16].created_at,
        "type": "EventList",
        "app_id": app_id(),
    }
    assert rows[16]["routing_key"] == f"{A}.create"
    assert rows[16]["exchange"] == f"NS.monitor.{A}"
    assert rows[16]["payload"] == entries[16].body
    assert outbox.size() == (0, 0)
    assert relay.status().confirmed == 300


def test_the_exchange_of_all_events_carries_every_monitor(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """One binding to NS.events sees them all."""
    relay = start_relay(vhost.url)
    for monitor_id in (A, B):
        relay.declare_monitor(monitor_id).result(SECONDS)
    bind_new_queue(vhost, "all", "NS.events")
    outbox.put(A, 3)
    outbox.put(B, 3)
    assert relay.drained(A, SECONDS)
    assert relay.drained(B, SECONDS)
    assert sorted(message_ids(vhost, "all")) == expected(A, 3) + expected(B, 3)


def test_what_an_earlier_run_left_is_published_at_start(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """Nobody wakes the relay for blocks that are there before it."""
    vhost.broker.declare_exchange(vhost.name, f"NS.monitor.{A}")
    bind_new_queue(vhost, "inbox", f"NS.monitor.{A}")
    outbox.put(A, 10)
    start_relay(vhost.url)
    eventually(lambda: outbox.size() == (0, 0), seconds=SECONDS)
    assert message_ids(vhost, "inbox") == expected(A, 10)


def test_a_single_block_is_confirmed_within_milliseconds(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """Nothing is polled on the way; a loaded machine gets some room here."""
    relay = start_relay(vhost.url)
    bind_new_queue(vhost, "inbox", "amq.fanout")
    relay.declare_monitor(A, "inbox").result(SECONDS)
    took = []
    for _ in range(30):
        before = time.perf_counter()
        outbox.put(A)
        assert relay.drained(A, SECONDS)
        took.append(time.perf_counter() - before)
    assert statistics.median(took) < 0.05


# Blocks that nobody takes.


def test_unroutable_blocks_are_kept_and_hold_up_nobody_else(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """Offered again, in order, until someone binds."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A).result(SECONDS)
    relay.declare_monitor(B, "taken").result(SECONDS)
    outbox.put(A, 50)
    eventually(lambda: relay.status().held == {A}, seconds=SECONDS)
    outbox.put(B, 500)
    assert relay.drained(B, SECONDS)
    assert message_ids(vhost, "taken") == expected(B, 500)
    assert outbox.size(A)[0] == 50
    bind_new_queue(vhost, "late", f"NS.monitor.{A}")
    eventually(lambda: outbox.size(A) == (0, 0), seconds=SECONDS)
    assert message_ids(vhost, "late") == expected(A, 50)
    assert relay.status().held == frozenset()


def test_an_adopted_monitor_tries_again_at_once(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """Long holds are for those that nobody cares about."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A).result(SECONDS)
    outbox.put(A, 5)
    eventually(lambda: relay.status().returned >= 3, seconds=SECONDS)
    bind_new_queue(vhost, "late", f"NS.monitor.{A}")
    before = time.monotonic()
    relay.adopt(A)
    eventually(lambda: outbox.size(A) == (0, 0), seconds=SECONDS)
    assert time.monotonic() - before < 2.0
    assert message_ids(vhost, "late") == expected(A, 5)


def test_blocks_refused_by_a_full_queue_are_sent_again(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """A queue may refuse (nack): the block is not lost, and in order once there is room."""
    relay = start_relay(vhost.url)
    vhost.broker.set_policy(vhost.name, "full", "^inbox$", {"max-length": 3, "overflow": "reject-publish"})
    vhost.broker.declare_queue(vhost.name, "inbox")
    relay.declare_monitor(A, "inbox").result(SECONDS)
    outbox.put(A, 20)
    eventually(lambda: relay.status().held == {A}, seconds=SECONDS)
    status = relay.status()
    assert status.nacked > 0
    assert status.last_error is not None
    got: list[str] = []

    def take() -> bool:
        got.extend(message_ids(vhost, "inbox"))
        relay.adopt(A)
        return outbox.size(A) == (0, 0)

    eventually(take, seconds=SECONDS, every_seconds=0.1)
    got.extend(message_ids(vhost, "inbox"))
    assert without_repetitions(got) == expected(A, 20)


def test_a_block_too_large_for_the_broker_holds_up_its_monitor_only(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """RabbitMQ 4 takes 16 MiB and closes the channel on more; 3.10 takes it."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A, "large").result(SECONDS)
    relay.declare_monitor(B, "small").result(SECONDS)
    outbox.put(A, 1, body=b"x" * (17 << 20))
    eventually(lambda: relay.status().held == {A} or outbox.size(A)[0] == 0, seconds=SECONDS)
    outbox.put(B, 100)
    assert relay.drained(B, SECONDS)
    assert message_ids(vhost, "small") == expected(B, 100)
    if relay.status().held:
        assert "larger than" in (relay.status().last_error or "")


# Lost exchanges, channels and connections.


def test_an_exchange_deleted_behind_our_back_is_declared_again(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """The channel is closed (404), reopened, and nothing is lost; the queue's binding is its owner's affair."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A, "inbox").result(SECONDS)
    relay.declare_monitor(B, "other").result(SECONDS)
    outbox.put(A, 5)
    assert relay.drained(A, SECONDS)
    vhost.broker.delete_exchange(vhost.name, f"NS.monitor.{A}")
    outbox.put(A, 5)
    outbox.put(B, 5)
    assert relay.drained(B, SECONDS)
    eventually(lambda: relay.status().held == {A}, seconds=SECONDS)
    vhost.broker.bind(vhost.name, f"NS.monitor.{A}", "inbox")
    relay.adopt(A)
    eventually(lambda: outbox.size(A) == (0, 0), seconds=SECONDS)
    assert message_ids(vhost, "inbox") == expected(A, 10)
    assert without_repetitions(message_ids(vhost, "other")) == expected(B, 5)
    bindings = [(row["source"], row["destination"]) for row in vhost.broker.bindings(vhost.name)]
    assert (f"NS.monitor.{A}", "NS.events") in bindings


def test_connections_closed_by_force_lose_nothing(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """Redelivered with the same ids, in order per monitor once repetitions are dropped."""
    relay = start_relay(vhost.url, window_entries=256)
    for monitor_id in (A, B):
        relay.declare_monitor(monitor_id, f"of-{monitor_id}").result(SECONDS)
    eventually(lambda: vhost.broker.list_connections(vhost.name), seconds=SECONDS)
    enough = threading.Event()
    last = 0

    def record() -> None:
        nonlocal last
        while not enough.wait(0.01) or last < 2000:
            outbox.put(A, 20)
            outbox.put(B, 20)
            last += 20

    recording = threading.Thread(target=record)
    recording.start()
    try:
        assert vhost.broker.close_connections(vhost.name, "fsherald relay") == 1
        eventually(lambda: relay.status().reconnects, seconds=SECONDS)
    finally:
        enough.set()
        recording.join()
    assert relay.drained(A, SECONDS)
    assert relay.drained(B, SECONDS)
    for monitor_id in (A, B):
        ids = message_ids(vhost, f"of-{monitor_id}")
        assert set(ids) == set(expected(monitor_id, last))
        assert without_repetitions(ids) == expected(monitor_id, last)
    assert relay.status().last_error is None


def test_cuts_of_the_network_lose_nothing(vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay):
    """As above, but nobody says goodbye, and more than once."""
    with TcpProxy(vhost.broker.host, vhost.broker.port) as proxy:
        proxy.open()
        relay = start_relay(vhost.url.replace(f":{vhost.broker.port}/", f":{proxy.port}/"), window_entries=64)
        relay.declare_monitor(A, "inbox").result(SECONDS)
        for cut in range(1, 6):
            outbox.put(A, 400)
            eventually(lambda goal=cut: outbox.size(A)[0] < 350, seconds=SECONDS, every_seconds=0.001)  # type: ignore[misc]  # binds it now
            proxy.cut()
            eventually(lambda goal=cut: relay.status().reconnects >= goal, seconds=SECONDS)  # type: ignore[misc]  # binds it now
        assert relay.drained(A, SECONDS)
    ids = message_ids(vhost, "inbox")
    assert without_repetitions(ids) == expected(A, 2000)


def test_a_broker_that_is_away_at_start_is_waited_for(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """Monitors record meanwhile; everything goes out when it appears."""
    vhost.broker.declare_exchange(vhost.name, f"NS.monitor.{A}")
    bind_new_queue(vhost, "inbox", f"NS.monitor.{A}")
    with TcpProxy(vhost.broker.host, vhost.broker.port) as proxy:
        relay = start_relay(vhost.url.replace(f":{vhost.broker.port}/", f":{proxy.port}/"))
        outbox.put(A, 100)
        declared = relay.declare_monitor(B, "other")
        eventually(lambda: relay.status().last_error, seconds=SECONDS)
        assert not relay.status().connected
        assert outbox.reads == []
        proxy.open()
        declared.result(SECONDS)
        assert relay.drained(A, SECONDS)
        assert relay.status().connected
        assert relay.status().last_error is None
        relay.stop()
        assert relay.join(SECONDS)
    assert message_ids(vhost, "inbox") == expected(A, 100)


def test_a_broker_that_restarts_loses_nothing(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """Persistent messages, durable exchanges: the same ids in order, before and after."""
    relay = start_relay(vhost.url)
    # A quorum queue that is a few seconds old does not survive a crash of its only node (seen with 3.10).
    vhost.broker.declare_queue(vhost.name, "inbox", kind="classic")
    relay.declare_monitor(A, "inbox").result(SECONDS)
    outbox.put(A, 500)
    vhost.broker.kill()
    outbox.put(A, 500)
    vhost.broker.start()
    assert relay.drained(A, 60)
    assert without_repetitions(message_ids(vhost, "inbox")) == expected(A, 1000)


def test_a_blocked_broker_is_waited_for(vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay):
    """A memory alarm: nothing is sent, it is said, and all goes out when it is over."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A, "inbox").result(SECONDS)
    vhost.broker.control("set_vm_memory_high_watermark", "absolute", "1")
    try:
        outbox.put(A, 1)  # a connection is blocked when it publishes
        eventually(lambda: relay.status().blocked, seconds=SECONDS)
        outbox.put(A, 10)
    finally:
        vhost.broker.control("set_vm_memory_high_watermark", "0.4")
    assert relay.drained(A, SECONDS)
    assert not relay.status().blocked
    assert message_ids(vhost, "inbox") == expected(A, 11)


def test_a_stop_does_not_wait_for_a_blocked_broker(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """It does not even read our goodbye."""
    relay = start_relay(vhost.url)
    relay.declare_monitor(A, "inbox").result(SECONDS)
    vhost.broker.control("set_vm_memory_high_watermark", "absolute", "1")
    try:
        outbox.put(A, 1)
        eventually(lambda: relay.status().blocked, seconds=SECONDS)
        relay.stop(0.5)
        assert relay.join(5)
    finally:
        vhost.broker.control("set_vm_memory_high_watermark", "0.4")


# Refused by the broker.


def test_a_wrong_password_is_said_and_tried_again(vhost: VirtualHost, start_relay: StartRelay):
    """An operator may set it while we run."""
    relay = start_relay(vhost.broker.url(vhost.name, password="wrong"))
    reason = eventually(lambda: relay.status().last_error, seconds=SECONDS)
    assert "refused user" in reason
    assert "wrong" not in reason.replace("wrong name or password", "")


def test_a_missing_virtual_host_is_said_and_waited_for(
    vhost: VirtualHost, outbox: MemoryOutbox, start_relay: StartRelay
):
    """Start order must not matter."""
    name = f"{vhost.name}-later"
    relay = start_relay(vhost.broker.url(name))
    reason = eventually(lambda: relay.status().last_error, seconds=SECONDS)
    assert f"virtual host {name!r} does not exist" in reason
    vhost.broker.create_vhost(name)
    try:
        eventually(lambda: relay.status().connected, seconds=SECONDS)
    finally:
        vhost.broker.delete_vhost(name)
