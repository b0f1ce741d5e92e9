"""File systems that come and go below a monitor's root, on real mounts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from publisher.watching.mounts import MountTable
from tests.unit.watching.conftest import Site
from tests.waiting import eventually

Mount = Callable[[Path], None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts an empty tmpfs; what is mounted still at the end is unmounted."""
    with ExitStack() as stack:

        def mounted(at: Path) -> None:
            done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", at], capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
            stack.callback(subprocess.run, ["umount", "-l", at], capture_output=True, check=False)

        yield mounted


def test_the_mount_table_tells_what_changed(mount: Mount, tmp_path: Path) -> None:
    """Each mount and unmount once, however its path is spelled."""
    at = tmp_path / "a b\\c"
    at.mkdir()
    table = MountTable()
    assert not table.changes()
    mount(at)
    assert str(at) in table.changes()
    assert not table.changes()
    subprocess.run(["umount", at], check=True)
    assert str(at) in table.changes()
    table.close()
    table.close()
    assert not MountTable("/proc/self/none").changes()


def test_what_is_mounted_over_a_watched_directory_is_watched(site: Site, mount: Mount) -> None:
    """A disk mounted after the monitor was started: its files are reported, those it covers are gone."""
    disk = site.root / "disk"
    (disk / "sub").mkdir(parents=True)
    (disk / "sub" / "covered").touch()
    monitor = site.monitor()
    mount(disk)
    eventually(lambda: ("Delete", "disk/sub/covered") in site.events(monitor))
    (disk / "sub").mkdir()
    (disk / "sub" / "new").touch()
    eventually(lambda: ("Create", "disk/sub/new") in site.events(monitor))
    since = len(site.events(monitor))
    subprocess.run(["umount", disk], check=True)
    eventually(lambda: "not mounted" in str(monitor.last_error))
    assert site.after(monitor)[since:] == []
    mount(disk)
    (disk / "other").touch()
    eventually(lambda: ("Create", "disk/other") in site.events(monitor))
    assert ("Delete", "disk/sub/new") in site.events(monitor)
    assert monitor.last_error is None


def test_what_is_mounted_over_the_root_is_watched(site: Site, mount: Mount) -> None:
    """A monitor that started on the empty mount point of a disk is not deaf to the disk."""
    below = site.root / "below"
    below.mkdir()
    monitor = site.monitor(path_string=str(below))
    mount(below)
    (below / "new").touch()
    eventually(lambda: ("Create", "below/new") in site.events(monitor))
    assert site.events(monitor)[:2] == [("System", "Root lost"), ("System", "Root restored")]
