"""What the files of a SQLite database in WAL mode tell of themselves, beyond what SQLite looks at.

SQLite takes a log that it cannot read for one that ends there, without a word: it would go on from an older
state, and numbers would be used twice. Formats: sqlite.org/fileformat2.html, "The Write-Ahead Log", and
sqlite.org/walformat.html, "The WAL-Index File Format". Pure reading; no file is changed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = (0x377F0682, 0x377F0683)
_LOG_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_INDEX_HEADER_BYTES = 48


class _Index(NamedTuple):
    """The shared-memory index: how far the log of that salt reaches, and how far it was written back."""

    frames: int
    written_back: int
    salt: bytes


def beside(path: Path, suffix: str) -> Path:
    """A file that belongs to the database: `-wal`, `-shm`."""
    return path.with_name(path.name + suffix)


def problem_before_opening(path: Path) -> str | None:
    """What is wrong with the database's files as the last run left them; None if nothing is to be seen."""
    if _size(beside(path, "-wal")) >= _LOG_HEADER_BYTES and _size(path) == 0:
        return "it is empty or missing, while its log is not"
    return problem_of_old_log(path)


def problem_of_old_log(path: Path) -> str | None:
    """The same of the log alone: whether something of it has gone since it was written."""
    log, size = _read(beside(path, "-wal"), _LOG_HEADER_BYTES)
    if size >= _LOG_HEADER_BYTES and not _has_sound_header(log):
        return "the head of its log is damaged"
    index = _index(path)
    if index is None or index.frames <= index.written_back:
        return None
    if size < _LOG_HEADER_BYTES:
        return "its log is missing"
    page_bytes = struct.unpack_from(">I", log, 8)[0]
    complete = _LOG_HEADER_BYTES + index.frames * (_FRAME_HEADER_BYTES + page_bytes)
    return "its log is shorter than it was" if index.salt == log[16:24] and size < complete else None


def problem_of_log(path: Path) -> str | None:
    """Whether the log holds transactions that SQLite has passed over; to be asked of a database that is open."""
    if not _has_sound_header(_read(beside(path, "-wal"), _LOG_HEADER_BYTES)[0]):
        return "the head of its log is damaged" if _size(beside(path, "-wal")) >= _LOG_HEADER_BYTES else None
    index = _index(path)
    accepted = index.frames if index is not None else 0
    with beside(path, "-wal").open("rb") as log:
        head = log.read(_LOG_HEADER_BYTES)
        step = _FRAME_HEADER_BYTES + struct.unpack_from(">I", head, 8)[0]
        log.seek(_LOG_HEADER_BYTES + accepted * step)
        ended = False
        while len(frame := log.read(_FRAME_HEADER_BYTES)) == _FRAME_HEADER_BYTES:
            log.seek(step - _FRAME_HEADER_BYTES, 1)
            if frame[8:16] != head[16:24]:
                continue
            # A frame of this log after one that ends a transaction. Nothing follows one that was killed while its last
            # frame was written: the header of a frame is written before its page.
            if ended:
                return "its log is damaged"
            ended = frame[4:8] != bytes(4)
    return None


def _has_sound_header(head: bytes) -> bool:
    if len(head) < _LOG_HEADER_BYTES or struct.unpack_from(">I", head)[0] not in _MAGIC:
        return False
    order = ">" if head[3] & 1 else "<"
    first = second = 0
    words = struct.unpack_from(f"{order}6I", head)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack_from(">2I", head, 24)


def _index(path: Path) -> _Index | None:
    head, size = _read(beside(path, "-shm"), 2 * _INDEX_HEADER_BYTES + 4)
    copies = head[:_INDEX_HEADER_BYTES], head[_INDEX_HEADER_BYTES : 2 * _INDEX_HEADER_BYTES]
    if size < 2 * _INDEX_HEADER_BYTES + 4 or copies[0] != copies[1] or not head[12]:
        return None
    frames, written_back = struct.unpack_from("=I", head, 16)[0], struct.unpack_from("=I", head, 96)[0]
    return _Index(frames, written_back, head[32:40])


def _read(path: Path, count: int) -> tuple[bytes, int]:
    """The first bytes of a file and its size; nothing and 0 if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(count), _size(path)
    except FileNotFoundError:
        return b"", 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
