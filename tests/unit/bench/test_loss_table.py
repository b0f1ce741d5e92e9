"""The table of losses: what a cell says where a watcher could not be run, and what is quoted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.loss import LONGEST_SECONDS, Column, _not_run, _shortened, observe
from bench.losses.findings import Delivered, Told
from bench.losses.peers import PEERS, PeerWatcher
from bench.losses.situations import SITUATIONS, Scene, Situation
from bench.losses.watcher import Watcher
from bench.site import Site

WATCHDOG = PEERS[0]
LIMITED = next(situation for situation in SITUATIONS if situation.watches is not None)
FREE = next(situation for situation in SITUATIONS if situation.watches is None)


def start(root: Path, errors: Path, watches: int | None) -> Watcher:
    """watchdog, as a column starts it."""
    return PeerWatcher(WATCHDOG, root, errors, watches)


COLUMN = Column("watchdog", "7", "pip install watchdog", start)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    """A place without a broker: no peer needs one."""
    root = tmp_path / "root"
    root.mkdir()
    yield Site("", tmp_path, root)
    assert list(root.iterdir()) == [], "something is left behind"


def test_a_watcher_that_is_not_installed_is_named_so() -> None:
    """The benchmark runs with those that are there."""
    missing = replace(COLUMN, version=None)
    assert _not_run(missing, FREE, can_limit=True, until=time.monotonic() + 60) == "not installed"


def test_without_user_namespaces_the_rows_about_watches_are_not_run() -> None:
    """A limit that can't be set is not taken for one that was kept."""
    until = time.monotonic() + 60
    assert _not_run(COLUMN, LIMITED, can_limit=False, until=until) == "no user namespaces here"
    assert _not_run(COLUMN, FREE, can_limit=False, until=until) is None
    assert _not_run(COLUMN, LIMITED, can_limit=True, until=until) is None


def test_a_run_ends_when_its_time_is_over() -> None:
    """What was not run is not left blank."""
    over = _not_run(COLUMN, FREE, can_limit=True, until=time.monotonic() - 1)
    assert over == f"not run, {LONGEST_SECONDS} s are over"


def test_a_cell_is_what_was_found_and_what_was_told_is_quoted(place: Site) -> None:
    """Paths of this run say nothing to a reader of the table."""

    def one_of_two(_watcher: Watcher, scene: Scene) -> Delivered:
        return Delivered(2, 1, Told((f"lost below {scene.root}/a",)))

    assert observe(place, COLUMN, Situation("", "", one_of_two)) == ("1 of 2, told", ["lost below ROOT/a"])


def test_a_cell_that_fails_says_so_and_ends_its_watcher(place: Site) -> None:
    """The others are still compared."""
    watchers: list[Watcher] = []

    def failing(watcher: Watcher, _scene: Scene) -> Delivered:
        watchers.append(watcher)
        raise OSError("no space left")

    assert observe(place, COLUMN, Situation("", "", failing)) == ("failed: no space left", [])
    assert watchers[0].has_ended


def test_a_long_sentence_is_cut_and_fits_into_a_table(tmp_path: Path) -> None:
    """A column separator in it is none."""
    scene = Scene(tmp_path, tmp_path)
    assert _shortened("a | b\n c", scene) == "a \\| b c"
    assert len(_shortened("x" * 1000, scene)) < 200
