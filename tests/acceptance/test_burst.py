"""A burst: more files than the kernel's queue holds, as fast as a disk in memory takes them."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import VirtualHost
from tests.clients.service import Service
from tests.clients.wire import Subscription, WireClient, events

FILES = 30_000


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, so that the capture is tested and not the disk."""
    directory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


def write(directory: Path, *, pause_every: int = 0) -> list[str]:
    """Make the files, at full speed or with a millisecond's rest now and then; returns their names."""
    names = [f"f{number}" for number in range(FILES)]
    rest = threading.Event()
    handle = os.open(directory, os.O_PATH)
    for number, name in enumerate(names, start=1):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        if pause_every and number % pause_every == 0:
            rest.wait(0.001)
    os.close(handle)
    return names


@pytest.mark.parametrize("block_size", [0, 100])
def test_a_burst_at_a_disks_pace_arrives_complete_and_in_order(
    vhost: VirtualHost, tmp_path: Path, memory: Path, block_size: int
) -> None:
    """Some ten thousand files a second: each once, in the order of the kernel, and no overflow."""
    with Service(vhost.url, [memory], tmp_path) as service, WireClient(vhost.url) as client:
        monitor, subscription = client.watch(memory, blockSize=block_size, eTypes=["Creation"])
        names = write(memory, pause_every=20)
        blocks = subscription.blocks(FILES, seconds=90)
        assert [event["baseName"] for event in events(blocks)] == names
        assert [block["sequence"] for block in blocks] == list(range(1, len(blocks) + 1))
        assert client.call("describeMonitor", id=monitor)["counters"]["events"] == FILES
        assert subscription.nothing(seconds=0.5)
        assert service.terminate() == 0


def test_a_burst_at_full_speed_arrives_complete(vhost: VirtualHost, tmp_path: Path, memory: Path) -> None:
    """More than 100,000 files a second may overrun the kernel's queue; each arrives once all the same.

    An overrun is told in a System event, and what it cost is found by comparison.
    """
    with Service(vhost.url, [memory], tmp_path) as service, WireClient(vhost.url) as client:
        _, subscription = client.watch(memory)
        began = time.perf_counter()
        names = write(memory)
        written = time.perf_counter()
        client.pump(lambda: _created(subscription) >= FILES, 90)
        complete = time.perf_counter()
        print(f"{FILES} files at {FILES / (written - began):,.0f}/s, complete after {complete - began:.2f} s")
        subscription.until_quiet(seconds=1.5)
        blocks = [message.json() for message in subscription.messages]
        found = events(blocks)
        assert sorted(e["baseName"] for e in found if e["type"] == "Create") == sorted(names)
        others = [event for event in found if event["type"] != "Create"]
        assert all(e["type"] == "System" and e["detail"]["code"] == "overflow" for e in others), others[:5]
        assert [block["sequence"] for block in blocks] == list(range(1, len(blocks) + 1))
        assert service.terminate() == 0


def _created(subscription: Subscription) -> int:
    return sum(
        message.headers["eventCount"] for message in subscription.messages if ".create" in message.routing_key
    )
