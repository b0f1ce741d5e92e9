"""Trouble with the state: no room, no writing, a damaged store; said, survived, and nothing lost that could be read."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.conftest import ENDINGS, LONG, OpenScene
from tests.chaos.kit.faults import Mounts
from tests.chaos.kit.load import Load
from tests.chaos.kit.proxy import NetworkProxy
from tests.chaos.kit.scene import Scene, Witness, numbered
from tests.waiting import eventually

STORE = "fsherald.sqlite"
MEGABYTE = 1 << 20


class TestTheOutboxIsFull:
    """Its bound is reached while the broker is away."""

    @pytest.mark.parametrize("limit", [MEGABYTE, pytest.param(8 * MEGABYTE, marks=LONG)])
    def test_it_is_said_once_and_made_good_by_comparison(
        self, open_scene: OpenScene, proxy: NetworkProxy, memory: Path, limit: int
    ) -> None:
        """One System `gap` with a count, then everything by difference: none missing, none twice."""
        scene = open_scene(memory, proxy=proxy, FSHERALD_OUTBOX_LIMIT_BYTES=str(limit))
        witness = scene.watch(blockSize=200)
        for name in numbered("before", 50):
            (memory / name).touch()
        for top in numbered("d", 20):
            (memory / top).mkdir()
        witness.settle()
        proxy.close()
        for top in numbered("d", 20):
            for name in numbered("f", limit // 4 // 80 // 10):
                (memory / top / name).touch()
        for name in numbered("before", 25):
            (memory / name).unlink()
        eventually(lambda: scene.metric("fsherald_gaps") == 1, seconds=20)
        proxy.open()
        witness.until_told("gap", seconds=30)
        witness.settle(seconds=30)
        gaps = witness.judge.told("gap")
        assert len(gaps) == 1
        assert gaps[0]["detail"]["count"] > 0
        assert gaps[0]["detail"]["reason"]
        (memory / "after").touch()
        witness.settle()
        assert witness.describe()["lastError"] is None

    @LONG
    def test_a_kill_while_it_is_full_changes_nothing(
        self, open_scene: OpenScene, proxy: NetworkProxy, memory: Path
    ) -> None:
        """That events were given up is remembered, or what they told is found again: in the end all is known."""
        scene = open_scene(memory, proxy=proxy, FSHERALD_OUTBOX_LIMIT_BYTES=str(MEGABYTE))
        witness = scene.watch(blockSize=200)
        proxy.close()
        for name in numbered("f", 9000):
            (memory / name).touch()
        eventually(lambda: scene.metric("fsherald_gaps") == 1, seconds=20)
        scene.service.kill()
        for name in numbered("f", 10):
            (memory / name).unlink()
        scene.service.start()
        eventually(lambda: scene.service.has_started_monitors(1))
        proxy.open()
        witness.settle(seconds=30)


class TestTheDisk:
    """The state directory's disk gets full, or becomes read-only."""

    def test_a_full_disk_is_said_and_made_good_when_there_is_room(
        self, open_scene: OpenScene, mounts: Mounts, memory: Path, tmp_path: Path
    ) -> None:
        """A tmpfs of a few megabytes, filled up while events come: the service lives, says it, and catches up."""
        state = tmp_path / "state"
        mounts.tmpfs(state, size="1500k")
        scene = open_scene(memory)
        witness = scene.watch()
        (memory / "before").touch()
        witness.settle()
        fill_up(state / "ballast")
        for name in numbered("f", 3000):
            (memory / name).touch()
        eventually(lambda: witness.describe()["lastError"] is not None, seconds=20)
        assert scene.service.get("/healthz") == 200
        assert witness.client.call("getMonitorState", id=witness.monitor) == "Started"
        (state / "ballast").unlink()
        witness.settle(seconds=30)
        assert witness.judge.told("gap"), "what could not be kept was not said"
        (memory / "after").touch()
        witness.settle()
        assert witness.describe()["lastError"] is None

    @LONG
    def test_a_kill_on_a_full_disk_is_survived(
        self, open_scene: OpenScene, mounts: Mounts, memory: Path, tmp_path: Path
    ) -> None:
        """It starts on a disk that is still full, or waits until it is not; then everything is told."""
        state = tmp_path / "state"
        mounts.tmpfs(state, size="1500k")
        scene = open_scene(memory)
        witness = scene.watch()
        for name in numbered("before", 100):
            (memory / name).touch()
        witness.settle()
        fill_up(state / "ballast")
        for name in numbered("f", 1000):
            (memory / name).touch()
        scene.service.kill()
        (memory / "before-7").unlink()
        (state / "ballast").unlink()
        scene.service.restart()
        witness.settle(seconds=30)

    @ENDINGS
    def test_a_disk_that_becomes_read_only_is_said_and_made_good_after_its_repair(
        self, open_scene: OpenScene, mounts: Mounts, memory: Path, tmp_path: Path, how: signal.Signals
    ) -> None:
        """ext4 after an error of its disk. Repaired and mounted again, the service starts and tells the rest."""
        state, image = tmp_path / "state", mounts.image(tmp_path / "image")
        mounts.loop(image, state)
        # What the disk has not been made to write is lost with it, as in a power cut.
        scene = open_scene(memory, FSHERALD_DURABILITY="power")
        witness = scene.watch()
        for name in numbered("before", 100):
            (memory / name).touch()
        witness.settle()
        mounts.break_disk(state)
        for name in numbered("f", 100):
            (memory / name).touch()
        (memory / "before-3").unlink()
        eventually(lambda: witness.describe()["lastError"] is not None, seconds=20)
        assert has_said(scene, ("error", "critical"), witness.monitor)
        scene.service.terminate(how)
        mounts.unmount_in_good_order(state)
        mounts.repair(image)
        mounts.loop(image, state)
        scene.service.restart()
        witness.settle(seconds=30)

    def test_a_state_directory_that_is_read_only_at_the_start_is_one_sentence(
        self, open_scene: OpenScene, mounts: Mounts, tmp_path: Path
    ) -> None:
        """The service does not start and names the directory; writable again, it starts as if nothing had been."""
        state = tmp_path / "state"
        mounts.tmpfs(state, size="8m")
        scene = open_scene()
        witness = scene.watch()
        (scene.root / "f").touch()
        witness.settle()
        assert scene.service.terminate() == 0
        mounts.remount(state, "ro")
        scene.service.start()
        assert scene.service.wait(seconds=20) in (1, 2)
        assert str(state) in scene.service.output.splitlines()[-1]
        mounts.remount(state, "rw")
        scene.service.restart()
        (scene.root / "g").touch()
        witness.settle()


