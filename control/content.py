"""The content of files: blocks and digests, each of one version of the file and never of two."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from publisher.roots import translate
from schemas.errors import FileChangedError, NotAFileError
from schemas.files import FileDigest, make_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from control.deadline import Deadline
    from publisher.roots import Roots

_STEP_BYTES = 1 << 20
_ATTEMPTS = 3


class Content:
    """Reads regular files inside the roots, and opens nothing else for reading; for any thread."""

    def __init__(self, roots: Roots) -> None:
        """Reads nothing outside `roots`."""
        self._roots = roots

    def size(self, path: str, version: str | None) -> int:
        """The size of a regular file in bytes, if it is of that version; errors as for `read`."""
        with self._opened(path) as fd:
            return _checked(fd, path, version).st_size

    def read(self, path: str, offset: int, size: int, version: str | None) -> tuple[bytes, str]:
        """Up to `size` bytes from `offset`, and the version that they are of.

        Raises:
            FileChangedError: The file is not that version, or changes faster than it can be read.
            NotAFileError: It is no regular file.
            OmeroFSError: It cannot be read.
        """
        with self._opened(path) as fd:
            for _ in range(_ATTEMPTS):
                before = _checked(fd, path, version)
                octets = _read_at(fd, offset, min(size, max(0, before.st_size - offset)))
                after = os.fstat(fd)
                if make_version(before) == make_version(after):
                    return octets, make_version(before)
        raise FileChangedError(f"{path!r} is being written; ask again when it is done")

    def digest(self, path: str, version: str | None, deadline: Deadline) -> FileDigest:
        """The SHA-1 of the whole file; blocks for as long as reading it takes. Errors as for `read` and `deadline`."""
        with self._opened(path) as fd:
            before = _checked(fd, path, version)
            sha1 = hashlib.sha1(usedforsecurity=False)
            buffer = memoryview(bytearray(_STEP_BYTES))
            left = before.st_size
            # A file that grows faster than it is read has no end: what is read beyond its size is a change.
            while left >= 0 and (count := os.readv(fd, [buffer])):
                sha1.update(buffer[:count])
                left -= count
                deadline.check(f"the SHA-1 of {path!r}")
            _checked(fd, path, make_version(before))
        return FileDigest(sha1=sha1.hexdigest(), version=make_version(before))

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        with self._roots.open(path) as file:
            # Opening a FIFO or a device is an act of its own; an O_PATH descriptor only names it (open(2)).
            if not stat.S_ISREG(file.stat().st_mode):
                raise NotAFileError(f"{path!r} is not a regular file")
            fd = file.reopen(os.O_RDONLY)
        try:
            yield fd
        except OSError as exc:
            raise translate(exc, path) from exc
        finally:
            os.close(fd)


def _checked(fd: int, path: str, version: str | None) -> os.stat_result:
    status = os.fstat(fd)
    if version is not None and make_version(status) != version:
        raise FileChangedError(f"{path!r} is not the version that was asked for; it was written or replaced")
    return status


def _read_at(fd: int, offset: int, size: int) -> bytes:
    """Exactly that many bytes but at the end of the file."""
    parts = []
    while size > 0 and (part := os.pread(fd, size, offset)):
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
