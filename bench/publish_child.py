"""One publisher in a process of its own: the relay, or bare pika with the same messages on the same exchange.

`python -m bench.publish_child WHO URL NAMESPACE BASE BLOCKS EVENTS` prints one JSON object: the seconds from the
first message to the last confirm, the processor time of the whole process a message, its largest resident set
before and after. WHO is `relay`, `pipelined` or `blocking`; `fill` leaves a backlog in BASE (and measures how it makes
and records the blocks), `drain` publishes it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from bench.bare_pika import IN_FLIGHT, Pipelined, RoundTrips
from bench.site import resident_bytes
from publisher.amqp import AmqpSettings
from publisher.outbox import Entry, Outbox
from publisher.relay import Relay
from publisher.storing.store import Store
from schemas.events import EventInfo, EventList, encode_event_list
from schemas.monitors import MonitorSpec, MonitorType, PathMode, WatchEventType
from schemas.topology import Topology, routing_key

MONITOR_ID = "0b8f3c52-6a1d-4e0c-9f57-2d1c8a7be941"
LONGEST_SECONDS = 600.0
_DIRECTORY = "/data/microscopy/2026-09-17/experiment-0042/plate-07/well-B05/field-003/channel-2-gfp"
_SPEC = MonitorSpec(
    m_type=MonitorType.PERSISTENT,
    e_types=(WatchEventType.ALL,),
    p_mode=PathMode.FOLLOW,
    path_string="/data",
)
_LIMIT_BYTES = 8 << 30
_RECORDED_AT_ONCE = 256


def blocks(count: int, events: int) -> Iterator[Entry]:
    """Blocks as a monitor records them; one of a single event has about 300 bytes."""
    key, now = routing_key(MONITOR_ID, ["Create"]), int(time.time())
    for sequence in range(1, count + 1):
        names = [f"image_{sequence:07}_{number:04}.ome.tif" for number in range(events)]
        found = [EventInfo(f"{_DIRECTORY}/{name}", name, "Create") for name in names]
        body = encode_event_list(EventList(MONITOR_ID, sequence, found))
        yield Entry(MONITOR_ID, sequence, key, body, events, now)


def relay(url: str, namespace: str, base: Path, count: int, events: int) -> dict[str, float]:
    """The relay on an outbox that is full before it hears of it."""
    with closing(Store(base / "store.db")) as store:
        store.add_monitor(MONITOR_ID, _SPEC)
        outbox = _outbox(store)
        with running(url, namespace, outbox) as publisher:
            publisher.declare_monitor(MONITOR_ID).result()
            _record(outbox, count, events)
            return measured(count, lambda: _drain(publisher))


def fill(_url: str, _namespace: str, base: Path, count: int, events: int) -> dict[str, float]:
    """What a service leaves whose broker was away."""
    with closing(Store(base / "store.db")) as store:
        store.add_monitor(MONITOR_ID, _SPEC)
        outbox = _outbox(store)
        return measured(count, lambda: _record(outbox, count, events))


def drain(url: str, namespace: str, base: Path, count: int, _events: int) -> dict[str, float]:
    """What `fill` has left goes out."""

    def work() -> None:
        with running(url, namespace, outbox) as publisher:
            _drain(publisher)

    with closing(Store(base / "store.db")) as store:
        outbox = _outbox(store)
        return measured(count, work)


def pipelined(url: str, namespace: str, _base: Path, count: int, events: int) -> dict[str, float]:
    return _bare(Pipelined, url, namespace, list(blocks(count, events)))


def blocking(url: str, namespace: str, _base: Path, count: int, events: int) -> dict[str, float]:
    return _bare(RoundTrips, url, namespace, list(blocks(count, events)))


def _bare(
    kind: type[Pipelined | RoundTrips], url: str, namespace: str, entries: list[Entry]
) -> dict[str, float]:
    publisher = kind(url, Topology(namespace).monitor_exchange(MONITOR_ID), entries)
    found = measured(len(entries), publisher.run)
    publisher.close()
    return found


@contextmanager
def running(url: str, namespace: str, outbox: Outbox) -> Iterator[Relay]:
    """A relay, started; it is not told what is recorded."""
    made = Relay(AmqpSettings(url), Topology(namespace), outbox, window_entries=IN_FLIGHT, on_died=_died)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        made.join(30)


def measured(count: int, work: Callable[[], None]) -> dict[str, float]:
    before, began, used = resident_bytes(os.getpid()), time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - began, time.process_time() - used
    after = resident_bytes(os.getpid())
    return {"seconds": seconds, "us": used * 1e6 / count, "before": before, "after": after}


def _outbox(store: Store) -> Outbox:
    return Outbox(store, limit_bytes=_LIMIT_BYTES, monitor_limit_bytes=_LIMIT_BYTES)


def _record(outbox: Outbox, count: int, events: int) -> None:
    left = blocks(count, events)
    while entries := list(islice(left, _RECORDED_AT_ONCE)):
        outbox.record(entries)


def _drain(publisher: Relay) -> None:
    publisher.wake(MONITOR_ID)
    if not publisher.drained(MONITOR_ID, LONGEST_SECONDS):
        raise RuntimeError(f"not published: {publisher.status()}")


def _died(exc: BaseException) -> None:
    raise RuntimeError("the relay died") from exc


def main(who: str, url: str, namespace: str, base: str, count: str, events: str) -> None:
    sides = {"relay": relay, "pipelined": pipelined, "blocking": blocking, "fill": fill, "drain": drain}
    print(json.dumps(sides[who](url, namespace, Path(base), int(count), int(events))))


if __name__ == "__main__":
    main(*sys.argv[1:])
