"""What a monitor owes after a time in which it did not watch, or could not record: the difference."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from publisher.errors import StoreError
from publisher.monitor import Monitor
from publisher.outbox import Outbox
from publisher.storing.outbox_table import OutboxTable
from publisher.storing.store import Store
from publisher.watching import descriptors
from publisher.watching.inotify import Inotify
from schemas.events import EventInfo
from schemas.monitors import MonitorState
from tests.unit.watching.conftest import Event, Site
from tests.waiting import eventually, stays


def scanned(site: Site, monitor: Monitor, since: int) -> list[Event]:
    """The events from number `since` on, all found by comparison."""
    infos = site.infos(monitor)[since:]
    assert [info for info in infos if info.type != "System" and info.origin != "scan"] == []
    return site.events(monitor)[since:]


def fill(root: Path) -> None:
    for name in ("kept", "changed", "gone", "replaced"):
        (root / name).write_text(name)
    for name in ("d", "d/deep", "away", "away/below"):
        (root / name).mkdir()
        (root / name / "file").write_text("x")


def change(root: Path) -> None:
    (root / "changed").write_text("changed since")
    (root / "gone").unlink()
    (root / "replaced").unlink()
    (root / "replaced").mkdir()
    (root / "new").write_text("new")
    (root / "d" / "deep" / "new").write_text("new")
    (root / "d2").mkdir()
    (root / "d2" / "file").write_text("x")
    shutil.rmtree(root / "away")


CHANGED = [
    ("Create", "d/deep/new"),
    ("Create", "d2"),
    ("Create", "d2/file"),
    ("Create", "new"),
    ("Create", "replaced"),
    ("Delete", "away"),
    ("Delete", "away/below"),
    ("Delete", "away/below/file"),
    ("Delete", "away/file"),
    ("Delete", "gone"),
    ("Delete", "replaced"),
    ("Modify", "changed"),
]


@pytest.mark.parametrize("before", ["at the start", "reported"])
def test_what_happened_between_two_runs_is_reported_once(site: Site, before: str) -> None:
    """Created, changed and deleted while nobody watched: each reported at the next start, marked as found by a scan."""
    if before == "at the start":
        fill(site.root)
        monitor = site.monitor()
    else:
        monitor = site.monitor()
        fill(site.root)
        eventually(lambda: ("Create", "away/below/file") in site.events(monitor))
    monitor.suspend()
    since = len(site.infos(monitor))
    change(site.root)
    monitor = site.restart(monitor)
    eventually(lambda: len(site.events(monitor)) - since >= len(CHANGED))
    found = scanned(site, monitor, since)
    assert sorted(found) == sorted(CHANGED)
    assert found.index(("Delete", "replaced")) < found.index(("Create", "replaced"))
    again = len(site.infos(monitor))
    monitor = site.restart(monitor)
    assert site.after(monitor)[again:] == []
    (site.root / "d2" / "live").write_text("x")
    eventually(lambda: site.events(monitor)[-1] == ("Create", "d2/live"))
    assert [block.sequence for block in site.blocks(monitor)] == list(range(1, len(site.blocks(monitor)) + 1))


def test_a_stop_and_a_start_report_nothing_of_the_time_between(site: Site) -> None:
    """startMonitor: events from this moment on; only a monitor that stayed Started is owed the difference."""
    monitor = site.monitor()
    (site.root / "before").touch()
    eventually(lambda: site.events(monitor) == [("Create", "before")])
    monitor.stop()
    assert site.store.ledgers.count(monitor.id) == (0, 0)
    (site.root / "between").touch()
    monitor.start()
    (site.root / "after").touch()
    eventually(lambda: site.events(monitor)[1:] == [("Create", "after")])


def test_a_file_unfinished_at_the_end_is_reported_when_it_is_done(site: Site) -> None:
    """Neither lost nor reported half-written, although its first half was written in another run."""
    monitor = site.monitor()
    with (site.root / "f").open("w") as file:
        file.write("first half")
        file.flush()
        monitor = site.restart(monitor)
        stays(lambda: site.events(monitor) == [], seconds=0.3)
    eventually(lambda: site.events(monitor) == [("Create", "f")])


def test_names_and_signatures_of_any_kind_survive(site: Site, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, times beyond 2262 and before 1970: known again, and not reported again."""
    monitor = site.monitor()
    times = {b"late": 12_000_000_000, b"early": -5}
    names = [b"\xff\xfe", "\N{SNOWMAN}".encode(), b"new\nline", b"late", b"early"]
    for name in names:
        (tmp_path / "new").write_text("x")
        if name in times:
            os.utime(tmp_path / "new", (times[name], times[name]))
        (tmp_path / "new").rename(site.root / os.fsdecode(name))
    eventually(lambda: len(site.events(monitor)) == len(names))
    monitor = site.restart(monitor)
    assert site.after(monitor)[len(names) :] == []
    (site.root / "late").unlink()
    monitor = site.restart(monitor)
    eventually(lambda: site.events(monitor)[-1] == ("Delete", "late"))


