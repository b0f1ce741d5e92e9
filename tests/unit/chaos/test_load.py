"""The load of the chaos tests: the same seed does the same, and what it says of a tree is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.kit.load import Load
from tests.chaos.kit.truth import on_disk

STEPS = 1500


def loaded(directory: Path, seed: int) -> Load:
    root = directory / "root"
    root.mkdir(parents=True)
    load = Load(root, seed)
    load.run(STEPS)
    load.finish()
    return load


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_does_the_same(tmp_path: Path, seed: int) -> None:
    """A failing seed can be run again."""
    first, second = (loaded(tmp_path / name, seed) for name in ("one", "two"))
    trees = [
        {path.removeprefix(str(load.root)): entry.is_dir for path, entry in on_disk(load.root).items()}
        for load in (first, second)
    ]
    assert trees[0] == trees[1]
    assert len(trees[0]) > 50
    assert sorted(first.changes.values()) == sorted(second.changes.values())


def test_another_seed_does_something_else(tmp_path: Path) -> None:
    """Or rounds would be for nothing."""
    first, second = loaded(tmp_path / "one", 1), loaded(tmp_path / "two", 2)
    assert sorted(first.changes.values()) != sorted(second.changes.values())


def test_whatever_exists_was_counted(tmp_path: Path) -> None:
    """The judge calls a report of any other path unexplained."""
    load = loaded(tmp_path, 3)
    truth = on_disk(load.root, load.touched)
    assert set(truth) <= set(load.changes)
    assert set(truth) <= set(load.touched)
    assert len(load.changes) > len(truth), "nothing was ever removed"
    assert max(load.changes.values()) > 2, "nothing was ever changed"


def test_what_is_renamed_away_and_back_is_as_old_as_it_was(tmp_path: Path) -> None:
    """Nobody who compares can tell; what was changed meanwhile is new."""
    (tmp_path / "root").mkdir()
    load = Load(tmp_path / "root", 1)
    path, elsewhere = str(tmp_path / "root" / "f"), str(tmp_path / "root" / "g")
    with load._putting(path):
        Path(path).write_bytes(b"1")
    first = load.touched[path]
    for old, new in ((path, elsewhere), (elsewhere, path)):
        with load._putting(new):
            Path(old).rename(new)
    assert load.touched == {path: first}
    assert load.changes == {path: 2, elsewhere: 1}
    with load._putting(path):
        Path(path).write_bytes(b"22")
    assert load.touched[path] > first


def test_a_failure_on_its_thread_is_raised_to_the_test(tmp_path: Path) -> None:
    """A load that has died makes nothing, and a test of nothing passes."""
    (tmp_path / "root").mkdir()
    load = Load(tmp_path / "root", 1)
    (tmp_path / "root").rmdir()
    load.start(50)
    with pytest.raises(FileNotFoundError):
        load.join()
