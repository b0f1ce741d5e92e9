"""What FSHERALD_DURABILITY costs: blocks recorded and forgotten as the service does, on a disk and in turns.

The disk is that of FSHERALD_BENCH_DIR, /var/tmp unless set; a tmpfs there would say nothing about syncing.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bench.table import markdown
from publisher.outbox import Entry, Outbox
from publisher.storing.recovery import open_store
from schemas.events import EventInfo, EventList, encode_event_list
from schemas.monitors import MonitorSpec
from schemas.topology import routing_key

Durability = Literal["process", "power"]
ROUNDS = 5
BLOCKS = 400
CONFIRMED_AT_ONCE = 64
SPEC = MonitorSpec(m_type="Persistent", e_types=("All",), p_mode="Follow", path_string="/data")


def main() -> str:
    """Runs the comparison and returns its table."""
    rows = [["one sync of 4 KiB on this disk (fdatasync)", "-", f"{sync_seconds() * 1e3:.2f} ms", "-"]]
    for events, what in ((1, "one event"), (100, "100 events")):
        found: dict[Durability, list[tuple[float, float, float, float]]] = {"process": [], "power": []}
        for _ in range(ROUNDS):
            for durability, runs in found.items():
                runs.append(one_round(durability, events))
        for index, (label, unit) in enumerate(
            (
                ("recorded, p50", "us"),
                ("recorded, p99", "us"),
                ("recorded, CPU", "us"),
                ("forgotten when confirmed, CPU", "us"),
            )
        ):
            process, power = (
                statistics.median(run[index] for run in found[each]) * 1e6 for each in ("process", "power")
            )
            costs = (f"{process:.0f} {unit}", f"{power:.0f} {unit}", f"{power / process:.1f}")
            rows.append([f"block of {what} {label}", *costs])
    return markdown(["what", "process", "power", "ratio"], rows)


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("FSHERALD_BENCH_DIR", "/var/tmp")) as name:
        yield Path(name)


def one_round(durability: Durability, events: int) -> tuple[float, float, float, float]:
    """Seconds for a block: median, 99th percentile, CPU, and CPU to forget it."""
    with directory() as at, open_store(at / "store.sqlite", durability=durability) as store:
        store.add_monitor("m", SPEC)
        outbox = Outbox(store)
        entries = [entry(number, events) for number in range(1, BLOCKS + 1)]
        times: list[float] = []

        def record() -> None:
            for each in entries:
                before = time.perf_counter()
                outbox.record([each])
                times.append(time.perf_counter() - before)

        def forget() -> None:
            for last in range(CONFIRMED_AT_ONCE, BLOCKS + CONFIRMED_AT_ONCE, CONFIRMED_AT_ONCE):
                outbox.confirm({"m": last})

        recorded, forgotten = cpu_seconds(record), cpu_seconds(forget)
    times.sort()
    return times[BLOCKS // 2], times[BLOCKS * 99 // 100], recorded / BLOCKS, forgotten / BLOCKS


def cpu_seconds(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def entry(sequence: int, events: int) -> Entry:
    names = [f"image-{number:06}.ome.tif" for number in range(events)]
    found = [EventInfo(f"/data/run-7/{name}", name, "Create") for name in names]
    body = encode_event_list(EventList("m", sequence, found))
    return Entry("m", sequence, routing_key("m", ["Create"]), body, events, 1_790_000_000)


def sync_seconds() -> float:
    with directory() as at, (at / "file").open("wb", buffering=0) as file:
        times = []
        for _ in range(200):
            file.write(bytes(4096))
            before = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - before)
    return statistics.median(times)