def test_a_directory_renamed_is_found_where_it_is_now(site: Site) -> None:
    """The ledger follows renames: nothing is owed after one that was reported."""
    fill(site.root)
    monitor = site.monitor()
    (site.root / "d").rename(site.root / "away" / "e")
    eventually(lambda: ("Create", "away/e/deep/file") in site.events(monitor))
    since = len(site.events(monitor))
    monitor = site.restart(monitor)
    assert site.after(monitor)[since:] == []
    shutil.rmtree(site.root / "away" / "e")
    eventually(lambda: ("Delete", "away/e") in site.events(monitor))
    assert ("Delete", "away/e/deep/file") in site.events(monitor)[since:]


def test_a_directory_renamed_before_it_was_compared_takes_all_it_holds_along(site: Site) -> None:
    """What the ledger knows of a directory counts, although it was not looked at since the start."""
    fill(site.root)
    monitor = site.monitor()
    monitor.suspend()
    (site.root / "d").rename(site.root / "e")
    monitor = site.restart(monitor)
    eventually(lambda: len(site.events(monitor)) >= 8)
    assert sorted(scanned(site, monitor, 0)) == sorted(
        [
            (what, path)
            for what, d in (("Delete", "d"), ("Create", "e"))
            for path in (d, f"{d}/file", f"{d}/deep", f"{d}/deep/file")
        ]
    )


@pytest.mark.parametrize("mode", ["Flat", "Recurse"])
def test_path_modes_hold_across_a_restart(site: Site, mode: str) -> None:
    """Flat looks at nothing below, Recurse at nothing in directories made since."""
    fill(site.root)
    monitor = site.monitor(p_mode=mode)
    (site.root / "later").mkdir()
    eventually(lambda: site.events(monitor) == [("Create", "later")])
    monitor.suspend()
    for directory in (".", "d", "later"):
        (site.root / directory / "new").touch()
    monitor = site.restart(monitor)
    expected = [("Create", "d/new"), ("Create", "new")] if mode == "Recurse" else [("Create", "new")]
    eventually(lambda: sorted(site.events(monitor)[1:]) == expected)
    assert sorted(site.after(monitor)[1:]) == expected


def test_a_root_that_is_missing_at_the_start_is_waited_for(site: Site) -> None:
    """A service that starts before its disk is mounted: said, no deletions, and the differences when it is there."""
    below = site.root / "below"
    below.mkdir()
    (below / "kept").touch()
    monitor = site.monitor(path_string=str(below))
    monitor.suspend()
    below.rename(site.root / "unmounted")
    monitor = site.restart(monitor)
    eventually(lambda: site.events(monitor) == [("System", "Root lost")])
    assert monitor.state is MonitorState.STARTED
    (site.root / "unmounted" / "new").touch()
    (site.root / "unmounted").rename(below)
    eventually(lambda: site.events(monitor)[1:] == [("System", "Root restored"), ("Create", "below/new")])


