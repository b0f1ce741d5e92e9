"""Which mounts are local: by the kernel's table of mounts, and only while that is what it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from control import local_mounts
from control.local_mounts import LocalMounts
from publisher.beneath import mount_number


class Table:
    """A mount table in which this directory is of whatever kind, and a kernel that says when it changes."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "mountinfo"
        self.fd = os.open(directory, os.O_PATH)
        self.changed = False
        self.now = 100.0

    def says(self, kind: str) -> None:
        number = mount_number(self.fd)
        self.path.write_text(
            f"1 0 0:1 / / rw - rootfs rootfs rw\n{number} 1 8:1 / /x\\040y rw,noatime shared:1 - {kind} /dev/x rw\n"
        )

    def poll(self, _timeout: int) -> list[tuple[int, int]]:
        changed, self.changed = self.changed, False
        return [(0, 0)] if changed else []


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    made = Table(tmp_path)
    made.says("ext4")
    monkeypatch.setattr(local_mounts.time, "monotonic", lambda: made.now)
    yield made
    os.close(made.fd)


@pytest.fixture
def mounts(table: Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalMounts]:
    with LocalMounts(str(table.path)) as made:
        monkeypatch.setattr(made, "_poll", table)
        yield made


def test_nothing_is_local_before_the_table_was_read(table: Table, mounts: LocalMounts) -> None:
    """Whoever must not wait does not read it either."""
    assert not mounts.hold(table.fd)
    mounts.refresh()
    assert mounts.hold(table.fd)


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p", "overlay", "autofs", "ext4x", "zfs"]
)
def test_what_may_ask_somebody_else_is_not_local(table: Table, mounts: LocalMounts, kind: str) -> None:
    """Only file systems that are known to answer from memory are."""
    table.says(kind)
    mounts.refresh()
    assert not mounts.hold(table.fd)


def test_a_change_is_forgotten_until_the_table_is_read_again(table: Table, mounts: LocalMounts) -> None:
    """Something may be mounted under a number that was another's."""
    mounts.refresh()
    table.says("nfs4")
    table.changed = True
    assert not mounts.hold(table.fd)
    table.now += 2
    mounts.refresh()
    assert not mounts.hold(table.fd)


def test_what_is_mounted_later_is_found(table: Table, mounts: LocalMounts) -> None:
    """Though nobody looks at anything that was mounted before."""
    table.says("nfs4")
    mounts.refresh()
    assert not mounts.hold(table.fd)
    table.says("xfs")
    table.changed = True
    assert not mounts.hold(table.fd)
    table.now += 2
    mounts.refresh()
    assert mounts.hold(table.fd)


def test_a_change_while_the_table_is_read_counts(
    table: Table, mounts: LocalMounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is older than it."""
    mounts.refresh()
    table.changed = True
    assert not mounts.hold(table.fd)
    read = local_mounts._local_mounts

    def reading(text: bytes) -> frozenset[int]:
        mounts._changes += 1  # as `hold` does on its thread
        return read(text)

    table.now += 2
    monkeypatch.setattr(local_mounts, "_local_mounts", reading)
    mounts.refresh()
    assert not mounts.hold(table.fd)


def test_the_table_is_read_once_a_second_at_most(table: Table, mounts: LocalMounts) -> None:
    """There are hosts where something is mounted all the time."""
    mounts.refresh()
    table.changed = True
    assert not mounts.hold(table.fd)
    mounts.refresh()
    assert not mounts.hold(table.fd)
    table.now += 1
    mounts.refresh()
    assert mounts.hold(table.fd)


def test_without_a_table_nothing_is_local(table: Table, tmp_path: Path) -> None:
    """A host may hide it."""
    with LocalMounts(str(tmp_path / "absent")) as mounts:
        mounts.refresh()
        assert not mounts.hold(table.fd)


def test_the_kernels_own_table_tells_proc_from_tmpfs() -> None:
    """The real one; closing it twice is harmless."""
    with LocalMounts() as mounts:
        mounts.refresh()
        for path, local in (("/proc", False), ("/dev/shm", True)):
            fd = os.open(path, os.O_PATH)
            assert mounts.hold(fd) is local, path
            os.close(fd)
        mounts.close()
        mounts.refresh()


def test_a_descriptor_of_nothing_has_no_mount() -> None:
    """Nor is it an error."""
    assert mount_number(-7) is None
