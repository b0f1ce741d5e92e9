"""A file of no content that keeps room on the disk for what gets a full disk empty again.

Forgetting confirmed blocks frees room, but SQLite first has to write that down. With the reserve given up it
can; nothing is recorded before the reserve is whole again, so that recording can never use it up.

What it takes (SQLite 3.40, measured): 8 to 20 KiB of log to forget one block, 60 to 80 KiB for a hundred, 280 to
600 KiB for a thousand, and what the log held before that is to be written back.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

RESERVE_BYTES = 8 << 20
"""Twice what SQLite's log grows to before it is written back."""
_SHARE_OF_DISK = 8
PAGE_BYTES = 4096
_MOST_LOG_PAGES = 1000  # SQLite's own default
_FEWEST_LOG_PAGES = 16

_log = structlog.get_logger(__name__)


class Reserve:
    """The reserve of one state directory. Not thread-safe: the store's lock guards it."""

    def __init__(self, path: Path) -> None:
        """Of at most 8 MiB, and of an eighth of a small disk; takes nothing before `restore`."""
        self._path = path
        disk = os.statvfs(path.parent)
        self.size_bytes = min(RESERVE_BYTES, disk.f_frsize * disk.f_blocks // _SHARE_OF_DISK)
        self._said = False
        self.is_whole = False

    @property
    def log_pages(self) -> int:
        """How many pages SQLite's log may have before it is written back: half the reserve."""
        return max(_FEWEST_LOG_PAGES, min(_MOST_LOG_PAGES, self.size_bytes // 2 // PAGE_BYTES))

    def restore(self) -> bool:
        """Takes the room if it is there; whether it has it now. Blocks for one call of the kernel."""
        if not self.is_whole:
            try:
                self._take()
            except OSError as exc:
                self.release()
                self._say("the disk of the state directory is full, nothing is recorded", exc.strerror)
            else:
                self.is_whole = True
                self._said = False
        return self.is_whole

    def release(self) -> bool:
        """Gives the room up; whether there was any."""
        self.is_whole = False
        with contextlib.suppress(OSError):
            given_up = self._path.stat().st_size > 0
            os.truncate(self._path, 0)
            return given_up
        return False

    def _take(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.size_bytes)
        finally:
            os.close(descriptor)

    def _say(self, event: str, reason: str | None) -> None:
        if not self._said:
            self._said = True
            _log.error(
                event, directory=str(self._path.parent), reason=reason, remedy="make room on that disk"
            )
