"""Trouble with the broker: whatever it or the network does, every block arrives, in order, under its own id."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.brokers import Broker, Brokers, NoBrokerError, VirtualHost, broker_names
from tests.chaos.conftest import LONG, OpenScene
from tests.chaos.kit.load import Load
from tests.chaos.kit.proxy import NetworkProxy
from tests.chaos.kit.scene import Scene, Witness
from tests.waiting import eventually

# pika looks every 35 s whether anything has come since it last looked: what went silent just after is noticed the time
# after.
NOTICED_SECONDS = 90.0
STEPS = 150


@pytest.fixture
def chaos_vhost(vhost: VirtualHost) -> VirtualHost:
    """On each broker in turn: here the trouble is the broker's."""
    return vhost


@pytest.fixture
def far(open_scene: OpenScene, proxy: NetworkProxy) -> Scene:
    """A service that reaches its broker through the proxy."""
    return open_scene(proxy=proxy)


def begin(scene: Scene, seed: int, **params: object) -> tuple[Witness, Load]:
    """Small blocks, so that many are on their way when it happens."""
    witness = scene.watch(**{"blockSize": 3, **params})
    # While it goes on, a file that stays open is reported as it grows, and once more at its close.
    load = Load(scene.root, seed, counts_closes=True)
    load.run(50)
    return witness, load


def is_ready(scene: Scene) -> bool:
    return scene.service.get("/readyz") == 200


def test_an_outage_while_events_are_recorded_loses_nothing(
    far: Scene, proxy: NetworkProxy, seed: int
) -> None:
    """The broker is away, events go on, it is back."""
    witness, load = begin(far, seed)
    proxy.close()
    eventually(lambda: not is_ready(far))
    load.run(STEPS)
    assert far.service.get("/healthz") == 200
    proxy.open()
    load.run(STEPS)
    witness.settle(load=load)


def test_connections_cut_under_load_lose_nothing(far: Scene, proxy: NetworkProxy, seed: int) -> None:
    """Again and again, with unconfirmed blocks on their way: redelivered as they were."""
    witness, load = begin(far, seed)
    draw = random.Random(f"cut {seed}")
    load.start(5 * STEPS)
    for _ in range(5):
        at = load.done + draw.randrange(STEPS)
        eventually(lambda: load.done >= at or load.ended, every_seconds=0.001)  # noqa: B023 - called at once
        proxy.cut()
    load.join()
    eventually(lambda: is_ready(far))
    load.run(20)
    witness.settle(load=load)


@LONG
def test_a_black_hole_is_noticed_and_loses_nothing(far: Scene, proxy: NetworkProxy, seed: int) -> None:
    """Nothing is forwarded and nothing is closed: heartbeats tell, and the service says that it is not ready."""
    witness, load = begin(far, seed)
    proxy.freeze()
    load.run(STEPS)
    eventually(lambda: not is_ready(far), seconds=NOTICED_SECONDS)
    assert far.service.get("/healthz") == 200
    load.run(STEPS)
    proxy.thaw()
    eventually(lambda: is_ready(far), seconds=40)
    witness.settle(load=load)


@LONG
def test_a_short_black_hole_is_waited_out(far: Scene, proxy: NetworkProxy, seed: int) -> None:
    """What was held back arrives late, together with what the service has sent again: nothing is altered."""
    witness, load = begin(far, seed)
    for _ in range(3):
        proxy.freeze()
        load.run(30)
        proxy.thaw()
        load.run(30)
    witness.settle(load=load)


@contextmanager
def alarm(broker: Broker) -> Iterator[None]:
    """A memory alarm, of the whole broker."""
    broker.control("set_vm_memory_high_watermark", "0.00001")
    try:
        yield
    finally:
        broker.control("set_vm_memory_high_watermark", "0.6")


def test_an_alarm_of_the_broker_is_waited_out(
    open_scene: OpenScene, chaos_vhost: VirtualHost, seed: int
) -> None:
    """It stops reading connections that publish: events are recorded, the service lives, everything comes after it."""
    scene = open_scene()
    witness, load = begin(scene, seed)
    witness.until(lambda judge: judge.last > 0)
    with alarm(chaos_vhost.broker):
        load.run(STEPS)
        eventually(lambda: scene.metric("fsherald_broker_blocked") == 1, seconds=20)
        load.run(STEPS)
        assert scene.service.get("/healthz") == 200
        assert scene.metric("fsherald_outbox_entries") > 0
    witness.settle(load=load)


