"""The kernel's records in bulk: what is read of a buffer."""

from __future__ import annotations

import os
import struct

from publisher.watching.inotify import IN, Batch, Inotify

CREATE, CLOSE, MODIFY, DELETE = IN.IN_CREATE, IN.IN_CLOSE_WRITE, IN.IN_MODIFY, IN.IN_DELETE


def record(mask: int, name: str, wd: int = 1) -> bytes:
    padded = os.fsencode(name).ljust(16, b"\0")
    return struct.pack("iIII", wd, mask, 0, len(padded)) + padded


def parsed(*records: bytes) -> list[tuple[int, int, str]]:
    batch = Batch()
    assert not batch.parse(b"".join(records))
    return [(wd, mask, name) for wd, mask, _, name in batch.records]


def test_a_file_that_is_made_and_closed_at_once_is_one_record() -> None:
    """And so is one that is written to in between."""
    assert parsed(record(CREATE, "a"), record(CLOSE, "a")) == [(1, CREATE | CLOSE, "a")]
    assert parsed(record(CREATE, "a"), record(MODIFY, "a"), record(CLOSE, "a"), record(CLOSE, "a")) == [
        (1, CREATE | MODIFY | CLOSE, "a"),
        (1, CLOSE, "a"),
    ]


def test_only_what_follows_at_once_and_is_of_the_same_file_is_joined() -> None:
    """Another name, another directory, another record between them, a directory, or a file that was there."""
    for records in (
        [(1, CREATE, "a"), (1, CLOSE, "b")],
        [(1, CREATE, "a"), (2, CLOSE, "a")],
        [(1, CREATE, "a"), (1, DELETE, "a"), (1, CLOSE, "a")],
        [(1, CREATE, "a"), (1, CREATE, "b"), (1, CLOSE, "a")],
        [(1, CREATE | IN.IN_ISDIR, "a"), (1, CLOSE, "a")],
        [(1, MODIFY, "a"), (1, CLOSE, "a")],
    ):
        assert parsed(*(record(mask, name, wd) for wd, mask, name in records)) == records


def test_who_closes_is_known_ahead() -> None:
    """Also of the closes that are joined: a file that is made twice awaits the close of either."""
    batch = Batch()
    batch.parse(record(CREATE, "a") + record(DELETE, "a") + record(CREATE, "a") + record(CLOSE, "a"))
    assert batch.closed == {(1, "a")}


def test_records_of_the_kernel_are_read_whole(tmp_path: os.PathLike[str]) -> None:
    """What the kernel writes for a file that is made, written to and closed, by itself and with others."""
    inotify = Inotify()
    try:
        directory = os.open(tmp_path, os.O_RDONLY)
        inotify.add(directory, CREATE | CLOSE | MODIFY | DELETE)
        os.close(directory)
        for name in ("a", "b"):
            with open(os.path.join(tmp_path, name), "w") as file:
                file.write("x")
        batch = inotify.read()
        assert batch is not None
        assert [(mask, name) for _, mask, _, name in batch.records] == [
            (CREATE | MODIFY | CLOSE, "a"),
            (CREATE | MODIFY | CLOSE, "b"),
        ]
    finally:
        inotify.close()
