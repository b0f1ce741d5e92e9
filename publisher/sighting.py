"""One look at a file: what identifies its content, and whether anybody can still write to it.

The kernel reports a close, not the last one: a second writer may still have the file open. A read lease
(fcntl(2), F_SETLEASE) tells, because the kernel refuses one while anybody can write.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import stat
import struct
import time
from enum import Enum
from typing import NamedTuple

YOUNG_SECONDS = 1.0
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW = -100, 0x100
_STATX_BTIME, _BTIME_OFFSET = 0x800, 0x50
_statx = getattr(ctypes.CDLL(None), "statx", None)
POSITIVE = (1 << 63) - 1  # what SQLite's integers hold; some file systems count further

Signature = tuple[int, int, int, int]
"""(inode, size in bytes, mtime in nanoseconds, type as in st_mode >> 12): the content as it was reported."""
UNSEEN: Signature = (0, -1, 0, 0)
"""Stands for a file that was reported and could not be looked at: differs from whatever is found later."""


class Openness(Enum):
    """What can be told about writers of a file."""

    OPEN = "somebody can still write"
    CLOSED = "nobody can"
    UNKNOWN = "the system does not tell this process"
    SPECIAL = "a link, FIFO, socket or device: nothing ever closes it"
    GONE = "no such file"


class Sighting(NamedTuple):
    """One look at a file."""

    openness: Openness
    signature: Signature | None = None
    links: int = 1
    young: bool = False


def signature_of(found: os.stat_result) -> Signature:
    """What identifies the content of the file that was found so."""
    return (found.st_ino & POSITIVE, found.st_size, found.st_mtime_ns & POSITIVE, found.st_mode >> 12 & 0xF)


def glance(path: str) -> Signature | None:
    """The signature alone, None if the file cannot be seen; opens nothing."""
    try:
        return signature_of(os.lstat(path))
    except OSError:
        return None


_LOOK_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_SETSIG, _SIGURG = fcntl.F_SETSIG, int(signal.SIGURG)
_SETLEASE, _READ_LEASE = fcntl.F_SETLEASE, fcntl.F_RDLCK
_REPLACED = Sighting(Openness.GONE)
"""There is a directory by now: the file that had the name before is gone."""


def look(path: str) -> Sighting:
    """Looks at the file `path` without following a link; never blocks, never opens what is not a regular file."""
    try:
        found = os.lstat(path)
    except OSError as exc:
        return _unseen(exc)
    kind = found.st_mode & 0o170000
    if kind != stat.S_IFREG:
        if kind == stat.S_IFDIR:
            return _REPLACED
        return Sighting(Openness.SPECIAL, signature_of(found), found.st_nlink)
    openness, found = _writers(path, found)
    young = abs(time.time() - found.st_ctime) < YOUNG_SECONDS
    return Sighting(openness, signature_of(found), found.st_nlink, young)


def is_another_file(path: str, before: Signature) -> bool:
    """Whether the file at `path` is another than that of `before`, and not the same one with other content.

    Inodes are used again at once on many file systems; a file made since has a later time of birth (statx(2)).
    """
    try:
        found = os.lstat(path)
    except OSError:
        return False
    now = signature_of(found)
    if (now[0], now[3]) != (before[0], before[3]):
        return True
    born_ns = birth_ns(path)
    return born_ns is not None and born_ns > before[2]


def birth_ns(path: str) -> int | None:
    """When a file was made, in nanoseconds since the epoch, None where file system or C library do not tell."""
    if _statx is None:
        return None
    buffer = ctypes.create_string_buffer(256)  # struct statx
    done = _statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, buffer)
    if done != 0 or not struct.unpack_from("=I", buffer)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_OFFSET)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def look_from_afar(path: str) -> Sighting:
    """Looks at `path` on a share, where writers on other machines cannot be told: never `CLOSED`."""
    try:
        found = os.lstat(path)
    except OSError as exc:
        return _unseen(exc)
    if stat.S_ISDIR(found.st_mode):
        return _REPLACED
    openness = Openness.UNKNOWN if stat.S_ISREG(found.st_mode) else Openness.SPECIAL
    return Sighting(openness, signature_of(found), found.st_nlink)


def _unseen(exc: OSError) -> Sighting:
    gone = exc.errno in {errno.ENOENT, errno.ENOTDIR}
    return Sighting(Openness.GONE if gone else Openness.UNKNOWN)


def _writers(path: str, found: os.stat_result) -> tuple[Openness, os.stat_result]:
    """Whether anybody can write to a regular file, and how it was then: if nobody can, as the last one left it."""
    try:
        fd = os.open(path, _LOOK_FLAGS)
    except OSError as exc:
        return (Openness.GONE if exc.errno == errno.ENOENT else Openness.UNKNOWN), found
    try:
        # A writer that comes this moment has the kernel signal us: by one that is ignored, SIGIO would kill.
        fcntl.fcntl(fd, _SETSIG, _SIGURG)
        fcntl.fcntl(fd, _SETLEASE, _READ_LEASE)
        return Openness.CLOSED, os.fstat(fd)
    except OSError as exc:
        return (Openness.OPEN if exc.errno == errno.EAGAIN else Openness.UNKNOWN), found
    finally:
        os.close(fd)  # the lease ends with the descriptor
