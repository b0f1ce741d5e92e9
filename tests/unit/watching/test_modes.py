"""Path modes, filters, monitor types and the start and stop of a monitor, on real files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from publisher.admission import check_spec
from publisher.monitor import Monitor
from publisher.storing.ledger_tables import LedgerRoot
from publisher.watching import descriptors
from publisher.watching.mounts import find_again, identify
from schemas.errors import (
    NotADirectoryFSError,
    NotFoundError,
    OmeroFSError,
    PathNotAllowedError,
    UnsupportedError,
)
from schemas.monitors import MonitorSpec, MonitorState
from tests.unit.watching.conftest import Site
from tests.waiting import eventually, stays


def test_flat_watches_the_directory_itself_only(site: Site) -> None:
    """Flat: the directory itself, not below; a new directory yields its own event."""
    (site.root / "old").mkdir()
    monitor = site.monitor(p_mode="Flat")
    (site.root / "new").mkdir()
    (site.root / "old" / "f").touch()
    (site.root / "new" / "f").touch()
    (site.root / "f").touch()
    assert site.after(monitor) == [("Create", "new"), ("Create", "f")]


def test_recurse_watches_what_exists_at_the_start(site: Site) -> None:
    """Recurse: subdirectories that exist at start; one created later yields its own event only."""
    (site.root / "old").mkdir()
    monitor = site.monitor(p_mode="Recurse")
    (site.root / "new").mkdir()
    (site.root / "new" / "f").touch()
    (site.root / "old" / "f").touch()
    (site.root / "old").rename(site.root / "renamed")
    assert site.after(monitor) == [
        ("Create", "new"),
        ("Create", "old/f"),
        ("Delete", "old/f"),
        ("Delete", "old"),
        ("Create", "renamed"),
    ]


def test_filters_drop_names_and_do_not_enter_dropped_directories(site: Site) -> None:
    """Whitelist for files, blacklist for both; a blacklisted directory is not even watched."""
    (site.root / "skip").mkdir()
    monitor = site.monitor(whitelist=(".tif",), blacklist=("skip", "bad*"))
    for name in ("a.tif", "b.txt", "bad.tif", "skip/c.tif"):
        (site.root / name).touch()
    (site.root / "sub").mkdir()
    (site.root / "sub" / "d.tif").touch()
    (site.root / "b.txt").rename(site.root / "b.tif")
    eventually(lambda: ("Create", "sub/d.tif") in site.events(monitor))
    eventually(lambda: len(site.events(monitor)) == 4)
    assert sorted(site.events(monitor)) == sorted(
        ("Create", path) for path in ("a.tif", "sub", "sub/d.tif", "b.tif")
    )
    assert monitor.coverage.watched == 2
    assert monitor.counters.filtered >= 2


def test_system_files_are_left_out_unless_they_are_wanted(site: Site) -> None:
    """ignoreSysFiles drops dot files and leftovers, directories of those names with all they hold."""
    without, with_them = site.monitor(), site.monitor(ignore_sys_files=False)
    (site.root / ".hidden").mkdir()
    for name in (".DS_Store", "Thumbs.db", ".hidden/f", "real"):
        (site.root / name).touch()
    assert site.after(without) == [("Create", "real")]
    eventually(lambda: len([e for e in site.events(with_them) if not e[1].startswith("mark")]) == 5)


def test_directory_events_can_be_left_out_and_are_followed_all_the_same(site: Site) -> None:
    """ignoreDirEvents drops directory events but still watches and scans."""
    monitor = site.monitor(ignore_dir_events=True)
    (site.root / "d" / "e").mkdir(parents=True)
    (site.root / "d" / "e" / "f").touch()
    eventually(lambda: site.events(monitor) == [("Create", "d/e/f")])


def test_a_one_shot_stops_after_its_first_block(site: Site) -> None:
    """OneShot publishes its first block, then is Stopped, durably; it can be started again."""
    monitor = site.monitor(m_type="OneShot", block_size=2)
    for name in "abc":
        (site.root / name).touch()
    eventually(lambda: monitor.state is MonitorState.STOPPED)
    assert site.events(monitor) == [("Create", "a"), ("Create", "b")]
    assert site.store.monitors()[0].state is MonitorState.STOPPED
    eventually(lambda: site.stopped == [monitor.id])
    monitor.start()
    (site.root / "d").touch()
    eventually(lambda: site.events(monitor)[2:] == [("Create", "d")])
    assert [block.sequence for block in site.blocks(monitor)] == [1, 2]


def test_a_one_shot_that_loses_its_root_says_so(site: Site) -> None:
    """What it ends with is never nothing."""
    below = site.root / "below"
    below.mkdir()
    monitor = site.monitor(m_type="OneShot", path_string=str(below))
    below.rmdir()
    eventually(lambda: monitor.state is MonitorState.STOPPED)
    assert [event.file_id for event in site.infos(monitor)] == ["Root lost"]


def test_a_one_shot_that_waits_too_long_says_so(site: Site) -> None:
    """If timeout passes first: System `Timed out`, and Stopped."""
    monitor = site.monitor(m_type="OneShot", timeout=0.1)
    eventually(lambda: monitor.state is MonitorState.STOPPED)
    [event] = site.infos(monitor)
    assert (event.type, event.file_id) == ("System", "Timed out")
    assert event.detail is not None
    assert event.detail["code"] == "timed-out"


def test_an_inactivity_monitor_ends_when_nothing_happens_any_more(site: Site) -> None:
    """Inactivity publishes events as they come, each restarts the timer; then System `Inactive`, and Stopped."""
    monitor = site.monitor(m_type="Inactivity", timeout=0.4)
    for number in range(4):
        (site.root / f"f{number}").touch()
        stays(lambda: monitor.state is MonitorState.STARTED, seconds=0.2)
    eventually(lambda: monitor.state is MonitorState.STOPPED)
    assert [event.type for event in site.infos(monitor)] == ["Create"] * 4 + ["System"]
    assert site.infos(monitor)[-1].file_id == "Inactive"


def test_a_system_event_is_alone_in_its_block(site: Site) -> None:
    """A System event is always alone, after the partial block before it."""
    monitor = site.monitor(m_type="Inactivity", timeout=0.05, block_size=100)
    (site.root / "f").touch()
    eventually(lambda: monitor.state is MonitorState.STOPPED)
    types = [[event.type for event in block.events] for block in site.blocks(monitor)]
    assert types in ([["Create"], ["System"]], [["System"]])


def test_a_partial_block_goes_out_when_the_flow_pauses(site: Site) -> None:
    """A partial block is never held for long, whatever the block size."""
    monitor = site.monitor(block_size=0)
    (site.root / "f").touch()
    eventually(lambda: site.events(monitor) == [("Create", "f")], seconds=1)


def test_start_and_stop_can_be_repeated(site: Site) -> None:
    """Starting twice, stopping twice: no effect; a stopped monitor hears nothing and can be started again."""
    monitor = site.monitor(start=False)
    monitor.stop()
    (site.root / "before").touch()
    monitor.start()
    monitor.start()
    (site.root / "during").touch()
    monitor.stop()
    monitor.stop()
    (site.root / "after").touch()
    monitor.start()
    (site.root / "again").touch()
    monitor.stop()
    assert site.events(monitor) == [("Create", "during"), ("Create", "again")]
    assert [block.sequence for block in site.blocks(monitor)] == [1, 2]


def test_what_happened_before_a_stop_is_published(site: Site) -> None:
    """The stop takes everything that was closed before it, and the partial block goes out."""
    monitor = site.monitor(block_size=1000)
    for number in range(2500):
        (site.root / f"f{number}").touch()
    monitor.stop()
    assert len(site.events(monitor)) == 2500


def test_stopping_leaves_no_descriptor_behind(site: Site) -> None:
    """Start and stop give back what they took."""
    monitor = site.monitor(start=False)
    monitor.start()
    monitor.stop()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        monitor.start()
        monitor.stop()
    # Other threads open something for a moment, and what earlier tests left may go.
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_monitors_without_a_descriptor_of_their_own_share_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When descriptors run out monitors share one and stay independent of each other."""
    monkeypatch.setattr(descriptors, "OWN_DESCRIPTORS", 0)
    (site.root / "d").mkdir()
    whole = site.monitor(e_types=("Creation",))
    part = site.monitor(path_string=str(site.root / "d"), e_types=("Modification",))
    files = site.monitor(ignore_dir_events=True)
    (site.root / "d" / "f").write_text("x")
    eventually(lambda: ("Create", "d/f") in site.events(whole))
    (site.root / "d" / "f").write_text("y")
    eventually(lambda: site.events(part) == [("Modify", "d/f")])
    part.stop()
    (site.root / "d" / "g").touch()
    eventually(lambda: ("Create", "d/g") in site.events(whole))
    (site.root / "d").rename(site.root / "e")
    (site.root / "e" / "h").touch()
    eventually(lambda: ("Create", "e/h") in site.events(whole))
    assert site.events(part) == [("Modify", "d/f")]
    assert [event for event in site.events(whole) if event[0] == "Create"] == [
        ("Create", path) for path in ("d/f", "d/g", "e", "e/f", "e/g", "e/h")
    ]
    eventually(lambda: ("Create", "e/h") in site.events(files))


