"""A whole file over the broker: pipelined blocks of one version, resumed where it was broken off, checked by SHA-1."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from control.client_errors import ClientError
from schemas.errors import FileChangedError, LimitExceededError, NotAFileError
from schemas.files import FileType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from schemas.files import FileDigest, FileVersion, VersionedFileStats

__all__ = ["CopyError", "FileCopy"]

BLOCK_BYTES = 1 << 20
SMALLEST_BLOCK_BYTES = 1 << 12
IN_FLIGHT = 8
_HASH_BYTES = 1 << 20


class CopyError(ClientError):
    """The copy is not what the server has."""


class Files(Protocol):
    """What a copy needs of a FileServerClient."""

    def get_stats(self, file_id: str) -> VersionedFileStats:
        """The stats of a file."""
        ...

    def get_sha1(self, file_id: str, *, version: FileVersion | None = None) -> FileDigest:
        """Its SHA-1."""
        ...

    def read_block(
        self, file_id: str, offset: int, size: int, *, version: FileVersion | None = None
    ) -> tuple[bytes, FileVersion]:
        """A block of it."""
        ...


class FileCopy:
    """One copy from a server to a local path.

    Blocks come into a file beside the target whose name holds the version, so that a copy that was broken off is
    taken up where it ended, and never with blocks of another version. The target appears when all is checked.
    """

    def __init__(
        self,
        files: Files,
        file_id: str,
        target: Path,
        *,
        block_bytes: int = BLOCK_BYTES,
        in_flight: int = IN_FLIGHT,
        progress: Callable[[int, int], None] = lambda _done, _size: None,
    ) -> None:
        """Copies nothing yet.

        Args:
            files: The server.
            file_id: The file there.
            target: The file here; a directory takes it under its own name.
            block_bytes: Bytes asked for at a time, less if the server's limit is lower.
            in_flight: Blocks asked for at the same time.
            progress: Told (bytes here, bytes in all), on the thread that runs the copy.
        """
        self._files = files
        self._file_id = file_id
        self._target = target / file_id.rstrip("/").rpartition("/")[2] if target.is_dir() else target
        self._block_bytes = block_bytes
        self._in_flight = in_flight
        self._progress = progress

    def run(self) -> Path:
        """Copies; blocks until done. Returns the path here.

        Raises:
            CopyError: The SHA-1 here is not that of the server; what was copied is thrown away.
            FileChangedError: The file was written or replaced meanwhile; what was copied is thrown away.
            OmeroFSError: The server refused.
            OSError: The target cannot be written.
        """
        stats = self._files.get_stats(self._file_id)
        if stats.type in {FileType.DIR, FileType.MOUNT}:
            raise NotAFileError(f"{self._file_id!r} is a directory")
        part = self._part(stats.version)
        try:
            digest = self._fetch(stats, part)
        except FileChangedError:
            part.unlink(missing_ok=True)
            raise
        if digest != self._files.get_sha1(self._file_id, version=stats.version).sha1:
            part.unlink()
            raise CopyError(
                f"the copy of {self._file_id!r} differs from the file on the server; copy it again"
            )
        part.replace(self._target)
        return self._target

    def _part(self, version: FileVersion) -> Path:
        """Where this version's blocks go; those of other versions are of no use any more."""
        mark = hashlib.sha1(version.encode(), usedforsecurity=False).hexdigest()[:16]
        name = self._target.name[:200]
        part = self._target.with_name(f".{name}.{mark}.part")
        prefix, length = f".{name}.", len(part.name)
        for other in self._target.parent.iterdir():
            stale = (
                other.name.startswith(prefix) and other.name.endswith(".part") and len(other.name) == length
            )
            if stale and other != part:
                other.unlink(missing_ok=True)
        return part

    def _fetch(self, stats: VersionedFileStats, part: Path) -> str:
        """Completes the part file; returns the SHA-1 of all of it."""
        sha1 = hashlib.sha1(usedforsecurity=False)
        with part.open("ab") as out:
            done = _hash(part, sha1)
            self._progress(done, stats.size)
            for block in self._blocks(done, stats):
                out.write(block)
                sha1.update(block)
                done += len(block)
                self._progress(done, stats.size)
            out.flush()
            os.fsync(out.fileno())
        return sha1.hexdigest()

    def _blocks(self, start: int, stats: VersionedFileStats) -> Iterator[bytes]:
        """The blocks from `start` on, in order, some of them asked for ahead."""
        if start >= stats.size:
            return
        first = self._first_block(start, stats.version)
        yield first
        offsets = iter(range(start + len(first), stats.size, self._block_bytes))
        pool = ThreadPoolExecutor(self._in_flight, thread_name_prefix="copy")
        asked: deque[Future[tuple[bytes, str]]] = deque()

        def ask() -> None:
            for offset in offsets:
                asked.append(
                    pool.submit(
                        self._files.read_block,
                        self._file_id,
                        offset,
                        self._block_bytes,
                        version=stats.version,
                    )
                )
                return

        try:
            for _ in range(self._in_flight):
                ask()
            while asked:
                block = asked.popleft().result()[0]
                ask()
                yield block
        finally:
            pool.shutdown(cancel_futures=True)

    def _first_block(self, start: int, version: FileVersion) -> bytes:
        """Finds the size of block that the server takes."""
        while True:
            try:
                return self._files.read_block(self._file_id, start, self._block_bytes, version=version)[0]
            except LimitExceededError:
                if self._block_bytes <= SMALLEST_BLOCK_BYTES:
                    raise
                self._block_bytes //= 2


def _hash(path: Path, sha1: hashlib._Hash) -> int:
    """Feeds what is there into `sha1`; returns its size in bytes."""
    size = 0
    with path.open("rb") as existing:
        while chunk := existing.read(_HASH_BYTES):
            sha1.update(chunk)
            size += len(chunk)
    return size
