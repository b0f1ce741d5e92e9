"""Nothing grows: monitors made and destroyed, and churn for long, leave everything where it was."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers import VirtualHost
from tests.chaos.conftest import LONG, ROUNDS, OpenScene
from tests.chaos.kit.faults import limited
from tests.chaos.kit.load import Load
from tests.chaos.kit.scene import Scene
from tests.clients.wire import WireClient
from tests.waiting import eventually

CYCLES = 60 * ROUNDS
CHURN_STEPS = 600
MEBIBYTE = 1 << 20
# What the allocator keeps of a peak, once, and not per cycle.
SLACK_BYTES = 6 * MEBIBYTE


@dataclass(frozen=True)
class Holdings:
    """What the service holds, seen from outside."""

    descriptors: dict[str, int]
    threads: int
    exchanges: int
    queues: int
    rows: dict[str, int]


def holdings(scene: Scene) -> Holdings:
    broker, name = scene.vhost.broker, scene.vhost.name
    return Holdings(
        descriptors(scene.service.pid),
        len(os.listdir(f"/proc/{scene.service.pid}/task")),
        len(broker.exchanges(name)),
        len([row for row in broker.queues(name) if row.get("durable")]),
        rows(scene.service.directory / "state" / "fsherald.sqlite"),
    )


def until_nothing_grew(scene: Scene, before: Holdings) -> None:
    """Wait until the service holds no more than before; what has grown is shown if it does not come to that."""

    def nothing_grew() -> bool:
        now = holdings(scene)
        grown = {name: count for name, count in figures(now).items() if count > figures(before).get(name, 0)}
        assert grown == {}, figures(before)
        return True

    eventually(nothing_grew, seconds=10)


def figures(held: Holdings) -> dict[str, int]:
    """All of it by name."""
    return {
        "threads": held.threads,
        "exchanges": held.exchanges,
        "queues": held.queues,
        **{f"descriptors {kind}": count for kind, count in held.descriptors.items()},
        **{f"rows {table}": count for table, count in held.rows.items()},
    }


def descriptors(pid: int) -> dict[str, int]:
    """Open descriptors by what they are; files by name, the numbers of sockets and pipes left out."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[os.readlink(entry).partition(":[")[0]] += 1
        except FileNotFoundError:
            continue
    return dict(found)


def rows(store: Path) -> dict[str, int]:
    """How many rows each table of the store has."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}


def resident_bytes(pid: int) -> int:
    """What of the process is in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cycle(client: WireClient, scene: Scene, number: int) -> None:
    """A monitor's whole life, with events in it that a queue takes."""
    directory = scene.root / f"d{number % 5}"
    directory.mkdir(exist_ok=True)
    monitor = client.create(directory, pathString=str(directory))
    heard = client.subscribe(f"fsherald.monitor.{monitor}")
    client.call("startMonitor", id=monitor)
    (directory / f"f{number}").touch()
    heard.block()
    if number % 3:
        client.call("stopMonitor", id=monitor)
    (directory / f"f{number}").unlink()
    client.call("destroyMonitor", id=monitor)


def test_monitors_made_and_destroyed_leave_nothing(scene: Scene) -> None:
    """Descriptors, threads, exchanges, queues, rows and memory are where they were."""
    client = scene.client()
    for number in range(10):
        cycle(client, scene, number)
    before = holdings(scene)
    memory = resident_bytes(scene.service.pid)
    for number in range(CYCLES):
        cycle(client, scene, number)
    until_nothing_grew(scene, before)
    assert resident_bytes(scene.service.pid) - memory < SLACK_BYTES


@pytest.mark.parametrize("monitors", [150])
def test_more_monitors_than_inotify_instances_leave_nothing(open_scene: OpenScene, monitors: int) -> None:
    """Descriptors are shared when they run out, and given back."""
    scene = open_scene(prefix=tuple(limited(max_inotify_instances=20)))
    client = scene.client()
    cycle(client, scene, 0)
    before = holdings(scene)
    made = [client.create(scene.root / "d0") for _ in range(monitors)]
    for monitor in made:
        client.call("startMonitor", id=monitor)
    assert holdings(scene).descriptors["anon_inode:inotify"] <= 20
    assert holdings(scene).threads == before.threads, "a thread per monitor"
    for monitor in made:
        client.call("destroyMonitor", id=monitor)
    until_nothing_grew(scene, before)


def test_churn_leaves_nothing(scene: Scene, seed: int) -> None:
    """Hours in short: files and trees come and go; when all is gone again, so is what was kept of it."""
    witness = scene.watch()
    load = Load(scene.root, seed)

    def come_and_go() -> None:
        load.run(CHURN_STEPS)
        load.clear()
        witness.settle({})

    come_and_go()
    before = holdings(scene)
    memory = resident_bytes(scene.service.pid)
    for _ in range(3 * ROUNDS):
        come_and_go()
    until_nothing_grew(scene, before)
    assert resident_bytes(scene.service.pid) - memory < SLACK_BYTES


@LONG
def test_broken_connections_leave_nothing(scene: Scene, chaos_vhost: VirtualHost) -> None:
    """Connections made again and again are the same number in the end."""
    witness = scene.watch()
    (scene.root / "f").touch()
    witness.settle()
    before = holdings(scene)
    for _ in range(2 * ROUNDS):
        eventually(lambda: chaos_vhost.broker.close_connections(chaos_vhost.name, "fsherald"), seconds=20)
        scene.service.wait_until_ready()
    until_nothing_grew(scene, before)
    (scene.root / "g").touch()
    witness.settle()
