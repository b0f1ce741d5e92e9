"""What happens while the service is down is told when it is back: once, and marked as found by comparison."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.conftest import ENDINGS, LONG, OpenScene
from tests.chaos.kit.load import Load
from tests.chaos.kit.scene import Scene, Witness
from tests.waiting import eventually

Change = Callable[[Path], object]


def prepare(root: Path) -> None:
    """Files and directories that are told, or were there before anybody watched."""
    for top in ("a", "b", "c"):
        (root / top / "deep").mkdir(parents=True)
        for name in ("f", "g", "deep/f"):
            (root / top / name).write_bytes(b"1")


def end(scene: Scene, how: signal.Signals) -> None:
    scene.service.terminate(how)


def told_since(witness: Witness, position: int) -> set[tuple[str, str, str | None]]:
    """(type, path below the root, origin) of each event from that position on."""
    prefix = f"{witness.root}/"
    told = [
        (event["type"], event["fileId"].removeprefix(prefix), event.get("origin"))
        for event in witness.judge.events[position:]
        if event["type"] != "System"
    ]
    assert len(set(told)) == len(told), f"told twice: {told}"
    return set(told)


PREPARED = ("", "/f", "/g", "/deep", "/deep/f")


def events(kind: str, top: str) -> set[tuple[str, str]]:
    """One event for each path of a directory as `prepare` makes it."""
    return {(kind, f"{top}{below}") for below in PREPARED}


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, tuple[Change, set[tuple[str, str]]]] = {
    "nothing": (lambda _top: None, set()),
    "created": (lambda top: (top / "new").write_bytes(b"1"), {("Create", "new")}),
    "created-empty": (lambda top: (top / "new").touch(), {("Create", "new")}),
    "changed": (lambda top: (top / "a/f").write_bytes(b"22"), {("Modify", "a/f")}),
    "deleted": (lambda top: (top / "a/f").unlink(), {("Delete", "a/f")}),
    "renamed": (lambda top: (top / "a/f").rename(top / "b/h"), {("Delete", "a/f"), ("Create", "b/h")}),
    "linked": (lambda top: (top / "link").symlink_to("a/f"), {("Create", "link")}),
    "tree-made": (
        lambda top: prepare(top / "t"),
        {("Create", "t")}.union(*(events("Create", f"t/{name}") for name in "abc")),
    ),
    "tree-removed": (lambda top: shutil.rmtree(top / "a"), events("Delete", "a")),
    "tree-renamed": (
        lambda top: (top / "a").rename(top / "z"),
        events("Delete", "a") | events("Create", "z"),
    ),
    "file-to-directory": (
        lambda top: replace_by_directory(top / "a/f"),
        {("Delete", "a/f"), ("Create", "a/f")},
    ),
    "attributes": (lambda top: (top / "a/f").chmod(0o600), set()),
}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_each_change_while_it_was_down_is_told_once_as_scanned(scene: Scene, how: signal.Signals) -> None:
    """Created, changed, deleted, renamed, trees and kinds; what was told before is not told again."""
    witness = scene.watch()
    for name in CHANGES:
        prepare(scene.root / name)
    witness.settle()
    position = len(witness.judge.events)
    end(scene, how)
    for name, (change, _) in CHANGES.items():
        change(scene.root / name)
    scene.service.restart()
    witness.settle()
    assert told_since(witness, position) == {
        (kind, f"{name}/{path}", "scan") for name, (_, expected) in CHANGES.items() for kind, path in expected
    }


@LONG
@ENDINGS
def test_what_was_there_before_the_monitor_is_compared_too(scene: Scene, how: signal.Signals) -> None:
    """It was not told, and yet it is known: its change and its end are, its being there is not."""
    prepare(scene.root)
    witness = scene.watch()
    end(scene, how)
    (scene.root / "a/f").write_bytes(b"22")
    (scene.root / "b/f").unlink()
    scene.service.restart()
    witness.settle()
    assert told_since(witness, 0) == {("Modify", "a/f", "scan"), ("Delete", "b/f", "scan")}


@ENDINGS
def test_what_was_moved_before_the_end_is_not_told_again(
    scene: Scene, how: signal.Signals, tmp_path: Path
) -> None:
    """Renamed, moved in, made over by a rename: known as it is, however it came there."""
    outside = tmp_path / "outside"
    prepare(outside)
    witness = scene.watch()
    prepare(scene.root / "old")
    witness.settle()
    (scene.root / "old").rename(scene.root / "new")
    outside.rename(scene.root / "in")
    (scene.root / "aside").write_bytes(b"333")
    (scene.root / "aside").rename(scene.root / "new/a/f")
    (scene.root / "new/b").rename(scene.root / "in/b2")
    witness.settle()
    position = len(witness.judge.events)
    end(scene, how)
    scene.service.restart()
    (scene.root / "after").touch()
    witness.settle()
    assert told_since(witness, position) == {("Create", "after", None)}


@LONG
@ENDINGS
def test_what_happens_after_the_start_is_the_kernels_again(scene: Scene, how: signal.Signals) -> None:
    """The comparison ends, and events go on, in the new directories too."""
    witness = scene.watch()
    prepare(scene.root)
    witness.settle()
    end(scene, how)
    (scene.root / "a/new").mkdir()
    (scene.root / "a/new/f").touch()
    scene.service.restart()
    witness.settle()
    position = len(witness.judge.events)
    (scene.root / "a/new/f").write_bytes(b"22")
    (scene.root / "a/new/g").write_bytes(b"22")
    witness.settle()
    assert told_since(witness, position) == {("Modify", "a/new/f", None), ("Create", "a/new/g", None)}


def test_a_file_that_was_being_written_is_told_at_its_close(scene: Scene) -> None:
    """Begun before the end of the service, closed after its next start: one Create, then."""
    witness = scene.watch()
    with (scene.root / "slow").open("wb") as file:
        file.write(b"begun")
        file.flush()
        end(scene, signal.SIGKILL)
        file.write(b", continued")
        file.flush()
        scene.service.restart()
        assert witness.stays_silent(seconds=1.0), witness.hear().events
        file.write(b", ended")
    witness.settle()
    assert [event["type"] for event in witness.judge.events] == ["Create"]


@LONG
def test_a_stopped_monitor_is_silent_about_what_it_missed(scene: Scene) -> None:
    """Stopped is stopped, whatever the service went through; started again, it tells what happens from then on."""
    witness = scene.watch()
    prepare(scene.root)
    witness.settle()
    witness.client.call("stopMonitor", id=witness.monitor)
    position = len(witness.hear().events)
    end(scene, signal.SIGKILL)
    (scene.root / "missed").touch()
    scene.service.restart()
    witness.client.call("startMonitor", id=witness.monitor)
    (scene.root / "told").touch()
    witness.until_quiet()
    assert told_since(witness, position) == {("Create", "told", None)}


@LONG
@ENDINGS
def test_a_large_difference_is_told_in_blocks_in_order(
    open_scene: OpenScene, memory: Path, how: signal.Signals
) -> None:
    """Thousands of differences: bounded blocks, parents before what is in them, deepest deletions first."""
    scene = open_scene(memory)
    witness = scene.watch(blockSize=100)
    for number in range(1000):
        (memory / f"old{number}").touch()
    witness.settle()
    end(scene, how)
    for number in range(1000):
        (memory / f"old{number}").unlink()
        directory = memory / f"new{number % 50}" / "deep"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").touch()
    position = len(witness.hear().events)
    scene.service.restart()
    witness.settle()
    told = [event["fileId"] for event in witness.judge.events[position:] if event["type"] == "Create"]
    places = {path: place for place, path in enumerate(told)}
    assert all(places.get(os.path.dirname(path), -1) < place for path, place in places.items())
    assert all(message.headers["eventCount"] <= 100 for message in witness.messages)


def test_any_load_while_it_was_down_is_told_once(scene: Scene, seed: int) -> None:
    """Many changes of the same paths are one difference."""
    witness = scene.watch()
    # While it goes on, a file that stays open is reported as it grows, and once more at its close.
    load = Load(scene.root, seed, counts_closes=True)
    load.run(300)
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        end(scene, how)
        load.run(200)
        scene.service.start()
        eventually(lambda: scene.service.has_started_monitors(1))
        load.run(100)
        scene.service.wait_until_ready()
    witness.settle(load=load)
