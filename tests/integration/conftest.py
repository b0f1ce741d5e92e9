"""Relays between an outbox in memory and a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from publisher.amqp import AmqpSettings
from publisher.relay import Relay
from schemas.topology import Topology
from tests.fakes import MemoryOutbox

TOPOLOGY = Topology("NS")

StartRelay = Callable[..., Relay]
_END_SECONDS = 30.0


@pytest.fixture
def outbox() -> MemoryOutbox:
    """What the relays of a test publish, unless told otherwise."""
    return MemoryOutbox()


@pytest.fixture
def start_relay(outbox: MemoryOutbox) -> Iterator[StartRelay]:
    """Starts relays that end with the test; none may die. Takes a URL and settings of the connection."""
    relays: list[Relay] = []
    died: SimpleQueue[BaseException] = SimpleQueue()

    def start(url: str, backlog: Any = outbox, *, window_entries: int = 1024, **settings: Any) -> Relay:
        relay = Relay(
            AmqpSettings(url=url, connection_name="fsherald relay", **settings),
            TOPOLOGY,
            backlog,
            window_entries=window_entries,
            on_died=died.put,
        )
        backlog.subscribe(relay.wake)
        relay.start()
        relays.append(relay)
        return relay

    yield start
    for relay in relays:
        relay.stop()
    assert all(relay.join(_END_SECONDS) for relay in relays)
    assert died.empty(), died.get()
