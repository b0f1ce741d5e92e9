"""When a file is done, told by a scripted disk and a scripted clock."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from publisher import settling
from publisher.settling import Settled, Settler
from publisher.sighting import Openness, Sighting, glance, look


class Disk:
    """Answers as a test has set it."""

    def __init__(self) -> None:
        self.sighting = Sighting(Openness.CLOSED, (1, 1, 1, 8))

    def __call__(self, path: str) -> Sighting:
        return self.sighting

    def shows(self, openness: Openness, size: int = 1, *, links: int = 1, young: bool = False) -> None:
        self.sighting = Sighting(openness, (1, size, 1, 8), links, young)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def settler(disk: Disk) -> Settler:
    return Settler(settle_seconds=1.0, modify_interval_seconds=1.0, look=disk)


def due(settler: Settler, now: float) -> list[tuple[str, str]]:
    return [(settled.path, settled.verdict) for settled in settler.due(now)]


def verdict(settled: Settled | None) -> str | None:
    return settled and settled.verdict


def test_a_closed_file_is_done_at_once(settler: Settler) -> None:
    """The last writer's close completes a file."""
    settler.expect("/f", 0.0)
    assert settler.holds("/f")
    assert verdict(settler.closed("/f", 0.1)) == "Create"
    assert not settler.holds("/f")
    assert settler.due_at() is None


@pytest.mark.parametrize("openness", [Openness.UNKNOWN, Openness.GONE])
def test_a_close_is_trusted_where_nothing_else_can_be_told(
    settler: Settler, disk: Disk, openness: Openness
) -> None:
    """Where the system does not tell, or the file has gone since, the close itself counts."""
    disk.shows(openness)
    settler.expect("/f", 0.0)
    assert verdict(settler.closed("/f", 0.1)) == "Create"


def test_a_closed_file_out_of_sight_waits_for_the_record_of_that(settler: Settler, disk: Disk) -> None:
    """Deleted, it was there; with its directory renamed, it is done where that is now; neither told, nobody asks."""
    disk.shows(Openness.GONE)
    for path in ("/deleted", "/old/f", "/never"):
        settler.lost_sight(path, "Create", 0.0)
    assert due(settler, 3.0) == []
    assert settler.forget("/deleted") == ("Create",)
    disk.shows(Openness.CLOSED)
    settler.moved_below("/old/", "/new/", 3.0)
    assert due(settler, 3.1) == [("/new/f", "Create")]
    disk.shows(Openness.GONE)
    assert due(settler, 9.0) == []
    assert settler.take_gone() == ["/never"]
    assert settler.due_at() is None


def test_a_close_with_another_writer_is_looked_at_again_ever_less_often(settler: Settler, disk: Disk) -> None:
    """First a millisecond later, as the kernel counts a writer out after its close; then with growing pauses."""
    disk.shows(Openness.OPEN)
    settler.expect("/f", 0.0)
    assert settler.closed("/f", 10.0) is None
    times = []
    for _ in range(15):
        at = settler.due_at()
        assert at is not None
        times.append(at)
        assert due(settler, at) == []
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times[0] == 10.0 + settling.RECHECK_FIRST_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(settling.RECHECK_LAST_SECONDS)
    disk.shows(Openness.CLOSED)
    at = settler.due_at()
    assert at is not None
    assert due(settler, at) == [("/f", "Create")]


def test_a_new_file_without_a_close_is_never_taken_for_done_blindly(settler: Settler, disk: Disk) -> None:
    """A file that was made and not closed stays awaited while the system does not tell that it is closed."""
    disk.shows(Openness.UNKNOWN)
    settler.expect("/f", 0.0)
    for now in range(1, 60):
        assert due(settler, float(now)) == []
    assert settler.holds("/f")


def test_a_file_found_by_listing_is_done_when_it_is_quiet(settler: Settler, disk: Disk) -> None:
    """Where nothing tells of writers, size and mtime must stay the same for the settle time."""
    disk.shows(Openness.UNKNOWN, size=1)
    assert settler.found("/f", 0.0) is None
    disk.shows(Openness.UNKNOWN, size=2)
    assert due(settler, 1.0) == []
    assert due(settler, 1.9) == []
    assert due(settler, 2.0) == [("/f", "Create")]


def test_a_file_found_just_after_it_was_made_is_looked_at_twice(settler: Settler, disk: Disk) -> None:
    """It is visible a moment before its maker counts as a writer."""
    disk.shows(Openness.CLOSED, young=True)
    assert settler.found("/f", 0.0) is None
    disk.shows(Openness.OPEN)
    assert due(settler, settling.YOUNG_RECHECK_SECONDS) == []
    assert settler.closed("/f", 1.0) is None
    disk.shows(Openness.CLOSED)
    assert verdict(settler.closed("/f", 1.1)) == "Create"


