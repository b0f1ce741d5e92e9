"""Trees that appear at once, and any load at all: each file once, when it is complete."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.conftest import OpenScene
from tests.chaos.kit.load import Load
from tests.chaos.kit.scene import Scene, numbered
from tests.chaos.kit.truth import on_disk

# In a process of its own, so that it is as fast as a shell loop and does not wait for the one that listens.
_BURST = """
import os, sys
for number in range(300):
    deep = f"{sys.argv[1]}/t{number}/a/b/c"
    os.makedirs(deep)
    for name in ("x", "y", "z"):
        with open(f"{deep}/{name}", "wb") as file:
            file.write(b"content")
"""


def created_once(root: Path) -> dict[str, int]:
    """What the judge may accept where everything was made once: one report for each path."""
    return dict.fromkeys(on_disk(root), 1)


@pytest.mark.parametrize("steps", [1500])
def test_a_load_without_any_fault_is_told_exactly(scene: Scene, seed: int, steps: int) -> None:
    """The measure of all other tests here: without a fault there is nothing to find."""
    witness = scene.watch()
    load = Load(scene.root, seed)
    load.run(steps)
    witness.settle(load=load)
    assert witness.judge.systems == []


def test_three_hundred_trees_at_once_are_complete_and_told_once(scene: Scene) -> None:
    """`mkdir -p a/b/c` 300 times, and 900 files in them at once: none missing, none twice."""
    witness = scene.watch()
    subprocess.run([sys.executable, "-c", _BURST, os.fspath(scene.root)], check=True, timeout=60)
    truth = on_disk(scene.root)
    assert len(truth) == 300 * (4 + 3)
    witness.settle(truth, changes=created_once(scene.root))
    assert {event["type"] for event in witness.judge.events} == {"Create"}


def test_directories_renamed_while_files_are_made_in_them_lose_none(scene: Scene) -> None:
    """As a copy to a temporary name does it, which is renamed when it is complete: into the tree, and within it."""
    witness = scene.watch()
    for top in numbered("to", 4):
        (scene.root / top).mkdir()
    for number in range(300):
        temporary = scene.root / f"copy-{number}"
        (temporary / "deep").mkdir(parents=True)
        for name in ("x", "y", "deep/z"):
            (temporary / name).write_bytes(b"1")
        temporary.rename(scene.root / f"to-{number % 4}" / f"copied-{number}")
    witness.settle()


def test_trees_at_once_while_the_service_looks_away_are_told_once(scene: Scene) -> None:
    """The same with every record still to be read when the last file is there, and trees that are gone again."""
    witness = scene.watch()
    with scene.paused():
        subprocess.run([sys.executable, "-c", _BURST, os.fspath(scene.root)], check=True, timeout=60)
        for number in range(0, 300, 3):
            os.rename(scene.root / f"t{number}", scene.root / f"t{number}-renamed")
    witness.settle(changes=None)
    assert witness.judge.told("overflow") == []


@pytest.mark.parametrize("records_between", [0, 6000])
def test_a_known_directory_moved_into_one_just_made_stays_watched(
    open_scene: OpenScene, memory: Path, records_between: int
) -> None:
    """The listing of the new directory may find it before the record of its move is read: it is one directory still."""
    (memory / "noise").mkdir()
    (memory / "known" / "deep").mkdir(parents=True)
    scene = open_scene(memory)
    witness = scene.watch()
    for path in ("known/f", "known/gone", "known/deep/f"):
        (memory / path).write_bytes(b"1")
    witness.settle()
    with scene.paused():
        (memory / "new").mkdir()
        for name in numbered("n", records_between):
            (memory / "noise" / name).touch()
        (memory / "known" / "gone").unlink()
        (memory / "known" / "new").touch()
        (memory / "known").rename(memory / "new" / "known")
    witness.settle()
    for path in ("f", "g", "deep/f", "deep/g"):
        (memory / "new" / "known" / path).write_bytes(b"22")
    witness.settle()
    assert witness.coverage()[:2] == (5, 5)
    told = [event["fileId"] for event in witness.judge.events]
    assert not [path for path in told if path.startswith(f"{memory}/new/") and path not in on_disk(memory)]


def test_a_tree_moved_in_is_told_and_then_watched(scene: Scene, tmp_path: Path) -> None:
    """Its 50 files, and the 50 changes made in them after that."""
    outside = tmp_path / "outside"
    for number in range(50):
        directory = outside / f"d{number % 10}" / "deep"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(b"1")
    witness = scene.watch()
    outside.rename(scene.root / "in")
    changes = created_once(scene.root)
    witness.settle(changes=changes)
    for path in (scene.root / "in").rglob("f*"):
        path.write_bytes(b"22")
        changes[str(path)] += 1
    witness.settle(changes=changes)
    modified = [event for event in witness.judge.events if event["type"] == "Modify"]
    assert len(modified) == 50
