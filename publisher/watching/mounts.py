"""Where file systems are mounted: whether a lost directory is back and not merely what was below, and what changes."""

from __future__ import annotations

import os
import re
import select
from typing import TYPE_CHECKING

from publisher.sighting import POSITIVE
from publisher.storing.ledger_tables import LedgerRoot
from schemas.errors import OmeroFSError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from publisher.roots import Roots

_ESCAPE = re.compile(rb"\\([0-7]{3})")


def identify(roots: Roots, path: str) -> LedgerRoot:
    """Which directory is at `path` now; raises as `Roots.open`."""
    with roots.open(path) as root:
        found = root.stat()
        return LedgerRoot(found.st_dev, found.st_ino & POSITIVE, _mount_point(root.fd))


def find_again(before: LedgerRoot, roots: Roots, path: str) -> LedgerRoot | None:
    """The directory at `path` if it stands in for the one of `before`, None if that is not back.

    It does if it is the same one, or another in a file system mounted at the same place or further down. In one
    mounted further up it is what an unmounted file system has left: an empty directory, most of the time.
    """
    try:
        now = identify(roots, path)
    except (OmeroFSError, OSError):
        return None
    same = (now.device, now.inode) == (before.device, before.inode)
    return now if same or _is_at_or_below(now.mount_point, before.mount_point) else None


def _is_at_or_below(mount_point: str, before: str) -> bool:
    return mount_point == before or mount_point.startswith(f"{before.rstrip('/')}/")


class MountTable:
    """The mount points of this process, and which were added or removed since the last look. One thread's."""

    def __init__(self, path: str = "/proc/self/mountinfo") -> None:
        """Reads proc_pid_mountinfo(5), which tells by poll(2) that it changed; where there is none nothing changes."""
        self._poll = select.poll()
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1
            return
        self._poll.register(self._fd, select.POLLPRI)
        self._mounts = self._read()

    def changes(self) -> AbstractSet[str]:
        """Mount points at which something was mounted or unmounted since this was asked before."""
        if self._fd < 0 or not self._poll.poll(0):
            return frozenset()
        before, self._mounts = self._mounts, self._read()
        return {path for _, path in before ^ self._mounts}

    def close(self) -> None:
        """Gives its descriptor back; harmless twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read(self) -> frozenset[tuple[bytes, str]]:
        with open(self._fd, "rb", closefd=False) as lines:
            lines.seek(0)
            return frozenset((fields[0], _unescape(fields[4])) for fields in map(bytes.split, lines))


def _mount_point(fd: int) -> str:
    """Where the file system of an open directory is mounted, "/" if that cannot be told.

    See proc_pid_fdinfo(5) and proc_pid_mountinfo(5).
    """
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as lines:
            mount_id = next((line.split()[1] for line in lines if line.startswith(b"mnt_id:")), None)
        with open("/proc/self/mountinfo", "rb") as lines:
            fields = next((fields for fields in map(bytes.split, lines) if fields[0] == mount_id), None)
    except OSError:
        return "/"
    if fields is None:
        return "/"
    return _unescape(fields[4])


def _unescape(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda escape: bytes([int(escape[1], 8)]), field))
