"""Watches run out: said, counted, the rest polled, and watched again when there are watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.conftest import LONG, OpenScene
from tests.chaos.kit.faults import limited, set_limits
from tests.chaos.kit.scene import Witness
from tests.waiting import eventually

DIRECTORIES = 200
WATCHES = 60
PLENTY = 10_000


def make_directories(root: Path, stem: str = "d") -> list[Path]:
    """Two levels, so that whole subtrees are uncovered."""
    made = [root / f"{stem}{number}" / "below" for number in range(DIRECTORIES // 2)]
    for directory in made:
        directory.mkdir(parents=True)
    return [path for directory in made for path in (directory.parent, directory)]


def change_everywhere(directories: list[Path]) -> None:
    """A new file in each, and after that the files of the round before changed or removed."""
    for number, directory in enumerate(directories):
        known = sorted(directory.glob("f*"))
        if known and number % 2:
            known[0].unlink()
        elif known:
            known[0].write_bytes(b"changed")
        (directory / f"f{len(known)}-{number}").write_bytes(b"new")


def everything_is_watched(witness: Witness) -> bool:
    found, watched, polled = witness.coverage()
    return watched == found and not polled


def test_a_tree_with_more_directories_than_watches_is_told_and_polled(
    open_scene: OpenScene, tmp_path: Path
) -> None:
    """200 directories, 60 watches at the start: System `Watch limit`, the coverage says so, every file is told."""
    root = tmp_path / "root"
    root.mkdir()
    directories = make_directories(root)
    scene = open_scene(root, prefix=limited(max_inotify_watches=WATCHES))
    witness = scene.watch()
    witness.until_told("watch-limit")
    found, watched, polled = witness.coverage()
    assert found == DIRECTORIES + 1
    assert 0 < watched <= WATCHES
    assert polled
    for _ in range(2):
        change_everywhere(directories)
        witness.settle()
    assert len(witness.judge.told("watch-limit")) == 1, "said more than once"
    set_limits(scene.service.pid, max_inotify_watches=PLENTY)
    eventually(lambda: everything_is_watched(witness), seconds=30)
    change_everywhere(directories)
    witness.settle()


def test_watches_that_run_out_later_are_told_and_the_rest_polled(open_scene: OpenScene) -> None:
    """The limit is reached while directories are made: all the same."""
    scene = open_scene(prefix=limited(max_inotify_watches=WATCHES))
    witness = scene.watch()
    assert everything_is_watched(witness)
    directories = make_directories(scene.root)
    witness.until_told("watch-limit")
    change_everywhere(directories)
    witness.settle()
    found, watched, polled = witness.coverage()
    assert (found, polled) == (DIRECTORIES + 1, True)
    assert watched <= WATCHES
    set_limits(scene.service.pid, max_inotify_watches=PLENTY)
    eventually(lambda: everything_is_watched(witness), seconds=30)
    directories += make_directories(scene.root, "later")
    change_everywhere(directories)
    witness.settle()
    found, watched, polled = witness.coverage()
    assert (found, watched, polled) == (2 * DIRECTORIES + 1, 2 * DIRECTORIES + 1, False)


@LONG
def test_removed_directories_free_watches_for_the_others(open_scene: OpenScene) -> None:
    """Possible again need not mean a higher limit."""
    scene = open_scene(prefix=limited(max_inotify_watches=WATCHES))
    witness = scene.watch()
    directories = make_directories(scene.root)
    witness.until_told("watch-limit")
    witness.settle()
    for directory in reversed(directories[40:]):
        directory.rmdir()
    witness.settle()
    eventually(lambda: everything_is_watched(witness), seconds=30)
    change_everywhere(directories[:40])
    witness.settle()


@pytest.mark.parametrize("instances", [0, 1])
def test_without_inotify_instances_monitors_share_or_poll(open_scene: OpenScene, instances: int) -> None:
    """The kernel grants none, or one for three monitors: each of them tells everything."""
    scene = open_scene(prefix=limited(max_inotify_instances=instances))
    client = scene.client()
    witnesses = [scene.watch(client=client) for _ in range(3)]
    directories = make_directories(scene.root)[:40]
    change_everywhere(directories)
    for witness in witnesses:
        witness.settle()
        assert witness.coverage()[2] == (instances == 0)
        if instances == 0:
            assert witness.judge.told("watch-limit")
    if instances == 0:
        set_limits(scene.service.pid, max_inotify_instances=100)
        for witness in witnesses:
            eventually(lambda: everything_is_watched(witness), seconds=30)  # noqa: B023 - called at once
        change_everywhere(directories)
        for witness in witnesses:
            witness.settle()
