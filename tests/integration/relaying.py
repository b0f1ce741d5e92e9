"""What the tests of the relay ask of a broker, and expect of a monitor's blocks."""

from __future__ import annotations

from tests.brokers import VirtualHost

SECONDS = 20.0
A, B = "aaaaaaaa-0000", "bbbbbbbb-0000"


def message_ids(vhost: VirtualHost, queue: str) -> list[str]:
    """The messages in a queue, in order; they are gone afterwards."""
    return [row["properties"]["message_id"] for row in vhost.broker.get(vhost.name, queue, 20_000)]


def expected(monitor_id: str, last: int, first: int = 1) -> list[str]:
    return [f"{monitor_id}:{sequence}" for sequence in range(first, last + 1)]


def bind_new_queue(vhost: VirtualHost, name: str, exchange: str) -> None:
    vhost.broker.declare_queue(vhost.name, name)
    vhost.broker.bind(vhost.name, exchange, name)