def test_a_hard_link_is_done_unless_somebody_writes_to_the_file(settler: Settler, disk: Disk) -> None:
    """Nothing ever closes a hard link."""
    disk.shows(Openness.CLOSED, links=2)
    assert settler.made("/l", 0.0)
    disk.shows(Openness.OPEN, links=2)
    assert not settler.made("/m", 0.0)
    disk.shows(Openness.CLOSED, links=1)
    assert not settler.made("/n", 0.0)
    assert due(settler, 10.0) == [("/m", "Create"), ("/n", "Create")]


def test_growth_is_reported_at_intervals_and_at_the_close(settler: Settler, disk: Disk) -> None:
    """One Modify an interval while it grows, none while it does not, one at the close."""
    disk.shows(Openness.OPEN)
    settler.written("/f", 0.0)
    settler.written("/f", 0.5)
    assert due(settler, 0.9) == []
    assert due(settler, 1.0) == [("/f", "Modify")]
    assert due(settler, 2.0) == []
    settler.written("/f", 2.5)
    assert due(settler, 3.0) == [("/f", "Modify")]
    assert settler.closed_after_writing("/f")
    assert not settler.closed_after_writing("/f")
    assert settler.due_at() is None


def test_a_write_by_name_is_forgotten_once_it_is_reported(settler: Settler, disk: Disk) -> None:
    """truncate(2) opens nothing, so no close will come."""
    settler.written("/f", 0.0)
    assert due(settler, 1.0) == [("/f", "Modify")]
    assert due(settler, 2.0) == []
    assert settler.due_at() is None


def test_the_last_look_takes_what_is_done_and_drops_the_rest(settler: Settler, disk: Disk) -> None:
    """A stopping monitor reports what was closed before, and writes that were not reported yet."""
    disk.shows(Openness.OPEN)
    settler.expect("/closed", 0.0)
    settler.closed("/closed", 0.0)
    settler.written("/written", 0.0)
    disk.shows(Openness.CLOSED)
    assert [(s.path, s.verdict) for s in settler.last_look()] == [
        ("/closed", "Create"),
        ("/written", "Modify"),
    ]
    assert not settler.holds("/closed")


def test_a_renamed_directory_takes_its_unfinished_files_along(settler: Settler, disk: Disk) -> None:
    """The same unfinished files have other paths."""
    disk.shows(Openness.OPEN)
    settler.expect("/old/f", 0.0)
    settler.written("/old/g", 0.0)
    settler.moved_below("/old/", "/new/", 0.0)
    disk.shows(Openness.CLOSED)
    assert sorted(due(settler, 5.0)) == [("/new/f", "Create"), ("/new/g", "Modify")]


def test_what_nobody_writes_to_is_seen_as_its_last_writer_left_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that ends between the two halves of a look: what is seen is what it wrote."""
    file = tmp_path / "file"
    file.write_text("begun")
    lstat = os.lstat

    def slow_lstat(path: str) -> os.stat_result:
        found = lstat(path)
        file.write_text("begun and done")
        return found

    monkeypatch.setattr(os, "lstat", slow_lstat)
    sighting = look(str(file))
    monkeypatch.undo()
    assert (sighting.openness, sighting.signature) == (Openness.CLOSED, glance(str(file)))


def test_a_look_at_the_disk_tells_writers_links_and_absence(tmp_path: Path) -> None:
    """The read lease tells an open file from a closed one; special files are never opened."""
    path = tmp_path / "f"
    with path.open("w"):
        assert look(str(path)).openness is Openness.OPEN
    assert look(str(path)).openness is Openness.CLOSED
    with path.open():
        assert look(str(path)).openness is Openness.CLOSED
    assert look(str(path)).young
    assert look(str(tmp_path / "none")).openness is Openness.GONE
    (tmp_path / "l").symlink_to(path)
    os.mkfifo(tmp_path / "p")
    assert look(str(tmp_path / "l")).openness is Openness.SPECIAL
    assert look(str(tmp_path / "p")).openness is Openness.SPECIAL


def test_files_that_a_listing_found_wait_for_room(disk: Disk) -> None:
    """They are not looked at until there is; what a record has announced does not wait."""
    room = False
    settler = Settler(
        settle_seconds=1.0, modify_interval_seconds=1.0, look=lambda _: disk.sighting, has_room=lambda: room
    )
    disk.shows(Openness.OPEN)
    for path in ("/found", "/gone"):
        assert settler.found(path, 0.0) is None
    settler.expect("/announced", 0.0)
    disk.shows(Openness.CLOSED)
    assert due(settler, 100.0) == [("/announced", "Create")]
    assert settler.holds_back
    assert settler.due_at() is None
    settler.forget("/gone")
    room = True
    assert due(settler, 200.0) == [("/found", "Create")]
    assert not settler.holds_back