def test_a_start_fails_when_the_root_is_gone(site: Site) -> None:
    """A monitor whose directory vanished does not start, says why, and starts when it is back."""
    below = site.root / "below"
    below.mkdir()
    monitor = site.monitor(path_string=str(below), start=False)
    below.rmdir()
    with pytest.raises(NotFoundError, match="below"):
        monitor.start()
    assert monitor.state is MonitorState.STOPPED
    assert "below" in str(monitor.last_error)
    below.mkdir()
    monitor.start()
    assert monitor.last_error is None


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_a_lost_root_is_said_and_watched_again_when_it_is_back(site: Site, tmp_path: Path, how: str) -> None:
    """System `Root lost`, then `Root restored` and the differences; nothing of what it was renamed to."""
    below = site.root / "below"
    (below / "d").mkdir(parents=True)
    (below / "d" / "kept").touch()
    (below / "gone").touch()
    monitor = site.monitor(path_string=str(below))
    if how == "deleted":
        shutil.rmtree(below)
    else:
        below.rename(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "unseen").touch()
    eventually(lambda: site.infos(monitor)[-1:] and site.infos(monitor)[-1].file_id == "Root lost")
    assert "watched again" in str(monitor.last_error)
    before = len(site.infos(monitor))
    (below / "d").mkdir(parents=True)
    (below / "d" / "kept").touch()
    (below / "d" / "new").touch()
    eventually(lambda: ("Create", "below/d/new") in site.events(monitor))
    after = site.events(monitor)[before:]
    assert after[0] == ("System", "Root restored")
    if how == "renamed":
        assert sorted(after[1:]) == [
            ("Create", "below/d/new"),
            ("Delete", "below/gone"),
            ("Modify", "below/d/kept"),
        ]
    assert monitor.last_error is None
    (below / "d" / "later").touch()
    eventually(lambda: ("Create", "below/d/later") in site.events(monitor))


