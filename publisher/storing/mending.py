"""Gets a damaged SQLite file open for reading, without a change to it or to its log.

It is read through links, or, where its head has to be mended to be read at all, from a copy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

from publisher.storing.soundness import beside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADER_BYTES = 100
_PAGE_BYTES = 4096


@contextlib.contextmanager
def readable(damaged: Path, fresh: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection through which its tables can be seen, with the head mended if need be; None if nothing helps."""
    copy = copy_of(damaged)
    shutil.rmtree(copy.parent, ignore_errors=True)
    copy.parent.mkdir()
    try:
        for mended_bytes in (0, _HEADER_BYTES, _PAGE_BYTES):
            _place(damaged, copy)
            if mended_bytes:
                _mend_head(copy, fresh, mended_bytes)
            source = _open(copy)
            if source is not None:
                with contextlib.closing(source):
                    yield source
                return
        yield None
    finally:
        shutil.rmtree(copy.parent, ignore_errors=True)


def copy_of(damaged: Path) -> Path:
    """Where a damaged file is read, while it is."""
    return beside(damaged, ".salvage") / damaged.name


def _place(damaged: Path, copy: Path) -> None:
    for old in copy.parent.iterdir():
        old.unlink()
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            os.link(beside(damaged, suffix), beside(copy, suffix))


def _mend_head(copy: Path, fresh: Path, count: int) -> None:
    """Puts the first bytes of a new store in the place of those of the old one, on a copy."""
    original = copy.rename(beside(copy, ".linked")) if copy.exists() else None
    if original is not None:
        shutil.copyfile(original, copy)
    with fresh.open("rb") as template, copy.open("r+b" if original else "w+b") as file:
        size = max(file.seek(0, os.SEEK_END), _PAGE_BYTES)
        file.truncate(size)
        head = bytearray(template.read(count))
        head[28:32] = (size // _PAGE_BYTES).to_bytes(4, "big")
        head[92:96] = head[24:28]  # the size above is heeded if these two are the same
        file.seek(0)
        file.write(head)


def _open(copy: Path) -> sqlite3.Connection | None:
    try:
        source = sqlite3.connect(uri_of(copy, "ro"), uri=True, isolation_level=None)
    except sqlite3.Error:
        return None
    try:
        source.text_factory = lambda text: text.decode(errors="replace")
        source.execute("PRAGMA writable_schema=ON")  # reads a file that is shorter than its header says
        source.execute("PRAGMA cell_size_check=ON")
        if source.execute("SELECT 1 FROM sqlite_master WHERE name = 'monitors'").fetchone():
            return source
    except sqlite3.Error:
        pass
    source.close()
    return None


def uri_of(path: Path, mode: str) -> str:
    """A file as SQLite is to open it: `ro` or `rw`."""
    return f"{path.absolute().as_uri()}?mode={mode}"
