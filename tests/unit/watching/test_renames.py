"""Directories renamed while they are listed and written to, by a reader that is always a little late."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from publisher.monitor import Monitor
from publisher.watching.listing import Lister
from publisher.watching.reader import Reader
from tests.chaos.kit.load import Load
from tests.unit.watching.conftest import Event, Site
from tests.waiting import eventually

QUEUED = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


@pytest.fixture(params=range(4))
def seed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of the load, and of the delays that let the disk be ahead of the records."""
    number: int = request.param
    draw, never = random.Random(number), threading.Event()
    tick, go_on = Reader._tick, Lister._go_on

    def late_tick(reader: Reader) -> None:
        if draw.random() < 0.3:
            never.wait(draw.random() * 0.04)
        tick(reader)

    def late_step(lister: Lister) -> None:
        if draw.random() < 0.05:
            never.wait(draw.random() * 0.02)
        go_on(lister)

    monkeypatch.setattr(Reader, "_tick", late_tick)
    monkeypatch.setattr(Lister, "_go_on", late_step)
    return number


def test_what_the_disk_has_in_the_end_is_what_was_told(site: Site, seed: int) -> None:
    """Wherever a directory stood when it was looked at, and wherever it went meanwhile; and nothing twice."""
    monitor = site.monitor(block_size=100, ignore_sys_files=False)
    load = Load(site.root, seed)
    load.run(1000)
    load.finish()
    eventually(lambda: told(site, monitor) == on_disk(site))
    assert told_twice(site.events(monitor)) == []


def test_nothing_is_told_twice_when_the_queue_overflows(site: Site, seed: int) -> None:
    """Records of renames are lost, and those that are not lost are of before and after."""
    burst = site.root / "burst"
    burst.mkdir()
    monitor = site.monitor(block_size=100, ignore_sys_files=False)
    load = Load(site.root, seed, counts_closes=True)
    load.run(400)
    with site.held():
        load.run(200)
        for number in range(QUEUED // 2 + 1000):
            os.close(os.open(burst / f"f{number}", os.O_CREAT | os.O_WRONLY))
        load.run(300)
    load.run(100)
    load.finish()
    eventually(lambda: told(site, monitor) == on_disk(site) - {"burst"}, seconds=20)
    assert ("System", "Overflow") in site.events(monitor)
    reports = Counter(path for event, path in site.events(monitor) if event in {"Create", "Modify"})
    changes = {os.path.relpath(path, site.root): count for path, count in load.changes.items()}
    assert [path for path in reports if reports[path] > changes.get(path, path.startswith("burst/"))] == []


def on_disk(site: Site) -> set[str]:
    return {
        os.path.relpath(os.path.join(directory, name), site.root)
        for directory, directories, files in os.walk(site.root)
        for name in [*directories, *files]
    }


def told(site: Site, monitor: Monitor) -> set[str]:
    known: set[str] = set()
    for event, path in site.events(monitor):
        if event != "System":
            (known.discard if event == "Delete" else known.add)(path)
    return known


def told_twice(events: list[Event]) -> list[Event]:
    """Creates of what exists already, and Deletes of what does not."""
    there: set[str] = set()
    wrong = []
    for event, path in events:
        if (event == "Create" and path in there) or (event == "Delete" and path not in there):
            wrong.append((event, path))
        (there.discard if event == "Delete" else there.add)(path)
    return wrong
