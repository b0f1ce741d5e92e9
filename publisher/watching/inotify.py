"""The kernel's side of watching: one inotify descriptor, its watches, and its records in bulk.

One read takes many records; they are parsed with struct over the buffer. See inotify(7).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import termios
from collections import deque

from watchdog.observers.inotify_c import InotifyConstants

__all__ = ["IN", "Batch", "Inotify"]

IN = InotifyConstants

BASE_MASK = (
    IN.IN_CREATE
    | IN.IN_CLOSE_WRITE
    | IN.IN_MOVED_FROM
    | IN.IN_MOVED_TO
    | IN.IN_DELETE
    | IN.IN_ONLYDIR
    | 0x04000000  # IN_EXCL_UNLINK: a file that has lost its name says nothing more
)
"""What every monitor needs to know which names exist: two records for a new file, one for a deletion."""
ROOT_MASK = IN.IN_DELETE_SELF | IN.IN_MOVE_SELF
SHARED_MASK = 0x20000000  # IN_MASK_ADD: a second monitor widens a shared watch, never narrows it

LIMITS = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""The kernel has no watches, descriptors or memory left: a matter of the moment, and of its settings."""

_HEADER = struct.Struct("iIII")
READ_BYTES = 32 * 1024
"""One read, and so what is worked on before the kernel's queue is emptied again: about 1,000 records."""
_LONGEST_RECORD_BYTES = 16 + 256  # inotify(7): the header, and NAME_MAX + 1
BACKLOG_BYTES = 16 * 1024 * 1024

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_libc.inotify_rm_watch.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.inotify_init1.argtypes = (ctypes.c_int,)


class Batch:
    """The records of one read, with what must be known ahead: who closes, and where renames lead."""

    __slots__ = ("closed", "moved_to", "overflowed", "records")

    def __init__(self) -> None:
        self.records: list[tuple[int, int, int, str]] = []
        self.closed: set[tuple[int, str]] = set()
        self.moved_to: dict[int, tuple[int, str]] = {}
        self.overflowed = False

    def part(self) -> Batch:
        """An empty batch that knows ahead what this one does."""
        part = Batch()
        part.closed, part.moved_to = self.closed, self.moved_to
        return part

    def parse(self, buffer: bytes) -> bool:
        """Adds the records in `buffer`; true if a rename's second half is still to come.

        What is written to a file and its close, if they follow its making at once, become one record with that.
        """
        offset = 0
        end = len(buffer)
        unpack = _HEADER.unpack_from
        records = self.records
        append = records.append
        open_cookies: set[int] = set()
        made = 0  # the mask of the last record, if that was about the making of a file
        made_wd, made_name = -1, b""
        while offset < end:
            wd, mask, cookie, length = unpack(buffer, offset)
            begin = offset + 16
            offset = begin + length
            raw = buffer[begin:offset]
            if made and mask & 0xA and wd == made_wd and raw == made_name:  # IN_MODIFY or IN_CLOSE_WRITE
                made |= mask
                name = records[-1][3]
                records[-1] = (wd, made, 0, name)
                if made & 0x8:
                    self.closed.add((wd, name))
                    made = 0
                continue
            name = raw.rstrip(b"\0").decode("utf-8", "surrogateescape")
            append((wd, mask, cookie, name))
            if mask == 0x100:  # IN_CREATE, and of a file
                made, made_wd, made_name = mask, wd, raw
                continue
            made = 0
            if mask & 0x8:
                self.closed.add((wd, name))
            elif mask & 0x4000:  # IN_Q_OVERFLOW
                self.overflowed = True
            elif cookie:
                if mask & 0x40:  # IN_MOVED_FROM
                    open_cookies.add(cookie)
                else:
                    self.moved_to[cookie] = (wd, name)
                    open_cookies.discard(cookie)
        return bool(open_cookies)


class Inotify:
    """One inotify descriptor.

    `add` and `remove` may be called from any thread; the rest belongs to the reader thread.

    Attributes:
        position: How many bytes of records were read until now.
    """

    def __init__(self) -> None:
        """Takes a descriptor from the kernel.

        Raises:
            OSError: EMFILE when `fs.inotify.max_user_instances` are in use.
        """
        self.fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self.position = 0

    @property
    def end(self) -> int:
        """The position behind the last record that is queued now; what comes later ends beyond it."""
        (queued,) = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))
        return self.position + self._backlog_bytes + int(queued)

    def close(self) -> None:
        """Gives the descriptor and all its watches back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def add(self, directory_fd: int, mask: int) -> int:
        """Watches the directory that is open as `directory_fd`, so that no link can be swapped in.

        Raises:
            OSError: ENOSPC when `fs.inotify.max_user_watches` is used up, EACCES without the right to read.
        """
        return _checked(_libc.inotify_add_watch(self.fd, b"/proc/self/fd/%d" % directory_fd, mask))

    def remove(self, wd: int) -> None:
        """Ends a watch; one that the kernel has ended already is fine."""
        _libc.inotify_rm_watch(self.fd, wd)

    def take(self) -> None:
        """Takes what is queued out of the kernel, whose queue is short (16,384 records), into memory.

        Called often while records are worked on, it makes room there faster than any writer fills it. Beyond
        `BACKLOG_BYTES` records stay in the kernel, and then it is the kernel that overflows and says so.
        """
        while self._backlog_bytes < BACKLOG_BYTES:
            try:
                buffer = os.read(self.fd, READ_BYTES)
            except BlockingIOError:
                return
            self._backlog.append(buffer)
            self._backlog_bytes += len(buffer)
            if len(buffer) < READ_BYTES - _LONGEST_RECORD_BYTES:
                return  # there was room for one more, and there was none

    @property
    def behind(self) -> bool:
        """Whether records that were taken wait to be read."""
        return bool(self._backlog)

    def read(self) -> Batch | None:
        """The next records, at most a buffer full; None if nothing is queued. Does not block."""
        if not self._backlog:
            self.take()
        if not self._backlog:
            return None
        batch = Batch()
        if batch.parse(self._next()):
            # The halves of a rename are queued back to back: if a buffer ended between them, the second is there.
            self.take()
            if self._backlog:
                batch.parse(self._next())
        return batch

    def _next(self) -> bytes:
        """As many of the buffers that were taken as make one full read: a slow writer's are small."""
        backlog = self._backlog
        buffers = [backlog.popleft()]
        size = len(buffers[0])
        while backlog and size + len(backlog[0]) <= READ_BYTES:
            size += len(backlog[0])
            buffers.append(backlog.popleft())
        self._backlog_bytes -= size
        self.position += size
        return b"".join(buffers)  # one alone is not copied


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def limit_message(exc: OSError) -> str:
    """What an operator can do about a watch that the kernel refused."""
    if exc.errno == errno.ENOSPC:
        return "the kernel has no inotify watches left: raise the sysctl fs.inotify.max_user_watches"
    if exc.errno in {errno.EMFILE, errno.ENFILE}:
        return "the kernel has no inotify descriptors left: raise the sysctl fs.inotify.max_user_instances"
    if exc.errno in {errno.EACCES, errno.EPERM}:
        return "this server may not read the directory"
    return f"the directory cannot be watched: {exc.strerror}"