def has_said(scene: Scene, levels: tuple[str, ...], word: str) -> bool:
    return any(word in line.lower() for line in scene.log(least=levels))


def fill_up(ballast: Path) -> None:
    """Leave no byte on the disk of this file."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while file.write(b"\xff" * size):
                    pass
            except OSError:
                continue


MARK = b"damaged by a test of fsherald " * 8


def overwrite_header(store: Path, _draw: random.Random) -> None:
    with store.open("r+b") as file:
        file.write(MARK)


def truncate(store: Path, draw: random.Random) -> None:
    size = store.stat().st_size
    os.truncate(store, draw.randrange(size // 4, size // 2) // 512 * 512 + 100)


def scribble_in_the_middle(store: Path, draw: random.Random) -> None:
    """Over every page but the first: what is read first looks sound."""
    size = store.stat().st_size
    with store.open("r+b") as file:
        for at in range(4096 + draw.randrange(200), size - len(MARK), 4096):
            file.seek(at)
            file.write(MARK)


def empty(store: Path, _draw: random.Random) -> None:
    os.truncate(store, 0)


DAMAGE: list[Callable[[Path, random.Random], None]] = [
    overwrite_header,
    truncate,
    scribble_in_the_middle,
    empty,
]


@pytest.mark.parametrize(
    "how",
    [pytest.param(signal.SIGTERM, id="SIGTERM"), pytest.param(signal.SIGKILL, id="SIGKILL", marks=LONG)],
)
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__.replace("_", "-"))
def test_a_damaged_store_is_set_aside_and_everything_found_again(
    scene: Scene,
    damage: Callable[[Path, random.Random], None],
    how: signal.Signals,
    seed: int,
    tmp_path: Path,
) -> None:
    """The monitors are there, the damage is said, the file is kept, and at worst everything is reported again."""
    witness = scene.watch()
    # While it goes on, a file that stays open is reported as it grows, and once more at its close.
    load = Load(scene.root, seed, counts_closes=True)
    load.run(300)
    witness.settle(load=load)
    stopped = witness.client.create(scene.root, pMode="Flat", blacklist=[".tmp"])
    before = specifications(witness)
    scene.service.terminate(how)
    store = scene.service.directory / "state" / STORE
    damage(store, random.Random(f"damage {seed}"))
    damaged = store.read_bytes()
    readable = is_sound(store, tmp_path / "copy")
    load.run(100)
    if not readable:
        witness.judge.excuse_repetition()
        witness.judge.excuse_one_skip()
    # Damage that is found only when something is looked up ends the service, and the next start deals with it.
    with scene.service.supervised():
        assert specifications(witness) == before
        assert witness.client.call("getMonitorState", id=stopped) == "Stopped"
        assert witness.client.call("getMonitorState", id=witness.monitor) == "Started"
        witness.settle(load=load, seconds=25)
        if not readable:
            assert has_said(scene, ("error", "critical"), "store")
            assert damaged in [path.read_bytes() for path in kept_files(store)], (
                "the damaged store is not kept"
            )
        load.run(100)
        scene.service.kill()
        scene.service.start()
        witness.settle(load=load)


def test_a_store_damaged_while_blocks_wait_in_it_loses_none_that_can_be_read(
    open_scene: OpenScene, proxy: NetworkProxy, seed: int
) -> None:
    """Recorded, the broker away, killed, damaged: what was not told yet is told, one way or the other."""
    scene = open_scene(proxy=proxy)
    witness = scene.watch(blockSize=5)
    # While it goes on, a file that stays open is reported as it grows, and once more at its close.
    load = Load(scene.root, seed, counts_closes=True)
    load.run(100)
    witness.settle(load=load)
    proxy.close()
    load.run(300)
    eventually(lambda: scene.metric("fsherald_outbox_entries") > 0)
    scene.service.kill()
    scribble_in_the_middle(scene.service.directory / "state" / STORE, random.Random(f"damage {seed}"))
    witness.judge.excuse_repetition()
    witness.judge.excuse_one_skip()
    proxy.open()
    scene.service.restart()
    witness.settle(load=load, seconds=25)


def is_sound(store: Path, copy: Path) -> bool:
    """Whether SQLite finds nothing wrong with it, and its tables: after a kill its log may hold what was damaged."""
    copy.mkdir()
    for path in store.parent.glob(f"{store.name}*"):
        shutil.copy(path, copy)
    with closing(sqlite3.connect(copy / store.name)) as db:
        try:
            found = db.execute("PRAGMA integrity_check").fetchone()[0]
            return found == "ok" and db.execute("SELECT count(*) FROM monitors").fetchone()[0] > 0
        except sqlite3.DatabaseError:
            return False


def kept_files(store: Path) -> list[Path]:
    """Every file beside the store."""
    return [path for path in store.parent.rglob("*") if path.is_file() and path != store]


def specifications(witness: Witness) -> dict[str, str]:
    return {row["id"]: json.dumps(row["spec"], sort_keys=True) for row in witness.client.call("listMonitors")}