class FullOutbox(Outbox):
    """Accepts nothing while `full`."""

    full = False

    def has_room(self, monitor_id: str, size_bytes: int) -> bool:
        return not self.full and super().has_room(monitor_id, size_bytes)

    def spare_bytes(self, monitor_id: str) -> int:
        return 0 if self.full else super().spare_bytes(monitor_id)


def test_a_full_outbox_is_said_once_and_made_up_for(site: Site) -> None:
    """One System `gap`; then what happened meanwhile by comparison, in its final state."""
    outbox = site.outbox = FullOutbox(site.store)
    fill(site.root)
    monitor = site.monitor(block_size=3)
    outbox.full = True
    (site.root / "first").touch()
    eventually(lambda: monitor.paused)
    assert "no room" not in str(monitor.last_error)
    assert "bound" in str(monitor.last_error)
    change(site.root)
    stays(lambda: site.events(monitor) == [], seconds=0.2)
    outbox.full = False
    eventually(lambda: len(site.events(monitor)) > len(CHANGED) + 1)
    events = scanned(site, monitor, 0)
    assert events[0][0] == "System"
    assert events[0][1].startswith("Gap")
    assert sorted(events[1:]) == sorted([*CHANGED, ("Create", "first")])
    (site.root / "live").touch()
    eventually(lambda: site.events(monitor)[-1] == ("Create", "live"))
    assert (monitor.counters.gaps, monitor.last_error) == (1, None)


@pytest.mark.parametrize("polled", [False, True])
def test_what_a_comparison_finds_waits_for_room(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, polled: bool
) -> None:
    """It waits on the disk, in no more than half of the bound; what happens meanwhile is recorded at once."""
    if polled:
        FewWatches(monkeypatch, 0)
    outbox = site.outbox = Outbox(site.store, limit_bytes=1 << 20, monitor_limit_bytes=1 << 17)
    directories = [site.root / f"d{number}" for number in range(150)]
    for directory in directories:
        directory.mkdir()
    monitor = site.monitor(block_size=20)
    monitor.suspend()
    for directory in directories:
        for number in range(20):
            (directory / f"f{number}").touch()
    site.monitors.remove(monitor)
    stored = next(each for each in site.store.monitors() if each.id == monitor.id)
    monitor = site.again(stored.id, stored.spec, sequence=stored.sequence)
    monitor.start()
    eventually(lambda: outbox.size()[1] > 1 << 15)
    if not polled:
        (site.root / "live").touch()
        eventually(lambda: ("Create", "live") in site.events(monitor))
    stays(lambda: outbox.size()[1] < 3 << 15, seconds=0.3)
    told: list[Event] = []

    def drained() -> bool:
        blocks = site.blocks(monitor)
        infos = [event for block in blocks for event in block.events]
        told.extend((event.type, event.file_id) for event in infos if event.base_name.startswith("f"))
        if blocks:
            outbox.confirm({monitor.id: blocks[-1].sequence})
        return len(told) >= 3000

    eventually(drained)
    assert len(told) == len(set(told)) == 3000
    assert monitor.counters.gaps == 0


def test_a_disk_that_refuses_is_said_and_made_up_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a full outbox: the store's refusal is a gap, and nothing that was accepted is lost."""
    monitor = site.monitor()
    (site.root / "before").touch()
    eventually(lambda: site.events(monitor) == [("Create", "before")])
    append = site.store.entries.append

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(site.store.entries, "append", refuse)
    (site.root / "during").touch()
    eventually(lambda: monitor.paused)
    (site.root / "before").unlink()
    assert "disk is full" in str(monitor.last_error)
    monkeypatch.setattr(site.store.entries, "append", append)
    eventually(lambda: len(site.events(monitor)) >= 4)
    assert site.events(monitor)[1] == ("System", "Gap: the disk is full")
    assert sorted(scanned(site, monitor, 2)) == [("Create", "during"), ("Delete", "before")]