def test_an_empty_mount_point_is_not_taken_for_the_root(site: Site) -> None:
    """The same directory, or another in a file system mounted there or further down; nothing mounted further up."""
    below = site.root / "below"
    below.mkdir()
    path = str(below)
    now = identify(site.roots, path)

    def is_back(device: int, inode: int, mount_point: str) -> bool:
        return find_again(LedgerRoot(device, inode, mount_point), site.roots, path) == now

    assert is_back(now.device, now.inode, "/somewhere/else")
    assert is_back(now.device + 1, 7, now.mount_point)
    assert is_back(now.device + 1, 7, "/")
    assert not is_back(now.device + 1, 7, path)
    assert not is_back(now.device, now.inode + 1, f"{now.mount_point.rstrip('/')}/further")
    assert find_again(now, site.roots, str(site.root / "missing")) is None


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("relative", PathNotAllowedError),
        ("/", PathNotAllowedError),
        ("{root}/../other", PathNotAllowedError),
        ("{root}/escape", PathNotAllowedError),
        ("{root}/missing", NotFoundError),
        ("{root}/file", NotADirectoryFSError),
        ("{root}/file/below", NotADirectoryFSError),
    ],
)
def test_a_path_that_cannot_be_watched_is_refused(site: Site, path: str, error: type[OmeroFSError]) -> None:
    """Relative, missing, not a directory, or outside the roots, by `..` or by a link: each its own error."""
    (site.root / "file").touch()
    (site.root / "escape").symlink_to("/")
    spec = MonitorSpec(
        m_type="Persistent", e_types=("All",), p_mode="Flat", path_string=path.format(root=site.root)
    )
    with pytest.raises(error):
        check_spec(spec, site.roots)


