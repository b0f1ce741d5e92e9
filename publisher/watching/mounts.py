"""Whether a directory that was lost is there again, and not merely what is below an unmounted file system."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from publisher.ledger_tables import LedgerRoot
from schemas.errors import OmeroFSError

if TYPE_CHECKING:
    from publisher.roots import Roots

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_POSITIVE = (1 << 63) - 1


def identify(roots: Roots, path: str) -> LedgerRoot:
    """Which directory is at `path` now; raises as `Roots.open`."""
    with roots.open(path) as root:
        found = root.stat()
        return LedgerRoot(found.st_dev, found.st_ino & _POSITIVE, _mount_point(root.fd))


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
    return os.fsdecode(_ESCAPE.sub(lambda escape: bytes([int(escape[1], 8)]), fields[4]))