def test_a_stop_that_cannot_be_stored_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command fails, the monitor is Started still, and goes on when the disk does."""
    monitor = site.monitor()
    append = OutboxTable.append
    monkeypatch.setattr(OutboxTable, "append", lambda *_, **__: (_ for _ in ()).throw(StoreError("full")))
    monkeypatch.setattr(Store, "set_state", lambda *_, **__: (_ for _ in ()).throw(StoreError("full")))
    with pytest.raises(StoreError):
        monitor.stop()
    assert monitor.state is MonitorState.STARTED
    monkeypatch.setattr(OutboxTable, "append", append)
    (site.root / "f").touch()
    eventually(lambda: ("Create", "f") in site.events(monitor))


class FewWatches:
    """A kernel with a number of watches, shared by all descriptors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.left = count
        add, remove = Inotify.add, Inotify.remove
        watched: set[tuple[int, int]] = set()

        def limited_add(inotify: Inotify, fd: int, mask: int) -> int:
            if self.left <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            wd = add(inotify, fd, mask)
            if (inotify.fd, wd) not in watched:
                watched.add((inotify.fd, wd))
                self.left -= 1
            return wd

        monkeypatch.setattr(Inotify, "add", limited_add)
        monkeypatch.setattr(Inotify, "remove", remove)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_directories_without_a_watch_are_polled(
    site: Site, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Watches run out at the start: said once with what to do about it, and every change is reported all the same."""
    directories = [site.root / f"d{number}" for number in range(6)]
    for directory in directories:
        directory.mkdir()
        (directory / "old").write_text("old")
    kernel = FewWatches(monkeypatch, count)
    monitor = site.monitor(block_size=100)
    assert (monitor.coverage.watched, monitor.coverage.directories) == (count, 7)
    assert monitor.coverage.polled
    assert "max_user_watches" in str(monitor.last_error)
    for directory in directories:
        (directory / "new").write_text("new")
        (directory / "old").write_text("longer than it was")
        (directory / "sub").mkdir()
        (directory / "sub" / "file").touch()
    expected = {
        (what, f"{directory.name}/{name}")
        for directory in directories
        for what, name in (("Create", "new"), ("Modify", "old"), ("Create", "sub"), ("Create", "sub/file"))
    }
    eventually(lambda: expected <= set(site.events(monitor)))
    limits = [info for info in site.infos(monitor) if info.file_id == "Watch limit"]
    assert [info.detail and info.detail["code"] for info in limits] == ["watch-limit"]
    assert len(site.events(monitor)) == len(expected) + 1
    kernel.left = 100
    eventually(lambda: monitor.coverage.watched == monitor.coverage.directories == 13)
    eventually(lambda: site.infos(monitor)[-1].file_id == "Coverage restored")
    assert monitor.last_error is None
    for directory in directories:
        (directory / "sub" / "file").unlink()
    eventually(lambda: len(site.events(monitor)) == len(expected) + 2 + 6)


def test_watches_that_run_out_later_lose_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories made when the kernel has no watch left are polled from then on."""
    FewWatches(monkeypatch, 3)
    monitor = site.monitor(block_size=100)
    for number in range(10):
        (site.root / f"d{number}").mkdir()
        (site.root / f"d{number}" / "f").touch()
    eventually(lambda: len([event for event in site.events(monitor) if event[0] == "Create"]) == 20)
    assert ("System", "Watch limit") in site.events(monitor)


def test_without_any_descriptor_everything_is_polled(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """max_user_instances reached: told apart from the lack of watches."""

    def refuse(_: Inotify) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Inotify, "__init__", refuse)
    monkeypatch.setattr(descriptors.Descriptors, "close", lambda _: None)
    (site.root / "d").mkdir()
    monitor = site.monitor()
    assert "max_user_instances" in str(monitor.last_error)
    (site.root / "d" / "f").touch()
    eventually(lambda: ("Create", "d/f") in site.events(monitor))
    assert site.infos(monitor)[0].file_id == "Watch limit"


def test_an_overflow_tells_of_changed_content_too(site: Site) -> None:
    """A modification whose records were dropped is found by its size or time."""
    (site.root / "old").write_text("x")
    monitor = site.monitor(block_size=100)
    with site.held():
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        for number in range(limit // 2 + 2000):
            os.close(os.open(f"{site.root}/f{number}", os.O_CREAT | os.O_WRONLY))
        (site.root / "old").write_text("longer")
    eventually(lambda: ("Modify", "old") in site.events(monitor))
    eventually(lambda: len(site.events(monitor)) == limit // 2 + 2002)


def test_a_million_rows_are_given_back_in_portions(site: Site) -> None:
    """What a stopped monitor leaves in the ledger is deleted bit by bit, whoever asks."""
    for number in range(5000):
        os.close(os.open(f"{site.root}/f{number}", os.O_CREAT | os.O_WRONLY))
    monitor = site.monitor()
    assert site.store.ledgers.count() == (1, 5000)
    monitor.stop()
    assert site.store.ledgers.count() == (0, 5000)
    portions = 1
    while site.store.ledgers.purge():
        portions += 1
    assert portions == 3
    assert site.store.ledgers.count() == (0, 0)


def test_what_is_not_wanted_is_known_all_the_same(site: Site) -> None:
    """A monitor of deletions only owes the deletion of what was made and deleted in different runs."""
    monitor = site.monitor(e_types=("Deletion",))
    (site.root / "f").touch()
    eventually(lambda: site.store.ledgers.count(monitor.id) == (1, 1))
    monitor.suspend()
    (site.root / "f").unlink()
    monitor = site.restart(monitor)
    eventually(lambda: [(i.type, i.base_name) for i in site.infos(monitor)] == [("Delete", "f")])
    assert isinstance(site.infos(monitor)[0], EventInfo)


@pytest.mark.parametrize("how", ["replaced", "deleted and made again"])
def test_a_file_made_again_is_created_for_who_hears_of_creations_alone(
    site: Site, tmp_path: Path, how: str
) -> None:
    """Deleted and made again between two runs; one that was only written to is no creation."""
    (site.root / "again").write_text("first")
    (site.root / "written").write_text("first")
    monitor = site.monitor(e_types=("Creation",))
    (site.root / "before").touch()
    eventually(lambda: site.events(monitor) == [("Create", "before")])
    monitor.suspend()
    if how == "replaced":
        (tmp_path / "other").write_text("second")
        (tmp_path / "other").rename(site.root / "again")
    else:
        (site.root / "again").unlink()
        (site.root / "again").write_text("second")
    (site.root / "written").write_text("second")
    monitor = site.restart(monitor)
    eventually(lambda: site.events(monitor)[1:] == [("Create", "again")])
    (site.root / "after").touch()
    eventually(lambda: site.events(monitor)[1:] == [("Create", "again"), ("Create", "after")])


def test_a_damaged_store_is_said_once_and_everything_is_reported_anew(site: Site) -> None:
    """With nothing left of the ledger, what exists is found by a scan, after a System `gap`."""
    fill(site.root)
    monitor = site.monitor()
    monitor.suspend()
    site.monitors.remove(monitor)
    site.store.ledgers.drop(monitor.id)
    monitor = site.again(monitor.id, monitor.spec)
    monitor.make_up()
    eventually(lambda: len(site.events(monitor)) == 1 + 4 + 8)
    events = scanned(site, monitor, 0)
    assert events[0][1].startswith("Gap: the store was damaged")
    assert {what for what, _ in events[1:]} == {"Create"}
    assert monitor.counters.gaps == 1
    monitor = site.restart(monitor)
    assert site.after(monitor)[len(events) :] == []


def test_a_damaged_store_whose_ledger_was_saved_owes_the_difference_alone(site: Site) -> None:
    """A root that is missing meanwhile keeps it waiting, and the gap is told once all the same."""
    (site.root / "known").touch()
    monitor = site.monitor()
    monitor.suspend()
    (site.root / "new").touch()
    site.monitors.remove(monitor)
    monitor = site.again(monitor.id, monitor.spec)
    monitor.make_up()
    eventually(lambda: site.events(monitor)[1:] == [("Create", "new")])
    assert len(site.after(monitor)) == 2