def test_where_the_kernel_does_not_report_the_tree_is_polled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """platformCheck true refuses such a file system; false polls it and says so."""
    monkeypatch.setattr("publisher.admission.unreported", lambda _: "NFS")
    with pytest.raises(UnsupportedError, match="NFS"):
        site.monitor(platform_check=True)
    (site.root / "old").write_text("x")
    (site.root / "d").mkdir()
    monitor = site.monitor()
    assert monitor.coverage.polled
    (site.root / "d" / "new").write_text("x")
    eventually(lambda: site.events(monitor) == [("Create", "d/new")])
    (site.root / "old").write_text("longer")
    eventually(lambda: site.events(monitor)[1:] == [("Modify", "old")])
    (site.root / "d" / "new").unlink()
    (site.root / "d").rmdir()
    eventually(lambda: site.events(monitor)[2:] == [("Delete", "d/new"), ("Delete", "d")])
    monitor.stop()
    (site.root / "late").touch()
    stays(lambda: len(site.events(monitor)) == 4, seconds=0.3)


def test_an_overflow_is_said_and_made_up_for(site: Site) -> None:
    """The kernel's queue overflows while the reader is held: System `Overflow`, then what is missing."""
    (site.root / "old").touch()
    monitor = site.monitor(block_size=100)
    with site.held():
        (site.root / "old").unlink()
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        for number in range(limit // 2 + 2000):
            os.close(os.open(f"{site.root}/f{number}", os.O_CREAT | os.O_WRONLY))
        (site.root / "f7").unlink()
    eventually(lambda: any(e.file_id == "Overflow" for e in site.infos(monitor)))
    eventually(
        lambda: len({e.file_id for e in site.infos(monitor)} - {f"{site.root}/f7"}) == limit // 2 + 2001,
        every_seconds=0.2,  # it reads ten thousand events, at the cost of the thread that is waited for
    )
    state: dict[str, str] = {}
    for event, path in site.events(monitor):
        state[path] = event
    assert {path for path, event in state.items() if event == "Create"} == set(os.listdir(site.root))
    assert state["old"] == "Delete"
    assert state.get("f7", "Delete") == "Delete"


def test_a_monitor_that_dies_in_its_own_code_is_reported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error ends the reader thread and is handed to whoever supervises it."""
    monitor = site.monitor()

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Monitor, "_proceed", fail)
    (site.root / "f").touch()
    eventually(lambda: site.died)
    assert str(site.died.pop()) == "broken"
    assert monitor.state is MonitorState.STARTED