def test_a_deleted_exchange_is_declared_again(
    open_scene: OpenScene, chaos_vhost: VirtualHost, seed: int
) -> None:
    """Its bindings went with it; what nobody takes is kept until somebody binds again."""
    scene = open_scene()
    witness, load = begin(scene, seed)
    witness.settle(load=load)
    chaos_vhost.broker.delete_exchange(chaos_vhost.name, witness.exchange)
    load.run(STEPS)
    eventually(
        lambda: witness.exchange in {row["name"] for row in chaos_vhost.broker.exchanges(chaos_vhost.name)}
    )
    witness.subscribe()
    load.run(STEPS)
    witness.settle(load=load)


@contextmanager
def user_of(*vhosts: VirtualHost) -> Iterator[str]:
    """A user who may do everything there; yields the beginning of a URL, up to the host."""
    name = f"user-{vhosts[0].name}"
    for vhost in vhosts:
        vhost.broker.create_user(name, "secret")
        vhost.broker.set_permissions(vhost.name, user=name)
    try:
        yield f"amqp://{name}:secret@"
    finally:
        for vhost in vhosts:
            vhost.broker.delete_user(name)


def test_a_permission_taken_away_holds_events_back(
    open_scene: OpenScene, proxy: NetworkProxy, chaos_vhost: VirtualHost, seed: int
) -> None:
    """The broker refuses every block and every declaration: kept, in order; given back, they go out."""
    broker, name = chaos_vhost.broker, f"user-{chaos_vhost.name}"
    with user_of(chaos_vhost) as user:
        scene = open_scene(proxy=proxy, FSHERALD_AMQP_URL=user + proxy.url.partition("@")[2])
        witness, load = begin(scene, seed)
        witness.settle(load=load)
        broker.set_permissions(chaos_vhost.name, user=name, write="^$", configure="^$")
        proxy.cut()  # a channel that is open remembers what it was allowed
        load.run(STEPS)
        eventually(lambda: scene.metric("fsherald_outbox_entries") > 0)
        assert scene.service.get("/healthz") == 200
        load.run(STEPS)
        broker.set_permissions(chaos_vhost.name, user=name)
        witness.settle(load=load, seconds=40)


def test_a_listener_that_comes_late_gets_everything(open_scene: OpenScene, seed: int) -> None:
    """No queue is bound: blocks are returned, kept and offered again, in order, from the first one."""
    scene = open_scene()
    client = scene.client()
    witness, load = begin(scene, seed)
    witness.unsubscribe()
    load.run(STEPS)
    eventually(lambda: scene.metric("fsherald_blocks_returned") > 0)
    scene.service.kill()
    scene.service.restart()
    witness.subscribe(client)
    witness.settle(load=load)


@pytest.fixture
def other_vhost(brokers: Brokers, chaos_vhost: VirtualHost) -> Iterator[VirtualHost]:
    """The same virtual host on the other broker, empty."""
    others = [name for name in broker_names() if name != chaos_vhost.broker.name]
    if not others:
        pytest.skip("there is but one broker")
    try:
        other = brokers.get(others[0])
    except NoBrokerError as exc:
        pytest.skip(str(exc))
    other.create_vhost(chaos_vhost.name)
    try:
        yield VirtualHost(chaos_vhost.name, other.url(chaos_vhost.name), other)
    finally:
        other.delete_vhost(chaos_vhost.name)


def test_a_broker_exchanged_for_another_gets_what_is_owed(
    open_scene: OpenScene, proxy: NetworkProxy, chaos_vhost: VirtualHost, other_vhost: VirtualHost, seed: int
) -> None:
    """3.10 for 4, and 4 for 3.10: the new one knows nothing; exchanges are declared there, and numbers go on."""
    other = other_vhost.broker
    with user_of(chaos_vhost, other_vhost) as user:
        scene = open_scene(proxy=proxy, FSHERALD_AMQP_URL=user + proxy.url.partition("@")[2])
        witness, load = begin(scene, seed)
        witness.settle(load=load)
        proxy.close()
        load.run(STEPS)
        proxy.lead_to(other_vhost)
        proxy.open()
        eventually(lambda: is_ready(scene), seconds=40)
        eventually(lambda: witness.exchange in {row["name"] for row in other.exchanges(other_vhost.name)})
        with Scene(scene.service, other_vhost, scene.root) as moved:
            witness.subscribe(moved.client())
            load.run(STEPS)
            witness.settle(load=load)
            assert witness.describe()["state"] == "Started"


@LONG
def test_a_slow_broker_does_not_slow_the_capture(far: Scene, proxy: NetworkProxy, seed: int) -> None:
    """While nothing is confirmed, a burst larger than any window is recorded in time: no overflow, nothing lost."""
    witness, load = begin(far, seed, blockSize=1)
    proxy.freeze()
    load.run(6 * STEPS)
    proxy.thaw()
    witness.settle(load=load)
    assert witness.judge.told("overflow") == []
