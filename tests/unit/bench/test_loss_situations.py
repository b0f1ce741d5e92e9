"""The situations, small, with watchdog and with a watcher that loses nothing: each finds what is known of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from bench.losses import situations
from bench.losses.findings import Delivered, Difference, Exactness, Finding, Lost, MovedIn, Stall, Told
from bench.losses.peers import PEERS, Peer, PeerWatcher
from bench.losses.situations import Scene, Situation

WATCHDOG = next(peer for peer in PEERS if peer.name == "watchdog")

Run = Callable[..., Finding]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs one situation, with little in it, and returns its finding; with watchdog unless told otherwise."""
    counts = {"BURST": 200, "CHAINS": 3, "ROUNDS": 1, "RETURNED_FILES": 2}
    seconds = {"QUIET_SECONDS": 1.0, "QUIET_SECONDS_WITHOUT_WATCHES": 1.0, "AFTERWARDS_SECONDS": 0.2}
    for name, value in {**counts, **seconds}.items():
        monkeypatch.setattr(situations, name, value)
    with ExitStack() as stack:

        def one(name: str, peer: Peer = WATCHDOG) -> Finding:
            situation: Situation = next(
                each for each in situations.SITUATIONS if each.observe.__name__ == name
            )
            scene = Scene(tmp_path / "root", tmp_path / "beside")
            scene.root.mkdir()
            scene.beside.mkdir()
            situation.prepare(scene)
            watcher = stack.enter_context(closing(PeerWatcher(peer, scene.root, tmp_path / "errors")))
            watcher.wait_until_ready()
            return situation.observe(watcher, scene)

        yield one


def test_a_few_files_are_kept_for_a_reader_that_stands_still(run: Run) -> None:
    """The kernel keeps 16,384 records, so 200 files are not lost, and nothing is told."""
    found = run("reader_stopped")
    assert isinstance(found, Lost)
    assert (found.lost, found.told) == (0, Told())
    assert found.seconds is not None


def test_with_watches_enough_every_directory_is_covered(run: Run) -> None:
    """The counting itself loses nothing."""
    assert run("more_directories_than_watches") == Delivered(
        situations.DIRECTORIES, situations.DIRECTORIES, Told()
    )


def test_chains_that_are_finished_are_found(run: Run) -> None:
    """watchdog lists a new directory after it has watched it."""
    found = run("chains_at_full_speed")
    assert isinstance(found, Exactness)
    assert found.missing == 0


def test_a_script_makes_what_is_counted(run: Run) -> None:
    """The script and the count agree about the names."""
    found = run("chains_by_a_script")
    assert isinstance(found, Exactness)
    assert found.missing == 0


def test_a_tree_that_is_moved_in_is_counted_apart_from_its_later_changes(run: Run) -> None:
    """watchdog 7.1 sees both."""
    assert run("tree_moved_in") == MovedIn(situations.TREE_FILES, situations.TREE_FILES)


def test_a_root_that_is_made_again_is_not_seen_by_its_old_watch(run: Run) -> None:
    """watchdog stays blind; that the root is deleted it does say, in an event."""
    found = run("root_made_again")
    assert isinstance(found, Delivered)
    assert found.heard == 0
    assert found.told.sentences == ("an event: the root is deleted",)


def test_a_move_out_holds_up_what_follows(run: Run) -> None:
    """watchdog waits half a second for where the file has gone."""
    found = run("move_out")
    assert isinstance(found, Stall)
    assert found.after_ms is not None
    assert found.otherwise_ms is not None
    assert found.after_ms > 400 > found.otherwise_ms


def test_what_changed_while_a_watcher_was_down_is_unknown_to_it(run: Run) -> None:
    """A start of watchdog begins with what is there."""
    assert run("changed_while_down") == Difference(0, 0, 0, 0)


@pytest.fixture
def lossless(tmp_path: Path) -> Peer:
    """A watcher that lists the tree again and again, and remembers it while it is down."""
    command = (sys.executable, "-m", "tests.unit.bench.polling_watcher", str(tmp_path / "memory.json"))
    return Peer("lossless", "", lambda: "1", command, WATCHDOG.words)


def test_who_loses_nothing_over_a_restart_is_found_to_report_the_difference(run: Run, lossless: Peer) -> None:
    """The goal of the row can be reached."""
    each = situations.EACH_CHANGED
    assert run("changed_while_down", lossless) == Difference(each, each, each, 0)


def test_who_looks_at_a_root_that_is_made_again_is_found_to_hear_all_of_it(run: Run, lossless: Peer) -> None:
    """The same."""
    found = run("root_made_again", lossless)
    assert isinstance(found, Delivered)
    assert found.heard == found.made == 2


def test_who_needs_no_watches_is_found_to_cover_every_directory(run: Run, lossless: Peer) -> None:
    """The same, with directories that are made while it looks."""
    found = run("watches_run_out_later", lossless)
    assert found == Delivered(situations.DIRECTORIES, situations.DIRECTORIES, Told())


def test_who_reports_a_file_once_is_found_to_report_none_twice(run: Run, lossless: Peer) -> None:
    """The same."""
    assert run("chains_by_a_script", lossless) == Exactness(0, 0)
