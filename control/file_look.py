"""What one file is: its stats as the contract has them, of a descriptor that no rename can exchange.

`look` tells it of any path. `look_at_once` tells it where that takes no waiting, for a thread that must not wait.
"""

from __future__ import annotations

import os
import posixpath
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import NotFoundError
from schemas.files import FileStats, FileType

if TYPE_CHECKING:
    from control.local_mounts import LocalMounts
    from publisher.roots import Roots

_OWNERS_LIMIT = 4096
_owners: dict[int, str] = {}


@dataclass(frozen=True, slots=True)
class FileLook:
    """One look at a path.

    Attributes:
        base_name: The last component.
        type: Of the entry itself: a link is a Link wherever it leads.
        status: Of the entry, or of what the link leads to; a link that leads nowhere has its own.
        known_owner: Who owns it, if that was known; None to look it up.
    """

    base_name: str
    type: FileType
    status: os.stat_result
    known_owner: str | None = None

    @property
    def owner(self) -> str:
        """Who owns it: a name, or the uid where that has no name."""
        return self.known_owner or owner_name(self.status.st_uid)

    def stats(self) -> FileStats:
        """As the contract has it."""
        return file_stats(self.base_name, self.type, self.status, self.known_owner)


def look(roots: Roots, path: str) -> FileLook:
    """Looks at `path`.

    A link is followed inside the roots: size, times and owner are those of the content that readBlock reads.

    Raises:
        OmeroFSError: The path leads outside the roots, is not there, or may not be looked at.
    """
    base_name = posixpath.basename(posixpath.normpath(path))
    with roots.open(path, follow=False) as entry:
        status = entry.stat()
        kind = file_type(entry.fd, status)
    if kind is not FileType.LINK:
        return FileLook(base_name, kind, status)
    try:
        return FileLook(base_name, kind, roots.stat(path, follow=True))
    except NotFoundError:
        return FileLook(base_name, kind, status)


def look_at_once(roots: Roots, mounts: LocalMounts, path: str) -> FileLook | None:
    """The same for a file that is no link and no directory, if nothing has to be waited for; else None.

    The kernel has the path in its cache and the inode in memory, and the file system is of those that tell an
    inode's status from memory. The owner's name may not be known: asking for it may take long.
    """
    opened = roots.open_at_once(path)
    if opened is None:
        return None
    with opened:
        if not mounts.hold(opened.fd):
            return None
        status = opened.stat()
    if stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
        return None  # a mount, or a way that has to be followed
    kind = FileType.FILE if stat.S_ISREG(status.st_mode) else FileType.UNKNOWN
    return FileLook(posixpath.basename(path), kind, status, _owners.get(status.st_uid))


def file_type(fd: int, status: os.stat_result) -> FileType:
    """The type of what the O_PATH descriptor `fd`, opened without following links, stands for."""
    if stat.S_ISDIR(status.st_mode):
        return FileType.MOUNT if _is_mount(fd, status) else FileType.DIR
    if stat.S_ISLNK(status.st_mode):
        return FileType.LINK
    return FileType.FILE if stat.S_ISREG(status.st_mode) else FileType.UNKNOWN


def file_stats(
    base_name: str, kind: FileType, status: os.stat_result, known_owner: str | None = None
) -> FileStats:
    """The contract's FileStats of a stat(2) result."""
    return FileStats(
        base_name=base_name,
        owner=known_owner or owner_name(status.st_uid),
        size=status.st_size,
        m_time=status.st_mtime,
        c_time=status.st_ctime,
        a_time=status.st_atime,
        type=kind,
    )


def unknown_stats(base_name: str) -> FileStats:
    """Of an entry that cannot be looked at."""
    return FileStats(
        base_name=base_name, owner="", size=0, m_time=0.0, c_time=0.0, a_time=0.0, type=FileType.UNKNOWN
    )


def owner_name(uid: int) -> str:
    """The user's name, which may take a directory service to find; the uid as text where it has none."""
    name = _owners.get(uid)
    if name is None:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
        if len(_owners) >= _OWNERS_LIMIT:
            _owners.clear()
        _owners[uid] = name
    return name


def _is_mount(fd: int, status: os.stat_result) -> bool:
    """Whether a directory is where something is mounted: it and its parent are of different mounts.

    The mount number tells bind mounts too, which the device number does not (proc_pid_fdinfo(5)).
    """
    with suppress(OSError):
        parent = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=fd)
        try:
            above = os.fstat(parent)
            is_top = (above.st_dev, above.st_ino) == (status.st_dev, status.st_ino)
            return is_top or _mount_id(fd) != _mount_id(parent)
        finally:
            os.close(parent)
    return False


def _mount_id(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        return next((line for line in lines if line.startswith("mnt_id:")), "")
