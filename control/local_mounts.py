"""On which mounts the kernel tells an inode's status from memory, so that looking at one waits for nobody."""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from publisher.beneath import mount_number

if TYPE_CHECKING:
    from typing import Self

LOCAL_TYPES = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
"""File systems that serve stat(2) of a cached inode from memory. Those of a network, and FUSE, may ask somebody."""
_REFRESH_SECONDS = 1.0
"""Where something is mounted all the time, the table is read no more often."""


class LocalMounts:
    """The local mounts as of the last change of the mount table.

    `hold` is for one thread and never waits; `refresh` is for any other.
    """

    def __init__(self, table: str = "/proc/self/mountinfo") -> None:
        """Knows nothing until `refresh`.

        Args:
            table: Lists the mounts (proc_pid_mountinfo(5)); the kernel tells by poll(2) that it changed.
        """
        self._table = table
        self._poll = select.poll()
        self._fd = -1
        with suppress(OSError):
            self._fd = os.open(table, os.O_RDONLY | os.O_CLOEXEC)
            self._poll.register(self._fd, select.POLLPRI)
        self._lock = threading.Lock()  # guards the next three
        self._local: frozenset[int] | None = None
        self._changes = 0
        self._refresh_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Knows nothing any more; idempotent."""
        with self._lock:
            self._local = None
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def hold(self, fd: int) -> bool:
        """Whether `fd` is on a local mount; false as well while that is not known."""
        local = self._local
        if local is None:
            return False
        if self._poll.poll(0):  # since `fd` was opened, or before
            with self._lock:
                self._local = None
                self._changes += 1
            return False
        return mount_number(fd) in local

    def refresh(self) -> None:
        """Reads the table if that is due: it changed, and was not read within the last second."""
        now = time.monotonic()
        with self._lock:
            if self._local is not None or self._fd < 0 or now < self._refresh_at:
                return
            self._refresh_at = now + _REFRESH_SECONDS
            changes = self._changes
        try:
            local = _local_mounts(Path(self._table).read_bytes())
        except OSError:
            return
        with self._lock:
            if changes == self._changes and self._fd >= 0:
                self._local = local


def _local_mounts(table: bytes) -> frozenset[int]:
    numbers = set()
    for line in table.splitlines():
        mount, _, source = line.partition(b" - ")
        if source.partition(b" ")[0].decode("ascii", "replace") in LOCAL_TYPES:
            numbers.add(int(mount.partition(b" ")[0]))
    return frozenset(numbers)
